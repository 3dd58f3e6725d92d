import { Changes } from "../codec/changes";
import { Bad, badText, READY, Reason } from "../codec/codec";
import { Frame, Kind, Side } from "../codec/frame";
import { Trpc } from "../codec/trpc";
import { Sink } from "../wire/sink";
import { bytes, entry, number, text } from "./samples/protobuf";
import { render } from "./samples/sample";
import { call, stream, unary, unaryGo } from "./samples/trpc";
import { Guarded, hexOf } from "./util";

const codec = new Trpc();
const frame = Frame.make();
const changes = new Changes();

/** What the first `size` bytes of a frame are. */
function read(hex: string, side: Side = Side.Client, size: u32 = u32.MAX_VALUE): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  const n = min(size, input.size);
  let look = codec.head(input.ptr, n, frame);
  if (look == READY) look = codec.metadata(input.ptr, n, frame);
  if (look < 0) return "bad " + badText(-look as Bad);
  return look > 0 ? "needs " + look.toString() : render(frame);
}

/** The frame with what `changes` asks for; empty where there is no place for it. */
function encode(hex: string, side: Side, id: u64): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  expect(codec.head(input.ptr, input.size, frame)).toBe(READY);
  expect(codec.metadata(input.ptr, input.size, frame)).toBe(READY);
  const sink = new Sink();
  return codec.encode(input.ptr, input.size, frame, id, changes, sink) ? hexOf(sink.ptr, sink.size) : "";
}

function set(key: string, value: string): void {
  const k = Guarded.text(key);
  const v = Guarded.text(value);
  changes.set(k.ptr, k.size, v.ptr, v.size);
}

/** The frame with another id if that has place, otherwise empty. */
function withId(hex: string, id: u64): string {
  const input = Guarded.hex(hex);
  return codec.setId(input.ptr, id) ? hexOf(input.ptr, input.size) : "";
}

/** The error reply to a frame. */
function error(hex: string, reason: Reason, message: string): string {
  read(hex);
  const sink = new Sink();
  const why = Guarded.text(message);
  codec.error(frame, reason, why.ptr, why.size, sink);
  return hexOf(sink.ptr, sink.size);
}

