import { Guarded } from "../util";
import { bytes, entry, number, text } from "./protobuf";
import { answered, asked, hex8, hex16, hex32, Sample, setU32, Wire } from "./sample";

/** A unary frame with that message and payload, as Java and C++ write it. */
export function unary(message: string, payload: string): string {
  const size = (message.length >> 1) as u32;
  return (
    "09300000" + hex32(16 + size + ((payload.length >> 1) as u32)) + hex16(size) + "000000000000" + message + payload
  );
}

/** The same as Go writes it: with the request id in the header, whose version is 1. */
export function unaryGo(id: u32, message: string, payload: string): string {
  const frame = unary(message, payload);
  return frame.substring(0, 20) + hex32(id) + "0100" + frame.substring(32);
}

/** A frame of a stream: 1 INIT, 2 DATA, 3 FEEDBACK, 4 CLOSE. */
export function stream(type: u32, id: u32, rest: string): string {
  return "093001" + hex8(type) + hex32(16 + ((rest.length >> 1) as u32)) + "0000" + hex32(id) + "0000" + rest;
}

export function call(callType: i64, id: i64): string {
  return (
    number(2, callType) +
    number(3, id) +
    number(4, 1500) +
    text(5, "trpc.app.client.caller") +
    text(6, "trpc.app.server.Greeter") +
    text(7, "/trpc.app.server.Greeter/SayHello")
  );
}

const NAMES = "caller=trpc.app.client.caller, callee=trpc.app.server.Greeter, func=/trpc.app.server.Greeter/SayHello";
const GREETER = "trpc.app.server.Greeter#SayHello deadline=1500";

function infos(field: u32, count: u32): string {
  let hex = "";
  for (let i: u32 = 0; i < count; i++) hex += entry(field, "key" + i.toString(), i.toString());
  return hex;
}

function manyInfos(): Sample {
  let expected = "";
  for (let i = 0; i < 61; i++) expected += `, key${i}=${i}`;
  return asked(
    "100 entries",
    unary(call(0, 7) + infos(9, 100), ""),
    `request 7 % ${GREETER} {${NAMES}${expected}} dropped`,
  );
}

/** A reply of the framework. */
function status(ret: i64, outcome: string): Sample {
  const message = number(3, 9) + number(4, ret) + text(6, "why");
  return answered("ret " + ret.toString(), unary(message, ""), "response 9 % " + outcome);
}

const JAVA = "trpc.meltemi.demo.Greeter#";
const JAVA_NAMES = "caller=trpc..., callee=trpc..., func=/trpc.meltemi.demo.";

