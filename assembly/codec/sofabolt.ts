import { crc32, crc32Patch } from "../wire/crc32";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Status } from "./frame";
import { Statuses } from "./statuses";

/** A reply in version 1 that carries nothing. */
const LEAST: u32 = 20;
/** Bytes of a reply's header; requests have two more, and so has version 2. */
const REPLY_HEADER: u32 = 20;
const MORE: u32 = 2;

/** The first byte. */
const PROTOCOL_1: u32 = 1;
const PROTOCOL_2: u32 = 2;
/** The second byte of protocol 2 where frames may have a checksum, and the switch that turns it on. */
const VERSION_2: u32 = 2;
const SWITCH_CRC: u32 = 1;
const CRC_SIZE: u32 = 4;
/** The entry of the header that makes up for other changes, see seal(). */
const SEAL = Slice.of("meltemi-crc");

const RESPONSE: u32 = 0;
const REQUEST: u32 = 1;
const ONEWAY: u32 = 2;

const COMMAND_HEARTBEAT: u32 = 0;
const COMMAND_REQUEST: u32 = 1;
const COMMAND_RESPONSE: u32 = 2;

const HESSIAN: u32 = 1;
/** What Java gives a command as its version. */
const COMMAND_VERSION: u32 = 1;
/** Milliseconds that the answer to a heartbeat of ours may take. */
const HEARTBEAT_TIMEOUT: u32 = 1000;

/** Java reads the lengths of class and header as signed numbers. */
const PART_MAX: u32 = i16.MAX_VALUE;
/** As the length of a text: there is none. */
const NO_TEXT: u32 = u32.MAX_VALUE;
/** Of the text of an error: a Hessian string of up to 32,767 characters has one part. */
const MESSAGE_MAX: u32 = 1024;

const CLASS = Slice.of("class");
const TARGET_SERVICE = Slice.of("sofa_head_target_service");
const METHOD_NAME = Slice.of("sofa_head_method_name");
const SERVICE = Slice.of("service");
const RESPONSE_ERROR = Slice.of("sofa_head_response_error");
const TRUE = Slice.of("true");

const EXCEPTION = Slice.of("exception");
/** The names are those of Java's ResponseStatus. */
const STATUSES = new Statuses(Status.Internal)
  .add(0, Status.Ok, "ok")
  .add(1, Status.Internal, "error")
  .add(2, Status.Exception, "server_exception")
  .add(3, Status.Internal, "unknown")
  .add(4, Status.Overload, "server_threadpool_busy")
  .add(5, Status.Unavailable, "error_comm")
  .add(6, Status.NotFound, "no_processor")
  .add(7, Status.Timeout, "timeout")
  .add(8, Status.Unavailable, "client_send_error")
  .add(9, Status.BadRequest, "codec_exception")
  .add(0x10, Status.Unavailable, "connection_closed")
  .add(0x11, Status.Internal, "server_serial_exception")
  .add(0x12, Status.BadRequest, "server_deserial_exception")
  .also(Status.Exception, EXCEPTION);

/** What a server writes that has thrown, and the two fields by which Node tells an exception, the text and null. */
const EXCEPTION_CLASS = Slice.of("com.alipay.remoting.rpc.exception.RpcServerException");
const EXCEPTION_TEXT = Slice.of("detailMessage");
const EXCEPTION_STACK = Slice.of("stackTrace");

