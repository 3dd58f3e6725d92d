import { HESSIAN_INVALID, Hessian2 } from "../wire/hessian2";
import { Slice } from "../wire/slice";
import { Guarded, Random } from "./util";

/** Pairs of a name and the bytes that the npm package hessian.js 2 writes for that one value. */
const WRITTEN: StaticArray<string> = [
  "null",
  "4e",
  "true",
  "54",
  "false",
  "46",
  "int 0",
  "90",
  "int -16",
  "80",
  "int 47",
  "bf",
  "int 48",
  "c830",
  "int -17",
  "c7ef",
  "int 2047",
  "cfff",
  "int -2048",
  "c000",
  "int 2048",
  "d40800",
  "int -262144",
  "d00000",
  "int 262143",
  "d7ffff",
  "int 262144",
  "4900040000",
  "int -2147483648",
  "4980000000",
  "long 0",
  "e0",
  "long -8",
  "d8",
  "long 15",
  "ef",
  "long 16",
  "f810",
  "long -2048",
  "f000",
  "long 2047",
  "ffff",
  "long 2048",
  "3c0800",
  "long -262144",
  "380000",
  "long 262143",
  "3fffff",
  "long 262144",
  "5900040000",
  "long -2147483648",
  "5980000000",
  "long 4611686018427387904",
  "4c4000000000000000",
  "double 0",
  "5b",
  "double 1",
  "5c",
  "double 2",
  "5d02",
  "double -128",
  "5d80",
  "double 127",
  "5d7f",
  "double 128",
  "5e0080",
  "double -32768",
  "5e8000",
  "double 12.25",
  "5f00002fda",
  "double 0.1",
  "5f00000064",
  "double 1e+100",
  "4454b249ad2594c37d",
  "date ms",
  "4a000000d04b9284b9",
  "date min",
  "4b00e3838f",
  "bytes 0",
  "20",
  "bytes 1",
  "215a",
  "bytes 15",
  "2f5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
  "bytes 16",
  "34105a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
  "string empty",
  "00",
  "string hello",
  "0568656c6c6f",
  "string 31",
  "1f78787878787878787878787878787878787878787878787878787878787878",
  "string 32",
  "30207979797979797979797979797979797979797979797979797979797979797979",
  "string é漢",
  "0bc3a9e6bca2e5ad97206d6978656420c3a9",
  "string emoji",
  "0461eda0bdedb88062",
  "list",
  "7c9101614e7954",
  "list empty",
  "78",
  "list 8",
  "58989192939495969798",
  "int[]",
  "73045b696e74919293",
  "int[] 9",
  "56045b696e7499919293949596979899",
  "ArrayList",
  "72146a6176612e7574696c2e4c696e6b65644c6973749192",
  "map",
  "48016191016201780163480164795f000005dc5a5a",
  "map typed",
  "43116a6176612e7574696c2e547265654d61709101616091",
  "map empty",
  "485a",
  "object",
  "4307612e506f696e749301780179046e616d6560915f000009c40170",
  "objects sharing a class",
  "7a4303612e5091017860916092",
  "object without fields",
  "7a4303612e45906060",
  "circular",
  "4306612e4e6f6465920176046e65787460915190",
  "17 classes",
  "58a243026330910166609043026331910166619143026332910166629243026333910166639343026334910166649443026335910166659543026336910166669643026337910166679743026338910166689843026339910166699943036331309101666a9a43036331319101666b9b43036331329101666c9c43036331339101666d9d43036331349101666e9e43036331359101666f9f43036331369101664fa0a060a1",
  "two types",
  "7a71045b696e7491719092",
  "enum",
  "4307612e436f6c6f7291046e616d656003524544",
  "exception",
  "43136a6176612e6c616e672e457863657074696f6e920d64657461696c4d6573736167650a737461636b5472616365600b4572726f723a20626f6f6d771c5b6a6176612e6c616e672e537461636b5472616365456c656d656e74431b6a6176612e6c616e672e537461636b5472616365456c656d656e74940e6465636c6172696e67436c6173730a6d6574686f644e616d650866696c654e616d650a6c696e654e756d62657261064f626a6563740b3c616e6f6e796d6f75733e122f746d702f6c61622f682f67656e2e636a73a761064d6f64756c65085f636f6d70696c65046e6f64659061134d6f64756c652e5f657874656e73696f6e732e026a73046e6f64659061064d6f64756c65046c6f6164046e6f64659061064d6f64756c65055f6c6f6164046e6f646590610846756e6374696f6e30226578656375746555736572456e747279506f696e74205b61732072756e4d61696e5d046e6f646590610b3c616e6f6e796d6f75733e0b3c616e6f6e796d6f75733e046e6f646590",
  "BigDecimal",
  "43146a6176612e6d6174682e426967446563696d616c910576616c756560063130302e3036",
  "bytes 1023",
  "37ff" + "5a".repeat(1023),
  "bytes 1024",
  "420400" + "5a".repeat(1024),
  "string 1023",
  "33ff" + "7a".repeat(1023),
  "string 1024",
  "530400" + "c3a9".repeat(1024),
];

