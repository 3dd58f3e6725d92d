import fc from "fast-check";
import hpack from "hpack.js";
import { beforeAll, describe, expect, it } from "vitest";
import { type Guest, loadGuest } from "../guest.js";

/** assembly/__bench__/hpack.ts */
interface HpackGuest extends Guest {
  newTable(): number;
  limitTable(table: number, bytes: number): void;
  releaseTable(table: number): void;
  decode(table: number, at: number, size: number): number;
  field(i: number): number;
  begin(): void;
  indexed(index: number): void;
  literal(name: number, nameSize: number, value: number, valueSize: number): void;
  literalIndexed(nameIndex: number, value: number, valueSize: number): void;
  status(status: number): void;
  block(): number;
  blockSize(): number;
}

/** What happens on a connection. */
type Step =
  | { readonly fields: readonly Field[] }
  /** The encoder chooses another size for its table. */
  | { readonly size: number }
  /** The decoder announced another limit, and the encoder follows. */
  | { readonly limit: number };

interface Field {
  readonly name: string;
  readonly value: string;
  readonly huffman?: boolean;
  readonly incremental?: boolean;
  readonly neverIndex?: boolean;
}

const tableMax = 4096;
const room = 1 << 17;

let guest: HpackGuest;
/** Where bytes for the guest go. */
let input: number;

beforeAll(async () => {
  guest = await loadGuest<HpackGuest>("hpack.ts");
  input = guest.allocate(room);
}, 60_000);

/** Copies to the guest; answers the address. */
function put(bytes: Uint8Array, offset = 0): number {
  new Uint8Array(guest.memory.buffer).set(bytes, input + offset);
  return input + offset;
}

/** One character for each byte. */
function take(at: number, size: number): string {
  return Buffer.from(guest.memory.buffer, at, size).toString("latin1");
}

/** `refused` and `too large` for what is not read. */
function decode(table: number, block: Uint8Array): Field[] | string {
  const count = guest.decode(table, put(block), block.length);
  if (count < 0) return count === -1 ? "refused" : "too large";
  return Array.from({ length: count }, (_, i) => {
    const [name = 0, nameSize = 0, value = 0, valueSize = 0] = new Uint32Array(guest.memory.buffer, guest.field(i), 4);
    return { name: take(name, nameSize), value: take(value, valueSize) };
  });
}

/** RFC 7541, 6.3. */
function sizeUpdate(bytes: number): Buffer {
  if (bytes < 31) return Buffer.from([0x20 | bytes]);
  const octets = [0x3f];
  let rest = bytes - 31;
  for (; rest > 127; rest >>= 7) octets.push((rest & 127) | 128);
  return Buffer.from([...octets, rest]);
}

/** The other implementation keeps fields in plain objects, which have properties of their own. */
const known = (text: string) => !(text in {});

const names = fc.oneof(
  fc.constantFrom(":method", ":path", ":status", "content-type", "date", "server", "cookie", "x-a", "x-b"),
  fc.string({ unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789-"), minLength: 1, maxLength: 40 }),
);
const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array).toString("latin1"));
const values = fc.oneof(
  fc.constantFrom("", "GET", "200", "302", "/", "a", "Mon, 21 Oct 2013 20:13:21 GMT"),
  fc.string({ maxLength: 200, unit: "grapheme-ascii" }),
  bytes,
  fc.tuple(bytes, fc.integer({ min: 1, max: 120 })).map(([text, times]) => text.repeat(times)),
);
/** What most connections send: the same fields again and again, and some more than the table holds. */
const usual = fc.nat(40).map((i) => ({ name: `x-${i % 20}`, value: `${i}`.repeat(i * 2) }));
const fields: fc.Arbitrary<Field> = fc.oneof(
  { weight: 3, arbitrary: usual },
  {
    weight: 1,
    arbitrary: fc.record(
      {
        name: names.filter(known),
        value: values.filter(known),
        huffman: fc.boolean(),
        incremental: fc.boolean(),
        neverIndex: fc.boolean(),
      },
      { requiredKeys: ["name", "value"] },
    ),
  },
);
const sizes = fc.oneof(fc.constantFrom(0, 30, 31, 32, 100, tableMax), fc.nat(tableMax));
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 20, arbitrary: fc.record({ fields: fc.array(fields, { maxLength: 12, size: "max" }) }) },
    { weight: 1, arbitrary: fc.record({ size: sizes }) },
    { weight: 1, arbitrary: fc.record({ limit: sizes }) },
  ),
  { maxLength: 60, size: "max" },
);

