/** The same values for the same seed. */
export class Random {
  constructor(private state: number) {}

  /** From 0 up to, and without, `below`. */
  int(below: number): number {
    // Mulberry32.
    this.state = (this.state + 0x6d2b79f5) | 0;
    let x = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % below;
  }

  /** True once in so many times. */
  once(times: number): boolean {
    return this.int(times) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)] as T;
  }

  /** Mostly small, now and then up to `most`. */
  size(most: number): number {
    return 1 + this.int(Math.max(1, most >> (this.int(5) * 3)));
  }
}
