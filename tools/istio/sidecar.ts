import { isDeepStrictEqual } from "node:util";
import { UserError } from "../errors.js";
import { selects } from "../model/istio/schema.js";
import { type IstioObject, type Resource, SERVES, servedBy, setOf } from "./resource.js";

/*
 * Only one Sidecar counts for a pod. What this tool needs of it has to stand in the one that is there already.
 */

/** Namespace whose Sidecar without a selector counts for the whole mesh, unless MeshConfig names another. */
export const ROOT_NAMESPACE = "istio-system";

interface Listener {
  port?: { number: number; protocol?: string; name?: string };
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
 * Joins Sidecars for the same pods; what is for all pods of a namespace also stands in those for some of them. Of
 * `existing`, those for the very same pods get our entries and stay the user's: they keep their names and labels. Those for
 * all pods are what ours start from.
 * @throws UserError `E_SIDECAR` where two would count for the same pods, or have something else on the same port
 */
export function mergeSidecars(resources: readonly Resource[], existing: readonly IstioObject[] = []): Resource[] {
  const instances = new Set(resources.flatMap(({ object }) => setOf(object) ?? []));
  const others = existing.filter((object) => object.kind === "Sidecar" && !instances.has(setOf(object) ?? ""));
  const merged: Resource[] = [];
  for (const resource of resources) {
    const same = merged.findIndex(({ object }) => isSidecar(resource.object) && samePods(object, resource.object));
    const earlier = merged[same];
    if (earlier) merged[same] = joined(earlier, resource);
    else merged.push(resource);
  }
  const ours = merged.filter(({ object }) => isSidecar(object));
  refuseRivals(ours);
  // Pods that have a Sidecar of their own do not heed the one for all.
  const forAll = ({ metadata: { namespace } }: IstioObject) =>
    ours.find(({ object }) => object.metadata.namespace === namespace && !selector(object));
  const complete = merged.map((resource) => {
    const { object } = resource;
    if (!isSidecar(object)) return resource;
    const more = selector(object) && forAll(object);
    return intoExisting(more ? joined(resource, more) : resource, others);
  });
  const rest = others.filter((object) => selector(object) && !ours.some((it) => samePods(it.object, object)));
  const added = rest.flatMap((object) => {
    const more = forAll(object);
    return more ? [intoTheirs(object, more)] : [];
  });
  return [...complete, ...added];
}

/**
 * Those of `existing` that count for pods of ours, or did so far: without being joined, one of the two would be lost.
 * @throws UserError `E_SIDECAR` where they cannot be joined either
 */
export function rivals(resources: readonly Resource[], existing: readonly IstioObject[]): string[] {
  const alone = mergeSidecars(resources);
  return existing.filter((sidecar) => !isDeepStrictEqual(mergeSidecars(resources, [sidecar]), alone)).map(title);
}

function isSidecar({ kind }: IstioObject): boolean {
  return kind === "Sidecar";
}

function specOf({ spec }: IstioObject): SidecarSpec {
  return spec as SidecarSpec;
}

/** Undefined where it is for all pods of its namespace. */
function selector(object: IstioObject): Record<string, string> | undefined {
  const { labels = {} } = specOf(object).workloadSelector ?? {};
  return Object.keys(labels).length > 0 ? labels : undefined;
}

function samePods(a: IstioObject, b: IstioObject): boolean {
  if (a.kind !== b.kind) return false;
  return a.metadata.namespace === b.metadata.namespace && isDeepStrictEqual(selector(a), selector(b));
}

/** Whether one of the two certainly selects pods of the other. What a selector for all pods leaves over is nobody's. */
function mayMeet(a: IstioObject, b: IstioObject): boolean {
  const [left, right] = [selector(a), selector(b)];
  if (a.metadata.namespace !== b.metadata.namespace || !left || !right) return false;
  return selects(left, right) || selects(right, left);
}

function refuseRivals(sidecars: readonly Resource[]): void {
  for (const [i, { object }] of sidecars.entries()) {
    const rival = sidecars.slice(i + 1).find((it) => mayMeet(object, it.object));
    if (rival) throw tooMany(object, rival.object);
  }
}

function intoExisting(ours: Resource, others: readonly IstioObject[]): Resource {
  const { object } = ours;
  const same = others.find((other) => samePods(other, object));
  if (same) return intoTheirs(same, ours);
  const rival = others.find((other) => mayMeet(other, object));
  if (rival) throw tooMany(rival, object);
  if (!selector(object)) return ours;
  const forAll = (namespace: string) =>
    others.find((other) => other.metadata.namespace === namespace && !selector(other));
  const base = forAll(object.metadata.namespace) ?? forAll(ROOT_NAMESPACE);
  if (!base) return ours;
  const why = `${ours.why} Everything else is as in ${title(base)}, which no longer counts for these pods.`;
  const { workloadSelector } = specOf(object);
  return { object: { ...object, spec: { workloadSelector, ...withOurs(base, object) } }, why };
}

function intoTheirs(theirs: IstioObject, ours: Resource): Resource {
  const set = setOf(theirs);
  if (set !== undefined) throw anotherSet(theirs, set);
  const why = `Your Sidecar ${theirs.metadata.name}, with what is needed here. ${ours.why}`;
  return { object: { ...bare(theirs), spec: withOurs(theirs, ours.object) }, why };
}

/** Ours take the place of entries for the same port: they may be our own of another time. */
function withOurs(theirs: IstioObject, ours: IstioObject): Record<string, unknown> {
  const gives = (entry: Listener, other: Listener) => entry.bind === undefined || entry.bind === other.bind;
  return joinedSpec(theirs, ours, gives);
}

/** Two of ours; the first one's name and pods stay. */
function joined(first: Resource, second: Resource): Resource {
  const [owner, guest] = [setOf(first.object), setOf(second.object)];
  const shared =
    owner === guest ? "" : ` It is of ${owner} and serves ${guest} too: delete both, or apply ${guest} again.`;
  const why = [...new Set([first.why, second.why])].join(" ") + shared;
  const all = [...new Set([...servedBy(first.object), ...servedBy(second.object)])].sort();
  const annotations = { ...first.object.metadata.annotations, [SERVES]: all.join(" ") };
  const metadata = { ...first.object.metadata, ...(all.length > 1 && { annotations }) };
  return { object: { ...first.object, metadata, spec: joinedSpec(first.object, second.object, alike) }, why };
}

/** The same but for the name, which nobody looks at. Listeners of clients never are: each is for another Service. */
function alike({ port: left, ...a }: Listener, { port: right, ...b }: Listener): boolean {
  return a.defaultEndpoint !== undefined && left?.protocol === right?.protocol && isDeepStrictEqual(a, b);
}

/** `gives` says whether an entry may give way to one of `more` for the same port, of which Istio takes only one. */
function joinedSpec(
  base: IstioObject,
  more: IstioObject,
  gives: (entry: Listener, other: Listener) => boolean,
): Record<string, unknown> {
  const entries = (side: "ingress" | "egress") => {
    const [theirs, ours] = [specOf(base)[side] ?? [], specOf(more)[side] ?? []];
    const kept = theirs.filter((entry) => {
      const other = ours.find(({ port }) => port && port.number === entry.port?.number);
      if (other && !gives(entry, other)) throw samePort(base, more, entry, other);
      return !other;
    });
    const isLast = ({ port }: Listener) => port === undefined;
    const all = [...kept, ...ours];
    return [...all.filter((entry) => !isLast(entry)), ...all.filter(isLast).slice(0, 1)];
  };
  const { workloadSelector, ingress: _, egress: __, ...others } = specOf(base);
  const [ingress, egress] = [entries("ingress"), entries("egress")];
  return {
    ...(selector(base) && { workloadSelector }),
    ...(ingress.length > 0 && { ingress }),
    ...(egress.length > 0 && { egress }),
    ...others,
  };
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

function samePort(base: IstioObject, more: IstioObject, theirs: Listener, ours: Listener): UserError {
  const what = ({ bind, defaultEndpoint, port }: Listener) =>
    [port?.protocol, bind, defaultEndpoint === undefined ? undefined : `to ${defaultEndpoint}`]
      .filter(Boolean)
      .join(" ");
  const message =
    `the Sidecars ${title(base)} and ${title(more)} are for the same pods, and have port ${ours.port?.number} for ` +
    `different things (${what(theirs)}; ${what(ours)})`;
  const hint = "A Sidecar has each port number only once: give one of the Services another port.";
  return new UserError("E_SIDECAR", message, { hint });
}
