import { HESSIAN_INVALID, Hessian2, writeString } from "../wire/hessian2";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 16;
/** 0xDABB as a little-endian load sees it. */
const MAGIC: u16 = 0xbbda;

const FLAG_REQUEST: u32 = 0x80;
const FLAG_TWO_WAY: u32 = 0x40;
const FLAG_EVENT: u32 = 0x20;
const SERIALIZATION: u32 = 0x1f;
const HESSIAN2: u32 = 2;

const STATUS_OK: u32 = 20;

/** First byte of a Hessian 2 response body, the int that says what follows: exception, value, null. */
const EXCEPTION: u32 = 0x90;
const NULL: u32 = 0x92;
/** The same three with attachments behind them. */
const WITH_ATTACHMENTS: u32 = 3;

const MAP: u32 = 0x48;
const MAP_END: u32 = 0x5a;
const NO_MAP: u32 = 0x4e;

const EXCEPTION_NAME = Slice.of("exception");
/** Status of a response. */
const STATUSES = new Statuses(Status.Internal)
  .add(STATUS_OK, Status.Ok, "ok")
  .add(25, Status.BadRequest, "serialization_error")
  .add(30, Status.Timeout, "client_timeout")
  .add(31, Status.Timeout, "server_timeout")
  .add(35, Status.Unavailable, "channel_inactive")
  .add(40, Status.BadRequest, "bad_request")
  .add(50, Status.Internal, "bad_response")
  .add(60, Status.NotFound, "service_not_found")
  .add(70, Status.Internal, "service_error")
  .add(80, Status.Internal, "server_error")
  .add(90, Status.BadRequest, "client_error")
  .add(100, Status.Overload, "threadpool_exhausted")
  .also(Status.Exception, EXCEPTION_NAME);

const INTERFACE = Slice.of("interface");
const VERSION = Slice.of("version");
const TIMEOUT = Slice.of("timeout");
const GENERIC_METHOD = Slice.of("generic.method");
const SERIALIZATION_NAME = Slice.of("serialization");
/** The methods of Dubbo's GenericService, whose first argument names the one that is meant. */
const INVOKE = Slice.of("$invoke");
const INVOKE_ASYNC = Slice.of("$invokeAsync");

/** As Dubbo's configuration calls them, by their numbers; those without a name by the number. */
const SERIALIZATIONS: Slice[] = (
  "0,1,hessian2,java,compactedjava,5,fastjson,nativejava,kryo,fst,native-hessian,avro,protostuff,13,14,15,gson,17,18,19,20," +
  "protobuf-json,protobuf,fastjson2,24,kryo2,26,27,28,29,30,31"
)
  .split(",")
  .map<Slice>((name) => Slice.of(name));

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
 * what it says. Bodies of other serializations are not read: their service and method are not known, and metadata says
 * only what they are written in.
 *
 * A generic call, by a client that has no Java interface, is one of the method `$invoke` whose first argument is the name of
 * the method that is meant.
 */
@final
export class Dubbo extends Codec {
  private version: Slice = Slice.make();
  /** Where the parameter types begin of the request whose head was just read: metadata() goes on from there. */
  private behindNames: usize = 0;
  private skipped: Slice = Slice.make();
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();
  /** While encoding: the frame is copied up to there. */
  private copied: usize = 0;
  /** While encoding: the changes that are written, a bit each. */
  private placed: u64 = 0;

  constructor() {
    super("dubbo", HEADER, STATUSES);
  }

  get magic(): string {
    return "dabb";
  }

