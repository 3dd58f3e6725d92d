import { BYTES, MALFORMED, Protobuf, VARINT } from "../wire/protobuf";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 12;
/** PRPC as a little-endian load sees it. */
const MAGIC: u32 = 0x43505250;

// RpcMeta.
const REQUEST: u32 = (1 << 3) | BYTES;
const RESPONSE: u32 = (2 << 3) | BYTES;
const CORRELATION_ID: u32 = (4 << 3) | VARINT;
const USER_FIELDS: u32 = (9 << 3) | BYTES;
// RpcRequestMeta.
const SERVICE: u32 = (1 << 3) | BYTES;
const METHOD: u32 = (2 << 3) | BYTES;
const LOG_ID: u32 = (3 << 3) | VARINT;
const TRACE_ID: u32 = (4 << 3) | VARINT;
const SPAN_ID: u32 = (5 << 3) | VARINT;
const PARENT_SPAN_ID: u32 = (6 << 3) | VARINT;
/** A text in C++; in Java, entries of a map. */
const REQUEST_ID: u32 = (7 << 3) | BYTES;
const ENTRY_KEY: u32 = (1 << 3) | BYTES;
const TIMEOUT: u32 = (8 << 3) | VARINT;
// RpcResponseMeta.
const ERROR_CODE: u32 = (1 << 3) | VARINT;
const ERROR_TEXT: u32 = (2 << 3) | BYTES;

/** Error texts are for people. */
const MESSAGE_MAX: u32 = 1024;

/**
 * The names are those of bRPC's errno.proto. Other numbers are the service's own; EINTERNAL is what both implementations
 * make of a failure that the service has no number for.
 */
const STATUSES = new Statuses(Status.Exception)
  .add(0, Status.Ok, "ok")
  .add(1001, Status.NotFound, "enoservice")
  .add(1002, Status.NotFound, "enomethod")
  .add(1003, Status.BadRequest, "erequest")
  .add(1004, Status.Denied, "erpcauth")
  .add(1005, Status.Internal, "etoomanyfails")
  .add(1008, Status.Timeout, "erpctimedout")
  .add(1009, Status.Unavailable, "efailedsocket")
  .add(1011, Status.Overload, "eovercrowded")
  .add(2001, Status.Exception, "einternal")
  .add(2002, Status.Internal, "eresponse")
  .add(2003, Status.Unavailable, "elogoff")
  .add(2004, Status.Overload, "elimit")
  .add(2005, Status.Unavailable, "eclose");

const LOG_ID_KEY = Slice.of("log_id");
const TRACE_ID_KEY = Slice.of("trace_id");
const SPAN_ID_KEY = Slice.of("span_id");
const PARENT_SPAN_ID_KEY = Slice.of("parent_span_id");
const REQUEST_ID_KEY = Slice.of("request_id");

/**
 * baidu_std, the protocol of bRPC (format: its documentation and baidu_rpc_meta.proto, checked against its Java
 * implementation and a capture). The integers of the header are big-endian:
 *
 * | off | size | field                                                          |
 * |-----|------|----------------------------------------------------------------|
 * | 0   | 4    | PRPC                                                           |
 * | 4   | 4    | length of what follows the header                              |
 * | 8   | 4    | length of the RpcMeta that it starts with, in Protocol Buffers |
 *
 * Behind RpcMeta, which says what is called or how it went, come the payload and the attachment. Heartbeats and one-way
 * calls do not exist. Streams do: a request that opens one is read as the request that it is, but the frames of streams,
 * and the reply that accepts one, are frames of another protocol, STRM. A connection that has them is not read from
 * there on.
 */
@final
export class Brpc extends Codec {
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();
  /** Of the RpcResponseMeta that was stepped over. */
  private code: i32 = 0;
  /** Whether the request that is being encoded has entries where C++ has request_id: its peers are in Java. */
  private entries: bool = false;

  constructor() {
    super("brpc", HEADER, STATUSES);
  }

  get magic(): string {
    return "50525043";
  }

