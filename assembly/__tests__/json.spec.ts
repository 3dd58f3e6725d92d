import { Json, JsonKind, JsonText, JsonValue } from "../wire/json";
import { Sink } from "../wire/sink";
import { Guarded, hexOf, Random } from "./util";

/** The value, where the text must be readable. */
function read(text: string): JsonValue {
  const input = Guarded.text(text);
  const value = Json.parse(input.ptr, input.size);
  input.free();
  expect(Json.error).toBe("", text);
  return value === null ? new JsonValue(JsonKind.Null, null, "", 0) : value;
}

/** What is wrong with the text; empty where nothing is. */
function wrong(text: string): string {
  const input = Guarded.text(text);
  const value = Json.parse(input.ptr, input.size);
  input.free();
  expect(value === null).toBe(Json.error.length > 0, "a value, or an error");
  return Json.error;
}

function wrongHex(hex: string): string {
  const input = Guarded.hex(hex);
  const value = Json.parse(input.ptr, input.size);
  input.free();
  expect(value === null).toBe(Json.error.length > 0, "a value, or an error");
  return Json.error;
}

/** All that was read, as text that differs when anything differs. */
function render(value: JsonValue | null): string {
  if (value === null) return "refused: " + Json.error;
  if (value.kind == JsonKind.String) return '"' + value.text + '"';
  if (value.kind == JsonKind.Number) return value.whole ? value.integer.toString() : value.float.toString();
  if (value.kind == JsonKind.Bool) return value.bool ? "true" : "false";
  if (value.kind == JsonKind.Null) return "null";
  let text = value.kind == JsonKind.Array ? "[" : "{";
  for (let i = 0; i < value.items.length; i++) text += value.items[i].key + ":" + render(value.items[i]) + ",";
  return text + "]";
}

/** Parses with one guard and with another: bytes outside of the input must not matter. */
function renderGuarded(input: Guarded): string {
  input.guard(0x5d);
  const first = render(Json.parse(input.ptr, input.size));
  input.guard(0x39);
  const second = render(Json.parse(input.ptr, input.size));
  expect(second).toBe(first, "bytes outside of the input were read");
  return first;
}

function quoted(hex: string): string {
  const input = Guarded.hex(hex);
  const sink = new Sink();
  JsonText.string(sink, input.ptr, input.size);
  input.free();
  return String.UTF8.decodeUnsafe(sink.ptr, sink.size);
}

const SAMPLE =
  '{ "protocol": "dubbo", "routes": [ {"name":"a\\u00e9\\ud83d\\ude00\\n","match":{"method":{"oneOf":["x","y"]}},' +
  '"cluster":"greeter|v2"}, {"cluster":"\\\\"} ], "limits": {"frameBytes": 67108864, "share": -0.125, "e": 12e2},' +
  ' "log": {"frames": false, "on": true, "none": null}, "é漢😀": [] }';

