import { BYTES, MALFORMED, Protobuf, VARINT } from "../wire/protobuf";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 16;
/** 0x0930 as a little-endian load sees it. */
const MAGIC: u16 = 0x3009;

/** Bytes 2 and 3 as a little-endian load sees them: frame type, and what a stream's frame is. */
const UNARY: u32 = 0;
const INIT: u32 = 0x0101;
const DATA: u32 = 0x0201;
const FEEDBACK: u32 = 0x0301;
const CLOSE: u32 = 0x0401;

// RequestProtocol and ResponseProtocol.
const CALL_TYPE: u32 = (2 << 3) | VARINT;
const REQUEST_ID: u32 = (3 << 3) | VARINT;
const ONE_WAY: u64 = 1;
// RequestProtocol.
const TIMEOUT: u32 = (4 << 3) | VARINT;
const REQUEST_CALLER: u32 = (5 << 3) | BYTES;
const REQUEST_INFO: u32 = (9 << 3) | BYTES;
// ResponseProtocol.
const RET: u32 = (4 << 3) | VARINT;
const FUNC_RET: u32 = (5 << 3) | VARINT;
const ERROR_MESSAGE: u32 = (6 << 3) | BYTES;
const RESPONSE_INFO: u32 = (8 << 3) | BYTES;
// TrpcStreamInitMeta.
const INIT_REQUEST: u32 = (1 << 3) | BYTES;
const INIT_RESPONSE: u32 = (2 << 3) | BYTES;
// TrpcStreamInitRequestMeta.
const INIT_CALLER: u32 = (1 << 3) | BYTES;
const INIT_INFO: u32 = (5 << 3) | BYTES;
// TrpcStreamInitResponseMeta.
const INIT_RET: u32 = (1 << 3) | VARINT;
const INIT_MESSAGE: u32 = (2 << 3) | BYTES;
// TrpcStreamCloseMeta.
const CLOSE_TYPE: u32 = (1 << 3) | VARINT;
const CLOSE_RET: u32 = (2 << 3) | VARINT;
const CLOSE_MESSAGE: u32 = (3 << 3) | BYTES;
const CLOSE_INFO: u32 = (5 << 3) | BYTES;
const CLOSE_FUNC_RET: u32 = (6 << 3) | VARINT;
const RESET: u64 = 1;

/** Of a message that has none. */
const NO_ID: i64 = -1;

/** The messages that have metadata. */
const enum Message {
  None,
  Request,
  Response,
  /** Inside of TrpcStreamInitMeta. */
  InitRequest,
  Close,
}

/** What a token has in its low 16 bits; in the others it has the header from the stream id on. */
const TOKEN_CALL_TYPE: u64 = 0xff;
const TOKEN_STREAM: u64 = 0x100;

/** Error texts are for people. */
const MESSAGE_MAX: u32 = 1024;

const EXCEPTION = Slice.of("exception");
const STREAM_RESET = Slice.of("reset");
/** Of a call whose end the framework has no word for. */
const UNKNOWN: i32 = 999;
/** What `ret` says. */
const STATUSES = new Statuses(Status.Internal)
  .add(0, Status.Ok, "ok")
  .add(1, Status.BadRequest, "server_decode")
  .add(2, Status.Internal, "server_encode")
  .add(11, Status.NotFound, "server_noservice")
  .add(12, Status.NotFound, "server_nofunc")
  .add(21, Status.Timeout, "server_timeout")
  .add(22, Status.Overload, "server_overload")
  .add(23, Status.Overload, "server_limited")
  .add(24, Status.Timeout, "server_full_link_timeout")
  .add(31, Status.Internal, "server_system")
  .add(41, Status.Denied, "server_auth")
  .add(51, Status.BadRequest, "server_validate")
  .add(101, Status.Timeout, "client_invoke_timeout")
  .add(102, Status.Timeout, "client_full_link_timeout")
  .add(111, Status.Unavailable, "client_connect")
  .add(123, Status.Overload, "client_limited")
  .add(124, Status.Overload, "client_overload")
  .add(131, Status.Unavailable, "client_router")
  .add(141, Status.Unavailable, "client_network")
  .add(161, Status.Unavailable, "client_canceled")
  .add(UNKNOWN, Status.Internal, "invoke_unknown")
  .add(1000, Status.Internal, "stream_unknown")
  .also(Status.Exception, EXCEPTION)
  .also(Status.Internal, STREAM_RESET);

