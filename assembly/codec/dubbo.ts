import { HESSIAN_INVALID, Hessian2 } from "../wire/hessian2";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Status } from "./frame";

const HEADER: u32 = 16;
/** 0xDABB as a little-endian load sees it. */
const MAGIC: u16 = 0xbbda;

const FLAG_REQUEST: u32 = 0x80;
const FLAG_TWO_WAY: u32 = 0x40;
const FLAG_EVENT: u32 = 0x20;
const SERIALIZATION: u32 = 0x1f;
const HESSIAN2: u32 = 2;

const STATUS_OK: u32 = 20;

/** First byte of a Hessian 2 response body: the int that says what follows, 0 to 5. */
const EXCEPTION: u32 = 0x90;
const EXCEPTION_WITH_ATTACHMENTS: u32 = 0x93;

const OK = Slice.of("ok");
const EXCEPTION_NAME = Slice.of("exception");
const SERIALIZATION_ERROR = Slice.of("serialization_error");
const CLIENT_TIMEOUT = Slice.of("client_timeout");
const SERVER_TIMEOUT = Slice.of("server_timeout");
const CHANNEL_INACTIVE = Slice.of("channel_inactive");
const BAD_REQUEST = Slice.of("bad_request");
const BAD_RESPONSE = Slice.of("bad_response");
const SERVICE_NOT_FOUND = Slice.of("service_not_found");
const SERVICE_ERROR = Slice.of("service_error");
const SERVER_ERROR = Slice.of("server_error");
const CLIENT_ERROR = Slice.of("client_error");
const THREADPOOL_EXHAUSTED = Slice.of("threadpool_exhausted");

const INTERFACE = Slice.of("interface");
const VERSION = Slice.of("version");
const TIMEOUT = Slice.of("timeout");

/**
 * Dubbo 2 (format: Apache Dubbo's protocol specification, checked against its Java implementation and captures).
 * All integers are big-endian:
 *
 * | off | size | field                                                                                      |
 * |-----|------|--------------------------------------------------------------------------------------------|
 * | 0   | 2    | magic 0xDABB                                                                               |
 * | 2   | 1    | 0x80 request, 0x40 two-way, 0x20 event (heartbeat), low 5 bits serialization (2 = Hessian) |
 * | 3   | 1    | status of a response                                                                       |
 * | 4   | 8    | request id                                                                                 |
 * | 12  | 4    | length of the body that follows                                                            |
 *
 * A Hessian 2 request body: strings Dubbo version, service, service version, method, parameter types; the arguments; a
 * map of attachments. A response body: an int (0 exception, 1 value, 2 null; 3, 4, 5 the same with attachments), and
 * what it says. Bodies of other serializations are not read: their service and method are not known.
 */
@final
export class Dubbo extends Codec {
  private version: Slice = Slice.make();
  /** Where the parameter types begin of the request whose head was just read: metadata() goes on from there. */
  private behindNames: usize = 0;
  private skipped: Slice = Slice.make();
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();

  constructor() {
    super("dubbo", HEADER);
  }

