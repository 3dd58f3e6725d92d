import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ModelError } from "./issue.js";
import { load, parse } from "./load.js";
import type { Protocol } from "./protocol.js";

const protocols: Protocol[] = [
  { name: "awesomerpc", keys: [{ name: "cmd" }] },
  { name: "dubbo", keys: [{ name: "interface" }, { name: "*" }], heartbeats: true },
];

/** What a user sees for this file; fails where there is nothing to complain of. */
function complaints(source: string): string {
  return errorOf(source).options.hint ?? "";
}

function errorOf(source: string): ModelError {
  try {
    parse(source, protocols);
  } catch (error) {
    if (error instanceof ModelError) return error;
    throw error;
  }
  throw new Error("this file has no mistakes");
}

/** A correct file in mode route, with one part replaced. */
function routed(part: string, by: string): string {
  const whole = `protocol: dubbo
mode: route
service:
  name: greeter
  bind: 127.0.0.1:20880
  subsets:
    - name: v1
      endpoints: [127.0.0.1:20881]
    - name: v2
      endpoints: [127.0.0.1:20882]
routes:
  - name: logins
    match: { method: login }
    subset: v2
  - subset: v1
`;
  if (!whole.includes(part)) throw new Error(`nothing to replace: ${part}`);
  return whole.replace(part, by);
}

function bomb(): string {
  const lines = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(", ")}]`);
  return `a0: &a0 [x]\n${lines.join("\n")}\n`;
}

const observed = "protocol: dubbo\nservice: { name: greeter, bind: 20880, endpoints: [server:20881] }\n";

describe("a correct file", () => {
  it("has its defaults filled in", () => {
    expect(parse(observed, protocols)).toEqual({
      protocol: "dubbo",
      mode: "observe",
      direction: "outbound",
      service: {
        name: "greeter",
        bind: { host: "127.0.0.1", port: 20880 },
        endpoints: [{ host: "server", port: 20881 }],
      },
      limits: { frame: 64 * 2 ** 20, head: 64 * 2 ** 10, inFlight: 65536, series: 1000, wait: 10_000 },
      log: { requests: 0 },
      admin: { host: "127.0.0.1", port: 9901 },
      heartbeats: true,
    });
  });

  it("may say everything", () => {
    const model = parse(
      `${routed("match: { method: login }", 'match: { method: { regex: "log(in|out)" }, dubbo.tag: { not: { oneOf: [a, b] } } }')}
direction: inbound
limits: { frame: 1MiB, head: 1024, inFlight: 5, series: 6, wait: 500ms }
log: { requests: 10 }
admin: "[::1]:9902"
`,
      protocols,
    );
    expect(model.routes).toEqual([
      {
        name: "logins",
        match: { method: { regex: "log(in|out)" }, "dubbo.tag": { not: { oneOf: ["a", "b"] } } },
        subset: "v2",
      },
      { subset: "v1" },
    ]);
    expect(model.limits).toEqual({ frame: 2 ** 20, head: 1024, inFlight: 5, series: 6, wait: 500 });
    expect(model).toMatchObject({ direction: "inbound", log: { requests: 10 }, admin: { host: "::1", port: 9902 } });
  });

  it("takes text for { exact: text }", () => {
    expect(parse(routed("mode: route", "mode: route"), protocols).routes?.[0]?.match).toEqual({
      method: { exact: "login" },
    });
  });

  it("may have the protocol guessed", () => {
    const auto = observed.replace("dubbo", "auto");
    expect(parse(auto, protocols)).toMatchObject({ protocol: "auto", mode: "observe", heartbeats: false });
    for (const mode of ["route", "bridge"]) {
      expect(complaints(`${auto}mode: ${mode}\n`)).toContain(
        `meltemi.yaml:1:11: protocol "auto" is for mode observe only, expected one of awesomerpc, dubbo
  1 | protocol: auto
    |           ^^^^`,
      );
    }
  });

  it("may use anchors, and mistakes in them are shown where they stand", () => {
    const source = routed("match: { method: login }", "match: &m { method: login }").replace(
      "- subset: v1",
      "- match: *m\n    subset: v1",
    );
    expect(parse(source, protocols).routes?.[1]?.match).toEqual({ method: { exact: "login" } });
    expect(complaints(source.replace("method: login", "method: 5"))).toContain(
      "meltemi.yaml:13:25: routes[1].match.method",
    );
  });

  it("is read from a file by its path", () => {
    const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
    try {
      const path = join(folder, "m.yaml");
      writeFileSync(path, observed);
      expect(load(path, ["dubbo"]).service.name).toBe("greeter");
      writeFileSync(path, "");
      expect(() => load(path, ["dubbo"])).toThrow(`one mistake in ${path}`);
      rmSync(path);
      expect(() => load(path, ["dubbo"])).toThrow(`${path}: there is no such file`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("mistakes", () => {
  it("are shown with their line and a caret", () => {
    expect(complaints(routed("method: login", "metod: login"))).toBe(
      `meltemi.yaml:13:14: unknown key "metod" in routes[0].match, did you mean "method"?
  13 |     match: { metod: login }
     |              ^^^^^`,
    );
  });

  it("are all shown at once, in the order of the file", () => {
    const source = `protocol: dubo