const CALLER_KEY = Slice.of("caller");
const CALLEE_KEY = Slice.of("callee");
const FUNC_KEY = Slice.of("func");

/**
 * tRPC (format: trpc.proto of the tRPC project and its protocol design, checked against its Java implementation). All
 * integers of the header are big-endian:
 *
 * | off | size | field                                                                                          |
 * |-----|------|------------------------------------------------------------------------------------------------|
 * | 0   | 2    | magic 0x0930                                                                                   |
 * | 2   | 1    | 0 unary, 1 stream                                                                              |
 * | 3   | 1    | of a stream: 1 INIT, 2 DATA, 3 FEEDBACK, 4 CLOSE                                               |
 * | 4   | 4    | length of the whole frame                                                                      |
 * | 8   | 2    | unary: length of the message behind the header                                                 |
 * | 10  | 4    | stream id; unary: the request id again where byte 14 is not 0                                  |
 * | 14  | 1    | version of the header                                                                          |
 * | 15  | 1    | reserved                                                                                       |
 *
 * Behind it, in Protocol Buffers: a RequestProtocol or a ResponseProtocol, which one is known from who sends it, then the
 * payload; of INIT and CLOSE frames all the rest is TrpcStreamInitMeta and TrpcStreamCloseMeta; DATA is payload only.
 *
 * A client's INIT opens a stream. A server's INIT says that it is open (stream data), or why it is not (the stream's
 * close). A CLOSE whose status is not Ok ends both directions, otherwise the sender's only.
 */
@final
export class Trpc extends Codec {
  // Of the request whose head was just read: metadata() goes on from there.
  private caller: Slice = Slice.make();
  private callee: Slice = Slice.make();
  private func: Slice = Slice.make();
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();

  constructor() {
    super("trpc", HEADER, STATUSES);
  }

  get magic(): string {
    return "0930";
  }

  keys(): string {
    return (
      '[{"name":"caller","about":"who calls, trpc.app.server.service"},' +
      '{"name":"callee","about":"who is called, trpc.app.server.service"},' +
      '{"name":"func","about":"what is called, /package.Service/Method"},' +
      '{"name":"*","about":"every entry of trans_info whose value is text: trpc-dyeing-key, trpc-env, traceparent ..."}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    if (load<u16>(p) != MAGIC) return -Bad.Magic;
    const length = bswap<u32>(load<u32>(p, 4));
    frame.length = length;
    if (length < HEADER || length > (i32.MAX_VALUE as u32)) return -Bad.Length;
    const type = load<u16>(p, 2) as u32;
    frame.token = load<u64>(p, 8) & ~0xffff;
    if (type == UNARY) return this.unary(p, n, frame);
    frame.id = bswap<u32>(load<u32>(p, 10));
    frame.token |= TOKEN_STREAM;
    frame.kind = Kind.StreamData;
    switch (type) {
      case DATA:
      case FEEDBACK:
        return READY;
      case INIT:
        if (n < length) return length;
        return this.init(p + HEADER, p + length, frame);
      case CLOSE:
        if (n < length) return length;
        return this.close(p + HEADER, p + length, frame);
      default:
        return -Bad.Field;
    }
  }

  private unary(p: usize, n: u32, frame: Frame): Look {
    const behind = HEADER + unarySize(p);
    if ((behind as u64) > frame.length) return -Bad.Length;
    if (n < behind) return behind;
    const at = p + HEADER;
    const end = p + behind;
    return frame.side == Side.Client ? this.request(at, end, frame) : this.response(at, end, frame);
  }

  private request(at: usize, end: usize, frame: Frame): Look {
    this.forget();
    frame.kind = Kind.Request;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return -Bad.Encoding;
      switch (Protobuf.tag) {
        case CALL_TYPE:
          frame.kind = Protobuf.number == ONE_WAY ? Kind.OneWay : Kind.Request;
          frame.token = (frame.token & ~TOKEN_CALL_TYPE) | (Protobuf.number & TOKEN_CALL_TYPE);
          break;
        case REQUEST_ID:
          frame.id = Protobuf.number as u32;
          break;
        case TIMEOUT:
          frame.deadline = Protobuf.number as u32;
          break;
        default:
          this.noteName(REQUEST_CALLER);
      }
    }
    this.names(frame);
    return READY;
  }

