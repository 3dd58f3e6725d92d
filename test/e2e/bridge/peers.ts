import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { type DubboClient, StatusError } from "../../peers/dubbo/client.js";
import { decode, encodeHeartbeatReply, FrameCutter, type Message } from "../../peers/dubbo/codec.js";
import type { ProxyOptions } from "../harness.js";

/*
 * A Dubbo server that does what a test tells it, right or wrong, and the account of what came of many calls.
 */

export type Request = Message & { kind: "request" };

export interface ScriptedServer {
  readonly port: number;
  /** Connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** Heartbeats that came. */
  readonly heartbeats: number;
  /** Answers to the server's own heartbeats. */
  readonly heartbeatReplies: number;
  stop(): Promise<void>;
}

/** Hands every request to the test; answers heartbeats by itself. It ends with the test. */
export async function startScripted(
  onRequest: (request: Request, socket: Socket) => void,
  { port = 0 }: { port?: number } = {},
): Promise<ScriptedServer> {
  const sockets = new Set<Socket>();
  let heartbeats = 0;
  let heartbeatReplies = 0;
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    const cutter = new FrameCutter();
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("end", () => socket.end());
    socket.on("data", (chunk) => {
      for (const message of cutter.push(chunk).map(decode)) {
        if (message.kind === "request") {
          onRequest(message, socket);
        } else if (message.kind === "heartbeat") {
          heartbeats++;
          if (socket.writable) socket.write(encodeHeartbeatReply(message.id));
        } else if (message.kind === "heartbeatReply") {
          heartbeatReplies++;
        }
      }
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  onTestFinished(stop);
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    get heartbeats() {
      return heartbeats;
    },
    get heartbeatReplies() {
      return heartbeatReplies;
    },
    stop,
  };
}

/** Has the router speak HTTP/1.1 to the server's leg, although the protocol has heartbeats. */
export const http1 = speaking({ http_protocol_options: {} });
/** The same of HTTP/2 and a protocol that has none. */
export const http2 = speaking({ http2_protocol_options: {} });

function speaking(options: object): ProxyOptions {
  return {
    change: (bootstrap) =>
      JSON.parse(JSON.stringify(bootstrap), (key, value) => (key === "explicit_http_config" ? options : value)),
  };
}

/** The same in another order, by a seed that makes it the same each time. */
export function shuffled<T>(items: readonly T[], seed = 1): T[] {
  const out = [...items];
  let state = seed;
  for (let i = out.length - 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = state % (i + 1);
    [out[i], out[j]] = [out[j] as T, out[i] as T];
  }
  return out;
}

/** How many calls ended how: `reply`, `StatusError 100`, or the name of another error of the client. */
export async function tally(calls: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { status, reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
    const name = status === ("fulfilled" as string) ? "reply" : nameOf(reason);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function nameOf(error: Error): string {
  return error instanceof StatusError ? `StatusError ${error.status}` : error.name;
}

/** The error that a call ends with. */
export async function failure(call: ReturnType<DubboClient["call"]>): Promise<Error> {
  return call.then(
    (value) => Promise.reject(new Error(`a reply came: ${value}`)),
    (error) => error,
  );
}
