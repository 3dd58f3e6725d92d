import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { pcap, pcapng } from "./packets.fixture.js";
import { isCapture, readCapture } from "./pcap.js";

const packets = [Buffer.from("a"), Buffer.from("bcdef"), Buffer.alloc(0)];

describe("pcap", () => {
  it.each([
    [false, false, 1000n],
    [true, false, 1000n],
    [false, true, 1n],
    [true, true, 1n],
  ])("big-endian %s, nanoseconds %s", (big, nano, unit) => {
    const read = readCapture(pcap(packets, { big, nano, linkType: 113 }));
    expect(read.truncated).toBe(false);
    expect(read.packets.map(({ data }) => data)).toEqual(packets);
    expect(read.packets[1]).toMatchObject({ linkType: 113, time: 1_700_000_000_000_000_000n + unit });
  });

  it("that stops anywhere has the packets before", () => {
    const file = pcap(packets);
    const ends = [24, 24 + 17, 24 + 17 + 21, file.length];
    for (let length = 24; length <= file.length; length++) {
      const read = readCapture(file.subarray(0, length));
      expect(read.packets.length).toBe(ends.filter((end) => end <= length).length - 1);
      expect(read.truncated).toBe(!ends.includes(length));
    }
    expect(() => readCapture(file.subarray(0, 23))).toThrow("cut off inside of its header");
  });
});

describe("pcapng", () => {
  it.each([
    [false, 9],
    [true, 9],
    [false, 6],
    [true, 3],
  ])("big-endian %s, clock 10^-%i s", (big, resolution) => {
    const read = readCapture(pcapng(packets, { big, resolution, linkType: 276 }));
    expect(read).toEqual({
      truncated: false,
      packets: packets.map((data, i) => ({ linkType: 276, time: i ? 1_700_000_000_000_000_000n : undefined, data })),
    });
  });

  it("of several sections in one file", () => {
    const file = Buffer.concat([pcapng(packets, { linkType: 1 }), pcapng(packets, { linkType: 101, big: true })]);
    expect(readCapture(file).packets.map(({ linkType }) => linkType)).toEqual([1, 1, 1, 101, 101, 101]);
  });

  it("that stops inside of a block has the packets before", () => {
    const file = pcapng(packets);
    const read = readCapture(file.subarray(0, file.length - 1));
    expect(read.truncated).toBe(true);
    expect(read.packets.length).toBe(2);
  });

  it("with a packet of an interface that it does not have", () => {
    const file = pcapng(packets);
    file.writeUInt32LE(7, file.length - 24);
    expect(() => readCapture(file)).toThrow(/^the capture is damaged: a packet/);
  });
});

it("anything else is no capture", () => {
  expect(isCapture(Buffer.from("abc"))).toBe(false);
  expect(() => readCapture(Buffer.from("neither"))).toThrow(UserError);
});

it("damaged files give packets or a UserError", () => {
  const files = [pcap(packets), pcapng(packets), pcapng(packets, { big: true })];
  fc.assert(
    fc.property(
      fc.constantFrom(...files),
      fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (file, changes) => {
        const damaged = Buffer.from(file);
        for (const [at, byte] of changes) damaged[at % damaged.length] = byte;
        try {
          for (const { data } of readCapture(damaged).packets) expect(data.length).toBeLessThanOrEqual(file.length);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