  keys(): string {
    return (
      '[{"name":"log_id","about":"decimal, as the caller set it"},' +
      '{"name":"trace_id","about":"decimal"},' +
      '{"name":"span_id","about":"decimal"},' +
      '{"name":"parent_span_id","about":"decimal"},' +
      '{"name":"request_id","about":"text, of callers in C++"},' +
      '{"name":"*","about":"every user field, and every attachment of callers in Java: traceparent ..."}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    if (load<u32>(p) != MAGIC) return -Bad.Magic;
    const body = bswap<u32>(load<u32>(p, 4));
    if (body > (i32.MAX_VALUE as u32) - HEADER) return -Bad.Length;
    frame.length = HEADER + body;
    const meta = bswap<u32>(load<u32>(p, 8));
    if (meta > body) return -Bad.Length;
    const behind = HEADER + meta;
    if (n < behind) return behind;

    this.code = 0;
    let asks = false;
    let answers = frame.side == Side.Server;
    let at = p + HEADER;
    const end = p + behind;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return -Bad.Encoding;
      switch (Protobuf.tag) {
        case CORRELATION_ID:
          frame.id = Protobuf.number;
          break;
        case REQUEST:
          asks = true;
          if (!request(Protobuf.ptr, at, frame)) return -Bad.Encoding;
          break;
        case RESPONSE:
          answers = true;
          if (!this.response(Protobuf.ptr, at)) return -Bad.Encoding;
          break;
      }
    }
    if (asks) return READY;
    if (!answers) return -Bad.Field;
    frame.kind = Kind.Response;
    STATUSES.set(frame, this.code);
    return READY;
  }

