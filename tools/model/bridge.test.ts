import { describe, expect, it } from "vitest";
import { headerName, pathSegment } from "./http.js";
import { ModelError } from "./issue.js";
import { parse } from "./load.js";
import type { Model } from "./schema.js";

const protocols = [
  { name: "awesomerpc", keys: [{ name: "cmd" }] },
  { name: "dubbo", keys: [{ name: "interface" }, { name: "*" }], heartbeats: true },
];

const top = "protocol: dubbo\nmode: bridge\n";
const subsets = `${top}service: { name: a, bind: 1, subsets: [{ name: v1, endpoints: [2] }, { name: v2, endpoints: [3] }] }\n`;
const endpoints = `${top}service: { name: a, bind: 1, endpoints: [2] }\n`;
const read = (text: string): Model => parse(text, protocols);

/** The first line of what a user sees. */
function complaint(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ModelError) return (error.options.hint ?? "").split("\n")[0] ?? "";
    throw error;
  }
  throw new Error("this file has no mistakes");
}

describe("a bridge", () => {
  it("needs no routes where there is nothing to choose", () => {
    const model = read(endpoints);
    expect(model).toMatchObject({ mode: "bridge", heartbeats: true });
    expect(model.routes).toBeUndefined();
    expect(read(`${endpoints}leg: server\n`).leg).toBe("server");
  });

  it("has its defaults filled in", () => {
    const [route] =
      read(`${subsets}routes:
  - subset: v1
    retries: { attempts: 2 }
    fault: { abort: { httpStatus: 503 }, delay: { fixedDelay: 1s, percentage: 0.5 } }
    mirror: { subset: v2 }
    rateLimit: { requests: 5 }
`).routes ?? [];
    expect(route).toEqual({
      subset: "v1",
      retries: { attempts: 2, retryOn: { conditions: ["connect-failure", "refused-stream", "reset"], codes: [] } },
      fault: { abort: { httpStatus: 503, percentage: 100 }, delay: { fixedDelay: 1000, percentage: 0.5 } },
      mirror: { subset: "v2", percentage: 100 },
      rateLimit: { requests: 5, per: 1000 },
    });
    const policies = read(`${endpoints}trafficPolicy: { outlierDetection: {}, retryBudget: {} }
rateLimitService: { address: 5, descriptors: [[user]] }
tracing: { openTelemetry: 6 }
`);
    expect(policies).toMatchObject({
      trafficPolicy: {
        outlierDetection: { interval: 10_000, baseEjectionTime: 30_000, maxEjectionPercent: 10 },
        retryBudget: { percent: 20, minRetryConcurrency: 3 },
      },
      rateLimitService: { domain: "meltemi", timeout: 20, failOpen: true },
      tracing: { sampling: 100 },
    });
  });

  it("takes Istio's list of what to retry on", () => {
    const conditions = (retryOn: string) =>
      read(`${endpoints}routes: [{ retries: { attempts: 1, retryOn: "${retryOn}" } }]\n`).routes?.[0]?.retries?.retryOn;
    expect(conditions("reset, 503,gateway-error,429")).toEqual({
      conditions: ["reset", "gateway-error", "retriable-status-codes"],
      codes: [503, 429],
    });
    expect(conditions("retriable-status-codes,503")).toEqual({ conditions: ["retriable-status-codes"], codes: [503] });
  });

  const route = (text: string) => `${subsets}routes:\n  - ${text}\n`;
  const matching = (match: string) => `${endpoints}routes:\n  - match: { ${match} }\n`;
  const setting = (header: string) => `${endpoints}routes:\n  - headers: { request: { set: { ${header} } } }\n`;
  it.each([
    [
      "a key of a bridge elsewhere",
      `${endpoints.replace("bridge", "observe")}leg: both\n`,
      '4:1: "leg" needs mode: bridge',
    ],
    [
      "a route's key of a bridge elsewhere",
      `${subsets.replace("bridge", "route")}routes: [{ subset: v1, timeout: 1s }]\n`,
      '4:24: "routes[0].timeout" needs mode: bridge',
    ],
    [
      "a route of mode route that leads nowhere",
      `${subsets.replace("bridge", "route")}routes: [{}]\n`,
      '4:10: missing key "routes[0].subset"',
    ],
    ["a direction", `${endpoints}direction: inbound\n`, '4:1: "direction" says nothing in mode bridge'],
    [
      "no servers",
      `${top}service: { name: a, bind: 1 }\n`,
      '3:1: missing key "service.endpoints", expected the servers',
    ],
    [
      "both kinds of servers",
      endpoints.replace("endpoints", "subsets: [{ name: b, endpoints: [4] }], endpoints"),
      '3:70: "service.endpoints" beside subsets',
    ],
    ["subsets without routes", subsets, '1:1: missing key "routes", expected what goes to which subset'],
    ["routes of the server's leg", `${endpoints}leg: server\nroutes: [{}]\n`, '5:1: "routes" is for the client\'s leg'],
    [
      "tracing of the server's leg",
      `${endpoints}leg: server\ntracing: { openTelemetry: 5 }\n`,
      '5:1: "tracing" is for the client\'s leg',
    ],
    ["subsets of the server's leg", `${subsets}leg: server\n`, '3:30: "service.subsets" is for the client\'s leg'],
    ["an unknown leg", `${endpoints}leg: clint\n`, '4:6: unknown leg "clint", did you mean "client"?'],
    ["a route that leads nowhere", route("timeout: 1s"), '5:5: missing key "routes[0].subset"'],
    [
      "a subset where there is none",
      `${endpoints}routes: [{ subset: v1 }]\n`,
      '4:12: "routes[0].subset" needs service.subsets',
    ],
    ["two ways to go", route("{ subset: v1, route: [{ subset: v2 }] }"), '5:7: "routes[0].subset" and route both say'],
    [
      "an unknown subset among several",
      route("route: [{ subset: w1 }]"),
      '5:23: unknown subset "w1" in routes[0].route[0], expected one of v1, v2',
    ],
    [
      "an unknown subset of a mirror",
      route("{ subset: v1, mirror: { subset: vv } }"),
      '5:37: unknown subset "vv" in routes[0].mirror',
    ],
    [
      "a missing weight",
      route("route: [{ subset: v1, weight: 9 }, { subset: v2 }]"),
      '5:40: missing key "routes[0].route[1].weight"',
    ],
    [
      "half a weight",
      route("route: [{ subset: v1, weight: 0.5 }]"),
      "5:35: routes[0].route[0].weight is the number 0.5, expected a whole number",
    ],
    [
      "no weight at all",
      route("route: [{ subset: v1, weight: 0 }, { subset: v2, weight: 0 }]"),
      "5:5: all weights of routes[0].route are 0",
    ],
    [
      "a destination twice",
      route("route: [{ subset: v1, weight: 1 }, { subset: v1, weight: 0 }]"),
      '5:50: "v1" is a destination of routes[0] already',
    ],
    [
      "a mirror of itself",
      route("{ subset: v1, mirror: { subset: v1 } }"),
      '5:37: "v1" gets these requests already, expected another subset',
    ],
    ["a route behind one that takes all", `${endpoints}routes: [{}, {}]\n`, "4:14: routes[1] is never reached"],
    [
      "an attempt that is never too slow",
      `${endpoints}routes: [{ timeout: 1s, retries: { attempts: 1, perTryTimeout: 1000ms } }]\n`,
      "4:64: routes[0].retries.perTryTimeout never comes before the timeout of the whole request, expected less than 1s",
    ],
    [
      "an unknown condition",
      `${endpoints}routes: [{ retries: { attempts: 1, retryOn: "reset,unavailable" } }]\n`,
      '4:45: routes[0].retries.retryOn "reset,unavailable": there is no condition "unavailable", expected one of connect-failure',
    ],
    [
      "no codes to retry on",
      `${endpoints}routes: [{ retries: { attempts: 1, retryOn: retriable-status-codes } }]\n`,
      '4:45: routes[0].retries.retryOn "retriable-status-codes": retriable-status-codes without a status code',
    ],
    [
      "no attempts",
      `${endpoints}routes: [{ retries: { attempts: 0 } }]\n`,
      "4:33: routes[0].retries.attempts is too small, expected at least 1",
    ],
    [
      "a fault that is none",
      `${endpoints}routes: [{ fault: {} }]\n`,
      "4:19: routes[0].fault: there is no fault, expected abort, delay or both",
    ],
    [
      "more than all",
      `${endpoints}routes: [{ fault: { abort: { httpStatus: 503, percentage: 101 } } }]\n`,
      "4:59: routes[0].fault.abort.percentage is too large, expected at most 100",
    ],
    [
      "a fault that is a success",
      `${endpoints}routes: [{ fault: { abort: { httpStatus: 200 } } }]\n`,
      "4:42: routes[0].fault.abort.httpStatus is too small, expected at least 400",
    ],
    [
      "two load balancers",
      `${endpoints}trafficPolicy: { loadBalancer: { simple: RANDOM, consistentHash: { key: a } } }\n`,
      "4:32: trafficPolicy.loadBalancer: a load balancer has exactly one key",
    ],
    [
      "an unknown load balancer",
      `${endpoints}trafficPolicy: { loadBalancer: { simple: RANDM } }\n`,
      '4:42: unknown trafficPolicy.loadBalancer.simple "RANDM", did you mean "RANDOM"?',
    ],
    [
      "a slip of the finger in a key",
      `${endpoints}trafficPolicy: { loadBalancer: { consistentHash: { key: metod } } }\n`,
      '4:57: unknown key "metod" in trafficPolicy.loadBalancer.consistentHash.key, did you mean "method"?',
    ],
    [
      "a key that the protocol does not have",
      `${endpoints.replace("dubbo", "awesomerpc")}rateLimitService: { address: 5, descriptors: [[cmd, user]] }\n`,
      '4:53: unknown key "user" in rateLimitService.descriptors[0][1], expected one of service, method, cmd',
    ],
    [
      "an unknown action",
      `${endpoints}authorization: [{ action: ALOW }]\n`,
      '4:27: unknown authorization[0].action "ALOW", did you mean "ALLOW"?',
    ],
    [
      "a rule on an unknown key",
      `${endpoints}authorization: [{ action: DENY, match: { servce: a } }]\n`,
      '4:42: unknown key "servce" in authorization[0].match, did you mean "service"?',
    ],
    [
      "two rules of one name",
      `${endpoints}authorization: [{ name: a, action: DENY }, { name: a, action: ALLOW }]\n`,
      '4:52: there are two rules "a"',
    ],
    ["a key that is no header", matching('"a b": c'), '5:14: "a b" cannot be the name of an HTTP header'],
    [
      "a range of a method",
      matching("method: { range: { min: 1 } }"),
      "5:24: routes[0].match.method.range cannot be matched in a path, expected a metadata key",
    ],
    [
      "a service that is absent",
      matching("service: { present: false }"),
      "5:25: routes[0].match.service.present never holds",
    ],
    [
      "a blank in a pattern of a path",
      matching('method: { regex: "a b" }'),
      '5:24: routes[0].match.method.regex has " ", which is percent-encoded in the path that is matched, expected %20 in its place',
    ],
    [
      "a letter that a path encodes",
      matching('method: { not: { regex: "é" } }'),
      '5:31: routes[0].match.method.not.regex has "é"',
    ],
    [
      "not what an empty value is",
      matching('user: { not: { regex: "(a|b)*" } }'),
      "5:22: routes[0].match.user.not would not match a frame without the key",
    ],
    [
      "not nothing",
      matching('user: { not: { exact: "" } }'),
      "5:22: routes[0].match.user.not would not match a frame without the key",
    ],
    [
      "not one of nothing",
      matching('user: { not: { oneOf: [a, ""] } }'),
      "5:22: routes[0].match.user.not would not match a frame without the key",
    ],
    [
      "a header of HTTP's",
      setting("Content-Length: x"),
      '5:34: "Content-Length" has a meaning in HTTP, so that a route cannot change it',
    ],
    ["a header of ours", setting("meltemi-status: x"), '5:34: "meltemi-status" has a meaning in HTTP'],
    [
      "a line break in a value",
      setting('a: "b\\nc"'),
      "5:37: routes[0].headers.request.set.a cannot be the value of an HTTP header",
    ],
    [
      "a percent sign alone",
      setting('a: "50%"'),
      "5:37: routes[0].headers.request.set.a has a % that starts no command operator, expected %% for a percent sign",
    ],
    [
      "a slip of the finger in a change",
      setting("interfac: x"),
      '5:34: unknown key "interfac" in routes[0].headers.request.set, did you mean "interface"?',
    ],
    [
      "to set and to remove",
      `${endpoints}routes: [{ headers: { response: { set: { a: b }, remove: [a] } } }]\n`,
      '4:59: "a" is both set and removed in routes[0].headers.response',
    ],
    [
      "an authority that is none",
      endpoints.replace("bind", "authority: a/b, bind"),
      '3:32: service.authority "a/b" is not usable, expected a host name',
    ],
  ])("%s", (_, text, expected) => {
    expect(complaint(text).slice(0, "meltemi.yaml:".length + expected.length)).toBe(`meltemi.yaml:${expected}`);
  });

  it("takes what only looks like one of these", () => {
    read(matching('user: { not: { not: { exact: "" } } }'));
    read(matching('user: { not: { prefix: "" } }'));
    read(matching('method: { regex: "%C3%A9.*" }, user: { regex: "é .*" }'));
    read(setting('a: "100%% %REQ(:path):5% %DOWNSTREAM_REMOTE_ADDRESS%"'));
  });
});

it("names headers as the module does", () => {
  expect(["user", "Dubbo.Tag", "traceparent", "x-request-id"].map(headerName)).toEqual([
    "user",
    "dubbo.tag",
    "traceparent",
    "x-request-id",
  ]);
  expect(["Host", "x-envoy-a", "X-Forwarded-For", "meltemi-a", "grpc-timeout"].map(headerName)).toEqual([
    "meltemi-host",
    "meltemi-x-envoy-a",
    "meltemi-x-forwarded-for",
    "meltemi-meltemi-a",
    "meltemi-grpc-timeout",
  ]);
  expect(["", "a b", ":path", "é", "a\n"].map(headerName)).toEqual(Array(5).fill(undefined));
});

it("writes names into a path as the module does", () => {
  expect(pathSegment("a.B-c_d~!$&'()*+,;=:@")).toBe("a.B-c_d~!$&'()*+,;=:@");
  expect(pathSegment("a/b?c#d%é [|]\0")).toBe("a%2Fb%3Fc%23d%25%C3%A9%20%5B%7C%5D%00");
});
