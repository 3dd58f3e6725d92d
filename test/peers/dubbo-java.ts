import { buildJavaPeer, type ConsumerCheck } from "./java.js";

export type { ConsumerCheck };

/*
 * Apache Dubbo for Java as a peer: the reference implementation, so what it sends and accepts is Dubbo.
 */

export type Java = {
  /** Starts a provider and waits until it can be called. Without `port`, a free one; `version` is as in startServer. */
  provider(options?: { port?: number; version?: string }): Promise<{ readonly port: number; stop(): Promise<void> }>;
  /** Calls the provider at that address in every way that Consumer.java has; the first call with that `dubbo.tag`. */
  consumer(host: string, port: number, tag?: string): Promise<ConsumerCheck[]>;
};

/** Answers null, and says so on standard error, where the machine has no Maven or no JDK. Throws if the build fails. */
export async function buildJava(): Promise<Java | null> {
  // Hessian2 reads and writes the fields of exceptions.
  const peer = await buildJavaPeer("dubbo-java", ["--add-opens=java.base/java.lang=ALL-UNNAMED"]);
  return (
    peer && {
      provider: ({ port, version = "java" } = {}) => peer.provider(port, version),
      consumer: (host, port, tag) => peer.consumer(host, String(port), ...(tag === undefined ? [] : [tag])),
    }
  );
}
