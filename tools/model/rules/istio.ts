import { type Finding, pathText } from "../issue.js";
import { condition } from "../istio/authorization.js";
import { httpMatch, REGEX_MAX, type StringMatch } from "../istio/match.js";
import { lowerPortOf } from "../istio/schema.js";
import { type Match, match as matchSchema } from "../matcher.js";
import { conflict, isMap, list, map, missing, type Path, type Tree } from "./tree.js";

/** What has to be said for a mesh, and what of the rest Istio has no words for. Nothing where there is no `istio`. */
export function istioFindings(root: Tree): Finding[] {
  if (!isMap(root.istio)) return [];
  const mode = root.mode ?? "observe";
  return [
    ...nameFindings(root),
    ...portFindings(root.istio, mode),
    ...workloadFindings(root.istio, mode),
    ...versionFindings(root.istio),
    ...(mode === "bridge" ? bridgeFindings(root, root.istio) : []),
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

function workloadFindings({ clients, servers, address }: Tree, mode: unknown): Finding[] {
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
  if (mode !== "bridge") {
    if (address !== undefined) findings.push(conflict(["istio", "address"], "needs mode: bridge"));
    for (const key of ["address", "http", "otherPorts"]) {
      if (key in map(servers)) findings.push(conflict(["istio", "servers", key], "needs mode: bridge"));
    }
  } else if (address === undefined) {
    const expected = "the Service's ClusterIP (kubectl get service), or 127.0.0.1 where clients connect to loopback";
    findings.push(missing(["istio", "address"], expected));
  }
  return findings;
}

/** What needs a later version than the one that is named. */
function versionFindings({ version, kind, failStrategy }: Tree): Finding[] {
  const minor = typeof version === "string" ? Number(/^v?1\.(\d+)/.exec(version)?.[1]) : Number.NaN;
  const since: [unknown, string, number][] = [
    [kind, "TrafficExtension", 30],
    [failStrategy, "FAIL_RELOAD", 27],
  ];
  return since.flatMap(([value, word, first], i) => {
    if (value !== word || !(minor < first)) return [];
    const path = ["istio", i === 0 ? "kind" : "failStrategy"];
    return [{ code: "conflict", path, message: `${word} needs Istio 1.${first}`, expected: "a later istio.version" }];
  });
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
  findings.push(...list(root.routes).flatMap((route, i) => tooLong(map(route), ["routes", i, "match"])));
  findings.push(...list(root.authorization).flatMap((rule, i) => unsaid(map(rule), ["authorization", i, "match"])));
  findings.push(...loopbackFindings(istio, root));
  return findings;
}

function loopbackFindings({ address, servers, ports }: Tree, { authorization }: Tree): Finding[] {
  const findings: Finding[] = [];
  if (address === "0.0.0.0" || address === "::") {
    const message = "every address: Istio would look for HTTP in it before the module sees a byte";
    findings.push({ code: "bad_value", path: ["istio", "address"], message, expected: "one address" });
  }
  const http = map(servers).http ?? authorization !== undefined;
  if (map(servers).http === false && authorization !== undefined) {
    findings.push(conflict(["istio", "servers", "http"], "is what authorization needs"));
  }
  const taken = new Map<unknown, string>();
  for (const [i, entry] of list(ports).map(map).entries()) {
    const { port, targetPort = port, lowerPort } = entry;
    const inner = lowerPort ?? (typeof targetPort === "number" ? lowerPortOf(targetPort) : undefined);
    const used: [string, unknown][] = [
      ["targetPort", targetPort],
      ...(http ? [["lowerPort", inner] as [string, unknown]] : []),
    ];
    for (const [key, number] of used) {
      const other = taken.get(number);
      if (other !== undefined) {
        const message = `port ${number} of the pods is ${other} already`;
        const path = ["istio", "ports", i, ...(key in entry ? [key] : [])];
        findings.push({ code: "conflict", path, message, expected: `another ${key}` });
      }
      taken.set(number, pathText(["istio", "ports", i, key]));
    }
    if (lowerPort !== undefined && !http) {
      findings.push(conflict(["istio", "ports", i, "lowerPort"], "needs servers.http or authorization"));
    }
  }
  for (const [i, entry] of list(map(servers).otherPorts).map(map).entries()) {
    const other = taken.get(entry.port);
    if (other === undefined) continue;
    const path = ["istio", "servers", "otherPorts", i, "port"];
    findings.push({ code: "conflict", path, message: `port ${entry.port} of the pods is ${other} already` });
  }
  return findings;
}

/** Conditions as the loader reads them; undefined where the schema finds mistakes in them. */
function read(match: unknown): Match | undefined {
  const { success, data } = matchSchema.safeParse(match);
  return success ? data : undefined;
}

function tooLong({ match }: Tree, path: Path): Finding[] {
  const conditions = read(match);
  if (!conditions) return [];
  const { uri, headers = {}, withoutHeaders = {} } = httpMatch(conditions);
  const all: (StringMatch | undefined)[] = [uri, ...Object.values(headers), ...Object.values(withoutHeaders)];
  if (all.every((it) => (it?.regex?.length ?? 0) <= REGEX_MAX)) return [];
  const message = `${pathText(path)} comes to a regular expression of more than ${REGEX_MAX} characters, which Istio refuses`;
  return [{ code: "bad_value", path, atKey: true, message, expected: "several routes, or a shorter list" }];
}

function unsaid({ match }: Tree, path: Path): Finding[] {
  const conditions = read(match);
  const said = conditions && condition(conditions);
  if (!Array.isArray(said)) return [];
  return said.map(({ key, wrong }) => ({ code: "bad_value", path: [...path, key], atKey: true, message: wrong }));
}
