import { Sink } from "./sink";
import { Slice } from "./slice";
import { Utf8 } from "./utf8";

/** The bytes are not Hessian 2.0, or are nested or defined beyond the limits here. */
export const HESSIAN_INVALID: i32 = -1;

/** Containers inside each other that have more to come: the last element of a fixed one does not count. */
const DEPTH_MAX: u32 = 256;
/** Class definitions in one message. */
const CLASSES_MAX: u32 = 1024;

/** Of each open container the elements to come, or one of the states below. */
const stack: usize = memory.data(DEPTH_MAX << 2);
/** Of each class definition the number of fields. */
const classes: usize = memory.data(CLASSES_MAX << 2);

/** A list that ends with Z. */
const LIST: i32 = -1;
/** A map before a key, or its Z. */
const MAP_KEY: i32 = -2;
/** A map before a value. */
const MAP_VALUE: i32 = -3;

/**
 * Steps through the Hessian 2.0 values of one message and builds nothing.
 *
 * Every method answers an i32: 0 and `at` stands behind what was read; k > 0 and so many bytes, counted from the p of
 * start(), are needed at the least before it is worth starting again; or HESSIAN_INVALID. After an answer other than 0
 * only start() makes sense. The work is proportional to the bytes: a promised element is believed only while
 * there are bytes for it.
 *
 *     null     N                          list  U type value* Z, V type int value*, W value* Z, X int value*,
 *     boolean  T F                              x70-x77 type value*, x78-x7f value*
 *     int      I, x80-xd7                 map   H (value value)* Z, M type (value value)* Z
 *     long     L, x59, x38-x3f, xd8-xff   class C string int string*, stands before a value
 *     double   D, x5b-x5f                 object O int value*, x60-x6f value*
 *     date     x4a, x4b                   ref   Q int
 *     string   (R chunk)* then S, x00-x1f or x30-x33
 *     binary   (A chunk)* then B, x20-x2f or x34-x37
 */
@final
export class Hessian2 {
  /** Where the next value begins. May be moved after start(), over bytes that are not Hessian. */
  static at: usize = 0;
  /** After string(): the value was a string, or null. */
  static wasString: bool = false;
  /** After string(): it is there, but in several chunks; the slice is empty. */
  static fragmented: bool = false;
  /** After int(): the number. */
  static value: i32 = 0;
  /** After map() and next(): an entry follows. */
  static more: bool = false;

  private static p: usize = 0;
  private static end: usize = 0;
  private static whole: u32 = 0;
  private static classCount: u32 = 0;
  /** Bytes that must follow whatever is being read: one for each element and Z still to come. */
  private static owed: u64 = 0;
  /** What the value that was just begun holds: 0 nothing, else what goes on the stack. */
  private static inside: i32 = 0;
  /** Of the chunk whose head was just read: UTF-16 units of text, or bytes. */
  private static count: u32 = 0;
  private static lastChunk: bool = false;

  /**
   * A message begins at p, where n bytes are. It has `whole` bytes in all, where that is known: nothing behind them is
   * read, and what needs more is invalid.
   */
  static start(p: usize, n: u32, whole: u32 = i32.MAX_VALUE): void {
    Hessian2.p = p;
    Hessian2.at = p;
    Hessian2.end = p + min<u32>(n, whole);
    Hessian2.whole = min<u32>(whole, i32.MAX_VALUE);
    Hessian2.classCount = 0;
    Hessian2.owed = 0;
  }

  /** Steps over one value of any kind, with all that it holds. */
  static skip(): i32 {
    let depth: u32 = 0;
    do {
      if (depth) {
        const top = stack + ((depth - 1) << 2);
        const left = load<i32>(top);
        if (left > 0) {
          Hessian2.owed--;
          // Gone before its last element is read, so that long chains of objects do not count as deep.
          if (left == 1) depth--;
          else store<i32>(top, left - 1);
        } else if (left == MAP_VALUE) {
          Hessian2.owed--;
          store<i32>(top, MAP_KEY);
        } else {
          if (Hessian2.at >= Hessian2.end) return Hessian2.need(0);
          if (load<u8>(Hessian2.at) == 0x5a) {
            Hessian2.at++;
            Hessian2.owed--;
            depth--;
            continue;
          }
          if (left == MAP_KEY) {
            Hessian2.owed++;
            store<i32>(top, MAP_VALUE);
          }
        }
      }
      const look = Hessian2.begin();
      if (look) return look;
      const inside = Hessian2.inside;
      if (inside) {
        if (depth == DEPTH_MAX) return HESSIAN_INVALID;
        store<i32>(stack + (depth << 2), inside);
        depth++;
        Hessian2.owed += inside > 0 ? (inside as u64) : 1;
      }
    } while (depth);
    return 0;
  }

