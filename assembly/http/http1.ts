import { Block } from "../memory/held";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Field } from "./field";
import { Headers } from "./headers";

/** The longest head; and the most bytes of one request that chunk extensions and trailers may have together. */
const HEAD_MAX: u32 = 64 << 10;

const CR: u32 = 13;
const LF: u32 = 10;
const BLANK: u32 = 32;
const COLON: u32 = 58;
const SEMICOLON: u32 = 59;
const SLASH: u32 = 47;
const STAR: u32 = 42;

/** Leading zeros count as well: they must not go on for ever. */
const CHUNK_DIGITS_MAX: u32 = 15;

const METHOD = Slice.of(":method");
const PATH = Slice.of(":path");
const AUTHORITY = Slice.of(":authority");
const HOST = Slice.of("host");
const CONTENT_LENGTH = Slice.of("content-length");
const TRANSFER_ENCODING = Slice.of("transfer-encoding");
const CHUNKED = Slice.of("chunked");
const VERSION = Slice.of("HTTP/1.1");
const LAST_CHUNK = Slice.of("0\r\n\r\n");
const HTTP = Slice.of("http://");
const HTTPS = Slice.of("https://");
const ROOT = Slice.of("/");

/** What the next byte belongs to. */
const enum Stage {
  Head,
  /** A body with a known length. */
  Body,
  ChunkSize,
  ChunkExtension,
  ChunkSizeLf,
  Chunk,
  ChunkCr,
  ChunkLf,
  /** The start of a line that is a trailer or, when it is empty, the end. */
  TrailerStart,
  Trailer,
  TrailerLf,
  LastLf,
}

/**
 * Where one HTTP/1.1 connection stands between two reads. Part of a bigger record; all zero at the start. The block that
 * it extends is the head that is not whole yet.
 */
@unmanaged
export class Http1Cut extends Block {
  /** Bytes of the body, or of the chunk, that are still to come. */
  rest: u64;
  stage: Stage;
  /** Bytes so far of the line of the head that is being read. */
  line: u32;
  /** Digits so far of the chunk's size. */
  digits: u32;
  /** Bytes so far of this request's chunk extensions and trailers. */
  extras: u32;
}

/**
 * Reads the requests of an HTTP/1.1 connection, strictly as RFC 9112 says: where another server might see other requests
 * in the same bytes, the connection ends. HTTP/1.0 and CONNECT are not spoken.
 */
export abstract class Http1Reader {
  /**
   * Of the request: `:method`, `:path`, `:authority`, then the fields in their order, `host` not among them. The bytes
   * hold until onRequest() returns.
   */
  readonly headers: Headers = new Headers();
  private stopped: bool = false;
  /** Names that came in upper case. */
  private lowered: Sink = new Sink(HEAD_MAX);
  /** Where the next one goes. */
  private lowerAt: usize = 0;
  /** Of the head being read; -1 where there is none. */
  private contentLength: i64 = -1;
  private chunked: bool = false;

  /** The head is complete, in `headers`. */
  protected abstract onRequest(): void;
  /** Bytes of the body, at least one. */
  protected abstract onBody(p: usize, n: u32): void;
  /** The request is complete. */
  protected abstract onEnd(): void;
  /** These are no requests, or ones beyond the limits: nothing more of this connection can be read. */
  protected abstract onBad(): void;

  /** For callbacks: makes read() return at once, without another look at `cut`. */
  protected stop(): void {
    this.stopped = true;
  }

  /** Reads n bytes at p; false once onBad() was called, or stop(). */
  read(cut: Http1Cut, p: usize, n: u32): bool {
    this.stopped = false;
    const end = p + n;
    while (p < end && !this.stopped) {
      const stage = cut.stage;
      if (stage == Stage.Head) {
        p = this.head(cut, p, end);
      } else if (stage == Stage.Body || stage == Stage.Chunk) {
        const size = min<u64>(cut.rest, (end - p) as u64) as u32;
        cut.rest -= size;
        const ends = !cut.rest;
        if (ends) cut.stage = stage == Stage.Body ? Stage.Head : Stage.ChunkCr;
        this.onBody(p, size);
        if (ends && stage == Stage.Body && !this.stopped) this.onEnd();
        p += size;
      } else {
        this.framing(cut, load<u8>(p++));
      }
    }
    return !this.stopped;
  }