  private response(at: usize, end: usize, frame: Frame): Look {
    frame.kind = Kind.Response;
    let ret: i32 = 0;
    let funcRet: i32 = 0;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return -Bad.Encoding;
      switch (Protobuf.tag) {
        case REQUEST_ID:
          frame.id = Protobuf.number as u32;
          break;
        case RET:
          ret = Protobuf.number as i32;
          break;
        case FUNC_RET:
          funcRet = Protobuf.number as i32;
          break;
      }
    }
    status(frame, ret, funcRet);
    return READY;
  }

  private init(at: usize, end: usize, frame: Frame): Look {
    const asks = frame.side == Side.Client;
    const wanted = asks ? INIT_REQUEST : INIT_RESPONSE;
    this.forget();
    let ret: i32 = 0;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return -Bad.Encoding;
      if (Protobuf.tag != wanted) continue;
      let inner = Protobuf.ptr;
      while (inner < at) {
        inner = Protobuf.next(inner, at);
        if (inner == MALFORMED) return -Bad.Encoding;
        if (asks) this.noteName(INIT_CALLER);
        else if (Protobuf.tag == INIT_RET) ret = Protobuf.number as i32;
      }
    }
    if (asks) {
      frame.kind = Kind.StreamOpen;
      this.names(frame);
    } else if (ret) {
      frame.kind = Kind.StreamClose;
      status(frame, ret, 0);
    }
    return READY;
  }

  private close(at: usize, end: usize, frame: Frame): Look {
    frame.kind = Kind.StreamClose;
    let ret: i32 = 0;
    let funcRet: i32 = 0;
    let reset = false;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return -Bad.Encoding;
      switch (Protobuf.tag) {
        case CLOSE_TYPE:
          reset = Protobuf.number == RESET;
          break;
        case CLOSE_RET:
          ret = Protobuf.number as i32;
          break;
        case CLOSE_FUNC_RET:
          funcRet = Protobuf.number as i32;
          break;
      }
    }
    status(frame, ret, funcRet);
    if (reset && frame.status == Status.Ok) named(frame, Status.Internal, STREAM_RESET);
    return READY;
  }

  private forget(): void {
    this.caller.clear();
    this.callee.clear();
    this.func.clear();
  }

  /** Notes the field that was stepped over if it is caller, callee or func, whose fields stand in a row. */
  private noteName(caller: u32): void {
    const tag = Protobuf.tag;
    if (tag == caller) this.caller.set(Protobuf.ptr, Protobuf.size);
    else if (tag == caller + 8) this.callee.set(Protobuf.ptr, Protobuf.size);
    else if (tag == caller + 16) this.func.set(Protobuf.ptr, Protobuf.size);
  }

  /** Service and method are the two parts of func, which has the form /package.Service/Method; callee and func if not. */
  private names(frame: Frame): void {
    const func = this.func;
    const first = func.ptr;
    if (func.size > 3 && load<u8>(first) == 0x2f) {
      let at = func.end - 1;
      if (load<u8>(at) != 0x2f) {
        while (load<u8>(at) != 0x2f) at--;
        if (at > first + 1) {
          frame.service.set(first + 1, (at - first - 1) as u32);
          frame.method.set(at + 1, (func.end - at - 1) as u32);
          return;
        }
      }
    }
    frame.service.point(this.callee);
    frame.method.point(func);
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    const message = messageOf(p, frame);
    if (message == Message.None) return READY;
    if (callerTag(message)) {
      if (this.caller.ptr) frame.add(CALLER_KEY, this.caller);
      if (this.callee.ptr) frame.add(CALLEE_KEY, this.callee);
      if (this.func.ptr) frame.add(FUNC_KEY, this.func);
    }
    let at = p + HEADER;
    const end = messageEnd(p, frame);
    while (at < end) {
      at = Protobuf.next(at, end);
      const tag = Protobuf.tag;
      if (message != Message.InitRequest) {
        if (tag == infoTag(message)) this.info(message, frame);
      } else if (tag == INIT_REQUEST) {
        let inner = Protobuf.ptr;
        while (inner < at) {
          inner = Protobuf.next(inner, at);
          if (Protobuf.tag == infoTag(message)) this.info(message, frame);
        }
      }
    }
    return READY;
  }

  /** Adds the entry of trans_info that was stepped over, where its value is text. */
  private info(message: Message, frame: Frame): void {
    const key = this.key;
    if (!this.readKey(message) || !Utf8.valid(key.ptr, key.size)) {
      frame.metadataDropped = true;
      return;
    }
    if (!key.ptr || !Utf8.valid(Protobuf.value, Protobuf.valueSize)) return;
    const value = this.value;
    value.set(Protobuf.value, Protobuf.valueSize);
    frame.put(key, value);
  }

  /** In place where the other id is as long as this one; a stream's always is. */
  setId(p: usize, id: u64): bool {
    if (load<u8>(p, 2)) {
      store<u32>(p, bswap<u32>(id as u32), 10);
      return true;
    }
    let at = p + HEADER;
    const end = at + unarySize(p);
    let place: usize = 0;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (Protobuf.tag != REQUEST_ID) continue;
      if (place || Protobuf.size != Protobuf.sizeOf(id as u32)) return false;
      place = Protobuf.ptr;
    }
    if (!place) return false;
    Protobuf.put(place, id as u32);
    repeatId(p, id);
    return true;
  }

  /**
   * Rewrites trans_info, caller, callee and func, the id and the lengths. False for changes to a server's INIT, to DATA
   * and FEEDBACK, which have no place for them, and where the message before a unary payload would pass 64 KiB.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const message = messageOf(p, frame);
    if (message == Message.None && changes.count) return false;
    const start = sink.size;
    const unary = (frame.token & TOKEN_STREAM) == 0;
    sink.bytes(p, HEADER);
    let at = p + HEADER;
    if (unary || changes.count) {
      const end = messageEnd(p, frame);
      const done =
        message == Message.InitRequest
          ? this.changeInit(at, end, changes, sink)
          : this.change(at, end, message, unary ? (id as u32 as i64) : NO_ID, changes, sink);
      if (!done) return undone(sink, start);
      at = end;
    }
    const size = sink.size - start - HEADER;
    sink.bytes(at, (p + n - at) as u32);
    const length = frame.length - n + (sink.size - start);
    if (sink.full || length > (i32.MAX_VALUE as u64) || (unary && size > (u16.MAX_VALUE as u32)))
      return undone(sink, start);
    const copy = sink.ptr + start;
    store<u32>(copy, bswap<u32>(length as u32), 4);
    if (unary) {
      store<u16>(copy, bswap<u16>(size as u16), 8);
      repeatId(copy, id);
    } else {
      store<u32>(copy, bswap<u32>(id as u32), 10);
    }
    return true;
  }

  /** Appends the fields of a message with the changes; false where an entry of trans_info cannot be read. */
  private change(at: usize, end: usize, message: Message, id: i64, changes: Changes, sink: Sink): bool {
    if (id > 0 && !hasId(at, end)) Protobuf.writeNumber(sink, REQUEST_ID, id);
    if (!this.copy(at, end, message, id, changes, sink)) return false;
    append(changes, message, sink);
    return true;
  }

  /** The same for TrpcStreamInitMeta, whose message inside has all that changes; in several parts they become one. */
  private changeInit(at: usize, end: usize, changes: Changes, sink: Sink): bool {
    for (let field = at; field < end; ) {
      const behind = Protobuf.next(field, end);
      if (Protobuf.tag != INIT_REQUEST) sink.bytes(field, (behind - field) as u32);
      field = behind;
    }
    const inner = sink.size;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (Protobuf.tag != INIT_REQUEST) continue;
      if (!this.copy(Protobuf.ptr, at, Message.InitRequest, NO_ID, changes, sink)) return false;
    }
    append(changes, Message.InitRequest, sink);
    Protobuf.wrap(sink, inner, INIT_REQUEST);
    return true;
  }

  /** Appends the fields that do not change, and the id where it stood. */
  private copy(at: usize, end: usize, message: Message, id: i64, changes: Changes, sink: Sink): bool {
    let from = at;
    while (at < end) {
      const field = at;
      at = Protobuf.next(at, end);
      const isId = id != NO_ID && Protobuf.tag == REQUEST_ID;
      if (!isId) {
        if (!changes.count) continue;
        if (!this.readKey(message)) return false;
        if (!this.key.ptr || changes.find(this.key) < 0) continue;
      }
      sink.bytes(from, (field - from) as u32);
      if (isId) Protobuf.writeNumber(sink, REQUEST_ID, id);
      from = at;
    }
    sink.bytes(from, (end - from) as u32);
    return true;
  }

  /** Points `key` to what the field that was stepped over is called as metadata; false where that cannot be read. */
  private readKey(message: Message): bool {
    const key = this.key;
    const tag = Protobuf.tag;
    const names = callerTag(message);
    key.clear();
    if (tag == infoTag(message)) {
      if (!Protobuf.entry()) return false;
      key.set(Protobuf.key, Protobuf.keySize);
      // Hidden by the field of that name.
      if (names && fieldOf(key) >= 0) key.clear();
    } else if (names) {
      if (tag == names) key.point(CALLER_KEY);
      else if (tag == names + 8) key.point(CALLEE_KEY);
      else if (tag == names + 16) key.point(FUNC_KEY);
    }
    return true;
  }

  /**
   * A response that says why. A stream that is being opened gets a CLOSE that resets it and an INIT that refuses it:
   * before the server's own INIT a client waits for that one only, and afterwards for the CLOSE only.
   */
  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const token = frame.token;
    const size = Utf8.clip(message, messageSize, MESSAGE_MAX);
    const ret = errorCode(reason);
    let start: u32;
    if (!(token & TOKEN_STREAM)) {
      start = header(sink, UNARY, token);
      if (token & TOKEN_CALL_TYPE) Protobuf.writeNumber(sink, CALL_TYPE, token & TOKEN_CALL_TYPE);
      if (frame.id) Protobuf.writeNumber(sink, REQUEST_ID, frame.id);
      Protobuf.writeNumber(sink, RET, ret);
      Protobuf.writeBytes(sink, ERROR_MESSAGE, message, size);
      return finish(sink, start, false);
    }
    start = header(sink, CLOSE, token);
    Protobuf.writeNumber(sink, CLOSE_TYPE, RESET);
    Protobuf.writeNumber(sink, CLOSE_RET, ret);
    Protobuf.writeBytes(sink, CLOSE_MESSAGE, message, size);
    finish(sink, start, true);
    if (frame.kind != Kind.StreamOpen) return;
    start = header(sink, INIT, token);
    const inner = sink.size;
    Protobuf.writeNumber(sink, INIT_RET, ret);
    Protobuf.writeBytes(sink, INIT_MESSAGE, message, size);
    Protobuf.wrap(sink, inner, INIT_RESPONSE);
    finish(sink, start, true);
  }
}