  /**
   * Reads a string in one chunk into the slice: UTF-8, with characters above U+FFFF as Java writes them (two surrogates
   * of three bytes) or as everybody else does. Steps over any other value and clears the slice.
   */
  static string(slice: Slice): i32 {
    Hessian2.wasString = true;
    Hessian2.fragmented = false;
    const short = Hessian2.shortString(Hessian2.at, Hessian2.end);
    if (!short) return Hessian2.anyString(slice);
    slice.unpack(short);
    Hessian2.at = slice.end;
    return 0;
  }

  /**
   * What nearly every name is, a string of at most 1023 characters, all ASCII and all here: its slice, packed, or 0
   * where there is anything else. Needs no start(), keeps no state, and costs a fraction of the general way.
   */
  @inline
  static shortString(at: usize, end: usize): u64 {
    if (end - at < 2) return 0;
    const tag = load<u8>(at) as u32;
    const tiny = tag < 0x20;
    const size = tiny ? tag : ((tag & 3) << 8) | (load<u8>(at, 1) as u32);
    const text: usize = at + (tiny ? 1 : 2);
    const known = (tiny || (tag & 0xfc) == 0x30) && end - text >= size && Hessian2.isAscii(text, size, end);
    return known ? Slice.pack(text, size) : 0;
  }

  private static anyString(slice: Slice): i32 {
    slice.clear();
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
    const tag = load<u8>(Hessian2.at) as u32;
    if (tag == 0x4e) return Hessian2.step(1);
    if (!Hessian2.isText(tag)) {
      Hessian2.wasString = false;
      return Hessian2.skip();
    }
    if (tag == 0x52) {
      Hessian2.fragmented = true;
      return Hessian2.chunks(true);
    }
    let look = Hessian2.chunk(true);
    if (look) return look;
    const from = Hessian2.at;
    look = Hessian2.units(Hessian2.count);
    if (!look) slice.set(from, (Hessian2.at - from) as u32);
    return look;
  }

  /** Reads an int into `value`; anything else is invalid. */
  static int(): i32 {
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
    const at = Hessian2.at;
    const tag = load<u8>(at) as i32;
    const size = tag == 0x49 ? 5 : tag < 0x80 || tag > 0xd7 ? 0 : tag < 0xc0 ? 1 : tag < 0xd0 ? 2 : 3;
    if (!size) return HESSIAN_INVALID;
    const look = Hessian2.step(size);
    if (look) return look;
    if (size == 1) Hessian2.value = tag - 0x90;
    else if (size == 2) Hessian2.value = ((tag - 0xc8) << 8) + (load<u8>(at, 1) as i32);
    else if (size == 3) Hessian2.value = ((tag - 0xd4) << 16) + (bswap<u16>(load<u16>(at, 1)) as i32);
    else Hessian2.value = bswap<i32>(load<i32>(at, 1));
    return 0;
  }

  /**
   * Steps into a map, or over a null; anything else is invalid. Its entries:
   *
   *     for (look = Hessian2.map(); !look && Hessian2.more; look = Hessian2.next()) // read a key, then a value
   */
  static map(): i32 {
    Hessian2.more = false;
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
    const tag = load<u8>(Hessian2.at++);
    if (tag == 0x4e) return 0;
    if (tag == 0x4d) {
      const look = Hessian2.type(1);
      if (look) return look;
    } else if (tag != 0x48) {
      return HESSIAN_INVALID;
    }
    return Hessian2.next();
  }

  /** Says in `more` whether another entry follows; steps over the end of the map where none does. */
  static next(): i32 {
    Hessian2.more = false;
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
    Hessian2.more = load<u8>(Hessian2.at) != 0x5a;
    return Hessian2.more ? 0 : Hessian2.step(1);
  }

