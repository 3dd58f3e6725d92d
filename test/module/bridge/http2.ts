import hpack from "hpack.js";

/*
 * HTTP/2 by hand, for peers that do what Node's http2 would never do: frames written byte by byte, and an account of what
 * the other side sends, flow control included. Independent of the module: header blocks are read by hpack.js.
 */

export const Type = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  window: 8,
  continuation: 9,
} as const;

export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const Setting = { headerTableSize: 1, maxConcurrentStreams: 3, initialWindowSize: 4, maxFrameSize: 5 } as const;

export const Code = { noError: 0, protocol: 1, internal: 2, refusedStream: 7, cancel: 8 } as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
export const firstWindow = 65_535;
export const windowMax = 2 ** 31 - 1;
const frameMax = 16_384;
const empty: Buffer = Buffer.alloc(0);

export type Fields = Record<string, string>;

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

/** One frame; its length is that of the payload, however long. */
export function frame(type: number, stream: number, payload: Uint8Array = empty, flags = 0): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, 9);
  return bytes;
}

const u32 = (...values: number[]): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
};

export function settings(pairs: Record<number, number> = {}): Buffer {
  const payload = Object.entries(pairs).map(([key, value]) => {
    const pair = Buffer.alloc(6);
    pair.writeUInt16BE(Number(key), 0);
    pair.writeUInt32BE(value, 2);
    return pair;
  });
  return frame(Type.settings, 0, Buffer.concat(payload));
}

export const settingsAck = frame(Type.settings, 0, empty, Flag.ack);
export const ping = (text = "8 bytes."): Buffer => frame(Type.ping, 0, Buffer.from(text));
export const pingAck = (payload: Uint8Array): Buffer => frame(Type.ping, 0, payload, Flag.ack);
export const window = (stream: number, increment: number): Buffer => frame(Type.window, stream, u32(increment));
export const reset = (stream: number, code: number = Code.cancel): Buffer => frame(Type.reset, stream, u32(code));
export const goAway = (last: number, code: number = Code.noError): Buffer => frame(Type.goAway, 0, u32(last, code));

function hpackInteger(value: number, prefix: number): Buffer {
  if (value < prefix) return Buffer.of(value);
  const bytes = [prefix];
  let rest = value - prefix;
  for (; rest > 127; rest >>= 7) bytes.push((rest & 127) | 128);
  return Buffer.of(...bytes, rest);
}

const hpackString = (text: string): Buffer => {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackInteger(bytes.length, 127), bytes]);
};

/** A header block that uses no table and says so, whatever the fields are. */
export const block = (fields: Fields): Buffer =>
  Buffer.concat([
    Buffer.of(0x20),
    ...Object.entries(fields).flatMap(([name, value]) => [Buffer.of(0), hpackString(name), hpackString(value)]),
  ]);

export const headers = (stream: number, fields: Fields, flags: number = 0): Buffer =>
  frame(Type.headers, stream, block(fields), flags | Flag.endHeaders);

/** DATA in as many frames as it takes; the last one has the flags. */
export function data(stream: number, bytes: Uint8Array, flags = 0, most = frameMax): Buffer {
  const frames: Buffer[] = [];
  let at = 0;
  do {
    const part = bytes.subarray(at, at + most);
    at += most;
    frames.push(frame(Type.data, stream, part, at >= bytes.length ? flags : 0));
  } while (at < bytes.length);
  return Buffer.concat(frames);
}

/** DATA with as many bytes of padding, in one frame. */
export const padded = (stream: number, bytes: Uint8Array, padding: number, flags = 0): Buffer =>
  frame(Type.data, stream, Buffer.concat([Buffer.of(padding), bytes, Buffer.alloc(padding)]), flags | Flag.padded);

/** Cuts a stream of bytes into frames. */
export class Cutter {
  private rest = empty;

  push(chunk: Buffer): Frame[] {
    let bytes = this.rest.length ? Buffer.concat([this.rest, chunk]) : chunk;
    const frames: Frame[] = [];
    while (bytes.length >= 9) {
      const end = 9 + bytes.readUIntBE(0, 3);
      if (bytes.length < end) break;
      const payload = bytes.subarray(9, end);
      frames.push({ type: bytes[3] as number, flags: bytes[4] as number, stream: bytes.readUInt32BE(5), payload });
      bytes = bytes.subarray(end);
    }
    this.rest = bytes;
    return frames;
  }
}

/** What came of a stream. */
export class Stream {
  fields: Fields = {};
  ended = false;
  /** The code of its RST_STREAM. */
  reset: number | undefined;
  /** Bytes of DATA so far. */
  size = 0;
  private parts: Buffer[] = [];

  constructor(
    readonly id: number,
    /** Bytes that it may still bring. */
    public window: number,
    /** Bytes that may still be sent on it the other way. */
    public credit: number,
  ) {}

  add(bytes: Buffer): void {
    this.size += bytes.length;
    this.parts.push(bytes);
  }

  get data(): Buffer {
    if (this.parts.length > 1) this.parts = [Buffer.concat(this.parts)];
    return this.parts[0] ?? empty;
  }
}

/**
 * Reads what one side of a connection sends, and throws where that breaks the protocol: frames on streams that are over,
 * more bytes than windows allow, header blocks that are torn apart.
 */