/** Bytes of the message between the header and the payload of a unary frame. */
function unarySize(p: usize): u32 {
  return bswap<u16>(load<u16>(p, 8));
}

/** Where the message of a frame ends whose messageOf() is not None. */
function messageEnd(p: usize, frame: Frame): usize {
  return p + (frame.token & TOKEN_STREAM ? (frame.length as u32) : HEADER + unarySize(p));
}

function messageOf(p: usize, frame: Frame): Message {
  const asks = frame.side == Side.Client;
  switch (load<u16>(p, 2) as u32) {
    case UNARY:
      return asks ? Message.Request : Message.Response;
    case INIT:
      return asks ? Message.InitRequest : Message.None;
    case CLOSE:
      return Message.Close;
    default:
      return Message.None;
  }
}

/** The tag of trans_info. */
function infoTag(message: Message): u32 {
  switch (message) {
    case Message.Request:
      return REQUEST_INFO;
    case Message.Response:
      return RESPONSE_INFO;
    case Message.InitRequest:
      return INIT_INFO;
    default:
      return CLOSE_INFO;
  }
}

/** The tag of caller, which those of callee and func follow; 0 where the message has none. */
function callerTag(message: Message): u32 {
  return message == Message.Request ? REQUEST_CALLER : message == Message.InitRequest ? INIT_CALLER : 0;
}

