import { answered, asked, hex8, hex16, hex32, hexText, Sample, setU32, Wire } from "./sample";

/** Types of messages. */
export const CALL: u32 = 1;
export const REPLY: u32 = 2;
export const EXCEPTION: u32 = 3;
export const ONEWAY: u32 = 4;

function size(hex: string): u32 {
  return hex.length >> 1;
}

/** Text with its length in 4 bytes. */
export function text(value: string): string {
  const utf8 = hexText(value);
  return hex32(size(utf8)) + utf8;
}

export function varint(value: u64): string {
  let hex = "";
  for (; value > 127; value >>= 7) hex += hex8((value as u32 & 127) | 128);
  return hex + hex8(value as u32);
}

/** Text with its length as a varint. */
export function short(value: string): string {
  const utf8 = hexText(value);
  return varint(size(utf8)) + utf8;
}

/** A message in the binary protocol. */
export function binary(type: u32, id: u32, name: string, body: string): string {
  return "800100" + hex8(type) + text(name) + hex32(id) + body;
}

/** A message as the binary protocol had it before it had a version. */
export function old(type: u32, id: u32, name: string, body: string): string {
  return text(name) + hex8(type) + hex32(id) + body;
}

/** A message in the compact protocol. */
export function compact(type: u32, id: u32, name: string, body: string): string {
  return "82" + hex8((type << 5) | 1) + varint(id) + short(name) + body;
}

export function framed(message: string): string {
  return hex32(size(message)) + message;
}

/** A block of key-value headers. */
export function infos(pairs: string[]): string {
  let hex = "01" + varint(pairs.length >> 1);
  for (let i = 0; i < pairs.length; i++) hex += short(pairs[i]);
  return hex;
}

/** A THeader frame; `header` begins with the protocol and is filled up to a whole word. */
export function headed(id: u32, header: string, message: string): string {
  while (size(header) & 3) header += "00";
  return framed("0fff0000" + hex32(id) + hex16(size(header) >> 2) + header + message);
}

/** The struct of a TApplicationException in the binary protocol. */
export function failure(message: string, type: u32): string {
  return "0b0001" + text(message) + "080002" + hex32(type) + "00";
}

/** The same in the compact protocol. */
export function compactFailure(message: string, type: u32): string {
  return "18" + short(message) + "15" + varint(type << 1) + "00";
}

/** Arguments: field 1 is a string, 2 a list of two structs with an i32 each, 3 a map, 4 true. */
const ARGUMENTS =
  "0b0001" +
  text("fig") +
  "0f00020c00000002" +
  "08000100000007" +
  "00" +
  "00" +
  "0d00030b0a00000001" +
  text("k") +
  "0000000000000001" +
  "02000401" +
  "00";
/** The same in the compact protocol. */
const COMPACT_ARGUMENTS = "18" + short("fig") + "192c" + "150e00" + "00" + "1b0186" + short("k") + "02" + "1100";
const NOTHING = "00";

