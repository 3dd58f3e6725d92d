import { Changes } from "../codec/changes";
import { Bad, READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { SofaBolt } from "../codec/sofabolt";
import { crc32 } from "../wire/crc32";
import { Sink } from "../wire/sink";
import { hexText, render } from "./samples/sample";
import { bolt1, bolt2, CALL, HEARTBEAT, map, REPLY, REQUEST, RESPONSE } from "./samples/sofabolt";
import { Guarded, hexOf } from "./util";

const codec = new SofaBolt();
const frame = Frame.make();
const changes = new Changes();
const sink = new Sink(4 << 20);
const HELLO = map(["sofa_head_target_service", "a.Greeter:1.0", "sofa_head_method_name", "hello"]);

function read(input: Guarded, side: Side): string {
  frame.side = side;
  frame.reset();
  expect(codec.head(input.ptr, input.size, frame)).toBe(READY);
  expect(codec.metadata(input.ptr, input.size, frame)).toBe(READY);
  return render(frame);
}

function change(key: string, value: string | null): void {
  const name = Guarded.text(key);
  if (value == null) {
    changes.remove(name.ptr, name.size);
  } else {
    const text = Guarded.text(value);
    changes.set(name.ptr, name.size, text.ptr, text.size);
  }
}

/** The frame with another id and with `changes`, of which only the first n bytes are there; empty where it is refused. */
function encode(input: Guarded, n: u32): string {
  sink.clear();
  if (!codec.encode(input.ptr, n, frame, 9, changes, sink)) return "";
  sink.bytes(input.ptr + n, input.size - n);
  return hexOf(sink.ptr, sink.size);
}

/** Whether the last four bytes are the checksum of those before. */
function checks(hex: string): bool {
  const bytes = Guarded.hex(hex);
  return crc32(bytes.ptr, bytes.size - 4) == bswap<u32>(load<u32>(bytes.ptr + bytes.size - 4));
}

/** A request with that header, as it is read: `service#method`. */
function names(pairs: string[]): string {
  const input = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", map(pairs), ""));
  return read(input, Side.Client).split(" ")[3];
}

describe("SOFABolt", () => {
  it("finds service and method in the header, or in the class", () => {
    expect(names(["service", "plain", "tag", "x"])).toBe("plain#~");
    expect(names(["service", "plain", "sofa_head_target_service", "target"])).toBe("target#~");
    expect(names(["sofa_head_target_service", "target", "service", "plain"])).toBe("target#~");
    expect(names(["sofa_head_method_name", "hello"])).toBe("~#hello");
    expect(names(["tag", "x"])).toBe("~#a.B");
    // Others of the same lengths.
    expect(names(["sofa_head_target_servicE", "x", "sofa_head_method_namE", "x", "servicE", "x"])).toBe("~#a.B");
  });

  it("writes metadata where there were none, in any order and only once", () => {
    const input = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", map(["a", "1", "b", "2", "a", "3", "c", "4"]), "4e"));
    read(input, Side.Client);
    changes.clear();
    change("d", "5");
    change("a", "0");
    change("c", null);
    change("missing", null);
    const changed = bolt1(REQUEST, CALL, 9, 0, "a.B", map(["a", "0", "b", "2", "d", "5"]), "4e");
    expect(encode(input, input.size)).toBe(changed);

    const bare = Guarded.hex(bolt1(RESPONSE, REPLY, 1, 0, "a.B", "", "4e"));
    read(bare, Side.Server);
    changes.clear();
    change("d", "");
    expect(encode(bare, bare.size)).toBe(bolt1(RESPONSE, REPLY, 9, 0, "a.B", map(["d", ""]), "4e"));
  });

  it("keeps null and what is no text as it is", () => {
    const odd = "00000001" + "6e" + "ffffffff" + "ffffffff" + "00000001" + "ff" + "00000001" + "fe" + "00000000";
    const input = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", odd, "4e"));
    expect(read(input, Side.Client)).toBe("request 1 " + input.size.toString() + " ~#a.B {class=a.B} dropped");
    changes.clear();
    change("a", "1");
    expect(encode(input, input.size)).toBe(bolt1(REQUEST, CALL, 9, 0, "a.B", odd + map(["a", "1"]), "4e"));
    changes.clear();
    change("n", "set");
    expect(encode(input, input.size).includes("000000016e" + "00000003736574")).toBe(true);
  });

  it("has no place for some changes", () => {
    const call = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", HELLO, ""));
    const keys: string[] = ["class", "sofa_head_response_error", "meltemi-crc"];
    for (let i = 0; i < keys.length; i++) {
      read(call, Side.Client);
      changes.clear();
      change(keys[i], "x");
      expect(encode(call, call.size)).toBe("", keys[i]);
    }
    changes.clear();
    change("a", "1");
    const none = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", "0102", ""));
    read(none, Side.Client);
    expect(encode(none, none.size)).toBe("", "no map");
    const heartbeat = Guarded.hex(bolt1(REQUEST, HEARTBEAT, 1, 0, "", "", ""));
    read(heartbeat, Side.Client);
    expect(encode(heartbeat, heartbeat.size)).toBe("", "heartbeat");

    // Java reads the length as a signed number.
    const room = 32767 - 8 - 1;
    read(call, Side.Client);
    const left = room - ((HELLO.length >> 1) as i32);
    changes.clear();
    change("a", "x".repeat(left));
    expect(encode(call, call.size).length).toBeGreaterThan(0);
    changes.clear();
    change("a", "x".repeat(left + 1));
    expect(encode(call, call.size)).toBe("", "too long");
    // But there are longer ones.
    const long = Guarded.hex(bolt1(REQUEST, CALL, 1, 0, "a.B", map(["a", "x".repeat(40_000)]), ""));
    read(long, Side.Client);
    changes.clear();
    expect(encode(long, long.size)).toBe(bolt1(REQUEST, CALL, 9, 0, "a.B", map(["a", "x".repeat(40_000)]), ""));
  });

  it("has the checksum come out as it was, before the content has come", () => {
    const content = "c3".repeat(10_000);
    const headers: string[] = ["", HELLO, map(["tag", ""])];
    for (let i = 0; i < headers.length; i++) {
      const hex = bolt2(2, 1, REQUEST, CALL, 7, 0, "a.B", headers[i], content);
      const input = Guarded.hex(hex);
      const n = 24 + 3 + ((headers[i].length >> 1) as u32);
      const text = read(Guarded.copy(input.ptr, n), Side.Client);
      changes.clear();
      const other = encode(input, n);
      expect(checks(other)).toBe(true);
      expect(other).not.toBe(hex);
      // All that can be seen of it is the id.
      const sealed = Guarded.hex(other);
      const was = text.replace("request 7 " + input.size.toString(), "request 9 " + sealed.size.toString());
      expect(read(sealed, Side.Client)).toBe(was);

      // Once more: the entry changes, no other comes.
      changes.clear();
      change("tag", "gray");
      const tagged = encode(sealed, sealed.size);
      expect(checks(tagged)).toBe(true);
      expect(tagged.split("6d656c74656d692d637263").length).toBe(2);
    }
  });

  it("leaves damage where it is", () => {
    const input = Guarded.hex(bolt2(2, 1, RESPONSE, REPLY, 7, 0, "a.B", HELLO, "4e4e4e4e"));
    store<u8>(input.ptr + input.size - 5, 0x4f);
    read(input, Side.Server);
    changes.clear();
    change("tag", "gray");
    const other = encode(input, input.size);
    expect(other.length).toBeGreaterThan(0);
    expect(checks(other)).toBe(false);
  });

  it("changes ids in place, unless there is a checksum", () => {
    const plain = Guarded.hex(bolt2(2, 0, REQUEST, CALL, 7, 0, "a.B", "", ""));
    expect(codec.setId(plain.ptr, 0x1_0000_0009)).toBe(true);
    expect(hexOf(plain.ptr, plain.size)).toBe(bolt2(2, 0, REQUEST, CALL, 9, 0, "a.B", "", ""));
    const checked = Guarded.hex(bolt2(2, 1, REQUEST, CALL, 7, 0, "a.B", "", ""));
    expect(codec.setId(checked.ptr, 9)).toBe(false);
    expect(hexOf(checked.ptr, checked.size)).toBe(bolt2(2, 1, REQUEST, CALL, 7, 0, "a.B", "", ""));
  });

  it("answers in the protocol of the request, with a status and what Hessian makes an exception", () => {
    const statuses: i32[] = [6, 0x10, 7, 4, 2, 0x12, 0x12, 2];
    const kind = "com.alipay.remoting.rpc.exception.RpcServerException";
    const fields = "0d" + "64657461696c4d657373616765" + "0a" + "737461636b5472616365";
    const thrown = "4fc834" + hexText(kind) + "92" + fields + "6f90" + "530004" + "6e6f3f3f" + "4e";
    const message = Guarded.text("noé");
    for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
      const status = statuses[reason];
      const calls: string[] = [
        bolt1(REQUEST, CALL, 7, 0, "a.B", HELLO, "4e"),
        bolt2(1, 1, REQUEST, CALL, 7, 0, "a.B", HELLO, "4e"),
        bolt2(2, 1, REQUEST, CALL, 7, 0, "a.B", HELLO, "4e"),
      ];
      const replies: string[] = [
        bolt1(RESPONSE, REPLY, 7, status, kind, "", thrown),
        bolt2(1, 1, RESPONSE, REPLY, 7, status, kind, "", thrown),
        bolt2(2, 1, RESPONSE, REPLY, 7, status, kind, "", thrown),
      ];
      for (let i = 0; i < calls.length; i++) {
        read(Guarded.hex(calls[i]), Side.Client);
        sink.clear();
        codec.error(frame, reason, message.ptr, message.size, sink);
        expect(hexOf(sink.ptr, sink.size)).toBe(replies[i]);
      }
    }
  });

  it("asks in protocol 1, and answers heartbeats in theirs", () => {
    sink.clear();
    codec.heartbeat(7, sink);
    expect(hexOf(sink.ptr, sink.size)).toBe(bolt1(REQUEST, HEARTBEAT, 7, 1000, "", "", ""));
    const asked: string[] = [
      bolt1(REQUEST, HEARTBEAT, 7, -1, "", "", ""),
      bolt2(1, 0, REQUEST, HEARTBEAT, 7, -1, "", "", ""),
      bolt2(2, 1, REQUEST, HEARTBEAT, 7, -1, "", "", ""),
    ];
    const answers: string[] = [
      bolt1(RESPONSE, HEARTBEAT, 7, 0, "", "", ""),
      bolt2(1, 0, RESPONSE, HEARTBEAT, 7, 0, "", "", ""),
      bolt2(2, 1, RESPONSE, HEARTBEAT, 7, 0, "", "", ""),
    ];
    for (let i = 0; i < asked.length; i++) {
      read(Guarded.hex(asked[i]), Side.Client);
      sink.clear();
      codec.heartbeatReply(frame, sink);
      expect(hexOf(sink.ptr, sink.size)).toBe(answers[i]);
    }
  });

  it("refuses types, commands and versions that do not exist", () => {
    const wrong: string[] = [
      bolt1(3, CALL, 7, 0, "", "", ""),
      bolt1(REQUEST, REPLY, 7, 0, "", "", ""),
      bolt1(RESPONSE, CALL, 7, 0, "", "", ""),
      bolt1(REQUEST, 3, 7, 0, "", "", ""),
      bolt2(0, 0, REQUEST, CALL, 7, 0, "", "", ""),
      bolt2(3, 0, REQUEST, CALL, 7, 0, "", "", ""),
    ];
    for (let i = 0; i < wrong.length; i++) {
      const input = Guarded.hex(wrong[i]);
      frame.reset();
      expect(codec.head(input.ptr, 20, frame)).toBe(-Bad.Field, wrong[i]);
    }
  });
});
