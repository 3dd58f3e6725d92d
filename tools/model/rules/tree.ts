import type { Finding } from "../issue.js";
import { pathText } from "../issue.js";

/*
 * Reading what the user wrote, whatever it is: rules look at it before anyone knows whether it fits the schema.
 */

export type Tree = Record<string, unknown>;
export type Path = readonly PropertyKey[];

export function isMap(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function map(value: unknown): Tree {
  return isMap(value) ? value : {};
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Two keys, or a key and the mode, that do not go together. `why` finishes a sentence that starts with the key. */
export function conflict(path: Path, why: string): Finding {
  return { code: "conflict", path, atKey: true, message: `"${pathText(path)}" ${why}` };
}

export function missing(path: Path, expected?: string): Finding {
  return { code: "missing_key", path, message: `missing key "${pathText(path)}"`, expected };
}
