import { request } from "node:http";
import { Duplex, PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import type { KubeConfig } from "@kubernetes/client-node";
import { Exit, UserError } from "../../errors.js";
import { interrupted } from "../../interrupt.js";
import type { Cluster } from "../client.js";

/*
 * HTTP with what listens in a pod, loopback included, by the API server's port-forwarding.
 */

const TIMEOUT_MS = 20_000;
/** More than Envoy has to say in a mesh of thousands of Services. */
const MAX_BYTES = 64 * 2 ** 20;
/** A WebSocket waits for the other side to say goodbye as well. */
const GOODBYE_MS = 1_000;

/** A port of a pod. */
export interface PodPort {
  namespace: string;
  pod: string;
  port: number;
}

/**
 * The body of a page; nothing where the answer is 404.
 * @throws UserError `E_FORBIDDEN`, `E_POD` where nobody answers, or with something else than 200, `E_INTERRUPTED`
 */
export async function getFromPod(
  cluster: Cluster,
  at: PodPort,
  path: string,
  signal?: AbortSignal,
): Promise<string | undefined> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
  const said = bounded();
  let tunnel: Tunnel | undefined;
  try {
    tunnel = await open(cluster.kubeconfig, at, said, either);
    const { status, body } = await ask(tunnel.stream, path, either);
    if (status === 404) return undefined;
    if (status !== 200) throw new Error(`HTTP ${status}${body.trim() && `: ${body.trim().slice(0, 200)}`}`);
    return body;
  } catch (error) {
    if (signal?.aborted) throw interrupted(error);
    // What the node says of the pod's side is better than that the line is dead.
    const reason = String(said.read() ?? "").trim() || (error as Error).message;
    throw problem(at, timeout.aborted ? `no answer in ${TIMEOUT_MS / 1000} s` : reason, error);
  } finally {
    tunnel?.close();
  }
}

interface Tunnel {
  stream: Duplex;
  close(): void;
}

/** @param said what the node says where the port cannot be reached goes here */
async function open(config: KubeConfig, at: PodPort, said: PassThrough, signal: AbortSignal): Promise<Tunnel> {
  const { PortForward } = await import("@kubernetes/client-node");
  const [up, down] = [new PassThrough(), bounded()];
  const forward = new PortForward(impatient(config, signal));
  let socket: WebSocket & { terminate(): void };
  try {
    socket = (await forward.portForward(at.namespace, at.pod, [at.port], down, said, up)) as unknown as typeof socket;
  } catch (event) {
    // The library rejects with the event of a WebSocket.
    throw new Error((event as { message?: string }).message || "the connection failed");
  }
  const end = () => down.end();
  socket.addEventListener("close", end);
  const close = () => {
    socket.close();
    setTimeout(() => socket.terminate(), GOODBYE_MS).unref();
  };
  signal.addEventListener("abort", close, { once: true });
  return {
    stream: Duplex.from({ writable: up, readable: down }),
    close: () => {
      signal.removeEventListener("abort", close);
      close();
    },
  };
}

/** What comes through a tunnel is not held back by whoever reads it. */
function bounded(): PassThrough {
  const stream = new PassThrough();
  const write = stream.write.bind(stream) as (chunk: Buffer) => boolean;
  let bytes = 0;
  const counting = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) stream.destroy(new Error(`it answers with more than ${MAX_BYTES / 2 ** 20} MiB`));
    return !stream.destroyed && write(chunk);
  };
  return Object.assign(stream, { write: counting });
}

/** The same cluster, for which nobody waits longer than until the signal. */
function impatient(config: KubeConfig, signal: AbortSignal): KubeConfig {
  return Object.assign(Object.create(config) as KubeConfig, {
    applyToHTTPSOptions: async (options: Parameters<KubeConfig["applyToHTTPSOptions"]>[0]) => {
      await config.applyToHTTPSOptions(options);
      Object.assign(options, { signal });
    },
  });
}

async function ask(stream: Duplex, path: string, signal: AbortSignal): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    // Listeners on loopback; the name is what Envoy and istiod would be called there.
    const asked = request({ host: "localhost", path, signal, createConnection: () => stream }, (response) => {
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject);
    });
    asked.on("error", reject);
    asked.end();
  });
}

function problem({ namespace, pod, port }: PodPort, reason: string, cause: unknown): UserError {
  const what = `port ${port} of pod ${namespace}/${pod}`;
  if (/\b403$/.test(reason))
    return new UserError("E_FORBIDDEN", `${what}: port-forwarding is forbidden`, {
      exit: Exit.missing,
      hint: 'It takes this rule: { apiGroups: [""], resources: [pods/portforward], verbs: [create, get] }',
      cause,
    });
  return new UserError("E_POD", `${what} cannot be reached: ${reason}`, { exit: Exit.missing, cause });
}
