/** Bytes on each side of what is tested: a parser that reads past an end reads these. */
const GUARD: u32 = 64;

/**
 * The bytes under test, with guard bytes around them that can be given any value: code that answers the same whatever
 * the guards hold has not used them.
 */
@final
export class Guarded {
  private readonly block: usize;

  constructor(readonly size: u32) {
    this.block = heap.alloc(size + 2 * GUARD);
    this.guard(0xa5);
  }

  static text(text: string): Guarded {
    const guarded = new Guarded(String.UTF8.byteLength(text) as u32);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, guarded.ptr);
    return guarded;
  }

  /** Two hexadecimal digits a byte; blanks between bytes are fine. */
  static hex(text: string): Guarded {
    let digits: u32 = 0;
    for (let i = 0; i < text.length; i++) digits += text.charCodeAt(i) == 32 ? 0 : 1;
    const guarded = new Guarded(digits >> 1);
    let value: u32 = 0;
    let at: u32 = 0;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c == 32) continue;
      value = (value << 4) | (c <= 57 ? c - 48 : c - 87);
      if (at & 1) store<u8>(guarded.ptr + (at >> 1), value as u8);
      at++;
    }
    return guarded;
  }

  static copy(from: usize, size: u32): Guarded {
    const guarded = new Guarded(size);
    memory.copy(guarded.ptr, from, size);
    return guarded;
  }

  get ptr(): usize {
    return this.block + GUARD;
  }

  /** Fills both guards with that byte. */
  guard(fill: u8): void {
    memory.fill(this.block, fill, GUARD);
    memory.fill(this.ptr + this.size, fill, GUARD);
  }

  free(): void {
    heap.free(this.block);
  }
}

/** Xorshift: the same numbers in every run. */
@final
export class Random {
  constructor(private state: u32 = 0x9e3779b9) {}

  /** 0 <= the number < n. */
  below(n: u32): u32 {
    let x = this.state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    this.state = x;
    return x % n;
  }
}

/** What stands in memory, as hexadecimal digits. */
export function hexOf(ptr: usize, size: u32): string {
  let text = "";
  for (let i: u32 = 0; i < size; i++) {
    const byte = load<u8>(ptr + i);
    text += (byte < 16 ? "0" : "") + byte.toString(16);
  }
  return text;
}
