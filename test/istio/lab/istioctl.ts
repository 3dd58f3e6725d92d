import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type KubernetesObject, placed } from "./kubernetes.js";
import { program } from "./programs.js";

/** Said of every EnvoyFilter, whatever stands in it; what it has against one in particular it says besides. */
const OF_ENVOY_FILTERS = "EnvoyFilter exposes internal implementation details";

interface Message {
  code: string;
  message: string;
  origin: string;
}

/**
 * What `istioctl` has to say against these objects, in its own words; empty where it is content. `validate` knows every
 * field but looks at each object alone, `analyze` sees hosts and subsets that are missing but no misspelt field: it takes both.
 */
export function complaints(objects: readonly KubernetesObject[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), "meltemi-istioctl-"));
  const file = join(folder, "objects.yaml");
  const istioctl = (...args: string[]) => {
    const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: join(folder, "none") };
    const { status, error, stdout, stderr } = spawnSync(program("istioctl"), args, { encoding: "utf8", env });
    if (error) throw error;
    return { status, stdout, stderr };
  };
  try {
    // JSON is YAML. What stands in no namespace, analyze passes over.
    writeFileSync(file, objects.map((object) => JSON.stringify(placed(object))).join("\n---\n"));
    const validated = istioctl("validate", "-f", file);
    const analyzed = istioctl("analyze", "--use-kube=false", "--all-namespaces", "--output", "json", file);
    const messages = (JSON.parse(analyzed.stdout) as Message[]).filter(
      ({ message }) => !message.includes(OF_ENVOY_FILTERS),
    );
    return [
      ...(validated.status === 0 ? [] : [`${validated.stdout}${validated.stderr}`.trim()]),
      ...messages.map(({ code, origin, message }) => `${code} ${origin}: ${message}`),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
