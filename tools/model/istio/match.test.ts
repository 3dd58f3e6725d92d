import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { headerMatchers } from "../../envoy/match.js";
import type { Matcher } from "../matcher.js";
import { type HttpMatch, httpMatch, type StringMatch } from "./match.js";
import { conditions, type Frame, frames, headersOf, holds, wholly } from "./rules.fixture.js";

/** Istio's HTTPMatchRequest, as istiod has Envoy evaluate it. */
function inIstio({ uri, headers = {}, withoutHeaders = {} }: HttpMatch, frame: Frame): boolean {
  const request = headersOf(frame);
  return (
    (!uri || says(uri, request.get(":path"))) &&
    Object.entries(headers).every(([name, match]) => says(match, request.get(name))) &&
    // An absent header counts as an empty one, unless it is presence that is asked for.
    !Object.entries(withoutHeaders).some(([name, match]) =>
      says(match, request.get(name) ?? (Object.keys(match).length > 0 ? "" : undefined)),
    )
  );
}

function says({ exact, prefix, regex, ...unknown }: StringMatch, value: string | undefined): boolean {
  expect(unknown).toEqual({});
  if (value === undefined) return false;
  if (exact !== undefined) return value === exact;
  if (prefix !== undefined) {
    expect(prefix, "Istio takes no empty prefix").not.toBe("");
    return value.startsWith(prefix);
  }
  if (regex === undefined) return true;
  expect(regex, "Istio takes no empty regex").not.toBe("");
  return wholly(regex, value);
}

interface HeaderMatcher {
  name: string;
  string_match?: { exact?: string; prefix?: string; suffix?: string; safe_regex?: { regex: string } };
  range_match?: { start: string; end: string };
  present_match?: boolean;
  invert_match?: boolean;
  treat_missing_header_as_empty?: boolean;
}

/** Envoy's HeaderMatcher. */
function inEnvoy(matcher: HeaderMatcher, frame: Frame): boolean {
  const { name, present_match, string_match = {}, range_match, invert_match = false } = matcher;
  const value = headersOf(frame).get(name) ?? (matcher.treat_missing_header_as_empty ? "" : undefined);
  if (present_match !== undefined) return present_match === (value !== undefined);
  if (value === undefined) return false;
  const { exact, prefix, suffix, safe_regex } = string_match;
  const matches = range_match
    ? /^-?\d+$/.test(value) && BigInt(value) >= BigInt(range_match.start) && BigInt(value) < BigInt(range_match.end)
    : exact !== undefined
      ? value === exact
      : prefix !== undefined
        ? value.startsWith(prefix)
        : suffix !== undefined
          ? value.endsWith(suffix)
          : wholly(safe_regex?.regex ?? "", value);
  return matches !== invert_match;
}

describe("a match", () => {
  it("means in Istio, and in the Envoy of a local run, what it says", () => {
    fc.assert(
      fc.property(conditions, frames, (match, frame) => {
        const expected = holds(match, frame);
        const said = httpMatch(match);
        expect(inIstio(said, frame), JSON.stringify(said)).toBe(expected);
        const local = headerMatchers(match) as HeaderMatcher[];
        expect(
          local.every((matcher) => inEnvoy(matcher, frame)),
          JSON.stringify(local),
        ).toBe(expected);
      }),
      { numRuns: 3000 },
    );
  });

  const of = (matcher: Matcher) => httpMatch({ tenant: matcher });
  const path = (service?: Matcher, method?: Matcher) =>
    httpMatch({ ...(service && { service }), ...(method && { method }) });
  it.each<[string, HttpMatch, HttpMatch]>([
    ["nothing", httpMatch({}), {}],
    ["a method of a service", path({ exact: "a.B" }, { exact: "hi" }), { uri: { exact: "/a.B/hi" } }],
    ["a service", path({ exact: "a.B" }), { uri: { prefix: "/a.B/" } }],
    ["services that begin alike", path({ prefix: "a." }), { uri: { prefix: "/a." } }],
    ["a method", path(undefined, { exact: "hi" }), { uri: { regex: "/[^/]*/hi" } }],
    [
      "neither of two",
      path({ not: { exact: "a" } }, { not: { exact: "b" } }),
      { withoutHeaders: { ":path": { regex: "/a/[^/]*|/[^/]*/b" } } },
    ],
    ["a value that is there", of({ present: true }), { headers: { tenant: {} } }],
    ["a value that is not there", of({ present: false }), { withoutHeaders: { tenant: {} } }],
    ["a value that is empty", of({ regex: "" }), { headers: { tenant: { exact: "" } } }],
    ["a suffix", of({ suffix: ".b" }), { headers: { tenant: { regex: ".*\\.b" } } }],
    ["a range", of({ range: { min: 5, max: 12 } }), { headers: { tenant: { regex: "0*(?:[5-9]|1[0-2])" } } }],
    [
      "a range without an end",
      of({ range: { min: 98 } }),
      { headers: { tenant: { regex: "0*(?:98|9[9-9]|[1-9]\\d{2,})" } } },
    ],
    ["what HTTP gives a meaning", httpMatch({ Host: { exact: "a" } }), { headers: { "meltemi-host": { exact: "a" } } }],
  ])("of %s is written like this", (_, said, expected) => {
    expect(said).toEqual(expected);
  });
});