mode: route
sevice: {}
service:
  name: greeter
  bind: localhost:20880
  subsets:
    - name: v1
      endpoints: [127.0.0.1]
    - name: v1
      endpoints: []
routes:
  - subset: v3
limits: { frame: 64MB }
`;
    expect(complaints(source)).toBe(
      `meltemi.yaml:1:11: unknown protocol "dubo", did you mean "dubbo"?
  1 | protocol: dubo
    |           ^^^^
meltemi.yaml:3:1: unknown key "sevice", did you mean "service"?
  3 | sevice: {}
    | ^^^^^^
meltemi.yaml:6:9: service.bind "localhost:20880": Envoy listens on an IP address, not on a name, expected an IP address and a port such as "127.0.0.1:20880"
  6 |   bind: localhost:20880
    |         ^^^^^^^^^^^^^^^
meltemi.yaml:9:19: service.subsets[0].endpoints[0] "127.0.0.1": the port is missing, expected host:port such as "127.0.0.1:20881"
  9 |       endpoints: [127.0.0.1]
    |                   ^^^^^^^^^
meltemi.yaml:10:13: there are two subsets "v1"
  10 |     - name: v1
     |             ^^
meltemi.yaml:11:18: service.subsets[1].endpoints is an empty list, expected at least one entry
  11 |       endpoints: []
     |                  ^^
meltemi.yaml:13:13: unknown subset "v3" in routes[0], expected one of v1
  13 |   - subset: v3
     |             ^^
