/** UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
@final
export class Utf8 {
  /** How many bytes the code point at p has, 1 to 4; 0 when the bytes of [p, end) are not UTF-8. Needs p < end. */
  static length(p: usize, end: usize): u32 {
    const lead = load<u8>(p) as u32;
    if (lead < 0x80) return 1;
    if (lead < 0xc2) return 0;
    const left = end - p;
    if (lead < 0xe0) return left >= 2 && Utf8.follows(p + 1) ? 2 : 0;
    if (lead < 0xf0) {
      if (left < 3 || !Utf8.follows(p + 1) || !Utf8.follows(p + 2)) return 0;
      const second = load<u8>(p, 1) as u32;
      return (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) ? 0 : 3;
    }
    if (lead > 0xf4 || left < 4) return 0;
    if (!Utf8.follows(p + 1) || !Utf8.follows(p + 2) || !Utf8.follows(p + 3)) return 0;
    const second = load<u8>(p, 1) as u32;
    return (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second >= 0x90) ? 0 : 4;
  }

  /** The code point at p, for which length() was `length` and not 0. */
  static decode(p: usize, length: u32): u32 {
    let point = load<u8>(p) as u32;
    if (length == 1) return point;
    point &= 0x7f >> length;
    for (let i: u32 = 1; i < length; i++) point = (point << 6) | (load<u8>(p + i) & 63);
    return point;
  }

  /** Whether all bytes are UTF-8. */
  static valid(p: usize, size: u32): bool {
    if (Utf8.ascii(p, size)) return true;
    const end = p + size;
    while (p < end) {
      const length = Utf8.length(p, end);
      if (!length) return false;
      p += length;
    }
    return true;
  }

  /** Whether all bytes are ASCII, eight at a time. */
  private static ascii(p: usize, size: u32): bool {
    if (size < 8) {
      let all: u32 = 0;
      for (let i: u32 = 0; i < size; i++) all |= load<u8>(p + i);
      return all < 0x80;
    }
    const last = p + size - 8;
    let all = load<u64>(last);
    for (; p < last; p += 8) all |= load<u64>(p);
    return (all & 0x8080808080808080) == 0;
  }

  /** How many of `size` bytes of UTF-8 are at the most `most` and end with a whole code point. */
  static clip(p: usize, size: u32, most: u32): u32 {
    if (size <= most) return size;
    while (most && Utf8.follows(p + most)) most--;
    return most;
  }

  @inline
  private static follows(p: usize): bool {
    return (load<u8>(p) & 0xc0) == 0x80;
  }
}