  private response(at: usize, end: usize): bool {
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return false;
      if (Protobuf.tag == ERROR_CODE) this.code = Protobuf.number as i32;
    }
    return true;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    let at = p + HEADER;
    const end = metaEnd(p);
    while (at < end) {
      at = Protobuf.next(at, end);
      if (Protobuf.tag == USER_FIELDS) {
        this.entry(frame);
      } else if (Protobuf.tag == REQUEST) {
        let inner = Protobuf.ptr;
        while (inner < at) {
          inner = Protobuf.next(inner, at);
          this.requestField(frame);
        }
      }
    }
    return READY;
  }

  /** Adds the field of RpcRequestMeta that was stepped over. */
  private requestField(frame: Frame): void {
    if (isEntry()) return this.entry(frame);
    const key = fieldKey(Protobuf.tag);
    if (!key) return;
    const value = this.value;
    if (Protobuf.tag != REQUEST_ID) frame.decimal(value, Protobuf.number);
    else if (Utf8.valid(Protobuf.ptr, Protobuf.size)) value.set(Protobuf.ptr, Protobuf.size);
    else return;
    if (value.ptr) frame.put(key, value);
  }

  /** Adds the entry that was stepped over. */
  private entry(frame: Frame): void {
    if (
      !Protobuf.entry() ||
      !Utf8.valid(Protobuf.key, Protobuf.keySize) ||
      !Utf8.valid(Protobuf.value, Protobuf.valueSize)
    ) {
      frame.metadataDropped = true;
      return;
    }
    const key = this.key;
    const value = this.value;
    key.set(Protobuf.key, Protobuf.keySize);
    value.set(Protobuf.value, Protobuf.valueSize);
    // Hidden by the field of that name.
    if (!fieldTag(key)) frame.put(key, value);
  }

  /** In place where the other id is as long as this one. */
  setId(p: usize, id: u64): bool {
    let at = p + HEADER;
    const end = metaEnd(p);
    let place: usize = 0;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (Protobuf.tag != CORRELATION_ID) continue;
      if (place || Protobuf.size != Protobuf.sizeOf(id)) return false;
      place = Protobuf.ptr;
    }
    if (!place) return false;
    Protobuf.put(place, id);
    return true;
  }

  /**
   * Rewrites the metadata, the id and the lengths. What is no field of RpcRequestMeta becomes a user field, or an
   * attachment where the request has some. False for a number that is none, and for request_id beside attachments.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    const end = metaEnd(p);
    sink.bytes(p, HEADER);
    if (!this.change(p + HEADER, end, frame, id, changes, sink)) return undone(sink, start);
    const meta = sink.size - start - HEADER;
    sink.bytes(end, (p + n - end) as u32);
    const length = frame.length - n + (sink.size - start);
    if (sink.full || length > (i32.MAX_VALUE as u64)) return undone(sink, start);
    const copy = sink.ptr + start;
    store<u32>(copy, bswap<u32>((length as u32) - HEADER), 4);
    store<u32>(copy, bswap<u32>(meta), 8);
    return true;
  }

  /** Appends RpcMeta with the changes: what is there where it stood, new user fields behind the rest. */
  private change(at: usize, end: usize, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    if (id && !hasId(at, end)) Protobuf.writeNumber(sink, CORRELATION_ID, id);
    const asks = frame.kind == Kind.Request;
    if (!asks && changesField(changes)) return false;
    this.entries = false;
    let requests = 0;
    let from = at;
    for (let field = at; field < end; ) {
      const behind = Protobuf.next(field, end);
      const tag = Protobuf.tag;
      let stays = tag != CORRELATION_ID;
      if (stays && changes.count) {
        if (tag == USER_FIELDS) {
          if (!Protobuf.entry()) return false;
          stays = !this.changesEntry(changes);
        } else {
          stays = tag != REQUEST;
        }
      }
      if (!stays) {
        sink.bytes(from, (field - from) as u32);
        from = behind;
        if (tag == CORRELATION_ID) Protobuf.writeNumber(sink, CORRELATION_ID, id);
        else if (tag == REQUEST && !requests++ && !this.changeRequest(at, end, changes, sink)) return false;
      }
      field = behind;
    }
    sink.bytes(from, (end - from) as u32);
    if (!this.entries) appendEntries(USER_FIELDS, changes, sink);
    return true;
  }

  /** Appends RpcRequestMeta with the changes; in several parts it becomes one. */
  private changeRequest(at: usize, end: usize, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (Protobuf.tag != REQUEST) continue;
      for (let field = Protobuf.ptr; field < at; ) {
        const behind = Protobuf.next(field, at);
        const entry = isEntry();
        let goes: bool;
        if (entry) {
          this.entries = true;
          if (!Protobuf.entry()) return false;
          goes = this.changesEntry(changes);
        } else {
          const name = fieldKey(Protobuf.tag);
          goes = name != null && changes.find(name) >= 0;
        }
        if (!goes) sink.bytes(field, (behind - field) as u32);
        field = behind;
      }
    }
    for (let i: u32 = 0; i < changes.count; i++) {
      const key = changes.key(i);
      const value = changes.value(i);
      const tag = fieldTag(key);
      if (!tag || !value.ptr || changes.find(key) != (i as i32)) continue;
      if (tag == REQUEST_ID) {
        if (this.entries) return false;
        Protobuf.writeBytes(sink, tag, value.ptr, value.size);
      } else {
        if (!readWhole(value)) return false;
        Protobuf.writeNumber(sink, tag, whole);
      }
    }
    if (this.entries) appendEntries(REQUEST_ID, changes, sink);
    Protobuf.wrap(sink, start, REQUEST);
    return true;
  }

  /** Whether the entry that was read last gets another value, or goes. */
  private changesEntry(changes: Changes): bool {
    const key = this.key;
    key.set(Protobuf.key, Protobuf.keySize);
    return !fieldTag(key) && changes.find(key) >= 0;
  }

  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const start = sink.size;
    const at = sink.reserve(HEADER);
    if (at) store<u32>(at, MAGIC);
    const inner = sink.size;
    Protobuf.writeNumber(sink, ERROR_CODE, errorCode(reason));
    Protobuf.writeBytes(sink, ERROR_TEXT, message, Utf8.clip(message, messageSize, MESSAGE_MAX));
    Protobuf.wrap(sink, inner, RESPONSE);
    Protobuf.writeNumber(sink, CORRELATION_ID, frame.id);
    if (sink.full) return;
    const size = bswap<u32>(sink.size - start - HEADER);
    store<u32>(sink.ptr + start, size, 4);
    store<u32>(sink.ptr + start, size, 8);
  }
}

/** Where the RpcMeta of a frame ends. */
function metaEnd(p: usize): usize {
  return p + HEADER + bswap<u32>(load<u32>(p, 8));
}

