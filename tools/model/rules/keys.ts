import { headerName, isHeaderValue, isReserved } from "../http.js";
import type { Finding } from "../issue.js";
import { pathText } from "../issue.js";
import type { Protocol, RegexCheck } from "../protocol.js";
import { nearest, oneOf } from "../words.js";
import { list, map, type Path, type Tree } from "./tree.js";

/** Wherever the file names what a frame has: service, method and the protocol's metadata keys. */
export function keyFindings(root: Tree, protocol: Protocol | undefined, regexCheck: RegexCheck): Finding[] {
  const known = ["service", "method", ...(protocol?.keys ?? [{ name: "*" }]).map(({ name }) => name)];
  const bridged = root.mode === "bridge";
  const matches = [
    ...list(root.routes).map((route, i): [Path, unknown] => [["routes", i, "match"], map(route).match]),
    ...list(root.authorization).map((rule, i): [Path, unknown] => [["authorization", i, "match"], map(rule).match]),
  ];
  return [
    ...matches.flatMap(([path, match]) =>
      Object.entries(map(match)).flatMap(([key, matcher]) => {
        const at = [...path, key];
        return [
          ...unknownKey(key, known, at, pathText(path)),
          ...regexFindings(matcher, at, regexCheck),
          ...(bridged ? [...noHeader(key, at), ...bridgedMatcher(key, matcher, at)] : []),
        ];
      }),
    ),
    ...(bridged ? [...namedKeys(root, known), ...headerChanges(root, known)] : []),
  ];
}

/**
 * Where the protocol's metadata keys are free (`*`), only a known key with a slip of the finger counts as a mistake:
 * words that are longer, such as `methodId`, may well be meant.
 */
function unknownKey(key: string, known: readonly string[], path: Path, place: string): Finding[] {
  if (known.includes(key)) return [];
  const words = known.filter((word) => word !== "*");
  const suggestion = nearest(key, words);
  if (words.length < known.length && (suggestion === undefined || key.length > suggestion.length)) return [];
  const message = `unknown key "${key}" in ${place}`;
  return [{ code: "unknown_key", path, atKey: true, message, expected: oneOf(words), suggestion }];
}

function noHeader(key: string, path: Path): Finding[] {
  if (headerName(key) !== undefined) return [];
  const message = `"${key}" cannot be the name of an HTTP header, so that no rule of mode bridge can see it`;
  return [{ code: "bad_value", path, atKey: true, message }];
}

function regexFindings(matcher: unknown, path: Path, regexCheck: RegexCheck): Finding[] {
  const { regex, not } = map(matcher);
  const wrong = typeof regex === "string" ? regexCheck(regex) : undefined;
  const message = `not a regular expression that the module can match: ${wrong}`;
  return [
    ...(wrong === undefined ? [] : [{ code: "bad_value", path: [...path, "regex"], message }]),
    ...(not === undefined ? [] : regexFindings(not, [...path, "not"], regexCheck)),
  ];
}

