import { answered, asked, Sample, setU32, Wire } from "./sample";

const samples: Sample[] = [
  // As APISIX's tests have them.
  asked("a heartbeat", "70700100000000000000", "heartbeat 0 10 ~#~"),
  answered("its answer, or the server's own", "70700100000000000000", "heartbeat 0 10"),
  asked("unary", "70700200000000000003414243", "request 0 13 ~#unary {type=2}"),
  answered("its reply", "70700200000000000003414243", "response 0 13 ok/0/0 {type=2}"),
  asked("a message of a stream", "7070030001000000000441424344", "request 1 14 ~#stream {type=3}"),
  answered("a reply of a stream", "7070030001000000000441424344", "response 1 14 ok/0/0 {type=3}"),
  asked("a service", "7070040000000000000361000000414243", "request 0 17 a#unary {type=4, service=a}"),
  asked(
    "a service of four letters",
    "7070040000000000000361626364414243",
    "request 0 17 abcd#unary {type=4, service=abcd}",
  ),
  answered("a reply of a service", "7070040000000000000361000000414243", "response 0 17 ok/0/0 {type=4, service=a}"),

  asked("the last id", "707002ffff0000000000", "request 65535 10 ~#unary {type=2}"),
  asked("a service without a name", "7070040007000000000000000000", "request 7 14 #unary {type=4, service=}"),
  answered("no route", "70700200073200000000", "response 7 10 50/1/50 {type=2}"),
  answered("an error with its message", "70700300073300000003776879", "response 7 13 51/1/51 {type=3}"),
];

@final
export class PingPongWire extends Wire {
  constructor() {
    super("pingpong", samples);
    this.magicBytes = 2;
    this.idBits = 16;
    this.encodes = true;
    this.least = 10;
  }

  setLength(p: usize, length: u64): bool {
    const type = load<u8>(p, 2) as u32;
    const header: u64 = type == 4 ? 14 : 10;
    return type != 1 && length >= header && setU32(p + 6, length - header);
  }
}
