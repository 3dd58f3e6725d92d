import { Changes } from "../codec/changes";
import { Bad, READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { Qza } from "../codec/qza";
import { Sink } from "../wire/sink";
import { qza } from "./samples/qza";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new Qza();
const frame = Frame.make();
const changes = new Changes();
const sink = new Sink();

function read(hex: string, side: Side): string {
  const input = Guarded.hex(hex);
  frame.side = side;
  frame.reset();
  const look = codec.head(input.ptr, input.size, frame);
  return look ? look.toString() : render(frame);
}

/** The frame with one field changed; empty where it is refused. */
function encode(hex: string, key: string, value: string): string {
  const input = Guarded.hex(hex);
  frame.side = Side.Client;
  frame.reset();
  expect(codec.head(input.ptr, input.size, frame)).toBe(READY);
  expect(codec.metadata(input.ptr, input.size, frame)).toBe(READY);
  const name = Guarded.text(key);
  const text = Guarded.text(value);
  changes.clear();
  changes.set(name.ptr, name.size, text.ptr, text.size);
  sink.clear();
  sink.u8(0x77);
  if (codec.encode(input.ptr, input.size, frame, 9, changes, sink)) return hexOf(sink.ptr + 1, sink.size - 1);
  expect(sink.size).toBe(1);
  return "";
}

describe("qza", () => {
  it("has its length in two places, header and extension included", () => {
    const long = qza(7, 1, 0, 1, 1, "", "00".repeat(70_000));
    expect(read(long, Side.Client)).toBe("request 7 70106 ~#1");
    // 106 bytes, of which three extend the header.
    const short = qza(7, 1, 0, 1, 1, "", "");
    expect(read(short.substring(0, 210) + "03", Side.Client)).toBe((-Bad.Length).toString());
    expect(read(qza(7, 1, 0, 1, 1, "aabbcc", ""), Side.Client)).toBe("request 7 109 ~#1");
  });

  it("writes numbers within the limits of their fields", () => {
    const hex = qza(7, 1, 0, 2, 3, "", "6162");
    expect(encode(hex, "cmd", "-32768")).toBe(qza(9, -32768, 0, 2, 3, "", "6162"));
    expect(encode(hex, "sub_cmd", "32767")).toBe(qza(9, 1, 0, 32767, 3, "", "6162"));
    expect(encode(hex, "uid", "4294967295")).toBe(qza(9, 1, 0, 2, 0xffffffff, "", "6162"));
    const limits: string[][] = [
      ["cmd", "-32769", "32768"],
      ["sub_cmd", "-32769", "32768"],
      ["uid", "-1", "4294967296"],
      ["host_uin", "-1", "4294967296"],
      ["app", "-1", "4294967296"],
      ["source", "-1", "4294967296"],
      ["platform", "-1", "256"],
      ["alpha", "-129", "128"],
      ["login_state", "-1", "65536"],
    ];
    for (let i = 0; i < limits.length; i++) {
      expect(encode(hex, limits[i][0], limits[i][1])).toBe("", limits[i][0]);
      expect(encode(hex, limits[i][0], limits[i][2])).toBe("", limits[i][0]);
      expect(encode(hex, limits[i][0], "")).toBe("", limits[i][0]);
      expect(encode(hex, limits[i][0], "7").length).toBe(hex.length, limits[i][0]);
    }
    expect(encode(hex, "tag", "7")).toBe("");
  });

  it("answers with the request's version, flow and commands, and a code", () => {
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      read(qza(0xdeadbeef, -2, 0, 5, 10001, "aabb", "616263"), Side.Client);
      sink.clear();
      codec.error(frame, reason, 0, 0, sink);
      const start = "02" + "deadbeef" + "006a" + "fffe" + (reason == Reason.NoRoute ? "0032" : "0033");
      expect(hexOf(sink.ptr, sink.size)).toBe(start + "00".repeat(53) + "0005" + "00".repeat(40));
    }
  });
});
