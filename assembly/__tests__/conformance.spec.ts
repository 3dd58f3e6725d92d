import { Changes } from "../codec/changes";
import { Bad, badText, Codec, Look, READY, Reason } from "../codec/codec";
import { Frame, Kind, Side, Status } from "../codec/frame";
import { codecIndex, codecs } from "../codec/registry";
import { Sink } from "../wire/sink";
import { wires } from "./samples";
import { digest, render, Sample, Wire } from "./samples/sample";
import { Counting, chunksOf, glue, same, Tape } from "./tape";
import { Guarded, hexOf, Random } from "./util";

const frame = Frame.make();
/** Lengths that no frame may have, up to the most that a field of 32 bits says beside a header. */
const TOO_LONG: StaticArray<u64> = [
  (1 << 20) + 1,
  1 << 30,
  i32.MAX_VALUE,
  0x80000000,
  0xfffffff0,
  u32.MAX_VALUE,
  0x1_0000_000f,
];

/** Of the last decode(): all that was read, as a number. */
let trace: u64 = 0;

const changes = new Changes();
const sink = new Sink();
const ADDED = Guarded.text("meltemi-added");
/** Values to set; a protocol whose metadata are numbers takes the first only. */
const VALUES: Guarded[] = [
  Guarded.text("7"),
  Guarded.text(""),
  Guarded.text("é漢🍵 \0"),
  Guarded.text("x".repeat(700)),
];
let accepted = 0;

/** Reads head and metadata into `frame` in two different surroundings: bytes outside of the input must not matter. */
function decode(codec: Codec, side: Side, input: Guarded, metadata: bool): Look {
  input.guard(0xff);
  const first = decodeOnce(codec, side, input, metadata);
  const firstTrace = trace;
  input.guard(0x30);
  const second = decodeOnce(codec, side, input, metadata);
  if (first != second || firstTrace != trace) expect(hexOf(input.ptr, input.size)).toBe("read, and nothing around it");
  return second;
}

function decodeOnce(codec: Codec, side: Side, input: Guarded, metadata: bool): Look {
  frame.side = side;
  frame.reset();
  let look = codec.head(input.ptr, input.size, frame);
  if (look == READY && metadata) look = codec.metadata(input.ptr, input.size, frame);
  trace = look == READY ? digest(frame) : look;
  return look;
}

/** The same for people. */
function decodeText(codec: Codec, side: Side, input: Guarded): string {
  const look = decode(codec, side, input, true);
  return look == READY ? render(frame) : look < 0 ? "bad " + badText(-look as Bad) : "needs " + look.toString();
}

function prefix(input: Guarded, size: u32): Guarded {
  return Guarded.copy(input.ptr, size);
}

/** The fewest bytes with which head() (and metadata()) is ready. */
function readyAt(codec: Codec, sample: Sample, whole: Guarded, metadata: bool): u32 {
  for (let n = codec.min; n < whole.size; n++) {
    const part = prefix(whole, n);
    const look = decode(codec, sample.side, part, metadata);
    part.free();
    if (look == READY) return n;
  }
  return whole.size;
}

/** The protocol that the suite is running for: closures capture nothing. */
let wire: Wire = wires[0];
let running = 0;

/** Calls `run` with every sample of that protocol. */
function each(run: (codec: Codec, sample: Sample, input: Guarded) => void): void {
  const codec = codecs[codecIndex(wire.protocol)];
  for (let i = 0; i < wire.samples.length; i++) {
    const input = Guarded.hex(wire.samples[i].hex);
    run(codec, wire.samples[i], input);
    input.free();
  }
}

describe("the registry", () => {
  it("has no protocol that is not held to conformance", () => {
    for (let i = 0; i < codecs.length; i++) {
      let found = false;
      for (let j = 0; j < wires.length; j++) if (wires[j].protocol == codecs[i].name) found = true;
      expect(found).toBe(true, codecs[i].name);
    }
    expect(codecIndex("no such protocol")).toBe(-1);
  });
});

