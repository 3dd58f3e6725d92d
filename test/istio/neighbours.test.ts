import { once } from "node:events";
import { createServer as createHttpServer, request } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, inject, it, onTestFinished } from "vitest";
import { findEnvoy } from "../../tools/envoy/find.js";
import { eventually } from "../e2e/harness.js";
import { manifestOf, meltemi } from "./lab/command.js";
import { assertSound, GREETER, manifests } from "./lab/harness.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Mesh, type Sidecar } from "./lab/mesh.js";
import { NODE, PodNetwork } from "./lab/pod.js";
import { Registry } from "./lab/registry.js";

/*
 * Istio puts an extension before every Service of a port number. Those that are none of Meltemi's must not notice.
 */

const { port } = GREETER;
/** Of Services whose pods have no sidecar. */
const echo = { host: "10.96.0.11", pod: "10.9.0.21" };
const web = { host: "10.96.0.12", pod: "10.9.0.22" };

function neighbour(name: string, { host, pod }: typeof echo, prefix: string): KubernetesObject[] {
  const ports = [{ name: `${prefix}-${name}`, port, protocol: "TCP" }];
  return [
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name },
      spec: { type: "ClusterIP", clusterIP: host, clusterIPs: [host], selector: { app: name }, ports },
    },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      ports,
      endpoints: [{ addresses: [pod], conditions: { ready: true }, nodeName: "node" }],
    },
  ];
}

const neighbours = [...neighbour("echo", echo, "tcp"), ...neighbour("web", web, "http")];
const service = { name: "greeter", bind: port };
const istio = { ports: [{ port }], address: GREETER.host, clients: [{ labels: { app: "app" } }] };
const configurations = {
  observe: { mode: "observe", service: { ...service, endpoints: [20881] }, istio },
  route: {
    mode: "route",
    service: { ...service, subsets: [{ name: "v1", endpoints: [20881] }] },
    routes: [{ subset: "v1" }],
    istio,
  },
  bridge: { mode: "bridge", service: { ...service, endpoints: [20881] }, istio },
};

const running: { stop(): Promise<unknown> }[] = [];
let image: string;
let mesh: Mesh;
let network: PodNetwork;
let app: Sidecar;

function use<T extends { stop(): Promise<unknown> }>(part: T): T {
  running.push(part);
  return part;
}

/** A pod without a sidecar, in which this server listens. */
async function serve(pod: string, server: Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  use({ stop: async () => server.close() });
  await use(await PodNetwork.start(pod)).listen({ host: pod, port }, (server.address() as AddressInfo).port);
}

async function cluster(mode: keyof typeof configurations): Promise<KubernetesObject[]> {
  const printed = await manifestOf({ protocol: "dubbo", ...configurations[mode] }, "--image", image);
  const name = mode === "bridge" ? "http2-dubbo" : "tcp-dubbo";
  return [...manifests(["world", "service"], { NAME: name }), ...neighbours, ...printed];
}

beforeAll(async () => {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  const registry = use(await Registry.start({ host: NODE }));
  image = (await meltemi("push", `${registry.address}/mesh/meltemi:1.0`, "--plain-http")).trim();
  await serve(
    echo.pod,
    createTcpServer((socket) => socket.pipe(socket)),
  );
  await serve(
    web.pod,
    createHttpServer((_, response) => response.end("hello from the web")),
  );
  mesh = use(await Mesh.start(await cluster("observe")));
  network = use(await PodNetwork.start("10.9.0.10"));
  await network.intercept();
  app = use(await mesh.sidecar("app", { envoy: await findEnvoy({ path: found.origin }), network }));
});
afterAll(async () => {
  for (const part of running.reverse()) await part.stop();
});

it.each([
  ["observe", "observe-clients-app"],
  ["route", "route-20880-app"],
  ["bridge", "lift-app"],
] as const)("other Services on the same port number do not notice that one is in mode %s", async (mode, plugin) => {
  mesh.set(await cluster(mode));
  const expected = expect.stringContaining(`.${plugin}.greeter.default~`);
  // The filter is there, and has to know that it is not meant.
  await eventually(async () => {
    for (const listener of [`${echo.host}_${port}`, `0.0.0.0_${port}`])
      expect(await app.chains(listener)).toContainEqual([expected, expect.any(String)]);
  });
  const words = "no frame of any protocol\n";
  const client = connect(await network.reach({ host: echo.host, port }));
  onTestFinished(() => void client.destroy());
  client.write(words);
  const [echoed] = await once(client, "data");
  expect(String(echoed)).toBe(words);

  const to = await network.reach({ host: web.host, port });
  const call = request({ ...to, agent: false, headers: { host: `web.default:${port}` } }).end();
  const [response] = await once(call, "response");
  expect([response.statusCode, await text(response)]).toEqual([200, "hello from the web"]);
  const counted = await app.get("/stats/prometheus");
  expect(counted.match(/^meltemi_(decode_errors|closed_connections|requests)_total/gm)).toBeNull();
});

it("nobody has complained", () => assertSound(app));
