/** A code with a bit too few, a wrong end, or the end of string symbol. */
export const HUFFMAN_INVALID: i32 = -1;
/** More bytes than there is room for. */
export const HUFFMAN_TOO_LONG: i32 = -2;

/** What decode() may write behind the room that it is given. */
export const HUFFMAN_SLACK: u32 = 16;

const SYMBOLS: i32 = 257;
const END_OF_STRING: u32 = 256;
const LONGEST: u32 = 30;

/**
 * The code of RFC 7541, appendix B: the bits of each byte's code, as digits of base 36. That is all there is to know,
 * because the code is canonical: codes count up, shorter ones first, and by byte value where they are equally long.
 */
const LENGTHS =
  "dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6ca" +
  "d67777777777777777777777878djde6f56565666577666567655677777fbeds" +
  "kmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmn" +
  "qqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrq";

/** Bits that one look into PAIRS decides about: enough for two of the letters and digits that headers consist of. */
const LOOK_BITS: u32 = 12;

/**
 * For each way that LOOK_BITS can go on, the bytes that they are the codes of, in 16 bits; their number, in eight; and
 * the bits of their codes, in eight. All zero where even the first code is longer.
 */
const PAIRS: usize = heap.alloc(4 << LOOK_BITS);
/** For each length, the first 32 bits that start no code of this length or a shorter one (2^32 behind the last code). */
const BOUNDS: usize = heap.alloc(8 * ((LONGEST as usize) + 1));
/** For each length, what to add to a code of that length to find its symbol in SORTED. */
const BASES: usize = heap.alloc(4 * ((LONGEST as usize) + 1));
/** The symbols, by their codes. */
const SORTED: usize = heap.alloc(2 * SYMBOLS);

build();

/** The Huffman code of HPACK (RFC 7541, appendix B). */
@final
export class Huffman {
  /**
   * Decodes n bytes at p to `to`, where there is room for so many bytes, and HUFFMAN_SLACK more. Answers the number of
   * bytes decoded, HUFFMAN_INVALID, or HUFFMAN_TOO_LONG (and then what follows was not looked at).
   */
  static decode(p: usize, n: u32, to: usize, room: u32): i32 {
    const start = to;
    const limit = to + room;
    // The next bits, from the highest on, and how many of them count.
    let window: u64 = 0;
    let have: u32 = 0;
    let left = n;
    while (left >= 8) {
      // What does not fit is shifted out here, and comes again with the next turn.
      window |= bswap<u64>(load<u64>(p)) >> have;
      const bytes = (63 - have) >> 3;
      p += bytes;
      left -= bytes;
      have += bytes << 3;
      do {
        const pair = load<u32>(PAIRS + (((window >> (64 - LOOK_BITS)) as usize) << 2));
        let used = pair >> 24;
        if (pair) {
          store<u16>(to, pair as u16);
          to += (pair >> 16) & 3;
        } else {
          const code = long(window);
          const symbol = code & 0x1ff;
          if (symbol == END_OF_STRING) return HUFFMAN_INVALID;
          store<u8>(to++, symbol as u8);
          used = code >> 16;
        }
        window <<= used;
        have -= used;
      } while (have >= LONGEST);
      if (to > limit) return HUFFMAN_TOO_LONG;
    }
    let rest: u64 = 0;
    let restBits = left << 3;
    if (n >= 8) {
      if (left) rest = bswap<u64>(load<u64>(p + left - 8)) << (64 - restBits);
    } else {
      for (let i: u32 = 0; i < left; i++) rest |= (load<u8>(p + i) as u64) << (56 - (i << 3));
    }
    while (true) {
      window |= rest >> have;
      const moved = min<u32>(63 - have, restBits);
      rest <<= moved;
      restBits -= moved;
      have += moved;
      if (!have) break;
      // Padding goes on for ever: so what is left over at the end is the start of a longer code, if it is right.
      const padded = restBits ? window : window | ((u64.MAX_VALUE as u64) >> have);
      const pair = load<u32>(PAIRS + (((padded >> (64 - LOOK_BITS)) as usize) << 2));
      let used = pair >> 24;
      if (pair && used <= have) {
        store<u16>(to, pair as u16);
        to += (pair >> 16) & 3;
      } else {
        const code = long(padded);
        const symbol = code & 0x1ff;
        used = code >> 16;
        if (used > have) {
          if (have > 7 || padded != u64.MAX_VALUE) return HUFFMAN_INVALID;
          break;
        }
        if (symbol == END_OF_STRING) return HUFFMAN_INVALID;
        store<u8>(to++, symbol as u8);
      }
      window <<= used;
      have -= used;
      if (to > limit) return HUFFMAN_TOO_LONG;
    }
    return (to - start) as i32;
  }
}

/** The symbol that the bits start with, and the length of its code in the upper half. */
function long(window: u64): u32 {
  const bits = window >> 32;
  let length: u32 = 5;
  while (bits >= load<u64>(BOUNDS + (length << 3))) length++;
  const at = ((bits as u32) >> (32 - length)) + load<u32>(BASES + (length << 2));
  return (load<u16>(SORTED + (at << 1)) as u32) | (length << 16);
}

function build(): void {
  let sorted: u32 = 0;
  let next: u64 = 0;
  for (let length: u32 = 0; length <= LONGEST; length++) {
    store<u32>(BASES + (length << 2), sorted - ((next >> (32 - length)) as u32));
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      if (bitsOf(symbol) != length) continue;
      store<u16>(SORTED + (sorted++ << 1), symbol as u16);
      next += (1 as u64) << (32 - length);
    }
    store<u64>(BOUNDS + (length << 3), next);
  }
  for (let look: u32 = 0; look < 1 << LOOK_BITS; look++) {
    const bits = (look as u64) << (64 - LOOK_BITS);
    const first = long(bits);
    const used = first >> 16;
    let pair: u32 = 0;
    if (used <= LOOK_BITS) {
      pair = (first & 0xff) | (1 << 16) | (used << 24);
      const second = long(bits << used);
      const both = used + (second >> 16);
      if (both <= LOOK_BITS) pair = (first & 0xff) | ((second & 0xff) << 8) | (2 << 16) | (both << 24);
    }
    store<u32>(PAIRS + (look << 2), pair);
  }
}

function bitsOf(symbol: u32): u32 {
  if (symbol == END_OF_STRING) return LONGEST;
  const digit = LENGTHS.charCodeAt(symbol);
  return digit <= 0x39 ? digit - 0x30 : digit - 0x57;
}
