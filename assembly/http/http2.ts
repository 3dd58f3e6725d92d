import { Block } from "../memory/held";
import { Sink } from "../wire/sink";

/** Frame types of RFC 9113. */
const enum Type {
  Data = 0,
  Headers = 1,
  Priority = 2,
  RstStream = 3,
  Settings = 4,
  PushPromise = 5,
  Ping = 6,
  GoAway = 7,
  WindowUpdate = 8,
  Continuation = 9,
}

const END_STREAM: u32 = 0x1;
const ACK: u32 = 0x1;
const END_HEADERS: u32 = 0x4;
const PADDED: u32 = 0x8;
const PRIORITY: u32 = 0x20;

export const enum Setting {
  HeaderTableSize = 1,
  MaxConcurrentStreams = 3,
  InitialWindowSize = 4,
}

/** Error codes of RFC 9113, those that are sent or told apart. */
export const enum ErrorCode {
  NoError = 0,
  Protocol = 1,
  Internal = 2,
  FlowControl = 3,
  StreamClosed = 5,
  FrameSize = 6,
  RefusedStream = 7,
  Cancel = 8,
  Compression = 9,
}

/** What of HTTP/2 a peer broke: a label of `meltemi_closed_connections_total`, so the list stays short. */
export const enum Breach {
  None = 0,
  Preface = 1,
  /** A frame that is too long, too short, on the wrong stream or of a type that has no place there. */
  Frame = 2,
  /** Headers that cannot be decoded, are too long or say what no peer may say. */
  Headers = 3,
  /** More than a window allows, or a window that grows too large. */
  Flow = 4,
  /** A stream that is opened again, or was never opened. */
  Stream = 5,
  /** It is all right, but too much is held already. */
  Crowded = 6,
}

export function breachText(breach: Breach): string {
  switch (breach) {
    case Breach.Preface:
      return "http_preface";
    case Breach.Frame:
      return "http_frame";
    case Breach.Headers:
      return "http_headers";
    case Breach.Flow:
      return "http_flow";
    case Breach.Stream:
      return "http_stream";
    default:
      return "crowded";
  }
}

const FRAME_HEADER: u32 = 9;
/** What is sent and taken in one frame: the default, since Envoy takes and sends no longer ones whatever it is told. */
const FRAME_MAX: u32 = 16384;
export const FIRST_WINDOW: i32 = 65535;
export const WINDOW_MAX: i64 = i32.MAX_VALUE;
/** The longest header block, in HPACK. */
const BLOCK_MAX: u32 = 64 << 10;

/** `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`, what a client's HTTP/2 begins with. */
export const PREFACE_SIZE: u32 = 24;
const PREFACE = memory.data<u8>([
  0x50, 0x52, 0x49, 0x20, 0x2a, 0x20, 0x48, 0x54, 0x54, 0x50, 0x2f, 0x32, 0x2e, 0x30, 0x0d, 0x0a, 0x0d, 0x0a, 0x53,
  0x4d, 0x0d, 0x0a, 0x0d, 0x0a,
]);

/** Where what one HTTP/2 peer sends stands between two reads. All zero at the start of its frames. */
@unmanaged
@final
export class Http2Cut {
  // A frame header that is cut in two: nine bytes in a row.
  private header: u64;
  private headerLast: u8;
  private headerSize: u8;
  private type: u32;
  private flags: u32;
  private stream: u32;
  /** Of the current frame, without padding: bytes that are still to come. */
  private rest: u32;
  private padding: u32;
  /** The whole payload, which is what flow control counts. */
  private length: u32;
  private inFrame: bool;
  /** The pad length of a DATA frame is still to come. */
  private padComes: bool;
  /** A header block has begun: only its CONTINUATION may follow. */
  private inBlock: bool;
  /** It ends the stream. */
  private blockEnds: bool;
  private blockStream: u32;
  // Two blocks, in place: a payload and a header block that are not whole yet.
  private payload0: u64;
  private payload1: u64;
  private block0: u64;
  private block1: u64;