function hasId(at: usize, end: usize): bool {
  while (at < end) {
    at = Protobuf.next(at, end);
    if (Protobuf.tag == CORRELATION_ID) return true;
  }
  return false;
}

/** Reads RpcRequestMeta; false where it is none. */
function request(at: usize, end: usize, frame: Frame): bool {
  while (at < end) {
    at = Protobuf.next(at, end);
    if (at == MALFORMED) return false;
    switch (Protobuf.tag) {
      case SERVICE:
        frame.service.set(Protobuf.ptr, Protobuf.size);
        break;
      case METHOD:
        frame.method.set(Protobuf.ptr, Protobuf.size);
        break;
      case TIMEOUT:
        frame.deadline = max<i32>(0, Protobuf.number as i32);
        break;
    }
  }
  return true;
}

/** The key of a field of RpcRequestMeta that is metadata; null where it is none. */
function fieldKey(tag: u32): Slice | null {
  switch (tag) {
    case LOG_ID:
      return LOG_ID_KEY;
    case TRACE_ID:
      return TRACE_ID_KEY;
    case SPAN_ID:
      return SPAN_ID_KEY;
    case PARENT_SPAN_ID:
      return PARENT_SPAN_ID_KEY;
    case REQUEST_ID:
      return REQUEST_ID_KEY;
    default:
      return null;
  }
}

/** The tag of the field of RpcRequestMeta that a key stands for; 0 where it is another key. */
function fieldTag(key: Slice): u32 {
  for (let tag = LOG_ID; tag <= PARENT_SPAN_ID; tag += 8) {
    const name = fieldKey(tag) as Slice;
    if (key.is(name.ptr, name.size)) return tag;
  }
  return key.is(REQUEST_ID_KEY.ptr, REQUEST_ID_KEY.size) ? REQUEST_ID : 0;
}

/** Whether what was stepped over is an entry where C++ has the text request_id, which does not begin with a line feed. */
function isEntry(): bool {
  return Protobuf.tag == REQUEST_ID && Protobuf.size > 0 && load<u8>(Protobuf.ptr) == ENTRY_KEY;
}

/** Whether a field of RpcRequestMeta gets a value. */
function changesField(changes: Changes): bool {
  for (let i: u32 = 0; i < changes.count; i++) {
    if (changes.value(i).ptr && fieldTag(changes.key(i))) return true;
  }
  return false;
}

/** Appends the new values of all that is no field. */
function appendEntries(tag: u32, changes: Changes, sink: Sink): void {
  for (let i: u32 = 0; i < changes.count; i++) {
    const key = changes.key(i);
    const value = changes.value(i);
    if (!value.ptr || fieldTag(key) || changes.find(key) != (i as i32)) continue;
    Protobuf.writeEntry(sink, tag, key.ptr, key.size, value.ptr, value.size);
  }
}

let whole: i64 = 0;

/** Reads the decimal digits of an int64 into `whole`; false where the text is none. */
function readWhole(text: Slice): bool {
  const negative = text.size > 0 && load<u8>(text.ptr) == 45;
  let at = text.ptr + (negative ? 1 : 0);
  const end = text.end;
  // 19 digits are what a u64 holds for sure, and an i64 needs no more.
  if (at == end || end - at > 19) return false;
  let value: u64 = 0;
  for (; at < end; at++) {
    const digit = (load<u8>(at) as u32) - 48;
    if (digit > 9) return false;
    value = value * 10 + digit;
  }
  if (value > (i64.MAX_VALUE as u64) + (negative as u64)) return false;
  whole = (negative ? 0 - value : value) as i64;
  return true;
}

function undone(sink: Sink, start: u32): bool {
  sink.size = start;
  return false;
}

function errorCode(reason: Reason): u32 {
  switch (reason) {
    case Reason.NoRoute:
      return 1001;
    case Reason.Unavailable:
      return 1009;
    case Reason.Timeout:
      return 1008;
    case Reason.RateLimited:
      return 2004;
    case Reason.Denied:
      return 1004;
    case Reason.TooLarge:
    case Reason.BadRequest:
      return 1003;
    default:
      return 2001;
  }
}
