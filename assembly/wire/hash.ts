/** A hash of bytes for tables in memory: fast, not for secrets and not stable across versions. */
@final
export class Hash {
  /** Eight bytes at a time; the tail is read byte by byte, never past the end. */
  static bytes(ptr: usize, size: u32, seed: u64): u64 {
    let hash: u64 = seed ^ ((size as u64) * 0x9e3779b97f4a7c15);
    const end = ptr + size;
    while (ptr + 8 <= end) {
      hash = Hash.mix(hash ^ load<u64>(ptr));
      ptr += 8;
    }
    let tail: u64 = 0;
    while (ptr < end) tail = (tail << 8) | (load<u8>(ptr++) as u64);
    return Hash.mix(hash ^ tail);
  }

  @inline
  private static mix(x: u64): u64 {
    x *= 0xff51afd7ed558ccd;
    return x ^ (x >> 32);
  }
}
