import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { parse } from "../model/load.js";
import type { Model } from "../model/schema.js";
import { defaultModule } from "../paths.js";
import { bootstrap, bootstrapYaml, STDOUT } from "./bootstrap.js";
import { envoy } from "./envoy.fixture.js";
import { IMAGE } from "./find.js";

const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
afterAll(() => rmSync(folder, { recursive: true }));

const model = (text: string): Model => parse(text, [{ name: "dubbo", keys: [{ name: "*" }], heartbeats: true }]);
const observe = (more = "", endpoints = "127.0.0.1:20881") =>
  model(`protocol: dubbo\nservice: { name: greeter, bind: 20880, endpoints: [${endpoints}] }\n${more}`);
const route = (more = "") =>
  model(`protocol: dubbo
mode: route
service:
  name: greeter
  bind: 20880
  subsets:
    - { name: v1, endpoints: ["127.0.0.1:1", "127.0.0.1:2"] }
    - { name: v2, endpoints: [server:3] }
routes:
  - { name: logins, match: { method: login }, subset: v2 }
  - { subset: v1 }
${more}`);
const bridge = (more = "") =>
  model(`protocol: dubbo
mode: bridge
service:
  name: greeter
  bind: 20880
  subsets:
    - { name: v1, endpoints: ["127.0.0.1:1", "127.0.0.1:2"] }
    - { name: v2, endpoints: ["127.0.0.1:2"] }
routes:
  - { name: logins, match: { method: login }, subset: v2 }
  - { subset: v1 }
${more}`);

/** Parts of a bootstrap, by where they stand. */
interface Parts {
  static_resources: {
    listeners: [
      {
        name: string;
        per_connection_buffer_limit_bytes: number;
        filter_chains: [
          {
            filters: [
              { name: string; typed_config: { config: { configuration: { value: string } } } },
              { name: string; typed_config: object },
            ];
          },
        ];
      },
    ];
    clusters: { name: string; type: string; load_assignment: { endpoints: [{ lb_endpoints: object[] }] } }[];
  };
}
const parts = (of: Model, options = {}) => bootstrap(of, { module: "m.wasm", ...options }) as unknown as Parts;
const tcpProxy = (of: Model, options = {}) =>
  parts(of, options).static_resources.listeners[0].filter_chains[0].filters[1].typed_config;

it("sends everything to the one cluster when observing", () => {
  expect(tcpProxy(observe())).toEqual({
    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    stat_prefix: "meltemi",
    cluster: "greeter",
  });
});

it("has a cluster for each subset and room for the first frame when routing", () => {
  const { listeners, clusters } = parts(route("limits: { head: 1MiB }\n")).static_resources;
  expect(clusters.map(({ name, type }) => [name, type])).toEqual([
    ["greeter|v1", "STATIC"],
    ["greeter|v2", "STRICT_DNS"],
  ]);
  expect(clusters[0]?.load_assignment.endpoints[0].lb_endpoints).toHaveLength(2);
  expect(tcpProxy(route("limits: { head: 1MiB }\n"))).toMatchObject({ max_early_data_bytes: 2 ** 20 });
  // A head of the greatest length has to fit beside what was read along with it.
  expect(listeners[0].per_connection_buffer_limit_bytes).toBeGreaterThan(2 ** 20);
});

it("hands the module its configuration", () => {
  const [wasm] = parts(route()).static_resources.listeners[0].filter_chains[0].filters;
  const config = JSON.parse(wasm.typed_config.config.configuration.value);
  expect(config.routes).toEqual([
    { name: "logins", match: { method: { exact: "login" } }, cluster: "greeter|v2" },
    { cluster: "greeter|v1" },
  ]);
});

it("cuts labels out of names as docs/architecture.md writes them", () => {
  const { stats_tags } = bootstrap(observe(), { module: "m" }).stats_config as {
    stats_tags: { tag_name: string; regex: string }[];
  };
  let name =
    "protocol=.=dubbo;.;direction=.=outbound;.;service=.=a.B;.;method=.=hi;.;status=.=ok;.;meltemi_requests_total";
  const labels: Record<string, string> = {};
  for (const { tag_name, regex } of stats_tags) {
    name = name.replace(new RegExp(regex), (_, __, value) => {
      labels[tag_name] = value;
      return "";
    });
  }
  expect(name).toBe("meltemi_requests_total");
  expect(labels).toEqual({ protocol: "dubbo", direction: "outbound", service: "a.B", method: "hi", status: "ok" });
});

