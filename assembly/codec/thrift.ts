import { Bytes } from "../wire/bytes";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Thrift as Struct, THRIFT_INVALID } from "../wire/thrift";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

/** An unframed compact message with an empty name and an empty struct. */
const LEAST: u32 = 5;
const LENGTH: u32 = 4;
/** What a size may say, so that no whole frame passes 2 GiB. */
const SIZE_MAX: u32 = (i32.MAX_VALUE as u32) - LENGTH;
const MAGIC_AND_FLAGS: u32 = 0x0fff0000;
/** Where a THeader's sequence id and its size stand, and where its part of variable size begins. */
const SEQUENCE: u32 = 8;
const WORDS: u32 = 12;
const HEADER: u32 = 14;
/** Other implementations take no THeader that is longer. */
const HEADER_WORDS_MAX: u32 = 16383;
const NAME_MAX: u32 = 1024;
/** How far a TApplicationException is read for its type: its message may be a stack trace. */
const EXCEPTION_MAX: u32 = 2048;
const MESSAGE_MAX: u32 = 1024;

/** How a frame is put together, kept in Frame.token; 0 is none. One of the first three, with a protocol. */
const UNFRAMED: u32 = 1;
const FRAMED: u32 = 2;
const THEADER: u32 = 4;
const STRICT: u32 = 8;
const OLD: u32 = 16;
const COMPACT: u32 = 32;
/** A THeader frame whose payload is transformed, or in a protocol that is not known. */
const OPAQUE: u32 = 64;

const CALL: u32 = 1;
const REPLY: u32 = 2;
const EXCEPTION: u32 = 3;
const ONEWAY: u32 = 4;

const PROTOCOL_BINARY: u32 = 0;
const PROTOCOL_COMPACT: u32 = 2;
const TRANSFORM_HMAC: u32 = 2;
const INFO_END: u32 = 0;
const INFO_KEY_VALUE: u32 = 1;

const NONE = Slice.make();
const OK = Slice.of("ok");
const DECLARED = Slice.of("exception");
const UNREADABLE = Slice.of("unreadable");
/** The types of TApplicationException, and how other replies end. */
const STATUSES = new Statuses(Status.Internal)
  .add(0, Status.Internal, "unknown_exception")
  .add(1, Status.NotFound, "unknown_method")
  .add(2, Status.BadRequest, "invalid_message_type")
  .add(3, Status.NotFound, "wrong_method_name")
  .add(4, Status.BadRequest, "bad_sequence_id")
  .add(5, Status.Internal, "missing_result")
  .add(6, Status.Internal, "internal_error")
  .add(7, Status.BadRequest, "protocol_error")
  .add(8, Status.BadRequest, "invalid_transform")
  .add(9, Status.BadRequest, "invalid_protocol")
  .add(10, Status.BadRequest, "unsupported_client_type")
  .also(Status.Ok, OK)
  .also(Status.Exception, DECLARED)
  .also(Status.Ok, UNREADABLE);

/**
 * Apache Thrift (format: its documents thrift-rpc.md, thrift-binary-protocol.md, thrift-compact-protocol.md and
 * HeaderFormat.md). Each frame tells its transport and protocol by its first bytes. Integers are big-endian, or varints:
 *
 * | transport | starts with                                                                                       |
 * |-----------|---------------------------------------------------------------------------------------------------|
 * | unframed  | the message itself                                                                                |
 * | framed    | 4 length of what follows; then the message                                                        |
 * | THeader   | 4 length, 2 0x0FFF, 2 flags, 4 sequence id, 2 size of the header in words; then the header: varint |
 * |           | protocol (0 binary, 2 compact), varint number of transforms and their ids, info blocks (1: varint  |
 * |           | number of headers, varint length and bytes of each key and value), zeros; then the message         |
 *
 * | protocol      | a message starts with                                                                         |
 * |---------------|-----------------------------------------------------------------------------------------------|
 * | binary        | 2 0x8001, 1 unused, 1 type, 4 length of the name, name, 4 sequence id                         |
 * | binary of old | 4 length of the name, name, 1 type, 4 sequence id                                             |
 * | compact       | 1 0x82, 1 type << 5 or version 1, varint sequence id, varint length of the name, name         |
 *
 * Then comes a struct: the arguments, the result, or a TApplicationException. Types are 1 call, 2 reply, 3 exception,
 * 4 one-way. The name is `method`, or `service:method` where several services share a connection.
 *
 * - A result's field 0 is what the method returns, any other an exception that it declares.
 * - An unframed message says nowhere how long it is: all of it is read as a head, and has a head's limit.
 * - Binary of old has no magic. It is taken where the lengths fit and the name is printable ASCII.
 * - The id is the message's. A THeader's own is what it should be, too, but not all clients care.
 * - Where a THeader says that the message is transformed (zlib ...) or in another protocol, service, method, type and
 *   outcome are not known, and its id is the THeader's.
 */
