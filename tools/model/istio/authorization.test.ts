import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Match, Matcher } from "../matcher.js";
import { type Condition, condition } from "./authorization.js";
import { conditions, type Frame, frames, headersOf, holds } from "./rules.fixture.js";

/** A rule of an AuthorizationPolicy, as istiod has Envoy evaluate it. */
function inIstio({ paths, notPaths, when = [] }: Condition, frame: Frame): boolean {
  const request = headersOf(frame);
  const some = (patterns: readonly string[], name: string) =>
    patterns.some((pattern) => fits(pattern, request.get(name)));
  return (
    (!paths || some(paths, ":path")) &&
    (!notPaths || !some(notPaths, ":path")) &&
    when.every(({ key, values, notValues }) => {
      const name = /^request\.headers\[(.+)\]$/.exec(key)?.[1] ?? "";
      expect(["user", "dubbo.tag", "meltemi-host"]).toContain(name);
      return (!values || some(values, name)) && (!notValues || !some(notValues, name));
    })
  );
}

/** The first rule counts that fits the form of the pattern. */
function fits(pattern: string, value: string | undefined): boolean {
  expect(pattern, "Istio takes no empty value").not.toBe("");
  if (value === undefined) return false;
  if (pattern === "*") return true;
  if (pattern.startsWith("*")) return value.endsWith(pattern.slice(1));
  return pattern.endsWith("*") ? value.startsWith(pattern.slice(0, -1)) : value === pattern;
}

describe("a rule", () => {
  it("means in Istio what it says, or is refused", () => {
    let [said, refused] = [0, 0];
    fc.assert(
      fc.property(conditions, frames, (match, frame) => {
        const found = condition(match);
        if (Array.isArray(found)) {
          refused++;
          expect(found.length).toBeGreaterThan(0);
          for (const { key, wrong } of found) {
            expect(match).toHaveProperty([key]);
            expect(wrong).not.toBe("");
          }
        } else {
          said++;
          expect(inIstio(found, frame), JSON.stringify(found)).toBe(holds(match, frame));
        }
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(said, refused)).toBeGreaterThan(100);
  });

  it.each<[string, Match, Condition]>([
    ["nothing", {}, {}],
    [
      "methods of a service",
      { service: { exact: "a.B" }, method: { oneOf: ["x", "y"] } },
      { paths: ["/a.B/x", "/a.B/y"] },
    ],
    ["methods that begin alike", { service: { exact: "B" }, method: { prefix: "get" } }, { paths: ["/B/get*"] }],
    ["methods that end alike", { method: { suffix: "All" } }, { paths: ["*All"] }],
    ["services that begin alike", { service: { prefix: "a." } }, { paths: ["/a.*"] }],
    [
      "neither of two",
      { service: { not: { exact: "a" } }, method: { not: { exact: "b" } } },
      { notPaths: ["/a/*", "*/b"] },
    ],
    ["a key that is there", { User: { present: true } }, { when: [{ key: "request.headers[user]", values: ["*"] }] }],
    ["a key that is not", { User: { present: false } }, { when: [{ key: "request.headers[user]", notValues: ["*"] }] }],
    [
      "what a value is not",
      { User: { not: { prefix: "a" } } },
      { when: [{ key: "request.headers[user]", notValues: ["a*"] }] },
    ],
  ])("on %s is written like this", (_, match, expected) => {
    expect(condition(match)).toEqual(expected);
  });

  const path = (service: Matcher, method: Matcher): Match => ({ service, method });
  it.each<[string, Match, [string, string][]]>([
    ["a regular expression", { User: { regex: "a" } }, [["User", "know only exact, prefix"]]],
    ["a range", { User: { not: { range: { min: 1 } } } }, [["User", "know only exact, prefix"]]],
    ["an empty text", { User: { oneOf: ["a", ""] } }, [["User", "cannot ask for an empty text"]]],
    ["a star", { method: { exact: "a*" } }, [["method", "a * stands for any text"]]],
    ["the end of a service", { service: { suffix: "B" } }, [["service", "no method but exact or oneOf"]]],
    ["the beginning of a method", { method: { prefix: "get" } }, [["method", "or an exact service beside it"]]],
    [
      "the end of a service's methods",
      path({ exact: "B" }, { suffix: "x" }),
      [["method", "service as exact or oneOf"]],
    ],
    ["two beginnings", path({ prefix: "a" }, { prefix: "b" }), [["method", "service as exact or oneOf"]]],
    [
      "several things",
      { service: { not: { suffix: "B" } }, User: { regex: "a" } },
      [
        ["service", "one * at an end of the whole path"],
        ["User", "know only exact"],
      ],
    ],
  ])("on %s is refused with its key", (_, match, expected) => {
    expect(condition(match)).toEqual(expected.map(([key, wrong]) => ({ key, wrong: expect.stringContaining(wrong) })));
  });
});
