import { Command } from "commander";
import { check as hold } from "../check/check.js";
import { readManifests } from "../check/files.js";
import { readCluster } from "../check/live.js";
import { reportText } from "../check/text.js";
import { coverage, World } from "../check/world.js";
import { loadModels, type ModelOptions, modelOptions } from "../deployment.js";
import { Exit } from "../errors.js";
import type { MeshModel } from "../istio/mesh.js";
import { type ClusterOptions, clusterOptions } from "../kubernetes/kubeconfig.js";
import { withCluster } from "../kubernetes/session.js";
import { showsColour } from "../terminal.js";

interface Options extends ModelOptions, ClusterOptions {
  manifests?: string[];
  cluster?: true;
  strict?: true;
  json?: true;
}

export function check(): Command {
  const command = new Command("check").description("Say what of meltemi.yaml would not work in a mesh.");
  return clusterOptions(
    modelOptions(command)
      .option(
        "--manifests <path>",
        "look at the objects of a YAML file or a folder instead of a cluster; may be given several times",
        (path: string, earlier: string[] = []) => [...earlier, path],
      )
      .option("--cluster", "with --manifests: look at a cluster as well, as if they were applied to it"),
  )
    .option("--strict", "count warnings as errors")
    .option("--json", "all that was found as one JSON object")
    .addHelpText(
      "after",
      "\nNothing is changed. What a cluster does not let you read is left out, and said.\n" +
        "Exit code: 0 no errors, 4 errors (with --strict: or warnings); any other: it cannot be said.\n" +
        "\nExamples:\n  $ meltemi check\n  $ meltemi check greeter.yaml --manifests kubernetes/\n" +
        "  $ kubectl get namespaces,services,pods,sidecars -A -o yaml | meltemi check --manifests /dev/stdin",
    )
    .action(action);
}

async function action(files: string[], options: Options): Promise<void> {
  const models = await loadModels(files, options);
  const given = readManifests(options.manifests ?? []);
  const paths = options.manifests?.join(", ");
  if (paths !== undefined && !options.cluster) return say(models, World.ofFiles(given), paths, options);
  await withCluster(options, async (cluster) => {
    const { objects, complete } = await readCluster(cluster, models);
    const inFiles = coverage(given);
    // Those of files come last: they take the place of what is there.
    const world = new World([...objects, ...given], (kind, at) => complete(kind, at) || inFiles(kind, at));
    say(models, world, [paths, `cluster ${cluster.context}`].filter((it) => it !== undefined).join(" and "), options);
  });
}

function say(models: readonly MeshModel[], world: World, from: string, { strict, json }: Options): void {
  const report = hold(models, world);
  const colour = showsColour();
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : reportText(report, from, colour));
  const { error, warning } = report.counts;
  if (error > 0 || (strict && warning > 0)) process.exitCode = Exit.failed;
}