  keys(): string {
    return (
      '[{"name":"interface","about":"the service, as Java names the interface"},' +
      '{"name":"version","about":"version of the service, 0.0.0 where none is set"},' +
      '{"name":"*","about":"every attachment whose value is a string: group, path, dubbo.tag, traceparent ..."}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    if (load<u16>(p) != MAGIC) return -Bad.Magic;
    const body = bswap<u32>(load<u32>(p, 12));
    if (body > (i32.MAX_VALUE as u32) - HEADER) return -Bad.Length;
    const length = HEADER + body;
    const flags = load<u8>(p, 2) as u32;
    frame.length = length;
    frame.id = bswap<u64>(load<u64>(p, 4));
    frame.token = flags;
    if (flags & FLAG_EVENT) {
      frame.kind = flags & FLAG_REQUEST ? Kind.Heartbeat : Kind.HeartbeatReply;
      return READY;
    }
    if (!(flags & FLAG_REQUEST)) return this.response(p, n, frame, flags);
    frame.kind = flags & FLAG_TWO_WAY ? Kind.Request : Kind.OneWay;
    if ((flags & SERIALIZATION) != HESSIAN2) return READY;
    return this.names(p + HEADER, p + min<u32>(n, length), frame) ? READY : this.anyNames(p, n, frame);
  }

  /** The strings that a request body starts with, where all are short and ASCII: nearly always. */
  @inline
  private names(at: usize, end: usize, frame: Frame): bool {
    let text = Hessian2.shortString(at, end);
    if (!text) return false;
    text = Hessian2.shortString(behind(text), end);
    if (!text) return false;
    frame.service.unpack(text);
    text = Hessian2.shortString(behind(text), end);
    if (!text) return false;
    this.version.unpack(text);
    text = Hessian2.shortString(behind(text), end);
    frame.method.unpack(text);
    this.behindNames = behind(text);
    return text != 0;
  }

  /** The same for strings of any kind, and the number of bytes that are missing. */
  private anyNames(p: usize, n: u32, frame: Frame): Look {
    Hessian2.start(p, n, frame.length as u32);
    Hessian2.at = p + HEADER;
    let look = this.text(this.skipped);
    if (!look) look = this.text(frame.service);
    if (!look) look = this.text(this.version);
    if (!look) look = this.text(frame.method);
    this.behindNames = Hessian2.at;
    return look;
  }

  private response(p: usize, n: u32, frame: Frame, flags: u32): Look {
    frame.kind = Kind.Response;
    const code = load<u8>(p, 3) as u32;
    frame.code = code;
    if (code != STATUS_OK) {
      this.status(frame, code);
      return READY;
    }
    frame.outcome.point(OK);
    if ((flags & SERIALIZATION) != HESSIAN2 || frame.length == HEADER) return READY;
    if (n == HEADER) return HEADER + 1;
    const what = load<u8>(p, HEADER) as u32;
    if (what == EXCEPTION || what == EXCEPTION_WITH_ATTACHMENTS) {
      frame.status = Status.Exception;
      frame.outcome.point(EXCEPTION_NAME);
    }
    return READY;
  }

  private status(frame: Frame, code: u32): void {
    switch (code) {
      case 25:
        return named(frame, Status.BadRequest, SERIALIZATION_ERROR);
      case 30:
        return named(frame, Status.Timeout, CLIENT_TIMEOUT);
      case 31:
        return named(frame, Status.Timeout, SERVER_TIMEOUT);
      case 35:
        return named(frame, Status.Unavailable, CHANNEL_INACTIVE);
      case 40:
        return named(frame, Status.BadRequest, BAD_REQUEST);
      case 50:
        return named(frame, Status.Internal, BAD_RESPONSE);
      case 60:
        return named(frame, Status.NotFound, SERVICE_NOT_FOUND);
      case 70:
        return named(frame, Status.Internal, SERVICE_ERROR);
      case 80:
        return named(frame, Status.Internal, SERVER_ERROR);
      case 90:
        return named(frame, Status.BadRequest, CLIENT_ERROR);
      case 100:
        return named(frame, Status.Overload, THREADPOOL_EXHAUSTED);
      default:
        frame.status = Status.Internal;
        frame.decimal(frame.outcome, code);
    }
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    const asks = frame.kind == Kind.Request || frame.kind == Kind.OneWay;
    if (!asks || ((frame.token as u32) & SERIALIZATION) != HESSIAN2) return READY;
    Hessian2.start(p, n, frame.length as u32);
    Hessian2.at = this.behindNames;
    frame.add(INTERFACE, frame.service);
    if (this.version.ptr) frame.add(VERSION, this.version);
    const types = this.skipped;
    let look = Hessian2.string(types);
    if (!look) {
      let left = countTypes(types);
      if (left < 0 || Hessian2.fragmented || !Hessian2.wasString) return dropped(frame);
      while (!look && left--) look = Hessian2.skip();
    }
    if (!look) look = this.attachments(frame);
    return look == HESSIAN_INVALID ? dropped(frame) : look;
  }

  private attachments(frame: Frame): i32 {
    const key = this.key;
    const value = this.value;
    let look = Hessian2.map();
    while (!look && Hessian2.more) {
      look = Hessian2.string(key);
      if (look) return look;
      const fragmented = Hessian2.fragmented;
      look = Hessian2.string(value);
      if (look) return look;
      if (fragmented || Hessian2.fragmented) frame.metadataDropped = true;
      if (key.ptr && value.ptr && (frame.full || !frame.find(key.ptr, key.size).ptr)) {
        frame.add(key, value);
        if (key.is(TIMEOUT.ptr, TIMEOUT.size)) frame.deadline = milliseconds(value);
      }
      look = Hessian2.next();
    }
    return look;
  }

  /** A string of the head; null is an empty one. */
  private text(slice: Slice): Look {
    const look = Hessian2.string(slice);
    if (look == HESSIAN_INVALID || (!look && !Hessian2.wasString)) return -Bad.Encoding;
    return look;
  }

  setId(p: usize, id: u64): bool {
    store<u64>(p, bswap<u64>(id), 4);
    return true;
  }

  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    header(sink, HESSIAN2, errorStatus(reason), frame.id, 0);
    const body = sink.size;
    // A Hessian 2 string whose length counts characters: one chunk is enough for 1023.
    const size = min<u32>(messageSize, 1023);
    sink.u16(0x3000 | size);
    for (let i: u32 = 0; i < size; i++) {
      const c = load<u8>(message + i) as u32;
      sink.u8(c < 0x80 ? c : 0x3f);
    }
    if (!sink.full) store<u32>(sink.ptr + body - 4, bswap<u32>(sink.size - body));
  }

