import { type Guest, loadGuest } from "../guest.js";
import { encodeCall as brpcCall } from "../peers/brpc.js";
import { encodeCall as trpcCall } from "../peers/trpc.js";
import { batch, replyFrame, requestFrame } from "./frames.js";

export interface Decoding {
  readonly name: string;
  /** The most that a frame should take, nanoseconds. */
  readonly aim: number;
  /** For each frame, one figure for each round. */
  readonly nanoseconds: readonly number[];
}

/** A number that a module exports. */
interface Global {
  readonly value: number;
}

/** assembly/__bench__/decode.ts */
interface Decoder extends Guest {
  decode(protocol: number, side: number, at: number, size: number, rounds: number): number;
  readonly dubbo: Global;
  readonly trpc: Global;
  readonly brpc: Global;
  readonly thrift: Global;
  readonly awesomerpc: Global;
}

interface Case {
  readonly name: string;
  /** Nanoseconds; default 25. */
  readonly aim?: number;
  readonly protocol: "dubbo" | "trpc" | "brpc" | "thrift" | "awesomerpc";
  readonly side: number;
  readonly bytes: Buffer;
}

const client = 0;
const server = 1;

/** So many frames stand in memory, as a busy connection would bring them. */
const frames = 64;
const ids = Array.from({ length: frames }, (_, i) => i + 1);

const metadata = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tenant: "mediterranean",
  region: "aegean",
  tag: "gray",
  user: "2025",
};

const cases: readonly Case[] = [
  { name: "Dubbo requests", protocol: "dubbo", side: client, bytes: batch(requestFrame(50), ids) },
  { name: "Dubbo replies", protocol: "dubbo", side: server, bytes: batch(replyFrame(50), ids) },
  {
    name: "tRPC requests, five entries of trans_info",
    protocol: "trpc",
    side: client,
    bytes: Buffer.concat(ids.map(trpcRequest)),
    aim: 150,
  },
  {
    name: "bRPC requests, five user fields",
    protocol: "brpc",
    side: client,
    bytes: Buffer.concat(ids.map(brpcRequest)),
    aim: 150,
  },
  { name: "Thrift requests", protocol: "thrift", side: client, bytes: thriftFrames(1, 1, 50) },
  { name: "Thrift replies", protocol: "thrift", side: server, bytes: thriftFrames(2, 0, 50) },
  {
    name: "Thrift requests, compact",
    protocol: "thrift",
    side: client,
    bytes: thriftCompactFrames(50),
  },
  {
    name: "awesomerpc requests",
    protocol: "awesomerpc",
    side: client,
    bytes: Buffer.concat(ids.map(awesomeRequest)),
  },
];

/** What the codecs alone cost, by themselves in V8, as in Envoy: without a host, a scanner or metrics. */
export async function measureDecoding(rounds: number): Promise<Decoding[]> {
  const { memory, allocate, decode, ...protocols } = await loadGuest<Decoder>("decode.ts");
  return cases.map(({ name, protocol, side, bytes, aim = 25 }) => {
    const at = allocate(bytes.length);
    Buffer.from(memory.buffer).set(bytes, at);
    const run = (times: number) => {
      const started = performance.now();
      const decoded = decode(protocols[protocol].value, side, at, bytes.length, times);
      if (decoded !== times * frames)
        throw new Error(`${name}: ${decoded} frames decoded instead of ${times * frames}`);
      return ((performance.now() - started) * 1e6) / decoded;
    };
    // V8 first runs a quick compilation of its own, and replaces it once code has proved to be hot.
    run(50_000);
    return { name, aim, nanoseconds: Array.from({ length: rounds }, () => run(50_000)) };
  });
}

function trpcRequest(id: number): Buffer {
  const func = "/trpc.meltemi.demo.Greeter/Echo";
  return trpcCall({ id, func, info: metadata, body: "x".repeat(50) });
}

function brpcRequest(id: number): Buffer {
  return brpcCall({ id, method: "Echo", logId: 7, fields: metadata, body: "x".repeat(50) });
}

function awesomeRequest(id: number): Buffer {
  const frame = Buffer.alloc(13 + 50);
  frame.writeUInt8(1, 0);
  frame.writeUInt32BE(id, 1);
  frame.writeUInt32BE(frame.length, 5);
  frame.writeInt16BE(id, 9);
  return frame;
}

/** Framed messages of Thrift's binary protocol, whose struct is one string. */
function thriftFrames(type: number, field: number, bytes: number): Buffer {
  return Buffer.concat(
    ids.map((id) => {
      const message = [0x80, 0x01, 0, type, 0, 0, 0, 8, ...Buffer.from("sayHello"), 0, 0, 0, id];
      const frame = Buffer.from([0, 0, 0, 0, ...message, 11, 0, field, 0, 0, 0, bytes, ...Buffer.alloc(bytes), 0]);
      frame.writeUInt32BE(frame.length - 4, 0);
      return frame;
    }),
  );
}

/** The same of requests in the compact protocol. */
function thriftCompactFrames(bytes: number): Buffer {
  return Buffer.concat(
    ids.map((id) => {
      const message = [0x82, 0x21, id, 8, ...Buffer.from("sayHello")];
      const frame = Buffer.from([0, 0, 0, 0, ...message, 0x18, bytes, ...Buffer.alloc(bytes), 0]);
      frame.writeUInt32BE(frame.length - 4, 0);
      return frame;
    }),
  );
}
