import fc from "fast-check";
import { expect, it } from "vitest";
import { syn, type TcpOptions, tcp } from "./packets.fixture.js";
import { type Piece, reassemble } from "./reassembly.js";
import { type Segment, segmentOf } from "./segment.js";

const client: Partial<TcpOptions> = {};
const server: Partial<TcpOptions> = { from: "10.0.0.2", to: "10.0.0.1", ports: [80, 40000] };

const segments = (...packets: TcpOptions[]) =>
  packets.map((options, i) => segmentOf({ linkType: 101, time: BigInt(i), data: tcp(options) }) as Segment);

const brief = (pieces: Iterable<Piece>) =>
  [...pieces].map(({ connection, from, offset, bytes, gap }) => {
    return `${connection.id} ${from} ${offset} ${gap ? `gap ${gap}` : bytes}`;
  });

const read = (...packets: TcpOptions[]) => brief(reassemble(segments(...packets)));

it("puts what is out of order into order and drops what is repeated", () => {
  expect(
    read(
      { ...client, sequence: 99, flags: syn },
      { ...server, sequence: 499, acknowledged: 100, flags: syn },
      { ...client, sequence: 103, payload: "def" },
      { ...client, sequence: 106, payload: "ghi" },
      { ...client, sequence: 100, payload: "abc" },
      { ...client, sequence: 102, payload: "cdefghij" },
      { ...client, sequence: 109, payload: "j" },
      { ...server, sequence: 500, payload: "xyz" },
    ),
  ).toEqual(["1 client 0 abc", "1 client 3 def", "1 client 6 ghi", "1 client 9 j", "1 server 0 xyz"]);
});

it("goes on past the end of the sequence numbers", () => {
  expect(
    read(
      { ...client, sequence: 0xfffffffd, flags: syn },
      { ...client, sequence: 1, payload: "def" },
      { ...client, sequence: 0xfffffffe, payload: "abc" },
    ),
  ).toEqual(["1 client 0 abc", "1 client 3 def"]);
});

it("reports what the capture lacks, as soon as the other side has it and at the end", () => {
  expect(
    read(
      { ...client, sequence: 100, payload: "abc" },
      { ...client, sequence: 105, payload: "fgh" },
      { ...server, sequence: 500, acknowledged: 108, payload: "x" },
      { ...client, sequence: 110, payload: "klm" },
    ),
  ).toEqual([
    "1 client 0 abc",
    "1 client 3 gap 2",
    "1 client 5 fgh",
    "1 server 0 x",
    "1 client 8 gap 2",
    "1 client 10 klm",
  ]);
});

it("reports what a short capture length left out", () => {
  const [first, second] = segments({ sequence: 1, payload: "abcdef" }, { sequence: 7, payload: "g" });
  const cut = { ...(first as Segment), payload: Buffer.from("ab"), missing: 4 };
  expect(brief(reassemble([cut, cut, second as Segment]))).toEqual([
    "1 client 0 ab",
    "1 client 2 gap 4",
    "1 client 6 g",
  ]);
});

it("gives a missing segment up when too much waits for it", () => {
  const payload = Buffer.alloc(60_000, "x");
  const packets = Array.from({ length: 80 }, (_, i) => ({ sequence: 11 + i * payload.length, payload }));
  const pieces = [...reassemble(segments({ sequence: 0, payload: "a" }, ...packets))];
  expect(pieces.map(({ gap }) => gap).filter((gap) => gap)).toEqual([10]);
  expect(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(1 + 80 * payload.length);
});

it("takes whoever sent the SYN for the client, else the side with the higher port, or not the given port", () => {
  const from = (packets: TcpOptions[], port?: number) =>
    [...reassemble(segments(...packets), port)].map(({ connection, from }) => `${connection.client} ${from}`);
  const low: Partial<TcpOptions> = { ports: [80, 40000] };
  expect(
    from([
      { ...low, sequence: 1, flags: syn },
      { ...low, sequence: 2, payload: "a" },
    ]),
  ).toEqual(["10.0.0.1:80 client"]);
  expect(
    from([
      { ...server, sequence: 1, acknowledged: 1, flags: syn },
      { sequence: 2, payload: "a" },
    ]),
  ).toEqual(["10.0.0.1:40000 client"]);
  expect(from([{ ...low, sequence: 2, payload: "a" }])).toEqual(["10.0.0.2:40000 server"]);
  expect(from([{ ...low, sequence: 2, payload: "a" }], 40000)).toEqual(["10.0.0.1:80 client"]);
  expect(from([{ ...low, sequence: 2, payload: "a" }], 81)).toEqual([]);
});

it("keeps connections apart, also one after the other on the same ports", () => {
  expect(
    read(
      { sequence: 0, flags: syn },
      { sequence: 1, payload: "a" },
      { sequence: 1, payload: "other", ports: [40001, 80] },
      { sequence: 9000, flags: syn },
      { sequence: 9000, flags: syn },
      { sequence: 9001, payload: "b" },
    ),
  ).toEqual(["1 client 0 a", "2 client 0 other", "3 client 0 b"]);
});

it("gives every byte once and in order, whatever the network did to the segments", () => {
  const text = Buffer.from(Array.from({ length: 200 }, (_, i) => i));
  const cuts = fc.array(fc.tuple(fc.nat(199), fc.integer({ min: 1, max: 40 })), { maxLength: 30 });
  fc.assert(
    fc.property(cuts, fc.nat(0xffffffff), (pieces, start) => {
      const whole = Array.from({ length: 10 }, (_, i) => [i * 20, 20] as const);
      const packets = [...pieces, ...whole].map(([at, size]) => ({
        sequence: start + 1 + at,
        payload: text.subarray(at, at + size),
      }));
      const read = [...reassemble(segments({ sequence: start, flags: syn }, ...packets))];
      expect(Buffer.concat(read.map(({ bytes }) => bytes))).toEqual(text);
      expect(read.every(({ gap }) => gap === 0)).toBe(true);
    }),
  );
});