describe("HPACK", () => {
  it("reads what another implementation writes, block after block", () => {
    fc.assert(
      fc.property(steps, (script) => {
        const table = guest.newTable();
        const compressor = hpack.compressor.create({ table: { maxSize: tableMax } });
        let limit = tableMax;
        let updates = Buffer.alloc(0);
        const resize = (size: number) => {
          compressor.updateTableSize(size);
          compressor.read();
          updates = Buffer.concat([updates, sizeUpdate(size)]);
        };
        for (const step of script) {
          if ("limit" in step) {
            limit = step.limit;
            guest.limitTable(table, limit);
            // Updates that were not sent yet are told as they would have been chosen under this limit.
            updates = Buffer.alloc(0);
            resize(0);
            resize(limit);
          } else if ("size" in step) {
            resize(Math.min(step.size, limit));
          } else {
            compressor.write(step.fields);
            const block = Buffer.concat([updates, compressor.read() ?? Buffer.alloc(0)]);
            updates = Buffer.alloc(0);
            const expected = step.fields.map(({ name, value }) => ({ name, value }));
            const total = expected.reduce((sum, { name, value }) => sum + name.length + value.length + 32, 0);
            expect(decode(table, block)).toEqual(total > 65536 ? "too large" : expected);
          }
        }
        guest.releaseTable(table);
      }),
      { numRuns: 500 },
    );
  });

  it("reads the Huffman code of every byte, in every place", () => {
    const table = guest.newTable();
    const compressor = hpack.compressor.create({ table: { maxSize: 0 } });
    for (let byte = 0; byte < 256; byte++) {
      for (let before = 0; before < 12; before++) {
        const value = "a".repeat(before) + String.fromCharCode(byte).repeat(3);
        compressor.write([{ name: "x", value }]);
        expect(decode(table, compressor.read() ?? Buffer.alloc(0))).toEqual([{ name: "x", value }]);
      }
    }
    guest.releaseTable(table);
  });

  it("writes what another implementation reads", () => {
    const written = fc.oneof(
      fc.integer({ min: 1, max: 61 }).map((index) => ({ index })),
      fc.record({ index: fc.integer({ min: 1, max: 61 }), value: values }),
      fc.record({ name: names, value: values }),
      fc.integer({ min: 100, max: 599 }).map((status) => ({ status })),
    );
    fc.assert(
      fc.property(fc.array(written, { maxLength: 20 }), (list) => {
        const decompressor = hpack.decompressor.create({ table: { maxSize: tableMax } });
        const nameOf = (index: number) => {
          decompressor.write(Uint8Array.of(0x80 | index));
          decompressor.execute();
          return decompressor.read();
        };
        guest.begin();
        const expected = list.map((it) => {
          if ("status" in it) {
            guest.status(it.status);
            return { name: ":status", value: String(it.status) };
          }
          if (!("value" in it)) {
            guest.indexed(it.index);
            const { name, value } = nameOf(it.index) ?? {};
            return { name, value };
          }
          const value = Buffer.from(it.value, "latin1");
          if ("index" in it) {
            guest.literalIndexed(it.index, put(value), value.length);
            return { name: nameOf(it.index)?.name, value: it.value };
          }
          const name = Buffer.from(it.name, "latin1");
          guest.literal(put(name), name.length, put(value, name.length), value.length);
          return { name: it.name, value: it.value };
        });
        decompressor.write(Buffer.from(guest.memory.buffer, guest.block(), guest.blockSize()));
        decompressor.execute();
        const read = [];
        for (let field = decompressor.read(); field; field = decompressor.read()) {
          read.push({ name: field.name, value: field.value });
        }
        expect(read).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  it("survives any bytes, and is in step behind a list that is too long", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (block) => {
        const table = guest.newTable();
        if (decode(table, block) !== "refused") {
          decode(table, Buffer.concat([sizeUpdate(0), sizeUpdate(tableMax), Buffer.from("4001610162", "hex")]));
          expect(decode(table, Buffer.from("be", "hex"))).toEqual([{ name: "a", value: "b" }]);
        }
        guest.releaseTable(table);
      }),
      { numRuns: 2000 },
    );
  });
});
