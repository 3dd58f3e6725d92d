import { Decimal } from "../wire/decimal";
import { JCE_INVALID, Jce, JceType } from "../wire/jce";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 16;
/** With an empty struct of basic information, and the last byte. */
const LEAST: u32 = HEADER + 3;
const FIRST: u8 = 0x26;
const LAST: u32 = 0x28;
const VERSION: u8 = 1;
/** Where the command stands for those who read no JCE. */
const COMMAND_OFFSET: usize = 7;

// Tags of VideoCommHeader.
const BASIC_INFO: u32 = 0;
const ACCESS_INFO: u32 = 1;
const SERVER_ROUTE: u32 = 7;
/** How a struct with the tag 0 begins. */
const BASIC_INFO_HEAD: u8 = 0x0a;

// Tags of BasicInfo, all of them integers.
const REQ_UIN: u32 = 0;
const COMMAND: u32 = 1;
const SERVICE_TYPE: u32 = 2;
const SERVICE_VERSION: u32 = 3;
const RESULT: u32 = 4;
const CALLER_ID: u32 = 5;
const SEQ_ID: u32 = 6;
const SUB_CMD: u32 = 7;
const BODY_FLAG: u32 = 8;

// Tags of ServerRoute.
const FROM_SERVER: u32 = 0;
const TO_SERVER: u32 = 2;
const FUNC_NAME: u32 = 4;

/** Who asks without having logged in. */
const NOBODY: i64 = 2112;

const COMMAND_KEY = Slice.of("command");
const SUB_CMD_KEY = Slice.of("sub_cmd");
const SERVICE_TYPE_KEY = Slice.of("service_type");
const CALLER_ID_KEY = Slice.of("caller_id");
const UIN_KEY = Slice.of("uin");
const FUNC_KEY = Slice.of("func");
const TO_SERVER_KEY = Slice.of("to_server");
const FROM_SERVER_KEY = Slice.of("from_server");

/** Results up to 1000 are common to all servers; others are the service's own. */
const STATUSES = new Statuses(Status.Exception)
  .add(0, Status.Ok, "ok")
  .add(1, Status.Exception, "fail")
  .add(3, Status.Timeout, "err_timeout_proxy")
  .add(4, Status.Overload, "err_interface_mass_request")
  .add(5, Status.Denied, "err_forbidden")
  .add(6, Status.Overload, "err_user_mass_request")
  .add(8, Status.Unavailable, "err_deliver_fail")
  .add(9, Status.Overload, "err_session_refuse")
  .add(10, Status.BadRequest, "err_invalid_argument")
  .add(11, Status.BadRequest, "err_packet_overlength")
  .add(12, Status.BadRequest, "err_invalid_uin")
  .add(13, Status.Unavailable, "err_out_of_service_uin")
  .add(18, Status.Denied, "err_inactive_uin")
  .add(22, Status.Unavailable, "err_sys_maintain");

/** The integers of BasicInfo by their tags, as read last. */
const basic: usize = memory.data((BODY_FLAG + 1) << 3, 8);

/**
 * videopacket, a protocol of Tencent Video (layout: the codec and videocommhead.jce of MetaProtocol Proxy). The integers of
 * the header are big-endian:
 *
 * | off | size | field                                                                         |
 * |-----|------|-------------------------------------------------------------------------------|
 * | 0   | 1    | 0x26                                                                          |
 * | 1   | 4    | length of the whole frame                                                     |
 * | 5   | 1    | version: 1                                                                    |
 * | 6   | 10   | reserved: 1 number of the repetition, 2 command, 1 control id, 6 unused       |
 * | 16  |      | VideoCommHeader in JCE: 0 BasicInfo, 1 AccessInfo, 2 login tokens, 3 body ...  |
 * |     | 1    | 0x28                                                                          |
 *
 * BasicInfo: 0 ReqUin, 1 Command, 2 ServiceType, 3 version, 4 Result, 5 CallerID, 6 SeqId, 7 SubCmd, 8 BodyFlag. A reply has
 * the BasicInfo of its request, with a Result; nothing else tells it from one, but who sends it. SeqId is the request id.
 *
 * What is called by name stands in 7 ServerRoute (0 fromServerName, 2 toServerName, 4 FuncName), behind the body: these are
 * metadata of requests, and the method is the command. The last byte is not looked at, because it comes when all others
 * have passed.
 */
