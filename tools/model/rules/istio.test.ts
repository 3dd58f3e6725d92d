import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse as load } from "yaml";
import { ModelError } from "../issue.js";
import { parse } from "../load.js";
import { jsonSchema, type Model } from "../schema.js";

const protocols = [{ name: "dubbo", keys: [{ name: "*" }], heartbeats: true }];

const observe = `protocol: dubbo
service: { name: greeter, bind: 1, endpoints: [2] }
istio:
  ports: [{ port: 80 }]
`;
const route = `protocol: dubbo
mode: route
service: { name: greeter, bind: 1, subsets: [{ name: v1, endpoints: [2] }] }
routes: [{ subset: v1 }]
istio:
  ports: [{ port: 80 }]
  clients: [{}]
`;
const bridge = `protocol: dubbo
mode: bridge
service: { name: greeter, bind: 1, endpoints: [2] }
istio:
  ports: [{ port: 80 }]
  address: 10.0.0.1
  clients: [{ labels: { app: web } }]
`;
/** A server's sidecar sees requests in these, so that there is a second port for each. */
const authorized = `${bridge}authorization: [{ action: DENY, match: { method: drop } }]\n`;

const read = (text: string): Model => parse(text, protocols);

/** The same with one part replaced. */
function but(text: string, part: string, by: string): string {
  if (!text.includes(part)) throw new Error(`nothing to replace: ${part}`);
  return text.replace(part, by);
}

/** What a user sees. */
function complaint(text: string): string {
  try {
    read(text);
  } catch (error) {
    if (error instanceof ModelError) return error.options.hint ?? "";
    throw error;
  }
  throw new Error("this file has no mistakes");
}

describe("where in a mesh a service is", () => {
  it("is said with few words", () => {
    expect(read(observe).istio).toEqual({
      version: 31,
      kind: "WasmPlugin",
      namespace: "default",
      domain: "cluster.local",
      ports: [{ port: 80 }],
      servers: { address: "loopback" },
    });
    read(route);
    read(bridge);
    read(authorized);
  });

  it("is said of no file that does not ask for it", () => {
    expect(read(observe.slice(0, observe.indexOf("istio:"))).istio).toBeUndefined();
    expect(complaint(`${observe.slice(0, observe.indexOf("istio:"))}istio:\n`)).toContain("istio is nothing");
  });

  it("takes versions as people write them", () => {
    const version = (text: string) => read(but(observe, "istio:", `istio:\n  version: "${text}"`)).istio?.version;
    expect(["1.22", "v1.30.2", "1.31-alpha.0", "1.29.0-rc.1"].map(version)).toEqual([22, 30, 31, 29]);
  });

  it("may name the address in every mode", () => {
    expect(read(but(observe, "  ports", "  address: 10.0.0.1\n  ports")).istio?.address).toBe("10.0.0.1");
    expect(read(but(bridge, "10.0.0.1", "127.0.0.1")).istio?.address).toBe("127.0.0.1");
  });
});