/** Pairs of a name and one value in the forms that hessian.js does not write, by the grammar of Hessian 2.0. */
const GRAMMAR: StaticArray<string> = [
  "double float",
  "5f 00 00 2f da",
  "long 16 in four bytes",
  "59 00 00 00 10",
  "date",
  "4a 00 00 00 d0 4b 92 84 b8",
  "binary in chunks",
  "41 0002 0102 41 0000 42 0001 03",
  "binary in chunks with a short end",
  "41 0002 0102 20",
  "binary in chunks with a medium end",
  "41 0001 01 34 02 0203",
  "string in chunks",
  "52 0003 616263 52 0001 c3a9 53 0001 64",
  "string in chunks with a short end",
  "52 0003 616263 02 c3a9 61",
  "string in chunks with a medium end",
  "52 0000 30 01 61",
  "string with characters of 4 bytes",
  "04 f09f9880 f09f9880",
  "string with a surrogate pair",
  "03 eda0bd edb880 61",
  "untyped list with an end",
  "57 90 91 57 5a 5a",
  "typed list with an end",
  "55 04 5b696e74 90 91 5a",
  "typed list with an end, type by number",
  "55 90 92 93 5a",
  "typed list with a length",
  "56 04 5b696e74 92 90 91",
  "typed list with a length, type by number",
  "56 90 92 90 91",
  "typed list of length 0",
  "56 90 90",
  "untyped list with a length",
  "58 92 90 4e",
  "typed short list",
  "73 90 90 91 54",
  "typed map",
  "4d 03 612e42 01 61 91 01 62 48 5a 5a",
  "map with odd keys",
  "48 90 91 4e 4e 79 90 46 48 5a 54 5a",
  "object by a long index",
  "43 01 61 91 01 78 4f 90 4f 90 4e",
  "object whose class comes with its field",
  "43 01 61 92 01 78 01 79 60 43 01 62 90 61 60 90 90",
  "class definitions in a row",
  "43 01 61 90 43 01 62 91 01 78 61 60",
  "class in a key",
  "48 43 01 61 90 60 91 5a",
  "reference",
  "51 90",
  "reference with a long number",
  "51 49 00 00 10 00",
  "list of a string in chunks",
  "7a 52 0001 61 01 62 5b",
  "chain of 600 lists, each the last of its list",
  "7a 90".repeat(600) + "78",
  "256 lists inside each other",
  "57".repeat(256) + "5a".repeat(256),
];

/**
 * Bodies of real Dubbo 2 frames written by Java, and the number of values in each. From the DeepFlow project's test
 * captures (Apache-2.0): dubbo_hessian2.pcap.
 */
const REQUEST =
  "05322e302e321b6d792e64656d6f2e736572766963652e557365725365727669636505302e302e30056c6f67696e30244c6a6176612f6c616e672f" +
  "537472696e673b4c6a6176612f6c616e672f537472696e673b0b3133373830343037363037067833235539264804706174681b6d792e64656d6f" +
  "2e736572766963652e55736572536572766963651272656d6f74652e6170706c69636174696f6e0873686f702d776562057377382d7801300373" +
  "7738000f7377382d636f7272656c6174696f6e0009696e746572666163651b6d792e64656d6f2e736572766963652e5573657253657276696365" +
  "0776657273696f6e05302e302e305a";
const REQUEST_VALUES: i32 = 8;
const RESPONSE =
  "94431d6d792e64656d6f2e736572766963652e53657276696365526573756c749306726573756c74076d65737361676507737563636573736043" +
  "136d792e64656d6f2e656e746974792e55736572960a6c6173745570646174650963726561746564417405656d61696c066d6f62696c65086e69" +
  "636b6e616d6506757365724964614a0000017cdcce0e004a0000017cde858200000b31333738303430373630370b3133372a2a2a2a37363037f8" +
  "1700544805647562626f05322e302e325a";
