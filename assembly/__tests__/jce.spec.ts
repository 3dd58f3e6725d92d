import { JCE_INVALID, Jce, JceType } from "../wire/jce";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Guarded, hexOf, Random } from "./util";

const slice = Slice.make();

/** Steps over one value with its head: `tag/type` and how many bytes are left, `needs N` in all, or `invalid`. */
function step(hex: string, n: i32 = -1, whole: i32 = -1): string {
  const input = Guarded.hex(hex);
  const there: u32 = n < 0 ? input.size : n;
  Jce.start(input.ptr, there, whole < 0 ? input.size : whole, input.ptr);
  let look = Jce.head();
  const head = `${Jce.tag}/${Jce.type as i32}`;
  if (!look) look = Jce.skip();
  if (look == JCE_INVALID) return "invalid";
  if (look > 0) return `needs ${look}`;
  return `${head} ${input.ptr + input.size - Jce.at}`;
}

function integer(hex: string): string {
  const input = Guarded.hex(hex);
  Jce.start(input.ptr, input.size, input.size, input.ptr);
  const look = Jce.head() || Jce.int();
  return look ? look.toString() : Jce.value.toString();
}

function text(hex: string): string {
  const input = Guarded.hex(hex);
  Jce.start(input.ptr, input.size, input.size, input.ptr);
  const look = Jce.head() || Jce.text(slice);
  return look ? look.toString() : slice.text();
}

describe("JCE", () => {
  it("has integers of any length", () => {
    expect(integer("0c")).toBe("0");
    expect(integer("1080")).toBe("-128");
    expect(integer("11ff7f")).toBe("-129");
    expect(integer("1280000000")).toBe("-2147483648");
    expect(integer("137fffffffffffffff")).toBe("9223372036854775807");
    expect(integer("060141")).toBe("-1");
    expect(integer("1180")).toBe("-1");
  });

  it("has texts of two kinds", () => {
    expect(text("0603666967")).toBe("fig");
    expect(text("0700000003666967")).toBe("fig");
    expect(text("0600")).toBe("");
    expect(text("0c")).toBe("-1");
    expect(text("0604666967")).toBe("-1");
    expect(text("07ffffffff666967")).toBe("-1");
  });

  it("has tags of up to 255", () => {
    expect(step("ec")).toBe("14/12 0");
    expect(step("fc0f")).toBe("15/12 0");
    expect(step("fcff")).toBe("255/12 0");
    expect(step("fc", 1, 2)).toBe("needs 2");
  });

  it("is stepped over, whatever it is", () => {
    expect(step("0001")).toBe("0/0 0");
    expect(step("010001")).toBe("0/1 0");
    expect(step("0240000000")).toBe("0/2 0");
    expect(step("034000000000000000")).toBe("0/3 0");
    expect(step("0440000000aa")).toBe("0/4 1");
    expect(step("054000000000000000aa")).toBe("0/5 1");
    expect(step("0601aaaa")).toBe("0/6 1");
    expect(step("0700000001aaaa")).toBe("0/7 1");
    expect(step("080c")).toBe("0/8 0");
    expect(step("0800020601610c0601621001")).toBe("0/8 0");
    expect(step("090c")).toBe("0/9 0");
    expect(step("0900030001010203060161")).toBe("0/9 0");
    expect(step("0a0bff")).toBe("0/10 1");
    expect(step("0a1a2a0b0b0bff")).toBe("0/10 1");
    expect(step("0d000c")).toBe("0/13 0");
    expect(step("0d000003aabbccdd")).toBe("0/13 1");
  });

  it("is invalid where it cannot be", () => {
    const cases: string[] = [
      "0b", // the end of no struct
      "0e", // types that do not exist
      "0f",
      "0900010b", // the end of no struct, in a list
      "080001060161", // a key without a value
      "0900ff", // less than nothing
      "09060161", // as many as a text
      "0d010000", // bytes that are no bytes
      "0d0000ff", // less than nothing of them
      "09027fffffff", // more than there are
      "0802800000000c",
      "0a0001", // no end
      "0903000000010000000000000000", // more than an i32 can say
    ];
    for (let i = 0; i < cases.length; i++) expect(step(cases[i])).toBe("invalid", cases[i]);
  });

  it("is nested so far and not farther", () => {
    expect(step("0a".repeat(64) + "0b".repeat(64))).toBe("0/10 0");
    expect(step("0a".repeat(65) + "0b".repeat(65))).toBe("invalid");
    expect(step("090001".repeat(64) + "0c")).toBe("0/9 0");
    expect(step("090001".repeat(65) + "0c")).toBe("invalid");
    // Side by side is not nested.
    expect(step("0a" + "0a0b".repeat(300) + "0b")).toBe("0/10 0");
  });

  it("asks for what it needs, and for no more than there can be", () => {
    const hex = "0a0603616263" + "18000106016b0a0c0b" + "2d000004aabbccdd" + "0b";
    const size = hex.length >> 1;
    let ready = size;
    for (let n = size - 1; n >= 0; n--) {
      const answer = step(hex, n);
      expect(answer.startsWith("needs ")).toBe(true);
      const needs = I32.parseInt(answer.substring(6));
      expect(needs > n && needs <= ready).toBe(true);
      expect(step(hex, n, n)).toBe("invalid");
      ready = needs;
    }
    expect(step(hex)).toBe("0/10 0");
  });

  it("is written as short as it can be", () => {
    const sink = new Sink();
    const values: i64[] = [0, -1, 127, -128, 128, -129, 32767, 32768, i32.MIN_VALUE, 2147483648, i64.MIN_VALUE];
    for (let i = 0; i < values.length; i++) {
      sink.clear();
      Jce.writeInt(sink, 1, values[i]);
      expect(integer(hexOf(sink.ptr, sink.size))).toBe(values[i].toString());
      expect(sink.size).toBe(Jce.typeOf(values[i]) == JceType.Zero ? 1 : 1 + (1 << (Jce.typeOf(values[i]) as u32)));
    }
    sink.clear();
    Jce.writeInt(sink, 200, 5);
    Jce.writeText(sink, 15, 0, 0);
    expect(hexOf(sink.ptr, sink.size)).toBe("f0c805" + "f60f00");
    sink.clear();
    const long = Guarded.text("x".repeat(256));
    Jce.writeText(sink, 0, long.ptr, 255);
    expect(sink.size).toBe(2 + 255);
    Jce.writeText(sink, 0, long.ptr, 256);
    expect(hexOf(sink.ptr + 257, 5)).toBe("0700000100");
  });

  it("survives anything", () => {
    const random = new Random();
    for (let round = 0; round < 20_000; round++) {
      const input = new Guarded(random.below(40));
      // Types more often than not.
      for (let i: u32 = 0; i < input.size; i++) {
        store<u8>(input.ptr + i, (random.below(2) ? random.below(16) : random.below(256)) as u8);
      }
      Jce.start(input.ptr, input.size, input.size, input.ptr);
      let look = 0;
      while (!look && !Jce.done) {
        look = Jce.head();
        if (!look) look = Jce.skip();
      }
      const end = input.ptr + input.size;
      if ((look && look != JCE_INVALID) || Jce.at > end) expect(look).toBe(JCE_INVALID, hexOf(input.ptr, input.size));
      input.free();
    }
  });
});
