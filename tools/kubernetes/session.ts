import { interruptible } from "../interrupt.js";
import { say } from "../terminal.js";
import { Cluster } from "./client.js";
import type { ClusterOptions } from "./kubeconfig.js";

/**
 * Runs what a command does with a cluster, until it is done or Ctrl-C comes. Which cluster that is, and what its server
 * warns of, goes to standard error.
 */
export async function withCluster(
  options: ClusterOptions,
  body: (cluster: Cluster, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  await interruptible(async ({ signal }) => {
    const warned = new Set<string>();
    const onWarning = (text: string) => {
      // The same of a trial and of the real thing.
      if (!warned.has(text)) say(`warning: ${text}`);
      warned.add(text);
    };
    const cluster = await Cluster.connect({ ...options, signal, onWarning });
    say(`cluster ${cluster.context}, ${cluster.server}`);
    let timer: NodeJS.Timeout | undefined;
    signal.addEventListener("abort", () => {
      timer = setTimeout(() => say("what has begun is waited for; Ctrl-C again leaves it"), PATIENCE_MS);
    });
    try {
      await body(cluster, signal);
    } finally {
      clearTimeout(timer);
    }
  });
}

/** After Ctrl-C, until somebody may wonder. */
const PATIENCE_MS = 1_000;
