import { Side } from "../codec/frame";
import { beginning, GUESS_BYTES, guess, STRANGE, UNDECIDED } from "../codec/guess";
import { codecIndex, codecs } from "../codec/registry";
import { wires } from "./samples";
import { same } from "./tape";
import { Guarded } from "./util";

const FRAME_LIMIT: u64 = 64 << 20;
const HEAD_LIMIT: u32 = 64 << 10;

function guessed(input: Guarded, size: u32): i32 {
  // What stands behind is not looked at.
  input.guard(0x30);
  const first = guess(input.ptr, size, FRAME_LIMIT, HEAD_LIMIT);
  const part = Guarded.copy(input.ptr, size);
  part.guard(0xff);
  same(guess(part.ptr, size, FRAME_LIMIT, HEAD_LIMIT), first, "nothing behind the bytes is looked at");
  part.free();
  return first;
}

function name(index: i32): string {
  return index == STRANGE ? "strange" : index == UNDECIDED ? "undecided" : codecs[index].name;
}

function guessOf(hex: string): string {
  const input = Guarded.hex(hex);
  const text = name(guessed(input, input.size));
  input.free();
  return text;
}

describe("a magic", () => {
  it("tells whether bytes begin as it says", () => {
    const bytes = Guarded.hex("26012345");
    const all: StaticArray<string> = ["26", "2601", "26012345", "2.", "..01", "99 26", "27 ..0123", "26.....5"];
    const sizes: StaticArray<i32> = [1, 2, 4, 1, 2, 1, 3, 4];
    for (let i = 0; i < all.length; i++) expect(beginning(all[i], bytes.ptr, 4)).toBe(sizes[i], all[i]);
    const none: StaticArray<string> = ["", "27", "2602", "36 .02"];
    for (let i = 0; i < none.length; i++) expect(beginning(none[i], bytes.ptr, 4)).toBe(0, none[i]);
    expect(beginning("26......45 ff", bytes.ptr, 4)).toBe(-1);
    expect(beginning("2601", bytes.ptr, 1)).toBe(-1);
    expect(beginning("2601 26", bytes.ptr, 1)).toBe(1);
    expect(beginning("2701", bytes.ptr, 1)).toBe(0);
  });
});

describe("guessing", () => {
  it("finds every protocol that has a magic from its clients' first bytes, and never another one", () => {
    for (let i = 0; i < wires.length; i++) {
      const index = codecIndex(wires[i].protocol);
      const magic = codecs[index].magic;
      let found = 0;
      for (let j = 0; j < wires[i].samples.length; j++) {
        const sample = wires[i].samples[j];
        if (sample.side != Side.Client || sample.expected.startsWith("response")) continue;
        const input = Guarded.hex(sample.hex);
        const whole = beginning(magic, input.ptr, input.size) > 0;
        if (whole) found++;
        else same(wires[i].magicBytes, 0, `${wires[i].protocol}, ${sample.name}: the magic`);
        const wanted = whole ? index : STRANGE;
        for (let n: u32 = 1; n <= input.size; n++) {
          const answer = guessed(input, n);
          const decided = n >= GUESS_BYTES || (whole && n == input.size);
          if (answer != wanted && (decided || answer != UNDECIDED)) {
            same(name(answer), name(wanted), `${wires[i].protocol}, ${sample.name}, the first ${n}`);
          }
        }
        input.free();
      }
      expect(found > 0).toBe(magic.length > 0, wires[i].protocol);
    }
  });

  it("never takes replies for the start of a connection", () => {
    for (let i = 0; i < wires.length; i++) {
      for (let j = 0; j < wires[i].samples.length; j++) {
        const sample = wires[i].samples[j];
        // Where only the side tells them apart they look like requests.
        if (!sample.expected.startsWith("response") || sample.side != Side.Client) continue;
        same(guessOf(sample.hex), "strange", `${wires[i].protocol}, ${sample.name}`);
      }
    }
    expect(guessOf("dabb021400000000000000030000000191")).toBe("strange");
    expect(guessOf("0100000201000000010100000000000000000000")).toBe("strange");
  });

  it("knows none in what is something else", () => {
    const strange: StaticArray<string> = [
      "474554202f20485454502f312e310d0a", // GET / HTTP/1.1
      "505249202a20485454502f322e300d0a", // PRI * HTTP/2.0
      "16030100a5010000a10303", // TLS
      "4a0000000a382e302e33360000000000", // MySQL's greeting
      "2a310d0a24340d0a50494e47", // Redis
    ];
    for (let i = 0; i < strange.length; i++) expect(guessOf(strange[i])).toBe("strange", strange[i]);
    // May be a length.
    expect(guessOf("00")).toBe("undecided");
    // A length beyond the limit.
    expect(guessOf("dabbc20000000000000000017fff0000")).toBe("strange");
  });
});