const RESPONSE_VALUES: i32 = 3;

/** Steps over that many values: the first answer that is not 0, or else 0. */
function skipAll(input: Guarded, values: i32, whole: u32): i32 {
  Hessian2.start(input.ptr, input.size, whole);
  for (let i = 0; i < values; i++) {
    const look = Hessian2.skip();
    if (look) return look;
  }
  return 0;
}

/** The answer with one guard and with another: bytes outside of the input must not matter. */
function skipGuarded(input: Guarded, values: i32, whole: u32 = i32.MAX_VALUE): i32 {
  input.guard(0x61);
  const first = skipAll(input, values, whole);
  const at = Hessian2.at - input.ptr;
  input.guard(0xff);
  const same = skipAll(input, values, whole) == first && (first || Hessian2.at - input.ptr == at);
  // Only then, because a comparison costs more than the rest.
  if (!same) expect(same).toBe(true, "bytes outside of the input were read");
  return first;
}

/** The whole is read to its end; every beginning needs more, and not more than there is. */
function check(name: string, hex: string, values: i32): void {
  const input = Guarded.hex(hex);
  expect(skipGuarded(input, values)).toBe(0, name);
  expect(Hessian2.at - input.ptr).toBe(input.size, name + ": stopped elsewhere");
  expect(skipGuarded(input, values, input.size)).toBe(0, name + " of known size");
  for (let size: u32 = 0; size < input.size; size++) {
    const part = Guarded.copy(input.ptr, size);
    const look = skipGuarded(part, values);
    const inside = look > (size as i32) && look <= (input.size as i32);
    const known = skipGuarded(part, values, input.size) == look && skipGuarded(part, values, size) == HESSIAN_INVALID;
    if (!inside || !known) expect(inside && known).toBe(true, `${name} cut at ${size}: ${look}`);
    part.free();
  }
  input.free();
}

/** The answer of one skip(). */
function skip(hex: string, whole: u32 = i32.MAX_VALUE): i32 {
  const input = Guarded.hex(hex);
  const look = skipGuarded(input, 1, whole);
  input.free();
  return look;
}

/** Renders what string() says of the first value, and whether `at` stands behind it. */
function read(hex: string): string {
  const input = Guarded.hex(hex);
  const slice = Slice.make();
  Hessian2.start(input.ptr, input.size);
  const look = Hessian2.string(slice);
  let text = look.toString();
  if (!look) {
    text = Hessian2.wasString
      ? Hessian2.fragmented
        ? "fragmented"
        : slice.ptr
          ? "'" + slice.text() + "'"
          : "null"
      : "other";
    expect(Hessian2.at - input.ptr).toBe(input.size, hex);
  }
  if (text.charAt(0) != "'") {
    expect(slice.ptr).toBe(0);
    expect(slice.size).toBe(0);
  }
  input.free();
  return text;
}

function int(hex: string): i32 {
  const input = Guarded.hex(hex);
  Hessian2.start(input.ptr, input.size);
  expect(Hessian2.int()).toBe(0, hex);
  expect(Hessian2.at - input.ptr).toBe(input.size, hex);
  input.free();
  return Hessian2.value;
}

/** Renders the entries of a map of strings: what a codec does with attachments. */
function entries(p: usize, n: u32, at: usize): string {
  const key = Slice.make();
  const value = Slice.make();
  let text = "";
  Hessian2.start(p, n);
  Hessian2.at = at;
  let look = Hessian2.map();
  while (!look && Hessian2.more) {
    look = Hessian2.string(key);
    if (look) break;
    look = Hessian2.string(value);
    if (look) break;
    text += `${key.text()}=${Hessian2.wasString ? value.text() : "?"};`;
    look = Hessian2.next();
  }
  return look ? look.toString() : text;
}

function entriesOf(hex: string): string {
  const input = Guarded.hex(hex);
  const text = entries(input.ptr, input.size, input.ptr);
  input.free();
  return text;
}

