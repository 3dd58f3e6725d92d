import { answered, asked, Sample, setU32, Wire } from "./sample";

const samples: Sample[] = [
  asked("a call", "01000000070000000d00090000", "request 7 13 ~#9 {cmd=9}"),
  asked("a call with a body", "01fffffffe00000010ffff0000616263", "request 4294967294 16 ~#-1 {cmd=-1}"),
  answered("a reply", "01000000070000000f000900006162", "response 7 15 ok/0/0 {cmd=9}"),
  answered("an error", "01000000070000000d00098000", "response 7 13 -32768/1/-32768 {cmd=9}"),
];

@final
export class AwesomeRpcWire extends Wire {
  constructor() {
    super("awesomerpc", samples);
    this.least = 13;
  }

  setLength(p: usize, length: u64): bool {
    return setU32(p + 5, length);
  }
}