  private bad(): void {
    this.stopped = true;
    this.onBad();
  }

  /** Looks for the end of a head that goes on at p; answers where to go on. */
  private head(cut: Http1Cut, p: usize, end: usize): usize {
    let line = cut.line;
    for (let at = p; at < end; at++) {
      line++;
      const byte: u32 = load<u8>(at);
      if (byte != LF) {
        if (byte == CR || Field.isTextByte(byte)) continue;
        // Whoever speaks something else may never end a line, but waits for an answer.
        this.bad();
        return end;
      }
      const before = at > p ? load<u8>(at - 1) : cut.size ? load<u8>(cut.ptr + cut.size - 1) : 0;
      if (before != CR) {
        this.bad();
        return end;
      }
      if (line == 2) {
        const behind = at + 1;
        cut.line = 0;
        this.whole(cut, p, (behind - p) as u32);
        return behind;
      }
      line = 0;
    }
    cut.line = line;
    const size = (end - p) as u32;
    if (size > HEAD_MAX - cut.size || !cut.append(p, size)) this.bad();
    return end;
  }

  /** The head ends with the n bytes at p. */
  private whole(cut: Http1Cut, p: usize, n: u32): void {
    const held = cut.size;
    const size = held + n;
    // An empty line before a request is what some clients leave behind a body.
    if (size == 2) return cut.release();
    if (n > HEAD_MAX - held || (held && !cut.append(p, n))) return this.bad();
    if (!this.parse(held ? cut.ptr : p, size)) return this.bad();
    const length = this.contentLength;
    const hasBody = this.chunked || length > 0;
    if (this.chunked) {
      cut.stage = Stage.ChunkSize;
      cut.digits = 0;
      cut.extras = 0;
    } else if (length > 0) {
      cut.stage = Stage.Body;
      cut.rest = length;
    }
    this.onRequest();
    if (this.stopped) return;
    cut.release();
    if (!hasBody) this.onEnd();
  }

  /** Reads a whole head, its last empty line included, into `headers`. */
  private parse(p: usize, size: u32): bool {
    const end = p + size - 2;
    const headers = this.headers;
    headers.clear();
    this.lowered.clear();
    this.contentLength = -1;
    this.chunked = false;
    let lineEnd = endOfLine(p);
    if (!this.requestLine(p, lineEnd)) return false;
    const authority = headers.value(2);
    const isAbsolute = authority.size > 0;
    let hosts = 0;
    for (p = lineEnd + 2; p < end; p = lineEnd + 2) {
      const nameSize = tokenSize(p);
      if (!nameSize || load<u8>(p + nameSize) != COLON) return false;
      const name = this.lowerCase(p, nameSize, size);
      lineEnd = endOfLine(p);
      let from = p + nameSize + 1;
      let to = lineEnd;
      while (from < to && isBlank(load<u8>(from))) from++;
      while (to > from && isBlank(load<u8>(to - 1))) to--;
      const valueSize = (to - from) as u32;
      if (!Field.isText(from, valueSize)) return false;
      if (HOST.is(name, nameSize)) {
        if (hosts++ || visibleSize(from) < valueSize) return false;
        if (!isAbsolute) authority.set(from, valueSize);
        continue;
      }
      if (CONTENT_LENGTH.is(name, nameSize)) {
        if (this.contentLength >= 0) return false;
        this.contentLength = decimal(from, to);
        if (this.contentLength < 0) return false;
      } else if (TRANSFER_ENCODING.is(name, nameSize)) {
        // Without knowing any other coding, the end of the body could not be found.
        if (this.chunked || !isLike(CHUNKED, from, valueSize)) return false;
        this.chunked = true;
      }
      if (!headers.add(name, nameSize, from, valueSize)) return false;
    }
    return hosts == 1 && !(this.chunked && this.contentLength >= 0);
  }

