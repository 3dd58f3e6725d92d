import type { Finding } from "./issue.js";
import { ADMIN } from "./schema.js";
import { type Address, formatAddress, parseAddress } from "./units.js";
import { nearest, oneOf } from "./words.js";

/** A protocol that the module speaks, as it describes itself. */
export interface Protocol {
  name: string;
  /** What routes can match besides service and method; `*` stands for keys that only the frames know. */
  keys: readonly { name: string }[];
}

/** Answers what is wrong with a regular expression, or undefined. */
export type RegexCheck = (regex: string) => string | undefined;

/**
 * The mistakes that take more than one key to see. Reads what the user wrote, whatever it is, so that these show up
 * together with those of the schema and not one run later. Values of a wrong type are passed over: the schema names
 * them.
 */
export function crossChecks(input: unknown, protocols: readonly Protocol[], regexCheck: RegexCheck): Finding[] {
  const root = map(input);
  const protocol = protocols.find(({ name }) => name === root.protocol);
  return [
    ...(protocol ? [] : unknownProtocol(root.protocol, protocols)),
    ...modeFindings(root),
    ...subsetFindings(root),
    ...routeFindings(root),
    ...matchFindings(root, protocol, regexCheck),
    ...addressFindings(root),
  ];
}

function unknownProtocol(name: unknown, protocols: readonly Protocol[]): Finding[] {
  if (typeof name !== "string") return [];
  const known = protocols.map((protocol) => protocol.name);
  const message = `unknown protocol "${name}"`;
  return [
    { code: "unknown_protocol", path: ["protocol"], message, expected: oneOf(known), suggestion: nearest(name, known) },
  ];
}

/** Each mode has keys of its own. */
function modeFindings(root: Tree): Finding[] {
  const missing = (path: string[], expected: string): Finding => {
    return { code: "missing_key", path, message: `missing key "${path.join(".")}"`, expected };
  };
  const conflict = (path: string[], why: string): Finding => {
    return { code: "conflict", path, atKey: true, message: `"${path.join(".")}" ${why}` };
  };
  const findings: Finding[] = [];
  const mode = root.mode ?? "observe";
  if (mode === "route" && !("routes" in root)) findings.push(missing(["routes"], 'at least "- subset: NAME"'));
  if (mode === "observe" && "routes" in root) findings.push(conflict(["routes"], "needs mode: route"));
  if (!isMap(root.service)) return findings;

  // Servers under the other mode's key: that key is what is wrong, not that this mode's is missing.
  const { endpoints, subsets } = root.service;
  if (mode === "route" && endpoints !== undefined) {
    findings.push(conflict(["service", "endpoints"], "is for mode observe; in mode route each subset has its own"));
  } else if (mode === "route" && subsets === undefined) {
    findings.push(missing(["service", "subsets"], "the groups of servers that routes name"));
  } else if (mode === "observe" && subsets !== undefined) {
    findings.push(conflict(["service", "subsets"], "needs mode: route; in mode observe there are only endpoints"));
  } else if (mode === "observe" && endpoints === undefined) {
    findings.push(missing(["service", "endpoints"], "the servers that connections go to"));
  }
  return findings;
}

function subsetFindings(root: Tree): Finding[] {
  const names = list(map(root.service).subsets).map((subset) => map(subset).name);
  return names.flatMap((name, i) => {
    if (typeof name !== "string" || names.indexOf(name) === i) return [];
    const path = ["service", "subsets", i, "name"];
    return [{ code: "duplicate_subset", path, message: `there are two subsets "${name}"` }];
  });
}

function routeFindings(root: Tree): Finding[] {
  const routes = list(root.routes);
  const always = routes.findIndex(
    (route) => isMap(route) && (route.match === undefined || (isMap(route.match) && isEmpty(route.match))),
  );
  const { subsets } = map(root.service);
  const names = list(subsets).flatMap((subset) => map(subset).name ?? []);
  const known = [...new Set(names.filter((name) => typeof name === "string"))];
  return routes.flatMap((route, i) => {
    const findings: Finding[] = [];
    const { subset } = map(route);
    if (always >= 0 && i > always) {
      const message = `routes[${i}] is never reached, because routes[${always}] matches everything`;
      findings.push({ code: "unreachable", path: ["routes", i], message });
    }
    if (typeof subset === "string" && subsets !== undefined && !known.includes(subset)) {
      findings.push({
        code: "unknown_subset",
        path: ["routes", i, "subset"],
        message: `unknown subset "${subset}" in routes[${i}]`,
        expected: known.length > 0 ? oneOf(known) : undefined,
        suggestion: nearest(subset, known),
      });
    }
    return findings;
  });
}

