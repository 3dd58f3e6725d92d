import { formatAddress, parseAddress } from "./units.js";
import { nearest, oneOf } from "./words.js";

/** A protocol that the module speaks, as it describes itself. */
export interface Protocol {
  name: string;
  /** What routes can match besides service and method; `*` stands for keys that only the frames know. */
  keys: readonly { name: string }[];
}

/** A mistake before it is located in the file. */
export interface Finding {
  code: string;
  path: readonly PropertyKey[];
  /** Whether the place is the key itself and not its value. */
  atKey?: boolean;
  message: string;
  expected?: string | undefined;
  /** What the user probably meant. */
  suggestion?: string | undefined;
}

/** Answers what is wrong with a regular expression, or undefined. */
export type RegexCheck = (regex: string) => string | undefined;

/**
 * The mistakes that take more than one key to see. Reads what the user wrote, whatever it is, so that these show up
 * together with those of the schema and not one run later. Values of a wrong type are passed over: the schema names
 * them.
 */
export function crossChecks(input: unknown, protocols: readonly Protocol[], regexCheck: RegexCheck): Finding[] {
  const findings: Finding[] = [];
  const root = map(input);
  const service = map(root.service);
  const mode = root.mode ?? "observe";

  const protocol = protocols.find(({ name }) => name === root.protocol);
  if (typeof root.protocol === "string" && !protocol) {
    const known = protocols.map(({ name }) => name);
    findings.push({
      code: "unknown_protocol",
      path: ["protocol"],
      message: `unknown protocol "${root.protocol}"`,
      expected: oneOf(known),
      suggestion: nearest(root.protocol, known),
    });
  }
  const matchKeys = ["service", "method", ...(protocol?.keys ?? [{ name: "*" }]).map(({ name }) => name)];

  const needs = (at: object, path: string[], key: string, why: string) => {
    if (!(key in at)) {
      findings.push({
        code: "missing_key",
        path: [...path, key],
        message: `missing key "${[...path, key].join(".")}"`,
        expected: why,
      });
    }
  };
  const refuses = (at: object, path: string[], key: string, why: string) => {
    if (key in at) {
      findings.push({
        code: "conflict",
        path: [...path, key],
        atKey: true,
        message: `"${[...path, key].join(".")}" ${why}`,
      });
    }
  };
  if (mode === "route") {
    needs(root, [], "routes", 'at least "- subset: NAME"');
    if (isMap(root.service)) {
      // Servers under the other mode's key: that key is what is wrong, not that this one is missing.
      if (!("endpoints" in service)) needs(service, ["service"], "subsets", "the groups of servers that routes name");
      refuses(
        service,
        ["service"],
        "endpoints",
        "is for mode observe; in mode route each subset has its own endpoints",
      );
    }
  } else if (mode === "observe") {
    refuses(root, [], "routes", "needs mode: route");
    if (isMap(root.service)) {
      if (!("subsets" in service)) needs(service, ["service"], "endpoints", "the servers that connections go to");
      refuses(service, ["service"], "subsets", "needs mode: route; in mode observe all goes to service.endpoints");
    }
  }

  const subsets = list(service.subsets).map((subset) => map(subset).name);
  subsets.forEach((name, i) => {
    if (typeof name === "string" && subsets.indexOf(name) < i) {
      const message = `there are two subsets "${name}"`;
      findings.push({ code: "duplicate_subset", path: ["service", "subsets", i, "name"], message });
    }
  });

  const names = subsets.filter((name) => typeof name === "string");
  let always = -1;
  list(root.routes).forEach((entry, i) => {
    if (!isMap(entry)) return;
    const { match, subset } = entry;
    if (always >= 0) {
      const message = `routes[${i}] is never reached, because routes[${always}] matches everything`;
      findings.push({ code: "unreachable", path: ["routes", i], message });
    } else if (match === undefined || (isMap(match) && Object.keys(match).length === 0)) {
      always = i;
    }
    if (typeof subset === "string" && "subsets" in service && !names.includes(subset)) {
      findings.push({
        code: "unknown_subset",
        path: ["routes", i, "subset"],
        message: `unknown subset "${subset}" in routes[${i}]`,
        expected: oneOf([...new Set(names)]),
        suggestion: nearest(subset, names),
      });
    }
    for (const [key, matcher] of Object.entries(map(match))) {
      findings.push(...regexFindings(matcher, ["routes", i, "match", key], regexCheck));
      const wrong = unknownMatchKey(key, matchKeys);
      if (wrong) {
        const message = `unknown key "${key}" in routes[${i}].match`;
        findings.push({ code: "unknown_key", path: ["routes", i, "match", key], atKey: true, message, ...wrong });
      }
    }
  });

  const bind = address(service.bind);
  if (
    bind !== undefined &&
    bind === (address(root.admin) ?? (root.admin === undefined ? "127.0.0.1:9901" : undefined))
  ) {
    const message = `service.bind and admin are both ${bind}`;
    findings.push({ code: "conflict", path: ["service", "bind"], message });
  }
  const targets: [unknown, PropertyKey[]][] = [
    [service.endpoints, ["service", "endpoints"]],
    ...list(service.subsets).map((subset, i): [unknown, PropertyKey[]] => [
      map(subset).endpoints,
      ["service", "subsets", i, "endpoints"],
    ]),
  ];
  for (const [endpoints, path] of targets) {
    list(endpoints).forEach((endpoint, i) => {
      if (bind !== undefined && address(endpoint) === bind) {
        const message = `${bind} is service.bind: connections would go round in a circle`;
        findings.push({ code: "conflict", path: [...path, i], message });
      }
    });
  }
  return findings;
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

function address(value: unknown): string | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const parsed = parseAddress(value);
  return "value" in parsed && parsed.value.port !== 0 ? formatAddress(parsed.value) : undefined;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function map(value: unknown): Record<string, unknown> {
  return isMap(value) ? value : {};
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
