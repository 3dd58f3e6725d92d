import { type Guest, loadGuest } from "../guest.js";
import { batch, replyFrame, requestFrame } from "./frames.js";

export interface Decoding {
  readonly name: string;
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
  readonly thrift: Global;
  readonly awesomerpc: Global;
}

const client = 0;
const server = 1;

/** So many frames stand in memory, as a busy connection would bring them. */
const frames = 64;
const ids = Array.from({ length: frames }, (_, i) => i + 1);

const cases = [
  { name: "Dubbo requests", protocol: "dubbo", side: client, bytes: batch(requestFrame(50), ids) },
  { name: "Dubbo replies", protocol: "dubbo", side: server, bytes: batch(replyFrame(50), ids) },
  { name: "Thrift requests", protocol: "thrift", side: client, bytes: thriftFrames(1, 1, 50) },
  { name: "Thrift replies", protocol: "thrift", side: server, bytes: thriftFrames(2, 0, 50) },
  { name: "Thrift requests, compact", protocol: "thrift", side: client, bytes: thriftCompactFrames(50) },
  { name: "awesomerpc requests", protocol: "awesomerpc", side: client, bytes: Buffer.concat(ids.map(awesomeRequest)) },
] as const;

/** What the codecs alone cost, by themselves in V8, as in Envoy: without a host, a scanner or metrics. */
export async function measureDecoding(rounds: number): Promise<Decoding[]> {
  const { memory, allocate, decode, ...protocols } = await loadGuest<Decoder>("decode.ts");
  return cases.map(({ name, protocol, side, bytes }) => {
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
    return { name, nanoseconds: Array.from({ length: rounds }, () => run(50_000)) };
  });
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