@final
export class Thrift extends Codec {
  /** Where the message begins of the frame whose head was just read. */
  private message: u32 = 0;
  /** In a compact message, where what follows the sequence id begins. */
  private behindId: u32 = 0;
  /** In a THeader whose infos were just read, where they begin. */
  private infosAt: u32 = 0;
  /** While encoding: all infos, of which the frame that is encoded may have kept only some. */
  private all: Frame = Frame.make();
  private key: Slice = Slice.make();
  private value: Slice = Slice.make();

  constructor() {
    super("thrift", LEAST, STATUSES);
  }

  get magic(): string {
    return "8001 82.1 ........8001 ........82.1 ........0fff";
  }

  keys(): string {
    return '[{"name":"*","about":"every info header of a THeader frame"}]';
  }

  head(p: usize, n: u32, frame: Frame): Look {
    let layout = layoutOf(p);
    frame.token = layout;
    let at: u32 = 0;
    let whole: u32 = i32.MAX_VALUE;
    if (!(layout & UNFRAMED)) {
      if (!layout) return -Bad.Magic;
      const size = load32(p);
      if (size < LEAST || size > SIZE_MAX) return -Bad.Length;
      at = LENGTH;
      whole = LENGTH + size;
      frame.length = whole;
      if (layout & THEADER) {
        if (whole < HEADER) return -Bad.Length;
        if (n > 5 && load<u8>(p, 5) != 0xff) return -Bad.Magic;
        if (n < HEADER) return HEADER;
        at = messageAt(p);
        if (at > whole) return -Bad.Length;
        if (at > n) return at;
        layout = headerLayout(p, at);
        if (!layout) return -Bad.Encoding;
        frame.token = layout;
        this.message = at;
        if (layout & OPAQUE) return opaque(p, frame);
        if (at + LEAST > whole) return -Bad.Length;
        if (at == n) return at + LEAST;
        if (load<u8>(p + at) != (layout & COMPACT ? 0x82 : 0x80)) return -Bad.Magic;
      }
    }
    this.message = at;
    if (layout & STRICT) return this.strict(p, n, at, whole, frame);
    return layout & COMPACT ? this.compact(p, n, at, whole, frame) : this.old(p, n, at, whole, frame);
  }

  private strict(p: usize, n: u32, at: u32, whole: u32, frame: Frame): Look {
    const message = p + at;
    const left = n - at;
    if (at + 12 >= whole) return -Bad.Length;
    if (left > 1 && load<u8>(message, 1) != 1) return -Bad.Magic;
    if (left > 3 && !isType(load<u8>(message, 3))) return -Bad.Field;
    const size: u32 = left < 8 ? 0 : load32(message + 4);
    if (size > NAME_MAX) return -Bad.Length;
    const behind = at + 12 + size;
    if (behind >= whole) return -Bad.Length;
    if (behind > n) return behind;
    frame.id = load32(p + behind - 4);
    names(frame, message + 8, size);
    return this.body(p, n, behind, whole, load<u8>(message, 3), frame);
  }