/** 0 caller, 1 callee, 2 func; -1 for a key that is none of them. */
function fieldOf(key: Slice): i32 {
  if (key.is(CALLER_KEY.ptr, CALLER_KEY.size)) return 0;
  if (key.is(CALLEE_KEY.ptr, CALLEE_KEY.size)) return 1;
  return key.is(FUNC_KEY.ptr, FUNC_KEY.size) ? 2 : -1;
}

function hasId(at: usize, end: usize): bool {
  while (at < end) {
    at = Protobuf.next(at, end);
    if (Protobuf.tag == REQUEST_ID) return true;
  }
  return false;
}

/** Appends the new values. */
function append(changes: Changes, message: Message, sink: Sink): void {
  const names = callerTag(message);
  for (let i: u32 = 0; i < changes.count; i++) {
    const key = changes.key(i);
    const value = changes.value(i);
    if (!value.ptr || changes.find(key) != (i as i32)) continue;
    const field = names ? fieldOf(key) : -1;
    if (field < 0) Protobuf.writeEntry(sink, infoTag(message), key.ptr, key.size, value.ptr, value.size);
    else Protobuf.writeBytes(sink, names + 8 * field, value.ptr, value.size);
  }
}

function undone(sink: Sink, start: u32): bool {
  sink.size = start;
  return false;
}

