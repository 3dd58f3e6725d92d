import { crc32 } from "../../wire/crc32";
import { Guarded } from "../util";
import { answered, asked, hex8, hex16, hex32, hexText, Sample, Wire } from "./sample";

/** Commands. */
export const HEARTBEAT: u32 = 0;
export const CALL: u32 = 1;
export const REPLY: u32 = 2;

/** Types. */
export const RESPONSE: u32 = 0;
export const REQUEST: u32 = 1;
export const ONEWAY: u32 = 2;

function size(hex: string): u32 {
  return (hex.length >> 1) as u32;
}

/** Text with its length in 4 bytes. */
function text(value: string): string {
  const utf8 = hexText(value);
  return hex32(size(utf8)) + utf8;
}

/** A header of keys and values. */
export function map(pairs: string[]): string {
  let hex = "";
  for (let i = 0; i < pairs.length; i++) hex += text(pairs[i]);
  return hex;
}

function parts(kind: string, header: string, content: string): string {
  const name = hexText(kind);
  return hex16(size(name)) + hex16(size(header)) + hex32(size(content)) + name + header + content;
}

/** A frame of protocol 1; of a response, `timeout` is its status. */
export function bolt1(
  type: u32,
  command: u32,
  id: u32,
  timeout: i32,
  kind: string,
  header: string,
  content: string,
): string {
  const wait = type == RESPONSE ? hex16(timeout) : hex32(timeout);
  return "01" + hex8(type) + hex16(command) + "01" + hex32(id) + "01" + wait + parts(kind, header, content);
}

/** A frame of protocol 2 with that version and those switches, and a checksum if it has one. */
export function bolt2(
  version: u32,
  switches: u32,
  type: u32,
  command: u32,
  id: u32,
  timeout: i32,
  kind: string,
  header: string,
  content: string,
): string {
  const wait = type == RESPONSE ? hex16(timeout) : hex32(timeout);
  const start = "02" + hex8(version) + hex8(type) + hex16(command) + "01" + hex32(id) + "01" + hex8(switches);
  const hex = start + wait + parts(kind, header, content);
  if (version < 2 || !(switches & 1)) return hex;
  const bytes = Guarded.hex(hex);
  const checksum = crc32(bytes.ptr, bytes.size);
  bytes.free();
  return hex + hex32(checksum);
}

const SOFA_REQUEST = "com.alipay.sofa.rpc.core.request.SofaRequest";
const SOFA_RESPONSE = "com.alipay.sofa.rpc.core.response.SofaResponse";
const HELLO = map(["sofa_head_target_service", "a.Greeter:1.0", "sofa_head_method_name", "hello", "tag", "gray"]);
const CONTENT = "4e";

/** A reply with that status. */
function status(code: u32, outcome: string): Sample {
  const frame = bolt1(RESPONSE, REPLY, 9, code, "a.B", "", "");
  return answered("status " + code.toString(), frame, "response 9 % " + outcome + " {class=a.B}");
}

function many(): string {
  const pairs: string[] = [];
  for (let i = 0; i < 100; i++) {
    pairs.push("key" + i.toString());
    pairs.push(i.toString());
  }
  return map(pairs);
}

function manyExpected(): string {
  let expected = "request 7 % ~#a.B {class=a.B";
  for (let i = 0; i < 63; i++) expected += ", key" + i.toString() + "=" + i.toString();
  return expected + "} dropped";
}

