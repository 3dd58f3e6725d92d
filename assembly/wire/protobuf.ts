import { Sink } from "./sink";

/**
 * How a field's value is written: the low three bits of its tag, below its number. VARINT is a whole number, BYTES all
 * that has a length: text, bytes, a message, an entry of a map.
 */
export const VARINT: u32 = 0;
export const BYTES: u32 = 2;
const FIXED64: u32 = 1;
const FIXED32: u32 = 5;

/** Where a field would end that is none: behind all that there is, so whoever steps on has come to the end. */
export const MALFORMED: usize = usize.MAX_VALUE;

/** Of an entry of a map. */
const KEY: u32 = (1 << 3) | BYTES;
const VALUE: u32 = (2 << 3) | BYTES;

/**
 * Steps over the fields of a Protocol Buffers message (format: "Encoding" in the documentation of Protocol Buffers), one
 * at a time. There is no recursion: what stands in a field is stepped over like a message of its own by whoever wants it,
 * so nesting costs nothing. Groups, which nobody writes any more, are refused.
 *
 * Where a field comes twice, the last one counts, and two messages in the same field are one with the fields of both. A
 * field whose value is written in another way than expected is one that is not known: compare whole tags.
 */
@final
export class Protobuf {
  /** Of the field that next() stepped over: its number << 3 and how its value is written. */
  static tag: u32 = 0;
  /** Where its value begins, behind the length if there is one. */
  static ptr: usize = 0;
  /** Bytes of the value. */
  static size: u32 = 0;
  /** The value of a varint, and of nothing else. */
  static number: u64 = 0;

  // Of an entry of a map that entry() read.
  static key: usize = 0;
  static keySize: u32 = 0;
  static value: usize = 0;
  static valueSize: u32 = 0;

  /** Steps over the field at `at` < `end`; the address behind it, MALFORMED where there is none that ends in time. */
  static next(at: usize, end: usize): usize {
    // A number or a length of one byte behind a tag of one byte: nearly always.
    const tag: u32 = load<u8>(at);
    if (at + 1 < end && tag - 8 < 0x78) {
      const first: u32 = load<u8>(at, 1);
      if (first < 0x80) {
        const kind = tag & 7;
        const ptr = at + 2;
        if (kind == BYTES) {
          if (ptr + first > end) return MALFORMED;
          Protobuf.tag = tag;
          Protobuf.ptr = ptr;
          Protobuf.size = first;
          return ptr + first;
        }
        if (kind == VARINT) {
          Protobuf.tag = tag;
          Protobuf.ptr = at + 1;
          Protobuf.size = 1;
          Protobuf.number = first;
          return ptr;
        }
      }
    }
    return Protobuf.any(at, end);
  }

  private static any(at: usize, end: usize): usize {
    at = Protobuf.varint(at, end);
    const tag = Protobuf.number;
    // There is no field 0.
    if (at == MALFORMED || tag > (u32.MAX_VALUE as u64) || tag < 8) return MALFORMED;
    Protobuf.tag = tag as u32;
    let size: u64;
    switch ((tag as u32) & 7) {
      case VARINT: {
        const behind = Protobuf.varint(at, end);
        Protobuf.ptr = at;
        Protobuf.size = (behind - at) as u32;
        return behind;
      }
      case BYTES:
        at = Protobuf.varint(at, end);
        if (at == MALFORMED) return MALFORMED;
        size = Protobuf.number;
        break;
      case FIXED32:
        size = 4;
        break;
      case FIXED64:
        size = 8;
        break;
      default:
        return MALFORMED;
    }
    if (size > ((end - at) as u64)) return MALFORMED;
    Protobuf.ptr = at;
    Protobuf.size = size as u32;
    return at + (size as usize);
  }

  /** Reads a varint of up to ten bytes into `number`; the address behind it, or MALFORMED. */
  private static varint(at: usize, end: usize): usize {
    let value: u64 = 0;
    for (let shift: u64 = 0; at < end && shift < 64; shift += 7) {
      const byte: u64 = load<u8>(at++);
      value |= (byte & 0x7f) << shift;
      if (byte > 0x7f) continue;
      // The tenth byte has room for one bit.
      if (shift == 63 && byte > 1) return MALFORMED;
      Protobuf.number = value;
      return at;
    }
    return MALFORMED;
  }

  /** Reads the key and the value, text or bytes, of the map's entry that next() stepped over; false where it is none. */
  static entry(): bool {
    let at = Protobuf.ptr;
    const end = at + Protobuf.size;
    Protobuf.key = at;
    Protobuf.keySize = 0;
    Protobuf.value = at;
    Protobuf.valueSize = 0;
    while (at < end) {
      at = Protobuf.next(at, end);
      if (at == MALFORMED) return false;
      if (Protobuf.tag == KEY) {
        Protobuf.key = Protobuf.ptr;
        Protobuf.keySize = Protobuf.size;
      } else if (Protobuf.tag == VALUE) {
        Protobuf.value = Protobuf.ptr;
        Protobuf.valueSize = Protobuf.size;
      }
    }
    return true;
  }

  /** How many bytes a varint has. */
  static sizeOf(value: u64): u32 {
    return value ? (70 - (clz(value) as u32)) / 7 : 1;
  }

  /** Writes a varint where there is room for it. */
  static put(at: usize, value: u64): void {
    for (; value > 0x7f; value >>= 7) store<u8>(at++, (value as u32) | 0x80);
    store<u8>(at, value as u8);
  }

  static writeNumber(sink: Sink, tag: u32, value: u64): void {
    sink.varint(tag);
    sink.varint(value);
  }

  static writeBytes(sink: Sink, tag: u32, ptr: usize, size: u32): void {
    sink.varint(tag);
    sink.varint(size);
    sink.bytes(ptr, size);
  }

  static writeEntry(sink: Sink, tag: u32, key: usize, keySize: u32, value: usize, valueSize: u32): void {
    sink.varint(tag);
    sink.varint(2 + Protobuf.sizeOf(keySize) + keySize + Protobuf.sizeOf(valueSize) + valueSize);
    Protobuf.writeBytes(sink, KEY, key, keySize);
    Protobuf.writeBytes(sink, VALUE, value, valueSize);
  }

  /** Makes a field with that tag of all that was written since the sink had `start` bytes. */
  static wrap(sink: Sink, start: u32, tag: u32): void {
    const size = sink.size - start;
    const head = Protobuf.sizeOf(tag) + Protobuf.sizeOf(size);
    if (sink.full || !sink.reserve(head)) return;
    const at = sink.ptr + start;
    memory.copy(at + head, at, size);
    Protobuf.put(at, tag);
    Protobuf.put(at + Protobuf.sizeOf(tag), size);
  }
}
