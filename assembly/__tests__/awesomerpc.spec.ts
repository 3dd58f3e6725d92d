import { AwesomeRpc } from "../codec/awesomerpc";
import { READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { Sink } from "../wire/sink";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new AwesomeRpc();
const frame = Frame.make();

function read(hex: string, side: Side): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  expect(codec.head(input.ptr, input.size, frame)).toBe(READY);
  return render(frame);
}

describe("awesomerpc", () => {
  it("takes the same bytes for a request or a reply by who sent them", () => {
    const hex = "01000000070000000d00090000";
    expect(read(hex, Side.Client)).toBe("request 7 13 ~#9");
    expect(read(hex, Side.Server)).toBe("response 7 13 ok/0/0");
  });

  it("reads numbers to the ends of their fields", () => {
    expect(read("ffffffffffffffffff7fff7fff", Side.Client)).toBe("request 4294967295 4294967295 ~#32767");
    expect(read("ffffffffff0000000d80007fff", Side.Server)).toBe("response 4294967295 13 32767/1/32767");
    expect(read("ffffffffff0000000d8000ffff", Side.Server)).toBe("response 4294967295 13 -1/1/-1");
  });

  it("answers with the request's version, flow and command, and a code", () => {
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      read("f1deadbeef00000010fffe0000616263", Side.Client);
      const sink = new Sink();
      codec.error(frame, reason, 0, 0, sink);
      const code = reason == Reason.NoRoute ? "0032" : "0033";
      expect(hexOf(sink.ptr, sink.size)).toBe("f1deadbeef0000000dfffe" + code);
    }
  });
});
