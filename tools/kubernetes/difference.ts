import { createTwoFilesPatch, FILE_HEADERS_ONLY } from "diff";
import { stringify } from "yaml";
import { painter } from "../terminal.js";
import type { LiveObject } from "./client.js";
import { content, name, type Plan } from "./set.js";

/**
 * What carrying out a plan would change, as a unified diff of YAML with an entry for each object that it changes; empty
 * where it changes nothing.
 */
export function difference({ steps, prune }: Pick<Plan, "steps" | "prune">): string {
  return [
    ...steps.filter(({ change }) => change !== "unchanged").map(({ live, result }) => entry(live, result)),
    ...prune.map((live) => entry(live, undefined)),
  ].join("");
}

function entry(live: LiveObject | undefined, result: LiveObject | undefined): string {
  const title = name((result ?? live) as LiveObject);
  const side = (object: LiveObject | undefined, prefix: string) => (object ? `${prefix} ${title}` : "/dev/null");
  return createTwoFilesPatch(
    side(live, "live"),
    side(result, "applied"),
    text(live),
    text(result),
    undefined,
    undefined,
    {
      headerOptions: FILE_HEADERS_ONLY,
    },
  );
}

/** Keys in one order, because the server keeps none. */
function text(object: LiveObject | undefined): string {
  return object ? stringify(content(object), { sortMapEntries: true, lineWidth: 0 }) : "";
}

/** A unified diff as terminals show it. */
export function coloured(patch: string): string {
  const paint = painter(true);
  return patch
    .split("\n")
    .map((line) => {
      if (/^(---|\+\+\+) /.test(line)) return paint("bold", line);
      if (line.startsWith("@@")) return paint("cyan", line);
      if (line.startsWith("+")) return paint("green", line);
      return line.startsWith("-") ? paint("red", line) : line;
    })
    .join("\n");
}
