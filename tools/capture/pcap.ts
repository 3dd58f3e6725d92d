import { UserError } from "../errors.js";

/** One packet as it was captured. */
export interface Packet {
  /** Number of the link layer's header, as tcpdump.org lists them: 1 is Ethernet. */
  linkType: number;
  /** Nanoseconds since 1970; undefined where the file does not say. */
  time: bigint | undefined;
  /** A slice of the file. */
  data: Buffer;
}

export interface Capture {
  packets: Packet[];
  /** The file ends inside of a packet: whoever wrote it was interrupted. */
  truncated: boolean;
}

const pcapMicro = 0xa1b2c3d4;
const pcapNano = 0xa1b23c4d;
const sectionHeader = 0x0a0d0d0a;
const byteOrderMagic = 0x1a2b3c4d;
/** Longer packets than any tool writes: the file is damaged. */
const maxPacketBytes = 256 << 20;

const damaged = (why: string) => new UserError("E_CAPTURE", `the capture is damaged: ${why}`);

export function isCapture(file: Buffer): boolean {
  if (file.length < 4) return false;
  const magics = [file.readUInt32LE(), file.readUInt32BE()];
  return magics.some((magic) => magic === pcapMicro || magic === pcapNano || magic === sectionHeader);
}

/** Reads a pcap or pcapng file. Throws UserError `E_CAPTURE`. */
export function readCapture(file: Buffer): Capture {
  if (!isCapture(file)) throw new UserError("E_CAPTURE", "this is neither a pcap nor a pcapng file");
  return file.readUInt32BE() === sectionHeader ? readPcapng(file) : readPcap(file);
}

/** Reads integers of either byte order. */
function reader(file: Buffer, little: boolean) {
  return {
    u16: (at: number) => (little ? file.readUInt16LE(at) : file.readUInt16BE(at)),
    u32: (at: number) => (little ? file.readUInt32LE(at) : file.readUInt32BE(at)),
    i64: (at: number) => (little ? file.readBigInt64LE(at) : file.readBigInt64BE(at)),
  };
}

function readPcap(file: Buffer): Capture {
  if (file.length < 24) throw new UserError("E_CAPTURE", "the capture is cut off inside of its header");
  const magic = file.readUInt32LE();
  const little = magic === pcapMicro || magic === pcapNano;
  const { u32 } = reader(file, little);
  const fraction = u32(0) === pcapNano ? 1n : 1000n;
  // The upper bits tell of checksums behind the frames.
  const linkType = u32(20) & 0xffff;
  const packets: Packet[] = [];
  let at = 24;
  while (at + 16 <= file.length) {
    const length = u32(at + 8);
    if (length > maxPacketBytes) throw damaged(`a packet of ${length} bytes at byte ${at}`);
    if (at + 16 + length > file.length) break;
    const time = BigInt(u32(at)) * 1_000_000_000n + BigInt(u32(at + 4)) * fraction;
    packets.push({ linkType, time, data: file.subarray(at + 16, at + 16 + length) });
    at += 16 + length;
  }
  return { packets, truncated: at < file.length };
}

interface Interface {
  linkType: number;
  /** 0 for no limit. */
  snapLength: number;
  nanoseconds: (ticks: bigint) => bigint;
}

function readPcapng(file: Buffer): Capture {
  const packets: Packet[] = [];
  let read = reader(file, true);
  let interfaces: Interface[] = [];
  let at = 0;
  while (at + 12 <= file.length) {
    if (file.readUInt32BE(at) === sectionHeader) {
      const little = file.readUInt32LE(at + 8) === byteOrderMagic;
      if (!little && file.readUInt32BE(at + 8) !== byteOrderMagic)
        throw damaged(`a section at byte ${at} has no order`);
      read = reader(file, little);
      interfaces = [];
    }
    const { u16, u32 } = read;
    const type = u32(at);
    const length = u32(at + 4);
    if (length < 12 || length % 4 || length > maxPacketBytes) throw damaged(`a block of ${length} bytes at byte ${at}`);
    if (at + length > file.length) break;
    const body = at + 8;
    const end = at + length - 4;
    const add = (from: Interface | undefined, time: bigint | undefined, start: number, size: number) => {
      if (!from || start + size > end) throw damaged(`a packet that does not fit its block at byte ${at}`);
      packets.push({ linkType: from.linkType, time, data: file.subarray(start, start + size) });
    };
    if (type === 1 && length >= 20) {
      const nanoseconds = clockOf(file, read, body + 8, end);
      interfaces.push({ linkType: u16(body), snapLength: u32(body + 4), nanoseconds });
    } else if (type === 6 && length >= 32) {
      const from = interfaces[u32(body)];
      const ticks = (BigInt(u32(body + 4)) << 32n) | BigInt(u32(body + 8));
      add(from, from?.nanoseconds(ticks), body + 20, u32(body + 12));
    } else if (type === 3 && length >= 16) {
      const from = interfaces[0];
      const limit = from?.snapLength || Number.POSITIVE_INFINITY;
      add(from, undefined, body + 4, Math.min(u32(body), limit));
    }
    at += length;
  }
  return { packets, truncated: at < file.length };
}

/** How an interface's options (from `at` to `end`) say that its ticks are counted. */
function clockOf(file: Buffer, { u16, i64 }: ReturnType<typeof reader>, at: number, end: number) {
  let perSecond = 1_000_000n;
  let offset = 0n;
  while (at + 4 <= end) {
    const code = u16(at);
    const length = u16(at + 2);
    const value = at + 4;
    if (code === 0 || value + length > end) break;
    if (code === 9 && length === 1) {
      const resolution = file.readUInt8(value);
      perSecond = resolution & 0x80 ? 1n << BigInt(resolution & 0x7f) : 10n ** BigInt(resolution);
    } else if (code === 14 && length === 8) offset = i64(value);
    at = value + Math.ceil(length / 4) * 4;
  }
  return (ticks: bigint) => offset * 1_000_000_000n + (ticks * 1_000_000_000n) / perSecond;
}
