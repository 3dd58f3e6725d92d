import toRegexRange from "to-regex-range";
import { headerName, pathSegment } from "../http.js";
import type { Match, Matcher } from "../matcher.js";
import { anyOf, inside, literal } from "../regex.js";

/*
 * Conditions in the words of Istio's VirtualService, on requests as the module writes them: POST /SERVICE/METHOD, metadata
 * as headers.
 */

/** One key; none stands for any value, as long as there is one. */
export interface StringMatch {
  exact?: string;
  prefix?: string;
  regex?: string;
}

/** Istio's HTTPMatchRequest. */
export interface HttpMatch {
  uri?: StringMatch;
  headers?: Record<string, StringMatch>;
  /** What a request must not have; an absent header counts as an empty one. */
  withoutHeaders?: Record<string, StringMatch>;
}

/** What istiod takes as a regular expression, in bytes. */
export const REGEX_MAX = 1024;

/** All conditions must hold. */
export function httpMatch(match: Match): HttpMatch {
  const conditions = Object.entries(match).map(([key, matcher]) => ({ key, ...positive(matcher) }));
  const named = (key: string, not: boolean) => conditions.find((it) => it.key === key && it.not === not)?.matcher;
  const uri = pathMatch(named("service", false), named("method", false));
  const [service, method] = [named("service", true), named("method", true)];
  // One header can be ruled out only once, and either of the two is reason enough.
  const ruledOut = [service && `/${segment(service)}/[^/]*`, method && `/[^/]*/${segment(method)}`].filter(Boolean);
  const inHeaders = (not: boolean): [string, StringMatch][] =>
    conditions
      .filter((it) => it.not === not && it.key !== "service" && it.key !== "method")
      .map(({ key, matcher }) => [headerName(key) ?? key, headerMatch(matcher)]);
  const headers = inHeaders(false);
  const without = [
    ...(ruledOut.length > 0 ? [[":path", { regex: ruledOut.join("|") }] as const] : []),
    ...inHeaders(true),
  ];
  return {
    ...(uri && { uri }),
    ...(headers.length > 0 && { headers: Object.fromEntries(headers) }),
    ...(without.length > 0 && { withoutHeaders: Object.fromEntries(without) }),
  };
}

/** The same condition without `not`, and whether it must not hold. */
export function positive(matcher: Matcher): { matcher: Matcher; not: boolean } {
  if (matcher.not) {
    const { matcher: inner, not } = positive(matcher.not);
    return { matcher: inner, not: !not };
  }
  return matcher.present === false ? { matcher: { present: true }, not: true } : { matcher, not: false };
}

function pathMatch(service: Matcher | undefined, method: Matcher | undefined): StringMatch | undefined {
  if (!service && !method) return undefined;
  if (service?.exact !== undefined) {
    const start = `/${pathSegment(service.exact)}/`;
    if (!method) return { prefix: start };
    if (method.exact !== undefined) return { exact: start + pathSegment(method.exact) };
  }
  if (service?.prefix !== undefined && !method) return { prefix: `/${pathSegment(service.prefix)}` };
  return { regex: `/${service ? segment(service) : "[^/]*"}/${method ? segment(method) : "[^/]*"}` };
}

/** A regular expression for a service or a method as it stands in the path. */
function segment({ exact, prefix, suffix, regex, oneOf }: Matcher): string {
  if (exact !== undefined) return literal(pathSegment(exact));
  if (prefix !== undefined) return `${literal(pathSegment(prefix))}[^/]*`;
  if (suffix !== undefined) return `[^/]*${literal(pathSegment(suffix))}`;
  if (oneOf) return `(?:${anyOf(oneOf.map(pathSegment))})`;
  return regex === undefined ? "[^/]*" : `(?:${inside(regex)})`;
}

function headerMatch({ exact, prefix, suffix, regex, oneOf, range }: Matcher): StringMatch {
  if (exact !== undefined) return { exact };
  // An empty prefix or suffix is one that every value has.
  if (prefix) return { prefix };
  if (suffix) return { regex: `.*${literal(suffix)}` };
  if (range) return { regex: inRange(range) };
  const pattern = oneOf ? anyOf(oneOf) : regex;
  // Istio takes no empty regular expression.
  return pattern === undefined ? {} : pattern === "" ? { exact: "" } : { regex: pattern };
}

/** A regular expression for the whole numbers of a range; Istio has no matcher for these. */
function inRange({ min, max }: { min?: number; max?: number }): string {
  const positive = max === undefined || max >= 0;
  const negative = min === undefined || min < 0;
  return [
    ...(positive ? [`0*${between(Math.max(min ?? 0, 0), max)}`] : []),
    ...(negative ? [`-0*${between(Math.max(-(max ?? 0), 0), min === undefined ? undefined : -min)}`] : []),
  ].join("|");
}

/** One atom for whole numbers that are not negative, without zeros in front. */
function between(least: number, most: number | undefined): string {
  if (most !== undefined) return toRegexRange(least, most);
  if (least === 0) return "\\d+";
  // Those of as many digits, digit by digit, and longer ones.
  const digits = String(least);
  const above = Array.from(digits, (digit, i) => {
    const rest = digits.length - i - 1;
    return digit === "9" ? "" : `${digits.slice(0, i)}[${Number(digit) + 1}-9]${rest > 0 ? `\\d{${rest}}` : ""}`;
  });
  return `(?:${[digits, ...above.filter((part) => part !== ""), `[1-9]\\d{${digits.length},}`].join("|")})`;
}