@final
export class VideoPacket extends Codec {
  /** Where BasicInfo ends of the frame whose head was just read. */
  private behindBasic: usize = 0;
  /** Where its ServerRoute stands, or would stand, after metadata(). */
  private route: usize = 0;
  private behindRoute: usize = 0;
  private value: Slice = Slice.make();

  constructor() {
    super("videopacket", LEAST, STATUSES);
  }

  get magic(): string {
    return "26........01";
  }

  keys(): string {
    return (
      '[{"name":"command","about":"command number, decimal"},' +
      '{"name":"sub_cmd","about":"number of the command below it, signed decimal"},' +
      '{"name":"service_type","about":"decimal"},' +
      '{"name":"caller_id","about":"decimal"},' +
      '{"name":"uin","about":"who asks, signed decimal"},' +
      '{"name":"func","about":"the function that is called, of requests"},' +
      '{"name":"to_server","about":"the server that is called, of requests"},' +
      '{"name":"from_server","about":"the server that calls, of requests"}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    if (load<u8>(p) != FIRST) return -Bad.Magic;
    const length = bswap<u32>(load<u32>(p, 1));
    if (length < LEAST || length > (i32.MAX_VALUE as u32)) return -Bad.Length;
    frame.length = length;
    if (load<u8>(p, 5) != VERSION) return -Bad.Field;
    if (load<u8>(p, HEADER) != BASIC_INFO_HEAD) return -Bad.Encoding;
    memory.fill(basic, 0, (BODY_FLAG + 1) << 3);
    Jce.start(p, n, length - 1, p + HEADER + 1);
    for (let next: u32 = 0; ; next++) {
      let look = Jce.head();
      if (look) return asked(look);
      if (Jce.type == JceType.StructEnd) break;
      const tag = Jce.tag;
      // Fields are in the order of their tags.
      if (tag < next) return -Bad.Encoding;
      next = tag;
      look = tag > BODY_FLAG ? Jce.skip() : Jce.int();
      if (look) return asked(look);
      if (tag <= BODY_FLAG) store<i64>(basic + (tag << 3), Jce.value);
    }
    this.behindBasic = Jce.at;
    frame.id = basicInt(SEQ_ID);
    const command = (basicInt(COMMAND) as u64) & 0xffff;
    // What error() echoes.
    frame.token =
      command |
      (((basicInt(SERVICE_TYPE) as u64) & 255) << 16) |
      (((basicInt(SERVICE_VERSION) as u64) & 255) << 24) |
      ((basicInt(CALLER_ID) as u64) << 32);
    frame.decimal(frame.method, command);
    if (frame.side == Side.Client) return READY;
    frame.kind = Kind.Response;
    STATUSES.set(frame, basicInt(RESULT) as i32);
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    frame.add(COMMAND_KEY, frame.method);
    this.number(frame, SUB_CMD_KEY, basicInt(SUB_CMD) as i32);
    this.number(frame, SERVICE_TYPE_KEY, basicInt(SERVICE_TYPE) as u8);
    this.number(frame, CALLER_ID_KEY, basicInt(CALLER_ID) as u32);
    this.number(frame, UIN_KEY, basicInt(REQ_UIN));
    if (frame.kind == Kind.Response) return READY;
    const look = this.names(p, n, frame);
    if (look != JCE_INVALID) return look;
    frame.metadataDropped = true;
    return READY;
  }

  private number(frame: Frame, key: Slice, number: i64): void {
    frame.decimal(this.value, number);
    frame.add(key, this.value);
  }

  /** Adds what stands in ServerRoute, and finds its place. */
  private names(p: usize, n: u32, frame: Frame): i32 {
    Jce.start(p, n, (frame.length as u32) - 1, this.behindBasic);
    for (;;) {
      this.route = Jce.at;
      this.behindRoute = Jce.at;
      if (Jce.done) return 0;
      let look = Jce.head();
      if (look) return look;
      if (Jce.tag > SERVER_ROUTE) return 0;
      if (Jce.tag == SERVER_ROUTE) break;
      look = Jce.skip();
      if (look) return look;
    }
    if (Jce.type != JceType.Struct) return JCE_INVALID;
    for (let next: u32 = 0; ; next++) {
      let look = Jce.head();
      if (look) return look;
      if (Jce.type == JceType.StructEnd) break;
      if (Jce.tag < next) return JCE_INVALID;
      next = Jce.tag;
      const key = routeKey(next);
      look = key ? Jce.text(this.value) : Jce.skip();
      if (look) return look;
      if (!key) continue;
      if (Utf8.valid(this.value.ptr, this.value.size)) frame.add(key, this.value);
      else frame.metadataDropped = true;
    }
    this.behindRoute = Jce.at;
    return 0;
  }

  /** In place where the other id is as long as this one. */
  setId(p: usize, id: u64): bool {
    const type = Jce.typeOf(id as i64);
    const whole = bswap<u32>(load<u32>(p, 1)) - 1;
    Jce.start(p, whole, whole, p + HEADER + 1);
    while (!Jce.head() && Jce.type != JceType.StructEnd) {
      if (Jce.tag == SEQ_ID) {
        if (Jce.type != type) return false;
        Jce.put(Jce.at, type, id);
        return true;
      }
      if (Jce.skip()) return false;
    }
    return false;
  }

  /**
   * Rewrites the id and the metadata, which are fields: false for another key, for one that every frame has to be taken
   * out, for what is no number where it must be one, and for names in replies.
   */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    if (changes.count && frame.metadataDropped) return false;
    let routed = false;
    for (let i: u32 = 0; i < changes.count; i++) {
      const key = changes.key(i);
      const value = changes.value(i);
      if (isRouteKey(key)) {
        if (frame.kind == Kind.Response) return false;
        routed = true;
      } else if (!isNumber(key, value)) {
        return false;
      }
    }
    const start = sink.size;
    const end = p + n;
    sink.bytes(p, HEADER);
    rewrite(p + HEADER, this.behindBasic, BASIC_INFO, id, changes, sink);
    if (routed) {
      sink.bytes(this.behindBasic, (this.route - this.behindBasic) as u32);
      rewrite(this.route, this.behindRoute, SERVER_ROUTE, id, changes, sink);
      sink.bytes(this.behindRoute, (end - this.behindRoute) as u32);
    } else {
      sink.bytes(this.behindBasic, (end - this.behindBasic) as u32);
    }
    const length = frame.length - n + (sink.size - start);
    if (sink.full || length > (i32.MAX_VALUE as u64)) {
      sink.size = start;
      return false;
    }
    const copy = sink.ptr + start;
    store<u32>(copy, bswap<u32>(length as u32), 1);
    const command = changes.find(COMMAND_KEY);
    if (command >= 0 && Decimal.parse(changes.value(command))) {
      store<u16>(copy + COMMAND_OFFSET, bswap<u16>(Decimal.value as u16));
    }
    return true;
  }

