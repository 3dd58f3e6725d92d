import { once } from "node:events";
import { createServer, get } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { findEnvoy } from "../../tools/envoy/find.js";
import { parseMetrics } from "../../tools/view/prometheus.js";
import { eventually } from "../e2e/harness.js";
import { ConnectionLost, connect, type DubboClient } from "../peers/dubbo/client.js";
import { type DubboServer, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { connectThrift, startThriftServer } from "../peers/thrift/node.js";
import { manifestOf, meltemi } from "./lab/command.js";
import { assertSound, manifests, requests } from "./lab/harness.js";
import { complaints } from "./lab/istioctl.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Mesh, type Sidecar } from "./lab/mesh.js";
import { NODE, PodNetwork } from "./lab/pod.js";
import { Registry } from "./lab/registry.js";

/*
 * As in a cluster: each pod has a network of its own, in which connections are diverted to its sidecar. The mesh holds
 * pods, Services, STRICT mutual TLS, and exactly what the tool prints.
 */

const LOOPBACK = "127.0.0.1";
const ANY = "0.0.0.0";
/** The Service's address and port, and the port of its pods. */
const GREETER = { host: "10.96.0.10", port: 20880 };
const TARGET = 20881;

const SUBSETS = ["v1", "v2"].map((name) => ({ name, endpoints: [TARGET] }));
const ADD_TO_V2 = [
  { name: "one-method", match: { service: greeter, method: "add" }, subset: "v2" },
  { name: "others", subset: "v1" },
];
const CLIENTS = [{ labels: { app: "app" } }];
const WORLD = manifests(["world", "others"]);

function addressOf(pod: string): string {
  const object = WORLD.find(({ kind, metadata }) => kind === "Pod" && metadata.name === pod);
  if (!object) throw new Error(`no pod ${pod}`);
  return (object.status as { podIP: string }).podIP;
}

interface Pod {
  ip: string;
  network: PodNetwork;
}
type MeshPod = Pod & { sidecar: Sidecar };

let registry: Registry;
let image: string;
let mesh: Mesh;
let app: MeshPod;
let other: MeshPod;
let v1: MeshPod;
let v2: MeshPod;
let bare: Pod;
const running: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  const envoy = await findEnvoy({ path: found.origin });
  const use = <T extends { stop(): Promise<void> }>(part: T): T => {
    running.push(part);
    return part;
  };
  registry = use(await Registry.start({ host: NODE }));
  image = (await meltemi("push", `${registry.address}/mesh/meltemi:1.0`, "--plain-http")).trim();
  mesh = use(await Mesh.start(WORLD));
  const pod = async (name: string): Promise<Pod> => {
    const ip = addressOf(name);
    return { ip, network: use(await PodNetwork.start(ip)) };
  };
  const meshPod = async (name: string): Promise<MeshPod> => {
    const { ip, network } = await pod(name);
    await network.intercept();
    return { ip, network, sidecar: use(await mesh.sidecar(name, { envoy, network })) };
  };
  [app, other, v1, v2] = (await Promise.all(["app", "other", "greeter-v1", "greeter-v2"].map(meshPod))) as [
    MeshPod,
    MeshPod,
    MeshPod,
    MeshPod,
  ];
  bare = await pod("bare");
});
afterAll(async () => {
  for (const part of running.reverse()) await part.stop();
});

interface ServicePort {
  name: string;
  port: number;
  targetPort?: number;
}

/** A Service of the greeter pods. */
function service(clusterIP: string, ports: ServicePort[], name = "greeter"): KubernetesObject[] {
  const [object, slice] = manifests(["service"]) as [KubernetesObject, KubernetesObject];
  const protocol = "TCP";
  const spec = {
    clusterIP,
    clusterIPs: [clusterIP],
    selector: { app: "greeter" },
    ports: ports.map((port) => ({ targetPort: port.port, ...port, protocol })),
  };
  const labels = { "kubernetes.io/service-name": name };
  return [
    { ...object, metadata: { name }, spec },
    {
      ...slice,
      metadata: { name, labels },
      ports: ports.map(({ name, port, targetPort = port }) => ({ name, port: targetPort, protocol })),
    },
  ];
}