for (let i = 0; i < wires.length; i++) {
  describe(wires[i].protocol, () => {
    // The tests of each describe() run later, in the same order.
    beforeAll(() => {
      wire = wires[running++];
    });
    it("is in the registry and has samples of what it is for", hasSamples);
    it("reads whole frames", readsWhole);
    it("asks for what it needs of each beginning, and is ready as soon as it can be", readsBeginnings);
    it("never reads behind the frame", readsNothingBehind);
    it("is cut out of a stream, however the stream arrives", cutsAnywhere);
    it("is cut out of many frames in a row", cutsMany);
    it("passes bodies longer than what arrives at a time", passesBodies);
    it("says nothing of the end of a frame that does not come", waitsForTheEnd);
    it("refuses impossible lengths", refusesLengths);
    it("survives every single wrong byte", survivesFlips);
    it("survives thousands of mutations", survivesMutations);
    it("refuses a wrong magic at once", refusesMagic);
    it("changes an id and nothing else", changesIds);
    it("writes metadata back", writesMetadata);
    it("writes them as well where only the start of a frame is there", encodesBeginnings);
    it("writes them into whatever it takes for a frame", encodesMutations);
    it("writes errors that it reads as such", writesErrors);
    it("writes heartbeats that it reads as such", writesHeartbeats);
    it("goes without metadata that are too far behind", dropsMetadata);
    it("refuses heads that are too long", refusesLongHeads);
    it("looks at a head that trickles in a logarithmic number of times", looksRarely);
    it("takes no memory for each frame", takesNoMemory);
  });
}

function hasSamples(): void {
  expect(codecIndex(wire.protocol)).toBeGreaterThanOrEqual(0);
  let requests = 0;
  let replies = 0;
  for (let i = 0; i < wire.samples.length; i++) {
    if (wire.samples[i].expected.startsWith("request ")) requests++;
    if (wire.samples[i].expected.startsWith("response ")) replies++;
  }
  expect(requests).toBeGreaterThan(1);
  expect(replies).toBeGreaterThan(1);
}

function readsWhole(): void {
  each((codec, sample, input) => {
    same(decodeText(codec, sample.side, input), sample.expected, sample.name);
  });
}

function readsBeginnings(): void {
  each((codec, sample, input) => {
    for (let metadata = 0; metadata < 2; metadata++) {
      decode(codec, sample.side, input, metadata != 0);
      const whole = trace;
      const ready = readyAt(codec, sample, input, metadata != 0);
      for (let n = codec.min; n < input.size; n++) {
        const part = prefix(input, n);
        const look = decode(codec, sample.side, part, metadata != 0);
        const right = n < ready ? look > (n as Look) && look <= (ready as Look) : look == READY && trace == whole;
        // What states its length does so from its first bytes on.
        const states = wire.hasLength && n >= wire.lengthBytes;
        const length = states || look == READY ? input.size : wire.hasLength ? frame.length : 0;
        if (!right || frame.length != (length as u64)) {
          same(`${look}, length ${frame.length}`, `ready with ${ready}`, `${sample.name}, the first ${n}`);
        }
        part.free();
      }
    }
  });
}

function readsNothingBehind(): void {
  each((codec, sample, input) => {
    const longer = glue(input, 2);
    same(decodeText(codec, sample.side, longer), sample.expected, sample.name);
    memory.fill(longer.ptr + input.size, 0x5a, input.size);
    same(decodeText(codec, sample.side, longer), sample.expected, sample.name);
    longer.free();
  });
}

/** What a tape must say of `count` such frames in a row. */
function expected(sample: Sample, size: u32, count: u32): string {
  let text = "";
  for (let i: u32 = 0; i < count; i++) text += `@${i * size} ${sample.expected}\nend\n`;
  return text;
}

function cutsAnywhere(): void {
  each((codec, sample, input) => {
    const glued = glue(input, 2);
    const tape = new Tape(codec, sample.side);
    tape.feed(glued.ptr, glued.size);
    same(tape.text, expected(sample, input.size, 2), sample.name + ", at once");
    const want = tape.trace;
    tape.quiet = true;
    for (let at: u32 = 1; at < glued.size; at++) {
      tape.restart();
      tape.feed(glued.ptr, at);
      tape.feed(glued.ptr + at, glued.size - at);
      if (tape.trace != want) same("something else", sample.expected, `${sample.name}, cut at ${at}`);
    }
    for (let size: u32 = 1; size <= 33; size++) {
      tape.restart();
      chunksOf(glued, size, tape);
      if (tape.trace != want) same("something else", sample.expected, `${sample.name}, ${size} bytes at a time`);
    }
    same(tape.held, 0, "nothing is held between two frames");
    tape.free();
    glued.free();
  });
}

