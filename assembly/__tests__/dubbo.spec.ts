import { Changes } from "../codec/changes";
import { Bad, badText, READY, Reason } from "../codec/codec";
import { Dubbo } from "../codec/dubbo";
import { Frame, Side } from "../codec/frame";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { call, dubbo, map, text } from "./samples/dubbo";
import { render } from "./samples/sample";
import { Guarded, hexOf } from "./util";

const codec = new Dubbo();
const frame = Frame.make();

/** What the first `size` bytes of a frame are. */
function read(hex: string, size: u32 = u32.MAX_VALUE): string {
  const input = Guarded.hex(hex);
  return readFrom(input, size);
}

function readFrom(input: Guarded, size: u32 = u32.MAX_VALUE): string {
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

const changes = new Changes();

/** Notes a change; null takes the key out. */
function change(key: string, value: string | null): void {
  // Text of a test may stay in memory.
  const name = Slice.of(key);
  if (value === null) {
    changes.remove(name.ptr, name.size);
    return;
  }
  const text = Slice.of(value);
  changes.set(name.ptr, name.size, text.ptr, text.size);
}

/** The frame with `changes`, which are forgotten; "no" where there is no place for them. */
function written(hex: string, id: u64 = 1): string {
  const input = Guarded.hex(hex);
  readFrom(input);
  const sink = new Sink();
  const done = codec.encode(input.ptr, input.size, frame, id, changes, sink);
  changes.clear();
  return done ? hexOf(sink.ptr, sink.size) : `no${sink.size ? " but bytes" : ""}`;
}

/** A request with one argument, and that for attachments. */
function request(attachments: string): string {
  return dubbo(0xc2, 0, 1, call("s", "m", "I") + "97" + attachments);
}

/** A one-way request that names its service twice. */
function oneWay(service: string, version: string): string {
  const head = text("2.0.2") + text(service) + text(version) + text("m") + text("");
  return dubbo(0x82, 0, 1, head + map(["interface", service, "path", "s"]));
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
      expect(read(dubbo(0x02, 20, 1, what.toString(16))).startsWith("response 1 17 " + outcome)).toBe(true);
    }
  });
});