  private old(p: usize, n: u32, at: u32, whole: u32, frame: Frame): Look {
    const message = p + at;
    const left = n - at;
    if (at + 10 >= whole) return -Bad.Length;
    if (left > 1 && load<u8>(message, 1)) return -Bad.Magic;
    if (left > 2 && load<u8>(message, 2) > NAME_MAX >> 8) return -Bad.Magic;
    if (left < 4) return at + 10;
    const size = load32(message);
    if (!isNameSize(size)) return -Bad.Magic;
    const behind = at + 9 + size;
    if (behind >= whole) return -Bad.Length;
    const known = min<u32>(size, left - 4);
    for (let i: u32 = 0; i < known; i++) if (!isNameByte(load<u8>(message + 4 + i))) return -Bad.Magic;
    const type = behind - 5;
    if (n > type && !isType(load<u8>(p + type))) return -Bad.Field;
    if (behind > n) return behind;
    frame.id = load32(p + behind - 4);
    names(frame, message + 4, size);
    return this.body(p, n, behind, whole, load<u8>(p + type), frame);
  }

  private compact(p: usize, n: u32, at: u32, whole: u32, frame: Frame): Look {
    if (n - at < 2) return at + LEAST;
    const head = load<u8>(p + at, 1) as u32;
    if ((head & 31) != 1) return -Bad.Magic;
    const type = head >> 5;
    if (!isType(type)) return -Bad.Field;
    Struct.start(p, n, whole, true);
    Struct.at = p + at + 2;
    let look = Struct.varint();
    if (look) return asked(look);
    frame.id = Struct.value as u32;
    this.behindId = (Struct.at - p) as u32;
    look = Struct.varint();
    if (look) return asked(look);
    const size = Struct.value as u32;
    if (size > NAME_MAX) return -Bad.Length;
    const name = Struct.at;
    const behind = ((name - p) as u32) + size;
    if (behind >= whole) return -Bad.Length;
    if (behind > n) return behind;
    names(frame, name, size);
    return this.body(p, n, behind, whole, type, frame);
  }

  /** What stands at `at`, behind the name. */
  private body(p: usize, n: u32, at: u32, whole: u32, type: u32, frame: Frame): Look {
    const layout = frame.token as u32;
    if (layout & UNFRAMED) {
      Struct.start(p, n, whole, (layout & COMPACT) != 0);
      Struct.enter(p + at);
      const look = Struct.rest();
      if (look) return asked(look);
      whole = (Struct.at - p) as u32;
      frame.length = whole;
    }
    if (type == CALL || type == ONEWAY) {
      frame.kind = type == CALL ? Kind.Request : Kind.OneWay;
      return READY;
    }
    frame.kind = Kind.Response;
    return type == REPLY ? this.result(p, n, at, whole, frame) : this.exception(p, n, at, whole, frame);
  }

  /** The first field tells: there is no other, unless a library writes all that could be there. */
  private result(p: usize, n: u32, at: u32, whole: u32, frame: Frame): Look {
    if (at == n) return at + 1;
    const head = load<u8>(p + at) as u32;
    let id: i32 = 0;
    if (!(frame.token & COMPACT)) {
      if (head && at + 3 > whole) return -Bad.Length;
      if (head && at + 3 > n) return at + 3;
      if (head) id = bswap<i16>(load<i16>(p + at, 1));
    } else if (head & 15) {
      id = head >> 4;
      if (!id) {
        Struct.start(p, n, whole, true);
        Struct.at = p + at + 1;
        const look = Struct.zigzag();
        if (look) return asked(look);
        id = Struct.value;
      }
    }
    frame.code = id;
    frame.outcome.point(id ? DECLARED : OK);
    if (id) frame.status = Status.Exception;
    return READY;
  }

  /** Fields 1, a string, and 2, an i32 that says what went wrong. What cannot be read of them is of unknown type. */
  private exception(p: usize, n: u32, at: u32, whole: u32, frame: Frame): Look {
    Struct.start(p, n, min<u32>(whole, at + EXCEPTION_MAX), (frame.token & COMPACT) != 0);
    Struct.enter(p + at);
    let code: i32 = 0;
    let look = Struct.field();
    while (!look && Struct.more) {
      look = Struct.id == 2 ? Struct.int() : Struct.skip();
      if (Struct.id == 2) code = Struct.value;
      if (!look) look = Struct.field();
    }
    if (look > 0) return look;
    if (look < 0) code = 0;
    STATUSES.set(frame, code);
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    const layout = frame.token as u32;
    if (!(layout & THEADER)) return READY;
    if (this.infos(p, messageAt(p), frame)) frame.metadataDropped = true;
    return READY;
  }

