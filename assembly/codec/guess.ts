import { Codec } from "./codec";
import { Frame, Kind, Side } from "./frame";
import { codecs } from "./registry";

/** No protocol that can be guessed begins like this. */
export const STRANGE: i32 = -1;
/** More bytes are needed. */
export const UNDECIDED: i32 = -2;

/** guess() has always decided with so many bytes. */
export const GUESS_BYTES: u32 = mostNeeded();

const BLANK: i32 = 0x20;
const DOT: i32 = 0x2e;

const frame = Frame.make();

/**
 * Which protocol a client speaks that has sent the n bytes at p: its position in the registry, where the first that fits
 * counts, STRANGE or UNDECIDED. A frame fits that begins with the protocol's magic, that head() takes for one, and that
 * is no reply: servers do not speak first in protocols that can be guessed.
 *
 * Each protocol is tried with the same number of bytes, and none before the one that comes first, so that it does not
 * matter how the bytes arrive.
 */
export function guess(p: usize, n: u32, frameLimit: u64, headLimit: u32): i32 {
  for (let i = 0; i < codecs.length; i++) {
    const codec = codecs[i];
    const magic = beginning(codec.magic, p, n);
    if (!magic) continue;
    const needed = max<u32>(codec.min, magic);
    if (magic < 0 || n < needed) return UNDECIDED;
    if (asks(codec, p, needed, frameLimit, headLimit)) return i;
  }
  return STRANGE;
}

function asks(codec: Codec, p: usize, n: u32, frameLimit: u64, headLimit: u32): bool {
  frame.side = Side.Client;
  // Too few bytes for the whole head do not speak against it.
  if (codec.look(p, n, frame, frameLimit, headLimit, false) < 0) return false;
  return frame.kind != Kind.Response && frame.kind != Kind.HeartbeatReply;
}

/**
 * How many bytes the magic has (see Codec.magic) with which the n bytes at p begin; 0 where they do not, -1 where it takes
 * more to tell.
 */
export function beginning(magic: string, p: usize, n: u32): i32 {
  let missing = false;
  let fits = true;
  let digits: u32 = 0;
  for (let i = 0; i <= magic.length; i++) {
    const c = i < magic.length ? magic.charCodeAt(i) : BLANK;
    if (c == BLANK) {
      if (fits && digits) {
        if (digits >> 1 <= n) return digits >> 1;
        missing = true;
      }
      fits = true;
      digits = 0;
      continue;
    }
    if (c != DOT && digits >> 1 < n) {
      const byte = load<u8>(p + (digits >> 1)) as i32;
      const digit = digits & 1 ? byte & 15 : byte >> 4;
      if (digit != (c <= 0x39 ? c - 0x30 : c - 0x57)) fits = false;
    }
    digits++;
  }
  return missing ? -1 : 0;
}

function mostNeeded(): u32 {
  let most: u32 = 0;
  for (let i = 0; i < codecs.length; i++) {
    const digits = codecs[i].magic.length;
    if (digits) most = max(most, max<u32>(codecs[i].min, digits >> 1));
  }
  return most;
}