/** Has the mesh hold these Services, and what the tool prints for a configuration. */
async function ship(configuration: object, services: KubernetesObject[], more: KubernetesObject[] = []): Promise<void> {
  const printed = await manifestOf({ protocol: "dubbo", ...configuration }, "--image", image);
  const objects = [...WORLD, ...more, ...services, ...printed];
  expect(complaints(objects)).toEqual([]);
  mesh.set(objects);
}

/** Waits until these are the module's filters in all chains of a listener, by the names of their plugins. */
async function settled({ sidecar }: MeshPod, listener: string, plugins: string[]): Promise<void> {
  await eventually(async () => {
    const names = (await sidecar.chains(listener)).flat().map((name) => /default\.([^~]+)\.default~/.exec(name)?.[1]);
    expect([...new Set(names.filter((name) => name !== undefined))]).toEqual(plugins);
  });
}

const inbound = (plugins: string[]) => Promise.all([v1, v2].map((pod) => settled(pod, "virtualInbound", plugins)));

/** A server of this process as one of a pod, until the test ends or before. */
async function serveIn<S extends { port: number; stop(): Promise<void> }>(
  { network }: Pod,
  at: { host: string; port: number },
  server: S,
): Promise<{ server: S; close(): Promise<void> }> {
  const leave = await network.listen(at, server.port);
  let open = true;
  const close = async () => {
    if (!open) return;
    open = false;
    await leave();
    await server.stop();
  };
  onTestFinished(close);
  return { server, close };
}

/** A server in each greeter pod, until the test ends. */
async function serve(at: { host: string; port: number }): Promise<{ v1: DubboServer; v2: DubboServer }> {
  const inPod = async (version: string, pod: Pod) => (await serveIn(pod, at, await startServer({ version }))).server;
  return { v1: await inPod("v1", v1), v2: await inPod("v2", v2) };
}

async function connected({ network }: Pod, to: { host: string; port: number }): Promise<DubboClient> {
  const client = await connect(await network.reach(to));
  onTestFinished(() => client.close());
  return client;
}

const hello = async (client: DubboClient) =>
  /from (v\d)/.exec(String(await client.call(greeter, "sayHello", ["fig"])))?.[1];

/** What the sidecars' modules count while `act` runs, by direction, service, method and status. */
async function counting(act: () => Promise<unknown>): Promise<() => Promise<Record<string, number>>> {
  const read = async () => {
    const sum: Record<string, number> = {};
    for (const { sidecar } of [app, v1, v2])
      for (const [key, value] of Object.entries(await requests(sidecar))) sum[key] = (sum[key] ?? 0) + value;
    return sum;
  };
  const before = await read();
  await act();
  return async () =>
    Object.fromEntries(
      Object.entries(await read())
        .map(([key, value]) => [key, value - (before[key] ?? 0)] as const)
        .filter(([, value]) => value > 0),
    );
}

/** Connections that lower has closed since their clients did not speak HTTP. */
async function turnedAway({ sidecar }: MeshPod): Promise<number> {
  const all =
    parseMetrics(await sidecar.get("/stats/prometheus")).scalars.get("meltemi_closed_connections_total") ?? [];
  return all.find(({ labels }) => labels.reason === "http_preface")?.value ?? 0;
}

const observed = (port: number, targetPort?: number) => ({
  service: { name: "greeter", bind: 20880, endpoints: [TARGET] },
  istio: { ports: [{ port, ...(targetPort && { targetPort }) }], clients: CLIENTS },
});

