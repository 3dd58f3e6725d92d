import { Sink } from "./sink";
import { Slice } from "./slice";

/** The bytes are no JCE, promise more than there can be, or are nested beyond the limit here. */
export const JCE_INVALID: i32 = -1;

/** Types of values: the low four bits of a head. */
export const enum JceType {
  I8 = 0,
  I16 = 1,
  I32 = 2,
  I64 = 3,
  Float = 4,
  Double = 5,
  ShortText = 6,
  LongText = 7,
  Map = 8,
  List = 9,
  Struct = 10,
  StructEnd = 11,
  Zero = 12,
  Bytes = 13,
}

/** A tag nibble that says that the next byte is the tag. */
const LONG_TAG: u32 = 15;

/** Structs, lists and maps inside each other. */
const DEPTH_MAX: u32 = 64;
/** Of each open list or map, how many values are to come; of each open struct IN_STRUCT. */
const stack: usize = memory.data(DEPTH_MAX << 2);
const IN_STRUCT: u32 = u32.MAX_VALUE;

/**
 * Steps through the fields of JCE, the encoding of Tars (format: the documentation of its protocol), and builds nothing.
 * Each value has a head, `tag << 4 | type`. An integer is written as short as its value allows, so its type says nothing
 * of the field's.
 *
 * Methods that read answer an i32: 0 and `at` stands behind what was read; k > 0 and so many bytes, counted from the p of
 * start(), are needed at the least before it is worth starting again; or JCE_INVALID. After an answer other than 0 only
 * start() makes sense. The work is proportional to the bytes: there is no value without one.
 */
@final
export class Jce {
  /** Where the next byte is read. */
  static at: usize = 0;
  /** Of the head that was read last. */
  static tag: u32 = 0;
  static type: JceType = JceType.I8;
  /** After int(): the number. */
  static value: i64 = 0;

  private static p: usize = 0;
  private static end: usize = 0;
  private static whole: u32 = 0;

  /** Fields begin at `at`. They end with the `whole` bytes from p on at the latest, of which the first n are there. */
  @inline
  static start(p: usize, n: u32, whole: u32, at: usize): void {
    Jce.p = p;
    Jce.at = at;
    Jce.end = p + min<u32>(n, whole);
    Jce.whole = whole;
  }

  /** Whether nothing follows. */
  @inline
  static get done(): bool {
    return Jce.at == Jce.p + Jce.whole;
  }

  /** Reads a head. */
  @inline
  static head(): i32 {
    const at = Jce.at;
    if (at >= Jce.end) return Jce.need(1);
    const head = load<u8>(at) as u32;
    Jce.type = (head & 15) as JceType;
    Jce.tag = head >> 4;
    if (head >> 4 == LONG_TAG) {
      if (at + 2 > Jce.end) return Jce.need(2);
      Jce.tag = load<u8>(at, 1);
      Jce.at = at + 2;
    } else {
      Jce.at = at + 1;
    }
    return 0;
  }

  /** Reads the integer whose head was read last into `value`; what is none is invalid. */
  @inline
  static int(): i32 {
    const at = Jce.at;
    const type = Jce.type;
    if (type == JceType.Zero) {
      Jce.value = 0;
      return 0;
    }
    if (type > JceType.I64) return JCE_INVALID;
    const size: u32 = 1 << (type as u32);
    if (at + size > Jce.end) return Jce.need(size);
    Jce.at = at + size;
    if (type == JceType.I8) Jce.value = load<i8>(at);
    else if (type == JceType.I16) Jce.value = bswap<i16>(load<i16>(at));
    else if (type == JceType.I32) Jce.value = bswap<i32>(load<i32>(at));
    else Jce.value = bswap<i64>(load<i64>(at));
    return 0;
  }

  /** Points `slice` to the text whose head was read last; what is none is invalid. */
  static text(slice: Slice): i32 {
    const type = Jce.type;
    if (type != JceType.ShortText && type != JceType.LongText) return JCE_INVALID;
    const look = Jce.skip();
    if (look) return look;
    const size = Jce.size;
    slice.set(Jce.at - size, size);
    return 0;
  }

  /** Steps over the value whose head was read last, with all that it holds. */
  static skip(): i32 {
    let depth: u32 = 0;
    do {
      let look = Jce.begin();
      if (look) return look;
      if (Jce.inside) {
        if (depth == DEPTH_MAX) return JCE_INVALID;
        store<u32>(stack + (depth++ << 2), Jce.inside);
      }
      // The head of the next value, out of those that hold one.
      while (depth) {
        const top = stack + ((depth - 1) << 2);
        const open = load<u32>(top);
        if (!open) {
          depth--;
          continue;
        }
        look = Jce.head();
        if (look) return look;
        if (open == IN_STRUCT) {
          if (Jce.type != JceType.StructEnd) break;
          depth--;
        } else {
          store<u32>(top, open - 1);
          break;
        }
      }
    } while (depth);
    return 0;
  }

