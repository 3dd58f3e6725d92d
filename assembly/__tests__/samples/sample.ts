import { Frame, Kind, Side } from "../../codec/frame";
import { Hash } from "../../wire/hash";
import { Slice } from "../../wire/slice";
import { Guarded, hexOf } from "../util";

/** One frame of a protocol, and what a codec must read out of it. */
export class Sample {
  constructor(
    readonly name: string,
    readonly side: Side,
    readonly hex: string,
    /** As render() writes it. */
    readonly expected: string,
  ) {}
}

/** What the client sends: `%` in what is expected stands for the frame's length. */
export function asked(name: string, hex: string, expected: string): Sample {
  return new Sample(name, Side.Client, hex, expected.replace("%", (hex.length >> 1).toString()));
}

/** What the server sends, in the same way. */
export function answered(name: string, hex: string, expected: string): Sample {
  return new Sample(name, Side.Server, hex, expected.replace("%", (hex.length >> 1).toString()));
}

/** What the conformance suite must know of a protocol beside its frames. */
export abstract class Wire {
  /** Bytes at the start of every frame that are always the same. */
  magicBytes: u32 = 0;
  /** Request ids have that many bits. */
  idBits: u32 = 32;
  heartbeats: bool = false;
  /** Metadata can be written back into frames: encode() does so for some of the samples at least. */
  encodes: bool = false;
  /** How many bytes tell how long a frame is, where that is more than the codec's least. */
  lengthBytes: u32 = 0;
  /** A frame that states less, in bytes from its first to its last, is refused for its length. */
  least: u32 = 0;

  constructor(
    readonly protocol: string,
    readonly samples: Sample[],
  ) {}

  /** The bits of a number that a request id can have. */
  idOf(number: u64): u64 {
    return this.idBits == 64 ? number : number & (((1 as u64) << this.idBits) - 1);
  }

  /** Frames say how long they are, and setLength() can change it. */
  get hasLength(): bool {
    return true;
  }

  /**
   * Makes the frame at p state another length, counted from its first byte to its last and not more than 36 bits; false
   * where its field cannot say so.
   */
  abstract setLength(p: usize, length: u64): bool;

  /** A copy that is longer by that many zeros in its body; null where the format has no place for them. */
  lengthened(input: Guarded, by: u32): Guarded | null {
    const longer = new Guarded(input.size + by);
    memory.fill(longer.ptr, 0, longer.size);
    memory.copy(longer.ptr, input.ptr, input.size);
    return this.setLength(longer.ptr, longer.size) ? longer : null;
  }
}

/** Writes a big-endian length field of 4 bytes; false where the number does not fit. */
export function setU32(field: usize, value: u64): bool {
  if (value > (u32.MAX_VALUE as u64)) return false;
  store<u32>(field, bswap<u32>(value as u32));
  return true;
}

export const KINDS: StaticArray<string> = [
  "request",
  "response",
  "oneway",
  "heartbeat",
  "heartbeat_reply",
  "stream_open",
  "stream_data",
  "stream_close",
];

/**
 * A frame in one line: kind, id, length; of what is asked `service#method` (`~` where there is none); of a reply
 * `outcome/status/code`; deadline, metadata, and whether metadata is missing, where there is any.
 */
export function render(frame: Frame): string {
  let text = KINDS[frame.kind] + " " + frame.id.toString() + " " + frame.length.toString();
  if (frame.side == Side.Client && frame.kind != Kind.Response)
    text += " " + shown(frame.service) + "#" + shown(frame.method);
  if (frame.kind == Kind.Response) {
    text += " " + shown(frame.outcome) + "/" + (frame.status as i32).toString() + "/" + frame.code.toString();
  }
  if (frame.deadline) text += " deadline=" + frame.deadline.toString();
  if (frame.metadataCount) {
    text += " {";
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      text += (i ? ", " : "") + shown(frame.key(i)) + "=" + shown(frame.value(i));
    }
    text += "}";
  }
  return frame.metadataDropped ? text + " dropped" : text;
}

/** All that render() shows, as a number: comparing thousands of frames by text would take minutes. */
export function digest(frame: Frame): u64 {
  let hash = frame.id ^ (frame.length << 32) ^ ((frame.kind as u64) << 8) ^ (frame.deadline as u64);
  if (frame.kind == Kind.Response) {
    hash = digestOf(frame.outcome, hash ^ ((frame.status as u64) << 16) ^ ((frame.code as u64) << 24));
  } else if (frame.side == Side.Client) {
    hash = digestOf(frame.method, digestOf(frame.service, hash));
  }
  for (let i: u32 = 0; i < frame.metadataCount; i++) hash = digestOf(frame.value(i), digestOf(frame.key(i), hash));
  return frame.metadataDropped ? ~hash : hash;
}

function digestOf(slice: Slice, hash: u64): u64 {
  return Hash.bytes(slice.ptr, slice.size, hash ^ (slice.ptr ? 1 : 2));
}

function shown(slice: Slice): string {
  return slice.ptr ? slice.text() : "~";
}

export function hex8(value: u32): string {
  return (value < 16 ? "0" : "") + value.toString(16);
}

export function hex16(value: u32): string {
  return hex8((value >> 8) & 255) + hex8(value & 255);
}

export function hex32(value: u32): string {
  return hex16(value >> 16) + hex16(value & 0xffff);
}

/** Text as hexadecimal digits of its UTF-8. */
export function hexText(value: string): string {
  const utf8 = String.UTF8.encode(value);
  return hexOf(changetype<usize>(utf8), utf8.byteLength);
}