describe("a mistake", () => {
  it("is shown where it stands", () => {
    expect(complaint(but(authorized, "{ port: 80 }", "{ port: 80 }, { port: 81, targetPort: 10080 }"))).toBe(
      `meltemi.yaml:5:49: port 10080 of the pods is istio.ports[0].lowerPort already, expected another targetPort
  5 |   ports: [{ port: 80 }, { port: 81, targetPort: 10080 }]
    |                                                 ^^^^^`,
    );
  });

  it.each<[string, string, string]>([
    [
      "a name that no Service has",
      but(observe, "greeter", "Greeter_1"),
      '3:1: missing key "istio.service", expected the Service\'s name, since "Greeter_1" cannot be one',
    ],
    ["no ports", but(observe, "  ports: [{ port: 80 }]", "  namespace: a"), '3:1: missing key "istio.ports"'],
    ["a port twice", but(observe, "{ port: 80 }", "{ port: 80 }, { port: 80 }"), "4:33: port 80 is there already"],
    ["a port that is none", but(observe, "80", "0"), "4:19: istio.ports[0].port is too small, expected at least 1"],
    ["an unknown key", but(observe, "  ports", "  port"), '4:3: unknown key "port" in istio, did you mean "ports"?'],
    [
      "a version of long ago",
      but(observe, "istio:", 'istio:\n  version: "1.12"'),
      '4:12: istio.version "1.12": Istio 1.12 is too old, expected a version from "1.22" to "1.31"',
    ],
    [
      "a version of the future",
      but(observe, "istio:", 'istio:\n  version: "1.99"'),
      '4:12: istio.version "1.99": Istio 1.99 is not known yet',
    ],
    [
      "no version",
      but(observe, "istio:", "istio:\n  version: latest"),
      '4:12: istio.version "latest": not a version of Istio',
    ],
    [
      "a version as a number",
      but(observe, "istio:", "istio:\n  version: 1.30"),
      "4:12: istio.version is the number 1.3",
    ],
    [
      "an unknown kind",
      but(observe, "istio:", "istio:\n  kind: WasmPlugn"),
      '4:9: unknown istio.kind "WasmPlugn", did you mean "WasmPlugin"?',
    ],
    [
      "a kind of a later version",
      but(observe, "istio:", 'istio:\n  kind: TrafficExtension\n  version: "1.29"'),
      "4:9: kind TrafficExtension needs Istio 1.30, expected a later istio.version",
    ],
    [
      "a strategy of a later version",
      but(observe, "istio:", 'istio:\n  failStrategy: FAIL_RELOAD\n  version: "1.26.3"'),
      "4:17: failStrategy FAIL_RELOAD needs Istio 1.27",
    ],
    [
      "a mode of a later version",
      but(route, "istio:", 'istio:\n  version: "1.28"'),
      "2:7: mode route needs Istio 1.29",
    ],
    [
      "a budget of a later version",
      `${but(bridge, "istio:", 'istio:\n  version: "1.26"')}trafficPolicy: { retryBudget: {} }\n`,
      "9:31: trafficPolicy.retryBudget needs Istio 1.27",
    ],
    [
      "no clients",
      but(route, "  clients: [{}]\n", ""),
      '5:1: missing key "istio.clients", expected the workloads that call the service',
    ],
    [
      "labels that are none",
      but(bridge, "app: web", '"app web": x'),
      '7:25: the key "app web" is not usable, expected a label\'s name',
    ],
    [
      "no labels",
      but(bridge, "{ app: web }", "{}"),
      "7:23: istio.clients[0].labels: no label selects everything, expected at least one label",
    ],
    [
      "clients twice",
      but(bridge, "[{ labels", "[{ namespace: default, labels: { tier: a, app: web } }, { labels"),
      "7:68: istio.clients[1] selects pods that istio.clients[0] selects as well",
    ],
    [
      "two ways to select",
      but(observe, "  ports", "  clients: [{ labels: { a: b }, targetRefs: [{ kind: Gateway, name: c }] }]\n  ports"),
      '4:33: "istio.clients[0].targetRefs" beside labels: one of the two selects',
    ],
    [
      "a gateway before a bridge",
      but(bridge, "labels: { app: web }", "targetRefs: [{ kind: Gateway, name: a }]"),
      '7:15: "istio.clients[0].targetRefs" is not for mode bridge',
    ],
    [
      "a waypoint before a bridge's servers",
      `${bridge}  servers: { targetRefs: [{ kind: Service, name: a }] }\n`,
      '8:14: "istio.servers.targetRefs" is not for mode bridge',
    ],
    [
      "what only a bridge has",
      but(route, "  clients", "  servers: { http: true }\n  clients"),
      '7:14: "istio.servers.http" needs mode: bridge',
    ],
    [
      "a port that only a bridge has",
      but(route, "port: 80", "port: 80, serverPort: 81"),
      '6:23: "istio.ports[0].serverPort" needs mode: bridge',
    ],
    [
      "loopback where no bridge is",
      but(route, "  clients", "  address: 127.0.0.1\n  clients"),
      "7:12: 127.0.0.1 needs mode: bridge",
    ],
    [
      "no address",
      but(bridge, "  address: 10.0.0.1\n", ""),
      '4:1: missing key "istio.address", expected the Service\'s ClusterIP',
    ],
    [
      "a name for an address",
      but(bridge, "10.0.0.1", "greeter"),
      '6:12: istio.address "greeter": not an address, expected one IP address',
    ],
    ...["0.0.0.0", "0::0"].map((address): [string, string, string] => [
      `every address (${address})`,
      but(bridge, "10.0.0.1", address),
      `6:12: istio.address "${address}": every address, expected one IP address`,
    ]),
    ["every address in another mode", but(route, "  clients", "  address: 0.0.0.0\n  clients"), "7:12: istio.address "],
    [
      "loopback in other words",
      but(route, "  clients", "  address: 0:0::0:1\n  clients"),
      "7:12: ::1 needs mode: bridge",
    ],
    ["an address of one machine", but(bridge, "10.0.0.1", "fe80::1%eth0"), "6:12: istio.address "],
    ["an address that is two", but(bridge, "10.0.0.1", "::ffff:10.0.0.1"), "6:12: istio.address "],
    ["one leg", `${bridge}leg: client\n`, '4:1: "istio" beside leg: client: a mesh always has both'],
    ["an authority", but(bridge, "bind", "authority: a, bind"), '3:27: "service.authority" beside istio'],
    [
      "requests hashed by service",
      `${bridge}trafficPolicy: { loadBalancer: { consistentHash: { key: service } } }\n`,
      "8:57: Istio hashes whole headers, expected a metadata key",
    ],
    [
      "no Service that counts",
      `${bridge}rateLimitService: { address: 5, descriptors: [[user]] }\n`,
      '4:1: missing key "istio.rateLimitService"',
    ],
    [
      "authorization without HTTP",
      `${authorized}`.replace("authorization", "  servers: { http: false }\nauthorization"),
      '8:14: "istio.servers.http" is what authorization needs',
    ],
    [
      "a second port that nobody needs",
      but(bridge, "port: 80", "port: 80, lowerPort: 90"),
      '5:23: "istio.ports[0].lowerPort" needs servers.http or authorization',
    ],
    [
      "a second port that is the first",
      but(authorized, "port: 80", "port: 80, lowerPort: 80"),
      "5:34: port 80 of the pods is istio.ports[0].targetPort already, expected another lowerPort",
    ],
    [
      "a second port where the server listens",
      but(authorized, "port: 80", "port: 80, serverPort: 90, lowerPort: 90"),
      "5:50: port 90 of the pods is istio.ports[0].serverPort already",
    ],
    [
      "a second port that Istio has",
      but(authorized, "port: 80", "port: 80, lowerPort: 15001"),
      "5:34: port 15001 of the pods is Istio's own already",
    ],
    [
      "another port that is taken",
      `${bridge}  servers: { otherPorts: [{ port: 80, protocol: HTTP }] }\n`,
      "8:35: port 80 of the pods is istio.ports[0].targetPort already",
    ],
    [
      "another port twice",
      `${bridge}  servers: { otherPorts: [{ port: 90, protocol: HTTP }, { port: 90, protocol: TCP }] }\n`,
      "8:65: port 90 of the pods is istio.servers.otherPorts[0].port already",
    ],
    [
      "servers that would listen where their own proxies do",
      but(but(bridge, "10.0.0.1", "127.0.0.1"), "{ labels: { app: web } }", "{}"),
      "7:13: istio.clients[0] are the servers too, which listen at port 80 of loopback themselves",
    ],
    [
      "a list that is too long",
      `${bridge}routes: [{ match: { user: { oneOf: [${Array.from({ length: 90 }, (_, i) => `user-number-${i}`).join(", ")}] } } }]\n`,
      "8:12: routes[0].match comes to a regular expression of more than 1024 bytes, which Istio refuses",
    ],
    [
      "a list that is too long in bytes",
      `${bridge}routes: [{ match: { user: { oneOf: [${Array.from({ length: 90 }, () => "έψιλον").join(", ")}] } } }]\n`,
      "8:12: routes[0].match comes to a regular expression of more than 1024 bytes",
    ],
    [
      "one header twice",
      `${bridge}routes: [{ match: { User: a, user: b } }]\n`,
      '8:30: "user" and "User" are the same header',
    ],
    [
      "a rule that Istio has no words for",
      `${bridge}authorization: [{ action: DENY, match: { user: { regex: a } } }]\n`,
      "8:42: Istio's policies know only exact, prefix, suffix, oneOf or present",
    ],
    [
      "a rule on two parts of a path",
      `${bridge}authorization: [{ action: DENY, match: { service: { prefix: a }, method: b } }]\n`,
      "8:66: Istio's policies have one * at an end of the whole path",
    ],
  ])("%s", (_, text, expected) => {
    const first = complaint(text).split("\n")[0] ?? "";
    expect(first.slice(0, "meltemi.yaml:".length + expected.length)).toBe(`meltemi.yaml:${expected}`);
  });

  it("is none where it only looks like one", () => {
    read(
      but(
        bridge,
        "{ labels: { app: web } }",
        "{ labels: { app: web } }, { namespace: other }, { labels: { app: job } }",
      ),
    );
    read(but(observe, "  ports", "  clients: [{ targetRefs: [{ kind: Gateway, name: c }] }, {}]\n  ports"));
    read(`${but(but(bridge, "10.0.0.1", "127.0.0.1"), "{ labels: { app: web } }", "{}")}  servers: { address: pod }\n`);
    read(but(authorized, "port: 80", "port: 5000"));
    read(but(bridge, "port: 80", "port: 80, serverPort: 10080"));
  });
});

it("is documented, all of it", () => {
  const page = readFileSync(new URL("../../../docs/architecture.md", import.meta.url), "utf8");
  const documented = load(/```yaml\n(istio:[\s\S]*?)```/.exec(page)?.[1] ?? "").istio;
  interface Schema {
    properties: Record<string, Schema>;
    items: Schema;
  }
  const { ports, clients, servers, ...others } = (jsonSchema() as unknown as Schema).properties.istio?.properties ?? {};
  const keys = (of: object | undefined) => Object.keys(of ?? {}).sort();
  expect(keys(documented)).toEqual(keys({ ports, clients, servers, ...others }));
  expect(keys(documented.ports[0])).toEqual(keys(ports?.items.properties));
  expect(keys(documented.servers)).toEqual(keys(servers?.properties));
  expect(keys({ ...documented.clients[0], ...documented.clients[1] })).toEqual(keys(clients?.items.properties));
});