  private get headerAt(): usize {
    return changetype<usize>(this);
  }

  private get payload(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Http2Cut>("payload0"));
  }

  private get block(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Http2Cut>("block0"));
  }

  /** Bytes of a DATA frame of that stream that is passing: they count for flow control when it is over. */
  passingOf(stream: u32): u32 {
    return this.inFrame && this.type == Type.Data && this.stream == stream ? this.length : 0;
  }

  release(): void {
    this.payload.release();
    this.block.release();
  }
}

/**
 * Cuts what an HTTP/2 peer sends into frames, checks what a frame alone can show to be wrong, and puts header blocks
 * together. Streams, windows and header fields are the business of whoever extends it.
 */
export abstract class Http2Reader {
  /** What ended the connection; nothing is read after it. */
  breach: Breach = Breach.None;

  /** A whole header block, still in HPACK. */
  protected abstract onHeaders(stream: u32, p: usize, n: u32, end: bool): void;
  /** The bytes of the last header block go, where they had to be held: before that is the time to copy. */
  protected abstract onHeadersGone(): void;
  protected abstract onData(stream: u32, p: usize, n: u32): void;
  /** The DATA frame whose bytes came before is over; `flow` bytes of it count for flow control. */
  protected abstract onDataEnd(stream: u32, flow: u32, end: bool): void;
  protected abstract onReset(stream: u32, code: u32): void;
  /** Settings in the form of the frame, six bytes each. */
  protected abstract onSettings(p: usize, n: u32): void;
  protected abstract onSettingsAck(): void;
  /** Eight bytes, to be sent back. */
  protected abstract onPing(p: usize): void;
  protected abstract onPingAck(): void;
  protected abstract onGoAway(lastStream: u32, code: u32): void;
  /** Stream 0 is the connection. */
  protected abstract onWindow(stream: u32, increment: u32): void;

  /** Reads n bytes; false once the peer broke the protocol (`breach`). */
  protected read(cut: Http2Cut, p: usize, n: u32): bool {
    const end = p + n;
    while (true) {
      if (!cut.inFrame) {
        if (p == end) return true;
        if (!cut.headerSize && end - p >= FRAME_HEADER) {
          this.begin(cut, p);
          p += FRAME_HEADER;
        } else {
          const part = min<u32>(FRAME_HEADER - cut.headerSize, (end - p) as u32);
          memory.copy(cut.headerAt + cut.headerSize, p, part);
          p += part;
          cut.headerSize += part as u8;
          if (cut.headerSize < FRAME_HEADER) return true;
          cut.headerSize = 0;
          this.begin(cut, cut.headerAt);
        }
        if (this.breach) return false;
      }
      if (cut.type == Type.Data || cut.type > (Type.Continuation as u32)) {
        p = this.passing(cut, p, end);
      } else if (!cut.payload.size && end - p >= cut.rest) {
        cut.inFrame = false;
        this.whole(cut, p, cut.rest);
        p += cut.rest;
      } else {
        const payload = cut.payload;
        const part = min<u32>(cut.rest - payload.size, (end - p) as u32);
        if (!payload.append(p, part)) {
          this.fail(Breach.Crowded);
          return false;
        }
        p += part;
        if (payload.size == cut.rest) {
          cut.inFrame = false;
          this.whole(cut, payload.ptr, cut.rest);
          this.onHeadersGone();
          payload.release();
        }
      }
      if (this.breach) return false;
      if (cut.inFrame) return true;
    }
  }

  /** Nothing more of this connection is read. */
  protected fail(breach: Breach): void {
    if (!this.breach) this.breach = breach;
  }

