import { Command } from "commander";
import { type DeploymentOptions, deploymentOptions, filesOf, loadDeployment } from "../deployment.js";
import { interruptible } from "../interrupt.js";
import { manifestYaml } from "../istio/manifest.js";
import { clusterOptions } from "../kubernetes/kubeconfig.js";
import { version } from "../paths.js";
import { say } from "../terminal.js";

export function manifest(): Command {
  const command = new Command("manifest").description("Print the Istio resources that meltemi.yaml comes to.");
  return clusterOptions(deploymentOptions(command))
    .addHelpText(
      "after",
      "\nExamples:\n  $ meltemi manifest --image ghcr.io/acme/meltemi:1.0 > greeter.yaml\n" +
        "  $ meltemi manifest greeter.yaml orders.yaml --merge",
    )
    .action(action);
}

async function action(files: string[], options: DeploymentOptions): Promise<void> {
  await interruptible(async ({ signal }) => {
    const result = await loadDeployment(files, options, { signal });
    const header = `Written by: meltemi manifest ${filesOf(files).join(" ")} (meltemi ${version})`;
    process.stdout.write(manifestYaml(result, header));
    for (const note of result.notes) say(note);
  });
}
