import headers from "sofa-bolt-node/lib/simple_map_serializer.js";
import { type Guest, loadGuest } from "../guest.js";
import { encodeCall as brpcCall } from "../peers/brpc.js";
import { encodeRequest } from "../peers/dubbo/codec.js";
import { encodePingPong, UNARY } from "../peers/pingpong.js";
import { encodeQza } from "../peers/qza.js";
import { greeter } from "../peers/sofabolt.js";
import { encodeCall as trpcCall } from "../peers/trpc.js";
import { encodeVideoCall } from "../peers/videopacket.js";
import { batch, method, replyFrame, requestFrame, service } from "./frames.js";
import { thriftFrame, thriftLayout } from "./thrift.js";

export interface Decoding {
  readonly name: string;
  /** The most that a head should take, nanoseconds; none where metadata are read as well, which only some rules need. */
  readonly aim: number | undefined;
  /** Of the first frame, those that have to be there before all is known of it that is asked for. */
  readonly bytes: number;
  /** For each frame, one figure for each round. */
  readonly nanoseconds: readonly number[];
}

/** A number that a module exports. */
interface Global {
  readonly value: number;
}

/** assembly/__bench__/decode.ts */
interface Decoder extends Guest {
  decode(protocol: number, side: number, at: number, size: number, metadata: boolean, rounds: number): number;
  needed(protocol: number, side: number, at: number, size: number, metadata: boolean): number;
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
  /** Nanoseconds for the head; default 25, that of fixed headers. */
  readonly aim?: number;
  readonly protocol: Exclude<keyof Decoder, keyof Guest | "decode" | "needed">;
  readonly side: number;
  /** Whether metadata are read, as for a route that asks for one; default: the head, as for the metrics. */
  readonly metadata?: true;
  readonly frame: (id: number) => Buffer;
}

const client = 0;
const server = 1;

/** So many frames stand in memory, as a busy connection would bring them. */
const frames = 64;
const ids = Array.from({ length: frames }, (_, i) => i + 1);

/** For heads in Protocol Buffers, JCE, Hessian 2 and the like. */
const structured = 150;

const entries = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  tenant: "mediterranean",
  region: "aegean",
  tag: "gray",
  user: "2025",
};
const body = "x".repeat(50);

const cases: readonly Case[] = [
  { name: "Dubbo requests", protocol: "dubbo", side: client, frame: (id) => batch(requestFrame(50), [id]) },
  { name: "Dubbo replies", protocol: "dubbo", side: server, frame: (id) => batch(replyFrame(50), [id]) },
  ...both("Dubbo requests, five attachments", "dubbo", dubboRequest),
  ...both("tRPC requests, five entries of trans_info", "trpc", trpcRequest),
  { name: "tRPC replies", protocol: "trpc", side: server, frame: trpcReply, aim: structured },
  ...both("bRPC requests, five user fields", "brpc", brpcRequest),
  { name: "bRPC replies", protocol: "brpc", side: server, frame: brpcReply, aim: structured },
  { name: "Thrift requests", protocol: "thrift", side: client, frame: (id) => thrift(1, 1, id) },
  { name: "Thrift replies", protocol: "thrift", side: server, frame: (id) => thrift(2, 0, id) },
  { name: "Thrift requests, compact", protocol: "thrift", side: client, frame: thriftCompact },
  ...both("Thrift requests, five infos of a THeader", "thrift", thriftHeader),
  ...both("SOFABolt requests, five entries of the header", "sofabolt", boltRequest),
  { name: "SOFABolt replies", protocol: "sofabolt", side: server, frame: boltReply },
  ...both("videopacket requests", "videopacket", videoRequest),
  { name: "videopacket replies", protocol: "videopacket", side: server, frame: videoRequest, aim: structured },
  { name: "awesomerpc requests", protocol: "awesomerpc", side: client, frame: awesomeRequest },
  { name: "qza requests", protocol: "qza", side: client, frame: qzaRequest },
  {
    name: "qza requests, with metadata",
    protocol: "qza",
    side: client,
    frame: qzaRequest,
    metadata: true,
    aim: structured,
  },
  { name: "pingpong requests", protocol: "pingpong", side: client, frame: pingPongRequest },
];

/** The head alone, and with the metadata. */
function both(name: string, protocol: Case["protocol"], frame: Case["frame"]): Case[] {
  const head: Case = { name, protocol, side: client, frame, aim: structured };
  return [head, { ...head, name: `${name}, read`, metadata: true }];
}

