import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { packageRoot } from "../../../tools/paths.js";
import type { KubernetesObject } from "./kubernetes.js";

const cli = join(packageRoot, "dist", "tools", "cli.js");

/** Where the configurations are that tests ship. */
export const shipped = (name: string) => join(packageRoot, "test", "istio", "shipped", `${name}.yaml`);

/** Runs the tool as a user does. Answers what it prints; rejects where it does not end with 0. */
export async function meltemi(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args], { maxBuffer: 2 ** 26 });
  return stdout;
}

/** Exactly what `meltemi manifest` prints. */
export async function manifest(...args: string[]): Promise<KubernetesObject[]> {
  return parseAllDocuments(await meltemi("manifest", ...args)).map((document) => document.toJS() as KubernetesObject);
}

/** The same for a configuration that a test has put together. */
export async function manifestOf(configuration: object, ...args: string[]): Promise<KubernetesObject[]> {
  const folder = await mkdtemp(join(tmpdir(), "meltemi-shipped-"));
  try {
    const file = join(folder, "meltemi.yaml");
    // JSON is YAML.
    await writeFile(file, JSON.stringify(configuration));
    return await manifest(file, ...args);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
