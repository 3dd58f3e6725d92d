import { createHash } from "node:crypto";
import type { Istio } from "../model/istio/schema.js";
import type { Model } from "../model/schema.js";
import type { Address } from "../model/units.js";
import {
  API_VERSIONS,
  COMPONENT,
  INSTANCE,
  type IstioObject,
  MANAGED_BY,
  type Resource,
  type WrittenKind,
} from "./resource.js";

/** A meltemi.yaml that says where in a mesh its service is. */
export type MeshModel = Model & { istio: Istio };

/** What a configuration looks like from the mesh: names and numbers that several resources share. */
export interface Target {
  model: MeshModel;
  /** `oci://HOST/REPOSITORY@sha256:DIGEST` */
  url: string;
}

/** The name by which clients in the mesh know the service. */
export function host({ service, istio }: MeshModel): string {
  return `${istio.service ?? service.name}.${istio.namespace}.svc.${istio.domain}`;
}

/**
 * `greeter.shop`: the service across namespaces. Ends the name of each of its resources, and is their instance: so it is as
 * short as the value of a label, and where the two names are too long for that the end of it tells them apart.
 */
export function serviceName({ service, istio }: MeshModel): string {
  return instanceName(`${istio.service ?? service.name}.${istio.namespace}`);
}

/** The same for a service that is known by name alone. */
export function instanceName(name: string): string {
  if (name.length <= LABEL_MAX) return name;
  return `${name.slice(0, LABEL_MAX - 9)}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
}

/** Characters in the value of a label. */
const LABEL_MAX = 63;

/** What istiod calls the cluster of a Service's port, and of a subset of it. */
export function outboundCluster({ host: name, port }: Address, subset = ""): string {
  return `outbound|${port}|${subset}|${name}`;
}

/** Labels of the servers' pods. */
export function serverLabels({ service, istio }: MeshModel): Record<string, string> {
  return istio.servers.labels ?? { app: istio.service ?? service.name };
}

/** How a port's name begins that has Istio treat it as this mode needs. */
export function portPrefix({ mode, heartbeats }: MeshModel): "tcp" | "http2" | "http" {
  return mode !== "bridge" ? "tcp" : heartbeats ? "http2" : "http";
}

/** Workloads of one namespace. */
export interface Workloads {
  namespace: string;
  /** Undefined for all of them. */
  labels?: Record<string, string> | undefined;
  targetRefs?: { kind: string; name: string }[] | undefined;
}

export function servers(model: MeshModel): Workloads {
  const { targetRefs } = model.istio.servers;
  const { namespace } = model.istio;
  return targetRefs ? { namespace, targetRefs } : { namespace, labels: serverLabels(model) };
}

/**
 * Each with an ending for the names of its resources: what selects it, so that a client that is added changes nothing for
 * the others; and a number where that is not enough.
 */
export function clients({ istio }: MeshModel): (Workloads & { suffix: string })[] {
  const taken = new Set<string>();
  return (istio.clients ?? []).map(({ namespace = istio.namespace, labels = {}, targetRefs = [] }) => {
    const values = Object.keys(labels)
      .sort()
      .map((key) => labels[key]);
    const words = [...values, ...targetRefs.map(({ name }) => name)].join("-").toLowerCase().slice(0, LABEL_MAX);
    const suffix = words === "" ? "" : `-${words.replace(/[^a-z0-9]+/g, "-").replace(/-$/, "")}`;
    let own = suffix;
    for (let i = 2; taken.has(`${namespace}/${own}`); i++) own = `${suffix}-${i}`;
    taken.add(`${namespace}/${own}`);
    return {
      namespace,
      ...(values.length > 0 && { labels }),
      ...(targetRefs.length > 0 && { targetRefs }),
      suffix: own,
    };
  });
}

/** What selects workloads, as extensions and EnvoyFilters of gateways and waypoints say it. */
export function targetRefsOf({ targetRefs }: Workloads) {
  return targetRefs?.map(({ kind, name }) => ({ group: groupOf(kind), kind, name }));
}

function groupOf(kind: string): string {
  if (kind === "ServiceEntry") return "networking.istio.io";
  return kind === "Service" ? "" : "gateway.networking.k8s.io";
}

/** An object of ours, with the labels that Kubernetes recommends. */
export function resource(
  model: MeshModel,
  at: { kind: WrittenKind; name: string; namespace: string; component: string; why: string },
  spec: Record<string, unknown>,
): Resource {
  const { kind, name, namespace, component, why } = at;
  const { revision } = model.istio;
  const object: IstioObject = {
    apiVersion: API_VERSIONS[kind],
    kind,
    metadata: {
      name: name === "" ? serviceName(model) : `${name}.${serviceName(model)}`,
      namespace,
      labels: {
        "app.kubernetes.io/name": "meltemi",
        [INSTANCE]: serviceName(model),
        [COMPONENT]: component,
        [MANAGED_BY]: "meltemi",
        ...(revision !== undefined && { "istio.io/rev": revision }),
      },
    },
    spec,
  };
  return { object, why };
}
