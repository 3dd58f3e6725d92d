import { readdirSync, statSync } from "node:fs";
import { extname, join } from "node:path";
import { fileProblem, UserError } from "../errors.js";
import type { LiveObject } from "../kubernetes/client.js";
import { readObjects } from "../kubernetes/files.js";
import { type Found, placed } from "./world.js";

/**
 * The objects of YAML (or JSON) files: several documents in one, lists as kubectl prints them, folders with all below.
 * @throws UserError `E_MANIFESTS`
 */
export function readManifests(paths: readonly string[]): Found[] {
  return paths.flatMap((path) => filesBelow(path)).flatMap(readManifest);
}

function filesBelow(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && [".yaml", ".yml", ".json"].includes(extname(entry.name)))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch (cause) {
    throw refused(path, fileProblem(cause), cause);
  }
}

function readManifest(file: string): Found[] {
  return readObjects(file, refused).flatMap(({ object, line }) =>
    isObject(object) ? [placed(object, { file, line })] : [],
  );
}

/** What else is in such folders (a kustomization, values of Helm) is passed over. */
function isObject(value: unknown): value is LiveObject {
  const { apiVersion, kind, metadata } = (value ?? {}) as Partial<LiveObject>;
  return typeof apiVersion === "string" && typeof kind === "string" && typeof metadata?.name === "string";
}

function refused(where: string, why: string, cause?: unknown): UserError {
  const hint =
    "--manifests takes YAML files of Kubernetes objects, or folders of them, such as kubectl get -o yaml writes.";
  return new UserError("E_MANIFESTS", `${where}: ${why}`, { hint, cause });
}
