import { type Guest, loadGuest } from "../guest.js";
import { batch, replyFrame, requestFrame } from "./frames.js";

export interface Decoding {
  readonly name: string;
  /** For each frame, one figure for each round. */
  readonly nanoseconds: readonly number[];
}

/** assembly/__bench__/decode.ts */
interface Decoder extends Guest {
  decode(protocol: number, side: number, at: number, size: number, rounds: number): number;
}

const client = 0;
const server = 1;
const dubbo = 0;
const awesomerpc = 1;

/** So many frames stand in memory, as a busy connection would bring them. */
const frames = 64;
const ids = Array.from({ length: frames }, (_, i) => i + 1);

const cases = [
  { name: "Dubbo requests", protocol: dubbo, side: client, bytes: batch(requestFrame(50), ids) },
  { name: "Dubbo replies", protocol: dubbo, side: server, bytes: batch(replyFrame(50), ids) },
  { name: "awesomerpc requests", protocol: awesomerpc, side: client, bytes: Buffer.concat(ids.map(awesomeRequest)) },
];

/** What the codecs alone cost, by themselves in V8, as in Envoy: without a host, a scanner or metrics. */
export async function measureDecoding(rounds: number): Promise<Decoding[]> {
  const { memory, allocate, decode } = await loadGuest<Decoder>("decode.ts");
  return cases.map(({ name, protocol, side, bytes }) => {
    const at = allocate(bytes.length);
    Buffer.from(memory.buffer).set(bytes, at);
    const run = (times: number) => {
      const started = performance.now();
      const decoded = decode(protocol, side, at, bytes.length, times);
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
