const SIZE: usize = 65536;
/** malloc's promise to the host: good for any value that it may write. */
const ALIGN_MASK: usize = 7;

const base: usize = memory.data(65536, 8);
let used: usize = 0;
/** Heap blocks given out while the arena was full, linked through their first word. */
let overflow: usize = 0;
let depth: i32 = 0;

/**
 * Memory that the host fills during a callback: a bump pointer, reset when the outermost callback returns. A heap
 * allocation for every buffer that is read would cost more than reading its frames.
 */
@final
export class Arena {
  static allocate(size: usize): usize {
    const at = (used + ALIGN_MASK) & ~ALIGN_MASK;
    if (size <= SIZE - at && at <= SIZE) {
      used = at + size;
      return base + at;
    }
    const block = heap.alloc(size + 8);
    store<usize>(block, overflow);
    overflow = block;
    return block + 8;
  }

  /** Callbacks nest: closing a stream calls back before it returns. */
  @inline
  static enter(): void {
    depth++;
  }

  @inline
  static leave(): void {
    if (--depth <= 0) {
      depth = 0;
      used = 0;
      if (overflow) Arena.freeOverflow();
    }
  }

  /** Where the arena stands, for rewind(). */
  @inline
  static mark(): usize {
    return used;
  }

  /** Gives back what was allocated since mark(), and every block that did not fit into the arena, whenever. */
  @inline
  static rewind(mark: usize): void {
    used = mark;
    if (overflow) Arena.freeOverflow();
  }

  private static freeOverflow(): void {
    while (overflow) {
      const next = load<usize>(overflow);
      heap.free(overflow);
      overflow = next;
    }
  }
}
