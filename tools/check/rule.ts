import { clients, host, type MeshModel, serverLabels, serviceName } from "../istio/mesh.js";
import { error, type Finding, warning } from "./finding.js";
import { type Found, isOurs, type Kind, type Selection, type World } from "./world.js";

/** One configuration, and the mesh that it is for. */
export interface Subject {
  model: MeshModel;
  /** All that are shipped together, with this one among them. */
  models: readonly MeshModel[];
  world: World;
}

/** Says nothing where it cannot know. */
export type Rule = (subject: Subject) => Finding[];

/** What a failure means: in mode observe requests are not counted, elsewhere they do not arrive. */
export function failure({ mode }: MeshModel): typeof error {
  return mode === "observe" ? warning : error;
}

/** The Service of the configuration. */
export function serviceOf({ model, world }: Subject): Found | undefined {
  const { istio, service } = model;
  return world.find("Service", istio.service ?? service.name, istio.namespace);
}

/** The servers' pods; nothing where the module runs in a waypoint. */
export function serverPods(model: MeshModel): Selection[] {
  const { servers, namespace } = model.istio;
  return servers.targetRefs ? [] : [{ namespace, labels: serverLabels(model) }];
}

/** The clients' pods, an entry for each of istio.clients that has pods. */
export function clientPods(model: MeshModel): Selection[] {
  return clients(model).filter(({ targetRefs }) => !targetRefs);
}

/** Where the module runs. */
export function namespacesOf(model: MeshModel): string[] {
  return [...new Set([model.istio.namespace, ...clients(model).map(({ namespace }) => namespace)])];
}

export type Side = "clients" | "servers";

/** Whose pods the module runs beside. */
export function sides(model: MeshModel): (Selection & { side: Side })[] {
  return [
    ...serverPods(model).map((pods) => ({ ...pods, side: "servers" as const })),
    ...clientPods(model).map((pods) => ({ ...pods, side: "clients" as const })),
  ];
}

/** Objects that were written for none of these configurations. */
export function others({ models, world }: Subject, kind: Kind, namespace?: string): Found[] {
  const services = models.map(serviceName);
  return world.of(kind, namespace).filter((object) => !isOurs(object, services));
}

/** A host as Istio reads it in an object of some namespace: a name without a dot is one of that namespace. */
function fullHost(name: string, namespace: string, domain: string): string {
  return name.includes(".") || name === "*" ? name : `${name}.${namespace}.svc.${domain}`;
}

/** Whether a host in an object, perhaps with a `*` in front, is that of the configuration. */
export function isHost(model: MeshModel, name: unknown, namespace: string, { wildcards = false } = {}): boolean {
  const full = fullHost(String(name), namespace, model.istio.domain);
  if (full === host(model)) return true;
  return wildcards && full.startsWith("*") && host(model).endsWith(full.slice(1));
}
