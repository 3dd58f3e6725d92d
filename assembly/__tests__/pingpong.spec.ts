import { Bad, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { PingPong } from "../codec/pingpong";
import { Sink } from "../wire/sink";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new PingPong();
const frame = Frame.make();
const sink = new Sink();

function read(hex: string, side: Side): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  const look = codec.head(input.ptr, input.size, frame);
  return look ? look.toString() : render(frame);
}

describe("pingpong", () => {
  it("refuses types that do not exist, and heartbeats with a body", () => {
    expect(read("70700000000000000000", Side.Client)).toBe((-Bad.Field).toString());
    expect(read("70700500000000000000", Side.Client)).toBe((-Bad.Field).toString());
    expect(read("70700100000000000001", Side.Client)).toBe((-Bad.Length).toString());
    expect(read("70700200000080000000", Side.Client)).toBe((-Bad.Length).toString());
  });

  it("sends a heartbeat back as it was, and nothing else", () => {
    const sides: Side[] = [Side.Client, Side.Server];
    for (let i = 0; i < sides.length; i++) {
      read("707001123456" + "00000000", sides[i]);
      sink.clear();
      expect(codec.heartbeatReply(frame, sink)).toBe(true);
      expect(hexOf(sink.ptr, sink.size)).toBe("707001123456" + "00000000");
    }
    read("70700200000000000000", Side.Client);
    expect(codec.heartbeatReply(frame, sink)).toBe(false);
    expect(codec.heartbeat(7, sink)).toBe(false);
  });

  it("has no place for an id of more than 16 bits", () => {
    const input = Guarded.hex("70700200070000000000");
    expect(codec.setId(input.ptr, 0x10000)).toBe(false);
    expect(hexOf(input.ptr, input.size)).toBe("70700200070000000000");
    expect(codec.setId(input.ptr, 0xffff)).toBe(true);
    expect(hexOf(input.ptr, input.size)).toBe("707002ffff0000000000");
  });

  it("answers with type, id and service of the request, a code and the message", () => {
    const message = Guarded.text("no é");
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      const code = reason == Reason.NoRoute ? "32" : "33";
      const types: string[] = ["02", "03", "04"];
      for (let i = 0; i < types.length; i++) {
        const service = types[i] == "04" ? "61620000" : "";
        expect(
          read("7070" + types[i] + "0007" + "0000000001" + service + "78", Side.Client).startsWith("request 7 "),
        ).toBe(true);
        sink.clear();
        codec.error(frame, reason, message.ptr, message.size, sink);
        const expected = "7070" + types[i] + "0007" + code + "00000005" + service + "6e6f20c3a9";
        expect(hexOf(sink.ptr, sink.size)).toBe(expected);
      }
    }
  });
});
