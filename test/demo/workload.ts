import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { connect, type DubboClient } from "../peers/dubbo/client.js";
import type { Attachments } from "../peers/dubbo/codec.js";
import { blob, greeter, orders } from "../peers/dubbo/server.js";
import type { Tally } from "./tally.js";

/** One call, and what has to come of it. */
export interface Call {
  service: string;
  method: string;
  args: unknown[];
  outcome: { oneway: true } | { reply(value: unknown): boolean } | { error: string };
}

/** Makes the call number `n` of a connection whose server is of that version. */
export type Kind = (n: number, version: string) => Call;

function greeting(method: string, args: unknown[], outcome: Call["outcome"]): Call {
  return { service: greeter, method, args, outcome };
}

const equals = (expected: unknown) => ({ reply: (value: unknown) => isDeepStrictEqual(value, expected) });

const hello: Kind = (n, version) => greeting("sayHello", [`fig ${n}`], equals(`Hello fig ${n} from ${version}`));
const add: Kind = (n) => greeting("add", [n, 1000], equals(n + 1000));
const echo: Kind = (n) => {
  const value = { n, text: "σύκο 🍵".repeat(n % 40), list: [n / 4, true, null], map: { deeper: [[n]] } };
  return greeting("echo", [value], equals(value));
};
const bytes: Kind = (n) => {
  const size = (n * 1499) % 65_536;
  return greeting("blob", [size], { reply: (value) => Buffer.isBuffer(value) && value.equals(blob(size)) });
};
const slow: Kind = (n) => greeting("slow", [10 + (n % 40)], equals(10 + (n % 40)));
const notify: Kind = (n) => greeting("notify", [`fig ${n}`], { oneway: true });
const fail: Kind = (_, version) => greeting("fail", [], { error: `RemoteException: refused by ${version}` });
const crash: Kind = (_, version) => greeting("crash", [], { error: `StatusError: crashed in ${version}` });

const create: Kind = (n, version) => ({
  service: orders,
  method: "create",
  args: [`fig ${n}`, n],
  outcome: {
    reply: (order) =>
      isDeepStrictEqual({ ...(order as object), id: 0 }, { id: 0, item: `fig ${n}`, count: n, version }),
  },
});
const get: Kind = () => ({ service: orders, method: "get", args: [-1], outcome: equals(null) });

/** In turn, so that every run has the same mix. */
export const greetings = [hello, add, echo, hello, notify, bytes, add, slow, hello, notify, fail, echo, add, crash];
export const purchases = [create, create, get];

/** A client that opens one connection after the other, all of which have to reach the same version. */
export interface Lane {
  /** The name of the listener. */
  through: string;
  port: number;
  /** Which server has to answer. */
  version: string;
  kinds: readonly Kind[];
  attachments?: Attachments;
}

/** Calls that one connection carries before it is closed: connections are what gets routed. */
const callsPerConnection = 56;
const inFlight = 4;

export interface Pace {
  /** How many calls in all; Infinity: until `signal`. */
  calls: number;
  /** Between the calls of each of the `inFlight` callers of a connection. */
  pauseMs: number;
  signal: AbortSignal;
}

/** Calls at that pace. What comes of each call is in `tally`; never rejects. */
export async function drive(lane: Lane, { calls, pauseMs, signal }: Pace, tally: Tally): Promise<void> {
  let n = 0;
  for (let left = calls; left > 0 && !signal.aborted; left -= callsPerConnection) {
    const end = n + Math.min(left, callsPerConnection);
    let client: DubboClient;
    try {
      client = await connect({ port: lane.port });
    } catch (error) {
      tally.trouble(lane, `no connection: ${(error as Error).message}`);
      await pause(200, signal);
      continue;
    }
    const caller = async () => {
      while (n < end && !signal.aborted) {
        const kind = lane.kinds[n % lane.kinds.length] as Kind;
        await perform(client, kind(n++, lane.version), lane, tally);
        await pause(pauseMs, signal);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, caller));
    await client.heartbeat().catch((error) => tally.trouble(lane, `no heartbeat: ${error.message}`));
    if (client.unexpected > 0) tally.trouble(lane, `${client.unexpected} replies that nobody had asked for`);
    await client.close();
  }
}

async function perform(client: DubboClient, call: Call, lane: Lane, tally: Tally): Promise<void> {
  const { service, method, args, outcome } = call;
  const { attachments = {} } = lane;
  tally.sent(lane, method);
  const start = performance.now();
  const tookMs = () => performance.now() - start;
  try {
    if ("oneway" in outcome) {
      await client.oneway(service, method, args, { attachments });
      return tally.done(lane, method);
    }
    const value = await client.call(service, method, args, { attachments });
    if ("reply" in outcome && outcome.reply(value)) tally.done(lane, method, tookMs());
    else tally.wrong(lane, method, `unexpected reply ${JSON.stringify(value).slice(0, 100)}`);
  } catch (error) {
    const got = `${(error as Error).name}: ${(error as Error).message}`;
    if ("error" in outcome && outcome.error === got) tally.refused(lane, method, tookMs());
    else tally.wrong(lane, method, got);
  }
}

/** Ends early, and without an error, when `signal` says so. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds > 0) await sleep(milliseconds, undefined, { signal }).catch(() => {});
}