  /** A frame header of nine bytes. */
  private begin(cut: Http2Cut, p: usize): void {
    const length = bswap<u32>(load<u32>(p)) >> 8;
    const type = load<u8>(p, 3) as u32;
    const flags = load<u8>(p, 4) as u32;
    const stream = bswap<u32>(load<u32>(p, 5)) & 0x7fffffff;
    cut.type = type;
    cut.flags = flags;
    cut.stream = stream;
    cut.length = length;
    cut.rest = length;
    cut.padding = 0;
    cut.inFrame = true;
    cut.padComes = type == Type.Data && (flags & PADDED) != 0;
    if (!fits(type, flags, stream, length)) return this.fail(Breach.Frame);
    const continues = type == Type.Continuation;
    if (cut.inBlock != continues || (continues && stream != cut.blockStream)) return this.fail(Breach.Frame);
    if (cut.padComes && !length) this.fail(Breach.Frame);
  }

  /** Bytes of DATA, or of a type that nobody knows, which are passed over. */
  private passing(cut: Http2Cut, p: usize, end: usize): usize {
    if (cut.padComes) {
      if (p == end) return p;
      const padding = load<u8>(p++) as u32;
      cut.padComes = false;
      cut.rest--;
      if (padding > cut.rest) {
        this.fail(Breach.Frame);
        return end;
      }
      cut.padding = padding;
      cut.rest -= padding;
    }
    const isData = cut.type == Type.Data;
    const part = min<u32>(cut.rest, (end - p) as u32);
    if (part && isData) this.onData(cut.stream, p, part);
    cut.rest -= part;
    p += part;
    if (cut.rest) return p;
    const padding = min<u32>(cut.padding, (end - p) as u32);
    cut.padding -= padding;
    p += padding;
    if (cut.padding) return p;
    cut.inFrame = false;
    if (isData && !this.breach) this.onDataEnd(cut.stream, cut.length, (cut.flags & END_STREAM) != 0);
    return p;
  }

  /** A frame that is not DATA, with its whole payload. */
  private whole(cut: Http2Cut, p: usize, n: u32): void {
    const stream = cut.stream;
    const flags = cut.flags;
    switch (cut.type) {
      case Type.Headers:
        return this.openBlock(cut, p, n, flags);
      case Type.Continuation:
        return this.fragment(cut, p, n, flags);
      case Type.RstStream:
        return this.onReset(stream, bswap<u32>(load<u32>(p)));
      case Type.Settings:
        if (flags & ACK) this.onSettingsAck();
        else this.onSettings(p, n);
        return;
      case Type.Ping:
        if (flags & ACK) this.onPingAck();
        else this.onPing(p);
        return;
      case Type.GoAway:
        return this.onGoAway(bswap<u32>(load<u32>(p)) & 0x7fffffff, bswap<u32>(load<u32>(p, 4)));
      case Type.WindowUpdate:
        return this.onWindow(stream, bswap<u32>(load<u32>(p)) & 0x7fffffff);
    }
  }

  private openBlock(cut: Http2Cut, p: usize, n: u32, flags: u32): void {
    let skip: u32 = 0;
    let padding: u32 = 0;
    if (flags & PADDED) {
      if (!n) return this.fail(Breach.Frame);
      padding = load<u8>(p);
      skip = 1;
    }
    if (flags & PRIORITY) skip += 5;
    if (skip + padding > n) return this.fail(Breach.Frame);
    p += skip;
    n -= skip + padding;
    const ends = (flags & END_STREAM) != 0;
    if (flags & END_HEADERS) return this.onHeaders(cut.stream, p, n, ends);
    cut.inBlock = true;
    cut.blockEnds = ends;
    cut.blockStream = cut.stream;
    if (!cut.block.append(p, n)) this.fail(Breach.Crowded);
  }

  private fragment(cut: Http2Cut, p: usize, n: u32, flags: u32): void {
    const block = cut.block;
    // An empty one that ends nothing is work for nothing, and may be repeated for ever.
    if (block.size + n > BLOCK_MAX || (!n && !(flags & END_HEADERS))) return this.fail(Breach.Headers);
    if (!block.append(p, n)) return this.fail(Breach.Crowded);
    if (!(flags & END_HEADERS)) return;
    cut.inBlock = false;
    this.onHeaders(cut.stream, block.ptr, block.size, cut.blockEnds);
    this.onHeadersGone();
    block.release();
  }
}