function matchFindings(root: Tree, protocol: Protocol | undefined, regexCheck: RegexCheck): Finding[] {
  const keys = ["service", "method", ...(protocol?.keys ?? [{ name: "*" }]).map(({ name }) => name)];
  return list(root.routes).flatMap((route, i) =>
    Object.entries(map(map(route).match)).flatMap(([key, matcher]) => {
      const path = ["routes", i, "match", key];
      const wrong = unknownMatchKey(key, keys);
      const message = `unknown key "${key}" in routes[${i}].match`;
      return [
        ...(wrong ? [{ code: "unknown_key", path, atKey: true, message, ...wrong }] : []),
        ...regexFindings(matcher, path, regexCheck),
      ];
    }),
  );
}

/** Addresses that cannot be used twice. */
function addressFindings(root: Tree): Finding[] {
  const service = map(root.service);
  const bind = address(service.bind);
  if (!bind) return [];
  const shown = formatAddress(bind);
  const findings: Finding[] = [];
  const admin = address(root.admin ?? ADMIN);
  if (admin && formatAddress(admin) === shown) {
    const message = `service.bind and admin are both ${shown}`;
    findings.push({ code: "conflict", path: ["service", "bind"], message });
  }
  const places: [PropertyKey[], unknown][] = [
    [["service", "endpoints"], service.endpoints],
    ...list(service.subsets).map((subset, i): [PropertyKey[], unknown] => {
      return [["service", "subsets", i, "endpoints"], map(subset).endpoints];
    }),
  ];
  for (const [path, endpoints] of places) {
    list(endpoints).forEach((endpoint, i) => {
      const to = address(endpoint);
      if (!to || to.port !== bind.port || !reaches(to.host, bind.host)) return;
      const message = `${formatAddress(to)} is service.bind: connections would go round in a circle`;
      findings.push({ code: "conflict", path: [...path, i], message });
    });
  }
  return findings;
}

/** Whether a connection to `host` certainly comes to a listener on the IP address `bind`. */
function reaches(host: string, bind: string): boolean {
  const local = host === "localhost" ? "127.0.0.1" : host;
  const anywhere = bind === "0.0.0.0" || bind === "::";
  return local === bind || (anywhere && (local === "::1" || local.startsWith("127.")));
}

function regexFindings(matcher: unknown, path: PropertyKey[], regexCheck: RegexCheck): Finding[] {
  const { regex, not } = map(matcher);
  const wrong = typeof regex === "string" ? regexCheck(regex) : undefined;
  const message = `not a regular expression that the module can match: ${wrong}`;
  return [
    ...(wrong === undefined ? [] : [{ code: "bad_value", path: [...path, "regex"], message }]),
    ...(not === undefined ? [] : regexFindings(not, [...path, "not"], regexCheck)),
  ];
}

/**
 * Where the protocol's metadata keys are free (`*`), only a known key with a slip of the finger counts as a mistake:
 * words that are longer, such as `methodId`, may well be meant.
 */
function unknownMatchKey(key: string, known: readonly string[]): Pick<Finding, "expected" | "suggestion"> | undefined {
  if (known.includes(key)) return undefined;
  const words = known.filter((word) => word !== "*");
  const suggestion = nearest(key, words);
  if (words.length < known.length && (suggestion === undefined || key.length > suggestion.length)) return undefined;
  return { expected: oneOf(words), suggestion };
}

function address(value: unknown): Address | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const parsed = parseAddress(value);
  return "value" in parsed && parsed.value.port !== 0 ? parsed.value : undefined;
}

type Tree = Record<string, unknown>;

function isMap(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function map(value: unknown): Tree {
  return isMap(value) ? value : {};
}

function isEmpty(value: Tree): boolean {
  return Object.keys(value).length === 0;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
