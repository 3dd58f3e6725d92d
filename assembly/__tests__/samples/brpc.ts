import { bytes, entry, number, text } from "./protobuf";
import { answered, asked, hex32, Sample, setU32, Wire } from "./sample";

/** A frame with that RpcMeta and payload. */
export function brpc(meta: string, payload: string): string {
  const size = (meta.length >> 1) as u32;
  return "50525043" + hex32(size + ((payload.length >> 1) as u32)) + hex32(size) + meta + payload;
}

export function call(more: string): string {
  return bytes(1, text(1, "example.EchoService") + text(2, "Echo") + more);
}

const ECHO = "example.EchoService#Echo";

/** A reply with that code. */
function status(code: i64, outcome: string): Sample {
  const meta = bytes(2, number(1, code) + text(2, "why")) + number(4, 9);
  return answered("error_code " + code.toString(), brpc(meta, ""), "response 9 % " + outcome);
}

const samples: Sample[] = [
  // See test/fixtures/captures/README.md.
  asked(
    "a call (capture)",
    "5052504300000034000000270a1d0a136578616d706c652e4563686f5365727669636512044563686f1800180020828080" +
      "80100a0b68656c6c6f20776f726c64",
    "request 4294967298 64 example.EchoService#Echo {log_id=0}",
  ),
  answered(
    "its reply (capture)",
    "50525043000000190000000c120208001800208280808010" + "0a0b68656c6c6f20776f726c64",
    "response 4294967298 37 ok/0/0",
  ),
  // From Java: brpc-java 3.0.5.
  asked(
    "a call from Java",
    "505250430000004a000000420a3b0a146d656c74656d692e64656d6f2e477265657465721204496e666f18003a0e0a06636f6c6f7572120462" +
      "6c75653a0b0a03746167120467726179180020b0020a06636f6c6f7572",
    "request 304 % meltemi.demo.Greeter#Info {log_id=0, colour=blue, tag=gray}",
  ),
  answered("a reply from Java", "505250430000000f0000000912020800180020b0020a04626c7565", "response 304 % ok/0/0"),
  asked(
    "the first call from Java, whose id is 0",
    "5052504300000036000000310a2b0a146d656c74656d692e64656d6f2e4772656574657212044563686f18003a0b0a03746167120467726179" +
      "180020000a03666967",
    "request 0 % meltemi.demo.Greeter#Echo {log_id=0, tag=gray}",
  ),
  answered(
    "an exception from Java",
    "505250430000001900000019121208d10f120d72656675736564206279207631180020b202",
    "response 306 % einternal/1/2001",
  ),
  asked(
    "a call with all that it may have",
    brpc(
      call(
        number(3, -7) +
          number(4, i64.MAX_VALUE) +
          number(5, 3) +
          number(6, i64.MIN_VALUE) +
          text(7, "abc-def") +
          number(8, 1500),
      ) +
        number(3, 2) +
        number(4, -1) +
        number(5, 3) +
        bytes(7, "ff00") +
        bytes(8, number(1, 1)) +
        entry(9, "traceparent", "00-1"),
      "0102030405",
    ),
    `request 18446744073709551615 % ${ECHO} deadline=1500 {log_id=-7, trace_id=9223372036854775807, span_id=3, parent_span_id=-9223372036854775808, request_id=abc-def, traceparent=00-1}`,
  ),
  asked(
    "a call with attachments as Java writes them",
    brpc(call(number(3, 5) + entry(7, "a", "1") + entry(7, "tag", "gray")) + number(4, 70000), "00".repeat(50)),
    `request 70000 % ${ECHO} {log_id=5, a=1, tag=gray}`,
  ),
  asked(
    "keys that come twice, or are names of fields",
    brpc(
      call(number(3, 5) + number(3, 6)) +
        entry(9, "a", "1") +
        entry(9, "log_id", "9") +
        entry(9, "a", "2") +
        number(4, 7),
      "",
    ),
    `request 7 % ${ECHO} {log_id=6, a=2}`,
  ),
  asked(
    "a request in two parts",
    brpc(bytes(1, text(1, "s")) + number(4, 7) + bytes(1, text(2, "m") + number(3, 1)), ""),
    "request 7 % s#m {log_id=1}",
  ),
  asked(
    "names of other scripts",
    brpc(bytes(1, text(1, "ελ.Μελτέμι") + text(2, "茶🍵")) + number(4, 7), ""),
    "request 7 % ελ.Μελτέμι#茶🍵",
  ),
  asked("a timeout below zero", brpc(call(number(8, -1)) + number(4, 7), ""), `request 7 % ${ECHO}`),
  asked(
    "user fields that are no text",
    brpc(call("") + number(4, 7) + bytes(9, text(1, "a") + bytes(2, "ff")) + entry(9, "b", "1"), ""),
    `request 7 % ${ECHO} {b=1} dropped`,
  ),
  answered("a reply", brpc(bytes(2, "") + number(4, 7), "0a0b"), "response 7 % ok/0/0"),
  answered("a reply that says only for whom it is", brpc(number(4, 7), "0a0b"), "response 7 % ok/0/0"),
  answered(
    "a reply with user fields",
    brpc(bytes(2, number(1, 0)) + number(4, 7) + entry(9, "a", "1") + entry(9, "b", "2"), "00".repeat(64)),
    "response 7 % ok/0/0 {a=1, b=2}",
  ),
  status(1001, "enoservice/3/1001"),
  status(1002, "enomethod/3/1002"),
  status(1003, "erequest/2/1003"),
  status(1004, "erpcauth/4/1004"),
  status(1005, "etoomanyfails/8/1005"),
  status(1008, "erpctimedout/5/1008"),
  status(1009, "efailedsocket/7/1009"),
  status(1011, "eovercrowded/6/1011"),
  status(2001, "einternal/1/2001"),
  status(2002, "eresponse/8/2002"),
  status(2003, "elogoff/7/2003"),
  status(2004, "elimit/6/2004"),
  status(2005, "eclose/7/2005"),
  status(42, "42/1/42"),
  status(-1, "-1/1/-1"),
];

@final
export class BrpcWire extends Wire {
  constructor() {
    super("brpc", samples);
    this.least = 12;
    this.magicBytes = 4;
    this.idBits = 64;
    this.encodes = true;
  }

  setLength(p: usize, length: u64): bool {
    return length >= 12 && setU32(p + 4, length - 12);
  }
}