/** Whether a frame header is one that RFC 9113 allows, as far as it shows by itself. */
function fits(type: u32, flags: u32, stream: u32, length: u32): bool {
  if (length > FRAME_MAX) return false;
  switch (type) {
    case Type.Data:
    case Type.Headers:
    case Type.Continuation:
      return stream != 0;
    case Type.Priority:
      return stream != 0 && length == 5;
    case Type.RstStream:
      return stream != 0 && length == 4;
    case Type.Settings:
      return stream == 0 && (flags & ACK ? length == 0 : length % 6 == 0);
    case Type.PushPromise:
      return false;
    case Type.Ping:
      return stream == 0 && length == 8;
    case Type.GoAway:
      return stream == 0 && length >= 8;
    case Type.WindowUpdate:
      return length == 4;
    default:
      return true;
  }
}

/** Writes HTTP/2 frames. */
@final
export class Http2 {
  /** How the n bytes at p begin: 1 with the preface, 0 with a part of it that may become one, -1 with something else. */
  static preface(p: usize, n: u32): i32 {
    const size = min<u32>(n, PREFACE_SIZE);
    if (memory.compare(p, PREFACE, size)) return -1;
    return size == PREFACE_SIZE ? 1 : 0;
  }

  static writePreface(sink: Sink): void {
    sink.bytes(PREFACE, PREFACE_SIZE);
  }

  /** Settings as pairs of key and value. */
  static settings(sink: Sink, pairs: StaticArray<u32>): void {
    Http2.frame(sink, (pairs.length >> 1) * 6, Type.Settings, 0, 0);
    for (let i = 0; i < pairs.length; i += 2) {
      sink.u16(pairs[i]);
      sink.u32(pairs[i + 1]);
    }
  }

  static settingsAck(sink: Sink): void {
    Http2.frame(sink, 0, Type.Settings, ACK, 0);
  }

  static ping(sink: Sink): void {
    Http2.frame(sink, 8, Type.Ping, 0, 0);
    sink.u64(0);
  }

  static pingAck(sink: Sink, p: usize): void {
    Http2.frame(sink, 8, Type.Ping, ACK, 0);
    sink.bytes(p, 8);
  }

  static window(sink: Sink, stream: u32, increment: u32): void {
    Http2.frame(sink, 4, Type.WindowUpdate, 0, stream);
    sink.u32(increment);
  }

  static reset(sink: Sink, stream: u32, code: ErrorCode): void {
    Http2.frame(sink, 4, Type.RstStream, 0, stream);
    sink.u32(code);
  }

  /** A header block in as many frames as it takes. */
  static headers(sink: Sink, stream: u32, block: Sink, end: bool): void {
    let from = block.ptr;
    let left = block.size;
    let part = min<u32>(left, FRAME_MAX);
    let flags: u32 = end ? END_STREAM : 0;
    let type = Type.Headers;
    while (true) {
      left -= part;
      Http2.frame(sink, part, type, left ? flags : flags | END_HEADERS, stream);
      sink.bytes(from, part);
      if (!left) return;
      from += part;
      part = min<u32>(left, FRAME_MAX);
      flags = 0;
      type = Type.Continuation;
    }
  }

  /** n bytes in as many frames as it takes; with none of them, an empty frame. */
  static data(sink: Sink, stream: u32, p: usize, n: u32, end: bool): void {
    do {
      const part = min<u32>(n, FRAME_MAX);
      n -= part;
      Http2.frame(sink, part, Type.Data, end && !n ? END_STREAM : 0, stream);
      sink.bytes(p, part);
      p += part;
    } while (n);
  }

  @inline
  private static frame(sink: Sink, length: u32, type: u32, flags: u32, stream: u32): void {
    const p = sink.reserve(FRAME_HEADER);
    if (!p) return;
    store<u32>(p, bswap<u32>((length << 8) | type));
    store<u8>(p, flags as u8, 4);
    store<u32>(p, bswap<u32>(stream), 5);
  }
}
