/** Writes packets and capture files for tests, from the formats' descriptions. */

export interface TcpOptions {
  from?: string;
  to?: string;
  ports?: [number, number];
  sequence: number;
  acknowledged?: number;
  flags?: number;
  payload?: string | Uint8Array;
}

export const syn = 2;
const ack = 16;

/** A TCP segment with its IP header; `from` and `to` are IPv4 addresses, or IPv6 as 32 hex digits. */
export function tcp({ from = "10.0.0.1", to = "10.0.0.2", ports = [40000, 80], ...options }: TcpOptions): Buffer {
  const payload = Buffer.from(options.payload ?? "");
  const header = Buffer.alloc(24);
  header.writeUInt16BE(ports[0], 0);
  header.writeUInt16BE(ports[1], 2);
  header.writeUInt32BE(options.sequence >>> 0, 4);
  header.writeUInt32BE((options.acknowledged ?? 0) >>> 0, 8);
  header.writeUInt8(6 << 4, 12); // four bytes of options
  header.writeUInt8((options.flags ?? 0) | (options.acknowledged === undefined ? 0 : ack), 13);
  return ip(from, to, 6, Buffer.concat([header, payload]));
}

export function ip(from: string, to: string, protocol: number, body: Buffer, extension = Buffer.alloc(0)): Buffer {
  if (from.includes(".")) {
    const header = Buffer.alloc(20);
    header.writeUInt8(0x45);
    header.writeUInt16BE(20 + body.length, 2);
    header.writeUInt8(protocol, 9);
    header.set([...from.split("."), ...to.split(".")].map(Number), 12);
    return Buffer.concat([header, body]);
  }
  const header = Buffer.alloc(8);
  header.writeUInt8(0x60);
  header.writeUInt16BE(extension.length + body.length, 4);
  header.writeUInt8(extension.length ? 0 : protocol, 6);
  return Buffer.concat([header, Buffer.from(from + to, "hex"), extension, body]);
}

export const ethernet = (packet: Buffer, type = packet[0] === 0x45 ? "0800" : "86dd") =>
  Buffer.concat([Buffer.alloc(12, 0xee), Buffer.from(type, "hex"), packet]);

export interface PcapOptions {
  linkType?: number;
  big?: boolean;
  nano?: boolean;
}

/** A classic pcap. Packet i has the time 1,700,000,000 s + i units. */
export function pcap(packets: Buffer[], { linkType = 1, big = false, nano = false }: PcapOptions = {}): Buffer {
  const { u16, u32 } = writer(big);
  const magic = u32(nano ? 0xa1b23c4d : 0xa1b2c3d4);
  const header = [magic, u16(2), u16(4), u32(0), u32(0), u32(65535), u32(linkType)];
  const records = packets.flatMap((data, i) => [u32(1_700_000_000), u32(i), u32(data.length), u32(data.length), data]);
  return Buffer.concat([...header, ...records]);
}

/** A pcapng section with one interface whose clock has `resolution` (as in if_tsresol); the first packet is a simple one. */
export function pcapng(packets: Buffer[], { linkType = 1, big = false, resolution = 9 } = {}): Buffer {
  const { u16, u32 } = writer(big);
  const block = (type: number, body: Buffer) => {
    const padded = Buffer.concat([body, Buffer.alloc((4 - (body.length % 4)) % 4)]);
    return Buffer.concat([u32(type), u32(padded.length + 12), padded, u32(padded.length + 12)]);
  };
  const section = [u32(0x1a2b3c4d), u16(1), u16(0), u32(0xffffffff), u32(0xffffffff)];
  const clock = [u16(9), u16(1), Buffer.from([resolution, 0, 0, 0]), u16(0), u16(0)];
  const comment = [u16(1), u16(2), Buffer.from("hi\0\0")];
  const ticks = 1_700_000_000n * 10n ** BigInt(resolution);
  const time = [u32(Number(ticks >> 32n)), u32(Number(ticks & 0xffffffffn))];
  return Buffer.concat([
    block(0x0a0d0d0a, Buffer.concat(section)),
    block(1, Buffer.concat([u16(linkType), u16(0), u32(0), ...comment, ...clock])),
    block(0xbad, Buffer.from("something that nobody knows")),
    ...packets.map((data, i) =>
      i === 0
        ? block(3, Buffer.concat([u32(data.length), data]))
        : block(6, Buffer.concat([u32(0), ...time, u32(data.length), u32(data.length), data])),
    ),
  ]);
}

function writer(big: boolean) {
  const make = (size: 2 | 4) => (value: number) => {
    const bytes = Buffer.alloc(size);
    if (big) bytes.writeUIntBE(value, 0, size);
    else bytes.writeUIntLE(value, 0, size);
    return bytes;
  };
  return { u16: make(2), u32: make(4) };
}