describe("Hessian2.skip", () => {
  it("steps over what hessian.js writes, whole and cut at every byte", () => {
    for (let i = 0; i < WRITTEN.length; i += 2) check(WRITTEN[i], WRITTEN[i + 1], 1);
  });

  it("steps over every other form of the grammar, whole and cut at every byte", () => {
    for (let i = 0; i < GRAMMAR.length; i += 2) check(GRAMMAR[i], GRAMMAR[i + 1], 1);
  });

  it("steps over what Java writes, whole and cut at every byte", () => {
    check("request", REQUEST, REQUEST_VALUES);
    check("response", RESPONSE, RESPONSE_VALUES);
  });

  it("steps over a string in the largest chunks that there are", () => {
    const chunks = "52ffff" + "61".repeat(0xffff) + "53ffff" + "e6bca2".repeat(0xffff);
    const size = 3 + 0xffff + 3 + 3 * 0xffff;
    expect(skip(chunks, size)).toBe(0);
    expect(skip(chunks, size - 1)).toBe(HESSIAN_INVALID);
    expect(skip(chunks.substring(0, 2 * size - 2))).toBe(size);
  });

  it("knows the classes of a message until the next start()", () => {
    const input = Guarded.hex("43 01 61 90 60 60");
    expect(skipGuarded(input, 2)).toBe(0);
    expect(Hessian2.at - input.ptr).toBe(6);
    input.free();
    expect(skip("60")).toBe(HESSIAN_INVALID);
  });

  it("names all the bytes that are certain to be needed", () => {
    expect(skip("")).toBe(1);
    expect(skip("49")).toBe(5);
    expect(skip("4c 00")).toBe(9);
    expect(skip("05 61")).toBe(6);
    expect(skip("53 0400 61")).toBe(3 + 1024);
    expect(skip("53 04")).toBe(3);
    expect(skip("42 ffff")).toBe(3 + 65535);
    expect(skip("52 0004 61")).toBe(3 + 4 + 1);
    expect(skip("41 0004 61")).toBe(3 + 4 + 1);
    expect(skip("03 61 e6")).toBe(1 + 1 + 3 + 1);
    expect(skip("04 f0")).toBe(1 + 4 + 2);
    expect(skip("58 49 00000064")).toBe(6 + 100);
    expect(skip("58 49 00000064 05")).toBe(6 + 100 + 5);
    expect(skip("7f 58 a0")).toBe(1 + 2 + 6 + 16);
    expect(skip("77")).toBe(1 + 1 + 7);
    expect(skip("77 04")).toBe(1 + 5 + 7);
    expect(skip("56")).toBe(1 + 1 + 1);
    expect(skip("55")).toBe(1 + 1 + 1);
    expect(skip("4d 01")).toBe(1 + 2 + 1);
    expect(skip("48")).toBe(2);
    expect(skip("48 90")).toBe(4);
    expect(skip("48 01")).toBe(5);
    expect(skip("48 90 91")).toBe(4);
    expect(skip("43 01")).toBe(1 + 2 + 1 + 1);
    expect(skip("43 01 61 a0")).toBe(4 + 16 + 1);
    expect(skip("43 01 61 92 01 78 01")).toBe(7 + 1 + 1);
    expect(skip("43 01 61 92 01 78 01 79 60")).toBe(9 + 2);
  });

  it("refuses what the grammar does not have", () => {
    const values = ["40", "45", "47", "50", "5a", "57 40", "48 90 5a", "79 5a"];
    for (let i = 0; i < values.length; i++) expect(skip(values[i])).toBe(HESSIAN_INVALID, values[i]);
  });

  it("refuses counts and numbers below 0 and of another kind", () => {
    const values = [
      "58 8f",
      "58 49 ffffffff",
      "58 05",
      "58 e0",
      "56 90 8f",
      "56 4e 90",
      "55 8f",
      "4d 54",
      "72 4e",
      "4f 8f",
      "51 8f",
      "51 4e",
      "43 01 61 8f",
      "43 4e 90",
      "43 01 61 91 90",
    ];
    for (let i = 0; i < values.length; i++) expect(skip(values[i])).toBe(HESSIAN_INVALID, values[i]);
  });

  it("refuses classes that are not defined", () => {
    expect(skip("60")).toBe(HESSIAN_INVALID);
    expect(skip("43 01 61 90 61")).toBe(HESSIAN_INVALID);
    expect(skip("43 01 61 90 4f 91")).toBe(HESSIAN_INVALID);
    expect(skip("43 01 61 90 4f 49 7fffffff")).toBe(HESSIAN_INVALID);
  });

  it("refuses text that is not UTF-8 as soon as it is there", () => {
    const values = [
      "01 80",
      "01 ff",
      "01 f8",
      "01 c3 41",
      "05 e6 41",
      "05 e6 bc 41",
      "05 f0 9f 98 c0",
      "01 f0",
      "52 0001 f0",
    ];
    for (let i = 0; i < values.length; i++) expect(skip(values[i])).toBe(HESSIAN_INVALID, values[i]);
  });

  it("refuses chunks of another kind", () => {
    expect(skip("52 0001 61 20")).toBe(HESSIAN_INVALID);
    expect(skip("52 0001 61 4e")).toBe(HESSIAN_INVALID);
    expect(skip("41 0001 61 00")).toBe(HESSIAN_INVALID);
    expect(skip("41 0001 61 4e")).toBe(HESSIAN_INVALID);
  });

  it("refuses what the whole message has no room for", () => {
    expect(skip("58 49 7fffffff")).toBe(HESSIAN_INVALID);
    expect(skip("58 49 00000064", 105)).toBe(HESSIAN_INVALID);
    expect(skip("58 49 00000064", 106)).toBe(106);
    expect(skip("43 01 61 49 7fffffff")).toBe(HESSIAN_INVALID);
    expect(skip("49 00", 4)).toBe(HESSIAN_INVALID);
    expect(skip("49 00", 5)).toBe(5);
    expect(skip("90", u32.MAX_VALUE)).toBe(0);
    expect(skip("49 00000000 90", 5)).toBe(0);
    expect(skip("49 00000000 90", 4)).toBe(HESSIAN_INVALID);
    expect(skip("90", 0)).toBe(HESSIAN_INVALID);
    expect(skip("57 58 49 3fffffff 58 49 3fffffff 58 49 3fffffff")).toBe(HESSIAN_INVALID);
  });

  it("refuses more than 256 levels, and 1024 classes", () => {
    expect(skip("57".repeat(257))).toBe(HESSIAN_INVALID);
    expect(skip("57".repeat(100_000))).toBe(HESSIAN_INVALID);
    expect(skip("48".repeat(100_000))).toBe(HESSIAN_INVALID);
    expect(skip("7a".repeat(100_000))).toBe(HESSIAN_INVALID);
    expect(skip("43 01 61 90".repeat(1024) + "60")).toBe(0);
    expect(skip("43 01 61 90".repeat(1025) + "60")).toBe(HESSIAN_INVALID);
  });

  it("reads no more bytes than there are of a list that promises millions", () => {
    const input = Guarded.hex("58 49 00100000" + "90".repeat(2000));
    expect(skipGuarded(input, 1)).toBe(6 + 0x100000);
    expect(Hessian2.at - input.ptr).toBe(input.size);
    input.free();
  });

  it("answers within bounds whatever the bytes", () => {
    const random = new Random();
    const samples = [REQUEST, RESPONSE, "43 01 61 92 01 78 01 79 60 43 01 62 90 61 60 90 90", GRAMMAR[37], GRAMMAR[21]];
    for (let s = 0; s < samples.length; s++) {
      const sample = Guarded.hex(samples[s]);
      for (let round = 0; round < 4000; round++) {
        const input = Guarded.copy(sample.ptr, random.below(sample.size + 1));
        for (let changes = random.below(5); changes > 0 && input.size > 0; changes--) {
          store<u8>(input.ptr + random.below(input.size), random.below(256) as u8);
        }
        const look = skipGuarded(input, 8);
        const outside = Hessian2.at > input.ptr + input.size;
        const absurd = outside || look < HESSIAN_INVALID || (look > 0 && look <= (input.size as i32));
        if (absurd) expect(absurd).toBe(false, `${look} for ${input.size} bytes`);
        input.free();
      }
      sample.free();
    }
  });

  it("answers within bounds for random bytes", () => {
    const random = new Random(42);
    for (let round = 0; round < 20_000; round++) {
      const input = new Guarded(random.below(40));
      for (let i: u32 = 0; i < input.size; i++) store<u8>(input.ptr + i, random.below(256) as u8);
      const look = skipGuarded(input, 1);
      if (look > 0 && look <= (input.size as i32)) expect(look).toBe(0, "needs what is there");
      input.free();
    }
  });
});

