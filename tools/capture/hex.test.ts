import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isHex, readHex } from "./hex.js";

const dig = (text: string) => readHex(text).toString("hex");

describe("digits", () => {
  it.each([
    ["dabb c200\n0001", "dabbc2000001"],
    ["DA:BB:C2", "dabbc2"],
    ["0xda, 0xbb, 0xC2", "dabbc2"],
    ["\\xda\\xbb\\xc2", "dabbc2"],
    ["0xdabbc2", "dabbc2"],
    ["# a request\ndabb\r\nc2\n", "dabbc2"],
    ["00000000", "00000000"],
    ["0000 0001", "00000001"],
  ])("%j", (text, expected) => {
    expect(isHex(Buffer.from(text))).toBe(true);
    expect(dig(text)).toBe(expected);
  });

  it.each([
    ["da bb\nc2 0", 'line 2, column 4: "0" has an odd number of digits (1)'],
    ["da 0xb", 'line 1, column 6: "b" has an odd number of digits (1)'],
    ["da bg", 'line 1, column 5: "g" is not a hex digit'],
    [`${"a".repeat(30)}b`, 'line 1, column 1: "aaaaaaaa...aaaaaaab" has an odd number of digits (31)'],
    ["# nothing\n", "there are no hex digits in the input"],
  ])("%j is refused", (text, message) => {
    expect(() => readHex(text)).toThrow(message);
  });
});

const bytes = Buffer.from(Array.from({ length: 37 }, (_, i) => (i * 7) % 251));
const hex = (part: Buffer) => [...part].map((byte) => byte.toString(16).padStart(2, "0"));
const ascii = (part: Buffer) => part.toString("latin1").replace(/[^ -~]/g, ".");
const rows = (content: Buffer, row: (offset: number, part: Buffer) => string) =>
  Array.from({ length: Math.ceil(content.length / 16) }, (_, i) => row(i * 16, content.subarray(i * 16, i * 16 + 16)));
const at = (offset: number, width: number) => offset.toString(16).padStart(width, "0");
const words = (part: Buffer) =>
  (
    hex(part)
      .join("")
      .match(/.{1,4}/g) ?? []
  ).join(" ");

const dumps: [string, (content: Buffer) => string][] = [
  ["xxd", (c) => rows(c, (o, p) => `${at(o, 8)}: ${words(p).padEnd(39)}  ${ascii(p)}`).join("\n")],
  [
    "hexdump -C",
    (c) =>
      [
        ...rows(c, (o, p) => {
          const columns = `${hex(p.subarray(0, 8)).join(" ").padEnd(23)}  ${hex(p.subarray(8)).join(" ").padEnd(23)}`;
          return `${at(o, 8)}  ${columns}  |${ascii(p)}|`;
        }),
        at(c.length, 8),
      ].join("\n"),
  ],
  ["Wireshark", (c) => rows(c, (o, p) => `${at(o, 4)}   ${hex(p).join(" ").padEnd(47)}   ${ascii(p)}`).join("\r\n")],
  ["tcpdump -x", (c) => rows(c, (o, p) => `\t0x${at(o, 4)}:  ${words(p)}`).join("\n")],
  ["tcpdump -X", (c) => rows(c, (o, p) => `\t0x${at(o, 4)}:  ${words(p).padEnd(39)}  ${ascii(p)}`).join("\n")],
];

describe.each(dumps)("a dump by %s", (_, dump) => {
  it.each([16, 17, 24, 37])("of %i bytes", (length) => {
    const part = bytes.subarray(0, length);
    expect(isHex(Buffer.from(dump(part)))).toBe(true);
    expect(readHex(dump(part))).toEqual(part);
  });

  it("whose text column looks like digits", () => {
    const text = Buffer.from("deadbeef00112233cafe");
    expect(readHex(dump(text))).toEqual(text);
  });

  it("of any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 9, maxLength: 60 }), (content) => {
        expect(readHex(dump(Buffer.from(content)))).toEqual(Buffer.from(content));
      }),
    );
  });
});

it("a dump that lacks a line is refused, and not read as if its offsets were data", () => {
  const [, dump] = dumps[0] as (typeof dumps)[0];
  const lines = dump(Buffer.alloc(64)).split("\n");
  expect(() => readHex([lines[0], ...lines.slice(2)].join("\n"))).toThrow("line 1, column 1: the line at offset 0");
});

it("bytes that are not text are not taken for hex", () => {
  expect(isHex(Buffer.from("dabbc200", "hex"))).toBe(false);
  expect(isHex(Buffer.from("GET / HTTP/1.1"))).toBe(false);
});