  /** What the value that was just begun holds: 0 nothing, else what goes on the stack. */
  private static inside: u32 = 0;
  /** Bytes of the text that was stepped over. */
  private static size: u32 = 0;

  /** Steps over a value, but of what holds more only over its beginning: the rest goes to `inside`. */
  private static begin(): i32 {
    Jce.inside = 0;
    switch (Jce.type) {
      case JceType.I8:
        return Jce.step(1);
      case JceType.I16:
        return Jce.step(2);
      case JceType.I32:
      case JceType.Float:
        return Jce.step(4);
      case JceType.I64:
      case JceType.Double:
        return Jce.step(8);
      case JceType.Zero:
        return 0;
      case JceType.ShortText: {
        const at = Jce.at;
        const look = Jce.step(1);
        if (look) return look;
        Jce.size = load<u8>(at);
        return Jce.step(Jce.size);
      }
      case JceType.LongText: {
        const at = Jce.at;
        const look = Jce.step(4);
        if (look) return look;
        Jce.size = bswap<u32>(load<u32>(at));
        return Jce.step(Jce.size);
      }
      case JceType.Map:
        return Jce.values(2);
      case JceType.List:
        return Jce.values(1);
      case JceType.Struct:
        Jce.inside = IN_STRUCT;
        return 0;
      case JceType.Bytes: {
        // A list whose elements share the one head that it has: that of an i8.
        let look = Jce.head();
        if (look) return look;
        if (Jce.type != JceType.I8) return JCE_INVALID;
        look = Jce.count();
        return look ? look : Jce.step(Jce.value as u32);
      }
      default:
        return JCE_INVALID;
    }
  }

  /** So many entries follow, of that many values each. */
  private static values(each: u32): i32 {
    const look = Jce.count();
    if (look) return look;
    const values = (Jce.value as u32) * each;
    // There is no value without a head.
    if (values > ((Jce.p + Jce.whole - Jce.at) as u32)) return JCE_INVALID;
    Jce.inside = values;
    return 0;
  }

  /** Reads how many elements follow, which is written like a field, into `value`: not more than an i32 can say. */
  private static count(): i32 {
    let look = Jce.head();
    if (!look) look = Jce.int();
    return look || (Jce.value >= 0 && Jce.value <= (i32.MAX_VALUE as i64)) ? look : JCE_INVALID;
  }

  private static step(n: u32): i32 {
    if (((Jce.end - Jce.at) as u32) < n) return Jce.need(n);
    Jce.at += n;
    return 0;
  }

  /** The answer where n bytes are needed at `at`. */
  private static need(n: u32): i32 {
    const least = ((Jce.at - Jce.p) as u64) + n;
    return least > (Jce.whole as u64) ? JCE_INVALID : (least as i32);
  }

  /** How an integer is written. */
  static typeOf(value: i64): JceType {
    if (!value) return JceType.Zero;
    if (value == (value as i8 as i64)) return JceType.I8;
    if (value == (value as i16 as i64)) return JceType.I16;
    return value == (value as i32 as i64) ? JceType.I32 : JceType.I64;
  }

  /** Writes an integer of that type where there is room for it. */
  static put(at: usize, type: JceType, value: i64): void {
    if (type == JceType.I8) store<i8>(at, value as i8);
    else if (type == JceType.I16) store<i16>(at, bswap<i16>(value as i16));
    else if (type == JceType.I32) store<i32>(at, bswap<i32>(value as i32));
    else if (type == JceType.I64) store<i64>(at, bswap<i64>(value));
  }

  static writeHead(sink: Sink, tag: u32, type: JceType): void {
    if (tag < LONG_TAG) {
      sink.u8((tag << 4) | (type as u32));
    } else {
      sink.u8((LONG_TAG << 4) | (type as u32));
      sink.u8(tag);
    }
  }

  static writeInt(sink: Sink, tag: u32, value: i64): void {
    const type = Jce.typeOf(value);
    Jce.writeHead(sink, tag, type);
    if (type == JceType.Zero) return;
    const at = sink.reserve(1 << (type as u32));
    if (at) Jce.put(at, type, value);
  }

  static writeText(sink: Sink, tag: u32, ptr: usize, size: u32): void {
    if (size < 256) {
      Jce.writeHead(sink, tag, JceType.ShortText);
      sink.u8(size);
    } else {
      Jce.writeHead(sink, tag, JceType.LongText);
      sink.u32(size);
    }
    sink.bytes(ptr, size);
  }
}