/**
 * SOFABolt (layout: its encoders and decoders in Java, checked against them, against the ones in Node, and against a
 * capture). Offsets are those of protocol 1; protocol 2 has one byte more behind the first, its version, and one more
 * behind the codec, its switches. All integers are big-endian:
 *
 * | off | size | field                                                                             |
 * |-----|------|-----------------------------------------------------------------------------------|
 * | 0   | 1    | protocol: 1 or 2                                                                  |
 * | 1   | 1    | type: 0 response, 1 request, 2 one-way                                            |
 * | 2   | 2    | command: 0 heartbeat, 1 request, 2 response                                       |
 * | 4   | 1    | version of the command                                                            |
 * | 5   | 4    | request id                                                                        |
 * | 9   | 1    | codec of the content: 1 Hessian, 11 Protocol Buffers ...                          |
 * | 10  | 4, 2 | timeout in milliseconds; of a response, its status in 2 bytes                     |
 * |     | 2    | length of the class name                                                          |
 * |     | 2    | length of the header                                                              |
 * |     | 4    | length of the content                                                             |
 *
 * Then come these three and, in protocol 2 of version 2 with the switch 1, a CRC-32 of all bytes before it. The header is
 * a map: 4 length and bytes of each key and value, where the length -1 is null. Where it is none, because bare SOFABolt
 * leaves to its users what it is, the frame has no metadata but its class.
 *
 * - SOFARPC names service and method in the header. Node does not name the method where the content is Hessian. Where
 *   neither is named, the class is what a server chooses by, and so it is the method.
 * - A response that went well may still carry an exception. The header says so in newer versions of SOFARPC.
 * - Client and server may both ask, and both send heartbeats.
 * - The checksum comes last, when what it is about has passed. So whatever encode() changes in a frame that has one, it
 *   adds an entry to the header, `meltemi-crc`, whose four bytes make the checksum come out as it was. It goes on
 *   protecting the content from end to end, and what was damaged before still shows.
 */
@final
export class SofaBolt extends Codec {
  /** Of the frame whose head was just read: bytes of its header, of its class, and of its map. */
  private headerSize: u32 = 0;
  private classSize: u32 = 0;
  private mapSize: u32 = 0;
  private checked: bool = false;
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();

  constructor() {
    super("sofabolt", LEAST, STATUSES);
  }

  get magic(): string {
    return "010.000. 02010.000. 02020.000.";
  }