meltemi.yaml:14:18: limits.frame "64MB": there is no unit "MB" here, expected a size such as "64KiB" or "16MiB"
  14 | limits: { frame: 64MB }
     |                  ^^^^`,
    );
  });

  it("are data for programs", () => {
    const error = errorOf(routed("subset: v2", "subset: vv1"));
    expect(error.message).toBe("one mistake in meltemi.yaml");
    expect(error.code).toBe("E_CONFIG");
    expect(error.issues).toEqual([
      {
        code: "unknown_subset",
        message: 'unknown subset "vv1" in routes[0]',
        path: "routes[0].subset",
        file: "meltemi.yaml",
        line: 14,
        column: 13,
        length: 3,
        expected: "one of v1, v2",
        suggestion: undefined,
      },
    ]);
  });

  it("keep their caret below tabs and behind long characters", () => {
    const source = "protocol: dubbo\nservice: {\tname: 'é', bindd: 1 }\n";
    expect(complaints(source)).toContain(`meltemi.yaml:2:23: unknown key "bindd" in service, did you mean "bind"?
  2 | service: {\tname: 'é', bindd: 1 }
    |           \t           ^^^^^`);
  });

  it("are shown with the part of a long line that they stand in", () => {
    const [, line, carets] = complaints(`${observed}log: { ${" ".repeat(500)}x: 1, ${" ".repeat(500)} }\n`).split("\n");
    expect(line).toBe(`  3 | ${" ".repeat(60)}x: 1,${" ".repeat(55)}`);
    expect(carets).toBe(`    | ${" ".repeat(60)}^`);
  });

  it("asks whether regular expressions will do, wherever they stand", () => {
    const source = routed("method: login", "method: { regex: a }, a: { not: { not: { regex: b } } }, c: { regex: c }");
    const check = (regex: string) => (regex === "c" ? undefined : `no ${regex}`);
    let hint: string | undefined;
    try {
      parse(source, protocols, "x", check);
    } catch (error) {
      hint = (error as ModelError).options.hint;
    }
    expect(hint?.split("\n").filter((line) => line.startsWith("x"))).toEqual([
      "x:13:31: not a regular expression that the module can match: no a",
      "x:13:62: not a regular expression that the module can match: no b",
    ]);
  });

  /** What is wrong, and the first line that the user sees. */
  const cases: [string, string, string][] = [
    ["an empty file", "", "1:1: there is nothing in this file, expected at least protocol"],
    ["only a comment", "# later\n", "1:1: there is nothing in this file"],
    ["another kind of document", "- a\n", "1:1: the file is a list, expected a map"],
    ["broken YAML", "protocol: [dubbo\nmode: x\n", "2:1: Flow sequence in block collection must be sufficiently"],
    ["a key twice", "protocol: dubbo\nprotocol: dubbo\n", "2:1: there is this key already"],
    ["two documents", `${observed}---\n${observed}`, "3:1: a second document starts here"],
    ["an alias inside itself", `${observed}log: &a { requests: *a }\n`, "3:21: *a stands inside &a"],
    ["aliases that multiply", bomb(), "1:1: Excessive alias count"],
    ["an unknown tag", `${observed}log: !x {}\n`, "3:6: Unresolved tag: !x"],
    ["an unknown alias", `${observed}log: *x\n`, "3:6: there is no &x before *x"],
    [
      "a key that JavaScript would lose",
      `${observed}authorization: [{ action: ALLOW, match: { __proto__: x } }]\n`,
      '3:43: "__proto__" cannot be a key',
    ],
    ["no protocol", observed.replace("protocol: dubbo", ""), '2:1: missing key "protocol"'],
    ["no service", "protocol: dubbo\n", '1:1: missing key "service"'],
    ["a service without keys", "protocol: dubbo\nservice:\n", "2:1: service is nothing, expected a map"],
    ["no endpoints", observed.replace(", endpoints: [server:20881]", ""), '2:1: missing key "service.endpoints"'],
    ["an unknown mode", `${observed}mode: rout\n`, '3:7: unknown mode "rout", did you mean "route"?'],
    ["a mode of another type", `${observed}mode: 1\n`, "3:7: mode is the number 1, expected observe or route"],
    ["routes when observing", `${observed}routes: [{ subset: a }]\n`, '3:1: "routes" needs mode: route'],
    [
      "subsets when observing",
      routed("mode: route\n", "").replace(/routes:[\s\S]*/, ""),
      '5:3: "service.subsets" needs mode: route',
    ],
    [
      "endpoints when routing",
      routed("  subsets:", "  endpoints: [a:1]\n  subsets:"),
      '6:3: "service.endpoints" is not for mode route',
    ],
    ["no subsets when routing", routed("  subsets:", "  x:"), '3:1: missing key "service.subsets"'],
    ["no routes when routing", routed("routes:", "x:"), '1:1: missing key "routes"'],
    [
      "an empty list of routes",
      routed("mode: route", "mode: route\nroutes: []").replace(/\nroutes:\n[\s\S]*/, "\n"),
      "3:9: routes is an empty list",
    ],
    ["an unknown key", `${observed}limit: {}\n`, '3:1: unknown key "limit", did you mean "limits"?'],
    [
      "an unknown key like none",
      `${observed}log: { everything: 1 }\n`,
      '3:8: unknown key "everything" in log, expected one of requests',
    ],
    [
      "a route that is never reached",
      routed("- name: logins\n    match: { method: login }\n    ", "- "),
      "13:5: routes[1] is never reached",
    ],
    ["an empty match, then more", routed("{ method: login }", "{}"), "15:5: routes[1] is never reached"],
    [
      "a key that the protocol does not have",
      routed("protocol: dubbo", "protocol: awesomerpc").replace("method: login", "user: x"),
      '13:14: unknown key "user" in routes[0].match, expected one of service, method, cmd',
    ],
    [
      "a number for text",
      routed("method: login", "method: 5"),
      "13:22: routes[0].match.method is the number 5, expected text or a map: put it in quotes",
    ],
    [
      "a number in a list of texts",
      routed("method: login", "method: { oneOf: [a, 5] }"),
      "13:35: routes[0].match.method.oneOf[1] is the number 5, expected text",
    ],
    [
      "an unknown matcher",
      routed("method: login", "method: { exat: a }"),
      '13:24: unknown key "exat" in routes[0].match.method, did you mean "exact"?',
    ],
    [
      "two matchers in one",
      routed("method: login", "method: { exact: a, prefix: b }"),
      "13:22: routes[0].match.method: a matcher has exactly one key, expected one of exact,",
    ],
    [
      "a matcher that says nothing",
      routed("method: login", "method: {}"),
      "13:22: routes[0].match.method: a matcher has exactly one key",
    ],
    [
      "a range the wrong way round",
      routed("method: login", "a: { range: { min: 2, max: 1 } }"),
      "13:26: routes[0].match.a.range: min is above max",
    ],
    [
      "a range without bounds",
      routed("method: login", "a: { range: {} }"),
      "13:26: routes[0].match.a.range: there is no bound",
    ],
    [
      "a range of fractions",
      routed("method: login", "a: { range: { min: 0.5 } }"),
      "13:33: routes[0].match.a.range.min is the number 0.5, expected a whole number",
    ],
    [
      "an endpoint on port 0",
      observed.replace("20881", "0"),
      '2:52: service.endpoints[0] "server:0": nobody can connect to port 0',
    ],
    [
      "an endpoint without a host",
      observed.replace("server", ""),
      '2:52: service.endpoints[0] ":20881": "" is not a host',
    ],
    [
      "a port that is none",
      observed.replace("20881", "70000"),
      '2:52: service.endpoints[0] "server:70000": there is no port 70000',
    ],
    [
      "a circle",
      observed.replace("server:20881", "127.0.0.1:20880"),
      "2:52: 127.0.0.1:20880 is service.bind: connections would go round in a circle",
    ],
    [
      "a circle by another name",
      observed.replace("20880", '"0.0.0.0:20881"').replace("server:", "localhost:"),
      "2:62: localhost:20881 is service.bind: connections would go round in a circle",
    ],
    ["the same port twice", observed.replace("20880", "9901"), "2:33: service.bind and admin are both 127.0.0.1:9901"],
    [
      "a name with a bar",
      observed.replace("greeter", "a|b"),
      '2:18: service.name "a|b" is not usable, expected letters, digits, dots',
    ],
    [
      "a head that is too large",
      `${observed}limits: { head: 2MiB }\n`,
      '3:17: limits.head "2MiB": more than 1048576 bytes',
    ],
    [
      "a size without a number",
      `${observed}limits: { frame: MiB }\n`,
      '3:18: limits.frame "MiB": not a whole number with a unit',
    ],
    [
      "a duration without a unit",
      `${observed}limits: { wait: 10 }\n`,
      '3:17: limits.wait is the number 10, expected a duration such as "10s" or "500ms"',
    ],
    [
      "a number that is too small",
      `${observed}limits: { inFlight: 0 }\n`,
      "3:21: limits.inFlight is too small, expected at least 1",
    ],
    [
      "a number that is too large",
      `${observed}limits: { series: 1000000 }\n`,
      "3:19: limits.series is too large, expected at most 10000",
    ],
  ];
  it.each(cases)("%s", (_, source, expected) => {
    const first = complaints(source).split("\n")[0] ?? "";
    expect(first.slice(0, "meltemi.yaml:".length + expected.length)).toBe(`meltemi.yaml:${expected}`);
  });
});

it("reads what its documentation shows", () => {
  const page = readFileSync(new URL("../../docs/architecture.md", import.meta.url), "utf8");
  const [routing = "", bridging = ""] = [...page.matchAll(/```yaml\n(protocol:[\s\S]*?)```/g)].map((block) => block[1]);
  // The page shows both ways to name the servers; a file has one of them.
  expect(parse(routing.replace(/^ {2}endpoints:.*\n/m, ""), protocols)).toMatchObject({
    mode: "route",
    routes: [{ name: "logins" }, { subset: "v1" }],
  });
  expect(parse(bridging, protocols)).toMatchObject({ mode: "bridge", routes: [{ name: "canary" }, { subset: "v1" }] });
});
