import { UserError } from "../errors.js";
import type { Packet } from "./pcap.js";

/** What one packet says of a TCP connection. */
export interface Segment {
  /** `address:port`; `[address]:port` for IPv6. */
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
  time: bigint | undefined;
  sequence: number;
  /** Up to where the sender has everything; undefined where the segment does not say. */
  acknowledged: number | undefined;
  syn: boolean;
  payload: Buffer;
  /** Bytes of the payload that were sent and not captured: they stand behind `payload`. */
  missing: number;
}

/** Why a packet is no segment. */
export type Other = "not IP" | "not TCP" | "IP fragment" | "cut off";

const etherIpv4 = 0x0800;
const etherIpv6 = 0x86dd;
const vlanTags: ReadonlySet<number> = new Set([0x8100, 0x88a8, 0x9100]);
const tcp = 6;

/** Throws UserError `E_LINK_TYPE` for a link layer that is not known. */
export function segmentOf({ linkType, data, time }: Packet): Segment | Other {
  const ip = networkLayer(linkType, data);
  if (typeof ip === "string") return ip;
  const transport = ip.readUInt8() >> 4 === 4 ? ipv4(ip) : ipv6(ip);
  if (typeof transport === "string") return transport;

  const { source, destination, bytes, length } = transport;
  if (bytes.length < 20) return "cut off";
  const header = (bytes.readUInt8(12) >> 4) * 4;
  if (header < 20 || header > length) return "not TCP";
  const payload = bytes.subarray(header);
  const flags = bytes.readUInt8(13);
  const [sourcePort, destinationPort] = [bytes.readUInt16BE(0), bytes.readUInt16BE(2)];
  return {
    source: `${source}:${sourcePort}`,
    destination: `${destination}:${destinationPort}`,
    sourcePort,
    destinationPort,
    time,
    sequence: bytes.readUInt32BE(4),
    acknowledged: flags & 16 ? bytes.readUInt32BE(8) : undefined,
    syn: (flags & 2) !== 0,
    payload,
    missing: length - header - payload.length,
  };
}

/** Removes the link layer's header. What is left is not empty and starts with an IP version. */
function networkLayer(linkType: number, data: Buffer): Buffer | Other {
  const from = linkHeader(linkType, data);
  if (typeof from === "string") return from;
  const ip = data.subarray(from);
  if (ip.length === 0) return "cut off";
  const version = ip.readUInt8() >> 4;
  return version === 4 || version === 6 ? ip : "not IP";
}

/** Bytes before the IP header. */
function linkHeader(linkType: number, data: Buffer): number | Other {
  const after = (typeAt: number, start: number): number | Other => {
    let [at, from] = [typeAt, start];
    while (at + 2 <= data.length) {
      const type = data.readUInt16BE(at);
      if (type === etherIpv4 || type === etherIpv6) return from;
      if (!vlanTags.has(type)) return "not IP";
      at = from + 2;
      from += 4;
    }
    return "cut off";
  };
  switch (linkType) {
    case 1: // Ethernet
      return after(12, 14);
    case 113: // Linux cooked
      return after(14, 16);
    case 276: // Linux cooked, version 2
      return after(0, 20);
    case 0: // loopback: an address family in the byte order of whoever captured; the IP version says the same
    case 108:
      return 4;
    case 12: // raw IP
    case 14:
    case 101:
    case 228:
    case 229:
      return 0;
    default:
      throw new UserError("E_LINK_TYPE", `the capture has link type ${linkType}, which is not supported`, {
        hint: "Ethernet, Linux cooked (any), loopback and raw IP are. Capture again with: tcpdump -i any -w FILE tcp",
      });
  }
}

interface Transport {
  source: string;
  destination: string;
  bytes: Buffer;
  /** What `bytes` had when it was sent. */
  length: number;
}

function ipv4(ip: Buffer): Transport | Other {
  if (ip.length < 20) return "cut off";
  const header = (ip.readUInt8() & 15) * 4;
  // Captures on the sender's side of an offloading card have no length yet.
  const total = ip.readUInt16BE(2) || ip.length;
  if (header < 20 || total < header) return "not IP";
  if (ip.readUInt8(9) !== tcp) return "not TCP";
  if (ip.readUInt16BE(6) & 0x3fff) return "IP fragment";
  const address = (at: number) => ip.subarray(at, at + 4).join(".");
  // What is behind the total is padding of the link.
  const bytes = ip.subarray(header, total);
  return { source: address(12), destination: address(16), bytes, length: total - header };
}

function ipv6(ip: Buffer): Transport | Other {
  if (ip.length < 40) return "cut off";
  const total = 40 + (ip.readUInt16BE(4) || ip.length - 40);
  let next = ip.readUInt8(6);
  let at = 40;
  while (next !== tcp) {
    // Hop-by-hop options, routing, destination options: u8 next, u8 length in 8 bytes without the first 8.
    if (next === 44) return "IP fragment";
    if (next !== 0 && next !== 43 && next !== 60) return "not TCP";
    if (at + 2 > ip.length) return "cut off";
    next = ip.readUInt8(at);
    at += 8 + ip.readUInt8(at + 1) * 8;
  }
  if (at > total) return "not IP";
  const address = (from: number) => `[${ipv6Text(ip.subarray(from, from + 16))}]`;
  return { source: address(8), destination: address(24), bytes: ip.subarray(at, total), length: total - at };
}

/** In the form of RFC 5952: the longest run of zero groups becomes `::`. */
function ipv6Text(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16)).join(":");
  const longest = (groups.match(/\b0(:0\b)+/g) ?? []).reduce((a, b) => (b.length > a.length ? b : a), "");
  return longest ? groups.replace(new RegExp(`:?\\b${longest}\\b:?`), "::") : groups;
}