describe("observe", () => {
  it("counts at both ends, by the Service's port here and the pods' there", async () => {
    await serve({ host: ANY, port: TARGET });
    await ship(
      observed(20880, TARGET),
      service(GREETER.host, [{ name: "tcp-dubbo", port: 20880, targetPort: TARGET }]),
    );
    await settled(app, "10.96.0.10_20880", ["observe-clients-app.greeter"]);
    await inbound(["observe-servers.greeter"]);
    const counted = await counting(async () => {
      for (let i = 0; i < 10; i++)
        expect(await (await connected(app, GREETER)).call(greeter, "add", [i, 1])).toBe(i + 1);
    });
    await eventually(async () =>
      expect(await counted()).toEqual({ [`outbound ${greeter} add ok`]: 10, [`inbound ${greeter} add ok`]: 10 }),
    );
  });

  it("counts what is called by the pods' own addresses", async () => {
    await serve({ host: ANY, port: TARGET });
    await ship(observed(TARGET), service("None", [{ name: "tcp-dubbo", port: TARGET }]));
    await settled(app, `${v1.ip}_${TARGET}`, ["observe-clients-app.greeter"]);
    await inbound(["observe-servers.greeter"]);
    const counted = await counting(async () => {
      for (const [version, { ip }] of Object.entries({ v1, v2 }))
        expect(await hello(await connected(app, { host: ip, port: TARGET }))).toBe(version);
    });
    await eventually(async () =>
      expect(await counted()).toEqual({
        [`outbound ${greeter} sayHello ok`]: 2,
        [`inbound ${greeter} sayHello ok`]: 2,
      }),
    );
  });
});

it("route: the first frame of a connection chooses the subset", async () => {
  await serve({ host: ANY, port: TARGET });
  const istio = { ports: [{ port: 20880, targetPort: TARGET }], clients: CLIENTS };
  await ship(
    { mode: "route", service: { name: "greeter", bind: 20880, subsets: SUBSETS }, routes: ADD_TO_V2, istio },
    service(GREETER.host, [{ name: "tcp-dubbo", port: 20880, targetPort: TARGET }]),
  );
  await settled(app, "10.96.0.10_20880", ["route-20880-app.greeter"]);
  await inbound(["observe-servers.greeter"]);
  const counted = await counting(async () => {
    for (let i = 0; i < 5; i++) {
      const [plain, adding] = [await connected(app, GREETER), await connected(app, GREETER)];
      expect(await hello(plain)).toBe("v1");
      expect(await adding.call(greeter, "add", [i, 1])).toBe(i + 1);
      expect(await hello(adding)).toBe("v2");
    }
  });
  await eventually(async () =>
    expect(await counted()).toEqual({
      [`outbound ${greeter} sayHello ok`]: 10,
      [`outbound ${greeter} add ok`]: 5,
      [`inbound ${greeter} sayHello ok`]: 10,
      [`inbound ${greeter} add ok`]: 5,
    }),
  );
});

const bridge = (istio: object, more: object = {}) => ({
  mode: "bridge",
  service: { name: "greeter", bind: 20880, subsets: SUBSETS },
  routes: ADD_TO_V2,
  istio: { ports: [{ port: 20880, targetPort: TARGET }], address: GREETER.host, clients: CLIENTS, ...istio },
  ...more,
});
const bridged = service(GREETER.host, [{ name: "http2-dubbo", port: 20880, targetPort: TARGET }]);

/** Once requests of one connection reach v1 and v2, each its own. */
async function chooses(client: DubboClient, servers: { v1: DubboServer; v2: DubboServer }): Promise<void> {
  const before = servers.v2.stats.requests.add ?? 0;
  for (let i = 0; i < 10; i++) {
    expect(await client.call(greeter, "add", [i, 1])).toBe(i + 1);
    expect(await hello(client)).toBe("v1");
  }
  expect((servers.v2.stats.requests.add ?? 0) - before).toBe(10);
}

