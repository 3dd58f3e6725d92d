import { bridgedFile, bridgedRoute } from "../bridge.js";
import type { Finding } from "../issue.js";
import { conflict, isMap, list, map, missing, type Path, type Tree } from "./tree.js";

/** Each mode has keys of its own, and so has each leg of a bridge. */
export function modeFindings(root: Tree): Finding[] {
  const mode = root.mode ?? "observe";
  const findings: Finding[] = [];
  if (mode !== "bridge") findings.push(...given(root, bridgeOnly(root), "needs mode: bridge"));
  if (mode === "observe") {
    findings.push(...given(root, [["routes"]], "needs mode: route or bridge"), ...observed(root));
  } else if (mode === "route") {
    if (!("routes" in root)) findings.push(missing(["routes"], 'at least "- subset: NAME"'));
    findings.push(...withoutSubset(root), ...routed(root));
  } else if (mode === "bridge") {
    const why = "says nothing in mode bridge: the client's leg counts as outbound, the server's as inbound";
    findings.push(...given(root, [["direction"]], why));
    findings.push(...(root.leg === "server" ? serverLeg(root) : clientLeg(root)));
  }
  return findings;
}

function bridgeOnly(root: Tree): Path[] {
  return [
    ...Object.keys(bridgedFile).map((key) => [key]),
    ["service", "authority"],
    ...list(root.routes).flatMap((_, i) => Object.keys(bridgedRoute).map((key) => ["routes", i, key])),
  ];
}

function observed({ service }: Tree): Finding[] {
  if (!isMap(service)) return [];
  // Servers under another mode's key: that key is what is wrong, not that this mode's is missing.
  if (service.subsets !== undefined) {
    return [conflict(["service", "subsets"], "needs mode: route or bridge; in mode observe there are only endpoints")];
  }
  return service.endpoints === undefined
    ? [missing(["service", "endpoints"], "the servers that connections go to")]
    : [];
}

function routed({ service }: Tree): Finding[] {
  if (!isMap(service)) return [];
  if (service.endpoints !== undefined) {
    return [conflict(["service", "endpoints"], "is not for mode route, where each subset has its own")];
  }
  return service.subsets === undefined
    ? [missing(["service", "subsets"], "the groups of servers that routes name")]
    : [];
}

function clientLeg(root: Tree): Finding[] {
  const { service } = root;
  if (!isMap(service)) return [];
  if (service.subsets === undefined) {
    return service.endpoints === undefined
      ? [missing(["service", "endpoints"], "the servers, or subsets of them")]
      : [];
  }
  if (service.endpoints !== undefined) {
    return [conflict(["service", "endpoints"], "beside subsets: each subset has its own")];
  }
  return "routes" in root ? withoutSubset(root) : [missing(["routes"], "what goes to which subset")];
}

/** Where there are subsets, each route has to say to which it leads. */
function withoutSubset(root: Tree): Finding[] {
  return list(root.routes).flatMap((route, i) =>
    isMap(route) && !("subset" in route) && !(root.mode === "bridge" && "route" in route)
      ? [missing(["routes", i, "subset"])]
      : [],
  );
}

function serverLeg(root: Tree): Finding[] {
  const clients = [...Object.keys(bridgedFile).filter((key) => key !== "leg"), "routes"].map((key) => [key]);
  const findings = given(root, [...clients, ["service", "authority"]], "is for the client's leg");
  if (!isMap(root.service)) return findings;
  const { subsets, endpoints } = root.service;
  if (subsets !== undefined) findings.push(conflict(["service", "subsets"], "is for the client's leg"));
  else if (endpoints === undefined) findings.push(missing(["service", "endpoints"], "the servers that requests go to"));
  return findings;
}

/** Those of the keys that the file has. */
function given(root: Tree, paths: readonly Path[], why: string): Finding[] {
  return paths.filter((path) => has(root, path)).map((path) => conflict(path, why));
}

function has(root: unknown, path: Path): boolean {
  const holder = path.slice(0, -1).reduce<unknown>((at, key) => (at as Tree | undefined)?.[key as string], root);
  return typeof holder === "object" && holder !== null && (path.at(-1) as string) in map(holder);
}