const samples: Sample[] = [
  // See test/fixtures/captures/README.md.
  asked(
    "a call of SOFARPC (capture)",
    "0101000101000000020100002710002c011a00000194636f6d2e616c697061792e736f66612e7270632e636f72652e72657175657374" +
      "2e536f66615265717565737400000018736f66615f686561645f7461726765745f736572766963650000002a636f6d2e6d79636f6d70" +
      "616e792e6170702e636f6d6d6f6e2e53657276496e746572666163653a312e300000000870726f746f636f6c00000004626f6c740000" +
      "0007736572766963650000002a636f6d2e6d79636f6d70616e792e6170702e636f6d6d6f6e2e53657276496e746572666163653a312e" +
      "30000000156e65775f7270635f74726163655f636f6e746578740000003e746369643d30613232303063653136373039303032383339" +
      "353631303038313335323526737069643d302670737069643d2673616d706c653d747275652600000015736f66615f686561645f6d65" +
      "74686f645f6e616d650000000b74657374537563636573734fbc636f6d2e616c697061792e736f66612e7270632e636f72652e726571" +
      "756573742e536f666152657175657374950d7461726765744170704e616d650a6d6574686f644e616d65177461726765745365727669" +
      "6365556e697175654e616d650c7265717565737450726f70730d6d6574686f64417267536967736f904e0b7465737453756363657373" +
      "53002a636f6d2e6d79636f6d70616e792e6170702e636f6d6d6f6e2e53657276496e746572666163653a312e304d0870726f746f636f" +
      "6c04626f6c74156e65775f7270635f74726163655f636f6e7465787453003e746369643d306132323030636531363730393030323833" +
      "39353631303038313335323526737069643d302670737069643d2673616d706c653d74727565267a567400075b737472696e676e011c" +
      "636f6d2e6d79636f6d70616e792e6170702e636f6d6d6f6e2e5265717a4fac636f6d2e6d79636f6d70616e792e6170702e636f6d6d6f" +
      "6e2e52657192046e616d65036167656f911e616161616161616161616161616161616161616161616161616161616161cbe7",
    "request 2 % com.mycompany.app.common.ServInterface:1.0#testSuccess deadline=10000 {class=" +
      SOFA_REQUEST +
      ", sofa_head_target_service=com.mycompany.app.common.ServInterface:1.0, protocol=bolt, service=com.mycompany.app.common.ServInterface:1.0, new_rpc_trace_context=tcid=0a2200ce1670900283956100813525&spid=0&pspid=&sample=true&, sofa_head_method_name=testSuccess}",
  ),
  answered(
    "its reply (capture)",
    "010000020100000002010000002e0000000000a4636f6d2e616c697061792e736f66612e7270632e636f72652e726573706f6e73652e" +
      "536f6661526573706f6e73654fbe636f6d2e616c697061792e736f66612e7270632e636f72652e726573706f6e73652e536f66615265" +
      "73706f6e7365940769734572726f72086572726f724d73670b617070526573706f6e73650d726573706f6e736550726f70736f90464e" +
      "4fad636f6d2e6d79636f6d70616e792e6170702e636f6d6d6f6e2e526573709209657863657074696f6e04636f64656f910f61616161" +
      "6161616161616161616161c87b4e",
    "response 2 % ok/0/0 {class=" + SOFA_RESPONSE + "}",
  ),
  asked("a heartbeat from Java", "01010000010000000201ffffffff0000000000000000", "heartbeat 2 % ~#~"),
  answered("its answer from Java", "0100000001000000020100000000000000000000", "heartbeat_reply 2 %"),
  asked(
    "a call with a checksum from Java",
    "0202010001010000027c0101000027100014006d0000002f6f72672e6d656c74656d692e64656d6f2e41736b00000018736f66615f68" +
      "6561645f7461726765745f736572766963650000001c6f72672e6d656c74656d692e64656d6f2e477265657465723a312e3000000015" +
      "736f66615f686561645f6d6574686f645f6e616d650000000568656c6c6f0000000374616700000004677261794fa46f72672e6d656c" +
      "74656d692e64656d6f2e41736b92066d6574686f6404746578746f900568656c6c6f0366696798ee5769",
    "request 636 % org.meltemi.demo.Greeter:1.0#hello deadline=10000 {class=org.meltemi.demo.Ask, sofa_head_target_service=org.meltemi.demo.Greeter:1.0, sofa_head_method_name=hello, tag=gray}",
  ),
  answered(
    "its reply from Java",
    "0202000002010000027c0101000000170000000000346f72672e6d656c74656d692e64656d6f2e416e737765724fa76f72672e6d656c" +
      "74656d692e64656d6f2e416e73776572920474657874056572726f726f900b6669672066726f6d20763146cdf8dd05",
    "response 636 % ok/0/0 {class=org.meltemi.demo.Answer}",
  ),
  answered(
    "a reply with an exception from Java",
    "020200000201000003ac0101000000170024000000366f72672e6d656c74656d692e64656d6f2e416e7377657200000018736f66615f" +
      "686561645f726573706f6e73655f6572726f7200000004747275654fa76f72672e6d656c74656d692e64656d6f2e416e737765729204" +
      "74657874056572726f726f900d72656675736564206279207631543c9867e4",
    "response 940 % exception/1/0 {class=org.meltemi.demo.Answer, sofa_head_response_error=true}",
  ),
  asked(
    "a call",
    bolt1(REQUEST, CALL, 7, 3000, SOFA_REQUEST, HELLO, CONTENT),
    `request 7 % a.Greeter:1.0#hello deadline=3000 {class=${SOFA_REQUEST}, sofa_head_target_service=a.Greeter:1.0, sofa_head_method_name=hello, tag=gray}`,
  ),
  asked(
    "one-way, a service without a method, no timeout",
    bolt1(ONEWAY, CALL, 0xfffffffe, -1, SOFA_REQUEST, map(["service", "a.Greeter:1.0"]), ""),
    `oneway 4294967294 % a.Greeter:1.0#~ {class=${SOFA_REQUEST}, service=a.Greeter:1.0}`,
  ),
  asked(
    "bare SOFABolt",
    bolt1(REQUEST, CALL, 7, 100, "a.B", "", CONTENT),
    "request 7 % ~#a.B deadline=100 {class=a.B}",
  ),
  asked("nothing at all", bolt1(REQUEST, CALL, 7, 0, "", "", ""), "request 7 22 ~#~"),
  asked(
    "a header that is no map",
    bolt1(REQUEST, CALL, 7, 0, "a.B", "0102030405", CONTENT),
    "request 7 % ~#a.B {class=a.B} dropped",
  ),
  asked(
    "a header that promises too much",
    bolt1(REQUEST, CALL, 7, 0, "a.B", map(["a", "1"]) + "0000000162" + "00000002" + "63", CONTENT),
    "request 7 % ~#a.B {class=a.B, a=1} dropped",
  ),
  asked(
    "null, a key twice, an entry that the class hides",
    bolt1(
      REQUEST,
      CALL,
      7,
      0,
      "a.B",
      map(["a", "1"]) + text("n") + "ffffffff" + map(["class", "x", "", "y", "a", ""]),
      "",
    ),
    "request 7 % ~#a.B {class=a.B, a=, =y}",
  ),
  asked("100 entries", bolt1(REQUEST, CALL, 7, 0, "a.B", many(), ""), manyExpected()),
  asked("heartbeat", bolt1(REQUEST, HEARTBEAT, 7, 1000, "", "", ""), "heartbeat 7 22 ~#~"),
  answered("heartbeat of the server", bolt1(REQUEST, HEARTBEAT, 7, 1000, "", "", ""), "heartbeat 7 22"),
  answered("answer to a heartbeat", bolt1(RESPONSE, HEARTBEAT, 7, 0, "", "", ""), "heartbeat_reply 7 20"),
  answered("a call of the server", bolt1(REQUEST, CALL, 7, 0, "a.B", "", ""), "request 7 % {class=a.B}"),
  answered(
    "a reply",
    bolt1(RESPONSE, REPLY, 7, 0, SOFA_RESPONSE, "", CONTENT),
    `response 7 % ok/0/0 {class=${SOFA_RESPONSE}}`,
  ),
  answered(
    "a reply with an exception",
    bolt1(RESPONSE, REPLY, 7, 0, SOFA_RESPONSE, map(["a", "1", "sofa_head_response_error", "true"]), CONTENT),
    `response 7 % exception/1/0 {class=${SOFA_RESPONSE}, a=1, sofa_head_response_error=true}`,
  ),
  answered(
    "a reply without one",
    bolt1(RESPONSE, REPLY, 7, 0, SOFA_RESPONSE, map(["sofa_head_response_error", "false"]), CONTENT),
    `response 7 % ok/0/0 {class=${SOFA_RESPONSE}, sofa_head_response_error=false}`,
  ),
  status(1, "error/8/1"),
  status(2, "server_exception/1/2"),
  status(3, "unknown/8/3"),
  status(4, "server_threadpool_busy/6/4"),
  status(5, "error_comm/7/5"),
  status(6, "no_processor/3/6"),
  status(7, "timeout/5/7"),
  status(8, "client_send_error/7/8"),
  status(9, "codec_exception/2/9"),
  status(0x10, "connection_closed/7/16"),
  status(0x11, "server_serial_exception/8/17"),
  status(0x12, "server_deserial_exception/2/18"),
  status(0x13, "19/8/19"),
  status(0xffff, "-1/8/-1"),
  asked(
    "protocol 2, version 1: the switch means nothing",
    bolt2(1, 1, REQUEST, CALL, 7, 3000, SOFA_REQUEST, HELLO, CONTENT),
    `request 7 % a.Greeter:1.0#hello deadline=3000 {class=${SOFA_REQUEST}, sofa_head_target_service=a.Greeter:1.0, sofa_head_method_name=hello, tag=gray}`,
  ),
  asked(
    "protocol 2, version 2, without a checksum",
    bolt2(2, 0xfe, ONEWAY, CALL, 7, 3000, "a.B", map(["a", "1"]), CONTENT),
    "oneway 7 % ~#a.B deadline=3000 {class=a.B, a=1}",
  ),
  answered(
    "protocol 2, an error",
    bolt2(2, 0, RESPONSE, REPLY, 7, 4, "a.B", "", ""),
    "response 7 % server_threadpool_busy/6/4 {class=a.B}",
  ),
  answered(
    "protocol 2, answer to a heartbeat",
    bolt2(1, 0, RESPONSE, HEARTBEAT, 7, 0, "", "", ""),
    "heartbeat_reply 7 22",
  ),
  asked(
    "a checksum",
    bolt2(2, 1, REQUEST, CALL, 7, 3000, SOFA_REQUEST, HELLO, CONTENT.repeat(50)),
    `request 7 % a.Greeter:1.0#hello deadline=3000 {class=${SOFA_REQUEST}, sofa_head_target_service=a.Greeter:1.0, sofa_head_method_name=hello, tag=gray}`,
  ),
  answered(
    "a reply with a checksum",
    bolt2(2, 1, RESPONSE, REPLY, 7, 0, SOFA_RESPONSE, "", CONTENT),
    `response 7 % ok/0/0 {class=${SOFA_RESPONSE}}`,
  ),
  asked("a heartbeat with a checksum", bolt2(2, 1, REQUEST, HEARTBEAT, 7, 1000, "", "", ""), "heartbeat 7 28 ~#~"),
];

@final
export class SofaBoltWire extends Wire {
  constructor() {
    super("sofabolt", samples);
    this.magicBytes = 1;
    this.heartbeats = true;
    this.encodes = true;
    this.lengthBytes = 24;
  }

  setLength(p: usize, length: u64): bool {
    const second = load<u8>(p) == 2;
    const type = load<u8>(p + (second ? 2 : 1)) as u32;
    const header: u32 = (second ? 22 : 20) + (type == RESPONSE ? 0 : 2);
    const lengths = p + header - 8;
    const checked = second && load<u8>(p, 1) == 2 && (load<u8>(p, 11) & 1) != 0;
    const parts: u32 = bswap<u16>(load<u16>(lengths)) as u32;
    const least: u64 = header + parts + (bswap<u16>(load<u16>(lengths, 2)) as u32) + (checked ? 4 : 0);
    if (length < least || length - least > (u32.MAX_VALUE as u64)) return false;
    store<u32>(lengths, bswap<u32>((length - least) as u32), 4);
    return true;
  }
}
