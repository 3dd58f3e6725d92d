import type { Random } from "../random.js";

/** What lengths, counts and flags are likely to be handled wrong. */
const bytes = [0, 1, 0x7f, 0x80, 0xff];
const numbers = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];

/** The bytes with some changes; may be empty. */
export function mutated(from: Buffer, random: Random, donors: readonly Buffer[]): Buffer {
  let now: Buffer = Buffer.from(from);
  for (let left = random.size(8); left > 0; left--) now = changed(now, random, donors);
  return now;
}

function changed(now: Buffer, random: Random, donors: readonly Buffer[]): Buffer {
  if (now.length === 0) return Buffer.from(random.pick(donors));
  // Heads are what is read: most changes go there.
  const at = Math.min(now.length - 1, random.size(now.length) - 1);
  switch (random.int(9)) {
    case 0:
      now[at] = (now[at] as number) ^ (1 << random.int(8));
      return now;
    case 1:
      now[at] = random.pick(bytes);
      return now;
    case 2:
      now[at] = random.int(256);
      return now;
    case 3:
      return numbered(now, at, random.pick(numbers), random);
    case 4:
      // A little more or less than what stands there.
      return now.length - at < 4 ? now : numbered(now, at, now.readUInt32BE(at) + random.int(9) - 4, random);
    case 5:
      return Buffer.concat([now.subarray(0, at), now.subarray(at + random.size(64))]);
    case 6:
      return Buffer.concat([now.subarray(0, at), noise(random), now.subarray(at)]);
    case 7: {
      // Some of it again.
      const part = now.subarray(at, at + random.size(256));
      return Buffer.concat([now.subarray(0, at), part, now.subarray(at)]);
    }
    default: {
      const donor = random.pick(donors);
      return Buffer.concat([now.subarray(0, at), donor.subarray(random.int(donor.length + 1))]);
    }
  }
}

/** Two or four bytes of a number, in either order. */
function numbered(now: Buffer, at: number, value: number, random: Random): Buffer {
  const size = random.pick([2, 4]);
  if (now.length - at < size) return now;
  const digits = Buffer.alloc(size);
  digits.writeUIntBE(value >>> 0 > 256 ** size - 1 ? (value >>> 0) % 256 ** size : value >>> 0, 0, size);
  if (random.once(4)) digits.reverse();
  digits.copy(now, at);
  return now;
}

function noise(random: Random): Buffer {
  const same = random.once(2);
  const byte = random.int(256);
  return Buffer.from(Array.from({ length: random.size(5000) }, () => (same ? byte : random.int(256))));
}

/** Some of these, one behind the other, now and then changed: one in `damage`, none where it is 0. */
export function stream(from: readonly Buffer[], random: Random, damage: number): Buffer {
  const frames = Array.from({ length: random.size(12) }, () => random.pick(from));
  return Buffer.concat(frames.map((frame) => (damage && random.once(damage) ? mutated(frame, random, from) : frame)));
}

/** Many pieces of a byte tell no more than some. */
const piecesMax = 200;

/** The same bytes in pieces. */
export function pieces(whole: Buffer, random: Random): Buffer[] {
  const most = random.pick([1, 2, 16, 300, 5000]);
  const all: Buffer[] = [];
  let at = 0;
  while (at < whole.length) {
    const end = all.length < piecesMax ? Math.min(whole.length, at + 1 + random.int(most)) : whole.length;
    all.push(whole.subarray(at, end));
    at = end;
  }
  return all;
}