  keys(): string {
    return (
      '[{"name":"class","about":"class of the content, as Java names it"},' +
      '{"name":"*","about":"every entry of the header, of replies too: service, sofa_head_target_app, rpc_trace_context.sofaTraceId ..."}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    const protocol = load<u8>(p) as u32;
    if (protocol - PROTOCOL_1 > PROTOCOL_2 - PROTOCOL_1) return -Bad.Magic;
    const second = protocol == PROTOCOL_2;
    if (second && (load<u8>(p, 1) as u32) - 1 > VERSION_2 - 1) return -Bad.Field;
    const fields = p + (second ? 1 : 0);
    const type = load<u8>(fields, 1) as u32;
    if (type > ONEWAY) return -Bad.Field;
    const command = bswap<u16>(load<u16>(fields, 2)) as u32;
    if (command && command != (type == RESPONSE ? COMMAND_RESPONSE : COMMAND_REQUEST)) return -Bad.Field;
    const size = REPLY_HEADER + (type == RESPONSE ? 0 : MORE) + (second ? MORE : 0);
    if (n < size) return size;
    const lengths = p + size - 8;
    const content = bswap<u32>(load<u32>(lengths, 4));
    this.headerSize = size;
    this.classSize = bswap<u16>(load<u16>(lengths));
    this.mapSize = bswap<u16>(load<u16>(lengths, 2));
    this.checked = isChecked(p);
    const length = (this.start as u64) + this.mapSize + content + (this.checked ? CRC_SIZE : 0);
    if (length > (i32.MAX_VALUE as u64)) return -Bad.Length;
    frame.length = length;
    frame.id = bswap<u32>(load<u32>(fields, 5));
    frame.token =
      protocol |
      (second ? ((load<u8>(p, 1) as u64) << 8) | ((load<u8>(p, 11) as u64) << 16) : 0) |
      ((load<u8>(fields, 4) as u64) << 24);
    if (command == COMMAND_HEARTBEAT) {
      frame.kind = type == RESPONSE ? Kind.HeartbeatReply : Kind.Heartbeat;
      return READY;
    }
    const map = this.start;
    if (n < map + this.mapSize) return map + this.mapSize;
    if (type == RESPONSE) {
      frame.kind = Kind.Response;
      STATUSES.set(frame, bswap<i16>(load<i16>(lengths - 2)));
      if (!frame.code) this.failure(p + map, frame);
      return READY;
    }
    frame.kind = type == REQUEST ? Kind.Request : Kind.OneWay;
    frame.deadline = max<i32>(0, bswap<i32>(load<i32>(lengths - 4)));
    this.names(p + map, frame);
    if (!frame.service.size && !frame.method.size && this.classSize) frame.method.set(p + size, this.classSize);
    return READY;
  }

  /** Where the map begins. */
  @inline
  private get start(): u32 {
    return this.headerSize + this.classSize;
  }

  /** Reads service and method of a request out of its map. Most keys are passed by their length alone. */
  private names(at: usize, frame: Frame): void {
    const end = at + this.mapSize;
    let plain: u64 = 0;
    while (at + 8 <= end) {
      const key = at + 4;
      const keySize = textSize(at);
      if ((keySize as u64) + 4 > ((end - key) as u64)) break;
      const value = key + keySize + 4;
      const size = textSize(value - 4);
      if (size > ((end - value) as u32)) break;
      at = value + size;
      if (keySize == 24) {
        if (TARGET_SERVICE.is(key, keySize)) frame.service.set(value, size);
      } else if (keySize == 21) {
        if (METHOD_NAME.is(key, keySize)) frame.method.set(value, size);
      } else if (keySize == 7) {
        if (SERVICE.is(key, keySize)) plain = Slice.pack(value, size);
      }
    }
    if (!frame.service.size) frame.service.unpack(plain);
  }

  /** Finds out of the map of a response whether it carries an exception. */
  private failure(at: usize, frame: Frame): void {
    const end = at + this.mapSize;
    while (at < end) {
      at = this.entry(at, end);
      if (!at) return;
      if (!is(this.key, RESPONSE_ERROR) || !is(this.value, TRUE)) continue;
      return named(frame, Status.Exception, EXCEPTION);
    }
  }

  /** Reads an entry of the map into `key` and `value`, of which null has no address; the address behind it, 0 where it is none. */
  @inline
  private entry(at: usize, end: usize): usize {
    at = text(this.key, at, end);
    return at ? text(this.value, at, end) : 0;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    if (frame.kind > Kind.OneWay) return READY;
    const key = this.key;
    const value = this.value;
    if (this.classSize) {
      value.set(p + this.headerSize, this.classSize);
      this.add(frame, CLASS, value);
    }
    let at = p + this.start;
    const end = at + this.mapSize;
    while (at < end) {
      at = this.entry(at, end);
      if (!at || frame.full) {
        frame.metadataDropped = true;
        return READY;
      }
      // The class hides an entry of that name.
      if (key.ptr && value.ptr && !is(key, CLASS) && !is(key, SEAL)) this.add(frame, key, value);
    }
    return READY;
  }

  private add(frame: Frame, key: Slice, value: Slice): void {
    if (Utf8.valid(key.ptr, key.size) && Utf8.valid(value.ptr, value.size)) frame.put(key, value);
    else frame.metadataDropped = true;
  }

  /** False where the frame has a checksum. */
  setId(p: usize, id: u64): bool {
    if (isChecked(p)) return false;
    store32(p + (load<u8>(p) == PROTOCOL_2 ? 6 : 5), id as u32);
    return true;
  }

  /**
   * Rewrites entries of the header. False for the class, for what says how the call went, where the header is no map, and
   * for heartbeats.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    if (frame.kind > Kind.OneWay || changes.find(CLASS) >= 0 || changes.find(SEAL) >= 0) return false;
    if (changes.find(RESPONSE_ERROR) >= 0) return false;
    const start = sink.size;
    const map = this.start;
    const end = map + this.mapSize;
    sink.bytes(p, map);
    if (!changes.count && !this.checked) sink.bytes(p + map, this.mapSize);
    else if (!this.rewrite(p + map, changes, sink)) return undone(sink, start);
    if (!sink.full) {
      store32(sink.ptr + start + (load<u8>(p) == PROTOCOL_2 ? 6 : 5), id as u32);
      this.setMapSize(sink, start);
      if (this.checked) this.seal(crc32(p, end), start, sink);
    }
    const mapSize = sink.size - start - map;
    sink.bytes(p + end, n - end);
    const length = frame.length - n + (sink.size - start);
    const fits = mapSize <= max<u32>(this.mapSize, PART_MAX) && length <= (i32.MAX_VALUE as u64);
    return (fits && !sink.full) || undone(sink, start);
  }

  /** Appends the map with the changes, and without the entry of seal(); false where it is none. */
  private rewrite(at: usize, changes: Changes, sink: Sink): bool {
    const end = at + this.mapSize;
    let placed: u64 = 0;
    while (at < end) {
      const next = this.entry(at, end);
      if (!next) return false;
      const i = this.key.ptr ? changes.find(this.key) : -1;
      if (i >= 0) {
        if (!((placed >> (i as u64)) & 1)) writeChange(sink, changes, i);
        placed |= 1 << (i as u64);
      } else if (!this.checked || !is(this.key, SEAL)) {
        sink.bytes(at, (next - at) as u32);
      }
      at = next;
    }
    for (let i: u32 = 0; i < changes.count; i++) {
      const first = changes.find(changes.key(i)) == (i as i32);
      if (first && !((placed >> (i as u64)) & 1)) writeChange(sink, changes, i);
    }
    return true;
  }

  /**
   * Has the frame that begins at `start`, and is written up to the end of its map, the checksum that it had up to there: by
   * one entry more where it is needed. Then all that follows adds the same to it.
   */
  private seal(checksum: u32, start: u32, sink: Sink): void {
    if (crc32(sink.ptr + start, sink.size - start) == checksum) return;
    sink.u32(SEAL.size);
    sink.bytes(SEAL.ptr, SEAL.size);
    sink.u32(CRC_SIZE);
    const patch = sink.size;
    sink.u32(0);
    if (sink.full) return;
    this.setMapSize(sink, start);
    const before = crc32(sink.ptr + start, patch - start);
    store<u32>(sink.ptr + patch, crc32Patch(before, checksum));
  }

  /** The map of the frame that begins at `start` is all that was written behind the class. */
  private setMapSize(sink: Sink, start: u32): void {
    const size = sink.size - start - this.start;
    store<u16>(sink.ptr + start + this.headerSize - 6, bswap<u16>(size as u16));
  }

  /** A response as a server writes it that has thrown: who reads Hessian finds the message, others the status. */
  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const start = sink.size;
    begin(sink, frame.token, RESPONSE, COMMAND_RESPONSE, frame.id);
    sink.u16(errorStatus(reason));
    sink.u16(EXCEPTION_CLASS.size);
    sink.u16(0);
    sink.u32(0);
    sink.bytes(EXCEPTION_CLASS.ptr, EXCEPTION_CLASS.size);
    const content = sink.size;
    // In Hessian: O, a class with two fields, and o, an object of it.
    sink.u8(0x4f);
    sink.u16(0xc800 | EXCEPTION_CLASS.size);
    sink.bytes(EXCEPTION_CLASS.ptr, EXCEPTION_CLASS.size);
    sink.u8(0x92);
    writeName(sink, EXCEPTION_TEXT);
    writeName(sink, EXCEPTION_STACK);
    sink.u16(0x6f90);
    writeString(sink, message, min<u32>(messageSize, MESSAGE_MAX));
    sink.u8(0x4e);
    if (!sink.full) store32(sink.ptr + content - EXCEPTION_CLASS.size - 4, sink.size - content);
    finish(sink, start);
  }

