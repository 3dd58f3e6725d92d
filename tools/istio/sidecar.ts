import { isDeepStrictEqual } from "node:util";
import { UserError } from "../errors.js";
import { INSTANCE, type IstioObject, MANAGED_BY, type Resource } from "./resource.js";

/*
 * Only one Sidecar counts for a pod. What this tool needs of it has to stand in the one that is there already.
 */

/** Namespace whose Sidecar without a selector counts for the whole mesh, unless MeshConfig names another. */
export const ROOT_NAMESPACE = "istio-system";

interface Listener {
  port?: { number: number };
  bind?: string;
  [field: string]: unknown;
}

interface SidecarSpec {
  workloadSelector?: { labels: Record<string, string> };
  ingress?: Listener[];
  egress?: Listener[];
  [field: string]: unknown;
}

/**
 * Joins Sidecars for the same pods. Of `existing`, Sidecars for the very same pods get our entries and stay the user's:
 * they keep their names and labels. Those for all pods of a namespace are what ours start from.
 * @throws UserError `E_SIDECAR` where two would count for the same pods
 */
export function mergeSidecars(resources: readonly Resource[], existing: readonly IstioObject[] = []): Resource[] {
  const instances = new Set(resources.map(({ object }) => object.metadata.labels?.[INSTANCE]));
  const others = existing.filter(({ kind, metadata }) => {
    const own = metadata.labels?.[MANAGED_BY] === "meltemi" && instances.has(metadata.labels[INSTANCE]);
    return kind === "Sidecar" && !own;
  });
  const merged: Resource[] = [];
  for (const resource of resources) {
    const same = merged.findIndex(
      ({ object }) => isSidecar(resource) && object.kind === "Sidecar" && samePods(object, resource.object),
    );
    const earlier = merged[same];
    if (!isSidecar(resource)) merged.push(resource);
    else if (earlier) merged[same] = joined(earlier, resource);
    else merged.push(intoExisting(resource, others));
  }
  for (const [i, { object }] of merged.entries()) {
    const rival = merged
      .slice(i + 1)
      .find((it) => isSidecar(it) && object.kind === "Sidecar" && mayMeet(object, it.object));
    if (rival) throw tooMany(object, rival.object);
  }
  return merged;
}

function isSidecar({ object }: Resource): boolean {
  return object.kind === "Sidecar";
}

function specOf({ spec }: IstioObject): SidecarSpec {
  return spec as SidecarSpec;
}

function selector(object: IstioObject): Record<string, string> | undefined {
  return specOf(object).workloadSelector?.labels;
}

function samePods(a: IstioObject, b: IstioObject): boolean {
  return a.metadata.namespace === b.metadata.namespace && isDeepStrictEqual(selector(a), selector(b));
}

/** Whether one of the two certainly selects pods of the other. What a selector for all pods leaves over is nobody's. */
function mayMeet(a: IstioObject, b: IstioObject): boolean {
  const [left, right] = [selector(a), selector(b)];
  if (a.metadata.namespace !== b.metadata.namespace || !left || !right) return false;
  const within = (some: Record<string, string>, all: Record<string, string>) =>
    Object.entries(some).every(([key, value]) => all[key] === value);
  return within(left, right) || within(right, left);
}

function intoExisting(ours: Resource, others: readonly IstioObject[]): Resource {
  const { object } = ours;
  const same = others.find((other) => samePods(other, object));
  if (same) {
    const { name } = same.metadata;
    const set = same.metadata.labels?.[MANAGED_BY] === "meltemi" ? same.metadata.labels[INSTANCE] : undefined;
    if (set !== undefined) throw anotherSet(same, set);
    const why = `Your Sidecar ${name}, with what is needed here. ${ours.why}`;
    return { object: { ...bare(same), spec: joinedSpec(specOf(same), specOf(object)) }, why };
  }
  const rival = others.find((other) => mayMeet(other, object));
  if (rival) throw tooMany(rival, object);
  if (!selector(object)) return ours;
  const forAll = (namespace: string) =>
    others.find((other) => other.metadata.namespace === namespace && !selector(other));
  const base = forAll(object.metadata.namespace) ?? forAll(ROOT_NAMESPACE);
  if (!base) return ours;
  const { namespace, name } = base.metadata;
  const why = `${ours.why} Everything else is as in ${namespace}/${name}, which no longer counts for these pods.`;
  return { object: { ...object, spec: joinedSpec(specOf(base), specOf(object)) }, why };
}

function joined(first: Resource, second: Resource): Resource {
  const whys = first.why === second.why ? first.why : `${first.why} ${second.why}`;
  return { object: { ...first.object, spec: joinedSpec(specOf(first.object), specOf(second.object)) }, why: whys };
}

function joinedSpec(base: SidecarSpec, more: SidecarSpec): Record<string, unknown> {
  const { workloadSelector, ingress: moreIngress = [], egress: moreEgress = [] } = more;
  const { workloadSelector: _, ingress = [], egress = [], ...rest } = base;
  const isLast = ({ port }: Listener) => port === undefined;
  const last = [...egress, ...moreEgress].filter(isLast).slice(0, 1);
  const named = [...without(egress, moreEgress), ...moreEgress].filter((listener) => !isLast(listener));
  const inbound = [...without(ingress, moreIngress), ...moreIngress];
  return {
    ...(workloadSelector && { workloadSelector }),
    ...(inbound.length > 0 && { ingress: inbound }),
    ...(egress.length + moreEgress.length > 0 && { egress: [...named, ...last] }),
    ...rest,
  };
}

/** Entries for other ports: Istio takes one for each. */
function without(listeners: readonly Listener[], taken: readonly Listener[]): Listener[] {
  return listeners.filter(({ port }) => port === undefined || !taken.some((it) => it.port?.number === port.number));
}

/** Without what the server has added. */
function bare({ apiVersion, kind, metadata, spec }: IstioObject): IstioObject {
  const { name, namespace, labels, annotations = {} } = metadata;
  const { "kubectl.kubernetes.io/last-applied-configuration": _, ...notes } = annotations;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      namespace,
      ...(labels && { labels }),
      ...(Object.keys(notes).length > 0 && { annotations: notes }),
    },
    spec,
  };
}

function title({ metadata }: IstioObject): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function tooMany(a: IstioObject, b: IstioObject): UserError {
  const labels = (object: IstioObject) => JSON.stringify(selector(object));
  const message = `the Sidecars ${title(a)} (${labels(a)}) and ${title(b)} (${labels(b)}) select some of the same pods`;
  const hint = "Istio heeds only one Sidecar for each pod. Use the same labels in both, so that they can be joined.";
  return new UserError("E_SIDECAR", message, { hint });
}

function anotherSet(object: IstioObject, set: string): UserError {
  const message = `the Sidecar ${title(object)} for the same pods belongs to ${set}, which was applied by this tool as well`;
  const hint = "Give both files to one command, so that they share a Sidecar: meltemi apply ONE.yaml OTHER.yaml";
  return new UserError("E_SIDECAR", message, { hint });
}