function cutsMany(): void {
  each((codec, sample, input) => {
    const count: u32 = 3 + 20_000 / input.size;
    const glued = glue(input, count);
    const tape = new Tape(codec, sample.side);
    tape.quiet = true;
    for (let i: u32 = 0; i < count; i++) tape.feed(input.ptr, input.size);
    const want = tape.trace;
    same(tape.ends, count, sample.name);
    const sizes: StaticArray<u32> = [4095, 4096, 4097, 5003, 16_384, glued.size];
    for (let i = 0; i < sizes.length; i++) {
      tape.restart();
      chunksOf(glued, sizes[i], tape);
      same(tape.trace == want, true, `${sample.name}, ${sizes[i]} bytes at a time`);
    }
    tape.free();
    glued.free();
  });
}

function passesBodies(): void {
  each((codec, sample, input) => {
    const longer = wire.lengthened(input, 70_000);
    if (!longer) return;
    const long = longer as Guarded;
    const both = new Guarded(long.size + input.size);
    memory.copy(both.ptr, long.ptr, long.size);
    memory.copy(both.ptr + long.size, input.ptr, input.size);
    const tape = new Tape(codec, sample.side);
    tape.wantsMetadata = false;
    tape.feed(both.ptr, both.size);
    const want = tape.text;
    same(want.split("end\n").length, 3, sample.name);
    same(tape.bytesRead < 20_000, true, sample.name);
    const sizes: StaticArray<u32> = [100, 1000, 4096, 65_536, long.size - 1, long.size, long.size + 1];
    for (let i = 0; i < sizes.length; i++) {
      tape.restart();
      chunksOf(both, sizes[i], tape);
      same(tape.text, want, `${sample.name}, ${sizes[i]} bytes at a time`);
    }
    tape.free();
    both.free();
    long.free();
  });
}

function waitsForTheEnd(): void {
  each((codec, sample, input) => {
    for (let n: u32 = 0; n < input.size; n++) {
      const tape = new Tape(codec, sample.side);
      tape.feed(input.ptr, n);
      if (tape.bad || tape.ends) same(tape.text, "no end", `${sample.name}, the first ${n}`);
      tape.free();
    }
  });
}

/** A copy that states another length; null where its field cannot. */
function withLength(input: Guarded, length: u64): Guarded | null {
  const other = Guarded.copy(input.ptr, input.size);
  if (wire.setLength(other.ptr, length)) return other;
  other.free();
  return null;
}

function refusesLengths(): void {
  if (!wire.hasLength) return;
  each((codec, sample, input) => {
    const tape = new Tape(codec, sample.side);
    tape.frameLimit = 1 << 20;
    for (let length: u32 = 0; length < wire.least; length++) {
      const other = withLength(input, length);
      if (!other) continue;
      tape.restart();
      tape.feed(other.ptr, other.size);
      same(tape.text, "bad length @0\n", `${sample.name}, length ${length}`);
      other.free();
    }
    for (let i = 0; i < TOO_LONG.length; i++) {
      const other = withLength(input, TOO_LONG[i]);
      if (!other) continue;
      tape.restart();
      tape.feed(other.ptr, other.size);
      // Too long for the limit, or for what the field may hold at all.
      const refused = tape.text == "bad too_large @0\n" || tape.text == "bad length @0\n";
      same(refused, true, `${sample.name}, length ${TOO_LONG[i]}`);
      other.free();
    }
    // One byte below what the sample has, down to the least: whatever it is now, it is no trap and nothing behind it is
    // read.
    for (let length = wire.least; length < input.size; length++) {
      const other = withLength(input, length);
      if (!other) continue;
      decode(codec, sample.side, other, true);
      other.free();
    }
    tape.free();
  });
}