  /** Steps over one value, but of a container only over its head: what it holds goes to `inside`. */
  private static begin(): i32 {
    Hessian2.inside = 0;
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
    let tag = load<u8>(Hessian2.at) as u32;
    while (tag == 0x43) {
      const look = Hessian2.define();
      if (look) return look;
      if (Hessian2.at >= Hessian2.end) return Hessian2.need(1);
      tag = load<u8>(Hessian2.at) as u32;
    }

    if (tag >= 0xd8) return Hessian2.step(tag < 0xf0 ? 1 : 2);
    if (tag >= 0x80) return Hessian2.step(tag < 0xc0 ? 1 : tag < 0xd0 ? 2 : 3);
    if (Hessian2.isText(tag)) return Hessian2.chunks(true);
    if (tag < 0x38 || tag == 0x41 || tag == 0x42) return Hessian2.chunks(false);
    if (tag < 0x40) return Hessian2.step(3);

    // What is left is a tag of one byte, and for some more behind it.
    Hessian2.at++;
    if (tag >= 0x78) {
      Hessian2.inside = tag & 7;
      return 0;
    }
    if (tag >= 0x70) {
      Hessian2.inside = tag & 7;
      return Hessian2.type(tag & 7);
    }
    if (tag >= 0x60) return Hessian2.object(tag & 15);
    let look: i32 = 0;
    switch (tag) {
      case 0x4e: // N
      case 0x54: // T
      case 0x46: // F
      case 0x5b: // 0.0
      case 0x5c: // 1.0
        return 0;
      case 0x5d: // double from a byte
        return Hessian2.step(1);
      case 0x5e: // double from a short
        return Hessian2.step(2);
      case 0x49: // I
      case 0x4b: // date in minutes
      case 0x59: // long from an int
      case 0x5f: // double from a float
        return Hessian2.step(4);
      case 0x44: // D
      case 0x4a: // date in milliseconds
      case 0x4c: // L
        return Hessian2.step(8);
      case 0x55: // U
        Hessian2.inside = LIST;
        return Hessian2.type(1);
      case 0x57: // W
        Hessian2.inside = LIST;
        return 0;
      case 0x4d: // M
        Hessian2.inside = MAP_KEY;
        return Hessian2.type(1);
      case 0x48: // H
        Hessian2.inside = MAP_KEY;
        return 0;
      case 0x56: // V
        look = Hessian2.type(1);
        if (look) return look;
        look = Hessian2.natural();
        Hessian2.inside = Hessian2.value;
        return look;
      case 0x58: // X
        look = Hessian2.natural();
        Hessian2.inside = Hessian2.value;
        return look;
      case 0x4f: // O
        look = Hessian2.natural();
        return look ? look : Hessian2.object(Hessian2.value);
      case 0x51: // Q
        return Hessian2.natural();
      default:
        return HESSIAN_INVALID;
    }
  }

  private static object(index: u32): i32 {
    if (index >= Hessian2.classCount) return HESSIAN_INVALID;
    Hessian2.inside = load<i32>(classes + (index << 2));
    return 0;
  }

  /** Steps over a class definition and keeps its number of fields. */
  private static define(): i32 {
    Hessian2.at++;
    // Behind the name: the number of fields, and the value that the definition stands before.
    Hessian2.owed += 2;
    let look = Hessian2.chunks(true);
    if (look) return look;
    Hessian2.owed--;
    look = Hessian2.natural();
    if (look) return look;
    const fields = Hessian2.value;
    if (Hessian2.classCount == CLASSES_MAX) return HESSIAN_INVALID;
    store<i32>(classes + (Hessian2.classCount++ << 2), fields);
    Hessian2.owed += fields;
    for (let i = 0; i < fields; i++) {
      Hessian2.owed--;
      look = Hessian2.chunks(true);
      if (look) return look;
    }
    Hessian2.owed--;
    return 0;
  }

  /** Steps over the type of a list or map, a name or the number of an earlier one, with `behind` bytes still to come. */
  private static type(behind: u32): i32 {
    if (Hessian2.at >= Hessian2.end) return Hessian2.need(1 + behind);
    Hessian2.owed += behind;
    const look = Hessian2.isText(load<u8>(Hessian2.at)) ? Hessian2.chunks(true) : Hessian2.natural();
    Hessian2.owed -= behind;
    return look;
  }

  /** An int that is a count or an index. */
  private static natural(): i32 {
    const look = Hessian2.int();
    return look ? look : Hessian2.value < 0 ? HESSIAN_INVALID : 0;
  }

  /** Steps over a string, or else binary data. */
  private static chunks(text: bool): i32 {
    do {
      let look = Hessian2.chunk(text);
      if (look) return look;
      const behind: u64 = Hessian2.lastChunk ? 0 : 1;
      Hessian2.owed += behind;
      look = text ? Hessian2.units(Hessian2.count) : Hessian2.step(Hessian2.count);
      if (look) return look;
      Hessian2.owed -= behind;
    } while (!Hessian2.lastChunk);
    return 0;
  }