const samples: Sample[] = [
  // From Java: trpc-java 1.1.0.
  asked(
    "a call from Java",
    "0930000000000073005b00000000000018af022088272a07747270632e2e2e3207747270632e2e2e3a1f2f747270632e6d656c74656d692e64" +
      "656d6f2e477265657465722f496e666f4a0e0a06636f6c6f75721204626c75654a100a08747270632d656e761204677261790a06636f6c6f" +
      "7572",
    `request 303 % ${JAVA}Info deadline=5000 {${JAVA_NAMES}Greeter/Info, colour=blue, trpc-env=gray}`,
  ),
  answered(
    "a reply from Java",
    "093000000000003b002500000000000018af02420e0a06636f6c6f75721204626c756542100a08747270632d656e761204677261790a04626c" +
      "7565",
    "response 303 % ok/0/0 {colour=blue, trpc-env=gray}",
  ),
  asked(
    "a one-way call from Java",
    "0930000000000073004f000000000000100118b3022088272a07747270632e2e2e3207747270632e2e2e3a212f747270632e6d656c74656d69" +
      "2e64656d6f2e477265657465722f4e6f746966794a100a08747270632d656e761204677261790a1266696720313338303832373437343134" +
      "3834",
    `oneway 307 % ${JAVA}Notify deadline=5000 {${JAVA_NAMES}Greeter/Notify, trpc-env=gray}`,
  ),
  answered(
    "an exception of the service from Java",
    "0930000000000036002600000000000018b002282a320d7265667573656420627920763142100a08747270632d656e76120467726179",
    "response 304 % exception/1/42 {trpc-env=gray}",
  ),
  answered(
    "an exception that nobody expected from Java",
    "0930000000000034002400000000000018b10220e70728e70732076372617368656442100a08747270632d656e76120467726179",
    "response 305 % exception/1/999 {trpc-env=gray}",
  ),
  answered(
    "no such function, from Java",
    "0930000000000056004600000000000018b202200c322d6e6f742066696e642066756e633a2f747270632e6d656c74656d692e64656d6f2e4d" +
      "697373696e672f4563686f42100a08747270632d656e76120467726179",
    "response 306 % server_nofunc/3/12 {trpc-env=gray}",
  ),
  asked(
    "a stream from Java",
    "093001010000005d00000000006400000a470a07747270632e2e2e1207747270632e2e2e1a212f747270632e6d656c74656d692e64656d6f2e" +
      "53747265616d732f5265706561742a100a08747270632d656e7612046772617918808004",
    `stream_open 100 % trpc.meltemi.demo.Streams#Repeat {${JAVA_NAMES}Streams/Repeat, trpc-env=gray}`,
  ),
  answered(
    "a stream that is open, from Java",
    "093001010000001a0000000000640000120412024f4b18808004",
    "stream_data 100 %",
  ),
  answered("data from Java", "093001020000001500000000006400000a03666967", "stream_data 100 %"),
  asked("the end of a stream from Java", "093001040000001400000000006400001a024f4b", "stream_close 100 % ~#~"),
  answered(
    "the end of a stream that broke, from Java",
    "0930010400000040000000000064000010e8071a2b6a6176612e6c616e672e496c6c6567616c5374617465457863657074696f6e3a2062726f" +
      "6b656e206f6666",
    "stream_close 100 %",
  ),
  asked("a call", unary(call(0, 7) + number(8, 2), "0a03666967"), `request 7 % ${GREETER} {${NAMES}}`),
  asked("a one-way call", unary(call(1, 7), "0a03666967"), `oneway 7 % ${GREETER} {${NAMES}}`),
  asked(
    "a call with trans_info and an attachment",
    unary(
      call(0, 300) + entry(9, "trpc-env", "gray") + entry(9, "traceparent", "00-1") + number(11, 1) + number(12, 3),
      "00".repeat(40),
    ),
    `request 300 % ${GREETER} {${NAMES}, trpc-env=gray, traceparent=00-1}`,
  ),
  asked(
    "a call with the id in the header, too",
    unaryGo(
      300,
      number(3, 300) + text(5, "trpc.a.b.c") + text(6, "trpc.app.server.G") + text(7, "/trpc.app.server.G/Hi"),
      "",
    ),
    "request 300 % trpc.app.server.G#Hi {caller=trpc.a.b.c, callee=trpc.app.server.G, func=/trpc.app.server.G/Hi}",
  ),
  asked(
    "func is a name only",
    unary(number(3, 4294967295) + text(6, "trpc.app.server.Greeter") + text(7, "SayHello"), ""),
    "request 4294967295 % trpc.app.server.Greeter#SayHello {callee=trpc.app.server.Greeter, func=SayHello}",
  ),
  asked("func of one part", unary(number(3, 7) + text(7, "/hi"), ""), "request 7 % ~#/hi {func=/hi}"),
  asked("func without a method", unary(number(3, 7) + text(7, "/a.B/"), ""), "request 7 % ~#/a.B/ {func=/a.B/}"),
  asked("func without a service", unary(number(3, 7) + text(7, "//hi"), ""), "request 7 % ~#//hi {func=//hi}"),
  asked(
    "func of three parts",
    unary(number(3, 7) + text(7, "/v1/users/list"), ""),
    "request 7 % v1/users#list {func=/v1/users/list}",
  ),
  asked(
    "names of other scripts",
    unary(number(3, 7) + text(7, "/ελ.Μελτέμι/茶🍵") + entry(9, "ключ", "🍵"), ""),
    "request 7 % ελ.Μελτέμι#茶🍵 {func=/ελ.Μελτέμι/茶🍵, ключ=🍵}",
  ),
  asked(
    "values that are no text, or empty, or not there",
    unary(
      number(3, 7) +
        bytes(9, text(1, "a") + bytes(2, "fffe80")) +
        entry(9, "b", "") +
        bytes(9, text(1, "c")) +
        bytes(9, "") +
        entry(9, "d", "e"),
      "",
    ),
    "request 7 % ~#~ {b=, c=, =, d=e}",
  ),
  asked(
    "keys that come twice, or are names of fields",
    unary(
      number(3, 7) +
        text(5, "x") +
        entry(9, "a", "1") +
        entry(9, "caller", "y") +
        entry(9, "b", "2") +
        entry(9, "a", "3") +
        text(5, "z"),
      "",
    ),
    "request 7 % ~#~ {caller=z, a=3, b=2}",
  ),
  asked(
    "fields that are not known, of every kind",
    unary(
      number(3, 7) +
        number(99, 1) +
        "a9" +
        "06" +
        "0102030405060708" +
        "ad" +
        "06" +
        "01020304" +
        text(200, "x") +
        number(2, 5) +
        number(4, -1),
      "",
    ),
    "request 7 % ~#~ deadline=4294967295",
  ),
  manyInfos(),
  answered("a reply", unary(number(3, 7), "0a03666967"), "response 7 % ok/0/0"),
  answered(
    "a reply with trans_info",
    unary(number(3, 7) + number(7, 2) + entry(8, "caller", "me") + entry(8, "b", "2"), "00".repeat(70)),
    "response 7 % ok/0/0 {caller=me, b=2}",
  ),
  answered("a reply with the id in the header, too", unaryGo(7, number(3, 7), "50"), "response 7 % ok/0/0"),
  answered(
    "an exception",
    unary(number(3, 7) + number(5, 10001) + text(6, "boom"), ""),
    "response 7 % exception/1/10001",
  ),
  answered(
    "an exception from Java",
    unary(number(3, 7) + number(4, 999) + number(5, 999), ""),
    "response 7 % exception/1/999",
  ),
  status(1, "server_decode/2/1"),
  status(2, "server_encode/8/2"),
  status(11, "server_noservice/3/11"),
  status(12, "server_nofunc/3/12"),
  status(21, "server_timeout/5/21"),
  status(22, "server_overload/6/22"),
  status(23, "server_limited/6/23"),
  status(24, "server_full_link_timeout/5/24"),
  status(31, "server_system/8/31"),
  status(41, "server_auth/4/41"),
  status(51, "server_validate/2/51"),
  status(101, "client_invoke_timeout/5/101"),
  status(102, "client_full_link_timeout/5/102"),
  status(111, "client_connect/7/111"),
  status(123, "client_limited/6/123"),
  status(124, "client_overload/6/124"),
  status(131, "client_router/7/131"),
  status(141, "client_network/7/141"),
  status(161, "client_canceled/7/161"),
  status(999, "invoke_unknown/8/999"),
  status(1000, "stream_unknown/8/1000"),
  status(-5, "-5/8/-5"),
  asked(
    "a stream",
    stream(
      1,
      100,
      bytes(
        1,
        text(1, "trpc.app.client.caller") +
          text(2, "trpc.app.server.Greeter") +
          text(3, "/trpc.app.server.Greeter/SayHello") +
          entry(5, "trpc-env", "gray"),
      ) + number(3, 65535),
    ),
    `stream_open 100 % trpc.app.server.Greeter#SayHello {${NAMES}, trpc-env=gray}`,
  ),
  asked("a stream that says nothing", stream(1, 100, ""), "stream_open 100 % ~#~"),
  asked(
    "a stream whose request comes in parts",
    stream(
      1,
      100,
      bytes(1, text(3, "/a.B/c") + entry(5, "a", "1")) + number(4, 2) + bytes(1, text(1, "me") + entry(5, "a", "2")),
    ),
    "stream_open 100 % a.B#c {caller=me, func=/a.B/c, a=2}",
  ),
  asked("data", stream(2, 100, "0a03666967"), "stream_data 100 % ~#~"),
  asked("no data", stream(2, 100, ""), "stream_data 100 % ~#~"),
  answered("feedback", stream(3, 100, number(1, 1024)), "stream_data 100 %"),
  answered("a stream that is open", stream(1, 100, bytes(2, "") + number(3, 65535)), "stream_data 100 %"),
  answered("a stream that is refused", stream(1, 100, bytes(2, number(1, 12) + text(2, "no"))), "stream_close 100 %"),
  asked("the end of one direction", stream(4, 100, ""), "stream_close 100 % ~#~"),
  answered("the end with trans_info", stream(4, 100, number(2, 0) + entry(5, "a", "1")), "stream_close 100 % {a=1}"),
  answered(
    "the end of both directions",
    stream(4, 100, number(1, 1) + number(2, 31) + text(3, "why")),
    "stream_close 100 %",
  ),
];

@final
export class TrpcWire extends Wire {
  constructor() {
    super("trpc", samples);
    this.least = 16;
    this.magicBytes = 2;
    this.encodes = true;
  }

  setLength(p: usize, length: u64): bool {
    return setU32(p + 4, length);
  }

  /** What INIT and CLOSE have behind their header is a message to its end. */
  lengthened(input: Guarded, by: u32): Guarded | null {
    const type = load<u16>(input.ptr, 2);
    return type == 0x0101 || type == 0x0401 ? null : super.lengthened(input, by);
  }
}