function survivesFlips(): void {
  each((codec, sample, input) => {
    for (let at: u32 = 0; at < input.size; at++) {
      const good = load<u8>(input.ptr + at) as u32;
      for (let bit = 0; bit < 8; bit++) {
        store<u8>(input.ptr + at, (good ^ (1 << bit)) as u8);
        decode(codec, sample.side, input, true);
      }
      store<u8>(input.ptr + at, ~good as u8);
      decode(codec, sample.side, input, true);
      store<u8>(input.ptr + at, good as u8);
    }
    same(decodeText(codec, sample.side, input), sample.expected, sample.name);
  });
}

function survivesMutations(): void {
  each((codec, sample, input) => {
    const random = new Random(4711 + input.size);
    const tape = new Tape(codec, sample.side);
    const pieces = new Tape(codec, sample.side);
    for (let round = 0; round < 200; round++) {
      const other = glue(input, 2);
      for (let changes = 1 + random.below(6); changes > 0; changes--) {
        const at = random.below(other.size);
        const value = random.below(3) ? random.below(256) : random.below(2) * 255;
        store<u8>(other.ptr + at, value as u8);
      }
      const part = prefix(other, codec.min + random.below(other.size - codec.min));
      const look = decode(codec, sample.side, part, true);
      if (look > 0 && (look <= (part.size as Look) || (frame.length && (look as u64) > frame.length))) {
        same(look, 0, sample.name + ": needs more, and not more than there is");
      }
      // However the bytes are cut, the scanner says the same of them. Only the last head may not have been looked at yet.
      tape.restart();
      tape.feed(other.ptr, other.size);
      pieces.restart();
      chunksOf(other, 1 + random.below(40), pieces);
      const missing = tape.text.startsWith(pieces.text) ? tape.text.substring(pieces.text.length) : "all\nof it\n";
      if (missing.indexOf("\n") != missing.length - 1) same(pieces.text, tape.text, sample.name);
      part.free();
      other.free();
    }
    pieces.free();
    tape.free();
  });
}

function refusesMagic(): void {
  each((codec, sample, input) => {
    for (let at: u32 = 0; at < wire.magicBytes; at++) {
      const part = prefix(input, codec.min);
      store<u8>(part.ptr + at, load<u8>(part.ptr + at) ^ 0x20);
      same(decodeText(codec, sample.side, part), "bad magic", sample.name);
      part.free();
    }
  });
}

/**
 * Encodes with `changes` the frame whose first bytes are `start` and were just decoded; `whole` has what follows them.
 * Null where encode() answers false.
 */
function encoded(codec: Codec, start: Guarded, whole: Guarded, id: u64): Guarded | null {
  sink.clear();
  sink.u8(0x77);
  const n = start.size;
  const done = codec.encode(start.ptr, n, frame, id, changes, sink);
  same(load<u8>(sink.ptr), 0x77, "what stood there before stays");
  if (!done) {
    same(sink.size, 1, "nothing is appended where encode() answers false");
    return null;
  }
  same(sink.full, false, "there is room");
  const rest = whole.size - n;
  const result = new Guarded(sink.size - 1 + rest);
  memory.copy(result.ptr, sink.ptr + 1, sink.size - 1);
  memory.copy(result.ptr + sink.size - 1, whole.ptr + n, rest);
  return result;
}

/** The frame with another id, by setId() or encode(); null where it has no place for one. */
function withId(codec: Codec, side: Side, input: Guarded, id: u64): Guarded | null {
  same(decode(codec, side, input, true), READY, "a whole frame");
  const copy = Guarded.copy(input.ptr, input.size);
  changes.clear();
  const byEncode = encoded(codec, input, input, id);
  if (!codec.setId(copy.ptr, id)) {
    same(hexOf(copy.ptr, copy.size), hexOf(input.ptr, input.size), "setId() that answers false leaves the frame alone");
    copy.free();
    return byEncode;
  }
  if (byEncode) same(hexOf(byEncode.ptr, byEncode.size), hexOf(copy.ptr, copy.size), "setId() and encode() agree");
  return copy;
}

