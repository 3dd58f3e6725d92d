import { Decimal } from "../wire/decimal";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Changes } from "./changes";
import { Bad, Codec, Look, READY, Reason } from "./codec";
import { Frame, Kind, Side, Status } from "./frame";
import { Statuses } from "./statuses";

const HEADER: u32 = 106;
/** Offsets. */
const FLOW: usize = 1;
const LENGTH_LOW: usize = 5;
const CMD: usize = 7;
const CODE: usize = 9;
const EXTEND_HIGH: usize = 54;
const SUB_CMD: usize = 64;
const LENGTH_HIGH: usize = 103;
const EXTEND_LOW: usize = 105;

const STATUSES = new Statuses(Status.Exception).add(0, Status.Ok, "ok");

/** The fields that are metadata: offset, bytes, whether negative numbers are (two's complement). */
const FIELDS: usize = memory.data<u8>([
  7, 2, 1, 64, 2, 1, 74, 4, 0, 70, 4, 0, 13, 4, 0, 17, 4, 0, 12, 1, 0, 61, 1, 1, 62, 2, 0,
]);
const KEYS: StaticArray<Slice> = [
  Slice.of("cmd"),
  Slice.of("sub_cmd"),
  Slice.of("uid"),
  Slice.of("host_uin"),
  Slice.of("app"),
  Slice.of("source"),
  Slice.of("platform"),
  Slice.of("alpha"),
  Slice.of("login_state"),
];

/**
 * qza, a protocol of Tencent Music (layout: what MetaProtocol Proxy's public demonstration has of it). All integers are
 * big-endian:
 *
 * | off | size | field                | off | size | field                                        |
 * |-----|------|----------------------|-----|------|----------------------------------------------|
 * | 0   | 1    | version              | 61  | 1    | alpha flag                                   |
 * | 1   | 4    | flow: the request id | 62  | 2    | login state: 0 ok, 1 failed, 0xFFFF not seen |
 * | 5   | 2    | length, low half     | 64  | 2    | sub_cmd, signed                              |
 * | 7   | 2    | cmd, signed          | 66  | 4    | client ip                                    |
 * | 9   | 2    | response code        | 70  | 4    | host uin                                     |
 * | 12  | 1    | platform             | 74  | 4    | client uin: uid                              |
 * | 13  | 4    | app                  | 103 | 2    | length, high half                            |
 * | 17  | 4    | source               | 105 | 1    | bytes that extend the header, low byte       |
 * | 54  | 1    | ... high byte        | 106 |      | these bytes; then the body                   |
 *
 * The length is that of the whole frame. What the table leaves out is of no use here. There is no magic and no type: what
 * a client sends are requests, what a server sends are responses, and those with the code 0 went well.
 */
@final
export class Qza extends Codec {
  private value: Slice = Slice.make();

  constructor() {
    super("qza", HEADER, STATUSES);
  }

  keys(): string {
    return (
      '[{"name":"cmd","about":"command number, signed decimal"},' +
      '{"name":"sub_cmd","about":"number of the command below it, signed decimal"},' +
      '{"name":"uid","about":"who asks, decimal"},' +
      '{"name":"host_uin","about":"whose data is asked for, decimal"},' +
      '{"name":"app","about":"decimal"},' +
      '{"name":"source","about":"decimal"},' +
      '{"name":"platform","about":"decimal"},' +
      '{"name":"alpha","about":"flag of who gets new things first, signed decimal"},' +
      '{"name":"login_state","about":"0 ok, 1 failed, 65535 not verified"}]'
    );
  }

  head(p: usize, n: u32, frame: Frame): Look {
    const length = (load16(p + LENGTH_HIGH) << 16) | load16(p + LENGTH_LOW);
    if (length < HEADER + (((load<u8>(p + EXTEND_HIGH) as u32) << 8) | (load<u8>(p + EXTEND_LOW) as u32))) {
      return -Bad.Length;
    }
    frame.length = length;
    frame.id = bswap<u32>(load<u32>(p + FLOW));
    frame.token = (load<u8>(p) as u64) | ((load<u16>(p + CMD) as u64) << 8) | ((load<u16>(p + SUB_CMD) as u64) << 24);
    frame.decimal(frame.method, load16(p + CMD) as i16);
    if (frame.side == Side.Client) return READY;
    frame.kind = Kind.Response;
    const code = load16(p + CODE) as i16 as i32;
    STATUSES.set(frame, code);
    return READY;
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    const value = this.value;
    for (let i = 0; i < KEYS.length; i++) {
      // The field in the first bytes of eight.
      const bytes = bswap<u64>(load<u64>(p + fieldAt(i)));
      const shift: u64 = 64 - (fieldSize(i) << 3);
      frame.decimal(value, fieldSigned(i) ? (bytes as i64) >> (shift as i64) : ((bytes >> shift) as i64));
      frame.add(KEYS[i], value);
    }
    return READY;
  }

  setId(p: usize, id: u64): bool {
    store<u32>(p + FLOW, bswap<u32>(id as u32));
    return true;
  }

  /** Rewrites the fields that are metadata. False for another key, for one to be taken out, and for what does not fit. */
  encode(p: usize, n: u32, frame: Frame, id: u64, changes: Changes, sink: Sink): bool {
    const start = sink.size;
    sink.bytes(p, n);
    if (sink.full) return false;
    const copy = sink.ptr + start;
    this.setId(copy, id);
    for (let i: u32 = 0; i < changes.count; i++) {
      if (set(copy, changes.key(i), changes.value(i))) continue;
      sink.size = start;
      return false;
    }
    return true;
  }

  /** A header with the request's version, flow and commands, and a code: 50 no route, 51 everything else. */
  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    const at = sink.reserve(HEADER);
    if (!at) return;
    memory.fill(at, 0, HEADER);
    store<u8>(at, frame.token as u8);
    this.setId(at, frame.id);
    store16(at + LENGTH_LOW, HEADER);
    store<u16>(at + CMD, (frame.token >> 8) as u16);
    store16(at + CODE, reason == Reason.NoRoute ? 50 : 51);
    store<u16>(at + SUB_CMD, (frame.token >> 24) as u16);
  }
}

function fieldAt(i: u32): u32 {
  return load<u8>(FIELDS + i * 3);
}

function fieldSize(i: u32): u32 {
  return load<u8>(FIELDS + i * 3, 1);
}

function fieldSigned(i: u32): bool {
  return load<u8>(FIELDS + i * 3, 2) != 0;
}

/** Sets the field with that key; false where there is none, or where the value is no number that it can be. */
function set(p: usize, key: Slice, value: Slice): bool {
  for (let i = 0; i < KEYS.length; i++) {
    if (!key.is(KEYS[i].ptr, KEYS[i].size)) continue;
    const size = fieldSize(i);
    const all: i64 = 1 << ((size << 3) as i64);
    const signed = fieldSigned(i);
    if (!value.ptr || !Decimal.within(value, signed ? -all >> 1 : 0, signed ? (all >> 1) - 1 : all - 1)) return false;
    const at = p + fieldAt(i);
    if (size == 4) store<u32>(at, bswap<u32>(Decimal.value as u32));
    else if (size == 2) store16(at, Decimal.value as u32);
    else store<u8>(at, Decimal.value as u8);
    return true;
  }
  return false;
}

function load16(at: usize): u32 {
  return bswap<u16>(load<u16>(at));
}

function store16(at: usize, value: u32): void {
  store<u16>(at, bswap<u16>(value as u16));
}
