import { Codec, Look, READY, Reason } from "../codec/codec";
import { Dubbo } from "../codec/dubbo";
import { Frame, Side, Status } from "../codec/frame";
import { Statuses } from "../codec/statuses";
import { Sink } from "../wire/sink";
import { dubbo, map, text } from "./samples/dubbo";
import { Counting, chunksOf, glue, same, Tape } from "./tape";
import { Guarded } from "./util";

/** A codec that answers the worst that the interface allows: four bytes of head that say how many more it takes. */
@final
class Greedy extends Codec {
  /** How many bytes it asks for on top of what is there. */
  step: u32 = 1;
  /** Bytes of the whole frame. */
  length: u64 = 0;
  /** Bytes of the head. */
  headBytes: u32 = 0;
  /** Whether the length is told at once, or only by the whole head. */
  tells: bool = true;

  constructor() {
    super("greedy", 4, new Statuses(Status.Internal));
  }

  keys(): string {
    return "[]";
  }

  head(_p: usize, n: u32, frame: Frame): Look {
    if (this.tells || n >= this.headBytes) frame.length = this.length;
    return n >= this.headBytes ? READY : (min(n + this.step, this.headBytes) as Look);
  }

  setId(_p: usize, _id: u64): bool {
    return true;
  }

  error(_frame: Frame, _reason: Reason, _message: usize, _messageSize: u32, _sink: Sink): void {}
}

/** A service name of that many characters, each in a chunk of its own. */
function crumbs(count: i32): string {
  return "52000161".repeat(count) + "00";
}