  /** A frame with the BasicInfo of the request, as far as it is known, and a Result, but without a body. */
  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const start = sink.size;
    const command = frame.token as u16;
    const header = sink.reserve(HEADER);
    if (header) {
      memory.fill(header, 0, HEADER);
      store<u8>(header, FIRST);
      store<u8>(header, VERSION, 5);
      store<u16>(header + COMMAND_OFFSET, bswap<u16>(command));
    }
    sink.u8(BASIC_INFO_HEAD);
    Jce.writeInt(sink, REQ_UIN, NOBODY);
    Jce.writeInt(sink, COMMAND, command as i16);
    Jce.writeInt(sink, SERVICE_TYPE, (frame.token >> 16) as i8);
    Jce.writeInt(sink, SERVICE_VERSION, (frame.token >> 24) as i8);
    Jce.writeInt(sink, RESULT, result(reason));
    Jce.writeInt(sink, CALLER_ID, (frame.token >> 32) as i32);
    Jce.writeInt(sink, SEQ_ID, frame.id);
    Jce.writeHead(sink, 0, JceType.StructEnd);
    Jce.writeHead(sink, ACCESS_INFO, JceType.Struct);
    Jce.writeHead(sink, 0, JceType.StructEnd);
    sink.u8(LAST);
    if (!sink.full) store<u32>(sink.ptr + start, bswap<u32>(sink.size - start), 1);
  }
}

function asked(look: i32): Look {
  return look == JCE_INVALID ? -Bad.Encoding : look;
}

function basicInt(tag: u32): i64 {
  return load<i64>(basic + (tag << 3));
}