const framedSamples: Sample[] = [
  // From Node: Apache's library; from Python: thriftpy2, and Apache's where there is a THeader.
  asked("a call from Node", "0000001c800100010000000568656c6c6f000000010b00010000000366696700", "request 1 % ~#hello"),
  asked(
    "one of many services from Node",
    "000000148281070c477265657465723a6e6f746518017800",
    "oneway 7 % Greeter#note",
  ),
  answered(
    "a failure from Node",
    "00000016826105046661696c18096974206661696c6564150c00",
    "response 5 % internal_error/8/6",
  ),
  asked(
    "a call without a version from Node",
    "000000190000000568656c6c6f01000000010b00010000000366696700",
    "request 1 % ~#hello",
  ),
  answered(
    "an exception from Python",
    "00000027800100020000000568656c6c6f000000000c00010b00010000000a6e6f74206e6f626f64790000",
    "response 0 % exception/1/1",
  ),
  answered(
    "a failure without words from Python",
    "0000001b80010003000000076d697373696e67000000000800020000000100",
    "response 0 % unknown_method/3/1",
  ),
  asked(
    "a THeader from Python",
    "000000360fff000000000007000400000101057472616365036669670000800100010000000568656c6c6f000000070b00010000000366" +
      "696700",
    "request 7 % ~#hello {trace=fig}",
  ),
  answered(
    "a reply with a THeader from Python",
    "000000440fff000000000007000400000101057472616365036669670000800100020000000568656c6c6f000000070b00000000001168" +
      "656c6c6f206669672066726f6d20763100",
    "response 7 % ok/0/0 {trace=fig}",
  ),
  asked("binary", framed(binary(CALL, 7, "hello", ARGUMENTS)), "request 7 % ~#hello"),
  asked("one-way, a large id", framed(binary(ONEWAY, 0xfffffffe, "note", NOTHING)), "oneway 4294967294 % ~#note"),
  asked("one of many services", framed(binary(CALL, 1, "Greeter:hello", NOTHING)), "request 1 % Greeter#hello"),
  asked("two colons, other scripts", framed(binary(CALL, 1, "ελ:μ:茶", NOTHING)), "request 1 % ελ#μ:茶"),
  asked("no names beside a colon", framed(binary(CALL, 1, ":", NOTHING)), "request 1 % #"),
  asked("no name", framed(binary(CALL, 1, "", NOTHING)), "request 1 % ~#"),
  asked("compact", framed(compact(CALL, 7, "hello", COMPACT_ARGUMENTS)), "request 7 % ~#hello"),
  asked("compact, a large id", framed(compact(ONEWAY, 300, "S:note", NOTHING)), "oneway 300 % S#note"),
  asked("binary without version", framed(old(CALL, 7, "Greeter:hello", ARGUMENTS)), "request 7 % Greeter#hello"),
  answered("a string", framed(binary(REPLY, 7, "hello", "0b0000" + text("hi fig") + "00")), "response 7 % ok/0/0"),
  answered("nothing", framed(binary(REPLY, 7, "note", NOTHING)), "response 7 % ok/0/0"),
  answered("an exception", framed(binary(REPLY, 7, "f", "0c0002" + "00" + "00")), "response 7 % exception/1/2"),
  answered("compact, a string", framed(compact(REPLY, 7, "hello", "0800" + short("hi") + "00")), "response 7 % ok/0/0"),
  answered("compact, false", framed(compact(REPLY, 7, "hello", "020000")), "response 7 % ok/0/0"),
  answered("compact, nothing", framed(compact(REPLY, 7, "hello", NOTHING)), "response 7 % ok/0/0"),
  answered("compact, an exception", framed(compact(REPLY, 7, "f", "2c0000")), "response 7 % exception/1/2"),
  answered("compact, exception 300", framed(compact(REPLY, 7, "f", "0cd8040000")), "response 7 % exception/1/300"),
  answered("old, a string", framed(old(REPLY, 7, "hello", "0b0000" + text("hi fig") + "00")), "response 7 % ok/0/0"),
  answered("old, a failure", framed(old(EXCEPTION, 7, "f", failure("", 7))), "response 7 % protocol_error/2/7"),
  failed(0, "unknown_exception/8/0"),
  failed(1, "unknown_method/3/1"),
  failed(2, "invalid_message_type/2/2"),
  failed(3, "wrong_method_name/3/3"),
  failed(4, "bad_sequence_id/2/4"),
  failed(5, "missing_result/8/5"),
  failed(6, "internal_error/8/6"),
  failed(7, "protocol_error/2/7"),
  failed(8, "invalid_transform/2/8"),
  failed(9, "invalid_protocol/2/9"),
  failed(10, "unsupported_client_type/2/10"),
  failed(11, "11/8/11"),
  failed(u32.MAX_VALUE, "-1/8/-1"),
  answered(
    "a failure, its fields in another order",
    framed(binary(EXCEPTION, 7, "f", "080002000000060b0001" + text("why") + "00")),
    "response 7 % internal_error/8/6",
  ),
  answered(
    "a failure that says nothing",
    framed(binary(EXCEPTION, 7, "", NOTHING)),
    "response 7 % unknown_exception/8/0",
  ),
  answered(
    "a failure whose type is no number",
    framed(binary(EXCEPTION, 7, "f", "0b0002" + text("why") + "00")),
    "response 7 % unknown_exception/8/0",
  ),
  answered(
    "a failure that tells too much",
    framed(binary(EXCEPTION, 7, "f", failure("x".repeat(3000), 6))),
    "response 7 % unknown_exception/8/0",
  ),
  answered(
    "compact, a failure",
    framed(compact(EXCEPTION, 7, "f", compactFailure("why", 1))),
    "response 7 % unknown_method/3/1",
  ),
  asked(
    "THeader, binary",
    headed(7, "0000" + infos(["trace", "fig", "empty", ""]), binary(CALL, 7, "hello", ARGUMENTS)),
    "request 7 % ~#hello {trace=fig, empty=}",
  ),
  asked(
    "THeader, compact, two blocks, a key twice",
    headed(300, "0200" + infos(["a", "1", "b", "2"]) + infos(["a", "3"]), compact(ONEWAY, 300, "S:note", NOTHING)),
    "oneway 300 % S#note {a=3, b=2}",
  ),
  asked("THeader without infos", headed(7, "0000", binary(CALL, 7, "hello", NOTHING)), "request 7 % ~#hello"),
  asked(
    "THeader, a block of a kind that is not known",
    headed(7, "0000" + infos(["a", "1"]) + "0201016101620101630164", binary(CALL, 7, "hello", NOTHING)),
    "request 7 % ~#hello {a=1} dropped",
  ),
  asked(
    "THeader, more promised than there are",
    headed(7, "0000" + "01051f", binary(CALL, 7, "hello", NOTHING)),
    "request 7 % ~#hello dropped",
  ),
  asked("THeader, 100 infos", headed(7, "0000" + manyInfos(), binary(CALL, 7, "m", NOTHING)), manyExpected()),
  answered(
    "THeader, a reply",
    headed(7, "0000" + infos(["load", "3"]), binary(REPLY, 7, "hello", "0b0000" + text("hi") + "00")),
    "response 7 % ok/0/0 {load=3}",
  ),
  answered(
    "THeader, compact, a failure",
    headed(7, "0200", compact(EXCEPTION, 7, "f", compactFailure("why", 6))),
    "response 7 % internal_error/8/6",
  ),
];