  /** Method, target and version; fills in the pseudo-headers, `:authority` with nothing where the target has none. */
  private requestLine(p: usize, end: usize): bool {
    const methodSize = tokenSize(p);
    let target = p + methodSize + 1;
    if (!methodSize || load<u8>(target - 1) != BLANK) return false;
    const targetSize = visibleSize(target);
    const version = target + targetSize + 1;
    if (version > end || load<u8>(version - 1) != BLANK || !VERSION.is(version, (end - version) as u32)) return false;
    const headers = this.headers;
    headers.add(METHOD.ptr, METHOD.size, p, methodSize);
    const targetEnd = target + targetSize;
    let authority: usize = 0;
    let authoritySize: u32 = 0;
    const first = load<u8>(target);
    if (first != SLASH && !(first == STAR && targetSize == 1)) {
      if (isLike(HTTP, target, min<u32>(targetSize, HTTP.size))) authority = target + HTTP.size;
      else if (isLike(HTTPS, target, min<u32>(targetSize, HTTPS.size))) authority = target + HTTPS.size;
      else return false;
      target = authority;
      while (target < targetEnd && load<u8>(target) != SLASH) target++;
      authoritySize = (target - authority) as u32;
      if (!authoritySize) return false;
    }
    if (target < targetEnd) headers.add(PATH.ptr, PATH.size, target, (targetEnd - target) as u32);
    else headers.add(PATH.ptr, PATH.size, ROOT.ptr, ROOT.size);
    headers.add(AUTHORITY.ptr, AUTHORITY.size, authority, authoritySize);
    return true;
  }

  /** The address of a name in lower case: its own where it came so. `headSize` is room for all names of the head. */
  private lowerCase(p: usize, size: u32, headSize: u32): usize {
    let i: u32 = 0;
    while (i < size && Field.lower(load<u8>(p + i)) == load<u8>(p + i)) i++;
    if (i == size) return p;
    // All at once, because growing would move the names that are there.
    if (!this.lowered.size) this.lowerAt = this.lowered.reserve(headSize);
    const to = this.lowerAt;
    this.lowerAt = to + size;
    for (i = 0; i < size; i++) store<u8>(to + i, Field.lower(load<u8>(p + i)) as u8);
    return to;
  }

  /** One byte of what is around chunks. */
  private framing(cut: Http1Cut, byte: u32): void {
    switch (cut.stage) {
      case Stage.ChunkSize: {
        const digit = hexDigit(byte);
        if (digit < 16) {
          if (++cut.digits > CHUNK_DIGITS_MAX) return this.bad();
          cut.rest = (cut.rest << 4) | digit;
          return;
        }
        if (!cut.digits) return this.bad();
        if (byte == CR) cut.stage = Stage.ChunkSizeLf;
        else if (byte == SEMICOLON) cut.stage = Stage.ChunkExtension;
        else this.bad();
        return;
      }
      case Stage.ChunkExtension:
        return this.extra(cut, byte, Stage.ChunkSizeLf);
      case Stage.ChunkSizeLf:
        return this.lineFeed(cut, byte, cut.rest ? Stage.Chunk : Stage.TrailerStart);
      case Stage.ChunkCr:
        if (byte != CR) return this.bad();
        cut.stage = Stage.ChunkLf;
        return;
      case Stage.ChunkLf:
        cut.digits = 0;
        return this.lineFeed(cut, byte, Stage.ChunkSize);
      case Stage.TrailerStart:
        cut.stage = byte == CR ? Stage.LastLf : Stage.Trailer;
        if (byte == CR) return;
        if (Field.lower(byte)) this.extra(cut, byte, Stage.TrailerLf);
        else this.bad();
        return;
      case Stage.Trailer:
        return this.extra(cut, byte, Stage.TrailerLf);
      case Stage.TrailerLf:
        return this.lineFeed(cut, byte, Stage.TrailerStart);
      default:
        if (byte != LF) return this.bad();
        cut.stage = Stage.Head;
        this.onEnd();
    }
  }

