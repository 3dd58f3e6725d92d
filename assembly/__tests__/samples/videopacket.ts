import { answered, asked, hex8, hex16, hex32, hexText, Sample, setU32, Wire } from "./sample";

/** A frame with that command in its header, and that VideoCommHeader. */
export function videopacket(command: u32, header: string): string {
  return (
    "26" + hex32(17 + ((header.length >> 1) as u32)) + "01" + "00" + hex16(command) + "00".repeat(7) + header + "28"
  );
}

/** A text of JCE. */
export function text(tag: u32, value: string): string {
  const utf8 = hexText(value);
  const size = (utf8.length >> 1) as u32;
  return size < 256 ? hex8((tag << 4) | 6) + hex8(size) + utf8 : hex8((tag << 4) | 7) + hex32(size) + utf8;
}

export function struct(tag: u32, fields: string): string {
  return hex8((tag << 4) | 10) + fields + "0b";
}

/** uin 10001, that command, service type 2, version 3; then caller 70000, that id (fields of JCE) and sub command 5. */
export function basic(command: string, result: string, id: string, more: string): string {
  return struct(0, "012711" + command + "2002" + "3003" + result + "5200011170" + id + "7005" + more);
}

const ACCESS = struct(1, "0c" + text(5, "cgi") + "f013" + "07");
const TOKENS = "2900" + "02" + struct(0, text(1, "app") + "2009" + text(3, "token")) + struct(0, "");

function route(from: string, to: string, func: string): string {
  return struct(7, text(0, from) + "1001" + text(2, to) + "3c" + text(4, func) + text(5, "main"));
}

const ALL = "service_type=2, caller_id=70000, uin=10001";

function result(code: u32, outcome: string): Sample {
  const field = code ? hex8(0x40) + hex8(code) : "4c";
  const frame = videopacket(258, basic("110102", field, "6007", "") + struct(1, ""));
  return answered("Result " + code.toString(), frame, `response 7 % ${outcome} {command=258, sub_cmd=5, ${ALL}}`);
}

const samples: Sample[] = [
  asked(
    "a call",
    videopacket(
      258,
      basic("110102", "4c", "6007", "8c") + ACCESS + TOKENS + text(3, "body") + route("web", "trpc.video.Play", "/Get"),
    ),
    `request 7 % ~#258 {command=258, sub_cmd=5, ${ALL}, from_server=web, to_server=trpc.video.Play, func=/Get}`,
  ),
  asked(
    "a large body, every type, a long id",
    videopacket(
      0xe801,
      basic("11e801", "4c", "637fffffffffffffff", "8c") +
        ACCESS +
        text(3, "x".repeat(300)) +
        // 4 a list of numbers, 5 a struct in a struct in a map, 6 floats, 2 bytes and a tag of two bytes.
        "4900" +
        "04" +
        "00ff" +
        "01ffff" +
        "02ffffffff" +
        "0c" +
        "5800" +
        "01" +
        text(0, "k") +
        struct(1, struct(0, "1800" + "00")) +
        struct(6, "0440000000" + "154000000000000000" + "2d00" + "0003" + "010203" + "f6f001" + "41") +
        route("", "σύκο", "f".repeat(300)) +
        struct(9, ""),
    ),
    `request 9223372036854775807 % ~#59393 {command=59393, sub_cmd=5, ${ALL}, from_server=, to_server=σύκο, func=${"f".repeat(300)}}`,
  ),
  asked(
    "nobody, nothing asked",
    videopacket(0, struct(0, "6c") + struct(1, "")),
    "request 0 % ~#0 {command=0, sub_cmd=0, service_type=0, caller_id=0, uin=0}",
  ),
  asked(
    "negative where it is unsigned",
    videopacket(0xffff, struct(0, "03ffffffffffffffff" + "10ff" + "20ff" + "50ff" + "60ff" + "70ff")),
    "request 18446744073709551615 % ~#65535 {command=65535, sub_cmd=-1, service_type=255, caller_id=4294967295, uin=-1}",
  ),
  asked(
    "no ServerRoute, but what comes behind it",
    videopacket(1, basic("1001", "4c", "610100", "") + ACCESS + text(3, "body") + "9800" + "0c"),
    `request 256 % ~#1 {command=1, sub_cmd=5, ${ALL}}`,
  ),
  asked(
    "a ServerRoute that is none",
    videopacket(1, basic("1001", "4c", "6001", "") + text(7, "route")),
    `request 1 % ~#1 {command=1, sub_cmd=5, ${ALL}} dropped`,
  ),
  asked(
    "more promised than there is",
    videopacket(1, basic("1001", "4c", "6001", "") + "2902" + "7fffffff"),
    `request 1 % ~#1 {command=1, sub_cmd=5, ${ALL}} dropped`,
  ),
  answered(
    "a reply, with a body",
    videopacket(258, basic("110102", "4c", "6007", "8c") + ACCESS + text(3, "body")),
    `response 7 % ok/0/0 {command=258, sub_cmd=5, ${ALL}}`,
  ),
  result(1, "fail/1/1"),
  result(3, "err_timeout_proxy/5/3"),
  result(4, "err_interface_mass_request/6/4"),
  result(5, "err_forbidden/4/5"),
  result(6, "err_user_mass_request/6/6"),
  result(8, "err_deliver_fail/7/8"),
  result(9, "err_session_refuse/6/9"),
  result(10, "err_invalid_argument/2/10"),
  result(11, "err_packet_overlength/2/11"),
  result(12, "err_invalid_uin/2/12"),
  result(13, "err_out_of_service_uin/7/13"),
  result(18, "err_inactive_uin/4/18"),
  result(22, "err_sys_maintain/7/22"),
  result(99, "99/1/99"),
  answered(
    "a result of the service",
    videopacket(1, basic("1001", "42ffff0000", "6001", "")),
    `response 1 % -65536/1/-65536 {command=1, sub_cmd=5, ${ALL}}`,
  ),
];

@final
export class VideoPacketWire extends Wire {
  constructor() {
    super("videopacket", samples);
    this.magicBytes = 1;
    this.idBits = 64;
    this.encodes = true;
    this.least = 19;
  }

  setLength(p: usize, length: u64): bool {
    return setU32(p + 1, length);
  }
}