/** What the codecs alone cost, by themselves in V8, as in Envoy: without a host, a scanner or metrics. */
export async function measureDecoding(rounds: number): Promise<Decoding[]> {
  const { memory, allocate, decode, needed, ...protocols } = await loadGuest<Decoder>("decode.ts");
  return cases.map(({ name, protocol, side, frame, metadata = false, aim = 25 }) => {
    const bytes = Buffer.concat(ids.map(frame));
    const at = allocate(bytes.length);
    Buffer.from(memory.buffer).set(bytes, at);
    const index = protocols[protocol].value;
    const run = (times: number) => {
      const started = performance.now();
      const decoded = decode(index, side, at, bytes.length, metadata, times);
      if (decoded !== times * frames)
        throw new Error(`${name}: ${decoded} frames decoded instead of ${times * frames}`);
      return ((performance.now() - started) * 1e6) / decoded;
    };
    // V8 first runs a quick compilation of its own, and replaces it once code has proved to be hot.
    run(50_000);
    const nanoseconds = Array.from({ length: rounds }, () => run(50_000));
    return {
      name,
      aim: metadata ? undefined : aim,
      bytes: needed(index, side, at, bytes.length, metadata),
      nanoseconds,
    };
  });
}

function dubboRequest(id: number): Buffer {
  return encodeRequest(id, service, method, [body], { attachments: entries });
}

function trpcRequest(id: number): Buffer {
  const func = "/trpc.meltemi.demo.Greeter/Echo";
  return trpcCall({ id, func, info: entries, body: body });
}

function brpcRequest(id: number): Buffer {
  return brpcCall({ id, method: "Echo", logId: 7, fields: entries, body: body });
}

/** A ResponseProtocol with nothing but the id. */
function trpcReply(id: number): Buffer {
  const message = Buffer.from([0x18, id]);
  const header = Buffer.alloc(16);
  header.writeUInt16BE(0x0930, 0);
  header.writeUInt32BE(header.length + message.length + body.length, 4);
  header.writeUInt16BE(message.length, 8);
  return Buffer.concat([header, message, Buffer.from(body)]);
}

/** An RpcMeta with an empty RpcResponseMeta and the id. */
function brpcReply(id: number): Buffer {
  const meta = Buffer.from([0x12, 0, 0x20, id]);
  const header = Buffer.from("PRPC\0\0\0\0\0\0\0\0");
  header.writeUInt32BE(meta.length + body.length, 4);
  header.writeUInt32BE(meta.length, 8);
  return Buffer.concat([header, meta, Buffer.from(body)]);
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
  return boltFrame(1, id, headers.encode({ ...names, traceparent: entries.traceparent, tag: entries.tag }));
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
  return encodeVideoCall(id, { command: 0xe801, subCmd: 5, func: "/Echo", body: body });
}

function qzaRequest(flow: number): Buffer {
  return encodeQza({ flow, cmd: flow, subCmd: 1, body: body });
}

function pingPongRequest(id: number): Buffer {
  return encodePingPong(id, UNARY, body);
}

function thrift(type: number, field: number, id: number): Buffer {
  return batch(thriftFrame(type, field, body.length), [id], thriftLayout);
}

/** A framed message of Thrift's compact protocol. */
function thriftCompact(id: number): Buffer {
  const message = Buffer.from([0x82, 0x21, id, method.length, ...Buffer.from(method)]);
  return framed(Buffer.from([...message, 0x18, body.length, ...Buffer.from(body), 0]));
}

/** A message of the binary protocol behind a THeader with infos. */
function thriftHeader(id: number): Buffer {
  const text = (value: string) => [value.length, ...Buffer.from(value)];
  const pairs = Object.entries(entries).flatMap(([key, value]) => [...text(key), ...text(value)]);
  const header = [0, 0, 1, Object.keys(entries).length, ...pairs];
  while (header.length % 4) header.push(0);
  const start = Buffer.alloc(10);
  start.writeUInt16BE(0x0fff, 0);
  start.writeUInt32BE(id, 4);
  start.writeUInt16BE(header.length / 4, 8);
  return framed(Buffer.concat([start, Buffer.from(header), thrift(1, 1, id).subarray(4)]));
}

function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(message.length);
  return Buffer.concat([length, message]);
}
