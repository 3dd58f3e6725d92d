/** The bytes are no Thrift, promise more than there can be, or are nested beyond the limit here. */
export const THRIFT_INVALID: i32 = -1;

/** Structs, lists, sets and maps inside each other. */
const DEPTH_MAX: u32 = 128;

/** Of each open struct IN_STRUCT; of each list, set or map the values to come << 16, and the shapes of the next two. */
const stack: usize = memory.data(DEPTH_MAX << 3);
const IN_STRUCT: u64 = u64.MAX_VALUE;

/** What a type means to who steps over it: up to 16 that many bytes, or else one of these. */
const FIXED_MAX: u32 = 16;
const VARINT: u32 = 32;
const BINARY: u32 = 33;
const STRUCT: u32 = 34;
const LIST: u32 = 35;
const MAP: u32 = 36;
const NONE: u32 = 255;

/** Of the binary protocol: bool 2, i8 3, double 4, i16 6, i32 8, i64 10, binary 11, struct 12, map 13, set 14 ... */
const BINARY_SHAPES: usize = memory.data<u8>([255, 255, 1, 1, 8, 255, 2, 255, 4, 255, 8, 33, 34, 36, 35, 35, 16]);
const BINARY_TYPE_MAX: u32 = 16;
const BINARY_I32: u32 = 8;
/** Of the compact one, as elements: bool 1 and 2, i8 3, i16 4, i32 5, i64 6, double 7, binary 8, list 9, set 10 ... */
const COMPACT_SHAPES: usize = memory.data<u8>([255, 1, 1, 1, 32, 32, 32, 8, 33, 35, 35, 36, 34, 16, 255, 255]);
const COMPACT_I32: u32 = 5;

/**
 * Steps through the structs of Thrift's binary and compact protocol and builds nothing.
 *
 * Every method answers an i32: 0 and `at` stands behind what was read; k > 0 and so many bytes, counted from the p of
 * start(), are needed at the least before it is worth starting again; or THRIFT_INVALID. After an answer other than 0
 * only start() makes sense. The work is proportional to the bytes: a promised element is believed only while there are
 * bytes for it, and elements of fixed size are passed all at once.
 */
@final
export class Thrift {
  /** Where the next byte is read. May be moved after start(). */
  static at: usize = 0;
  /** After field(): there is one. False where the struct has ended. */
  static more: bool = false;
  /** After field(): its id. */
  static id: i32 = 0;
  /** After varint(), zigzag(), size() and int(): the number. */
  static value: i32 = 0;

  private static p: usize = 0;
  private static end: usize = 0;
  private static whole: u32 = 0;
  private static compact: bool = false;
  /** Bytes that must follow whatever is being read: one for each value and end of a struct within it still to come. */
  private static owed: u64 = 0;
  /** Of the field that was just read: its type, and what that means. */
  private static type: u32 = 0;
  private static shape: u32 = 0;
  /** What the value that was just begun holds: 0 nothing, else what goes on the stack. */
  private static inside: u64 = 0;

  /**
   * A message begins at p, where n bytes are. It has `whole` bytes in all, where that is known: nothing behind them is
   * read, and what needs more is invalid.
   */
  @inline
  static start(p: usize, n: u32, whole: u32, compact: bool): void {
    Thrift.p = p;
    Thrift.at = p;
    Thrift.end = p + min<u32>(n, whole);
    Thrift.whole = whole;
    Thrift.compact = compact;
    Thrift.owed = 0;
  }

  /** A struct begins at `at`. */
  @inline
  static enter(at: usize): void {
    Thrift.at = at;
    Thrift.id = 0;
  }