describe("Json.parse", () => {
  it("reads every kind", () => {
    const value = read(SAMPLE);
    expect(value.kind).toBe(JsonKind.Object);
    expect(value.at("protocol")!.text).toBe("dubbo");
    expect(value.at("routes")!.kind).toBe(JsonKind.Array);
    expect(value.at("routes")!.items.length).toBe(2);
    expect(value.at("routes")!.items[0].at("name")!.text).toBe("aé😀\n");
    expect(value.at("routes")!.items[1].at("cluster")!.text).toBe("\\");
    expect(value.at("limits")!.at("frameBytes")!.integer).toBe(67108864);
    expect(value.at("limits")!.at("share")!.whole).toBe(false);
    expect(value.at("limits")!.at("share")!.float).toBe(-0.125);
    expect(value.at("limits")!.at("e")!.integer).toBe(1200);
    expect(value.at("log")!.at("frames")!.kind).toBe(JsonKind.Bool);
    expect(value.at("log")!.at("frames")!.bool).toBe(false);
    expect(value.at("log")!.at("on")!.bool).toBe(true);
    expect(value.at("log")!.at("none")!.kind).toBe(JsonKind.Null);
    expect(value.at("é漢😀")!.items.length).toBe(0);
    expect(value.at("missing") === null).toBe(true);
    expect(value.at("protocol")!.at("missing") === null).toBe(true);
  });

  it("keeps the order of names", () => {
    const value = read('{"b":1,"a":2,"":3}');
    expect(render(value)).toBe("{b:1,a:2,:3,]");
  });

  it("reads a value alone, with white space around it", () => {
    expect(read(" \t\r\n7 \n").integer).toBe(7);
    expect(read('"x"').text).toBe("x");
    expect(read("null").kind).toBe(JsonKind.Null);
    expect(read("[]").items.length).toBe(0);
    expect(read("{ }").items.length).toBe(0);
  });

  it("says where a value stands and what is wrong with it", () => {
    const value = read('{"routes":[{"match":{"method":{"exact":7},"dubbo.tag":[null,true]}}],"1x":{},"_a1":"s"}');
    const match = value.at("routes")!.items[0].at("match")!;
    expect(match.at("method")!.at("exact")!.expected("a string")).toBe(
      "$.routes[0].match.method.exact: expected a string, found a number",
    );
    expect(match.at("dubbo.tag")!.items[1].expected("a string")).toBe(
      '$.routes[0].match["dubbo.tag"][1]: expected a string, found a boolean',
    );
    expect(match.at("dubbo.tag")!.items[0].kindText()).toBe("null");
    expect(value.expected("an array")).toBe("$: expected an array, found an object");
    expect(value.at("1x")!.path()).toBe('$["1x"]');
    expect(value.at("_a1")!.expected("x")).toBe("$._a1: expected x, found a string");
    expect(value.at("routes")!.expected("x")).toBe("$.routes: expected x, found an array");
    expect(match.pathOf("service")).toBe("$.routes[0].match.service");
  });

  it("reads whole numbers exactly up to the ends of i64", () => {
    expect(read("0").integer).toBe(0);
    expect(read("-0").integer).toBe(0);
    expect(read("9223372036854775807").integer).toBe(i64.MAX_VALUE);
    expect(read("-9223372036854775808").integer).toBe(i64.MIN_VALUE);
    expect(read("9007199254740993").integer).toBe(9007199254740993);
    expect(read("1.50e1").integer).toBe(15);
    expect(read("1.0").whole).toBe(true);
    expect(read("100e-2").integer).toBe(1);
    expect(read("922337203685477580.7e1").integer).toBe(i64.MAX_VALUE);
    expect(read("0e99999999999999999999").integer).toBe(0);
    expect(read("0.0e-99999999999999999999").integer).toBe(0);
    expect(read("1E+18").integer).toBe(1000000000000000000);
    expect(read("-5").float).toBe(-5);
  });

  it("reads fractions as the nearest f64", () => {
    expect(read("0.1").float).toBe(0.1);
    expect(read("-2.5").float).toBe(-2.5);
    expect(read("6.283185307179586").float).toBe(6.283185307179586);
    expect(read("1e-22").float).toBe(1e-22);
    expect(read("123456789.000001").float).toBe(123456789.000001);
    expect(read("0.1").whole).toBe(false);
  });

  it("refuses numbers that it cannot hold exactly", () => {
    const inexact = [
      "9223372036854775808",
      "-9223372036854775809",
      "18446744073709551616",
      "99999999999999999999999999999999",
      "1e19",
      "1e400",
      "1e-23",
      "1e-99999999999999999999",
      "0.12345678901234567890123",
      "9007199254740992.5",
    ];
    for (let i = 0; i < inexact.length; i++) {
      expect(wrong(inexact[i])).toBe("a number that 64 bits cannot hold exactly at byte 0", inexact[i]);
    }
  });

  it("refuses what is nearly a number", () => {
    const texts = [
      "-",
      "+1",
      ".5",
      "1.",
      "1e",
      "1e+",
      "01",
      "-01",
      "00",
      "1.e1",
      "0x10",
      "1_0",
      "Infinity",
      "NaN",
      "--1",
    ];
    for (let i = 0; i < texts.length; i++) expect(wrong(texts[i])).not.toBe("", texts[i]);
    expect(wrong("[1.]")).toBe("expected a digit at byte 3");
    expect(wrong("-012")).toBe("a number must not start with 0 at byte 2");
  });

  it("reads every escape", () => {
    expect(read('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u6f22\\uD83D\\uDE00\\u0000"').text).toBe(
      '"\\/\b\f\n\r\tAé漢😀\0',
    );
  });

  it("refuses broken strings", () => {
    expect(wrong('"a')).toBe("a string without an end at byte 2");
    expect(wrong('"a\\')).toBe("a string without an end at byte 3");
    expect(wrong('"\\x"')).toBe("an escape that JSON does not have at byte 2");
    expect(wrong('"\\u12g4"')).toBe("expected four hexadecimal digits at byte 5");
    expect(wrong('"\\u12')).toBe("expected four hexadecimal digits at byte 5");
    expect(wrong('"\\ud83d"')).toBe("half of a surrogate pair at byte 3");
    expect(wrong('"\\ud83dx"')).toBe("half of a surrogate pair at byte 3");
    expect(wrong('"\\ud83d\\u0041"')).toBe("half of a surrogate pair at byte 3");
    expect(wrong('"\\ude00"')).toBe("half of a surrogate pair at byte 3");
    expect(wrong('"a\nb"')).toBe("a control character in a string at byte 2");
    expect(wrong('"\0"')).toBe("a control character in a string at byte 1");
  });

  it("refuses what is not UTF-8", () => {
    const bytes = [
      "ff",
      "80",
      "c0 80",
      "c3",
      "e0 80 80",
      "ed a0 80",
      "e2 82",
      "f0 80 80 80",
      "f4 90 80 80",
      "f5 80 80 80",
    ];
    for (let i = 0; i < bytes.length; i++) {
      expect(wrongHex("22" + bytes[i] + "22")).toBe("a string that is not UTF-8 at byte 1", bytes[i]);
    }
    expect(wrongHex("22 f4 8f bf bf ed 9f bf ee 80 80 df bf 22")).toBe("");
  });

  it("refuses what is not JSON", () => {
    expect(wrong("")).toBe("expected a value at byte 0");
    expect(wrong("  ")).toBe("expected a value, found the end at byte 2");
    expect(wrong("[1,]")).toBe("expected a value at byte 3");
    expect(wrong("[1 2]")).toBe("expected ',' or ']' at byte 3");
    expect(wrong("[1")).toBe("expected ',' or ']', found the end at byte 2");
    expect(wrong('{"a":1,}')).toBe("expected a name in quotes at byte 7");
    expect(wrong("{a:1}")).toBe("expected a name in quotes at byte 1");
    expect(wrong('{"a" 1}')).toBe("expected ':' at byte 5");
    expect(wrong('{"a":}')).toBe("expected a value at byte 5");
    expect(wrong('{"a":1 "b":2}')).toBe("expected ',' or '}' at byte 7");
    expect(wrong('{"a":1,"a":2}')).toBe("a name given twice at byte 7");
    expect(wrong('{"a":1,"\\u0061":2}')).toBe("a name given twice at byte 7");
    expect(wrong("1 2")).toBe("something stands behind the value at byte 2");
    expect(wrong("tru")).toBe("expected a value at byte 0");
    expect(wrong("nul")).toBe("expected a value at byte 0");
    expect(wrong("True")).toBe("expected a value at byte 0");
    expect(wrong("// x\n1")).toBe("expected a value at byte 0");
    expect(wrong("'a'")).toBe("expected a value at byte 0");
    expect(wrongHex("ef bb bf 31")).toBe("expected a value at byte 0");
  });

  it("allows 32 levels and no more", () => {
    expect(wrong("[".repeat(32) + "]".repeat(32))).toBe("");
    expect(wrong("[".repeat(33) + "]".repeat(33))).toBe("more than 32 levels deep at byte 32");
    expect(wrong("[".repeat(100_000))).toBe("more than 32 levels deep at byte 32");
    expect(wrong('{"a":'.repeat(33))).toBe("more than 32 levels deep at byte 160");
  });

  it("allows 100000 values and 1 MiB and no more", () => {
    expect(wrong("[" + "0,".repeat(99_998) + "0]")).toBe("");
    expect(wrong("[" + "0,".repeat(99_999) + "0]")).toBe("more than 100000 values at byte 199999");
    const room = (1 << 20) - 2;
    expect(wrong('"' + "x".repeat(room) + '"')).toBe("");
    expect(wrong('"' + "x".repeat(room + 1) + '"')).toBe("longer than 1 MiB at byte 0");
    expect(wrong("1" + "0".repeat((1 << 20) - 1))).toBe("a number that 64 bits cannot hold exactly at byte 0");
  });

  it("refuses every beginning of a text", () => {
    const whole = Guarded.text(SAMPLE);
    for (let size: u32 = 0; size < whole.size; size++) {
      const part = Guarded.copy(whole.ptr, size);
      expect(renderGuarded(part).startsWith("refused: ")).toBe(true);
      part.free();
    }
    expect(renderGuarded(whole).startsWith("{")).toBe(true);
    whole.free();
  });

  it("reads nothing outside of the input, whatever the input", () => {
    const random = new Random();
    const sample = Guarded.text(SAMPLE);
    for (let round = 0; round < 3000; round++) {
      const input = Guarded.copy(sample.ptr, random.below(sample.size + 1));
      for (let changes = random.below(4); changes > 0 && input.size > 0; changes--) {
        store<u8>(input.ptr + random.below(input.size), random.below(256) as u8);
      }
      renderGuarded(input);
      input.free();
    }
    sample.free();
  });
});

