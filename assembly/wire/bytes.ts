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
}