  /** Reads the head of the struct's next field, or steps over its end. */
  static field(): i32 {
    Thrift.more = false;
    const at = Thrift.at;
    // The byte that may be the end of a struct within another is among those that are owed.
    if (at >= Thrift.end) return Thrift.need(Thrift.owed ? 0 : 1);
    const head = load<u8>(at) as u32;
    const type = Thrift.compact ? head & 15 : head;
    if (!type) {
      Thrift.at = at + 1;
      return 0;
    }
    Thrift.more = true;
    Thrift.type = type;
    Thrift.shape = Thrift.shapeOf(type);
    if (Thrift.shape == NONE) return THRIFT_INVALID;
    if (!Thrift.compact) {
      const look = Thrift.step(3);
      if (!look) Thrift.id = bswap<i16>(load<i16>(at, 1));
      return look;
    }
    // A bool is told by its field's type.
    if (type < 3) Thrift.shape = 0;
    Thrift.at = at + 1;
    Thrift.id += head >> 4;
    if (head >> 4) return 0;
    const look = Thrift.zigzag();
    if (!look) Thrift.id = Thrift.value;
    return look;
  }

  /** Steps over the value of the field whose head was just read. */
  static skip(): i32 {
    const id = Thrift.id;
    const look = Thrift.pass(Thrift.shape);
    Thrift.id = id;
    Thrift.more = true;
    return look;
  }

  /** Steps over all fields to come and over the end of the struct. */
  static rest(): i32 {
    do {
      let look = Thrift.field();
      if (!look && Thrift.more) look = Thrift.skip();
      if (look) return look;
    } while (Thrift.more);
    return 0;
  }

  /** Reads the value of the field whose head was just read into `value`, and steps over any that is no i32: then it is 0. */
  static int(): i32 {
    if (Thrift.type == (Thrift.compact ? COMPACT_I32 : BINARY_I32)) {
      return Thrift.compact ? Thrift.zigzag() : Thrift.fixed();
    }
    const look = Thrift.skip();
    Thrift.value = 0;
    return look;
  }

  /** Reads an unsigned number of up to 32 bits, base 128, into `value`. */
  static varint(): i32 {
    let value: u64 = 0;
    for (let shift: u64 = 0; shift < 35; shift += 7) {
      if (Thrift.at >= Thrift.end) return Thrift.need(1);
      const byte = load<u8>(Thrift.at++) as u64;
      value |= (byte & 127) << shift;
      if (byte > 127) continue;
      Thrift.value = value as i32;
      return value > (u32.MAX_VALUE as u64) ? THRIFT_INVALID : 0;
    }
    return THRIFT_INVALID;
  }

  /** Reads a number whose sign stands in its last bit, base 128, into `value`. */
  static zigzag(): i32 {
    const look = Thrift.varint();
    Thrift.value = ((Thrift.value as u32) >> 1) ^ -(Thrift.value & 1);
    return look;
  }

  /** Reads how many bytes or elements follow into `value`; a negative number is invalid. */
  static size(): i32 {
    const look = Thrift.compact ? Thrift.varint() : Thrift.fixed();
    return look || Thrift.value >= 0 ? look : THRIFT_INVALID;
  }

  /** Passes n bytes. */
  static step(n: u64): i32 {
    if (((Thrift.end - Thrift.at) as u64) < n) return Thrift.need(n);
    Thrift.at += n as usize;
    return 0;
  }

  private static fixed(): i32 {
    const at = Thrift.at;
    const look = Thrift.step(4);
    if (!look) Thrift.value = bswap<i32>(load<i32>(at));
    return look;
  }

  /** Steps over a value of that shape with all that it holds. */
  private static pass(shape: u32): i32 {
    let depth: u32 = 0;
    do {
      let look = Thrift.begin(shape);
      if (look) return look;
      if (Thrift.inside) {
        if (depth == DEPTH_MAX) return THRIFT_INVALID;
        store<u64>(stack + (depth++ << 3), Thrift.inside);
      }
      // What the next value is, out of those containers that have one.
      while (depth) {
        const top = stack + ((depth - 1) << 3);
        const open = load<u64>(top);
        if (open == IN_STRUCT) {
          look = Thrift.field();
          if (look) return look;
          shape = Thrift.shape;
          if (Thrift.more) break;
          Thrift.owed--;
        } else if (open >> 16) {
          Thrift.owed--;
          shape = (open as u32) & 255;
          // One less to come, and its shapes change places.
          store<u64>(top, ((open - 0x10000) & ~0xffff) | ((open >> 8) & 255) | ((open & 255) << 8));
          break;
        }
        depth--;
      }
    } while (depth);
    return 0;
  }