describe("Hessian2.string", () => {
  it("reads a string of one chunk", () => {
    expect(read("00")).toBe("''");
    expect(read("05 68656c6c6f")).toBe("'hello'");
    expect(read("30 05 68656c6c6f")).toBe("'hello'");
    expect(read("53 0005 68656c6c6f")).toBe("'hello'");
    expect(read("04 c3a9 f09f9880 61")).toBe("'é😀a'");
    expect(read("1f" + "78".repeat(31))).toBe("'" + "x".repeat(31) + "'");
    expect(read("31 00" + "e6bca2".repeat(256))).toBe("'" + "漢".repeat(256) + "'");
  });

  it("steps over null, strings of several chunks and other values, and says so", () => {
    expect(read("4e")).toBe("null");
    expect(read("52 0001 61 01 62")).toBe("fragmented");
    expect(read("90")).toBe("other");
    expect(read("7a 90 48 5a")).toBe("other");
    expect(read("22 6161")).toBe("other");
    expect(read("43 01 61 90 60")).toBe("other");
  });

  it("asks for more, or refuses", () => {
    expect(read("")).toBe("1");
    expect(read("05 6865")).toBe("6");
    expect(read("53 00")).toBe("3");
    expect(read("52 0001 61")).toBe("5");
    expect(read("49 00")).toBe("5");
    expect(read("01 80")).toBe("-1");
    expect(read("40")).toBe("-1");
  });
});

