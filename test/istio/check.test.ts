// What `meltemi check` says of Services is what istiod makes of them.
import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { check } from "../../tools/check/check.js";
import { readCluster } from "../../tools/check/live.js";
import { placed, World } from "../../tools/check/world.js";
import { findEnvoy } from "../../tools/envoy/find.js";
import type { MeshModel } from "../../tools/istio/mesh.js";
import { Cluster } from "../../tools/kubernetes/client.js";
import { parse } from "../../tools/model/load.js";
import { eventually } from "../e2e/harness.js";
import { ApiServer } from "./lab/apiserver.js";
import { manifests } from "./lab/harness.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Mesh, type Sidecar } from "./lab/mesh.js";

let mesh: Mesh;
let app: Sidecar;
beforeAll(async () => {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  mesh = await Mesh.start(cluster());
  // As in most meshes: a listener at every address would otherwise need the port for itself.
  app = await mesh.sidecar("app", { envoy: await findEnvoy({ path: found.origin }), interception: "REDIRECT" });
});
afterAll(async () => {
  await app?.stop();
  await mesh?.stop();
});

function cluster(port: object = { name: "tcp-dubbo" }, service: object = {}): KubernetesObject[] {
  return manifests(["world", "service"]).map((object) => {
    if (object.kind !== "Service") return object;
    const spec = object.spec as object;
    return { ...object, spec: { ...spec, ports: [{ port: 20880, targetPort: 20880, ...port }], ...service } };
  });
}

function model(mode: string, more = "", istio = "namespace: default"): MeshModel {
  const endpoints =
    mode === "route" ? "subsets: [{ name: v1, endpoints: [1] }, { name: v2, endpoints: [2] }]" : "endpoints: [1]";
  return parse(
    `protocol: dubbo
mode: ${mode}
service: { name: greeter, bind: 0, ${endpoints} }
${more}
istio: { ports: [{ port: 20880 }], clients: [{ labels: { app: app } }], ${istio} }`,
    ["dubbo"],
  ) as MeshModel;
}

/** What `check` says of the Service: `SEVERITY CODE`. */
function said(what: MeshModel, objects: readonly KubernetesObject[]): string[] {
  const { services } = check([what], World.ofFiles(objects.map((object) => placed(object))));
  return services
    .flatMap(({ findings }) => findings)
    .filter(({ object }) => object?.kind === "Service")
    .map(({ severity, code }) => `${severity} ${code}`);
}

interface Chain {
  filters: { name: string; typed_config: { cluster?: string } }[];
}
interface Listeners {
  configs: { name: string; active_state?: { listener: { filter_chains?: Chain[]; default_filter_chain?: Chain } } }[];
}

/** Where bytes that are no HTTP go from a listener: the last filter, and its cluster. */
async function leadsTo(name: string): Promise<string> {
  const { configs } = JSON.parse(await app.get("/config_dump?resource=dynamic_listeners")) as Listeners;
  const listener = configs.find((it) => it.name === name)?.active_state?.listener;
  const last = (listener?.default_filter_chain ?? listener?.filter_chains?.[0])?.filters.at(-1);
  return `${last?.name} ${last?.typed_config.cluster}`;
}

const SERVICE = "envoy.filters.network.tcp_proxy outbound|20880||greeter.default.svc.cluster.local";
const NOWHERE = "envoy.filters.network.tcp_proxy BlackHoleCluster";

it.each<[object, string[], string, string]>([
  [{ name: "tcp-dubbo" }, [], "10.96.0.10_20880", SERVICE],
  [{ name: "http-dubbo", appProtocol: "tcp" }, [], "10.96.0.10_20880", SERVICE],
  [{ name: "dubbo" }, ["note port_protocol"], "10.96.0.10_20880", SERVICE],
  [{ name: "http-dubbo" }, ["error port_protocol"], "0.0.0.0_20880", NOWHERE],
  [{ name: "tcp-dubbo", appProtocol: "kubernetes.io/h2c" }, ["error port_protocol"], "0.0.0.0_20880", NOWHERE],
])("the protocol of a port: %j", async (port, findings, listener, end) => {
  const objects = cluster(port);
  mesh.set(objects);
  expect(said(model("observe"), objects)).toEqual(findings);
  await eventually(async () => expect(await leadsTo(listener)).toBe(end));
});

it("a headless Service: nothing that is decided changes where a connection goes", async () => {
  const type = async () => {
    const dump = JSON.parse(await app.get("/config_dump?resource=dynamic_active_clusters")) as {
      configs: { cluster: { name: string; type?: string } }[];
    };
    return dump.configs.map((it) => it.cluster).find(({ name }) => name.startsWith("outbound|20880||greeter"))?.type;
  };
  const objects = cluster({ name: "tcp-dubbo" }, { clusterIP: "None", clusterIPs: ["None"] });
  mesh.set(cluster());
  await eventually(async () => expect(await type()).toBe("EDS"));
  const route = model("route", "routes: [{ subset: v1 }]");
  expect(said(route, cluster())).toEqual([]);
  mesh.set(objects);
  await eventually(async () => expect(await type()).toBe("ORIGINAL_DST"));
  expect(said(route, objects)).toEqual(["error headless"]);
});

it("reads of a real API server what that has, and says what it has not", async () => {
  const server = await ApiServer.start();
  try {
    await server.installIstio();
    const cluster = await Cluster.connect({ kubeconfig: await server.kubeconfig() });
    const metadata = { name: "app", namespace: "default" };
    const spec = { workloadSelector: { labels: { app: "app" } }, egress: [{ hosts: ["./*"] }] };
    await cluster.apply({ apiVersion: "networking.istio.io/v1", kind: "Sidecar", metadata, spec } as never);
    const bridge = model("bridge", "", "address: 10.96.0.10");
    const { objects, complete } = await readCluster(cluster, [bridge]);
    const { services, objects: kinds, unknown } = check([bridge], new World(objects, complete));
    expect(services[0]?.findings.map(({ code, object }) => `${code} ${object?.name ?? ""}`)).toEqual([
      "two_sidecars app",
      "other_clients ",
    ]);
    expect(kinds).toEqual({ CustomResourceDefinition: 1, Sidecar: 1 });
    expect(unknown).toEqual(["ConfigMap", "Namespace", "Pod", "Service"]);
  } finally {
    await server.stop();
  }
});
