import { headerName } from "../http.js";
import { type Finding, pathText } from "../issue.js";
import { condition } from "../istio/authorization.js";
import { httpMatch, REGEX_MAX, type StringMatch } from "../istio/match.js";
import { isLoopback, isOfIstio, lowerPortOf, parseIp, parseIstioVersion, selects } from "../istio/schema.js";
import { lacking } from "../istio/versions.js";
import { type Match, match as matchSchema } from "../matcher.js";
import { conflict, isMap, list, map, missing, type Path, type Tree } from "./tree.js";

/** What has to be said for a mesh, and what of the rest Istio has no words for. Nothing where there is no `istio`. */
export function istioFindings(root: Tree): Finding[] {
  if (!isMap(root.istio)) return [];
  const mode = root.mode ?? "observe";
  const address = parseIp(String(root.istio.address));
  const istio: Tree = "value" in address ? { ...root.istio, address: address.value } : root.istio;
  return [
    ...nameFindings(root),
    ...portFindings(istio, mode),
    ...workloadFindings(istio, mode),
    ...versionFindings(root, istio),
    ...(mode === "bridge" ? bridgeFindings(root, istio) : []),
  ];
}

function nameFindings({ service, istio }: Tree): Finding[] {
  const { name } = map(service);
  if (map(istio).service !== undefined || typeof name !== "string") return [];
  if (name.length <= 63 && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name)) return [];
  return [missing(["istio", "service"], `the Service's name, since "${name}" cannot be one`)];
}

function portFindings({ ports }: Tree, mode: unknown): Finding[] {
  const seen = new Set<unknown>();
  return list(ports).flatMap((entry, i) => {
    const path = ["istio", "ports", i];
    const { port, serverPort, lowerPort } = map(entry);
    const bridged = mode === "bridge" ? [] : Object.entries({ serverPort, lowerPort });
    const findings = bridged
      .filter(([, value]) => value !== undefined)
      .map(([key]) => conflict([...path, key], "needs mode: bridge"));
    if (seen.has(port))
      findings.push({ code: "conflict", path: [...path, "port"], message: `port ${port} is there already` });
    seen.add(port);
    return findings;
  });
}

function workloadFindings({ clients, servers, address, namespace = "default" }: Tree, mode: unknown): Finding[] {
  const findings: Finding[] = [];
  if (clients === undefined && mode !== "observe") {
    findings.push(
      missing(["istio", "clients"], 'the workloads that call the service, such as "- labels: { app: web }"'),
    );
  }
  const all: [Path, Tree][] = [
    ...list(clients).map((client, i): [Path, Tree] => [["istio", "clients", i], map(client)]),
    [["istio", "servers"], map(servers)],
  ];
  for (const [path, { labels, targetRefs }] of all) {
    if (targetRefs === undefined) continue;
    if (labels !== undefined) findings.push(conflict([...path, "targetRefs"], "beside labels: one of the two selects"));
    if (mode === "bridge")
      findings.push(conflict([...path, "targetRefs"], "is not for mode bridge, which needs Sidecars"));
  }
  findings.push(...overlaps(list(clients).map(map), namespace));
  if (mode !== "bridge") {
    if (typeof address === "string" && isLoopback(address)) {
      findings.push({ code: "conflict", path: ["istio", "address"], message: `${address} needs mode: bridge` });
    }
    for (const key of ["address", "http", "otherPorts"]) {
      if (key in map(servers)) findings.push(conflict(["istio", "servers", key], "needs mode: bridge"));
    }
  } else if (address === undefined) {
    const expected = "the Service's ClusterIP (kubectl get service), or 127.0.0.1 where clients connect to loopback";
    findings.push(missing(["istio", "address"], expected));
  }
  return findings;
}

/** A proxy that is selected twice would have two filters of the same service. */
function overlaps(clients: readonly Tree[], namespace: unknown): Finding[] {
  return clients.flatMap((client, i): Finding[] => {
    const earlier = clients.slice(0, i).findIndex((other) => {
      if ((other.namespace ?? namespace) !== (client.namespace ?? namespace)) return false;
      if (other.targetRefs !== undefined || client.targetRefs !== undefined) return false;
      const [a, b] = [map(other.labels), map(client.labels)];
      return selects(a, b) || selects(b, a);
    });
    if (earlier < 0) return [];
    const [path, first] = [["istio", "clients", i], pathText(["istio", "clients", earlier])];
    return [{ code: "conflict", path, message: `${pathText(path)} selects pods that ${first} selects as well` }];
  });
}

/** What needs a later version than the one that is named. */
function versionFindings(root: Tree, istio: Tree): Finding[] {
  const version = typeof istio.version === "string" ? parseIstioVersion(istio.version) : { wrong: "" };
  if ("wrong" in version) return [];
  return lacking({ mode: root.mode, trafficPolicy: map(root.trafficPolicy), istio }, version.value).map(
    ({ path, what, first }) => ({
      code: "conflict",
      path,
      message: `${what} needs Istio 1.${first}`,
      expected: "a later istio.version",
    }),
  );
}

