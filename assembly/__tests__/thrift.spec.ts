import { Changes } from "../codec/changes";
import { Bad, badText, READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { Thrift } from "../codec/thrift";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { render } from "./samples/sample";
import {
  binary,
  CALL,
  compact,
  EXCEPTION,
  framed,
  headed,
  infos,
  ONEWAY,
  old,
  REPLY,
  short,
  text,
  varint,
} from "./samples/thrift";
import { Counting, chunksOf, Tape } from "./tape";
import { Guarded, hexOf } from "./util";

const codec = new Thrift();
const frame = Frame.make();

/** What the first `size` bytes of a frame are. */
function read(hex: string, size: u32 = u32.MAX_VALUE, side: Side = Side.Client): string {
  const input = Guarded.hex(hex);
  const n = min(size, input.size);
  frame.side = side;
  frame.reset();
  let look = codec.head(input.ptr, n, frame);
  if (look == READY) look = codec.metadata(input.ptr, n, frame);
  if (look < 0) return "bad " + badText(-look as Bad);
  return look > 0 ? "needs " + look.toString() : render(frame);
}

/** The frame with another id and, where they are given, one more info; what encode() answers where it does not. */
function rewritten(hex: string, id: u64, key: string = "", value: string = ""): string {
  const input = Guarded.hex(hex);
  const changes = new Changes();
  const sink = new Sink();
  frame.reset();
  codec.head(input.ptr, input.size, frame);
  codec.metadata(input.ptr, input.size, frame);
  const name = Slice.of(key);
  const text = Slice.of(value);
  if (key.length) changes.set(name.ptr, name.size, text.ptr, text.size);
  const done = codec.encode(input.ptr, input.size, frame, id, changes, sink);
  return done ? hexOf(sink.ptr, sink.size) : "false";
}

/** What a call is whose arguments, unframed, are these. */
function struct(body: string): string {
  return read(binary(CALL, 7, "m", body));
}

function compactStruct(body: string): string {
  return read(compact(CALL, 7, "m", body));
}

/** The error reply to that request. */
function failure(reason: Reason, hex: string): string {
  const sink = new Sink();
  const message = Guarded.text("no");
  read(hex);
  codec.error(frame, reason, message.ptr, message.size, sink);
  return hexOf(sink.ptr, sink.size);
}

const CALL_M = binary(CALL, 7, "m", "00");
/** Zlib: id 1 among the transforms. */
const ZLIB = headed(7, "00" + "01" + "01" + infos(["trace", "fig"]), "789c030000000001");

describe("Thrift", () => {
  it("asks for the parts of a head as it learns of them", () => {
    const strict = framed(binary(CALL, 1, "hello", "00"));
    expect(read(strict, 5)).toBe("needs 16");
    expect(read(strict, 12)).toBe("needs 21");
    const unframed = binary(CALL, 1, "hello", "0b0001" + text("fig") + "00");
    expect(read(unframed, 5)).toBe("needs 12");
    expect(read(unframed, 12)).toBe("needs 17");
    expect(read(unframed, 17)).toBe("needs 18");
    expect(read(unframed, 18)).toBe("needs 20");
    expect(read(unframed, 24)).toBe("needs 27");
    expect(read(unframed, 27)).toBe("needs 28");
    const header = headed(7, "0000" + infos(["trace", "fig"]), CALL_M);
    expect(read(header, 5)).toBe("needs 14");
    expect(read(header, 14)).toBe("needs 30");
    expect(read(header, 30)).toBe("needs 35");
  });

  it("tells what is not Thrift by its first bytes", () => {
    const others: string[] = [
      "474554202f", // GET /
      "5353482d322e30", // SSH-2.0
      "0000000000", // a frame of nothing comes first
      "00000003ff",
      "dabbc20000",
      "8101000100",
      "8401000100",
      "0000000c81",
      "8002000100000000",
      "0000002080020001",
      "822201016100",
      "0000000c0ffe0000",
      "00000401" + "61",
      "01000000" + "61",
    ];
    for (let i = 0; i < others.length; i++) {
      const answer = read(others[i]);
      expect(answer == "bad magic" || (i == 2 && answer == "bad length")).toBe(true, others[i] + ": " + answer);
    }
  });

  it("refuses types that there are not", () => {
    for (let type: u32 = 0; type < 256; type++) {
      const known = type >= CALL && type <= ONEWAY;
      expect(read(framed(binary(type, 7, "m", "00"))).startsWith("bad field")).toBe(!known, type.toString());
      expect(read(framed(old(type, 7, "m", "00"))).startsWith("bad field")).toBe(!known, type.toString());
      expect(read(binary(type, 7, "m", "00")).startsWith("bad field")).toBe(!known, type.toString());
      if (type < 8) expect(read(compact(type, 7, "m", "00")).startsWith("bad field")).toBe(!known, type.toString());
    }
  });

  it("takes names of up to 1024 bytes", () => {
    const longest = "m".repeat(1024);
    const longer = longest + "m";
    expect(read(framed(binary(CALL, 7, longest, "00"))).endsWith(`~#${longest}`)).toBe(true);
    expect(read(framed(compact(CALL, 7, longest, "00"))).endsWith(`~#${longest}`)).toBe(true);
    expect(read(framed(old(CALL, 7, longest, "00"))).endsWith(`~#${longest}`)).toBe(true);
    expect(read(framed(binary(CALL, 7, longer, "00")))).toBe("bad length");
    expect(read(framed(compact(CALL, 7, longer, "00")))).toBe("bad length");
    // An old message has no more than its name's length to be known by.
    expect(read(framed(old(CALL, 7, longer, "00")))).toBe("bad magic");
    expect(read("80010001" + "ffffffff" + "6d")).toBe("bad length");
    expect(read("80010001" + "80000000" + "6d")).toBe("bad length");
    expect(read("8221" + "07" + "ffffffff0f" + "6d")).toBe("bad length");
  });

  it("takes old messages whose names are printable ASCII, and nothing else without a version", () => {
    expect(read(old(CALL, 7, "a_B1:x.y", "00"))).toBe("request 7 18 a_B1#x.y");
    expect(read(old(CALL, 7, "a b", "00"))).toBe("bad magic");
    expect(read(old(CALL, 7, "a\n", "00"))).toBe("bad magic");
    expect(read(old(CALL, 7, "μ", "00"))).toBe("bad magic");
    expect(read(framed(old(CALL, 7, "a b", "00")))).toBe("bad magic");
    expect(read(framed(old(CALL, 7, "", "0000")))).toBe("bad magic");
  });

  it("refuses messages that do not fit into their frame", () => {
    expect(read("0000000c" + CALL_M)).toBe("bad length");
    expect(read("0000000d" + binary(CALL, 7, "m", ""))).toBe("bad length");
    expect(read("0000000d" + binary(CALL, 7, "hello", "00"))).toBe("bad length");
    expect(read("00000005" + "8221070165" + "00")).toBe("bad length");
    expect(read("0000000f" + binary(REPLY, 7, "m", "0b00"), u32.MAX_VALUE, Side.Server)).toBe("bad length");
    expect(read("00000009" + "0fff0000000000070000")).toBe("bad length");
    // A THeader that is longer than its frame; one without a protocol; one with no end of it.
    expect(read("0000000c" + "0fff0000000000070001" + "0000")).toBe("bad length");
    expect(read("00000018" + "0fff0000000000070000" + CALL_M)).toBe("bad encoding");
    expect(read(headed(7, "ffffffff", CALL_M))).toBe("bad encoding");
    expect(read(headed(7, "0000", ""))).toBe("bad length");
    expect(read(headed(7, "0000", "0fff000000"))).toBe("bad magic");
    expect(read(headed(7, "0200", CALL_M))).toBe("bad magic");
    expect(read(headed(7, "0000", compact(CALL, 7, "m", "00")))).toBe("bad magic");
  });

  it("takes lengths up to 2 GiB and says so of longer ones", () => {
    expect(read("7ffffffb" + CALL_M)).toBe("request 7 2147483647 ~#m");
    expect(read("7ffffffc" + CALL_M)).toBe("bad length");
    expect(read("7fffffff" + CALL_M)).toBe("bad length");
  });

  it("takes ids of 32 bits, however they are written", () => {
    expect(read(framed("8221" + "ffffffff0f" + short("m") + "00"))).toBe("request 4294967295 14 ~#m");
    expect(read(framed("8221" + "8780808000" + short("m") + "00"))).toBe("request 7 14 ~#m");
    expect(read(framed("8221" + "ffffffff10" + short("m") + "00"))).toBe("bad encoding");
    expect(read(framed("8221" + "ffffffffff01" + short("m") + "00"))).toBe("bad encoding");
  });

  it("does not get lost in unframed structs", () => {
    // Types that there are not.
    expect(struct("050001")).toBe("bad encoding");
    expect(struct("110001")).toBe("bad encoding");
    expect(struct("ff0001")).toBe("bad encoding");
    expect(struct("0f0001" + "0500000001")).toBe("bad encoding");
    expect(compactStruct("1e")).toBe("bad encoding");
    expect(compactStruct("191f")).toBe("bad encoding");
    expect(compactStruct("1b01" + "0f")).toBe("bad encoding");
    // Negative lengths and counts.
    expect(struct("0b0001" + "ffffffff")).toBe("bad encoding");
    expect(struct("0f0001" + "0880000000")).toBe("bad encoding");
    expect(struct("0d0001" + "0808ffffffff")).toBe("bad encoding");
    expect(compactStruct("18" + "ffffffff0f")).toBe("bad encoding");
    // Numbers without an end.
    expect(compactStruct("16" + "80".repeat(10) + "00")).toBe("bad encoding");
    expect(compactStruct("18" + "80".repeat(5) + "00")).toBe("bad encoding");
    expect(compactStruct("05" + "80".repeat(5) + "00")).toBe("bad encoding");
    // What is promised is asked for, as far as a frame can go: a codec does not know how long a head may be.
    expect(struct("0b0001" + "7fffff00").startsWith("needs 2147483")).toBe(true);
    expect(struct("0b0001" + "7fffffff")).toBe("bad encoding");
    expect(struct("0f0001" + "0c7fffff00").startsWith("needs 2147483")).toBe(true);
    expect(struct("0f0001" + "0a7fffffff")).toBe("bad encoding");
    expect(struct("0d0001" + "0b0b7fffffff")).toBe("bad encoding");
    expect(struct("0d0001" + "0b0b00100000")).toBe("needs " + (13 + 3 + 6 + 2 * 0x100000).toString());
    // Empty ones have no types.
    expect(struct("0d0001" + "000000000000" + "0f0002" + "0000000000" + "00").startsWith("request")).toBe(true);
  });

  it("follows 128 levels and no more", () => {
    expect(struct("0c0001".repeat(128) + "00".repeat(129)).startsWith("request")).toBe(true);
    expect(struct("0c0001".repeat(129) + "00".repeat(130))).toBe("bad encoding");
    expect(compactStruct("19".repeat(128) + "13" + "00" + "00").startsWith("request")).toBe(true);
    expect(compactStruct("19".repeat(130) + "13" + "00" + "00")).toBe("bad encoding");
  });

  it("takes what a THeader says, however little of the message can be read", () => {
    expect(read(ZLIB)).toBe("request 7 38 ~#~ {trace=fig}");
    expect(read(ZLIB, u32.MAX_VALUE, Side.Server)).toBe("response 7 38 unreadable/0/0 {trace=fig}");
    expect(read(headed(9, "0100" + infos(["a", "1"]), "5b312c226d225d"))).toBe("request 9 29 ~#~ {a=1}");
    // HMAC has a size beside its id.
    expect(read(headed(9, "0001" + "0214" + infos(["a", "1"]), "00"))).toBe("request 9 27 ~#~ {a=1}");
    expect(read(headed(9, "007f" + "010101", "00"))).toBe("request 9 23 ~#~ dropped");
    // The id within is out of reach, so that there can be no other; headers can be.
    const input = Guarded.hex(ZLIB);
    expect(codec.setId(input.ptr, 8)).toBe(false);
    expect(codec.setId(input.ptr, 7)).toBe(true);
    expect(hexOf(input.ptr, input.size)).toBe(ZLIB);
    expect(rewritten(ZLIB, 8)).toBe("false");
    expect(rewritten(ZLIB, 7)).toBe(ZLIB);
    expect(rewritten(ZLIB, 7, "a", "1")).toBe(
      headed(7, "00" + "01" + "01" + infos(["trace", "fig", "a", "1"]), "789c030000000001"),
    );
  });

  it("gives a THeader the id of its message", () => {
    const differs = headed(0, "0000", CALL_M);
    expect(read(differs)).toBe("request 7 32 ~#m");
    const input = Guarded.hex(differs);
    expect(codec.setId(input.ptr, 300)).toBe(true);
    expect(hexOf(input.ptr, input.size)).toBe(headed(300, "0000", binary(CALL, 300, "m", "00")));
    expect(rewritten(differs, 300)).toBe(headed(300, "0000", binary(CALL, 300, "m", "00")));
    // Clients that do not care find it as it was.
    expect(codec.setId(input.ptr, 300)).toBe(true);
    expect(rewritten(differs, 7)).toBe(differs);
    const small = headed(0, "0200", compact(CALL, 7, "m", "00"));
    expect(rewritten(small, 7)).toBe(small);
    expect(rewritten(small, 300)).toBe(headed(300, "0200", compact(CALL, 300, "m", "00")));
  });

  it("writes an id in place where it has the size of the one before", () => {
    const sizes: u32[] = [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455, 268_435_456, u32.MAX_VALUE];
    for (let i = 0; i < sizes.length; i++) {
      for (let j = 0; j < sizes.length; j++) {
        const input = Guarded.hex(framed(compact(CALL, sizes[i], "m", "00")));
        const same = i >> 1 == j >> 1;
        expect(codec.setId(input.ptr, sizes[j])).toBe(same, `${sizes[i]} to ${sizes[j]}`);
        expect(hexOf(input.ptr, input.size)).toBe(framed(compact(CALL, sizes[same ? j : i], "m", "00")));
      }
    }
  });

  it("changes infos, and refuses where there is no place for them", () => {
    const header = headed(7, "0000" + infos(["a", "1"]), CALL_M);
    expect(rewritten(header, 7, "b", "2")).toBe(headed(7, "0000" + infos(["a", "1", "b", "2"]), CALL_M));
    expect(rewritten(header, 7, "a", "22222")).toBe(headed(7, "0000" + infos(["a", "22222"]), CALL_M));
    expect(rewritten(header, 7, "a", "x".repeat(70000))).toBe("false");
    expect(rewritten(headed(7, "0000" + "020101", CALL_M), 7, "a", "1")).toBe("false");
    expect(rewritten(framed(CALL_M), 7, "a", "1")).toBe("false");
    expect(rewritten(framed(CALL_M), 8)).toBe(framed(binary(CALL, 8, "m", "00")));
    expect(rewritten(compact(CALL, 7, "m", "00"), 300)).toBe(compact(CALL, 300, "m", "00"));
    // A frame may not become longer than a length can say.
    expect(rewritten("7ffffffb" + compact(CALL, 7, "m", "00"), 7)).toBe("7ffffffb" + compact(CALL, 7, "m", "00"));
    expect(rewritten("7ffffffb" + compact(CALL, 7, "m", "00"), 300)).toBe("false");
  });

  it("answers with the type that fits the reason, in the transport and protocol of the request", () => {
    const types: StaticArray<u32> = [1, 6, 6, 6, 6, 7, 7, 6];
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      const type = types[reason];
      const failed = "0b0001" + text("no") + "080002000000" + "0" + type.toString() + "00";
      const failedCompact = "18" + short("no") + "15" + varint(type << 1) + "00";
      expect(failure(reason, framed(CALL_M))).toBe(framed(binary(EXCEPTION, 7, "m", failed)));
      expect(failure(reason, binary(CALL, 7, "S:m", "00"))).toBe(binary(EXCEPTION, 7, "m", failed));
      expect(failure(reason, framed(old(CALL, 7, "m", "00")))).toBe(framed(old(EXCEPTION, 7, "m", failed)));
      expect(failure(reason, old(CALL, 7, "m", "00"))).toBe(old(EXCEPTION, 7, "m", failed));
      expect(failure(reason, compact(CALL, 300, "m", "00"))).toBe(compact(EXCEPTION, 300, "m", failedCompact));
      expect(failure(reason, headed(7, "0000" + infos(["a", "1"]), CALL_M))).toBe(
        headed(7, "0000", binary(EXCEPTION, 7, "m", failed)),
      );
      expect(failure(reason, headed(7, "0200", compact(CALL, 7, "m", "00")))).toBe(
        headed(7, "0200", compact(EXCEPTION, 7, "m", failedCompact)),
      );
      expect(failure(reason, ZLIB)).toBe(headed(7, "0000", binary(EXCEPTION, 7, "", failed)));
    }
  });

  it("cuts long messages between characters", () => {
    const sink = new Sink();
    const message = Guarded.text("茶".repeat(400));
    read(framed(CALL_M));
    codec.error(frame, Reason.Internal, message.ptr, message.size, sink);
    const failed = "0b0001" + text("茶".repeat(341)) + "08000200000006" + "00";
    expect(hexOf(sink.ptr, sink.size)).toBe(framed(binary(EXCEPTION, 7, "m", failed)));
  });
});