describe("Hessian2.int", () => {
  it("reads every form", () => {
    expect(int("90")).toBe(0);
    expect(int("80")).toBe(-16);
    expect(int("bf")).toBe(47);
    expect(int("c8 30")).toBe(48);
    expect(int("c7 ef")).toBe(-17);
    expect(int("c0 00")).toBe(-2048);
    expect(int("cf ff")).toBe(2047);
    expect(int("d0 0000")).toBe(-262144);
    expect(int("d7 ffff")).toBe(262143);
    expect(int("d4 0800")).toBe(2048);
    expect(int("49 00040000")).toBe(262144);
    expect(int("49 80000000")).toBe(i32.MIN_VALUE);
  });

  it("asks for more, or refuses", () => {
    const hex = ["", "c8", "d4 00", "49 000000", "e0", "4e", "05", "7f"];
    const looks = [1, 2, 3, 5, HESSIAN_INVALID, HESSIAN_INVALID, HESSIAN_INVALID, HESSIAN_INVALID];
    for (let i = 0; i < hex.length; i++) {
      const input = Guarded.hex(hex[i]);
      Hessian2.start(input.ptr, input.size);
      expect(Hessian2.int()).toBe(looks[i], hex[i]);
      input.free();
    }
  });
});

describe("Hessian2.map", () => {
  it("gives the entries one by one", () => {
    expect(entriesOf("48 5a")).toBe("");
    expect(entriesOf("4e")).toBe("");
    expect(entriesOf("48 01 61 01 62 5a")).toBe("a=b;");
    expect(entriesOf("4d 03 612e42 01 61 01 62 01 63 79 90 01 64 4e 5a")).toBe("a=b;c=?;d=;");
    expect(entriesOf("4d 90 5a")).toBe("");
  });

  it("asks for more, or refuses", () => {
    expect(entriesOf("")).toBe("1");
    expect(entriesOf("48")).toBe("2");
    expect(entriesOf("4d")).toBe("3");
    expect(entriesOf("48 01 61")).toBe("4");
    expect(entriesOf("48 01 61 01 62")).toBe("6");
    expect(entriesOf("79 90")).toBe("-1");
    expect(entriesOf("48 01 61 5a")).toBe("-1");
  });

  it("reads the attachments behind the arguments of a real request, asking for bytes of the whole frame", () => {
    const input = Guarded.hex("00".repeat(16) + REQUEST);
    Hessian2.start(input.ptr, input.size);
    Hessian2.at = input.ptr + 16;
    for (let i = 1; i < REQUEST_VALUES; i++) expect(Hessian2.skip()).toBe(0);
    const at = Hessian2.at;
    expect(entries(input.ptr, input.size, at)).toBe(
      "path=my.demo.service.UserService;remote.application=shop-web;sw8-x=0;sw8=;sw8-correlation=;" +
        "interface=my.demo.service.UserService;version=0.0.0;",
    );
    expect(entries(input.ptr, input.size - 1, at)).toBe(input.size.toString());
    input.free();
  });
});
