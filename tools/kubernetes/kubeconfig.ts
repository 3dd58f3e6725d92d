import type { KubeConfig } from "@kubernetes/client-node";
import type { Command } from "commander";
import { Exit, UserError } from "../errors.js";

export interface ClusterOptions {
  kubeconfig?: string;
  context?: string;
}

/** The options by which every command names its cluster, as those of kubectl. */
export function clusterOptions(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "how to reach the cluster (default: $KUBECONFIG, ~/.kube/config, or the pod's own)")
    .option("--context <name>", "the context of the kubeconfig (default: its current one)");
}

/**
 * Reads a kubeconfig as kubectl would.
 * @param kubeconfig takes what is read
 * @throws UserError `E_KUBECONFIG`, `E_CONTEXT`
 */
export function load(kubeconfig: KubeConfig, { kubeconfig: file, context }: ClusterOptions): KubeConfig {
  const from = file ?? process.env.KUBECONFIG;
  try {
    if (file === undefined) kubeconfig.loadFromDefault();
    else kubeconfig.loadFromFile(file);
  } catch (cause) {
    const { code, path, message } = cause as NodeJS.ErrnoException;
    // The library looks into the document without asking what it is.
    const what = cause instanceof TypeError ? "it is not one" : oneLine(message);
    const why = code === "ENOENT" ? `there is no ${path}` : what;
    const hint = "Name one with --kubeconfig FILE or $KUBECONFIG.";
    throw new UserError("E_KUBECONFIG", `the kubeconfig${from ? ` ${from}` : ""} cannot be used: ${why}`, {
      exit: Exit.missing,
      hint,
      cause,
    });
  }
  if (file === undefined && kubeconfig.getCurrentContext() === "loaded-context") {
    const hint =
      "Name one with --kubeconfig FILE or $KUBECONFIG, or log in to the cluster, which writes ~/.kube/config.";
    throw new UserError("E_KUBECONFIG", "there is no kubeconfig, so no cluster is known", { exit: Exit.missing, hint });
  }
  if (context !== undefined) kubeconfig.setCurrentContext(context);
  const known = kubeconfig.getContexts().map(({ name }) => name);
  const current = kubeconfig.getCurrentContext();
  if (!known.includes(current)) {
    const what = current ? `the kubeconfig has no context "${current}"` : "the kubeconfig has no current context";
    const hint =
      known.length > 0 ? `Name one of its contexts with --context: ${known.join(", ")}` : "It has no contexts.";
    throw new UserError("E_CONTEXT", what, { exit: Exit.missing, hint });
  }
  const cluster = kubeconfig.getCurrentCluster();
  if (!cluster) {
    const name = kubeconfig.getContextObject(current)?.cluster;
    const hint = `It has these clusters: ${kubeconfig.clusters.map((each) => each.name).join(", ") || "none"}`;
    throw new UserError(
      "E_KUBECONFIG",
      `the context "${current}" names the cluster "${name}", which the kubeconfig has not`,
      {
        exit: Exit.missing,
        hint,
      },
    );
  }
  // Without TLS there is nothing to verify, but the library wants to be told so (`kubectl proxy` serves plain HTTP).
  if (cluster.server.startsWith("http:"))
    kubeconfig.clusters = kubeconfig.clusters.map((each) =>
      each === cluster ? { ...each, skipTLSVerify: true } : each,
    );
  return kubeconfig;
}

function oneLine(text: string): string {
  return text.split("\n")[0] ?? "";
}
