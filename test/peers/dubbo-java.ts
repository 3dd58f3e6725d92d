import { callerOf } from "./caller.js";
import { buildJavaPeer, type ConsumerCheck, type JavaPeer } from "./java.js";

export type { ConsumerCheck };

/*
 * Apache Dubbo for Java as a peer: the reference implementation, so what it sends and accepts is Dubbo.
 */

/** How a call ended: `value`, or an `exception` by its class; `kind` is Dubbo's own word for what went wrong. */
export type CallerOutcome = {
  ms: number;
  value?: unknown;
  exception?: string;
  message?: string;
  kind?: string | number;
};

export type Caller = {
  /** Calls that method of Greeter; `timeout` is the caller's own, in milliseconds. */
  call(method: string, argument: string | number, timeout?: number): Promise<CallerOutcome>;
  stop(): Promise<void>;
};

export type Java = {
  /** Starts a provider and waits until it can be called. Without `port`, a free one; `version` is as in startServer. */
  provider(options?: { port?: number; version?: string }): Promise<{ readonly port: number; stop(): Promise<void> }>;
  /** Calls the provider at that address in every way that Consumer.java has; the first call with that `dubbo.tag`. */
  consumer(host: string, port: number, tag?: string): Promise<ConsumerCheck[]>;
  /** A client with one connection that calls what it is told; idle, it sends a heartbeat after that many milliseconds. */
  caller(host: string, port: number, heartbeatMs?: number): Caller;
};

/** Answers null, and says so on standard error, where the machine has no Maven or no JDK. Throws if the build fails. */
export async function buildJava(): Promise<Java | null> {
  // Hessian2 reads and writes the fields of exceptions.
  const peer = await buildJavaPeer("dubbo-java", ["--add-opens=java.base/java.lang=ALL-UNNAMED"]);
  return (
    peer && {
      provider: ({ port, version = "java" } = {}) => peer.provider(port, version),
      consumer: (host, port, tag) => peer.consumer(host, String(port), ...(tag === undefined ? [] : [tag])),
      caller: (host, port, heartbeatMs = 60_000) => startCaller(peer, host, port, heartbeatMs),
    }
  );
}

function startCaller(peer: JavaPeer, host: string, port: number, heartbeatMs: number): Caller {
  const { call, stop } = callerOf(peer.start("Caller", host, String(port), String(heartbeatMs)), (line) => {
    if (!line.startsWith("{")) return undefined;
    const { id, ...outcome } = JSON.parse(line) as CallerOutcome & { id: number };
    return [id, outcome];
  });
  return {
    call: (method, argument, timeout = 10_000) => call((id) => JSON.stringify({ id, method, argument, timeout })),
    stop,
  };
}
