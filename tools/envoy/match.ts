import { headerName, pathSegment } from "../model/http.js";
import type { Match, Matcher } from "../model/matcher.js";
import { anyOf, inside, literal } from "../model/regex.js";

/** One `HeaderMatcher` of Envoy for each condition, on requests as the module writes them; all must hold. */
export function headerMatchers(match: Match = {}): object[] {
  return Object.entries(match).map(([key, matcher]) => headerMatcher(key, matcher));
}

/** Where a key's value stands: a header, or a part of `:path`. */
export function headerOf(key: string): { header_name: string; regex?: string } {
  if (key === "service") return { header_name: ":path", regex: "^/([^/]*)/.*$" };
  if (key === "method") return { header_name: ":path", regex: "^/[^/]*/(.*)$" };
  // A key that can be no header has been refused.
  return { header_name: headerName(key) ?? key };
}

function headerMatcher(key: string, matcher: Matcher, inverted = false): object {
  if (matcher.not) return headerMatcher(key, matcher.not, !inverted);
  const { header_name: name } = headerOf(key);
  const { prefix, suffix, present = prefix === "" || suffix === "" ? true : undefined } = matcher;
  if (present !== undefined) return { name, present_match: present !== inverted };
  const how = name !== ":path" ? inHeader(matcher) : key === "service" ? inService(matcher) : inMethod(matcher);
  // Without a header Envoy matches nothing, inverted or not, unless it is told to take an empty value for it.
  return { name, ...how, ...(inverted && { invert_match: true, treat_missing_header_as_empty: true }) };
}

function inHeader({ exact, prefix, suffix, regex = "", oneOf, range }: Matcher): object {
  if (exact !== undefined) return text({ exact });
  if (prefix !== undefined) return text({ prefix });
  if (suffix !== undefined) return text({ suffix });
  if (oneOf) return whole(anyOf(oneOf));
  if (range) return { range_match: { start: String(range.min ?? INT64_MIN), end: endOf(range.max) } };
  return whole(regex);
}

/** The first part of `/SERVICE/METHOD`; neither of the two contains a slash. */
function inService({ exact, prefix, suffix, regex = "", oneOf }: Matcher): object {
  if (exact !== undefined) return text({ prefix: `/${pathSegment(exact)}/` });
  if (prefix !== undefined) return text({ prefix: `/${pathSegment(prefix)}` });
  if (suffix !== undefined) return whole(`/[^/]*${literal(pathSegment(suffix))}/.*`);
  return whole(`/(?:${oneOf ? anyOf(oneOf.map(pathSegment)) : inside(regex)})/[^/]*`);
}

function inMethod({ exact, prefix, suffix, regex = "", oneOf }: Matcher): object {
  if (exact !== undefined) return text({ suffix: `/${pathSegment(exact)}` });
  if (prefix !== undefined) return whole(`/[^/]*/${literal(pathSegment(prefix))}.*`);
  if (suffix !== undefined) return text({ suffix: pathSegment(suffix) });
  return whole(`/[^/]*/(?:${oneOf ? anyOf(oneOf.map(pathSegment)) : inside(regex)})`);
}

function text(string_match: object): object {
  return { string_match };
}

/** Envoy's regular expressions match the whole value, as ours do. */
function whole(regex: string): object {
  return text({ safe_regex: { regex } });
}

/** JSON's numbers hold no 64 bits; Envoy reads them from text. */
const INT64_MIN = "-9223372036854775808";
const INT64_MAX = "9223372036854775807";

/** Envoy's ranges end before their end. */
function endOf(max: number | undefined): string {
  return max === undefined ? INT64_MAX : String(BigInt(max) + 1n);
}