function bridgeFindings(root: Tree, istio: Tree): Finding[] {
  const findings: Finding[] = [];
  const leg = root.leg ?? "both";
  if (leg !== "both") findings.push(conflict(["istio"], `beside leg: ${leg}: a mesh always has both`));
  if (map(root.service).authority !== undefined) {
    findings.push(conflict(["service", "authority"], "beside istio: there it is the Service's full name"));
  }
  if (isMap(root.rateLimitService) && istio.rateLimitService === undefined) {
    findings.push(missing(["istio", "rateLimitService"], "the Service in the cluster that is asked there"));
  }
  const { key } = map(map(map(root.trafficPolicy).loadBalancer).consistentHash);
  if (key === "service" || key === "method") {
    const path = ["trafficPolicy", "loadBalancer", "consistentHash", "key"];
    findings.push({ code: "bad_value", path, message: "Istio hashes whole headers", expected: "a metadata key" });
  }
  findings.push(...list(root.routes).flatMap((route, i) => sameHeader(map(route), ["routes", i, "match"])));
  findings.push(...list(root.routes).flatMap((route, i) => tooLong(map(route), ["routes", i, "match"])));
  findings.push(...list(root.authorization).flatMap((rule, i) => unsaid(map(rule), ["authorization", i, "match"])));
  const http = map(istio.servers).http ?? root.authorization !== undefined;
  if (map(istio.servers).http === false && root.authorization !== undefined) {
    findings.push(conflict(["istio", "servers", "http"], "is what authorization needs"));
  }
  findings.push(...ownClientFindings(root, istio), ...podPortFindings(istio, http === true));
  return findings;
}

/** Where the servers' pods are clients too, and both they and their proxies would listen at the same address. */
function ownClientFindings(
  root: Tree,
  { address, servers, clients, namespace = "default", ports, service }: Tree,
): Finding[] {
  if (typeof address !== "string" || !isLoopback(address) || map(servers).address === "pod") return [];
  const shared = list(ports)
    .map(map)
    .find(({ port, targetPort = port, serverPort = targetPort }) => serverPort === port);
  const pods = map(map(servers).labels ?? { app: service ?? map(root.service).name });
  const own = list(clients)
    .map(map)
    .findIndex((client) => (client.namespace ?? namespace) === namespace && selects(map(client.labels), pods));
  if (!shared || own < 0) return [];
  const path = ["istio", "clients", own];
  const message = `${pathText(path)} are the servers too, which listen at port ${shared.port} of loopback themselves`;
  return [{ code: "conflict", path, message, expected: "other pods, another serverPort, or servers.address: pod" }];
}

/** Each number means one thing in the pods of the servers. */
function podPortFindings({ servers, ports }: Tree, http: boolean): Finding[] {
  const findings: Finding[] = [];
  const taken = new Map<unknown, string>();
  /** `entry` may leave the key out, and then it is the entry that is shown. */
  const take = (number: unknown, path: Path, entry: Tree, what = taken.get(number)) => {
    const key = String(path.at(-1));
    if (what !== undefined) {
      const message = `port ${number} of the pods is ${what} already`;
      const shown = key in entry ? path : path.slice(0, -1);
      findings.push({ code: "conflict", path: shown, message, expected: `another ${key}` });
    }
    taken.set(number, pathText(path));
  };
  const entries = list(ports).map(map);
  for (const [i, entry] of entries.entries()) {
    const { port, targetPort = port, lowerPort } = entry;
    const path = ["istio", "ports", i];
    take(targetPort, [...path, "targetPort"], entry);
    if (!http) {
      if (lowerPort !== undefined)
        findings.push(conflict([...path, "lowerPort"], "needs servers.http or authorization"));
      continue;
    }
    const lower = lowerPort ?? (typeof targetPort === "number" ? lowerPortOf(targetPort) : undefined);
    const server = entries.findIndex(({ serverPort }) => serverPort !== undefined && serverPort === lower);
    const listening = server < 0 ? undefined : pathText(["istio", "ports", server, "serverPort"]);
    const own = typeof lower === "number" && isOfIstio(lower) ? "Istio's own" : undefined;
    take(lower, [...path, "lowerPort"], entry, own ?? listening ?? taken.get(lower));
  }
  for (const [i, entry] of list(map(servers).otherPorts).map(map).entries()) {
    take(entry.port, ["istio", "servers", "otherPorts", i, "port"], entry);
  }
  return findings;
}

/** Conditions as the loader reads them; undefined where the schema finds mistakes in them. */
function read(match: unknown): Match | undefined {
  const { success, data } = matchSchema.safeParse(match);
  return success ? data : undefined;
}

/** Istio's matches are by header, and headers know no upper case. */
function sameHeader({ match }: Tree, path: Path): Finding[] {
  const keys = Object.keys(map(match));
  return keys.flatMap((key, i): Finding[] => {
    const earlier = keys.slice(0, i).find((other) => headerName(other) === headerName(key));
    if (earlier === undefined || headerName(key) === undefined) return [];
    const message = `"${key}" and "${earlier}" are the same header, of which Istio takes one condition`;
    return [{ code: "conflict", path: [...path, key], atKey: true, message }];
  });
}

function tooLong({ match }: Tree, path: Path): Finding[] {
  const conditions = read(match);
  if (!conditions) return [];
  const { uri, headers = {}, withoutHeaders = {} } = httpMatch(conditions);
  const all: (StringMatch | undefined)[] = [uri, ...Object.values(headers), ...Object.values(withoutHeaders)];
  if (all.every((it) => Buffer.byteLength(it?.regex ?? "") <= REGEX_MAX)) return [];
  const message = `${pathText(path)} comes to a regular expression of more than ${REGEX_MAX} bytes, which Istio refuses`;
  return [{ code: "bad_value", path, atKey: true, message, expected: "several routes, or a shorter list" }];
}

function unsaid({ match }: Tree, path: Path): Finding[] {
  const conditions = read(match);
  const said = conditions && condition(conditions);
  if (!Array.isArray(said)) return [];
  return said.map(({ key, wrong }) => ({ code: "bad_value", path: [...path, key], atKey: true, message: wrong }));
}
