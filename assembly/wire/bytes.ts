/** What std/memory does not do fast enough for every frame. */
@final
export class Bytes {
  /**
   * Whether two runs of bytes are the same, eight bytes at a time. memory.compare() goes byte by byte where the two
   * are not aligned alike, which a name in a frame and its copy hardly ever are.
   */
  @inline
  static equal(a: usize, b: usize, size: u32): bool {
    if (size < 8) {
      for (let i: u32 = 0; i < size; i++) {
        if (load<u8>(a + i) != load<u8>(b + i)) return false;
      }
      return true;
    }
    const last = size - 8;
    for (let i: u32 = 0; i < last; i += 8) {
      if (load<u64>(a + i) != load<u64>(b + i)) return false;
    }
    return load<u64>(a + last) == load<u64>(b + last);
  }

  /** Where a byte stands for the first time, eight bytes at a time; `size` where it does not. */
  @inline
  static find(p: usize, size: u32, byte: u8): u32 {
    let at: u32 = 0;
    for (; at + 8 <= size; at += 8) {
      // Zero where the byte stands; the lowest high bit that is left tells the first of them.
      const x = load<u64>(p + at) ^ (0x0101010101010101 * (byte as u64));
      const zeros = (x - 0x0101010101010101) & ~x & 0x8080808080808080;
      if (zeros) return at + ((ctz(zeros) as u32) >> 3);
    }
    while (at < size && load<u8>(p + at) != byte) at++;
    return at;
  }
}
