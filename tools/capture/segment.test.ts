import fc from "fast-check";
import { expect, it } from "vitest";
import { UserError } from "../errors.js";
import { ethernet, ip, syn, tcp } from "./packets.fixture.js";
import { segmentOf } from "./segment.js";

const read = (data: Buffer, linkType = 1) => segmentOf({ linkType, time: 1n, data });
const v6 = ["20010db8000000000000000000000001", "fe800000000000000001000000000000"] as const;

it.each([
  ["Ethernet", 1, (packet: Buffer) => ethernet(packet)],
  ["Ethernet with two VLAN tags", 1, (packet: Buffer) => ethernet(packet, "88a80001810000020800")],
  ["Ethernet with padding", 1, (packet: Buffer) => ethernet(Buffer.concat([packet, Buffer.alloc(9)]), "0800")],
  ["Linux cooked", 113, (packet: Buffer) => Buffer.concat([Buffer.alloc(14), Buffer.from("0800", "hex"), packet])],
  ["Linux cooked 2", 276, (packet: Buffer) => Buffer.concat([Buffer.from("0800", "hex"), Buffer.alloc(18), packet])],
  ["loopback", 0, (packet: Buffer) => Buffer.concat([Buffer.from("02000000", "hex"), packet])],
  ["raw", 101, (packet: Buffer) => packet],
])("%s", (_, linkType, wrap) => {
  const packet = tcp({ sequence: 4_000_000_000, acknowledged: 7, flags: syn, payload: "abc" });
  expect(read(wrap(packet), linkType)).toEqual({
    source: "10.0.0.1:40000",
    destination: "10.0.0.2:80",
    sourcePort: 40000,
    destinationPort: 80,
    time: 1n,
    sequence: 4_000_000_000,
    acknowledged: 7,
    syn: true,
    payload: Buffer.from("abc"),
    missing: 0,
  });
});

it("IPv6, with and without extension headers", () => {
  const plain = tcp({ from: v6[0], to: v6[1], sequence: 1, payload: "abc" });
  const options = Buffer.from("0601000000000000" + "0000000000000000", "hex");
  const extended = ip(v6[0], v6[1], 6, plain.subarray(40), options);
  for (const packet of [plain, extended]) {
    expect(read(ethernet(packet, "86dd"))).toMatchObject({
      source: "[2001:db8::1]:40000",
      destination: "[fe80::1:0:0:0]:80",
      payload: Buffer.from("abc"),
      missing: 0,
    });
  }
});

it("says how much of the payload a short capture length left out", () => {
  const packet = tcp({ sequence: 1, payload: "abcdef" });
  expect(read(packet.subarray(0, packet.length - 4), 101)).toMatchObject({ payload: Buffer.from("ab"), missing: 4 });
});

it("takes a length of 0, which offloading leaves, for all there is", () => {
  const packet = tcp({ sequence: 1, payload: "abc" });
  packet.writeUInt16BE(0, 2);
  expect(read(packet, 101)).toMatchObject({ payload: Buffer.from("abc"), missing: 0 });
});

it("tells other packets apart", () => {
  const fragment = tcp({ sequence: 1, payload: "abc" });
  fragment.writeUInt16BE(0x2000, 6);
  expect(read(fragment, 101)).toBe("IP fragment");
  expect(read(ip("1.2.3.4", "5.6.7.8", 17, Buffer.alloc(8)), 101)).toBe("not TCP");
  expect(read(ethernet(Buffer.alloc(28), "0806"))).toBe("not IP");
  expect(read(Buffer.alloc(5))).toBe("cut off");
  expect(() => read(Buffer.alloc(60), 105)).toThrow(UserError);
});

it("reads any bytes without falling over", () => {
  const packets = [
    ethernet(tcp({ sequence: 1, payload: "abc" })),
    ethernet(tcp({ from: v6[0], to: v6[1], sequence: 1 })),
  ];
  fc.assert(
    fc.property(
      fc.constantFrom(...packets),
      fc.nat(100),
      fc.array(fc.tuple(fc.nat(99), fc.nat(255)), { maxLength: 3 }),
      (packet, length, changes) => {
        const data = Buffer.from(packet.subarray(0, length));
        for (const [at, byte] of changes) if (at < data.length) data[at] = byte;
        const result = read(data);
        if (typeof result !== "string") {
          expect(result.payload.length).toBeLessThanOrEqual(length);
          expect(result.missing).toBeGreaterThanOrEqual(0);
        }
      },
    ),
    { numRuns: 2000 },
  );
});
