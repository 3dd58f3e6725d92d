import { type Found, list, type Workload, type World } from "./world.js";

/** Whether a proxy stands beside the containers of a pod, or will; `why` where it does not. */
export type Injection = { proxy: true } | { proxy: false; certain: boolean; why: string } | { proxy: "unknown" };

const INJECT = "sidecar.istio.io/inject";
const DATAPLANE = "istio.io/dataplane-mode";

/** By what is there for pods that run, else by what Istio's webhook decides by. */
export function injection(workload: Workload, world: World): Injection {
  const { labels, annotations, spec, running, namespace } = workload;
  const containers = [...list(spec.containers), ...list(spec.initContainers)];
  if (containers.some((container) => container?.name === "istio-proxy")) return { proxy: true };
  const space = world.find("Namespace", namespace);
  const ambient = (labels[DATAPLANE] ?? space?.metadata.labels?.[DATAPLANE]) === "ambient";
  const no = (why: string, certain = true): Injection => ({ proxy: false, certain: certain || running, why });
  if (ambient) return no("it is in an ambient mesh, whose ztunnel takes no extensions");
  if (spec.hostNetwork) return no("Istio gives none to pods in the network of their node");
  const asked = labels[INJECT] ?? annotations[INJECT];
  if (asked === "false") return no(`${INJECT} is false`);
  if (running) return no("it was started without one");
  return decided(space, labels) ?? { proxy: "unknown" };
}

/** By the labels of a namespace, and those of the pod. */
function decided(space: Found | undefined, labels: Record<string, string>): Injection | undefined {
  const { "istio-injection": switched, "istio.io/rev": revision } = space?.metadata.labels ?? {};
  if (switched === "enabled" || (switched === undefined && revision !== undefined)) return { proxy: true };
  if (!space) return undefined;
  const name = space.metadata.name;
  if (switched !== undefined)
    return { proxy: false, certain: true, why: `namespace ${name} has istio-injection: ${switched}` };
  if (labels[INJECT] === "true" || labels["istio.io/rev"] !== undefined) return { proxy: true };
  return {
    proxy: false,
    certain: false,
    why: `namespace ${name} has no label istio-injection: enabled or istio.io/rev`,
  };
}

/** The revision of Istio whose proxies pods of a namespace get; undefined where none is named. */
export function revisionOf(space: Found | undefined): string | undefined {
  const { "istio-injection": switched, "istio.io/rev": revision } = space?.metadata.labels ?? {};
  return switched === "enabled" ? "default" : switched === undefined ? revision : undefined;
}