  /** In protocol 1, which all understand. */
  heartbeat(id: u64, sink: Sink): bool {
    begin(sink, PROTOCOL_1 | (COMMAND_VERSION << 24), REQUEST, COMMAND_HEARTBEAT, id);
    sink.u32(HEARTBEAT_TIMEOUT);
    sink.u64(0);
    return true;
  }

  heartbeatReply(frame: Frame, sink: Sink): bool {
    const start = sink.size;
    begin(sink, frame.token, RESPONSE, COMMAND_HEARTBEAT, frame.id);
    sink.u16(0);
    sink.u64(0);
    finish(sink, start);
    return true;
  }
}

/** Whether the frame at p has a checksum. */
function isChecked(p: usize): bool {
  return load<u16>(p) == (((VERSION_2 << 8) | PROTOCOL_2) as u16) && (load<u8>(p, 11) & SWITCH_CRC) != 0;
}

/** Bytes of the text whose length stands at `at`; null has none. */
function textSize(at: usize): u32 {
  const size = bswap<u32>(load<u32>(at));
  return size == NO_TEXT ? 0 : size;
}

/** Reads a text of the map; the address behind it, 0 where it is none. */
function text(slice: Slice, at: usize, end: usize): usize {
  if (at + 4 > end) return 0;
  const size = bswap<u32>(load<u32>(at));
  at += 4;
  if (size == NO_TEXT) {
    slice.clear();
    return at;
  }
  if (size > ((end - at) as u32)) return 0;
  slice.set(at, size);
  return at + size;
}

