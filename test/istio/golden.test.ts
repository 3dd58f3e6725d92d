import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import type { IstioObject } from "../../tools/istio/resource.js";
import { Cluster } from "../../tools/kubernetes/client.js";
import { packageRoot } from "../../tools/paths.js";
import { ApiServer } from "./lab/apiserver.js";
import { complaints } from "./lab/istioctl.js";
import type { KubernetesObject } from "./lab/kubernetes.js";

const folder = join(packageRoot, "tools", "istio", "golden");
const names = readdirSync(folder).flatMap((file) => /^(.+)\.meltemi\.yaml$/.exec(file)?.[1] ?? []);

interface Configuration {
  protocol: string;
  mode?: string;
  service: { name: string; subsets?: { name: string; labels?: Record<string, string> }[] };
  istio: {
    service?: string;
    namespace?: string;
    domain?: string;
    ports: { port: number; targetPort?: number }[];
    rateLimitService?: string;
    servers?: { labels?: Record<string, string> };
    clients?: { namespace?: string; labels?: Record<string, string>; targetRefs?: { kind: string; name: string }[] }[];
  };
}

const namespace = (name: string): KubernetesObject => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } });
const labelled = { "istio-injection": "enabled" };

function pod(name: string, at: string, labels: Record<string, string> = { app: name }): KubernetesObject {
  const spec = {
    containers: [
      { name: "main", image: "main" },
      { name: "istio-proxy", image: "proxyv2" },
    ],
  };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: at, labels }, spec };
}

function service(name: string, at: string, selector: object, ports: object[]): KubernetesObject {
  return { apiVersion: "v1", kind: "Service", metadata: { name, namespace: at }, spec: { selector, ports } };
}

/** What a configuration takes for granted: namespaces, pods, Services. */
function cluster({ protocol, mode, service: { name, subsets = [{ name: "v1" }] }, istio }: Configuration) {
  const { service: named = name, namespace: home = "default", servers = {}, clients = [] } = istio;
  const labels = servers.labels ?? { app: named };
  const prefix = mode === "bridge" ? "http2" : "tcp";
  const ports = istio.ports.map(({ port, targetPort = port }) => ({
    name: `${prefix}-${protocol}-${port}`,
    port,
    targetPort,
  }));
  const spaces = new Set([home, ...clients.map((client) => client.namespace ?? home)]);
  const [, counter, counters, counterPort] = /^([^.]+)\.([^.]+)\..*:(\d+)$/.exec(istio.rateLimitService ?? "") ?? [];
  return [
    ...[...spaces].map((space) => ({ ...namespace(space), metadata: { name: space, labels: labelled } })),
    service(named, home, labels, ports),
    ...subsets.map((subset) => pod(subset.name, home, { ...labels, ...(subset.labels ?? { version: subset.name }) })),
    ...clients.flatMap((client, i) =>
      client.targetRefs ? [] : [pod(`client-${i}`, client.namespace ?? home, client.labels ?? { app: "any" })],
    ),
    ...(counter && counters
      ? [namespace(counters), service(counter, counters, {}, [{ name: "grpc", port: Number(counterPort) }])]
      : []),
  ];
}

function read(name: string): string {
  return readFileSync(join(folder, `${name}.yaml`), "utf8");
}

function configuration(name: string): Configuration {
  return parse(read(`${name}.meltemi`));
}

function objects(text: string): KubernetesObject[] {
  const all = parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject);
  expect(all.length).toBeGreaterThan(1);
  return all;
}

/** For `analyze`, which knows no domain of a mesh but the default. */
function inDefaultDomain(text: string, { istio }: Configuration): string {
  return istio.domain === undefined ? text : text.replaceAll(istio.domain, "cluster.local");
}

describe("a golden file", () => {
  let server: ApiServer;
  let api: Cluster;

  beforeAll(async () => {
    server = await ApiServer.start();
    await server.installIstio();
    api = await Cluster.connect({ kubeconfig: await server.kubeconfig() });
  });
  afterAll(() => server?.stop());

  it.each(names)("%s is one that istioctl has nothing against", (name) => {
    const text = inDefaultDomain(read(name), configuration(name));
    expect(complaints([...cluster(configuration(name)), ...objects(text)])).toEqual([]);
  });

  it.each(names)("%s fits the schemas of Istio's kinds, and loses nothing in them", async (name) => {
    for (const object of objects(read(name)) as unknown[] as IstioObject[]) {
      const { spec } = await api.apply(object, { dryRun: true });
      expect(spec).toEqual(object.spec);
    }
  });
});

it("istioctl does look: at fields, and at what routes lead to", () => {
  const wrong = objects(read("bridge")).map((object) => {
    const spec = object.spec as Record<string, unknown>;
    if (object.kind === "WasmPlugin") return { ...object, spec: { ...spec, tipe: "NETWORK" } };
    if (object.kind === "DestinationRule") return { ...object, spec: { ...spec, subsets: [] } };
    return object;
  });
  const found = complaints([...cluster(configuration("bridge")), ...wrong]);
  for (const complaint of ['unknown field "tipe"', 'not found: "greeter.shop.svc.cluster.local+v2"'])
    expect(found).toContainEqual(expect.stringContaining(complaint));
});
