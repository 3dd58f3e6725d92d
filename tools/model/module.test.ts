import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parse } from "./load.js";
import { clusters, describeModule, destinations, moduleConfig } from "./module.js";

const routed = parse(
  `protocol: dubbo
mode: route
service:
  name: greeter
  bind: 20880
  subsets:
    - { name: v1, endpoints: ["127.0.0.1:1", "[::1]:2"] }
    - { name: v2, endpoints: [server:3] }
routes:
  - { name: logins, match: { method: login, dubbo.tag: { not: { prefix: gray } } }, subset: v2 }
  - { subset: v1 }
limits: { wait: 1m }
`,
  ["dubbo"],
);
const observed = parse("protocol: dubbo\nservice: { name: greeter, bind: 20880, endpoints: [20881] }\n", ["dubbo"]);

it("writes the configuration of docs/architecture.md, always in the same order", () => {
  expect(JSON.stringify(moduleConfig(routed, "route"))).toBe(
    '{"protocol":"dubbo","mode":"route","direction":"outbound","service":"greeter",' +
      '"routes":[{"name":"logins","match":{"method":{"exact":"login"},"dubbo.tag":{"not":{"prefix":"gray"}}},' +
      '"cluster":"greeter|v2"},{"cluster":"greeter|v1"}],' +
      '"limits":{"frameBytes":67108864,"headBytes":65536,"inFlight":65536,"series":1000,"waitMilliseconds":60000},' +
      '"log":{"requests":0,"frames":false}}',
  );
});

it("leaves routes out where there are none", () => {
  expect(JSON.stringify(moduleConfig(observed, "observe"))).toBe(
    '{"protocol":"dubbo","mode":"observe","direction":"outbound","service":"greeter",' +
      '"limits":{"frameBytes":67108864,"headBytes":65536,"inFlight":65536,"series":1000,"waitMilliseconds":10000},' +
      '"log":{"requests":0,"frames":false}}',
  );
});

const bridged = parse(
  `protocol: dubbo
mode: bridge
service:
  name: greeter
  bind: 20880
  authority: greeter.example
  subsets:
    - { name: v1, endpoints: [20881] }
    - { name: v2, endpoints: [20882] }
routes:
  - { match: { method: login, Tier: gold }, route: [{ subset: v1, weight: 9 }, { subset: v2, weight: 1 }] }
  - { subset: v1 }
`,
  ["dubbo"],
);

it("has two configurations for a bridge", () => {
  const rest =
    '"limits":{"frameBytes":67108864,"headBytes":65536,"inFlight":65536,"series":1000,"waitMilliseconds":10000},' +
    '"log":{"requests":0,"frames":false}}';
  expect(JSON.stringify(moduleConfig(bridged, "lift"))).toBe(
    '{"protocol":"dubbo","mode":"lift","direction":"outbound","service":"greeter","authority":"greeter.example",' +
      `"metadata":["tier"],${rest}`,
  );
  expect(JSON.stringify(moduleConfig(bridged, "lower"))).toBe(
    `{"protocol":"dubbo","mode":"lower","direction":"inbound","service":"greeter","metadata":["tier"],${rest}`,
  );
});

it("makes headers of the metadata that something looks at, and of all where others may look", () => {
  const metadata = (more: string) => {
    const yaml = `{ protocol: dubbo, mode: bridge, service: { name: a, bind: 1, endpoints: [2] }, ${more} }`;
    return moduleConfig(parse(yaml, ["dubbo"]), "lift").metadata;
  };
  expect(metadata("")).toEqual([]);
  expect(
    metadata("routes: [{ headers: { request: { set: { b: x }, remove: [a] }, response: { set: { c: x } } } }]"),
  ).toEqual(["a", "b", "c"]);
  expect(metadata("authorization: [{ action: DENY, match: { service: x, user: y } }]")).toEqual(["user"]);
  expect(metadata("trafficPolicy: { loadBalancer: { consistentHash: { key: user } } }")).toEqual(["user"]);
  expect(metadata("rateLimitService: { address: 'a:1', descriptors: [[method, user]] }")).toEqual(["user"]);
  expect(metadata("tracing: { openTelemetry: 'a:1' }")).toContain("traceparent");
  expect(metadata("accessLog: { path: /dev/stdout, format: '%REQ(USER)%' }")).toBeUndefined();
  expect(metadata("leg: client")).toBeUndefined();
});

it("knows where a route leads", () => {
  expect(bridged.routes?.map((route) => destinations(bridged, route))).toEqual([
    [
      { cluster: "greeter|v1", weight: 9 },
      { cluster: "greeter|v2", weight: 1 },
    ],
    [{ cluster: "greeter|v1", weight: 1 }],
  ]);
  expect(destinations(observed, {})).toEqual([{ cluster: "greeter", weight: 1 }]);
});

it("names the clusters", () => {
  const host = "127.0.0.1";
  expect(clusters(observed)).toEqual([{ name: "greeter", endpoints: [{ host, port: 20881 }] }]);
  expect(clusters(routed)).toEqual([
    {
      name: "greeter|v1",
      endpoints: [
        { host, port: 1 },
        { host: "::1", port: 2 },
      ],
    },
    { name: "greeter|v2", endpoints: [{ host: "server", port: 3 }] },
  ]);
});

it("reads the protocols beside the module, and says how to get them", () => {
  const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
  try {
    const wasm = join(folder, "mine.wasm");
    const json = join(folder, "mine.json");
    expect(() => describeModule(wasm)).toThrow("the module is not built: ENOENT");
    writeFileSync(wasm, "");
    expect(() => describeModule(wasm)).toThrow("the module is not built: ENOENT");
    writeFileSync(json, "{");
    expect(() => describeModule(wasm)).toThrow(`${json} is not the description of a module`);
    const protocols = [{ name: "dubbo", keys: [{ name: "interface", about: "the service" }] }];
    writeFileSync(json, JSON.stringify({ version: "0.1.0", protocols }));
    const described = { version: "0.1.0", protocols: [{ ...protocols[0], magic: "", heartbeats: false }] };
    expect(describeModule(wasm)).toEqual(described);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
