import type { Finding } from "../issue.js";
import { pathText } from "../issue.js";
import { parseDuration } from "../units.js";
import { nearest, oneOf } from "../words.js";
import { conflict, isMap, list, map, missing, type Path, type Tree } from "./tree.js";

/** Names by which something is found, and which therefore stand only for one thing. */
export function nameFindings(root: Tree): Finding[] {
  return [
    ...twice(map(root.service).subsets, ["service", "subsets"], "duplicate_subset", "subsets"),
    ...twice(root.authorization, ["authorization"], "duplicate_rule", "rules"),
  ];
}

function twice(named: unknown, path: Path, code: string, what: string): Finding[] {
  const names = list(named).map((it) => map(it).name);
  return names.flatMap((name, i) => {
    if (typeof name !== "string" || names.indexOf(name) === i) return [];
    return [{ code, path: [...path, i, "name"], message: `there are two ${what} "${name}"` }];
  });
}

export function routeFindings(root: Tree): Finding[] {
  const routes = list(root.routes);
  const always = routes.findIndex(
    (route) => isMap(route) && (route.match === undefined || (isMap(route.match) && isEmpty(route.match))),
  );
  return routes.flatMap((route, i) => {
    const path = ["routes", i];
    const message = `routes[${i}] is never reached, because routes[${always}] matches everything`;
    return [
      ...(always >= 0 && i > always ? [{ code: "unreachable", path, message }] : []),
      ...destinationFindings(root, map(route), path),
      ...timeoutFindings(map(route), path),
    ];
  });
}

function destinationFindings(root: Tree, { subset, route, mirror }: Tree, path: Path): Finding[] {
  const several = list(route).map(map);
  const mirrored = map(mirror).subset;
  const places: [Path, unknown][] = [
    [[...path, "subset"], subset],
    ...several.map((to, i): [Path, unknown] => [[...path, "route", i, "subset"], to.subset]),
    [[...path, "mirror", "subset"], mirrored],
  ];
  const findings = unknownSubsets(root, places);
  if (subset !== undefined && route !== undefined) {
    findings.push(conflict([...path, "subset"], "and route both say where requests go"));
  }
  const seen = new Set<unknown>();
  for (const [i, to] of several.entries()) {
    if (to.subset !== undefined && seen.has(to.subset)) {
      const message = `"${to.subset}" is a destination of ${pathText(path)} already`;
      findings.push({ code: "conflict", path: [...path, "route", i, "subset"], message });
    }
    seen.add(to.subset);
    if (several.length > 1 && to.weight === undefined) {
      findings.push(missing([...path, "route", i, "weight"], "a weight for each of several destinations"));
    }
  }
  if (several.length > 0 && several.every(({ weight }) => weight === 0)) {
    const message = `all weights of ${pathText([...path, "route"])} are 0`;
    findings.push({ code: "bad_value", path: [...path, "route"], atKey: true, message, expected: "one that is more" });
  }
  const taking = several.filter(({ weight }) => weight !== 0).map((to) => to.subset);
  const only = subset ?? (taking.length === 1 ? taking[0] : undefined);
  if (mirrored !== undefined && mirrored === only) {
    const message = `"${mirrored}" gets these requests already`;
    findings.push({ code: "conflict", path: [...path, "mirror", "subset"], message, expected: "another subset" });
  }
  return findings;
}

function unknownSubsets(root: Tree, places: readonly [Path, unknown][]): Finding[] {
  const { subsets, endpoints } = map(root.service);
  const names = list(subsets).flatMap((subset) => map(subset).name ?? []);
  const known = [...new Set(names.filter((name) => typeof name === "string"))];
  return places.flatMap(([path, subset]) => {
    if (typeof subset !== "string" || known.includes(subset)) return [];
    if (subsets === undefined) {
      // In mode route that there are no subsets is the mistake.
      return root.mode === "bridge" && endpoints !== undefined ? [conflict(path, "needs service.subsets")] : [];
    }
    const message = `unknown subset "${subset}" in ${pathText(path.slice(0, -1))}`;
    const expected = known.length > 0 ? oneOf(known) : undefined;
    return [{ code: "unknown_subset", path, message, expected, suggestion: nearest(subset, known) }];
  });
}

function timeoutFindings({ timeout, retries }: Tree, path: Path): Finding[] {
  const whole = milliseconds(timeout);
  const each = milliseconds(map(retries).perTryTimeout);
  if (whole === undefined || each === undefined || each < whole) return [];
  const at = [...path, "retries", "perTryTimeout"];
  const message = `${pathText(at)} never comes before the timeout of the whole request`;
  return [{ code: "conflict", path: at, message, expected: `less than ${timeout}` }];
}

function milliseconds(text: unknown): number | undefined {
  const parsed = typeof text === "string" ? parseDuration(text) : undefined;
  return parsed && "value" in parsed ? parsed.value : undefined;
}

function isEmpty(value: Tree): boolean {
  return Object.keys(value).length === 0;
}
