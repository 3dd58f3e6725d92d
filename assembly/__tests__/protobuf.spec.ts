import { MALFORMED, Protobuf } from "../wire/protobuf";
import { Sink } from "../wire/sink";
import { bytes, entry, number, text } from "./samples/protobuf";
import { Guarded, hexOf } from "./util";

/** The fields of a message: `tag=number` or `tag:bytes`, and `bad` where one is malformed. */
function fields(hex: string): string {
  const input = Guarded.hex(hex);
  // What stands around the message must not matter.
  input.guard(0xff);
  const first = fieldsOf(input);
  input.guard(0);
  expect(fieldsOf(input)).toBe(first, hex);
  input.free();
  return first;
}

function fieldsOf(input: Guarded): string {
  let found = "";
  let at = input.ptr;
  const end = at + input.size;
  while (at < end) {
    at = Protobuf.next(at, end);
    if (at == MALFORMED) return found + "bad";
    const value = (Protobuf.tag & 7) == 0 ? "=" + Protobuf.number.toString() : ":" + hexOf(Protobuf.ptr, Protobuf.size);
    found += Protobuf.tag.toString() + value + " ";
  }
  expect(at).toBe(end, "a field that ends within the message");
  return found;
}

function varintOf(value: u64): string {
  const sink = new Sink();
  sink.varint(value);
  return hexOf(sink.ptr, sink.size);
}

describe("Protobuf", () => {
  it("steps over fields of every kind", () => {
    expect(fields("")).toBe("");
    expect(fields("0800")).toBe("8=0 ");
    expect(fields("08ac02" + "1203616263" + "1d01020304" + "210102030405060708")).toBe(
      "8=300 18:616263 29:01020304 33:0102030405060708 ",
    );
    expect(fields("1200")).toBe("18: ");
    expect(fields(number(1, -1))).toBe("8=18446744073709551615 ");
    expect(fields(number(536870911, 5))).toBe("4294967288=5 ");
  });

  it("takes numbers that are longer than they need be", () => {
    expect(fields("088500")).toBe("8=5 ");
    expect(fields("8800" + "05")).toBe("8=5 ");
    expect(fields("128300" + "616263")).toBe("18:616263 ");
    expect(fields("0880808080808080808001")).toBe("8=9223372036854775808 ");
  });

  it("refuses what does not end in time", () => {
    const whole = "08ac02" + "1203616263" + "1d01020304" + "210102030405060708" + "aa068001" + "00".repeat(128);
    for (let size = 2; size < whole.length; size += 2) {
      const read = fields(whole.substring(0, size));
      const ends = size == 6 || size == 16 || size == 26 || size == 44;
      expect(read.endsWith("bad")).toBe(!ends, size.toString());
    }
    expect(fields("12ffffffff0f")).toBe("bad");
    expect(fields("12ffffffffffffffffff01")).toBe("bad");
    expect(fields("12808080808080808080")).toBe("bad");
  });

  it("refuses numbers beyond 64 bits, and tags beyond 32", () => {
    expect(fields("08ffffffffffffffffff02")).toBe("bad");
    expect(fields("08ffffffffffffffffffff01")).toBe("bad");
    expect(fields("8880808010" + "00")).toBe("bad");
  });

  it("refuses groups, kinds that do not exist and field 0", () => {
    expect(fields("0b0800" + "0c")).toBe("bad");
    expect(fields("0c")).toBe("bad");
    expect(fields("0e00")).toBe("bad");
    expect(fields("0f00")).toBe("bad");
    expect(fields("0000")).toBe("bad");
    expect(fields("0200")).toBe("bad");
    expect(fields("0800" + "0b")).toBe("8=0 bad");
  });

  it("reads entries of maps: the last key and value, or empty ones", () => {
    const read = (hex: string): string => {
      const input = Guarded.hex(hex);
      Protobuf.next(input.ptr, input.ptr + input.size);
      if (!Protobuf.entry()) return "bad";
      return hexOf(Protobuf.key, Protobuf.keySize) + "=" + hexOf(Protobuf.value, Protobuf.valueSize);
    };
    expect(read(entry(9, "a", "bc"))).toBe("61=6263");
    expect(read(bytes(9, text(2, "bc") + text(1, "a")))).toBe("61=6263");
    expect(read(bytes(9, text(1, "x") + number(3, 7) + text(1, "a") + text(2, "")))).toBe("61=");
    expect(read(bytes(9, ""))).toBe("=");
    expect(read(bytes(9, number(1, 5)))).toBe("=");
    expect(read(bytes(9, "0a05" + "61"))).toBe("bad");
    expect(read(bytes(9, "00"))).toBe("bad");
  });

  it("knows how long numbers are", () => {
    for (let shift: u64 = 0; shift < 64; shift++) {
      const value: u64 = (1 as u64) << shift;
      expect(Protobuf.sizeOf(value)).toBe(varintOf(value).length >> 1);
      expect(Protobuf.sizeOf(value - 1)).toBe(varintOf(value - 1).length >> 1);
    }
    expect(Protobuf.sizeOf(u64.MAX_VALUE)).toBe(10);
  });

  it("writes what it reads", () => {
    const sink = new Sink();
    const a = Guarded.text("a");
    const long = Guarded.text("x".repeat(300));
    Protobuf.writeNumber(sink, 8, 300);
    const start = sink.size;
    Protobuf.writeBytes(sink, 18, long.ptr, long.size);
    Protobuf.writeEntry(sink, 74, a.ptr, a.size, long.ptr, long.size);
    Protobuf.wrap(sink, start, (20 << 3) | 2);
    const inner = bytes(2, "78".repeat(300)) + entry(9, "a", "x".repeat(300));
    expect(hexOf(sink.ptr, sink.size)).toBe(number(1, 300) + bytes(20, inner));
    for (let limit: u32 = 0; limit < 700; limit++) {
      const small = new Sink(limit);
      Protobuf.writeBytes(small, 18, long.ptr, long.size);
      Protobuf.writeEntry(small, 74, a.ptr, a.size, long.ptr, long.size);
      Protobuf.wrap(small, 0, (20 << 3) | 2);
      expect(small.size <= limit && (small.full || small.size == (inner.length >> 1) + 4)).toBe(true);
    }
  });
});
