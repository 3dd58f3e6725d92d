import { Command } from "commander";
import {
  assertImage,
  assertNoRivals,
  type DeploymentOptions,
  deploymentOptions,
  loadDeployment,
} from "../deployment.js";
import type { Reference } from "../kubernetes/client.js";
import { clusterRoleYaml } from "../kubernetes/kinds.js";
import { clusterOptions } from "../kubernetes/kubeconfig.js";
import { withCluster } from "../kubernetes/session.js";
import { apply as carryOut, name, plan, refuseConflicts } from "../kubernetes/set.js";
import { say } from "../terminal.js";

interface Options extends DeploymentOptions {
  dryRun?: true;
  forceConflicts?: true;
  prune: boolean;
  printRbac?: true;
}

export function apply(): Command {
  const command = new Command("apply").description("Apply the Istio resources that meltemi.yaml comes to.");
  return clusterOptions(deploymentOptions(command))
    .option("--no-merge", "apply beside Sidecars that are there already, although Istio heeds one for each pod")
    .option("--dry-run", "have the API server check all of it, and change nothing")
    .option("--force-conflicts", "take over fields and objects that others manage or share")
    .option("--no-prune", "leave what an earlier apply made and these configurations no longer ask for")
    .option("--print-rbac", "print the ClusterRole that all commands together need, and do nothing else")
    .addHelpText(
      "after",
      "\nEverything is tried first, and nothing is changed where the API server refuses any of it.\n" +
        "\nExamples:\n  $ meltemi apply --image ghcr.io/acme/meltemi:1.0\n  $ meltemi apply greeter.yaml orders.yaml --dry-run\n" +
        "  $ meltemi apply --print-rbac | kubectl apply -f -",
    )
    .action(action);
}

async function action(files: string[], options: Options): Promise<void> {
  if (options.printRbac) {
    process.stdout.write(clusterRoleYaml());
    return;
  }
  await withCluster(options, async (cluster, signal) => {
    const manifest = await loadDeployment(files, options, { signal, cluster });
    for (const note of manifest.notes) say(note);
    await assertImage(manifest, options, signal);
    await assertNoRivals(cluster, manifest, options);
    const plans = await plan(cluster, manifest, { prune: options.prune });
    const force = options.forceConflicts ?? false;
    const done = (object: Reference, what: string) => {
      process.stdout.write(`${name(object)} ${what}${options.dryRun ? " (dry run)" : ""}\n`);
    };
    if (!options.dryRun) return carryOut(cluster, plans, { force, signal, done });
    if (!force) refuseConflicts(plans);
    for (const { object, change } of plans.steps) done(object, change);
    for (const object of plans.prune) done(object, "pruned");
  });
}
