import { readFileSync } from "node:fs";
import { type Chain, Host, type Root } from "../../tools/host/host.js";
import { splitName } from "../../tools/host/metrics.js";
import { defaultModule } from "../../tools/paths.js";
import { encodeReply, encodeRequest, type RequestOptions } from "../peers/dubbo/codec.js";

export const wasm = readFileSync(defaultModule);

/** A host with the built module whose clock moves only by hand. */
export async function load(): Promise<{ host: Host; sleep: (milliseconds: number) => void }> {
  let now = 1_700_000_000_000_000_000n;
  const host = await Host.load(wasm, { clock: () => now });
  return {
    host,
    sleep: (milliseconds) => {
      now += BigInt(milliseconds) * 1_000_000n;
    },
  };
}

export type Labels = Record<string, string>;

/** Tells the host what the module counted, and answers the sum of a metric's values whose labels include `labels`. */
export function sum(host: Host, name: string, labels: Labels = {}): number {
  let total = 0;
  for (const sample of samples(host, name)) {
    if (Object.entries(labels).every(([key, value]) => sample.labels[key] === value)) total += sample.value;
  }
  return total;
}

/** Every series of a metric that is not zero, a histogram with its number of samples. */
export function samples(host: Host, name: string): { labels: Labels; value: number }[] {
  host.tick();
  const { counters, gauges, histograms } = host.metrics;
  const all: [string, number][] = [...counters, ...gauges];
  for (const [full, { count }] of histograms) all.push([full, count]);
  return all
    .map(([full, value]) => ({ ...splitName(full), value }))
    .filter((sample) => sample.name === name && sample.value !== 0)
    .map(({ labels, value }) => ({ labels: Object.fromEntries(labels), value }));
}

/** The log lines of one kind (`request`, `frame`, `route`, `decode_error`), read. */
export function lines(host: Host, kind: string): Record<string, unknown>[] {
  return host.logs
    .filter(({ message }) => message.startsWith('{"meltemi":'))
    .map(({ message }) => JSON.parse(message) as Record<string, unknown>)
    .filter(({ meltemi }) => meltemi === kind);
}

/** A connection whose other ends write down what reaches them. */
export function connect(root: Root, chain: Chain = {}) {
  const seen = { toServer: Buffer.alloc(0), toClient: Buffer.alloc(0), started: false, closed: false };
  const connection = root.connect({
    ...chain,
    started: (it) => {
      seen.started = true;
      chain.started?.(it);
    },
    toServer: (bytes, end) => {
      seen.toServer = Buffer.concat([seen.toServer, bytes]);
      chain.toServer?.(bytes, end);
    },
    toClient: (bytes, end) => {
      seen.toClient = Buffer.concat([seen.toClient, bytes]);
      chain.toClient?.(bytes, end);
    },
    closed: () => {
      seen.closed = true;
    },
  });
  return Object.assign(seen, { connection });
}

/** How much each host function is called while `run` runs; those that are not called are left out. */
export function callsOf(host: Host, run: () => void): Record<string, number> {
  const before = { ...host.calls };
  run();
  const calls: Record<string, number> = {};
  for (const [name, count] of Object.entries(host.calls)) {
    const more = count - (before[name] ?? 0);
    if (more) calls[name.replace("proxy_", "")] = more;
  }
  return calls;
}

export const request = (
  id: number,
  service = "a.Greeter",
  method = "hello",
  options: RequestOptions = {},
  args: unknown[] = ["world"],
) => encodeRequest(id, service, method, args, options);

export const reply = (id: number) => encodeReply(id, "hello world");

/** A frame of awesomerpc. */
export function awesome(
  id: number,
  cmd: number,
  { code = 0, body = 0 }: { code?: number; body?: number } = {},
): Buffer {
  const frame = Buffer.alloc(13 + body);
  frame.writeUInt8(1, 0);
  frame.writeUInt32BE(id, 1);
  frame.writeUInt32BE(frame.length, 5);
  frame.writeInt16BE(cmd, 9);
  frame.writeInt16BE(code, 11);
  return frame;
}