function changesIds(): void {
  each((codec, sample, input) => {
    const text = decodeText(codec, sample.side, input);
    const id = frame.id;
    const control = frame.kind == Kind.Heartbeat || frame.kind == Kind.HeartbeatReply;
    const ids: StaticArray<u64> = [id, 0, 1, 0x0123456789abcdef, u64.MAX_VALUE];
    for (let i = 0; i < ids.length; i++) {
      const to = wire.idOf(ids[i]);
      const changed = withId(codec, sample.side, input, to);
      if (!changed) {
        same(control, true, `${sample.name}: no place for an id`);
        continue;
      }
      const now = decodeText(codec, sample.side, changed);
      same(frame.length, changed.size, sample.name);
      const was = text.replace(` ${id} ${input.size}`, ` ${to} ${changed.size}`);
      same(now, was, sample.name);
      const back = withId(codec, sample.side, changed, id);
      if (!back) same("no way back", "a way back", sample.name);
      else same(hexOf(back.ptr, back.size), hexOf(input.ptr, input.size), sample.name);
    }
  });
}

/** Metadata of the frame that no change is for: `key=value` lines in the order of the frame. */
function untouched(): string {
  let text = "";
  for (let i: u32 = 0; i < frame.metadataCount; i++) {
    if (changes.find(frame.key(i)) < 0) text += frame.key(i).text() + "=" + frame.value(i).text() + "\n";
  }
  return text;
}

/** Encodes with `changes` the frame that was just decoded, and holds what comes out against what was asked for. */
function encodesChanges(codec: Codec, sample: Sample, input: Guarded): void {
  const rest = untouched();
  const kind = frame.kind;
  const id = frame.id;
  const outcome = frame.outcome.text();
  const other = encoded(codec, input, input, id);
  if (!other) return;
  accepted++;
  same(decode(codec, sample.side, other, true), READY, sample.name);
  same(frame.kind, kind, sample.name);
  same(frame.id, id, sample.name);
  same(frame.outcome.text(), outcome, sample.name);
  same(frame.length, other.size, sample.name);
  same(frame.metadataDropped, false, sample.name);
  same(untouched(), rest, sample.name);
  for (let i: u32 = 0; i < changes.count; i++) {
    const key = changes.key(i);
    const value = changes.value(i);
    const found = frame.find(key.ptr, key.size);
    if (value.ptr) same(found.text(), value.text(), `${sample.name}: ${key.text()}`);
    else same(found.ptr == 0, true, `${sample.name}: ${key.text()}`);
  }
  other.free();
}

function writesMetadata(): void {
  accepted = 0;
  each((codec, sample, input) => {
    decode(codec, sample.side, input, true);
    if (frame.metadataDropped || frame.full) return;
    const count = frame.metadataCount;
    // Each key alone, then one that the frame does not have, then several.
    for (let i: u32 = 0; i <= count + 1; i++) {
      for (let j = 0; j <= VALUES.length; j++) {
        decode(codec, sample.side, input, true);
        const value = j < VALUES.length ? VALUES[j].ptr : 0;
        const size = j < VALUES.length ? VALUES[j].size : 0;
        changes.clear();
        if (i < count) changes.set(frame.key(i).ptr, frame.key(i).size, value, size);
        if (i == count) changes.set(ADDED.ptr, ADDED.size, value, size);
        if (i > count) {
          changes.set(ADDED.ptr, ADDED.size, VALUES[2].ptr, VALUES[2].size);
          if (count > 0) changes.set(frame.key(count - 1).ptr, frame.key(count - 1).size, value, size);
          if (count > 2) changes.remove(frame.key(count - 2).ptr, frame.key(count - 2).size);
        }
        encodesChanges(codec, sample, input);
      }
    }
  });
  same(accepted > 0, wire.encodes, "metadata can be written");
}

/** What is asked of encode() in the tests below: of what can be changed, the last key goes and another one comes. */
function someChanges(): void {
  changes.clear();
  changes.set(ADDED.ptr, ADDED.size, VALUES[0].ptr, VALUES[0].size);
  const count = frame.metadataCount;
  if (count) changes.remove(frame.key(count - 1).ptr, frame.key(count - 1).size);
}

