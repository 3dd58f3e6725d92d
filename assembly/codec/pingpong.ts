import { Bytes } from "../wire/bytes";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 10;
/** Behind the header of frames that name a service. */
const SERVICE_SIZE: u32 = 4;
/** "pp", whatever the order of its bytes. */
const MAGIC: u16 = 0x7070;

const HEARTBEAT: u32 = 1;
const STREAM: u32 = 3;
const UNARY_OF_SERVICE: u32 = 4;

/** Error texts are for people. */
const MESSAGE_MAX: u32 = 1024;

const STATUSES = new Statuses(Status.Exception).add(0, Status.Ok, "ok");
const UNARY_NAME = Slice.of("unary");
const STREAM_NAME = Slice.of("stream");
const TYPE = Slice.of("type");
const SERVICE = Slice.of("service");

/**
 * pingpong, the protocol with which Apache APISIX shows and tests its xRPC framework (layout: its test t/xrpc/pingpong.t
 * and the module that this uses). All integers are big-endian:
 *
 * | off | size | field                                                           |
 * |-----|------|-----------------------------------------------------------------|
 * | 0   | 2    | pp                                                              |
 * | 2   | 1    | 1 heartbeat, 2 unary, 3 stream, 4 unary, names a service        |
 * | 3   | 2    | stream id                                                       |
 * | 5   | 1    | reserved                                                        |
 * | 6   | 4    | length of the body                                              |
 * | 10  | 4    | type 4 only: the service, filled up with zeros; not in the length |
 *
 * Whoever gets a heartbeat, client or server, sends the same bytes back: nothing tells it from its answer, so whoever
 * answered and asked as well would never come to an end. That is why heartbeat() has none. All other frames of a client
 * are requests, and of a server responses: several streams are under way at a time, told apart by their ids, and unary
 * calls one after the other.
 *
 * The protocol has no word for failure. Error replies carry the message as their body and, in the reserved byte that is 0
 * otherwise, 50 no route or 51 everything else.
 */
@final
export class PingPong extends Codec {
  private value: Slice = Slice.make();

  constructor() {
    super("pingpong", HEADER, STATUSES);
  }

  get magic(): string {
    return "7070";
  }

  keys(): string {
    return (
      '[{"name":"type","about":"2 unary, 3 stream, 4 unary, names a service"},' +
      '{"name":"service","about":"of type 4, up to four characters"}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    if (load<u16>(p) != MAGIC) return -Bad.Magic;
    const type = load<u8>(p, 2) as u32;
    if (type - HEARTBEAT > UNARY_OF_SERVICE - HEARTBEAT) return -Bad.Field;
    const body = bswap<u32>(load<u32>(p, 6));
    frame.id = bswap<u16>(load<u16>(p, 3));
    if (type == HEARTBEAT) {
      if (body) return -Bad.Length;
      frame.length = HEADER;
      frame.kind = Kind.Heartbeat;
      frame.token = load<u8>(p, 5);
      return READY;
    }
    if (body > (i32.MAX_VALUE as u32) - HEADER - SERVICE_SIZE) return -Bad.Length;
    const header = type == UNARY_OF_SERVICE ? HEADER + SERVICE_SIZE : HEADER;
    frame.length = header + body;
    if (n < header) return header;
    frame.token = type;
    frame.method.point(type == STREAM ? STREAM_NAME : UNARY_NAME);
    if (type == UNARY_OF_SERVICE) {
      frame.token = type | ((load<u32>(p, HEADER) as u64) << 8);
      frame.service.set(p + HEADER, Bytes.find(p + HEADER, SERVICE_SIZE, 0));
    }
    if (frame.side == Side.Client) return READY;
    frame.kind = Kind.Response;
    const code = load<u8>(p, 5) as u32;
    STATUSES.set(frame, code);
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    if (frame.kind == Kind.Heartbeat) return READY;
    frame.decimal(this.value, frame.token & 255);
    frame.add(TYPE, this.value);
    if (frame.service.ptr) frame.add(SERVICE, frame.service);
    return READY;
  }

  setId(p: usize, id: u64): bool {
    if (id > (u16.MAX_VALUE as u64)) return false;
    store<u16>(p, bswap<u16>(id as u16), 3);
    return true;
  }

  /** Rewrites the service of frames that name one. */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    sink.bytes(p, n);
    if (sink.full) return false;
    const copy = sink.ptr + start;
    let done = this.setId(copy, id);
    for (let i: u32 = 0; done && i < changes.count; i++) {
      const key = changes.key(i);
      const value = changes.value(i);
      done = frame.service.ptr != 0 && key.is(SERVICE.ptr, SERVICE.size) && fits(value);
      if (!done) break;
      store<u32>(copy + HEADER, 0);
      memory.copy(copy + HEADER, value.ptr, value.size);
    }
    if (!done) sink.size = start;
    return done;
  }

  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const type = (frame.token as u32) & 255;
    const size = Utf8.clip(message, messageSize, MESSAGE_MAX);
    sink.u16(MAGIC);
    sink.u8(type);
    sink.u16(frame.id as u32);
    sink.u8(reason == Reason.NoRoute ? 50 : 51);
    sink.u32(size);
    if (type == UNARY_OF_SERVICE) sink.u32(bswap<u32>((frame.token >> 8) as u32));
    sink.bytes(message, size);
  }

  heartbeatReply(frame: Frame, sink: Sink): bool {
    if (frame.kind != Kind.Heartbeat) return false;
    sink.u16(MAGIC);
    sink.u8(HEARTBEAT);
    sink.u16(frame.id as u32);
    sink.u8(frame.token as u32);
    sink.u32(0);
    return true;
  }
}

/** Whether a service can have that name. */
function fits(name: Slice): bool {
  return name.ptr != 0 && name.size <= SERVICE_SIZE && Bytes.find(name.ptr, name.size, 0) == name.size;
}