  /** Steps over a value of that shape, but of what holds more only over its head: that goes to `inside`. */
  private static begin(shape: u32): i32 {
    Thrift.inside = 0;
    if (shape <= FIXED_MAX) return Thrift.step(shape);
    switch (shape) {
      case VARINT:
        return Thrift.anyVarint();
      case BINARY: {
        const look = Thrift.size();
        return look ? look : Thrift.step(Thrift.value);
      }
      case STRUCT:
        Thrift.id = 0;
        Thrift.inside = IN_STRUCT;
        Thrift.owed++;
        return 0;
      case LIST:
        return Thrift.list();
      case MAP:
        return Thrift.map();
      default:
        return THRIFT_INVALID;
    }
  }

  private static list(): i32 {
    const at = Thrift.at;
    let look = Thrift.step(1);
    if (look) return look;
    const head = load<u8>(at) as u32;
    if (Thrift.compact && head < 0xf0) {
      Thrift.value = head >> 4;
    } else {
      look = Thrift.size();
      if (look) return look;
    }
    const shape = Thrift.shapeOf(Thrift.compact ? head & 15 : head);
    return Thrift.values(Thrift.value, shape, shape);
  }

  private static map(): i32 {
    let at = Thrift.at;
    let look = Thrift.compact ? Thrift.size() : Thrift.step(2);
    if (look) return look;
    if (!Thrift.compact) {
      look = Thrift.size();
      return look ? look : Thrift.pairs(load<u8>(at), load<u8>(at, 1));
    }
    // What has no entries has no types either.
    if (!Thrift.value) return 0;
    at = Thrift.at;
    look = Thrift.step(1);
    return look ? look : Thrift.pairs(load<u8>(at) >> 4, load<u8>(at) & 15);
  }

  private static pairs(key: u32, value: u32): i32 {
    return Thrift.values((Thrift.value as u64) << 1, Thrift.shapeOf(key), Thrift.shapeOf(value));
  }

  /** That many values follow, of two shapes in turn. */
  private static values(count: u64, first: u32, second: u32): i32 {
    if (!count) return 0;
    if (first == NONE || second == NONE) return THRIFT_INVALID;
    if (first <= FIXED_MAX && second <= FIXED_MAX) return Thrift.step((count * (first + second)) >> 1);
    // There is no value without a byte.
    if (((Thrift.end - Thrift.at) as u64) < count) return Thrift.need(count);
    Thrift.owed += count;
    Thrift.inside = (count << 16) | (first as u64) | ((second as u64) << 8);
    return 0;
  }

  /** Integers of the compact protocol have up to 64 bits. */
  private static anyVarint(): i32 {
    for (let i = 0; i < 10; i++) {
      if (Thrift.at >= Thrift.end) return Thrift.need(1);
      if (load<u8>(Thrift.at++) < 128) return 0;
    }
    return THRIFT_INVALID;
  }

  @inline
  private static shapeOf(type: u32): u32 {
    if (Thrift.compact) return load<u8>(COMPACT_SHAPES + type);
    return type <= BINARY_TYPE_MAX ? load<u8>(BINARY_SHAPES + type) : NONE;
  }

  /** The answer where n more bytes are missing at `at`, and with them all that is owed. */
  private static need(n: u64): i32 {
    const least = ((Thrift.at - Thrift.p) as u64) + n + Thrift.owed;
    return least > (Thrift.whole as u64) ? THRIFT_INVALID : (least as i32);
  }
}