export class Peer {
  readonly streams = new Map<number, Stream>();
  /** All frames, in order. */
  readonly frames: Frame[] = [];
  /** Bytes that the connection may still bring. */
  window = firstWindow;
  /** Bytes that may still be sent the other way. */
  credit = firstWindow;
  /** The same of a new stream. */
  private streamWindow = firstWindow;
  private streamCredit = firstWindow;
  private readonly cutter = new Cutter();
  private readonly decompressor = hpack.decompressor.create({ table: { maxSize: 4096 } });
  /** The stream whose header block is not whole. */
  private open: { id: number; end: boolean; parts: Buffer[] } | undefined;
  private behindPreface: boolean;
  private start = empty;

  constructor(
    private readonly options: {
      /** The side that is read begins with the preface. */
      preface?: boolean;
      /** Told each frame when it was looked at. */
      onFrame?: (frame: Frame) => void;
    } = {},
  ) {
    this.behindPreface = !options.preface;
  }

  /** Frames of a type. */
  of(type: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type);
  }

  /** The stream, which must be there. */
  stream(id: number): Stream {
    const stream = this.streams.get(id);
    if (!stream) throw new Error(`no stream ${id}`);
    return stream;
  }

  /** Opens a window, and answers the frame that says so. */
  grant(stream: number, increment: number): Buffer {
    if (stream) this.stream(stream).window += increment;
    else this.window += increment;
    return window(stream, increment);
  }

  /** Changes the first window of all streams, and answers the frame that says so. */
  setStreamWindow(size: number): Buffer {
    for (const stream of this.streams.values()) stream.window += size - this.streamWindow;
    this.streamWindow = size;
    return settings({ [Setting.initialWindowSize]: size });
  }

  /** Notes that DATA is sent the other way; answers how many of n bytes may be. */
  spend(id: number, n: number): number {
    const stream = this.stream(id);
    const part = Math.max(0, Math.min(n, stream.credit, this.credit));
    stream.credit -= part;
    this.credit -= part;
    return part;
  }

  /** A stream that is opened the other way. */
  expect(id: number): Stream {
    const stream = new Stream(id, this.streamWindow, this.streamCredit);
    this.streams.set(id, stream);
    return stream;
  }

  push(bytes: Buffer): void {
    let rest = bytes;
    if (!this.behindPreface) {
      this.start = Buffer.concat([this.start, rest]);
      if (this.start.length < preface.length) return;
      if (!this.start.subarray(0, preface.length).equals(preface)) throw new Error("no preface");
      this.behindPreface = true;
      rest = this.start.subarray(preface.length);
    }
    for (const frame of this.cutter.push(rest)) {
      this.take(frame);
      this.frames.push(frame);
      this.options.onFrame?.(frame);
    }
  }

  private take({ type, flags, stream: id, payload }: Frame): void {
    if (payload.length > frameMax) throw new Error(`a frame of ${payload.length} bytes`);
    if (this.open && (type !== Type.continuation || id !== this.open.id)) throw new Error("a header block torn apart");
    switch (type) {
      case Type.headers:
        this.open = { id, end: (flags & Flag.endStream) !== 0, parts: [payload] };
        if (flags & Flag.endHeaders) this.block();
        break;
      case Type.continuation:
        if (!this.open) throw new Error("CONTINUATION of nothing");
        this.open.parts.push(payload);
        if (flags & Flag.endHeaders) this.block();
        break;
      case Type.data: {
        const stream = this.live(id);
        stream.add(payload);
        stream.window -= payload.length;
        this.window -= payload.length;
        if (payload.length && (stream.window < 0 || this.window < 0)) throw new Error(`more than the window on ${id}`);
        stream.ended = (flags & Flag.endStream) !== 0;
        break;
      }
      case Type.reset:
        this.stream(id).reset = payload.readUInt32BE(0);
        break;
      case Type.window:
        if (id) this.stream(id).credit += payload.readUInt32BE(0);
        else this.credit += payload.readUInt32BE(0);
        break;
      case Type.settings:
        if (!(flags & Flag.ack)) this.settings(payload);
        break;
    }
  }

  private live(id: number): Stream {
    const stream = this.stream(id);
    if (stream.ended || stream.reset !== undefined) throw new Error(`something on stream ${id}, which is over`);
    return stream;
  }

  private block(): void {
    const { id, end, parts } = this.open as { id: number; end: boolean; parts: Buffer[] };
    this.open = undefined;
    this.decompressor.write(Buffer.concat(parts));
    this.decompressor.execute();
    const fields: Fields = {};
    for (let field = this.decompressor.read(); field; field = this.decompressor.read()) {
      if (!(field.name in fields)) fields[field.name] = field.value;
      else fields[field.name] += `,${field.value}`;
    }
    const stream = this.streams.get(id) ? this.live(id) : this.expect(id);
    stream.fields = { ...stream.fields, ...fields };
    stream.ended = end;
  }

  private settings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== Setting.initialWindowSize) continue;
      const size = payload.readUInt32BE(at + 2);
      for (const stream of this.streams.values()) stream.credit += size - this.streamCredit;
      this.streamCredit = size;
    }
  }
}