/** An unframed call with so many arguments, each of one byte: nothing tells that there will be another one. */
function manyBools(count: u32): Guarded {
  return Guarded.hex(compact(CALL, 7, "m", "11".repeat(count) + "00"));
}

describe("Thrift without frames", () => {
  it("is looked at a logarithmic number of times where it comes in few pieces", () => {
    const input = manyBools(40_000);
    const counting = new Counting(codec);
    const tape = new Tape(counting, Side.Client);
    tape.feed(input.ptr, 100);
    tape.feed(input.ptr + 100, input.size - 100);
    expect(tape.text).toBe("@0 request 7 40006 ~#m\nend\n");
    expect(counting.looks).toBeLessThan(16);
    tape.free();
  });

  it("gives back what is behind its end", () => {
    const input = Guarded.hex(compact(CALL, 7, "m", "18" + short("fig") + "00") + binary(CALL, 8, "next", "00"));
    for (let at: u32 = 1; at < input.size; at++) {
      const tape = new Tape(codec, Side.Client);
      tape.feed(input.ptr, at);
      tape.feed(input.ptr + at, input.size - at);
      expect(tape.text).toBe("@0 request 7 11 ~#m\nend\n@11 request 8 17 ~#next\nend\n");
      tape.free();
    }
  });

  it("is not read over and over again where it trickles in", () => {
    const input = manyBools(40_000);
    const tape = new Tape(codec, Side.Client);
    chunksOf(input, 3, tape);
    expect(tape.text).toBe("bad head_too_large @0\n");
    // Pieces of the size of a packet are none of that.
    tape.restart();
    chunksOf(input, 1000, tape);
    expect(tape.ends).toBe(1);
    tape.free();
  });
});