describe("tRPC", () => {
  it("asks for the fixed header, then for the message that it announces", () => {
    const hex = unary(call(0, 7), "0a03666967");
    expect(read(hex, Side.Client, 16)).toBe("needs " + (hex.length / 2 - 5).toString());
    const init = stream(1, 7, bytes(1, text(3, "/a/b")));
    expect(read(init, Side.Client, 16)).toBe("needs " + (init.length / 2).toString());
    expect(read(stream(4, 7, number(1, 1)), Side.Client, 16)).toBe("needs 18");
    // Nothing of these is read but the header.
    expect(read("0930010200010000" + "0000" + "00000007" + "0000")).toBe("stream_data 7 65536 ~#~");
    expect(read("0930010300010000" + "0000" + "00000007" + "0000")).toBe("stream_data 7 65536 ~#~");
  });

  it("refuses at the first byte that cannot be right", () => {
    expect(read("0931" + unary("", "").substring(4))).toBe("bad magic");
    expect(read("093002" + stream(1, 7, "").substring(6))).toBe("bad field", "no such type");
    expect(read("093000" + stream(1, 7, "").substring(6))).toBe("bad field", "unary, and of a stream");
    expect(read(stream(0, 7, ""))).toBe("bad field");
    expect(read(stream(5, 7, ""))).toBe("bad field");
    expect(read("093000000000000f0000" + "000000000000")).toBe("bad length");
    expect(read("09300000800000000000" + "000000000000")).toBe("bad length");
    expect(read("09300000000000110002" + "000000000000" + "18")).toBe("bad length", "a message longer than the frame");
    expect(read(unary("18", ""))).toBe("bad encoding");
    expect(read(unary(number(3, 7) + "1b", ""))).toBe("bad encoding", "a group");
    expect(read(unary(number(3, 7) + "3a05" + "61", "61616161"))).toBe(
      "bad encoding",
      "func that goes into the payload",
    );
    expect(read(unary(number(3, 7) + "20", ""), Side.Server)).toBe("bad encoding");
    expect(read(stream(1, 7, bytes(1, "0a05" + "61")))).toBe("bad encoding");
    expect(read(stream(1, 7, bytes(2, "08")), Side.Server)).toBe("bad encoding");
    expect(read(stream(4, 7, "08"))).toBe("bad encoding");
  });

  it("ignores fields that are written in another way", () => {
    expect(read(unary(bytes(3, "07") + number(5, 1) + number(7, 1) + number(9, 1), ""))).toBe("request 0 25 ~#~");
  });

  it("says that entries are missing which cannot be read", () => {
    expect(read(unary(number(3, 7) + bytes(9, "0a05") + entry(9, "a", "1"), "")).endsWith("{a=1} dropped")).toBe(true);
    expect(read(unary(number(3, 7) + bytes(9, bytes(1, "ff")), "")).endsWith("~#~ dropped")).toBe(true);
  });

  it("takes the outcome of a stream from its end", () => {
    const outcome = (hex: string): string => {
      read(hex, Side.Server);
      return `${frame.kind as i32} ${frame.outcome.text()}/${frame.status as i32}/${frame.code}`;
    };
    const closed = (Kind.StreamClose as i32).toString();
    expect(outcome(stream(4, 7, ""))).toBe(closed + " ok/0/0");
    expect(outcome(stream(4, 7, number(1, 1)))).toBe(closed + " reset/8/0");
    expect(outcome(stream(4, 7, number(1, 1) + number(2, 21)))).toBe(closed + " server_timeout/5/21");
    expect(outcome(stream(4, 7, number(6, 5)))).toBe(closed + " exception/1/5");
    expect(outcome(stream(1, 7, bytes(2, number(1, 12))))).toBe(closed + " server_nofunc/3/12");
    expect(outcome(stream(1, 7, bytes(2, "")))).toBe((Kind.StreamData as i32).toString() + " /0/0");
  });

  it("changes an id in place where the other one is as long", () => {
    expect(withId(unary(number(3, 7) + number(4, 1), "00"), 100)).toBe(unary(number(3, 100) + number(4, 1), "00"));
    expect(withId(unary(number(3, 7), ""), 128)).toBe("");
    expect(withId(unary(number(3, 300), ""), 127)).toBe("");
    expect(withId(unary(number(4, 1), ""), 1)).toBe("", "no id");
    expect(withId(unary(number(3, 7) + number(3, 8), ""), 1)).toBe("", "two");
    expect(withId(unaryGo(7, number(3, 7), ""), 9)).toBe(unaryGo(9, number(3, 9), ""));
    expect(withId(stream(2, 7, "1807"), 0x12345678)).toBe(stream(2, 0x12345678, "1807"));
  });

  it("writes another id where it stood", () => {
    changes.clear();
    const before = text(7, "/a/b");
    const frameOf = (id: i64): string => unary(text(7, "/a/b") + number(3, id) + entry(9, "a", "1"), "0102");
    expect(encode(frameOf(7), Side.Client, 70000)).toBe(frameOf(70000));
    expect(encode(frameOf(70000), Side.Client, 7)).toBe(frameOf(7));
    expect(encode(unary(before, ""), Side.Client, 7)).toBe(unary(number(3, 7) + before, ""));
    expect(encode(unary(before, ""), Side.Client, 0)).toBe(unary(before, ""));
    expect(encode(unaryGo(7, number(3, 7), "00"), Side.Client, 300)).toBe(unaryGo(300, number(3, 300), "00"));
    expect(encode(stream(1, 7, ""), Side.Server, 8)).toBe(stream(1, 8, ""));
  });

  it("writes fields and trans_info behind the rest", () => {
    changes.clear();
    set("b", "2");
    set("a", "3");
    set("caller", "me");
    const rest = number(3, 7) + text(7, "/a/b") + entry(9, "x", "y") + entry(9, "caller", "hidden");
    expect(encode(unary(rest + entry(9, "a", "1") + text(5, "you") + entry(9, "a", "2"), "00"), Side.Client, 7)).toBe(
      unary(rest + entry(9, "b", "2") + entry(9, "a", "3") + text(5, "me"), "00"),
    );
    // A reply has no caller of its own.
    expect(encode(unary(number(3, 7), "00"), Side.Server, 7)).toBe(
      unary(number(3, 7) + entry(8, "b", "2") + entry(8, "a", "3") + entry(8, "caller", "me"), "00"),
    );
    expect(encode(stream(4, 7, number(2, 0) + entry(5, "a", "1")), Side.Client, 7)).toBe(
      stream(4, 7, number(2, 0) + entry(5, "b", "2") + entry(5, "a", "3") + entry(5, "caller", "me")),
    );
  });

  it("writes them into the message inside of INIT, of which it makes one", () => {
    changes.clear();
    set("a", "3");
    const hex = stream(
      1,
      7,
      bytes(1, text(3, "/a/b") + entry(5, "a", "1")) + number(3, 9) + bytes(1, entry(5, "b", "2")),
    );
    expect(encode(hex, Side.Client, 8)).toBe(
      stream(1, 8, number(3, 9) + bytes(1, text(3, "/a/b") + entry(5, "b", "2") + entry(5, "a", "3"))),
    );
  });

  it("has no place for metadata in other frames, and for a message beyond 64 KiB", () => {
    changes.clear();
    set("a", "1");
    expect(encode(stream(1, 7, bytes(2, "")), Side.Server, 7)).toBe("");
    expect(encode(stream(2, 7, "00"), Side.Client, 7)).toBe("");
    expect(encode(stream(3, 7, number(1, 5)), Side.Client, 7)).toBe("");
    expect(encode(unary(number(3, 7) + bytes(9, "0a05"), ""), Side.Client, 7)).toBe("", "entries that cannot be read");
    const full = number(3, 7) + bytes(7, "61".repeat(65535 - 2 - 4));
    expect(encode(unary(full, ""), Side.Client, 7)).toBe("");
    changes.clear();
    expect(encode(unary(full, ""), Side.Client, 100)).toBe(unary(number(3, 100) + full.substring(4), ""));
    expect(encode(unary(full, ""), Side.Client, 128)).toBe("", "an id that is longer");
  });

  it("answers with the code that fits the reason", () => {
    const codes: StaticArray<i64> = [11, 141, 21, 23, 41, 1, 1, 31];
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      expect(error(unary(call(0, 300), ""), reason, "no")).toBe(
        unary(number(3, 300) + number(4, codes[reason]) + text(6, "no"), ""),
      );
    }
    expect(error(unaryGo(7, number(2, 2) + number(3, 7), ""), Reason.Denied, "no")).toBe(
      unaryGo(7, number(2, 2) + number(3, 7) + number(4, 41) + text(6, "no"), ""),
    );
  });

  it("cuts what it says of an error between two characters", () => {
    const reply = error(unary(call(0, 7), ""), Reason.Internal, "é".repeat(1000) + "x");
    expect(reply).toBe(unary(number(3, 7) + number(4, 31) + text(6, "é".repeat(512)), ""));
    expect(error(unary(call(0, 7), ""), Reason.Internal, "x" + "é".repeat(1000))).toBe(
      unary(number(3, 7) + number(4, 31) + text(6, "x" + "é".repeat(511)), ""),
    );
  });

  it("ends a stream, and refuses one that is being opened", () => {
    const close = stream(4, 100, number(1, 1) + number(2, 141) + text(3, "gone"));
    expect(error(stream(2, 100, "00"), Reason.Unavailable, "gone")).toBe(close);
    expect(error(stream(1, 100, bytes(1, text(3, "/a/b"))), Reason.Unavailable, "gone")).toBe(
      close + stream(1, 100, bytes(2, number(1, 141) + text(2, "gone"))),
    );
  });
});
