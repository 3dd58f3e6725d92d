import { StatusError } from "../../peers/dubbo/client.js";
import { encodeReply } from "../../peers/dubbo/codec.js";
import { type Request, startScripted } from "../bridge/peers.js";

/*
 * Dubbo servers that keep what they were asked, and what became of calls.
 */

/** The frame that answers the nth request, from 0; nothing: it is not answered. */
export type Answer = (request: Request, nth: number) => Buffer | undefined | Promise<Buffer | undefined>;

export interface Instance {
  readonly name: string;
  readonly port: number;
  /** What came, oldest first. */
  readonly requests: readonly Request[];
  /** Ends all connections and takes no more. */
  stop(): Promise<void>;
}

/** Starts a server that answers its name where it is not told otherwise. It ends with the test. */
export async function startInstance(
  name: string,
  answer: Answer = ({ id }) => encodeReply(id, name),
): Promise<Instance> {
  const requests: Request[] = [];
  const { port, stop } = await startScripted(async (request, socket) => {
    const reply = await answer(request, requests.push(request) - 1);
    if (reply && request.twoWay && socket.writable) socket.write(reply);
  });
  return { name, port, requests, stop };
}

/** What a call came to: the reply, or the error in words, a reply's status included. */
export async function outcome(call: Promise<unknown>): Promise<unknown> {
  return call.catch((error: Error) => {
    const status = error instanceof StatusError ? ` ${error.status}` : "";
    return `${error.name}${status}: ${error.message}`;
  });
}

/** How often each of them came. */
export function tally(outcomes: readonly unknown[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const it of outcomes) counts[String(it)] = (counts[String(it)] ?? 0) + 1;
  return counts;
}

/** What n calls at a time come to. */
export function many(n: number, call: (i: number) => Promise<unknown>): Promise<unknown[]> {
  return Promise.all(Array.from({ length: n }, (_, i) => outcome(call(i))));
}

/** Milliseconds from now until it is there. */
export async function took(what: Promise<unknown>): Promise<number> {
  const then = performance.now();
  await what;
  return performance.now() - then;
}

/** A port where nobody listens. */
export async function nobody(): Promise<number> {
  const { port, stop } = await startScripted(() => {});
  await stop();
  return port;
}