it("is the same object as its commented YAML, for equal models the same text", () => {
  const options = { module: "m.wasm", accessLog: "/tmp/log" };
  // How many comments found their keys.
  for (const [of, comments] of [
    [route, 13],
    [bridge, 20],
  ] as const) {
    const text = bootstrapYaml(of(), options, "one\ntwo");
    expect(parseYaml(text)).toEqual(bootstrap(of(), options));
    expect(bootstrapYaml(of(), options, "one\ntwo")).toBe(text);
    expect(text.startsWith("# one\n# two\n\n# Metrics")).toBe(true);
    expect(text.match(/^ *# /gm)).toHaveLength(2 + comments);
  }
});

it("writes the access log that the model asks for, unless it is told another file", () => {
  const said = observe("accessLog: { path: /a, format: { to: '%UPSTREAM_HOST%' } }\n");
  const logger = (path: string) => ({
    name: "envoy.access_loggers.file",
    typed_config: { path, log_format: { json_format: { to: "%UPSTREAM_HOST%" } } },
  });
  expect(tcpProxy(said)).toMatchObject({ access_log: [logger("/a")] });
  expect(tcpProxy(said, { accessLog: "/b" })).toMatchObject({ access_log: [logger("/b")] });
  const text = observe("accessLog: { path: /a, format: '%UPSTREAM_HOST%' }\n");
  const log_format = { text_format_source: { inline_string: "%UPSTREAM_HOST%\n" } };
  expect(tcpProxy(text)).toMatchObject({ access_log: [{ typed_config: { log_format } }] });
});

describe("a bridge", () => {
  const filters = (of: Model) =>
    parts(of).static_resources.listeners.map((listener) => [
      listener.name,
      ...listener.filter_chains[0].filters.map(({ name, typed_config }) =>
        "config" in typed_config
          ? `${JSON.parse(typed_config.config.configuration.value).mode}`
          : name.split(".").at(-1),
      ),
    ]);
  const names = (of: Model) => parts(of).static_resources.clusters.map(({ name }) => name);

  it("has both legs in one Envoy, with an internal listener for each server", () => {
    expect(filters(bridge())).toEqual([
      ["meltemi", "lift", "http_connection_manager"],
      ["greeter|127.0.0.1:1", "lower", "tcp_proxy"],
      ["greeter|127.0.0.1:2", "lower", "tcp_proxy"],
    ]);
    expect(names(bridge())).toEqual(["greeter|v1", "greeter|v2", "greeter|127.0.0.1:1", "greeter|127.0.0.1:2"]);
    expect(bootstrap(bridge(), { module: "m" })).toHaveProperty("bootstrap_extensions");
  });

  it("may have only one leg", () => {
    const client = bridge("leg: client\n");
    expect(filters(client)).toEqual([["meltemi", "lift", "http_connection_manager"]]);
    expect(names(client)).toEqual(["greeter|v1", "greeter|v2"]);
    const server = observe("mode: bridge\nleg: server\n");
    expect(filters(server)).toEqual([["meltemi", "lower", "tcp_proxy"]]);
    expect(names(server)).toEqual(["greeter"]);
    expect(bootstrap(server, { module: "m" })).not.toHaveProperty("bootstrap_extensions");
  });

  it("speaks HTTP/1.1 inside where the protocol has no heartbeats", () => {
    const [upstream] = parts({ ...bridge(), heartbeats: false }).static_resources.clusters;
    expect(JSON.stringify(upstream)).toContain('"explicit_http_config":{"http_protocol_options":{}}');
    expect(JSON.stringify(parts(bridge()).static_resources.clusters[0])).toContain('{"http2_protocol_options":');
  });

  it("has only the HTTP filters that something asks for", () => {
    const http = (more: string) => {
      const [, manager] = parts(bridge(more)).static_resources.listeners[0].filter_chains[0].filters;
      const { http_filters } = manager.typed_config as { http_filters: { name: string }[] };
      return http_filters.map(({ name }) => name.replace("envoy.filters.http.", ""));
    };
    expect(http("")).toEqual(["router"]);
    expect(http("authorization: [{ action: ALLOW }]\n")).toEqual(["rbac", "router"]);
    const service = (key: string) => `rateLimitService: { address: "a:1", descriptors: [[${key}]] }\n`;
    expect(http(service("user"))).toEqual(["ratelimit", "router"]);
    expect(http(service("method"))).toEqual(["header_to_metadata", "ratelimit", "router"]);
  });
});

const samples: [string, () => string][] = [
  ["observe", () => bootstrapYaml(observe(), { module: defaultModule })],
  ["route", () => bootstrapYaml(route("log: { requests: 5 }\n"), { module: defaultModule })],
  ["both legs of a bridge", () => bootstrapYaml(bridge("log: { requests: 5 }\n"), { module: defaultModule })],
  [
    "the client's leg, with an authority",
    () => {
      const client = bridge("leg: client\n");
      const service = { ...client.service, authority: "greeter.example:80" };
      return bootstrapYaml({ ...client, service }, { module: defaultModule });
    },
  ],
  [
    "the server's leg",
    () => bootstrapYaml(observe("mode: bridge\nleg: server\n"), { module: defaultModule, accessLog: STDOUT }),
  ],
  ["access log in a file", () => bootstrapYaml(route(), { module: defaultModule, accessLog: join(folder, "log") })],
  ["access log on standard output", () => bootstrapYaml(observe(), { module: defaultModule, accessLog: STDOUT })],
  [
    "IPv6 and names",
    () => bootstrapYaml(observe('admin: "[::1]:9902"\n', '"[::1]:1", localhost:2'), { module: defaultModule }),
  ],
  [
    "the least limits",
    () =>
      bootstrapYaml(route("limits: { frame: 64, head: 64, inFlight: 1, series: 1, wait: 10ms }\n"), {
        module: defaultModule,
      }),
  ],
  [
    "the greatest limits",
    () =>
      bootstrapYaml(route("limits: { frame: 4294967295, head: 1MiB, inFlight: 1048576, series: 10000, wait: 1h }\n"), {
        module: defaultModule,
      }),
  ],
];
describe.skipIf(!envoy)("Envoy takes", () => {
  it.each(samples)("%s", (_, yaml) => {
    const file = join(folder, "envoy.yaml");
    writeFileSync(file, yaml());
    const args = ["--mode", "validate", "--log-level", "error", "-c", file];
    const access = { name: "meltemi-validate", readable: [defaultModule], writable: [folder] };
    const [program = "", ...rest] = envoy?.command(args, access) ?? [];
    expect(execFileSync(program, rest, { encoding: "utf8" })).toContain("OK");
  });
});

describe("the ready configurations", () => {
  const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), "utf8");
  it.each([
    ["observe", ""],
    ["route", `--access-log ${STDOUT} `],
    ["bridge", `--access-log ${STDOUT} `],
  ])("envoy/%s/envoy.yaml is what the tool prints (else print it again as its first line says)", (name, log) => {
    const path = `envoy/${name}/meltemi.yaml`;
    const options = { module: "build/meltemi.wasm", accessLog: log ? STDOUT : undefined };
    const header = `Written by: meltemi run --print ${log}${path}`;
    expect(read(`envoy/${name}/envoy.yaml`)).toBe(bootstrapYaml(model(read(path)), options, header));
  });

  it("are what envoy/compose.yaml gives the image that the tool runs", () => {
    const { services } = parseYaml(read("envoy/compose.yaml"), { merge: true }) as {
      services: Record<string, { image: string; command: string[]; working_dir: string; volumes: string[] }>;
    };
    expect(Object.keys(services)).toEqual(["observe", "route", "bridge"]);
    for (const { image, command, working_dir, volumes } of Object.values(services)) {
      expect(image).toBe(IMAGE);
      const inside = new Map(volumes.map((volume) => volume.split(":").reverse().slice(1) as [string, string]));
      // Both files are where Envoy looks, and come from where they are here.
      for (const file of [command[2] ?? "", "build/meltemi.wasm"]) {
        expect(resolve("/checkout/envoy", inside.get(`${working_dir}/${file}`) ?? "")).toBe(`/checkout/${file}`);
      }
    }
  });
});
