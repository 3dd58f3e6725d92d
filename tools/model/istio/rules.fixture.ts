import fc from "fast-check";
import { headerName, pathSegment } from "../http.js";
import type { Match, Matcher } from "../matcher.js";

/*
 * Requests and conditions on them, made up, and what a condition means: the sentences of docs/architecture.md as a program.
 */

export interface Frame {
  service: string;
  method: string;
  metadata: Record<string, string>;
}

/** What the module makes of a frame: `:path`, and metadata as headers. */
export function headersOf({ service, method, metadata }: Frame): Map<string, string> {
  const headers = Object.entries(metadata).map(([key, value]): [string, string] => [headerName(key) ?? key, value]);
  return new Map([[":path", `/${pathSegment(service)}/${pathSegment(method)}`], ...headers]);
}

/** The whole value, as in Envoy; `.` is any character there. */
export function wholly(regex: string, value: string): boolean {
  return new RegExp(`^(?:${regex})$`, "su").test(value);
}

export function holds(match: Match, { metadata, ...frame }: Frame): boolean {
  return Object.entries(match).every(([key, matcher]) =>
    key === "service" || key === "method"
      ? matches(encoded(matcher), pathSegment(frame[key]))
      : matches(matcher, metadata[key]),
  );
}

/** A condition on what stands in a path: only regular expressions are written for that. */
function encoded({ exact, prefix, suffix, oneOf, not, ...rest }: Matcher): Matcher {
  return {
    ...rest,
    ...(exact !== undefined && { exact: pathSegment(exact) }),
    ...(prefix !== undefined && { prefix: pathSegment(prefix) }),
    ...(suffix !== undefined && { suffix: pathSegment(suffix) }),
    ...(oneOf && { oneOf: oneOf.map(pathSegment) }),
    ...(not && { not: encoded(not) }),
  };
}

function matches({ exact, prefix, suffix, regex, oneOf, range, present, not }: Matcher, value?: string): boolean {
  if (not) return !matches(not, value);
  if (present !== undefined) return present === (value !== undefined);
  if (value === undefined) return false;
  if (exact !== undefined) return value === exact;
  if (prefix !== undefined) return value.startsWith(prefix);
  if (suffix !== undefined) return value.endsWith(suffix);
  if (oneOf) return oneOf.includes(value);
  if (regex !== undefined) return wholly(regex, value);
  if (!range || !/^-?\d+$/.test(value)) return false;
  const number = BigInt(value);
  return (range.min === undefined || number >= range.min) && (range.max === undefined || number <= range.max);
}

/** Few and alike, so that they often match, and among them all that a path or a pattern could mistake. */
const texts = fc.constantFrom("a", "b", "ab", "ba", "aab", "a.b", "a/b", "/", "*", "a*", "%41", "é", "a b", "[a]", "x");
const borders = fc.constantFrom(
  0,
  1,
  9,
  10,
  11,
  99,
  100,
  101,
  1000,
  Number.MAX_SAFE_INTEGER - 1,
  Number.MAX_SAFE_INTEGER,
);
const numbers = fc.oneof(
  fc.tuple(borders, fc.constantFrom(1, -1)).map(([number, sign]) => number * sign + 0),
  fc.maxSafeInteger(),
  fc.integer({ min: -200, max: 200 }),
);
/** The greatest of 64 bits is left out: Envoy's ranges end before their end. */
const numerals = fc.oneof(
  numbers.map(String),
  numbers.map((number) => String(number).replace(/\d/, "00$&")),
  fc.constantFrom("9223372036854775806", "-9223372036854775808", "-", "1.0", "1e3", "12x"),
);
const ranges = fc.oneof(
  fc.tuple(numbers, numbers).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) })),
  numbers.map((min) => ({ min })),
  numbers.map((max) => ({ max })),
);

/** None of these matches an empty value: the loader refuses to negate those. */
const patterns = fc.constantFrom("a+", "a.*", ".*b", "^a.?b$", "(a|b)+", "[ab]+", "[^a]+", ".+");
const positive: fc.Arbitrary<Matcher> = fc.oneof(
  texts.map((exact) => ({ exact })),
  fc.oneof(texts, fc.constant("")).map((prefix) => ({ prefix })),
  fc.oneof(texts, fc.constant("")).map((suffix) => ({ suffix })),
  patterns.map((regex) => ({ regex })),
  fc.array(texts, { minLength: 1, maxLength: 3 }).map((oneOf) => ({ oneOf })),
  fc.constant({ present: true }),
);
const orNot = (matcher: fc.Arbitrary<Matcher>) =>
  fc.tuple(matcher, fc.nat(2)).map(([inner, times]) => {
    let outer = inner;
    for (let i = 0; i < times; i++) outer = { not: outer };
    return outer;
  });

const inName = orNot(positive);
const inMetadata = fc.oneof(
  { weight: 3, arbitrary: orNot(positive) },
  { weight: 2, arbitrary: orNot(ranges.map((range) => ({ range }))) },
  orNot(fc.constant({ present: false })),
  fc.constantFrom<Matcher>({ exact: "" }, { regex: "" }, { oneOf: [""] }, { oneOf: ["", "a"] }),
);
const KEYS = ["User", "dubbo.tag", "host"];

/** What the loader lets pass in mode bridge. */
export const conditions: fc.Arbitrary<Match> = fc
  .tuple(
    fc.record({ service: inName, method: inName }, { requiredKeys: [] }),
    fc.dictionary(fc.constantFrom(...KEYS), inMetadata),
  )
  .map(([names, metadata]) => ({ ...names, ...metadata }));

export const frames: fc.Arbitrary<Frame> = fc.record({
  service: texts,
  method: texts,
  metadata: fc.dictionary(fc.constantFrom(...KEYS), fc.oneof(texts, numerals, fc.constant(""))),
});