  /** Adds the key-value headers of a THeader of `size` bytes; not 0 where there is something that cannot be read. */
  private infos(p: usize, size: u32, frame: Frame): i32 {
    const end = p + size;
    Struct.start(p, size, size, true);
    Struct.at = p + HEADER;
    const key = this.key;
    const value = this.value;
    let look = Struct.varint();
    if (!look) look = Struct.varint();
    for (let left = Struct.value as u32; !look && left; left--) {
      look = Struct.varint();
      if (!look && Struct.value == TRANSFORM_HMAC) look = Struct.step(1);
    }
    this.infosAt = (Struct.at - p) as u32;
    while (!look && Struct.at < end) {
      look = Struct.varint();
      if (look || Struct.value == INFO_END) break;
      // Kinds that came later stand behind those that came first, and do not say how long they are.
      if (Struct.value != INFO_KEY_VALUE) return THRIFT_INVALID;
      look = Struct.varint();
      for (let left = Struct.value as u32; !look && left; left--) {
        look = readText(key);
        if (!look) look = readText(value);
        if (!look) addInfo(frame, key, value);
      }
    }
    return look;
  }

  setId(p: usize, id: u64): bool {
    const sequence = id as u32;
    let layout = layoutOf(p);
    let at: u32 = layout & UNFRAMED ? 0 : LENGTH;
    if (layout & THEADER) {
      at = messageAt(p);
      layout = headerLayout(p, at);
    }
    if (layout & OPAQUE) return load32(p + SEQUENCE) == sequence;
    const place = sequenceAt(p + at, layout);
    // What is the same stays so in all of the frame.
    if ((layout & COMPACT ? varintAt(place) : load32(place)) == sequence) return true;
    if (!(layout & COMPACT)) store32(place, sequence);
    else if (!overwrite(place, sequence)) return false;
    if (layout & THEADER) store32(p + SEQUENCE, sequence);
    return true;
  }

  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const layout = frame.token as u32;
    const readable = !(layout & OPAQUE);
    const sequence = id as u32;
    if (!readable && sequence != (frame.id as u32)) return false;
    if (changes.count && !(layout & THEADER)) return false;
    const start = sink.size;
    if (layout & THEADER) {
      if (!this.header(p, frame, sequence, changes, sink)) return undone(sink, start);
    } else {
      sink.bytes(p, this.message);
    }
    const at = sink.size;
    if (layout & COMPACT && readable) {
      sink.bytes(p + this.message, 2);
      sink.varint(sequence);
      sink.bytes(p + this.behindId, n - this.behindId);
    } else {
      sink.bytes(p + this.message, n - this.message);
      if (readable && !sink.full) store32(sequenceAt(sink.ptr + at, layout), sequence);
    }
    if (layout & UNFRAMED || sink.full) return true;
    const size = frame.length + (sink.size - start) - n - LENGTH;
    if (size > SIZE_MAX) return undone(sink, start);
    store32(sink.ptr + start, size as u32);
    return true;
  }

  /** All that stands before the message; false where there is no room for what is asked. */
  private header(p: usize, frame: Frame, id: u32, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    sink.bytes(p, SEQUENCE);
    // What is the same stays so, also where the message has another one.
    sink.u32(id == (frame.id as u32) ? load32(p + SEQUENCE) : id);
    if (!changes.count) {
      sink.bytes(p + WORDS, this.message - WORDS);
      return true;
    }
    const all = this.all;
    all.reset();
    if (this.infos(p, this.message, all) || all.metadataDropped) return false;
    sink.u16(0);
    sink.bytes(p + HEADER, this.infosAt - HEADER);
    let count: u32 = 0;
    for (let i: u32 = 0; i < all.metadataCount; i++) if (kept(changes, all.key(i))) count++;
    for (let i: u32 = 0; i < changes.count; i++) if (added(changes, i, all)) count++;
    if (count) {
      sink.u8(INFO_KEY_VALUE);
      sink.varint(count);
    }
    for (let i: u32 = 0; i < all.metadataCount; i++) {
      const key = all.key(i);
      if (!kept(changes, key)) continue;
      const change = changes.find(key);
      writeText(sink, key);
      writeText(sink, change < 0 ? all.value(i) : changes.value(change));
    }
    for (let i: u32 = 0; i < changes.count; i++) {
      if (!added(changes, i, all)) continue;
      writeText(sink, changes.key(i));
      writeText(sink, changes.value(i));
    }
    return sink.full || endHeader(sink, start);
  }

  get echoesMethod(): bool {
    return true;
  }

  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const layout = frame.token as u32;
    const name = frame.method;
    const id = frame.id as u32;
    const start = sink.size;
    if (!(layout & UNFRAMED)) sink.u32(0);
    if (layout & THEADER) {
      sink.u32(MAGIC_AND_FLAGS);
      sink.u32(id);
      sink.u16(0);
      sink.u8(layout & COMPACT ? PROTOCOL_COMPACT : PROTOCOL_BINARY);
      sink.u8(0);
      if (!sink.full) endHeader(sink, start);
    }
    let size = min<u32>(messageSize, MESSAGE_MAX);
    // Not in the middle of a character.
    if (size < messageSize) while (size && (load<u8>(message + size) & 0xc0) == 0x80) size--;
    if (layout & COMPACT) {
      sink.u16(0x8201 | (EXCEPTION << 5));
      sink.varint(id);
      sink.varint(name.size);
      sink.bytes(name.ptr, name.size);
      sink.u8(0x18);
      sink.varint(size);
      sink.bytes(message, size);
      sink.u8(0x15);
      sink.varint(exceptionType(reason) << 1);
    } else {
      if (layout & STRICT) sink.u32(0x80010000 | EXCEPTION);
      sink.u32(name.size);
      sink.bytes(name.ptr, name.size);
      if (layout & OLD) sink.u8(EXCEPTION);
      sink.u32(id);
      sink.u8(11);
      sink.u16(1);
      sink.u32(size);
      sink.bytes(message, size);
      sink.u8(8);
      sink.u16(2);
      sink.u32(exceptionType(reason));
    }
    sink.u8(0);
    if (!(layout & UNFRAMED) && !sink.full) store32(sink.ptr + start, sink.size - start - LENGTH);
  }
}