/** From version 1 of the header on it has the id of a unary frame as well. */
function repeatId(p: usize, id: u64): void {
  if (load<u8>(p, 14)) store<u32>(p, bswap<u32>(id as u32), 10);
}

/** Begins a frame that answers the one with that token; finish() ends it. */
function header(sink: Sink, type: u32, token: u64): u32 {
  const start = sink.size;
  const at = sink.reserve(HEADER);
  if (at) {
    store<u16>(at, MAGIC);
    store<u16>(at, type as u16, 2);
    store<u64>(at, token & ~0xffff, 8);
  }
  return start;
}

function finish(sink: Sink, start: u32, stream: bool): void {
  if (sink.full) return;
  const size = sink.size - start;
  const at = sink.ptr + start;
  store<u32>(at, bswap<u32>(size), 4);
  if (!stream) store<u16>(at, bswap<u16>((size - HEADER) as u16), 8);
}

/** `code` of a response is the framework's number, or the service's where it answered with an error of its own. */
function status(frame: Frame, ret: i32, funcRet: i32): void {
  STATUSES.set(frame, ret);
  // Java says 999, unknown, beside what a service has thrown.
  if (!funcRet || (ret && ret != UNKNOWN)) return;
  frame.code = funcRet;
  named(frame, Status.Exception, EXCEPTION);
}

function named(frame: Frame, status: Status, name: Slice): void {
  frame.status = status;
  frame.outcome.point(name);
}

function errorCode(reason: Reason): u32 {
  switch (reason) {
    case Reason.NoRoute:
      return 11;
    case Reason.Unavailable:
      return 141;
    case Reason.Timeout:
      return 21;
    case Reason.RateLimited:
      return 23;
    case Reason.Denied:
      return 41;
    case Reason.TooLarge:
    case Reason.BadRequest:
      return 1;
    default:
      return 31;
  }
}
