import { Bad, badText, READY, Reason } from "../codec/codec";
import { Dubbo } from "../codec/dubbo";
import { Frame, Side } from "../codec/frame";
import { Sink } from "../wire/sink";
import { call, dubbo, map, text } from "./samples/dubbo";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new Dubbo();
const frame = Frame.make();

/** What the first `size` bytes of a frame are. */
function read(hex: string, size: u32 = u32.MAX_VALUE): string {
  const input = Guarded.hex(hex);
  frame.side = Side.Client;
  frame.reset();
  let look = codec.head(input.ptr, min(size, input.size), frame);
  if (look == READY) look = codec.metadata(input.ptr, min(size, input.size), frame);
  if (look < 0) return "bad " + badText(-look as Bad);
  return look > 0 ? "needs " + look.toString() : render(frame);
}

function metadataOf(types: string, args: string): string {
  return read(dubbo(0xc2, 0, 1, call("s", "m", types) + args + map(["tag", "gray"])));
}

const ALL = "{interface=s, version=1.0, tag=gray}";

describe("Dubbo", () => {
  it("asks for the strings of a head as it learns of them", () => {
    const frame = dubbo(0xc2, 0, 1, call("com.example.Greeter", "hello", "") + map([]));
    // The header, then at least one byte for each of four strings; then what the length of each adds.
    expect(read(frame, 16)).toBe("needs 17");
    expect(read(frame, 17)).toBe("needs 22");
    expect(read(frame, 22)).toBe("needs 23");
    expect(read(frame, 23)).toBe("needs 42");
  });

  it("refuses at the first byte that cannot be right", () => {
    const body = call("s", "m", "") + map([]);
    const whole = dubbo(0xc2, 0, 1, body);
    expect(read("dabc" + whole.substring(4))).toBe("bad magic");
    expect(read("0000" + whole.substring(4), 16)).toBe("bad magic");
    // A body that begins with no string: an int, a map, a tag that Hessian does not have.
    expect(read(dubbo(0xc2, 0, 1, "90" + body.substring(2)), 17)).toBe("bad encoding");
    expect(read(dubbo(0xc2, 0, 1, "45" + body.substring(2)), 17)).toBe("bad encoding");
    expect(read(dubbo(0xc2, 0, 1, "48" + "5a" + body))).toBe("bad encoding");
    // A string that the frame has no room for.
    expect(read(dubbo(0xc2, 0, 1, "53ffff"))).toBe("bad encoding");
    expect(read(dubbo(0xc2, 0, 1, text("2.0.2") + "1f" + "61"))).toBe("bad encoding");
    // No body at all.
    expect(read(dubbo(0xc2, 0, 1, ""))).toBe("bad encoding");
    // A name that is not UTF-8.
    expect(read(dubbo(0xc2, 0, 1, text("2.0.2") + "02ffff" + text("1.0") + text("m")))).toBe("bad encoding");
  });

  it("takes lengths up to 2 GiB and says so of longer ones", () => {
    const head = "dabbe20000000000000000" + "01";
    expect(read(head + "7fffffef")).toBe("heartbeat 1 2147483647 ~#~");
    expect(read(head + "7ffffff0")).toBe("bad length");
    expect(read(head + "80000000")).toBe("bad length");
    expect(read(head + "ffffffff")).toBe("bad length");
  });

  it("counts the arguments that a Java descriptor lists", () => {
    expect(metadataOf("", "")).toBe(`request 1 ${46 - 4} s#m ${ALL}`);
    expect(metadataOf("I", "91").includes(ALL)).toBe(true);
    expect(metadataOf("ZBCSIJFDV", "9192939495969798" + "4e").includes(ALL)).toBe(true);
    expect(metadataOf("[I", "7991" + "91").includes(" dropped")).toBe(true, "one argument, two values");
    expect(metadataOf("[I", "7991").includes(ALL)).toBe(true);
    expect(metadataOf("[[[Ljava/lang/String;I", "4e91").includes(ALL)).toBe(true);
    expect(metadataOf("La;Lb;La/b/C$D;", "4e4e4e").includes(ALL)).toBe(true);
    const none: string[] = ["L", "La", "i", "I I", "I;", "La;;", "(I)V", "é"];
    for (let i = 0; i < none.length; i++) {
      expect(metadataOf(none[i], "91").endsWith("{interface=s, version=1.0} dropped")).toBe(true, none[i]);
    }
  });

  it("leaves a request readable whose arguments are not", () => {
    const deep = "7a".repeat(300);
    expect(metadataOf("I", deep).endsWith("{interface=s, version=1.0} dropped")).toBe(true);
    expect(metadataOf("I", "58490fffffff").endsWith("{interface=s, version=1.0} dropped")).toBe(true);
    expect(metadataOf("I", "60").endsWith("{interface=s, version=1.0} dropped")).toBe(true, "no such class");
  });

  it("answers with the status that fits the reason", () => {
    const statuses: StaticArray<string> = ["3c", "50", "1f", "64", "50", "28", "28", "50"];
    const message = Guarded.text("no");
    read(dubbo(0xc2, 0, 0x1234, call("s", "m", "")));
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      const sink = new Sink();
      codec.error(frame, reason, message.ptr, message.size, sink);
      expect(hexOf(sink.ptr, sink.size)).toBe(`dabb02${statuses[reason]}0000000000001234000000043002` + "6e6f");
    }
  });

  it("answers a heartbeat that waits for it, and no other", () => {
    const sink = new Sink();
    read(dubbo(0xe2, 0, 5, "4e"));
    expect(codec.heartbeatReply(frame, sink)).toBe(true);
    expect(hexOf(sink.ptr, sink.size)).toBe("dabb22140000000000000005000000014e");
    sink.clear();
    read(dubbo(0xa2, 0, 5, "4e"));
    expect(codec.heartbeatReply(frame, sink)).toBe(false);
    expect(sink.size).toBe(0);
  });

  it("needs the first byte of a body to tell an exception from a value", () => {
    expect(read(dubbo(0x02, 20, 1, "94"), 16)).toBe("needs 17");
    for (let what = 0x80; what < 0xa0; what++) {
      const outcome = what == 0x90 || what == 0x93 ? "exception/1/20" : "ok/0/20";
      expect(read(dubbo(0x02, 20, 1, what.toString(16)))).toBe("response 1 17 " + outcome);
    }
  });
});
