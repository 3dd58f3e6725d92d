import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KubernetesObject, placed } from "./kubernetes.js";
import { program } from "./programs.js";

/**
 * What `istioctl` has to say against these objects, in its own words; empty where it is content. `validate` knows every
 * field but looks at each object alone, `analyze` sees hosts and subsets that are missing but no misspelt field: it takes both.
 */
export function complaints(objects: readonly KubernetesObject[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), "meltemi-istioctl-"));
  const file = join(folder, "objects.yaml");
  try {
    // JSON is YAML. What stands in no namespace, analyze passes over.
    writeFileSync(file, objects.map((object) => JSON.stringify(placed(object))).join("\n---\n"));
    return [
      ["validate", "-f", file],
      ["analyze", "--use-kube=false", "--failure-threshold", "Info", file],
    ].flatMap((args) => {
      const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: join(folder, "none") };
      const { status, error, stdout, stderr } = spawnSync(program("istioctl"), args, { encoding: "utf8", env });
      if (error) throw error;
      return status === 0 ? [] : [`${stdout}${stderr}`.trim()];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
