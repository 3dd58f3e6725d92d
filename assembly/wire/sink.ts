/**
 * Bytes being written, in raw memory that grows up to `limit` and is kept for the next use. Past the limit nothing is
 * written and `full` stays true until clear(): the caller looks once, at the end.
 */
@final
export class Sink {
  ptr: usize = 0;
  size: u32 = 0;
  full: bool = false;
  private capacity: u32 = 0;

  constructor(readonly limit: u32 = 1 << 20) {}

  clear(): void {
    this.size = 0;
    this.full = false;
  }

  /** Gives the memory back where it is more than that. */
  shrink(capacity: u32): void {
    if (this.capacity <= capacity) return;
    heap.free(this.ptr);
    this.ptr = 0;
    this.size = 0;
    this.capacity = 0;
  }

  /** Makes room for n more bytes and answers where they go; 0 when they would pass the limit. */
  reserve(n: u32): usize {
    const size = this.size;
    if (n > this.limit - size) {
      this.full = true;
      return 0;
    }
    const end = size + n;
    if (end > this.capacity) {
      // Twice as much each time: the work to append is then proportional to what is appended.
      let capacity = max<u32>(64, this.capacity);
      while (capacity < end) capacity = capacity > this.limit >> 1 ? this.limit : capacity << 1;
      this.ptr = this.ptr ? heap.realloc(this.ptr, capacity) : heap.alloc(capacity);
      this.capacity = capacity;
    }
    this.size = end;
    return this.ptr + size;
  }

  u8(value: u32): void {
    const p = this.reserve(1);
    if (p) store<u8>(p, value as u8);
  }

  u16(value: u32): void {
    const p = this.reserve(2);
    if (p) store<u16>(p, bswap<u16>(value as u16));
  }

  u32(value: u32): void {
    const p = this.reserve(4);
    if (p) store<u32>(p, bswap<u32>(value));
  }

  u64(value: u64): void {
    const p = this.reserve(8);
    if (p) store<u64>(p, bswap<u64>(value));
  }

  bytes(from: usize, n: u32): void {
    const p = this.reserve(n);
    if (p) memory.copy(p, from, n);
  }

  /** Writes text as UTF-8; allocates nothing itself. */
  text(value: string): void {
    const length = String.UTF8.byteLength(value);
    const p = this.reserve(length as u32);
    if (p) String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, p);
  }

  /** Base 128, as protobuf has it. */
  varint(value: u64): void {
    while (value > 127) {
      this.u8((value as u32) | 128);
      value >>= 7;
    }
    this.u8(value as u32);
  }

  decimal(value: i64): void {
    let rest: u64 = value < 0 ? 0 - (value as u64) : (value as u64);
    if (value < 0) this.u8(45);
    this.unsigned(rest);
  }

  unsigned(value: u64): void {
    let digits: u32 = 1;
    for (let rest = value / 10; rest; rest /= 10) digits++;
    const p = this.reserve(digits);
    if (!p) return;
    for (let at = p + digits; at > p; value /= 10) store<u8>(--at, (48 + (value % 10)) as u8);
  }
}
