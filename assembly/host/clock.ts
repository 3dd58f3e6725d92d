import { proxy_get_current_time_nanoseconds } from "./imports";

const cell: usize = memory.data(8, 8);
let known: bool = false;

/** The host's clock, asked once for each callback at the most. */
@final
export class Clock {
  /** Nanoseconds since 1970. May step back: users of differences must not wrap around. */
  static now(): u64 {
    if (!known) {
      proxy_get_current_time_nanoseconds(cell);
      known = true;
    }
    return load<u64>(cell);
  }

  /** At the start of each callback. */
  @inline
  static forget(): void {
    known = false;
  }

  /** Whole milliseconds from `start` until now; 0 where the clock stepped back. */
  static millisecondsSince(start: u64): u64 {
    const now = Clock.now();
    return now > start ? (now - start) / 1_000_000 : 0;
  }
}
