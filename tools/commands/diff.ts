import { Command } from "commander";
import { type DeploymentOptions, deploymentOptions, loadDeployment } from "../deployment.js";
import { Exit, UserError } from "../errors.js";
import type { Cluster } from "../kubernetes/client.js";
import { coloured, difference } from "../kubernetes/difference.js";
import { clusterOptions } from "../kubernetes/kubeconfig.js";
import { withCluster } from "../kubernetes/session.js";
import { type Plan, plan } from "../kubernetes/set.js";
import { say, showsColour } from "../terminal.js";

interface Options extends DeploymentOptions {
  prune: boolean;
}

export function diff(): Command {
  const command = new Command("diff").description("Show what `meltemi apply` would change in the cluster.");
  return clusterOptions(deploymentOptions(command))
    .option("--no-prune", "leave out what apply would delete")
    .addHelpText(
      "after",
      "\nThe API server itself says what would become of each object, and changes nothing.\n" +
        "Exit code: 0 no difference, 4 there is one; any other: it cannot be said.\n" +
        "\nExample:\n  $ meltemi diff --image ghcr.io/acme/meltemi:1.1",
    )
    .action(action);
}

async function action(files: string[], options: Options): Promise<void> {
  await withCluster(options, async (cluster, signal) => {
    const plans = await ask(cluster, files, options, signal);
    for (const { conflict } of plans.steps) if (conflict) say(`only with --force-conflicts: ${conflict.message}`);
    const patch = difference(plans);
    if (patch === "") return;
    const color = showsColour();
    process.stdout.write(color ? coloured(patch) : patch);
    process.exitCode = Exit.failed;
  });
}

/** For scripts, one exit code means that there is a difference and nothing else. */
async function ask(cluster: Cluster, files: string[], options: Options, signal: AbortSignal): Promise<Plan> {
  try {
    const manifest = await loadDeployment(files, options, { signal, cluster });
    return await plan(cluster, manifest, { prune: options.prune });
  } catch (error) {
    if (!(error instanceof UserError) || error.exit !== Exit.failed) throw error;
    throw new UserError(error.code, error.message, { ...error.options, exit: Exit.missing });
  }
}