/** What follows behind the bytes that are there stays where it is. */
function encodesBeginnings(): void {
  each((codec, sample, input) => {
    decode(codec, sample.side, input, true);
    someChanges();
    const whole = encoded(codec, input, input, 9);
    if (!whole) return;
    for (let n = readyAt(codec, sample, input, true); n < input.size; n++) {
      const part = prefix(input, n);
      decode(codec, sample.side, part, true);
      someChanges();
      const other = encoded(codec, part, input, 9);
      if (!other) same("encoded", "as with the whole frame", `${sample.name}, the first ${n}`);
      else same(hexOf(other.ptr, other.size), hexOf(whole.ptr, whole.size), `${sample.name}, the first ${n}`);
      part.free();
    }
    // Where there is no room, nothing is written past the limit, and the sink says so.
    decode(codec, sample.side, input, true);
    someChanges();
    for (let limit: u32 = 0; limit < whole.size && limit < 400; limit++) {
      const small = new Sink(limit);
      const done = codec.encode(input.ptr, input.size, frame, 9, changes, small);
      same(small.size <= limit && (!done || small.full), true, sample.name);
    }
  });
}

/** Whatever is taken for a frame can be encoded, and what comes out is taken for a frame as well. */
function encodesMutations(): void {
  each((codec, sample, input) => {
    const random = new Random(815 + input.size);
    for (let round = 0; round < 300; round++) {
      const other = Guarded.copy(input.ptr, input.size);
      for (let changed = 1 + random.below(4); changed > 0; changed--) {
        const value = random.below(3) ? random.below(256) : random.below(2) * 255;
        store<u8>(other.ptr + random.below(other.size), value as u8);
      }
      // A length that is smaller now leaves bytes behind that are no part of it.
      if (decode(codec, sample.side, other, true) == READY && frame.length >= other.size) {
        someChanges();
        const missing = frame.length - other.size;
        const id = frame.id;
        const kind = frame.kind;
        const result = encoded(codec, other, other, id);
        if (result) {
          same(decode(codec, sample.side, result, true), READY, hexOf(other.ptr, other.size));
          same(frame.length, missing + result.size, hexOf(other.ptr, other.size));
          same(frame.id, id, hexOf(other.ptr, other.size));
          same(frame.kind, kind, hexOf(other.ptr, other.size));
          result.free();
        }
      }
      other.free();
    }
  });
}

function writesErrors(): void {
  each((codec, sample, input) => {
    if (!sample.expected.startsWith("request ")) return;
    const messages: string[] = ["", "no such service", "é漢🍵 \0", "x".repeat(5000)];
    for (let i = 0; i < messages.length; i++) {
      const message = Guarded.text(messages[i]);
      for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
        const sink = new Sink();
        sink.u8(0x77);
        decodeOnce(codec, sample.side, input, true);
        const id = frame.id;
        codec.error(frame, reason, message.ptr, message.size, sink);
        // It needs no more of the request than what a filter keeps.
        forget(codec);
        const later = new Sink();
        codec.error(frame, reason, message.ptr, message.size, later);
        same(later.size, sink.size - 1, sample.name);
        same(memory.compare(later.ptr, sink.ptr + 1, later.size), 0, sample.name);
        same(load<u8>(sink.ptr), 0x77, "what stood there before stays");
        const reply = Guarded.copy(sink.ptr + 1, sink.size - 1);
        same(decode(codec, Side.Server, reply, true), READY, sample.name);
        same(frame.kind, Kind.Response, sample.name);
        same(frame.id, id, sample.name);
        same(frame.status != Status.Ok, true, sample.name);
        same(frame.length, reply.size, sample.name);
        same(render(frame).includes(" ok/"), false, sample.name);
        const whole = reply.size;
        reply.free();

        // Where there is no room, nothing is written past the limit, and the sink says so.
        for (let limit: u32 = 0; limit < whole && limit < 64; limit++) {
          const small = new Sink(limit);
          decodeOnce(codec, sample.side, input, true);
          codec.error(frame, reason, message.ptr, message.size, small);
          same(small.full, true, sample.name);
          same(small.size <= limit, true, sample.name);
        }
      }
      message.free();
    }
  });
}

