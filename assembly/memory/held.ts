/**
 * The most bytes that all connections of a worker hold together: unfinished heads, bodies that wait for their turn. Each
 * of them has a limit of its own, but thousands of peers that never go on would use up the memory, and then every
 * connection would end.
 */
const HELD_MAX: u32 = 128 << 20;
let taken: u32 = 0;

/** The account of memory that peers make a worker hold. */
@final
export class Held {
  /** Reserves so many bytes; false where all that may be held is held. */
  static take(bytes: u32): bool {
    if (bytes > HELD_MAX - taken) return false;
    taken += bytes;
    return true;
  }

  static give(bytes: u32): void {
    taken -= bytes;
  }
}

/** What an empty block takes at first. */
const LEAST: u32 = 256;

/**
 * Bytes in a row that grow at the end and are taken away at the start, in heap memory that counts as held. Part of a
 * bigger record; all zero is empty.
 */
@unmanaged
export class Block {
  private base: usize;
  private capacity: u32;
  private from: u32;
  size: u32;

  /** The first byte. */
  @inline
  get ptr(): usize {
    return this.base + this.from;
  }

  /** Copies n bytes to the end; false where no more may be held, and then nothing is changed. */
  append(p: usize, n: u32): bool {
    const end = this.size + n;
    if (end > this.capacity - this.from && !this.grow(end)) return false;
    memory.copy(this.ptr + this.size, p, n);
    this.size = end;
    return true;
  }

  /** Takes the first n bytes away. */
  drop(n: u32): void {
    this.from += n;
    this.size -= n;
    if (!this.size) this.release();
  }

  /** Leaves the first n bytes, of no fewer. */
  truncate(n: u32): void {
    this.size = n;
    if (!n) this.release();
  }

  release(): void {
    if (!this.base) return;
    heap.free(this.base);
    Held.give(this.capacity);
    this.base = 0;
    this.capacity = 0;
    this.from = 0;
    this.size = 0;
  }

  /** Makes room for `end` bytes, by moving the bytes to the front where that frees half of the memory. */
  private grow(end: u32): bool {
    if (this.from && end <= this.capacity >> 1) {
      memory.copy(this.base, this.ptr, this.size);
    } else {
      if (end > (i32.MAX_VALUE as u32) >> 1) return false;
      const capacity = max<u32>(LEAST, end + (end >> 1));
      if (!Held.take(capacity)) return false;
      const base = heap.alloc(capacity);
      if (this.base) {
        memory.copy(base, this.ptr, this.size);
        heap.free(this.base);
        Held.give(this.capacity);
      }
      this.base = base;
      this.capacity = capacity;
    }
    this.from = 0;
    return true;
  }
}
