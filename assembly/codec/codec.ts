import { Sink } from "../wire/sink";
import { Changes } from "./changes";
import { Frame } from "./frame";
import { Statuses } from "./statuses";

/**
 * The answer to "is the head of a frame here?", in one i32 so that nothing is allocated:
 * 0 is READY, k > 0 means that k bytes of this frame must be there before asking again (never more than the frame has),
 * a negative number is -Reason: this is not the protocol.
 */
export type Look = i32;
export const READY: Look = 0;

/** Why bytes are not the protocol. A label of `meltemi_decode_errors_total`, so the list stays short. */
export const enum Bad {
  Magic = 1,
  /** A length below the header, or parts that do not fit into the whole. */
  Length = 2,
  /** A frame longer than the limit. */
  TooLarge = 3,
  /** A head longer than the limit. */
  HeadTooLarge = 4,
  /** A flag, type or version that the protocol does not define. */
  Field = 5,
  /** Text or a structure that cannot be read. */
  Encoding = 6,
  /** Nothing is wrong with it, but too many connections hold unfinished heads to hold one more. */
  Crowded = 7,
}

export function badText(bad: Bad): string {
  switch (bad) {
    case Bad.Magic:
      return "magic";
    case Bad.Length:
      return "length";
    case Bad.TooLarge:
      return "too_large";
    case Bad.HeadTooLarge:
      return "head_too_large";
    case Bad.Field:
      return "field";
    case Bad.Encoding:
      return "encoding";
    default:
      return "crowded";
  }
}

/** Why a request gets an error reply that its service did not write. */
export const enum Reason {
  NoRoute = 0,
  Unavailable = 1,
  Timeout = 2,
  RateLimited = 3,
  Denied = 4,
  TooLarge = 5,
  BadRequest = 6,
  Internal = 7,
}

/**
 * One protocol. A codec keeps no state between frames, never traps, never reads outside [p, p + n), allocates nothing
 * and refuses at the first byte that cannot be right.
 */
export abstract class Codec {
  constructor(
    /** As in configurations and labels. */
    readonly name: string,
    /** Bytes that must be there before head() may be called; no frame of the protocol is shorter. */
    readonly min: u32,
    /** What the numbers of its replies mean. */
    readonly statuses: Statuses,
  ) {}

  /**
   * How frames begin, where that tells them from other protocols': hexadecimal digits, a dot for each that may be any,
   * blanks between alternatives. Empty where nothing does, and then the protocol is never guessed.
   */
  get magic(): string {
    return "";
  }

  /** The metadata keys as JSON: `[{"name":"...","about":"..."}]`, for the docs and for `meltemi_describe`. */
  abstract keys(): string;

  /**
   * Reads kind, id, length, status, service and method from the n >= min bytes at p, the start of a frame. Sets
   * frame.length as soon as it is known, even when it answers NeedMore.
   */
  abstract head(p: usize, n: u32, frame: Frame): Look;

  /**
   * Adds the metadata of a frame of any kind whose head() was just READY on the same p and n. Bytes that are a frame
   * but whose metadata cannot be read set frame.metadataDropped and are READY: a strange argument is no reason to lose a
   * request.
   */
  metadata(p: usize, n: u32, frame: Frame): Look {
    return READY;
  }

  /**
   * head() and, where wanted, metadata() of the n bytes at p into `frame`, whose side is set, with every limit checked
   * and nothing believed that would never come to an end. Metadata out of reach are dropped.
   */
  @inline
  look(p: usize, n: u32, frame: Frame, frameLimit: u64, headLimit: u32, metadata: bool): Look {
    frame.reset();
    const look = this.head(p, n, frame);
    const length = frame.length;
    if (length > frameLimit) return -Bad.TooLarge;
    if (look < 0) return look;
    if (look > 0) {
      if (look > (headLimit as Look)) return -Bad.HeadTooLarge;
      return look <= (n as Look) || (length && (look as u64) > length) ? -Bad.Length : look;
    }
    if (length < (this.min as u64)) return -Bad.Length;
    if (!metadata) return READY;
    const more = this.metadata(p, n, frame);
    if (more <= 0 || (more > (n as Look) && more <= (headLimit as Look) && (more as u64) <= length)) return more;
    frame.metadataDropped = true;
    return READY;
  }

  /**
   * Writes another request id into the frame at p, whose head was READY. False where the id has no place of fixed size:
   * then encode() writes it.
   */
  abstract setId(p: usize, id: u64): bool;

  /**
   * Appends the n bytes at p, the start of the frame whose head() was just READY on them, and where there are changes
   * metadata() too, with another id and changed metadata. What follows behind the n bytes stays as it is; the length that the frame states is the new one.
   * False, and nothing appended, where the format has no place for what is asked.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    return false;
  }

  /** Whether error() needs the method of the request beside its id and token. */
  get echoesMethod(): bool {
    return false;
  }

  /**
   * Appends the protocol's own error reply to the request in `frame`, of which kind, id and token (and the method, where
   * it is echoed) are set. `message` is UTF-8 for people.
   */
  abstract error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void;

  /** Appends a heartbeat; false where the protocol has none. */
  heartbeat(id: u64, sink: Sink): bool {
    return false;
  }

  /** Appends the answer to the heartbeat in `frame`; false where the protocol has none. */
  heartbeatReply(frame: Frame, sink: Sink): bool {
    return false;
  }
}
