import type { Istio } from "../model/istio/schema.js";
import type { Model } from "../model/schema.js";
import { INSTANCE, type IstioObject, MANAGED_BY, type Resource } from "./resource.js";

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

/** `greeter.shop`: the service across namespaces. Ends the name of each of its resources, and is their instance. */
export function serviceName({ service, istio }: MeshModel): string {
  return `${istio.service ?? service.name}.${istio.namespace}`;
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

/** Each with a name for its resources: `clients`, and `clients-2` where there are more in the same namespace. */
export function clients({ istio }: MeshModel): (Workloads & { suffix: string })[] {
  const seen = new Map<string, number>();
  return (istio.clients ?? []).map(({ namespace = istio.namespace, labels, targetRefs }) => {
    const count = (seen.get(namespace) ?? 0) + 1;
    seen.set(namespace, count);
    return { namespace, labels, targetRefs, suffix: count === 1 ? "" : `-${count}` };
  });
}

/** An object of ours, with the labels that Kubernetes recommends. */
export function resource(
  model: MeshModel,
  at: { apiVersion: string; kind: string; name: string; namespace: string; component: string; why: string },
  spec: Record<string, unknown>,
): Resource {
  const { apiVersion, kind, name, namespace, component, why } = at;
  const { revision } = model.istio;
  const object: IstioObject = {
    apiVersion,
    kind,
    metadata: {
      name: name === "" ? serviceName(model) : `${name}.${serviceName(model)}`,
      namespace,
      labels: {
        "app.kubernetes.io/name": "meltemi",
        [INSTANCE]: serviceName(model),
        "app.kubernetes.io/component": component,
        [MANAGED_BY]: "meltemi",
        ...(revision !== undefined && { "istio.io/rev": revision }),
      },
    },
    spec,
  };
  return { object, why };
}

export function seconds(milliseconds: number): string {
  return `${milliseconds / 1000}s`;
}
