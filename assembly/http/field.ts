import { Slice } from "../wire/slice";

/** For each byte, what it is in lower case; 0 for those that no token has. */
const LOWER: usize = heap.alloc(256);

build();

/** What HTTP allows in the names and values of header fields (RFC 9110, 5.5 and 5.6.2). */
@final
export class Field {
  /** The token's byte in lower case; 0 where no token may have it. */
  @inline
  static lower(byte: u32): u32 {
    return load<u8>(LOWER + byte);
  }

  static isToken(p: usize, size: u32): bool {
    const end = p + size;
    for (let at = p; at < end; at++) {
      if (!Field.lower(load<u8>(at))) return false;
    }
    return size > 0;
  }

  /** Whether all bytes are visible, blanks, tabs, or beyond ASCII. */
  static isText(p: usize, size: u32): bool {
    const end = p + size;
    while (p + 8 <= end) {
      const eight = load<u64>(p);
      // The highest bit of each byte below 0x20 that is not beyond ASCII, or of one that is 0x7f; the carry into a
      // neighbour can only make a suspect of an innocent, who is then heard below.
      const low = (eight - 0x2020202020202020) & ~eight;
      const delete7f = ((eight ^ 0x7f7f7f7f7f7f7f7f) - 0x0101010101010101) & ~eight;
      if ((low | delete7f) & 0x8080808080808080) {
        for (let i: u32 = 0; i < 8; i++) if (!Field.isTextByte(load<u8>(p + i))) return false;
      }
      p += 8;
    }
    while (p < end) if (!Field.isTextByte(load<u8>(p++))) return false;
    return true;
  }

  @inline
  static isTextByte(byte: u32): bool {
    return byte >= 0x20 ? byte != 0x7f : byte == 9;
  }
}

function build(): void {
  memory.fill(LOWER, 0, 256);
  const marks = Slice.of("!#$%&'*+-.^_`|~0123456789");
  for (let i: u32 = 0; i < marks.size; i++) mark(load<u8>(marks.ptr + i), load<u8>(marks.ptr + i));
  for (let letter: u8 = 0x61; letter <= 0x7a; letter++) {
    mark(letter, letter);
    mark(letter - 0x20, letter);
  }
}

function mark(byte: u8, lower: u8): void {
  store<u8>(LOWER + byte, lower);
}