  heartbeat(id: u64, sink: Sink): bool {
    header(sink, FLAG_REQUEST | FLAG_TWO_WAY | FLAG_EVENT | HESSIAN2, 0, id, 1);
    sink.u8(0x4e);
    return true;
  }

  heartbeatReply(frame: Frame, sink: Sink): bool {
    if (!((frame.token as u32) & FLAG_TWO_WAY)) return false;
    header(sink, FLAG_EVENT | HESSIAN2, STATUS_OK, frame.id, 1);
    sink.u8(0x4e);
    return true;
  }
}

/** The address behind a packed slice. */
function behind(packed: u64): usize {
  return ((packed as u32) + ((packed >> 32) as u32)) as usize;
}

function header(sink: Sink, flags: u32, status: u32, id: u64, body: u32): void {
  sink.u16(0xdabb);
  sink.u8(flags);
  sink.u8(status);
  sink.u64(id);
  sink.u32(body);
}

function named(frame: Frame, status: Status, name: Slice): void {
  frame.status = status;
  frame.outcome.point(name);
}

function dropped(frame: Frame): Look {
  frame.metadataDropped = true;
  return READY;
}

function errorStatus(reason: Reason): u32 {
  switch (reason) {
    case Reason.NoRoute:
      return 60;
    case Reason.Timeout:
      return 31;
    case Reason.RateLimited:
      return 100;
    case Reason.BadRequest:
    case Reason.TooLarge:
      return 40;
    default:
      return 80;
  }
}

/** How many types a Java descriptor such as `Ljava/lang/String;I[J` lists; -1 when it is none. */
function countTypes(types: Slice): i32 {
  let count: i32 = 0;
  let i: u32 = 0;
  const size = types.size;
  while (i < size) {
    const c = load<u8>(types.ptr + i++) as u32;
    if (c == 0x5b) continue; // [ goes with the type behind it
    if (c == 0x4c) {
      // L...;
      while (i < size && load<u8>(types.ptr + i) != 0x3b) i++;
      if (i++ >= size) return -1;
    } else if (c - 0x41 > 25) {
      return -1;
    }
    count++;
  }
  return count;
}

function milliseconds(text: Slice): u32 {
  let value: u64 = 0;
  for (let i: u32 = 0; i < text.size; i++) {
    const digit = (load<u8>(text.ptr + i) as u32) - 48;
    if (digit > 9 || value > 0xffffffff) return 0;
    value = value * 10 + digit;
  }
  return value > 0xffffffff ? 0 : (value as u32);
}