describe("JsonText.string", () => {
  it("escapes what must be escaped", () => {
    expect(quoted("")).toBe('""');
    expect(quoted("61 20 22 5c 2f 7e")).toBe('"a \\"\\\\/~"');
    expect(quoted("00 08 09 0a 0d 1f 7f")).toBe('"\\u0000\\u0008\\t\\n\\r\\u001f\\u007f"');
    expect(quoted("c3 a9 f0 9f 98 80")).toBe('"é😀"');
  });

  it("writes a replacement for each byte that is not UTF-8", () => {
    expect(quoted("61 ff 62 c3")).toBe('"a\\ufffdb\\ufffd"');
    expect(quoted("ed a0 80")).toBe('"\\ufffd\\ufffd\\ufffd"');
  });

  it("writes what Json reads back, whatever the bytes", () => {
    const random = new Random(7);
    const sink = new Sink();
    for (let round = 0; round < 1000; round++) {
      const input = new Guarded(random.below(24));
      const utf8 = round % 2 == 0;
      for (let i: u32 = 0; i < input.size; i++) store<u8>(input.ptr + i, random.below(utf8 ? 128 : 256) as u8);
      input.guard(0x80);
      sink.clear();
      JsonText.string(sink, input.ptr, input.size);
      const first = hexOf(sink.ptr, sink.size);
      const value = Json.parse(sink.ptr, sink.size);
      expect(Json.error).toBe("");
      if (utf8) {
        const text = value!.text;
        expect(text).toBe(String.UTF8.decodeUnsafe(input.ptr, input.size));
      }
      input.guard(0xbf);
      sink.clear();
      JsonText.string(sink, input.ptr, input.size);
      expect(hexOf(sink.ptr, sink.size)).toBe(first, "bytes outside of the input were read");
      input.free();
    }
  });

  it("stops at the limit of the sink", () => {
    const input = Guarded.text("a\nb".repeat(20));
    for (let limit: u32 = 0; limit < 30; limit++) {
      const sink = new Sink(limit);
      JsonText.string(sink, input.ptr, input.size);
      expect(sink.full).toBe(true);
      expect(sink.size).toBeLessThanOrEqual(limit);
    }
    input.free();
  });
});
