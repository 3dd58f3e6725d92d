import headers from "sofa-bolt-node/lib/simple_map_serializer.js";
import { type Guest, loadGuest } from "../guest.js";
import { encodeCall as brpcCall } from "../peers/brpc.js";
import { encodePingPong, UNARY } from "../peers/pingpong.js";
import { encodeQza } from "../peers/qza.js";
import { greeter } from "../peers/sofabolt.js";
import { encodeCall as trpcCall } from "../peers/trpc.js";
import { encodeVideoCall } from "../peers/videopacket.js";
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
  readonly pingpong: Global;
  readonly videopacket: Global;
  readonly sofabolt: Global;
  readonly awesomerpc: Global;
  readonly qza: Global;
}

interface Case {
  readonly name: string;
  /** Nanoseconds; default 25. */
  readonly aim?: number;
  readonly protocol: Exclude<keyof Decoder, keyof Guest | "decode">;
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
  {
    name: "SOFABolt requests, five entries of the header",
    protocol: "sofabolt",
    side: client,
    bytes: Buffer.concat(ids.map(boltRequest)),
    aim: 50,
  },
  { name: "SOFABolt replies", protocol: "sofabolt", side: server, bytes: Buffer.concat(ids.map(boltReply)) },
  {
    name: "videopacket requests",
    protocol: "videopacket",
    side: client,
    bytes: Buffer.concat(ids.map(videoRequest)),
    aim: 150,
  },
  { name: "qza requests", protocol: "qza", side: client, bytes: Buffer.concat(ids.map(qzaRequest)) },
  { name: "pingpong requests", protocol: "pingpong", side: client, bytes: Buffer.concat(ids.map(pingPongRequest)) },
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

function boltRequest(id: number): Buffer {
  const names = { sofa_head_target_service: greeter, sofa_head_method_name: "hello", service: greeter };
  return boltFrame(1, id, headers.encode({ ...names, traceparent: metadata.traceparent, tag: metadata.tag }));
}

function boltReply(id: number): Buffer {
  return boltFrame(0, id, Buffer.alloc(0));
}

/** A frame of protocol 1; timeout and status are 0. */
function boltFrame(type: number, id: number, header: Buffer): Buffer {
  const name = Buffer.from("com.alipay.sofa.rpc.core.request.SofaRequest");
  const content = Buffer.alloc(50);
  const start = Buffer.alloc(type ? 22 : 20);
  start.set([1, type, 0, type ? 1 : 2, 1]);
  start.writeUInt32BE(id, 5);
  start.writeUInt16BE(name.length, start.length - 8);
  start.writeUInt16BE(header.length, start.length - 6);
  start.writeUInt32BE(content.length, start.length - 4);
  return Buffer.concat([start, name, header, content]);
}

function videoRequest(id: number): Buffer {
  return encodeVideoCall(id, { command: 0xe801, subCmd: 5, func: "/Echo", body: "x".repeat(50) });
}

function qzaRequest(flow: number): Buffer {
  return encodeQza({ flow, cmd: flow, subCmd: 1, body: "x".repeat(50) });
}

function pingPongRequest(id: number): Buffer {
  return encodePingPong(id, UNARY, "x".repeat(50));
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