function failed(type: u32, outcome: string): Sample {
  const frame = framed(binary(EXCEPTION, 7, "f", failure("why", type)));
  return answered("failure " + type.toString(), frame, "response 7 % " + outcome);
}

function manyInfos(): string {
  const pairs: string[] = [];
  for (let i = 0; i < 100; i++) {
    pairs.push("key" + i.toString());
    pairs.push(i.toString());
  }
  return infos(pairs);
}

function manyExpected(): string {
  let expected = "request 7 % ~#m {";
  for (let i = 0; i < 64; i++) expected += (i ? ", key" : "key") + i.toString() + "=" + i.toString();
  return expected + "} dropped";
}

/** Framed messages, with and without a THeader. */
@final
export class ThriftWire extends Wire {
  constructor() {
    super("thrift", framedSamples);
    this.encodes = true;
    this.least = 9;
  }

  setLength(p: usize, length: u64): bool {
    // The first bit of a length is 0.
    return length >= 4 && length - 4 <= (i32.MAX_VALUE as u64) && setU32(p, length - 4);
  }
}

const unframedSamples: Sample[] = [
  asked("a call from Node", "8221010568656c6c6f180366696700", "request 1 % ~#hello"),
  asked(
    "all kinds of fields from Python",
    "80010001000000056f72646572000000000c000102000101030002fd060003fed40800047fffffff0a000580000000000000000400063f" +
      "b999999999999a0b000700000004f09f8db50b000800000100000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d" +
      "1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f5051525354" +
      "55565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b" +
      "8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2" +
      "c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9" +
      "fafbfcfdfeff0f00090c000000020b0001000000036669670400023ff800000000000008000300000002000b000100000008cf83cf8dce" +
      "bacebf0400028000000000000000000e000a0800000001000000010d000b0b0a0000000200000003666967000001000000000000000000" +
      "ffffffffffffffff0d000c080f00000002000000070c000000020b0001000000036669670400023ff80000000000000800030000000200" +
      "0b000100000008cf83cf8dcebacebf040002800000000000000000ffffffff0c000000000f000d02000000280100010001000100010001" +
      "00010001000100010001000100010001000100010001000100010001000f000e0f000000030a000000020000000000000001ffffffffff" +
      "ffffff0a000000000a0000000140000000000000000c000f02000100080004ffffffff0f00090c000000000d000b0b0a000000000f000d" +
      "0200000000000b002800000003656e640000",
    "request 0 % ~#order",
  ),
  answered(
    "all kinds of fields from Python, compact",
    "824100056f726465720c001113fd14d70415feffffff0f16ffffffffffffffffff01179a9999999999b93f1804f09f8db5188002000102" +
      "030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30313233343536373839" +
      "3a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f70" +
      "7172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7" +
      "a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcddde" +
      "dfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff192c180366696717000000000000f83f1504001808cf" +
      "83cf8dcebacebf170000000000000080001a15021b02860366696780808080804000011b02590e2c180366696717000000000000f83f15" +
      "04001808cf83cf8dcebacebf17000000000000008000010c19f12801020102010201020102010201020102010201020102010201020102" +
      "01020102010201020102010219392602010616808080808080808080011c123501590c2b00290100085003656e640000",
    "response 0 % ok/0/0",
  ),
  answered("a failure without words from Python", "826100076d697373696e67250200", "response 0 % unknown_method/3/1"),
  asked("binary", binary(CALL, 7, "hello", ARGUMENTS), "request 7 % ~#hello"),
  asked("one-way", binary(ONEWAY, 0xfffffffe, "S:note", NOTHING), "oneway 4294967294 % S#note"),
  asked("compact", compact(CALL, 7, "hello", COMPACT_ARGUMENTS), "request 7 % ~#hello"),
  asked("binary without version", old(CALL, 7, "hello", ARGUMENTS), "request 7 % ~#hello"),
  asked("the shortest", compact(CALL, 0, "", NOTHING), "request 0 % ~#"),
  asked(
    "every type",
    binary(
      CALL,
      7,
      "f",
      "020001010300027f0600030001080004000000010a000500000000000000010400064000000000000000" +
        "0b0007" +
        text("x") +
        "0c0008" +
        "0c0001" +
        "00" +
        "00" +
        "0d0009" +
        "0b0c00000002" +
        text("a") +
        "00" +
        text("b") +
        "0200010100" +
        "0e000a" +
        "0600000003000100020003" +
        "0f000b" +
        "0f00000002" +
        "0b00000001" +
        text("y") +
        "0b00000000" +
        "0d000c" +
        "080a00000001" +
        "000000010000000000000002" +
        "0d000d" +
        "000000000000" +
        "10000e" +
        "00112233445566778899aabbccddeeff" +
        "00",
    ),
    "request 7 % ~#f",
  ),
  asked(
    "compact, every type",
    compact(
      CALL,
      7,
      "f",
      "11" +
        "12" +
        "137f" +
        "140e" +
        "158001" +
        "16feffffffffffffffff01" +
        "170000000000000040" +
        "18" +
        short("x") +
        "1c" +
        "1c00" +
        "00" +
        "1b02" +
        "8c" +
        short("a") +
        "00" +
        short("b") +
        "1100" +
        "1a35" +
        "020406" +
        "1929" +
        "18" +
        short("y") +
        "08" +
        "1b01" +
        "37" +
        "01" +
        "0000000000000040" +
        "1b00" +
        "19f3" +
        "0f" +
        "000102030405060708090a0b0c0d0e" +
        "1921" +
        "0102" +
        "1d" +
        "00112233445566778899aabbccddeeff" +
        "05c801" +
        "02" +
        "00",
    ),
    "request 7 % ~#f",
  ),
  answered("a string", binary(REPLY, 7, "hello", "0b0000" + text("hi fig") + "00"), "response 7 % ok/0/0"),
  answered(
    "an exception",
    binary(REPLY, 7, "f", "0c0001" + "0b0001" + text("why") + "00" + "00"),
    "response 7 % exception/1/1",
  ),
  answered(
    "compact, an exception",
    compact(REPLY, 7, "f", "1c18" + short("why") + "0000"),
    "response 7 % exception/1/1",
  ),
  answered("a failure", binary(EXCEPTION, 7, "f", failure("why", 1)), "response 7 % unknown_method/3/1"),
  answered(
    "compact, a failure that tells too much",
    compact(EXCEPTION, 7, "f", compactFailure("x".repeat(3000), 1)),
    "response 7 % unknown_exception/8/0",
  ),
  answered("old, nothing", old(REPLY, 7, "hello", NOTHING), "response 7 % ok/0/0"),
];

/** Messages that follow each other without a length. */
@final
export class ThriftUnframedWire extends Wire {
  constructor() {
    super("thrift", unframedSamples);
  }

  get hasLength(): bool {
    return false;
  }

  setLength(_p: usize, _length: u64): bool {
    return false;
  }
}