/** Transport and protocol as the first bytes tell them; of a THeader frame only the transport. 0 where it is neither. */
function layoutOf(p: usize): u32 {
  const first = load<u8>(p) as u32;
  // The first bit of a length is 0.
  if (first > 0x7f) return first == 0x80 ? UNFRAMED | STRICT : first == 0x82 ? UNFRAMED | COMPACT : 0;
  const next = load<u8>(p, 4) as u32;
  if (next == 0x80) return FRAMED | STRICT;
  if (next == 0x82) return FRAMED | COMPACT;
  if (next == 0x0f) return THEADER;
  if (!next) return FRAMED | OLD;
  return isNameByte(next) && isNameSize(load32(p)) ? UNFRAMED | OLD : 0;
}

/** The same of a THeader frame whose message begins at `at`; 0 where its header cannot be read. */
function headerLayout(p: usize, at: u32): u32 {
  Struct.start(p, at, at, true);
  Struct.at = p + HEADER;
  if (Struct.varint()) return 0;
  const protocol = Struct.value as u32;
  if (Struct.varint()) return 0;
  const known = protocol == PROTOCOL_BINARY || protocol == PROTOCOL_COMPACT;
  const layout = THEADER | (protocol == PROTOCOL_COMPACT ? COMPACT : STRICT);
  return known && !Struct.value ? layout : layout | OPAQUE;
}

/** Where the message begins in a THeader frame. */
function messageAt(p: usize): u32 {
  return HEADER + ((bswap<u16>(load<u16>(p + WORDS)) as u32) << 2);
}

function opaque(p: usize, frame: Frame): Look {
  frame.id = load32(p + SEQUENCE);
  if (frame.side == Side.Server) {
    frame.kind = Kind.Response;
    frame.outcome.point(UNREADABLE);
  }
  return READY;
}