/** What the other modes can match, but Envoy cannot in the headers of a request. */
function bridgedMatcher(key: string, matcher: unknown, path: Path): Finding[] {
  const { not, regex, range, present } = map(matcher);
  const twice = map(not).not;
  if (twice !== undefined) return bridgedMatcher(key, twice, [...path, "not", "not"]);
  const inside = not === undefined ? [] : bridgedMatcher(key, not, [...path, "not"]);
  const wrong = (at: string, why: string, expected: string): Finding[] => {
    const place = [...path, at];
    return [{ code: "bad_value", path: place, atKey: true, message: `${pathText(place)} ${why}`, expected }];
  };
  if (key !== "service" && key !== "method") {
    if (not === undefined || !takesEmpty(not)) return inside;
    return wrong(
      "not",
      "would not match a frame without the key: in mode bridge it is matched as one with an empty value",
      'present, or a matcher that an empty value does not match, such as regex: ".+"',
    );
  }
  if (range !== undefined) return wrong("range", "cannot be matched in a path", "a metadata key, or a regex");
  if (present === false) {
    return wrong("present", "never holds: every HTTP request has a service and a method", "another matcher");
  }
  const encoded = typeof regex === "string" ? /[^!-~]|["<>`#/]/u.exec(regex)?.[0] : undefined;
  if (encoded === undefined) return inside;
  return wrong(
    "regex",
    `has "${encoded}", which is percent-encoded in the path that is matched`,
    `${encodeURIComponent(encoded)} in its place`,
  );
}

/** Whether an empty value matches. */
function takesEmpty(matcher: unknown): boolean {
  const { exact, regex, oneOf: texts } = typeof matcher === "string" ? { exact: matcher } : (map(matcher) as Tree);
  if (typeof regex !== "string") return exact === "" || list(texts).includes("");
  try {
    return new RegExp(`^(?:${regex})$`, "u").test("");
  } catch {
    return false;
  }
}

/** Keys that stand as values. */
function namedKeys(root: Tree, known: readonly string[]): Finding[] {
  const { consistentHash } = map(map(root.trafficPolicy).loadBalancer);
  const { descriptors } = map(root.rateLimitService);
  const places: [Path, unknown][] = [
    [["trafficPolicy", "loadBalancer", "consistentHash", "key"], map(consistentHash).key],
    ...list(descriptors).flatMap((descriptor, i) =>
      list(descriptor).map((key, j): [Path, unknown] => [["rateLimitService", "descriptors", i, j], key]),
    ),
  ];
  return places.flatMap(([path, key]) =>
    typeof key === "string" ? asValue([...unknownKey(key, known, path, pathText(path)), ...noHeader(key, path)]) : [],
  );
}

/** Of a key that stands as a value. */
function asValue(findings: Finding[]): Finding[] {
  return findings.map((finding) => ({ ...finding, atKey: false }));
}

function headerChanges(root: Tree, known: readonly string[]): Finding[] {
  // A reply's keys need not be those of requests.
  const sides: [string, readonly string[]][] = [
    ["request", known.filter((key) => key !== "service" && key !== "method")],
    ["response", ["*"]],
  ];
  return list(root.routes).flatMap((route, i) =>
    sides.flatMap(([side, keys]) => {
      const path = ["routes", i, "headers", side];
      const { set, remove } = map(map(map(route).headers)[side]);
      const removed = list(remove);
      return [
        ...Object.entries(map(set)).flatMap(([key, value]) => {
          const at = [...path, "set", key];
          return [...headerChange(key, keys, at, pathText([...path, "set"])), ...headerValue(value, at)];
        }),
        ...removed.flatMap((key, j): Finding[] => {
          if (typeof key !== "string") return [];
          const at = [...path, "remove", j];
          if (key in map(set)) {
            return [{ code: "conflict", path: at, message: `"${key}" is both set and removed in ${pathText(path)}` }];
          }
          return asValue(headerChange(key, keys, at, pathText([...path, "remove"])));
        }),
      ];
    }),
  );
}

function headerChange(key: string, known: readonly string[], path: Path, place: string): Finding[] {
  if (!isReserved(key)) return [...unknownKey(key, known, path, place), ...noHeader(key, path)];
  const message = `"${key}" has a meaning in HTTP, so that a route cannot change it`;
  return [{ code: "bad_value", path, atKey: true, message }];
}

function headerValue(value: unknown, path: Path): Finding[] {
  if (typeof value !== "string") return [];
  const wrong = (message: string, expected: string) => [{ code: "bad_value", path, message, expected }];
  if (!isHeaderValue(value)) {
    return wrong(
      `${pathText(path)} cannot be the value of an HTTP header`,
      "text without line breaks or blanks at its ends",
    );
  }
  if (/^(?:[^%]|%%|%[A-Z][A-Z0-9_]*(?:\([^)]*\))?(?::\d+)?%)*$/.test(value)) return [];
  return wrong(`${pathText(path)} has a % that starts no command operator`, "%% for a percent sign");
}
