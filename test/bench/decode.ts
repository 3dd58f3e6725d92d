import { join } from "node:path";
import asc from "assemblyscript/asc";
import { packageRoot } from "../../tools/paths.js";
import { batch, replyFrame, requestFrame } from "./frames.js";

export interface Decoding {
  readonly name: string;
  /** For each frame, one figure for each round. */
  readonly nanoseconds: readonly number[];
}

/** assembly/__bench__/decode.ts */
interface Decoder {
  _initialize(): void;
  memory: WebAssembly.Memory;
  allocate(size: number): number;
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
  const { memory, allocate, decode } = await compile();
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

/** With the options of the released module. */
async function compile(): Promise<Decoder> {
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    [join("assembly", "__bench__", "decode.ts"), "--target", "release", "--baseDir", packageRoot],
    {
      writeFile(_, contents) {
        if (typeof contents !== "string") wasm = contents;
      },
    },
  );
  if (error || !wasm) throw new Error(`assembly/__bench__/decode.ts does not compile: ${stderr}`);
  const module = await WebAssembly.compile(wasm);
  const unused = WebAssembly.Module.imports(module).map(({ name }) => [name, () => 0]);
  const instance = await WebAssembly.instantiate(module, { env: Object.fromEntries(unused) });
  const decoder = instance.exports as unknown as Decoder;
  decoder._initialize();
  return decoder;
}

function awesomeRequest(id: number): Buffer {
  const frame = Buffer.alloc(13 + 50);
  frame.writeUInt8(1, 0);
  frame.writeUInt32BE(id, 1);
  frame.writeUInt32BE(frame.length, 5);
  frame.writeInt16BE(id, 9);
  return frame;
}