  /** A byte that is skipped up to the end of its line, within limits. */
  private extra(cut: Http1Cut, byte: u32, behind: Stage): void {
    if (byte == CR) cut.stage = behind;
    else if (!Field.isTextByte(byte) || ++cut.extras > HEAD_MAX) this.bad();
  }

  private lineFeed(cut: Http1Cut, byte: u32, behind: Stage): void {
    if (byte == LF) cut.stage = behind;
    else this.bad();
  }
}

/** Writes the head of a response: status(), header() for each field, end(); and the chunks of its body. */
@final
export class Http1 {
  /** Three digits; the phrase behind it may be empty, as nothing reads it. */
  static status(sink: Sink, status: u32): void {
    sink.bytes(VERSION.ptr, VERSION.size);
    sink.u8(BLANK);
    sink.unsigned(status);
    sink.u8(BLANK);
    Http1.end(sink);
  }

  static header(sink: Sink, name: usize, nameSize: u32, value: usize, valueSize: u32): void {
    sink.bytes(name, nameSize);
    sink.u8(COLON);
    sink.u8(BLANK);
    sink.bytes(value, valueSize);
    Http1.end(sink);
  }

  static end(sink: Sink): void {
    sink.u16((CR << 8) | LF);
  }

  /** A chunk of n bytes, at least one: none would be the last. */
  static chunk(sink: Sink, p: usize, n: u32): void {
    for (let shift = (31 - clz(n)) & 28; shift >= 0; shift -= 4) {
      const digit = (n >> shift) & 15;
      sink.u8(digit + (digit < 10 ? 0x30 : 0x57));
    }
    Http1.end(sink);
    sink.bytes(p, n);
    Http1.end(sink);
  }

  static lastChunk(sink: Sink): void {
    sink.bytes(LAST_CHUNK.ptr, LAST_CHUNK.size);
  }
}

/** The address of the CR at the end of a line of a whole head. */
function endOfLine(p: usize): usize {
  while (load<u8>(p) != LF) p++;
  return p - 1;
}

/** How many bytes of a token stand at p, in a whole head. */
function tokenSize(p: usize): u32 {
  const start = p;
  while (Field.lower(load<u8>(p))) p++;
  return (p - start) as u32;
}

/** How many visible ASCII characters stand at p, in a whole head. */
function visibleSize(p: usize): u32 {
  const start = p;
  while ((load<u8>(p) as u32) - 0x21 < 0x5e) p++;
  return (p - start) as u32;
}

function isBlank(byte: u32): bool {
  return byte == BLANK || byte == 9;
}

/** Whether it is that text, which is in lower case, but for the case. */
function isLike(text: Slice, p: usize, size: u32): bool {
  if (size != text.size) return false;
  for (let i: u32 = 0; i < size; i++) {
    const byte = load<u8>(p + i) as u32;
    const lower = byte - 0x41 < 26 ? byte | 0x20 : byte;
    if (lower != load<u8>(text.ptr + i)) return false;
  }
  return true;
}

/** -1 where it is no number, or one of more than 18 digits. */
function decimal(p: usize, end: usize): i64 {
  if (p == end || end - p > 18) return -1;
  let value: i64 = 0;
  for (; p < end; p++) {
    const digit = (load<u8>(p) as u32) - 48;
    if (digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** 16 where it is none. */
function hexDigit(byte: u32): u32 {
  if (byte - 0x30 < 10) return byte - 0x30;
  const letter = (byte | 0x20) - 0x61;
  return letter < 6 ? letter + 10 : 16;
}