function is(slice: Slice, other: Slice): bool {
  return slice.is(other.ptr, other.size);
}

/** Appends the entry with its new value, if it does not go. */
function writeChange(sink: Sink, changes: Changes, i: u32): void {
  const key = changes.key(i);
  const value = changes.value(i);
  if (!value.ptr) return;
  sink.u32(key.size);
  sink.bytes(key.ptr, key.size);
  sink.u32(value.size);
  sink.bytes(value.ptr, value.size);
}

/** A short Hessian string. */
function writeName(sink: Sink, name: Slice): void {
  sink.u8(name.size);
  sink.bytes(name.ptr, name.size);
}

/** A Hessian string, whose length counts characters: what is not ASCII becomes a question mark. */
function writeString(sink: Sink, ptr: usize, size: u32): void {
  sink.u8(0x53);
  sink.u16(size);
  for (let i: u32 = 0; i < size; i++) {
    const c = load<u8>(ptr + i) as u32;
    sink.u8(c < 0x80 ? c : 0x3f);
  }
}

/** A header up to timeout or status, in the protocol of a token. */
function begin(sink: Sink, token: u64, type: u32, command: u32, id: u64): void {
  const second = (token & 255) == PROTOCOL_2;
  sink.u8(token as u32);
  if (second) sink.u8((token >> 8) as u32);
  sink.u8(type);
  sink.u16(command);
  sink.u8((token >> 24) as u32);
  sink.u32(id as u32);
  sink.u8(HESSIAN);
  if (second) sink.u8((token >> 16) as u32);
}

/** Appends the checksum of the frame that begins at `start`, if it has one. */
function finish(sink: Sink, start: u32): void {
  if (!sink.full && isChecked(sink.ptr + start)) sink.u32(crc32(sink.ptr + start, sink.size - start));
}

function undone(sink: Sink, start: u32): bool {
  sink.size = start;
  return false;
}

function store32(at: usize, value: u32): void {
  store<u32>(at, bswap<u32>(value));
}

function named(frame: Frame, status: Status, name: Slice): void {
  frame.status = status;
  frame.outcome.point(name);
}

/** Statuses for which Java has an exception of its own, and of these such that show the message where it matters. */
function errorStatus(reason: Reason): u32 {
  switch (reason) {
    case Reason.NoRoute:
      return 6;
    case Reason.Unavailable:
      return 0x10;
    case Reason.Timeout:
      return 7;
    case Reason.RateLimited:
      return 4;
    case Reason.TooLarge:
    case Reason.BadRequest:
      return 0x12;
    default:
      return 2;
  }
}