describe("Scanner", () => {
  it("does not ask for ever what a codec asks that has it already", () => {
    const greedy = new Greedy();
    greedy.step = 0;
    greedy.headBytes = 100;
    greedy.length = 200;
    const input = new Guarded(50);
    expect(Tape.once(greedy, Side.Client, input, 1000)).toBe("bad length @0\n");
    input.free();
  });

  it("looks a logarithmic number of times at a head that asks for a few bytes more each time", () => {
    for (let tells = 0; tells < 2; tells++) {
      const greedy = new Greedy();
      greedy.step = 3;
      greedy.headBytes = 50_000;
      greedy.length = 60_000;
      greedy.tells = tells != 0;
      const counting = new Counting(greedy);
      const input = new Guarded(60_000);
      memory.fill(input.ptr, 7, input.size);
      const sizes: StaticArray<u32> = [1, 100, 1460, 60_000];
      for (let i = 0; i < sizes.length; i++) {
        const tape = new Tape(counting, Side.Client);
        counting.looks = 0;
        chunksOf(input, sizes[i], tape);
        // What could end with every byte, and comes byte by byte, is given up before it is read millions of times.
        const endless = !tells && sizes[i] == 1;
        expect(tape.text.startsWith("bad head_too_large")).toBe(endless, `${sizes[i]} bytes at a time`);
        expect(tape.ends).toBe(endless ? 0 : 1);
        // Bytes that are there may be read; waiting for more than is asked for takes knowing that they will come.
        if (tells || sizes[i] == 60_000) expect(counting.looks).toBeLessThan(24, `${sizes[i]} bytes at a time`);
        tape.free();
      }
    }
  });

  it("reads a Dubbo head of many small chunks in one piece without reading it again and again", () => {
    const body = text("2.0.2") + crumbs(15_000) + text("1.0") + text("m") + text("") + map([]);
    const input = Guarded.hex(dubbo(0xc2, 0, 6, body));
    const counting = new Counting(new Dubbo());
    const tape = new Tape(counting, Side.Client);
    tape.feed(input.ptr, input.size);
    expect(tape.ends).toBe(1);
    expect(counting.looks).toBeLessThan(8);
    expect(tape.bytesRead).toBeLessThan(3 * input.size);
  });

  it("holds no more than the head, however the rest arrives", () => {
    const greedy = new Greedy();
    greedy.headBytes = 1000;
    greedy.length = 1_000_000;
    const input = new Guarded(1_000_000);
    const tape = new Tape(greedy, Side.Client);
    chunksOf(input, 700, tape);
    expect(tape.ends).toBe(1);
    expect(tape.heldMost).toBeLessThan(2000);
    expect(tape.bytesRead).toBeLessThan(20_000);
    expect(tape.held).toBe(0);
  });

  it("does not reserve what a head only claims to need", () => {
    const codec = new Greedy();
    codec.step = 60_000;
    codec.headBytes = 60_000;
    codec.length = 60_000;
    const input = new Guarded(20);
    const before = memory.size();
    const tapes: Tape[] = [];
    for (let i = 0; i < 500; i++) {
      const tape = new Tape(codec, Side.Client);
      tape.feed(input.ptr, input.size);
      same(tape.held, 20, "held");
      tapes.push(tape);
    }
    // 500 times 60,000 bytes would be 457 pages.
    expect(memory.size() - before).toBeLessThan(20);
    for (let i = 0; i < tapes.length; i++) tapes[i].free();
  });

  it("refuses heads that are longer than the limit or than their frame, and frames beyond theirs", () => {
    const greedy = new Greedy();
    const input = new Guarded(5000);
    greedy.headBytes = 101;
    greedy.length = 5000;
    expect(Tape.once(greedy, Side.Client, input, 100)).toBe("bad head_too_large @0\n");
    expect(Tape.once(greedy, Side.Client, input, 101)).toBe("@0 request 0 5000 ~#~\nend\n");
    greedy.length = 100;
    const tape = new Tape(greedy, Side.Client);
    chunksOf(input, 50, tape);
    expect(tape.text).toBe("bad length @0\n");
    greedy.headBytes = 4;
    greedy.length = 3;
    expect(Tape.once(greedy, Side.Client, input, 4096)).toBe("bad length @0\n", "shorter than any frame");
    greedy.length = 0;
    expect(Tape.once(greedy, Side.Client, input, 4096)).toBe("bad length @0\n", "or than nothing");
    greedy.length = 64 << 20;
    expect(Tape.once(greedy, Side.Client, input, 4096)).toBe("@0 request 0 67108864 ~#~\n");
    greedy.length = (64 << 20) + 1;
    expect(Tape.once(greedy, Side.Client, input, 4096)).toBe("bad too_large @0\n");
    greedy.length = u64.MAX_VALUE;
    expect(Tape.once(greedy, Side.Client, input, 4096)).toBe("bad too_large @0\n");
  });

  it("counts the offset of each side over 4 GiB", () => {
    const greedy = new Greedy();
    greedy.headBytes = 4;
    greedy.length = (1 << 28) as u64;
    const tape = new Tape(greedy, Side.Client);
    tape.frameLimit = 1 << 30;
    const chunk = new Guarded(64);
    // 17 frames of 256 MiB: only their heads are ever read, so the chunks behind need no bytes.
    for (let i = 0; i < 17; i++) {
      tape.feed(chunk.ptr, 64);
      tape.feed(chunk.ptr, (1 << 28) - 64);
    }
    expect(tape.text.includes("@4294967296 request 0 268435456")).toBe(true, tape.text);
    expect(tape.ends).toBe(17);
    expect(tape.bytesRead).toBe(17 * 64);
  });

  it("says nothing more once the bytes are not the protocol", () => {
    const good = Guarded.hex(dubbo(0xe2, 0, 6, "4e"));
    const tape = new Tape(new Dubbo(), Side.Client);
    const bad = glue(good, 3);
    store<u8>(bad.ptr + good.size, 0);
    tape.feed(bad.ptr, bad.size);
    expect(tape.text).toBe("@0 heartbeat 6 17 ~#~\nend\nbad magic @17\n");
    expect(tape.held).toBe(0);
  });
});
