import { answered, asked, hex8, hex16, hex32, Sample, Wire } from "./sample";

/** A frame with that version, flow, cmd, code and sub_cmd, uid, extension and body. */
export function qza(flow: u32, cmd: i32, code: i32, sub: i32, uid: u32, extension: string, body: string): string {
  const extend = (extension.length >> 1) as u32;
  const length = 106 + extend + ((body.length >> 1) as u32);
  return (
    "02" +
    hex32(flow) +
    hex16(length) +
    hex16(cmd) +
    hex16(code) +
    "01" + // detail version
    "03" + // platform
    hex32(1000) + // app
    hex32(0xfffffffe) + // source
    "00".repeat(23) +
    "7f000001" + // request ip
    "00000000" + // ptlogin id
    "0000" + // auth type
    hex8(extend >> 8) +
    "00" +
    "00".repeat(5) +
    "ff" + // alpha
    "ffff" + // login state
    hex16(sub) +
    "7f000001" + // client ip
    hex32(12) + // host uin
    hex32(uid) +
    "00".repeat(25) +
    hex16(length >> 16) +
    hex8(extend) +
    extension +
    body
  );
}

const REST = "host_uin=12, app=1000, source=4294967294, platform=3, alpha=-1, login_state=65535}";

const samples: Sample[] = [
  asked("a call", qza(7, 153, 0, 1, 10001, "", ""), `request 7 % ~#153 {cmd=153, sub_cmd=1, uid=10001, ${REST}`),
  asked(
    "the ends of numbers",
    qza(0xfffffffe, -1, 0, -32768, 0xffffffff, "", "616263"),
    `request 4294967294 % ~#-1 {cmd=-1, sub_cmd=-32768, uid=4294967295, ${REST}`,
  ),
  asked(
    "an extension and a body",
    qza(1, 32767, 0, 2, 0, "aabbcc", "00".repeat(80)),
    `request 1 % ~#32767 {cmd=32767, sub_cmd=2, uid=0, ${REST}`,
  ),
  asked(
    "a long extension",
    qza(1, 5, 0, 2, 0, "ee".repeat(300), "00".repeat(10)),
    `request 1 % ~#5 {cmd=5, sub_cmd=2, uid=0, ${REST}`,
  ),
  answered(
    "a reply",
    qza(7, 153, 0, 1, 10001, "", "6162"),
    `response 7 % ok/0/0 {cmd=153, sub_cmd=1, uid=10001, ${REST}`,
  ),
  answered("no route", qza(7, 153, 50, 1, 1, "", ""), `response 7 % 50/1/50 {cmd=153, sub_cmd=1, uid=1, ${REST}`),
  answered(
    "an error",
    qza(7, 1, -32768, 1, 1, "", ""),
    `response 7 % -32768/1/-32768 {cmd=1, sub_cmd=1, uid=1, ${REST}`,
  ),
];

@final
export class QzaWire extends Wire {
  constructor() {
    super("qza", samples);
    this.encodes = true;
    this.least = 106;
  }

  setLength(p: usize, length: u64): bool {
    if (length > (u32.MAX_VALUE as u64)) return false;
    store<u16>(p, bswap<u16>(length as u16), 5);
    store<u16>(p, bswap<u16>((length >> 16) as u16), 103);
    return true;
  }
}
