import { Brpc } from "../codec/brpc";
import { Changes } from "../codec/changes";
import { Bad, badText, READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { Sink } from "../wire/sink";
import { brpc, call } from "./samples/brpc";
import { bytes, entry, number, text } from "./samples/protobuf";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new Brpc();
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

describe("bRPC", () => {
  it("asks for the header, then for the RpcMeta that it announces", () => {
    expect(read(brpc(call("") + number(4, 7), "00".repeat(99)), Side.Client, 12)).toBe("needs 43");
  });

  it("refuses at the first byte that cannot be right", () => {
    const whole = brpc(call("") + number(4, 7), "");
    expect(read("50525044" + whole.substring(8))).toBe("bad magic");
    expect(read("5354524d" + whole.substring(8))).toBe("bad magic", "a frame of a stream");
    expect(read("50525043" + "00000003" + "00000004" + "00000000")).toBe(
      "bad length",
      "longer than what it is a part of",
    );
    expect(read("50525043" + "7ffffff4" + "00000000", Side.Server)).toBe("bad length");
    expect(read("50525043" + "7ffffff3" + "00000000", Side.Server)).toBe("response 0 2147483647 ok/0/0");
    expect(read(brpc("20", ""))).toBe("bad encoding");
    expect(read(brpc(call("18"), ""))).toBe("bad encoding");
    expect(read(brpc(bytes(2, "08"), ""), Side.Server)).toBe("bad encoding");
    expect(read(brpc(bytes(1, "0a05" + "61") + "61616161", ""))).toBe("bad encoding", "a name beyond its message");
    expect(read(brpc(number(4, 7), ""))).toBe("bad field", "a client's that asks nothing");
    expect(read(brpc("", ""))).toBe("bad field");
  });

  it("tells who asks by the message, not by the side", () => {
    expect(read(brpc(call("") + number(4, 7), ""), Side.Server).startsWith("request 7 ")).toBe(true);
    expect(read(brpc(bytes(2, number(1, 1008)) + number(4, 7), ""))).toBe("response 7 19 erpctimedout/5/1008");
  });

  it("changes an id in place where the other one is as long", () => {
    expect(withId(brpc(number(4, 7) + call(""), "00"), 100)).toBe(brpc(number(4, 100) + call(""), "00"));
    expect(withId(brpc(number(4, 7) + call(""), ""), 128)).toBe("");
    expect(withId(brpc(call(""), ""), 1)).toBe("", "no id");
    expect(withId(brpc(number(4, 7) + number(4, 8), ""), 1)).toBe("", "two");
  });

  it("writes another id where it stood", () => {
    changes.clear();
    const frameOf = (id: i64): string => brpc(call(number(3, 1)) + number(4, id) + number(5, 2), "0102");
    expect(encode(frameOf(7), Side.Client, u64.MAX_VALUE)).toBe(frameOf(-1));
    expect(encode(frameOf(-1), Side.Client, 0)).toBe(frameOf(0));
    expect(encode(brpc(call(""), ""), Side.Client, 7)).toBe(brpc(number(4, 7) + call(""), ""));
    expect(encode(brpc(call(""), ""), Side.Client, 0)).toBe(brpc(call(""), ""));
  });

  it("writes fields of the request and user fields", () => {
    changes.clear();
    set("log_id", "-5");
    set("b", "2");
    set("request_id", "x");
    changes.remove(Guarded.text("span_id").ptr, 7);
    const before =
      call(number(3, 1) + number(5, 9) + number(4, 2)) + entry(9, "b", "1") + number(4, 7) + entry(9, "a", "1");
    const behind =
      call(number(4, 2) + number(3, -5) + text(7, "x")) + number(4, 7) + entry(9, "a", "1") + entry(9, "b", "2");
    expect(encode(brpc(before, "00"), Side.Client, 7)).toBe(brpc(behind, "00"));
    changes.clear();
    set("b", "2");
    const reply = bytes(2, number(1, 0)) + entry(9, "b", "1") + number(4, 7);
    expect(encode(brpc(reply, "00"), Side.Server, 7)).toBe(
      brpc(bytes(2, number(1, 0)) + number(4, 7) + entry(9, "b", "2"), "00"),
    );
  });

  it("writes attachments as Java does where it finds some", () => {
    changes.clear();
    set("b", "2");
    const before = call(number(3, 1) + entry(7, "a", "1") + entry(7, "b", "1")) + number(4, 7);
    const behind = call(number(3, 1) + entry(7, "a", "1") + entry(7, "b", "2")) + number(4, 7);
    expect(encode(brpc(before, ""), Side.Client, 7)).toBe(brpc(behind, ""));
    set("request_id", "x");
    expect(encode(brpc(before, ""), Side.Client, 7)).toBe("", "where the entries stand");
  });

  it("makes one request of several parts", () => {
    changes.clear();
    set("log_id", "5");
    const before = bytes(1, text(1, "s")) + number(4, 7) + bytes(1, text(2, "m") + number(3, 1));
    const behind = bytes(1, text(1, "s") + text(2, "m") + number(3, 5)) + number(4, 7);
    expect(encode(brpc(before, ""), Side.Client, 7)).toBe(brpc(behind, ""));
  });

  it("refuses numbers that are none, and fields of a request in a reply", () => {
    const wrong: string[] = [
      "",
      "-",
      "x",
      "1x",
      "+1",
      " 1",
      "1.0",
      "9223372036854775808",
      "-9223372036854775809",
      "1e3",
    ];
    for (let i = 0; i < wrong.length; i++) {
      changes.clear();
      set("trace_id", wrong[i]);
      expect(encode(brpc(call("") + number(4, 7), ""), Side.Client, 7)).toBe("", wrong[i]);
    }
    const right: StaticArray<i64> = [0, -1, i64.MAX_VALUE, i64.MIN_VALUE];
    for (let i = 0; i < right.length; i++) {
      changes.clear();
      set("trace_id", right[i].toString());
      const want = call(number(4, right[i])) + number(4, 7);
      expect(encode(brpc(call("") + number(4, 7), ""), Side.Client, 7)).toBe(brpc(want, ""));
    }
    expect(encode(brpc(bytes(2, "") + number(4, 7), ""), Side.Server, 7)).toBe("");
    changes.clear();
    changes.remove(Guarded.text("trace_id").ptr, 8);
    expect(encode(brpc(bytes(2, "") + number(4, 7), ""), Side.Server, 7)).toBe(brpc(bytes(2, "") + number(4, 7), ""));
  });

  it("answers with the code that fits the reason", () => {
    const codes: StaticArray<i64> = [1001, 1009, 1008, 2004, 1004, 1003, 1003, 2001];
    const message = Guarded.text("é".repeat(1000));
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      read(brpc(call("") + number(4, -1), ""));
      const sink = new Sink();
      codec.error(frame, reason, message.ptr, message.size, sink);
      const meta = bytes(2, number(1, codes[reason]) + text(2, "é".repeat(512))) + number(4, -1);
      expect(hexOf(sink.ptr, sink.size)).toBe(brpc(meta, ""));
    }
  });
});