describe("bridge", () => {
  it("takes each request to its subset, and servers that listen on loopback only", async () => {
    const servers = await serve({ host: LOOPBACK, port: TARGET });
    await ship(bridge({}), bridged);
    await settled(app, "10.96.0.10_20880", ["lift-app.greeter"]);
    await inbound(["lower.greeter"]);
    const counted = await counting(async () => {
      const some = await Promise.all([1, 2, 3].map(() => connected(app, GREETER)));
      await Promise.all(some.map((client) => eventually(() => hello(client))));
      for (const client of some) await chooses(client, servers);
    });
    await eventually(async () =>
      expect(await counted()).toMatchObject({
        [`outbound ${greeter} add ok`]: 30,
        [`inbound ${greeter} add ok`]: 30,
      }),
    );
  });

  it("outlives a restart of a server", async () => {
    await ship(bridge({}), bridged);
    await settled(app, "10.96.0.10_20880", ["lift-app.greeter"]);
    await inbound(["lower.greeter"]);
    const { close } = await serveIn(v1, { host: LOOPBACK, port: TARGET }, await startServer());
    const client = await connected(app, GREETER);
    await eventually(async () => expect(await hello(client)).toBe("v1"));
    await close();
    await expect(hello(client)).rejects.toThrow("HTTP 503");
    await serveIn(v1, { host: LOOPBACK, port: TARGET }, await startServer({ version: "v3" }));
    await eventually(async () => expect(await hello(client)).toBe("v3"));
  });

  it("turns callers away who do not lift, and counts those that mutual TLS lets in", async () => {
    await serve({ host: LOOPBACK, port: TARGET });
    await ship(bridge({}), bridged);
    await settled(app, "10.96.0.10_20880", ["lift-app.greeter"]);
    await inbound(["lower.greeter"]);
    const before = await turnedAway(v1);
    const pod = { host: v1.ip, port: TARGET };
    const called = async (by: Pod, to: typeof pod) => hello(await connected(by, to));
    await expect(called(other, GREETER)).rejects.toThrow(ConnectionLost);
    await expect(called(bare, pod)).rejects.toThrow(ConnectionLost);
    expect(await turnedAway(v1)).toBe(before);

    const permissive = {
      apiVersion: "security.istio.io/v1",
      kind: "PeerAuthentication",
      metadata: { name: "default" },
      spec: { mtls: { mode: "PERMISSIVE" } },
    };
    await ship(bridge({}), bridged, [permissive]);
    await eventually(async () => {
      await expect(called(bare, pod)).rejects.toThrow(ConnectionLost);
      expect(await turnedAway(v1)).toBeGreaterThan(before);
    });
    expect(await called(app, GREETER)).toBe("v1");
  });

  it("leaves the pods' other ports alone, with Istio's filters where they are listed", async () => {
    const server = createServer((_, response) => void response.end("as ever"));
    server.listen(0, LOOPBACK);
    await once(server, "listening");
    const [everywhere, loopback] = [8080, 8081];
    for (const { network } of [v1, v2]) {
      await network.listen({ host: ANY, port: everywhere }, (server.address() as AddressInfo).port);
      await network.listen({ host: LOOPBACK, port: loopback }, (server.address() as AddressInfo).port);
    }
    onTestFinished(() => void server.close());
    const web = service(
      "10.96.0.20",
      [
        { name: "http-everywhere", port: everywhere },
        { name: "http-loopback", port: loopback },
      ],
      "web",
    );
    const asked = async (port: number) => {
      const at = await app.network.reach({ host: "10.96.0.20", port });
      const [answer] = await once(get({ ...at, headers: { host: `web:${port}` }, agent: false }), "response");
      return `${answer.statusCode} ${await text(answer)}`;
    };
    await ship(bridge({}), [...bridged, ...web]);
    await inbound(["lower.greeter"]);
    await eventually(async () => expect(await asked(everywhere)).toBe("200 as ever"));
    expect(await asked(loopback)).toMatch(/^503 /);

    const otherPorts = [everywhere, loopback].map((port) => ({ port, protocol: "HTTP" }));
    await ship(bridge({ servers: { otherPorts } }), [...bridged, ...web]);
    await eventually(async () => expect(await asked(loopback)).toBe("200 as ever"));
    expect(await asked(everywhere)).toBe("200 as ever");
  });

  it("stands beside the private port on one of its own, so that clients can move over", async () => {
    const servers = await serve({ host: ANY, port: 20880 });
    await ship(
      bridge({
        ports: [{ port: 20890, serverPort: 20880 }],
        servers: { otherPorts: [{ port: 20880, protocol: "TCP" }] },
      }),
      service(GREETER.host, [
        { name: "tcp-dubbo", port: 20880 },
        { name: "http2-dubbo", port: 20890 },
      ]),
    );
    await settled(app, "10.96.0.10_20890", ["lift-app.greeter"]);
    await inbound(["lower.greeter"]);
    const old = await Promise.all([app, other].map((pod) => connected(pod, GREETER)));
    const moved = await connected(app, { ...GREETER, port: 20890 });
    await eventually(async () => expect(await hello(moved)).toBe("v1"));
    const counted = await counting(() =>
      Promise.all([chooses(moved, servers), ...old.map((client) => client.call(greeter, "echo", ["as ever"]))]),
    );
    await eventually(async () =>
      expect(await counted()).toMatchObject({ [`outbound ${greeter} add ok`]: 10, [`inbound ${greeter} add ok`]: 10 }),
    );
    expect(Object.keys(await counted()).filter((key) => key.includes("echo"))).toEqual([]);
  });

  describe("by the clients' loopback", () => {
    const dialect = { transport: "framed", protocol: "binary" } as const;

    const outcome = (call: Promise<unknown>) => call.catch(({ message }: Error) => message);

    /** What becomes of `hello` and `add` once the mesh has heard of a Service with this address. */
    async function expectOutcomes(clusterIP: string, outcomes: unknown[]): Promise<void> {
      for (const [version, pod] of Object.entries({ v1, v2 }))
        await serveIn(pod, { host: LOOPBACK, port: TARGET }, await startThriftServer(dialect, { version }));
      const routes = [{ name: "one-method", match: { method: "add" }, subset: "v2" }, { subset: "v1" }];
      await ship(
        { ...bridge({ address: LOOPBACK }), protocol: "thrift", routes },
        service(clusterIP, [{ name: "http-thrift", port: 20880, targetPort: TARGET }]),
      );
      await settled(app, "127.0.0.1_20880", ["lift-app.greeter"]);
      await inbound(["lower.greeter"]);
      const at = await app.network.reach({ host: LOOPBACK, port: 20880 });
      const client = await connectThrift(at.port, dialect, at);
      onTestFinished(() => client.close());
      const calls = () => Promise.all([client.call("hello", "fig"), client.call("add", 1, 2)].map(outcome));
      await eventually(async () => expect(await calls()).toEqual(outcomes));
    }

    it("reaches the pods of a Service with an address", () => expectOutcomes(GREETER.host, ["hello fig from v1", 3]));

    it("reaches nobody where the Service is headless: Istio goes where the client wanted to", () =>
      expectOutcomes("None", Array(2).fill("HTTP 503: no healthy upstream")));
  });

  it("has requests judged at the servers, and nobody else's reach the port behind that", async () => {
    const servers = await serve({ host: LOOPBACK, port: TARGET });
    const authorization = [
      { action: "DENY", match: { method: "fail" } },
      { action: "ALLOW", match: { service: greeter } },
    ];
    await ship(bridge({}, { authorization }), bridged);
    await settled(app, "10.96.0.10_20880", ["lift-app.greeter"]);
    for (const pod of [v1, v2]) await settled(pod, "127.0.0.1_30881", ["lower.greeter"]);
    const client = await connected(app, GREETER);
    await eventually(() => hello(client));
    await chooses(client, servers);
    await expect(client.call(greeter, "fail")).rejects.toThrow("HTTP 403: RBAC: access denied");
    await expect(client.call(orders, "create", ["fig", 1])).rejects.toThrow("HTTP 403: RBAC: access denied");

    const before = await turnedAway(v1);
    for (const by of [bare, other])
      await expect(connected(by, { host: v1.ip, port: 30881 }).then(hello)).rejects.toThrow(ConnectionLost);
    expect(await turnedAway(v1)).toBe(before);
    // Lower does listen there, for the pod itself.
    await expect(connected(v1, { host: LOOPBACK, port: 30881 }).then(hello)).rejects.toThrow(ConnectionLost);
    await eventually(async () => expect(await turnedAway(v1)).toBe(before + 1));
  });
});

it("has nobody complain", () => {
  for (const { sidecar } of [app, other, v1, v2]) assertSound(sidecar);
});