/** Where a key stands twice, libraries keep the last value. */
function addInfo(frame: Frame, key: Slice, value: Slice): void {
  // One more is dropped, whatever it is: looking for each of many among the others would take long.
  const found = frame.full ? NONE : frame.find(key.ptr, key.size);
  if (found.ptr) found.point(value);
  else frame.add(key, value);
}

/** `method`, or `service:method`. */
function names(frame: Frame, name: usize, size: u32): void {
  const colon = Bytes.find(name, size, 0x3a);
  if (colon == size) return frame.method.set(name, size);
  frame.service.set(name, colon);
  frame.method.set(name + colon + 1, size - colon - 1);
}

/** Where the sequence id stands in a message. */
function sequenceAt(message: usize, layout: u32): usize {
  if (layout & COMPACT) return message + 2;
  const name = layout & STRICT ? message + 8 : message + 4;
  return name + load32(name - 4) + (layout & STRICT ? 0 : 1);
}

function varintAt(at: usize): u32 {
  let byte = load<u8>(at) as u32;
  let value = byte & 127;
  for (let shift: u32 = 7; byte > 127; shift += 7) {
    byte = load<u8>(++at);
    value |= (byte & 127) << shift;
  }
  return value;
}

/** Writes a varint over another one; false where that has another size. */
function overwrite(at: usize, value: u32): bool {
  const last: u32 = (31 - (clz<u32>(value | 1) as u32)) / 7;
  for (let i: u32 = 0; i < last; i++) if (load<u8>(at + i) < 128) return false;
  if (load<u8>(at + last) > 127) return false;
  for (let i: u32 = 0; i < last; i++) {
    store<u8>(at + i, (value | 128) as u8);
    value >>= 7;
  }
  store<u8>(at + last, value as u8);
  return true;
}

/** Fills the header of the frame that begins at `start` up to a whole word and sets its size; false where it is too long. */
function endHeader(sink: Sink, start: u32): bool {
  const size = sink.size - start - HEADER;
  const words = (size + 3) >> 2;
  if (words > HEADER_WORDS_MAX) return false;
  for (let i = size; i < words << 2; i++) sink.u8(0);
  if (!sink.full) store<u16>(sink.ptr + start + WORDS, bswap<u16>(words as u16));
  return true;
}

/** Whether an entry stays, with the value that it has or another one. */
function kept(changes: Changes, key: Slice): bool {
  const change = changes.find(key);
  return change < 0 || changes.value(change).ptr != 0;
}

/** Whether a change is an entry that the frame does not have yet. */
function added(changes: Changes, i: u32, frame: Frame): bool {
  const key = changes.key(i);
  return changes.value(i).ptr != 0 && changes.find(key) == (i as i32) && !frame.find(key.ptr, key.size).ptr;
}

function writeText(sink: Sink, text: Slice): void {
  sink.varint(text.size);
  sink.bytes(text.ptr, text.size);
}

/** Reads what writeText() writes. */
function readText(slice: Slice): i32 {
  const look = Struct.size();
  if (look) return look;
  slice.set(Struct.at, Struct.value);
  return Struct.step(Struct.value);
}

function undone(sink: Sink, start: u32): bool {
  sink.size = start;
  return false;
}

function asked(look: i32): Look {
  return look == THRIFT_INVALID ? -Bad.Encoding : look;
}

function isType(type: u32): bool {
  return type - CALL <= ONEWAY - CALL;
}

/** Printable ASCII: old messages have no magic, so their names must not look like anything. */
function isNameByte(c: u32): bool {
  return c - 0x21 <= 0x7e - 0x21;
}

function isNameSize(size: u32): bool {
  return size - 1 < NAME_MAX;
}

function load32(p: usize): u32 {
  return bswap<u32>(load<u32>(p));
}

function store32(p: usize, value: u32): void {
  store<u32>(p, bswap<u32>(value));
}

function exceptionType(reason: Reason): u32 {
  switch (reason) {
    case Reason.NoRoute:
      return 1;
    case Reason.TooLarge:
    case Reason.BadRequest:
      return 7;
    default:
      return 6;
  }
}