/** The key of a field of BasicInfo that is metadata; null where it is none. */
function basicKey(tag: u32): Slice | null {
  switch (tag) {
    case REQ_UIN:
      return UIN_KEY;
    case COMMAND:
      return COMMAND_KEY;
    case SERVICE_TYPE:
      return SERVICE_TYPE_KEY;
    case CALLER_ID:
      return CALLER_ID_KEY;
    case SUB_CMD:
      return SUB_CMD_KEY;
    default:
      return null;
  }
}

/** The same of ServerRoute. */
function routeKey(tag: u32): Slice | null {
  switch (tag) {
    case FROM_SERVER:
      return FROM_SERVER_KEY;
    case TO_SERVER:
      return TO_SERVER_KEY;
    case FUNC_NAME:
      return FUNC_KEY;
    default:
      return null;
  }
}

function isRouteKey(key: Slice): bool {
  return same(key, FUNC_KEY) || same(key, TO_SERVER_KEY) || same(key, FROM_SERVER_KEY);
}

/** Whether a key is a field of BasicInfo, and the text a number that it can be. */
function isNumber(key: Slice, value: Slice): bool {
  if (!value.ptr) return false;
  if (same(key, COMMAND_KEY)) return Decimal.within(value, 0, u16.MAX_VALUE);
  if (same(key, SUB_CMD_KEY)) return Decimal.within(value, i32.MIN_VALUE, i32.MAX_VALUE);
  if (same(key, SERVICE_TYPE_KEY)) return Decimal.within(value, 0, u8.MAX_VALUE);
  if (same(key, CALLER_ID_KEY)) return Decimal.within(value, 0, u32.MAX_VALUE);
  return same(key, UIN_KEY) && Decimal.parse(value);
}

function same(a: Slice, b: Slice): bool {
  return a.is(b.ptr, b.size);
}

/** Appends the struct at [from, to), where there is one, with the changes: fields in the order of their tags. */
function rewrite(from: usize, to: usize, struct: u32, id: u64, changes: Changes, sink: Sink): void {
  Jce.writeHead(sink, struct, JceType.Struct);
  // The next tag that may get a field which the struct does not have.
  let next: u32 = 0;
  if (from < to) {
    const size = (to - from) as u32;
    Jce.start(from, size, size, from);
    Jce.head();
    for (;;) {
      const field = Jce.at;
      Jce.head();
      if (Jce.type == JceType.StructEnd) break;
      const tag = Jce.tag;
      Jce.skip();
      while (next < tag && next <= BODY_FLAG) write(struct, next++, false, id, changes, sink);
      next = max(next, tag + 1);
      if (!write(struct, tag, true, id, changes, sink)) sink.bytes(field, (Jce.at - field) as u32);
    }
  }
  while (next <= BODY_FLAG) write(struct, next++, false, id, changes, sink);
  Jce.writeHead(sink, 0, JceType.StructEnd);
}

/** Appends a field that gets another value, and passes one that goes; false where it stays as it is. */
function write(struct: u32, tag: u32, there: bool, id: u64, changes: Changes, sink: Sink): bool {
  if (struct == BASIC_INFO && tag == SEQ_ID) {
    if (there || id) Jce.writeInt(sink, tag, id);
    return true;
  }
  const key = struct == BASIC_INFO ? basicKey(tag) : routeKey(tag);
  const change = key ? changes.find(key) : -1;
  if (change < 0) return false;
  const value = changes.value(change);
  if (struct == SERVER_ROUTE) {
    if (value.ptr) Jce.writeText(sink, tag, value.ptr, value.size);
    return true;
  }
  Decimal.parse(value);
  let number = Decimal.value;
  // Signed fields of that size, whatever is made of them.
  if (tag == COMMAND) number = number as i16;
  else if (tag == SERVICE_TYPE) number = number as i8;
  else if (tag == CALLER_ID) number = number as i32;
  Jce.writeInt(sink, tag, number);
  return true;
}

function result(reason: Reason): i32 {
  switch (reason) {
    case Reason.NoRoute:
    case Reason.Unavailable:
      return 8;
    case Reason.Timeout:
      return 3;
    case Reason.RateLimited:
      return 4;
    case Reason.Denied:
      return 5;
    case Reason.TooLarge:
      return 11;
    case Reason.BadRequest:
      return 10;
    default:
      return 1;
  }
}
