import { Slice } from "./slice";

/** Reads numbers written in decimal digits. */
@final
export class Decimal {
  /** What parse() read. */
  static value: i64 = 0;

  /** Reads an i64 that is the whole text into `value`; false where it is none. */
  static parse(text: Slice): bool {
    const end = text.end;
    let at = text.ptr;
    const negative = at < end && load<u8>(at) == 45;
    if (negative) at++;
    // 19 digits are what a u64 holds for sure, and an i64 needs no more.
    if (at == end || end - at > 19) return false;
    let value: u64 = 0;
    for (; at < end; at++) {
      const digit = (load<u8>(at) as u32) - 48;
      if (digit > 9) return false;
      value = value * 10 + digit;
    }
    if (value > (i64.MAX_VALUE as u64) + (negative as u64)) return false;
    Decimal.value = (negative ? 0 - value : value) as i64;
    return true;
  }

  /** The same, where it must not be less than `least` or more than `most`. */
  static within(text: Slice, least: i64, most: i64): bool {
    return Decimal.parse(text) && Decimal.value >= least && Decimal.value <= most;
  }
}
