import { Bad, badText, Codec, Look, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { Cut, Scanner } from "../codec/scanner";
import { Sink } from "../wire/sink";
import { digest, render } from "./samples/sample";
import { Guarded } from "./util";

/**
 * A scanner over memory that writes down what it finds: `@offset frame`, `end`, `bad reason @offset`, a line each. What
 * it hands out is a copy that is overwritten with the next read(), as the host's are.
 */
@final
export class Tape extends Scanner {
  text: string = "";
  /** A number that stands for the same. */
  trace: u64 = 0;
  /** True: `text` stays empty, for speed. */
  quiet: bool = false;
  /** Frames whose last byte was seen. */
  ends: u32 = 0;
  /** Bytes asked for since the last restart(). */
  bytesRead: u32 = 0;
  /** The most bytes that were ever held between two chunks. */
  heldMost: u32 = 0;
  private cut: Cut = changetype<Cut>(heap.alloc(offsetof<Cut>()));
  private chunk: usize = 0;
  private size: u32 = 0;
  private copy: Guarded = new Guarded(0);
  /** Whether the bytes turned out not to be the protocol. */
  bad: bool = false;

  constructor(
    private codec: Codec,
    side: Side,
  ) {
    super();
    this.frame.side = side;
    this.frameLimit = 64 << 20;
    this.headLimit = 64 << 10;
    this.wantsMetadata = true;
    memory.fill(changetype<usize>(this.cut), 0, offsetof<Cut>());
  }

  /** All that is said of a frame that comes in one piece, with that limit. */
  static once(codec: Codec, side: Side, input: Guarded, headLimit: u32): string {
    const tape = new Tape(codec, side);
    tape.headLimit = headLimit;
    tape.feed(input.ptr, input.size);
    tape.free();
    return tape.text;
  }

  get held(): u32 {
    return this.cut.heldSize;
  }

  /** As for a new connection. */
  restart(): void {
    this.cut.release();
    memory.fill(changetype<usize>(this.cut), 0, offsetof<Cut>());
    this.text = "";
    this.trace = 0;
    this.ends = 0;
    this.bytesRead = 0;
    this.bad = false;
  }

  feed(chunk: usize, size: u32): void {
    if (this.bad) return;
    this.chunk = chunk;
    this.size = size;
    const goesOn = this.scan(this.cut, this.codec, size);
    same(goesOn, !this.bad, "onBad(), and only that, ends the scan");
    this.heldMost = max(this.heldMost, this.cut.heldSize);
  }

  free(): void {
    this.cut.release();
    heap.free(changetype<usize>(this.cut));
    this.copy.free();
  }

  protected read(at: u32, size: u32): usize {
    if (size == 0 || at > this.size || size > this.size - at) {
      expect(`${size} bytes at ${at}`).toBe(`bytes of the chunk, which has ${this.size}`);
    }
    memory.fill(this.copy.ptr, 0xdd, this.copy.size);
    this.copy.free();
    this.copy = Guarded.copy(this.chunk + at, size);
    this.bytesRead += size;
    return this.copy.ptr;
  }

  protected onFrame(_p: usize, _n: u32): void {
    this.note(digest(this.frame) ^ (this.frameOffset << 48));
    if (!this.quiet) this.text += `@${this.frameOffset} ${render(this.frame)}\n`;
  }

  protected onEnd(): void {
    this.note(1);
    this.ends++;
    if (!this.quiet) this.text += "end\n";
  }

  protected onBad(bad: Bad): void {
    this.bad = true;
    this.note((2 + bad) ^ (this.frameOffset << 48));
    if (!this.quiet) this.text += `bad ${badText(bad)} @${this.frameOffset}\n`;
  }

  private note(event: u64): void {
    this.trace = (this.trace ^ event) * 0x9e3779b97f4a7c15 + 1;
  }
}

/** Another codec that counts how often it is asked. */
@final
export class Counting extends Codec {
  looks: u32 = 0;

  constructor(private codec: Codec) {
    super(codec.name, codec.min, codec.statuses);
  }

  keys(): string {
    return this.codec.keys();
  }

  head(p: usize, n: u32, frame: Frame): Look {
    this.looks++;
    return this.codec.head(p, n, frame);
  }

  metadata(p: usize, n: u32, frame: Frame): Look {
    return this.codec.metadata(p, n, frame);
  }

  setId(p: usize, id: u64): bool {
    return this.codec.setId(p, id);
  }

  error(frame: Frame, reason: Reason, message: usize, messageSize: u32, sink: Sink): void {
    this.codec.error(frame, reason, message, messageSize, sink);
  }
}

/** The same bytes again and again. */
export function glue(input: Guarded, count: u32): Guarded {
  const glued = new Guarded(input.size * count);
  for (let i: u32 = 0; i < count; i++) memory.copy(glued.ptr + i * input.size, input.ptr, input.size);
  return glued;
}

/** Feeds a tape `size` bytes at a time. */
export function chunksOf(input: Guarded, size: u32, tape: Tape): void {
  for (let at: u32 = 0; at < input.size; at += size) tape.feed(input.ptr + at, min(size, input.size - at));
}

/** expect() takes a stack trace every time, which is slow: this does so only when something is wrong. */
export function same<T>(actual: T, expected: T, what: string): void {
  if (actual != expected) expect(actual).toBe(expected, what);
}