  /** Reads the head of one chunk of a string, or else of binary data, into `count` and `lastChunk`. */
  private static chunk(text: bool): i32 {
    const at = Hessian2.at;
    if (at >= Hessian2.end) return Hessian2.need(1);
    const tag = load<u8>(at) as u32;
    const short = text ? tag < 0x20 : (tag & 0xf0) == 0x20;
    const medium = (tag & 0xfc) == (text ? 0x30 : 0x34);
    Hessian2.lastChunk = short || medium || tag == (text ? 0x53 : 0x42);
    if (!Hessian2.lastChunk && tag != (text ? 0x52 : 0x41)) return HESSIAN_INVALID;
    const look = Hessian2.step(short ? 1 : medium ? 2 : 3);
    if (look) return look;
    if (short) Hessian2.count = tag & 0x1f;
    else if (medium) Hessian2.count = ((tag & 3) << 8) | (load<u8>(at, 1) as u32);
    else Hessian2.count = bswap<u16>(load<u16>(at, 1)) as u32;
    return 0;
  }

  @inline
  private static isText(tag: u32): bool {
    return tag < 0x20 || (tag & 0xfc) == 0x30 || tag == 0x52 || tag == 0x53;
  }

  /** Whether the `size` bytes at `text` are ASCII; reads eight at a time, before `end` only. */
  @inline
  private static isAscii(text: usize, size: u32, end: usize): bool {
    let high: u64 = 0;
    if (size >= 8) {
      const last = text + size - 8;
      for (let p = text; p < last; p += 8) high |= load<u64>(p);
      high |= load<u64>(last);
    } else if (text + 8 <= end) {
      high = load<u64>(text) & ((1 << ((size as u64) << 3)) - 1);
    } else {
      for (let p = text; p < text + size; p++) high |= load<u8>(p) as u64;
    }
    return !(high & 0x8080808080808080);
  }

  /** Steps over text of that many UTF-16 units. */
  private static units(left: u32): i32 {
    const end = Hessian2.end;
    let at = Hessian2.at;
    while (left) {
      while (left >= 8 && end - at >= 8 && !(load<u64>(at) & 0x8080808080808080)) {
        at += 8;
        left -= 8;
      }
      if (!left) break;
      const lead = at < end ? (load<u8>(at) as u32) : 0;
      const size: u32 = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf8 ? 4 : 0;
      const units: u32 = size == 4 ? 2 : 1;
      if (!size || units > left) return HESSIAN_INVALID;
      const here = min<usize>(end - at, size) as u32;
      for (let i: u32 = 1; i < here; i++) {
        if ((load<u8>(at + i) & 0xc0) != 0x80) return HESSIAN_INVALID;
      }
      left -= units;
      if (here < size) {
        Hessian2.at = at;
        return Hessian2.need(size + left);
      }
      at += size;
    }
    Hessian2.at = at;
    return 0;
  }

  private static step(n: u32): i32 {
    if (Hessian2.end - Hessian2.at < n) return Hessian2.need(n);
    Hessian2.at += n;
    return 0;
  }

  /** The answer when n bytes must stand at `at`. */
  private static need(n: u32): i32 {
    const total = ((Hessian2.at - Hessian2.p) as u64) + n + Hessian2.owed;
    return total > Hessian2.whole ? HESSIAN_INVALID : (total as i32);
  }
}

/**
 * Appends UTF-8 as a string in one chunk, characters above U+FFFF as Java writes them. False, and nothing appended, where
 * it is not UTF-8 or has more than 65,535 UTF-16 units.
 */
export function writeString(sink: Sink, text: usize, size: u32): bool {
  const end = text + size;
  let units: u32 = 0;
  let astral = false;
  for (let at = text; at < end; ) {
    const length = Utf8.length(at, end);
    if (!length) return false;
    if (length == 4) {
      astral = true;
      units++;
    }
    units++;
    at += length;
  }
  if (units < 0x20) {
    sink.u8(units);
  } else if (units < 0x400) {
    sink.u16(0x3000 | units);
  } else {
    if (units > 0xffff) return false;
    sink.u8(0x53);
    sink.u16(units);
  }
  if (!astral) {
    sink.bytes(text, size);
    return true;
  }
  for (let at = text; at < end; ) {
    const length = Utf8.length(at, end);
    if (length == 4) {
      const point = Utf8.decode(at, length) - 0x10000;
      surrogate(sink, 0xd800 | (point >> 10));
      surrogate(sink, 0xdc00 | (point & 0x3ff));
    } else {
      sink.bytes(at, length);
    }
    at += length;
  }
  return true;
}

function surrogate(sink: Sink, unit: u32): void {
  sink.u8(0xe0 | (unit >> 12));
  sink.u8(0x80 | ((unit >> 6) & 63));
  sink.u8(0x80 | (unit & 63));
}
