import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { loadFor } from "../configuration.js";
import { LABELS } from "../envoy/bootstrap.js";
import { clients, type MeshModel, portPrefix, serverLabels } from "../istio/mesh.js";
import { defaultModule, packageRoot } from "../paths.js";
import type { Finding } from "./finding.js";
import type { Rule } from "./rule.js";
import { type Found, type Loose, placed, World } from "./world.js";

/** One of the configurations in tools/istio/golden. */
export async function golden(name: string): Promise<MeshModel> {
  const model = await loadFor(defaultModule, join(packageRoot, "tools", "istio", "golden", `${name}.meltemi.yaml`));
  if (!model.istio) throw new Error(`${name} has no istio`);
  return { ...model, istio: model.istio };
}

/** Several of them. */
export async function goldens<const Names extends readonly string[]>(
  ...names: Names
): Promise<{ [Index in keyof Names]: MeshModel }> {
  return (await Promise.all(names.map(golden))) as { [Index in keyof Names]: MeshModel };
}

/** The same configuration with other words in its `istio`. */
export function withIstio(model: MeshModel, istio: Partial<MeshModel["istio"]>): MeshModel {
  return { ...model, istio: { ...model.istio, ...istio } };
}

/** Objects of YAML. */
export function objects(yaml: string): Found[] {
  return parseAllDocuments(yaml).map((document) => placed(document.toJS()));
}

/** A mesh in which everything is as the configuration needs it. */
export function goodWorld(model: MeshModel): Found[] {
  const { istio, service } = model;
  const { namespace, ports, servers, revision } = istio;
  const namespaces = [...new Set([namespace, ...clients(model).map((each) => each.namespace)])];
  const prefix = portPrefix(model);
  const clusterIP = istio.address?.startsWith("127.") ? "10.96.0.99" : (istio.address ?? "10.96.0.10");
  const labels = serverLabels(model);
  const versions = service.subsets?.map((subset) => subset.labels ?? { version: subset.name }) ?? [{}];
  return [
    ...namespaces.map((name) =>
      object("v1", "Namespace", name, undefined, { metadata: { labels: injected(revision) } }),
    ),
    object("v1", "Service", istio.service ?? service.name, namespace, {
      spec: {
        clusterIP,
        clusterIPs: [clusterIP],
        selector: labels,
        ports: ports.map(({ port, targetPort = port }) => ({ name: `${prefix}-${port}`, port, targetPort })),
      },
    }),
    ...versions.map((more, i) =>
      deployment(
        `server-${i + 1}`,
        namespace,
        { ...labels, ...more },
        ports.map(({ port, targetPort = port }) => targetPort),
      ),
    ),
    ...clients(model).flatMap((each, i) =>
      each.targetRefs
        ? each.targetRefs.map(({ kind, name }) => object("gateway.networking.k8s.io/v1", kind, name, each.namespace))
        : [deployment(`client-${i + 1}`, each.namespace, { app: "some-client", ...each.labels })],
    ),
    ...(servers.targetRefs ?? [])
      .map(({ kind, name }) => object("v1", kind, name, namespace))
      .filter(({ kind }) => kind !== "Service"),
    ...(istio.pullSecret === undefined
      ? []
      : namespaces.map((at) =>
          object("v1", "Secret", istio.pullSecret as string, at, { type: "kubernetes.io/dockerconfigjson" }),
        )),
    object("apps/v1", "Deployment", "istiod", "istio-system", {
      metadata: { labels: { app: "istiod", "istio.io/rev": revision ?? "default" } },
      spec: {
        template: {
          spec: { containers: [{ name: "discovery", image: `docker.io/istio/pilot:1.${istio.version}.1` }] },
        },
      },
    }),
    object(
      "apiextensions.k8s.io/v1",
      "CustomResourceDefinition",
      `${istio.kind.toLowerCase()}s.extensions.istio.io`,
      undefined,
    ),
    object("v1", "ConfigMap", revision === undefined ? "istio" : `istio-${revision}`, "istio-system", {
      data: { mesh: JSON.stringify({ defaultConfig: { extraStatTags: LABELS } }) },
    }),
  ];
}

function injected(revision: string | undefined): Record<string, string> {
  return revision === undefined ? { "istio-injection": "enabled" } : { "istio.io/rev": revision };
}

function object(
  apiVersion: string,
  kind: string,
  name: string,
  namespace: string | undefined,
  more: Loose = {},
): Found {
  return placed({
    apiVersion,
    kind,
    ...more,
    metadata: { name, ...(namespace !== undefined && { namespace }), ...more.metadata },
  });
}

function deployment(name: string, namespace: string, labels: Record<string, string>, ports: number[] = []): Found {
  const containers = [{ name: "main", image: "main", ports: ports.map((containerPort) => ({ containerPort })) }];
  return object("apps/v1", "Deployment", name, namespace, {
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  });
}

/** Changes one object of a mesh. */
export function change(world: readonly Found[], kind: string, name: string, body: (object: Loose) => void): Found[] {
  const copy = structuredClone([...world]);
  const found = copy.filter((it) => it.kind === kind && it.metadata.name === name);
  if (found.length === 0) throw new Error(`no ${kind} ${name} in this world`);
  for (const it of found) body(it);
  return copy;
}

/** What a rule says of a mesh. */
export function ask(rule: Rule, model: MeshModel, world: readonly Found[], models = [model]): Finding[] {
  return rule({ model, models, world: World.ofFiles(world) });
}

/** The same as `SEVERITY CODE`. */
export function codes(rule: Rule, model: MeshModel, world: readonly Found[], models = [model]): string[] {
  return ask(rule, model, world, models).map(({ severity, code }) => `${severity} ${code}`);
}