/** Leaves of the frame what a filter keeps of a request until it is answered. */
function forget(codec: Codec): void {
  const id = frame.id;
  const token = frame.token;
  const kind = frame.kind;
  const method = frame.method.ptr;
  const methodSize = frame.method.size;
  frame.reset();
  frame.id = id;
  frame.token = token;
  frame.kind = kind;
  if (codec.echoesMethod) frame.method.set(method, methodSize);
}

function writesHeartbeats(): void {
  const codec = codecs[codecIndex(wire.protocol)];
  const sink = new Sink();
  const id = wire.idOf(0xfedcba9876543210);
  expect(codec.heartbeat(id, sink)).toBe(wire.heartbeats);
  if (!wire.heartbeats) {
    expect(sink.size).toBe(0);
    frame.reset();
    expect(codec.heartbeatReply(frame, sink)).toBe(false);
    expect(sink.size).toBe(0);
    return;
  }
  const asked = Guarded.copy(sink.ptr, sink.size);
  expect(decode(codec, Side.Client, asked, true)).toBe(READY);
  expect(frame.kind).toBe(Kind.Heartbeat);
  expect(frame.id).toBe(id);
  expect(frame.length).toBe(asked.size);
  sink.clear();
  expect(codec.heartbeatReply(frame, sink)).toBe(true);
  const answer = Guarded.copy(sink.ptr, sink.size);
  expect(decode(codec, Side.Server, answer, true)).toBe(READY);
  expect(frame.kind).toBe(Kind.HeartbeatReply);
  expect(frame.id).toBe(id);
  expect(frame.length).toBe(answer.size);
}

function dropsMetadata(): void {
  each((codec, sample, input) => {
    const head = readyAt(codec, sample, input, false);
    const metadata = readyAt(codec, sample, input, true);
    // Less than one window, so that whether the bytes happen to be there must not matter.
    if (metadata <= head || head < 64) return;
    const want = Tape.once(codec, sample.side, input, head);
    same(want.includes(" dropped\n"), true, sample.name);
    same(want.endsWith("end\n"), true, sample.name);
    for (let size: u32 = 1; size < 80; size += 13) {
      const tape = new Tape(codec, sample.side);
      tape.headLimit = head;
      chunksOf(input, size, tape);
      same(tape.text, want, `${sample.name}, ${size} bytes at a time`);
      tape.free();
    }
  });
}

function refusesLongHeads(): void {
  each((codec, sample, input) => {
    const head = readyAt(codec, sample, input, false);
    if (head <= codec.min + 8) return;
    const limit = head - 1;
    const want = "bad head_too_large @0\n";
    same(Tape.once(codec, sample.side, input, limit), want, sample.name);
    for (let size: u32 = 1; size < 80; size += 13) {
      const tape = new Tape(codec, sample.side);
      tape.headLimit = limit;
      chunksOf(input, size, tape);
      same(tape.text, want, `${sample.name}, ${size} bytes at a time`);
      same(tape.heldMost <= limit, true, sample.name);
      tape.free();
    }
  });
}

function looksRarely(): void {
  // What does not say how long it is may end with every byte, and must be looked at as often.
  if (!wire.hasLength) return;
  each((codec, sample, input) => {
    const counting = new Counting(codec);
    const tape = new Tape(counting, sample.side);
    chunksOf(input, 1, tape);
    same(tape.text, expected(sample, input.size, 1), sample.name);
    // From min on twice as many bytes each time, and once more at the end.
    let most: u32 = 3;
    for (let n = codec.min; n < input.size; n <<= 1) most++;
    same(counting.looks <= most, true, sample.name);
    tape.free();
  });
}

function takesNoMemory(): void {
  each((codec, sample, input) => {
    decodeOnce(codec, sample.side, input, true);
    someChanges();
    sink.clear();
    codec.encode(input.ptr, input.size, frame, 9, changes, sink);
    const pages = memory.size();
    for (let i = 0; i < 2000; i++) {
      decodeOnce(codec, sample.side, input, true);
      someChanges();
      sink.clear();
      codec.encode(input.ptr, input.size, frame, 9, changes, sink);
    }
    same(memory.size(), pages, sample.name);
  });
}
