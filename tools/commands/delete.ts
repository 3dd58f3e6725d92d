import { Command } from "commander";
import { serviceOption, servicesOf } from "../deployment.js";
import { COMPONENT, INSTANCE } from "../istio/resource.js";
import type { LiveObject } from "../kubernetes/client.js";
import { type ClusterOptions, clusterOptions } from "../kubernetes/kubeconfig.js";
import { withCluster } from "../kubernetes/session.js";
import { addedTo, gone, members, name, refuseShared, remove } from "../kubernetes/set.js";
import { wholeNumber } from "../options.js";
import { defaultModule } from "../paths.js";
import { say } from "../terminal.js";

interface Options extends ClusterOptions {
  service?: string[];
  dryRun?: true;
  forceConflicts?: true;
  wait: boolean;
  timeout: number;
  module: string;
}

/** Named so because `delete` is a word of the language. */
export function deleteCommand(): Command {
  const command = new Command("delete")
    .description("Delete what `meltemi apply` made for some services.")
    .argument("[files...]", "their configurations (default: meltemi.yaml)");
  return clusterOptions(serviceOption(command))
    .option("--dry-run", "say what would be deleted, and delete nothing")
    .option("--force-conflicts", "delete what other services share with these as well")
    .option("--no-wait", "do not wait until all of it is gone")
    .option("--timeout <seconds>", "how long to wait", wholeNumber(1, 86_400), 60)
    .option("--module <file>", "the WebAssembly module that the configurations are for", defaultModule)
    .addHelpText(
      "after",
      "\nObjects are found by their labels, in all namespaces. What is not wholly Meltemi's stays, such as a Sidecar of\n" +
        "yours that apply --merge has added to.\n" +
        "\nExamples:\n  $ meltemi delete greeter.yaml\n  $ meltemi delete --service greeter.shop --dry-run",
    )
    .action(action);
}

async function action(files: string[], options: Options, command: Command): Promise<void> {
  const { dryRun, forceConflicts, wait, timeout } = options;
  const services = await servicesOf(files, options, command);
  await withCluster(options, async (cluster, signal) => {
    const found = await members(cluster, services);
    // Without the module behind them such entries are an outage.
    for (const sidecar of await addedTo(cluster))
      say(`${name(sidecar)} is not deleted: take out of it what apply --merge has added for ${services.join(", ")}`);
    if (found.length === 0) say(`nothing in the cluster carries the labels of ${services.join(", ")}`);
    for (const service of bridged(found))
      say(
        `${service} is bridged: rename a port of its Service that is called http... to tcp-..., or no call gets through`,
      );
    if (!forceConflicts) refuseShared(found, services);
    if (dryRun) {
      for (const object of found) process.stdout.write(`${name(object)} deleted (dry run)\n`);
      return;
    }
    const done = (object: (typeof found)[number]) => void process.stdout.write(`${name(object)} deleted\n`);
    await remove(cluster, found, { signal, done });
    if (wait) await gone(cluster, found, { signal, timeoutMs: timeout * 1000 });
  });
}

/** The services among those of some objects that have a bridge. Without it, Istio's HTTP at both ends of a port stays. */
function bridged(objects: readonly LiveObject[]): Set<string | undefined> {
  const lower = objects.filter(({ metadata }) => metadata.labels?.[COMPONENT] === "lower");
  return new Set(lower.map(({ metadata }) => metadata.labels?.[INSTANCE]));
}