describe("Dubbo, written", () => {
  it("has other values in the place of the old ones, and new ones at the end", () => {
    change("b", "two");
    change("new", "é🍵");
    change("c", null);
    change("none", null);
    // Characters above U+FFFF as Java writes them: two surrogates of three bytes.
    const added = text("new") + "03" + "c3a9" + "eda0bc" + "edbdb5";
    const before = "48" + text("a") + text("1") + text("b") + text("2") + text("c") + text("3") + "5a";
    const after = "48" + text("a") + text("1") + text("b") + text("two") + added + "5a";
    expect(written(request(before))).toBe(request(after));
  });

  it("keeps the type of the map, and what is no string", () => {
    change("timeout", "5");
    change("a", null);
    change("b", null);
    const kept = "4d" + text("java.util.TreeMap") + text("timeout") + "d43a98" + text("a") + "4e" + "91" + text("b");
    expect(written(request(kept + text("b") + text("x") + "5a"))).toBe(
      request(kept + text("timeout") + text("5") + "5a"),
    );
  });

  it("leaves no second value of a key", () => {
    const twice = map(["a", "1", "b", "2", "a", "3"]);
    change("a", "x");
    expect(written(request(twice))).toBe(request(map(["a", "x", "b", "2"])));
    change("a", null);
    expect(written(request(twice))).toBe(request(map(["b", "2"])));
  });

  it("has a map where there was none", () => {
    expect(written(request("4e"))).toBe(request("4e"));
    change("gone", null);
    expect(written(request("4e"))).toBe(request("4e"));
    change("a", "1");
    expect(written(request("4e"))).toBe(request(map(["a", "1"])));
    change("a", "1");
    expect(written(request(""))).toBe("no");
  });

  it("has another service and version, in the head and in the attachments", () => {
    change("version", "2.0");
    change("interface", "com.example.Other");
    expect(written(oneWay("s", "1.0"))).toBe(oneWay("com.example.Other", "2.0"));
    change("version", "");
    expect(written(oneWay("s", "1.0"))).toBe(oneWay("s", ""));
    change("version", null);
    expect(written(oneWay("s", "1.0"))).toBe("no", "a head without a version");
  });

  it("has attachments in replies, whether they had some or not", () => {
    const kinds: string[] = ["90" + text("boom"), "91" + text("hi"), "92"];
    for (let i = 0; i < 3; i++) {
      const rest = kinds[i].substring(2);
      const attached = "9" + (i + 3).toString() + rest;
      change("a", "1");
      expect(written(dubbo(2, 20, 1, kinds[i]))).toBe(dubbo(2, 20, 1, attached + map(["a", "1"])));
      change("a", null);
      expect(written(dubbo(2, 20, 1, kinds[i]))).toBe(dubbo(2, 20, 1, kinds[i]));
      change("a", null);
      change("b", "2");
      expect(written(dubbo(2, 20, 1, attached + map(["a", "1"])))).toBe(dubbo(2, 20, 1, attached + map(["b", "2"])));
    }
    change("a", "1");
    expect(written(dubbo(2, 60, 1, text("gone")))).toBe("no", "a failure");
    change("a", "1");
    expect(written(dubbo(6, 20, 1, "91"))).toBe("no", "another serialization");
    change("a", "1");
    expect(written(dubbo(2, 20, 1, "92" + "4e"))).toBe("no", "something behind the value");
  });

  it("has strings of up to 65,535 UTF-16 units", () => {
    const sizes: StaticArray<i32> = [31, 32, 1023, 1024, 65_535];
    const heads: string[] = ["1f", "3020", "33ff", "530400", "53ffff"];
    for (let i = 0; i < sizes.length; i++) {
      change("k", "x".repeat(sizes[i]));
      const value = heads[i] + "78".repeat(sizes[i]);
      expect(written(request(map([]))) == request("48" + text("k") + value + "5a")).toBe(true, heads[i]);
    }
    change("k", "x".repeat(65_536));
    expect(written(request(map([])))).toBe("no");
    change("k", "🍵".repeat(32_767) + "xx");
    expect(written(request(map([])))).toBe("no");
  });

  it("has only text in UTF-8", () => {
    const broken: string[] = ["ff", "c3", "eda0bc", "c080", "f09f8d"];
    const key = Slice.of("k");
    for (let i = 0; i < broken.length; i++) {
      const bytes = Guarded.hex(broken[i]);
      changes.set(key.ptr, key.size, bytes.ptr, bytes.size);
      expect(written(request(map(["a", "1"])))).toBe("no", broken[i]);
      changes.set(bytes.ptr, bytes.size, key.ptr, key.size);
      expect(written(request(map(["a", "1"])))).toBe("no", broken[i]);
    }
  });

  it("has no place for what is read out of arguments", () => {
    const generic = dubbo(0xc2, 0, 1, call("s", "$invoke", "Ljava/lang/String;") + text("add") + map([]));
    change("generic.method", "remove");
    expect(written(generic)).toBe("no");
    change("tag", "gray");
    expect(written(generic)).toBe(
      dubbo(0xc2, 0, 1, call("s", "$invoke", "Ljava/lang/String;") + text("add") + map(["tag", "gray"])),
    );
  });

  it("stays as it was where not all of its metadata are known", () => {
    const unknown = dubbo(0xc2, 0, 1, call("s", "m", "?") + map(["a", "1"]));
    change("a", "2");
    expect(written(unknown)).toBe("no");
    // Its id can be changed all the same, and that of heartbeats.
    expect(written(unknown, 2)).toBe(dubbo(0xc2, 0, 2, call("s", "m", "?") + map(["a", "1"])));
    expect(written(dubbo(0xe2, 0, 1, "4e"), 2)).toBe(dubbo(0xe2, 0, 2, "4e"));
    change("a", "2");
    expect(written(dubbo(0xe2, 0, 1, "4e"), 2)).toBe("no");
  });
});