  keys(): string {
    return (
      '[{"name":"interface","about":"the service, as Java names the interface"},' +
      '{"name":"version","about":"version of the service, 0.0.0 where none is set"},' +
      '{"name":"generic.method","about":"the method that a generic call ($invoke) is for"},' +
      '{"name":"serialization","about":"of frames whose body is not in Hessian 2: fastjson2, protobuf ..."},' +
      '{"name":"*","about":"every attachment whose value is a string, of replies too: group, path, dubbo.tag, traceparent ..."}]'
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
    STATUSES.set(frame, code);
    if (code != STATUS_OK || (flags & SERIALIZATION) != HESSIAN2 || frame.length == HEADER) return READY;
    if (n == HEADER) return HEADER + 1;
    const what = load<u8>(p, HEADER) as u32;
    if (what == EXCEPTION || what == EXCEPTION + WITH_ATTACHMENTS) {
      frame.status = Status.Exception;
      frame.outcome.point(EXCEPTION_NAME);
    }
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    if (!readable(frame)) {
      this.unreadable(frame);
      return READY;
    }
    Hessian2.start(p, n, frame.length as u32);
    let look: Look = 0;
    if (frame.kind == Kind.Response) {
      // A value without attachments is stepped over as well: encode() adds them behind it.
      look = this.result(p);
      if (!look && !attached(p)) return READY;
    } else {
      frame.add(INTERFACE, frame.service);
      if (this.version.ptr) frame.add(VERSION, this.version);
      Hessian2.at = this.behindNames;
      look = this.args(frame);
    }
    if (!look) look = this.attachments(frame);
    return look == HESSIAN_INVALID ? dropped(frame) : look;
  }

  /** Adds what the body of a request or response is written in, where that is not Hessian 2. */
  private unreadable(frame: Frame): void {
    const serialization = (frame.token as u32) & SERIALIZATION;
    if (serialization == HESSIAN2 || frame.kind > Kind.OneWay) return;
    frame.add(SERIALIZATION_NAME, SERIALIZATIONS[serialization]);
  }

  /** Steps over the parameter types of a request and the arguments; to a frame it adds which method a generic call is for. */
  private args(frame: Frame | null): i32 {
    const types = this.skipped;
    let look = Hessian2.string(types);
    if (look) return look;
    let left = countTypes(types);
    if (left < 0 || Hessian2.fragmented || !Hessian2.wasString) return HESSIAN_INVALID;
    if (frame && left && isGeneric(frame.method)) {
      const name = this.value;
      look = Hessian2.string(name);
      if (look) return look;
      if (name.ptr) frame.add(GENERIC_METHOD, name);
      left--;
    }
    while (!look && left--) look = Hessian2.skip();
    return look;
  }

  /** Steps over what a response with the status OK says, up to its attachments. */
  private result(p: usize): i32 {
    const what = load<u8>(p, HEADER) as u32;
    if (what - EXCEPTION >= 2 * WITH_ATTACHMENTS) return HESSIAN_INVALID;
    Hessian2.at = p + HEADER + 1;
    return (what - EXCEPTION) % WITH_ATTACHMENTS == NULL - EXCEPTION ? 0 : Hessian2.skip();
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

  /**
   * Rewrites attachments, the service ("interface") and its version, and the length. Values that are no strings stay as
   * they are, and so does whatever else the frame has. A response without attachments gets a map of them where one is
   * added.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    this.copied = p;
    if (changes.count && !this.rewrite(p, n, frame, changes, sink)) return undone(sink, start);
    sink.bytes(this.copied, (p + n - this.copied) as u32);
    const length = frame.length - n + (sink.size - start);
    if (sink.full || length > (i32.MAX_VALUE as u64)) return undone(sink, start);
    const copy = sink.ptr + start;
    this.setId(copy, id);
    store<u32>(copy, bswap<u32>((length as u32) - HEADER), 12);
    return true;
  }

  /** Appends the frame with the changes up to the last one; what comes behind that begins at `copied`. */
  private rewrite(p: usize, n: u32, frame: Frame, changes: Changes, sink: Sink): bool {
    if (frame.metadataDropped || !readable(frame) || changes.find(GENERIC_METHOD) >= 0) return false;
    this.placed = 0;
    Hessian2.start(p, n, frame.length as u32);
    if (frame.kind == Kind.Response) {
      if (this.result(p)) return false;
      if (attached(p)) return this.rewriteMap(changes, sink);
      if (Hessian2.at != p + (frame.length as usize)) return false;
      const what = sink.size + HEADER;
      this.copy(Hessian2.at, sink);
      const before = sink.size;
      if (!this.add(changes, false, sink)) return false;
      if (sink.size > before && !sink.full) {
        store<u8>(sink.ptr + what, (load<u8>(p, HEADER) as u32) + WITH_ATTACHMENTS);
      }
      return true;
    }
    Hessian2.at = p + HEADER;
    if (Hessian2.string(this.skipped)) return false;
    if (!this.rewriteName(INTERFACE, changes, sink) || !this.rewriteName(VERSION, changes, sink)) return false;
    // Over the method.
    if (Hessian2.string(this.skipped) || this.args(null)) return false;
    return this.rewriteMap(changes, sink);
  }

  /** A name of the head; false where it cannot be what is asked for. */
  private rewriteName(key: Slice, changes: Changes, sink: Sink): bool {
    this.copy(Hessian2.at, sink);
    if (Hessian2.string(this.skipped)) return false;
    const i = changes.find(key);
    if (i < 0) return true;
    const value = changes.value(i);
    if (!value.ptr) return false;
    this.placed |= 1 << (i as u64);
    this.copied = Hessian2.at;
    return writeString(sink, value.ptr, value.size);
  }

  private rewriteMap(changes: Changes, sink: Sink): bool {
    const key = this.key;
    const value = this.value;
    const map = Hessian2.at;
    let look = Hessian2.map();
    if (look) return false;
    if (load<u8>(map) == NO_MAP) {
      this.copy(map, sink);
      const before = sink.size;
      if (!this.add(changes, false, sink)) return false;
      if (sink.size > before) this.copied = map + 1;
      return true;
    }
    let found: u64 = 0;
    while (!look && Hessian2.more) {
      const entry = Hessian2.at;
      look = Hessian2.string(key);
      if (look) return false;
      const behindKey = Hessian2.at;
      look = Hessian2.string(value);
      if (look) return false;
      const i = key.ptr && value.ptr ? changes.find(key) : -1;
      if (i >= 0) {
        const bit: u64 = 1 << (i as u64);
        const to = changes.value(i);
        if (to.ptr && !(found & bit)) {
          this.copy(behindKey, sink);
          if (!writeString(sink, to.ptr, to.size)) return false;
        } else {
          this.copy(entry, sink);
        }
        found |= bit;
        this.copied = Hessian2.at;
      }
      look = Hessian2.next();
    }
    if (look) return false;
    this.placed |= found;
    // The end of the map was stepped over.
    this.copy(Hessian2.at - 1, sink);
    return this.add(changes, true, sink);
  }

  /** Appends the entries that have no place yet, outside of a map with one around them; false where one is no text. */
  private add(changes: Changes, inMap: bool, sink: Sink): bool {
    let open = inMap;
    for (let i: u32 = 0; i < changes.count; i++) {
      const key = changes.key(i);
      const value = changes.value(i);
      if (!value.ptr || (this.placed >> (i as u64)) & 1) continue;
      if (!open) sink.u8(MAP);
      open = true;
      if (!writeString(sink, key.ptr, key.size) || !writeString(sink, value.ptr, value.size)) return false;
    }
    if (open && !inMap) sink.u8(MAP_END);
    return true;
  }

  /** Appends what was not copied yet of the frame, up to an address. */
  private copy(to: usize, sink: Sink): void {
    sink.bytes(this.copied, (to - this.copied) as u32);
    this.copied = to;
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

  /**
   * Always in Hessian 2, whatever the request was written in: a client reads a reply by the serialization in the reply's
   * own header, and Hessian 2 is the one that every client has.
   */
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

function dropped(frame: Frame): Look {
  frame.metadataDropped = true;
  return READY;
}

/** Whether the frame has a body that a codec can take apart. */
function readable(frame: Frame): bool {
  if (((frame.token as u32) & SERIALIZATION) != HESSIAN2) return false;
  if (frame.kind == Kind.Response) return frame.code == STATUS_OK && frame.length > HEADER;
  return frame.kind == Kind.Request || frame.kind == Kind.OneWay;
}

function isGeneric(method: Slice): bool {
  return method.is(INVOKE.ptr, INVOKE.size) || method.is(INVOKE_ASYNC.ptr, INVOKE_ASYNC.size);
}

/** Whether the response at p, whose value was read, has attachments. */
function attached(p: usize): bool {
  return (load<u8>(p, HEADER) as u32) >= EXCEPTION + WITH_ATTACHMENTS;
}

function undone(sink: Sink, size: u32): bool {
  sink.size = size;
  return false;
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
