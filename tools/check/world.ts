import { parse } from "yaml";
import { setOf } from "../istio/resource.js";
import { ROOT_NAMESPACE } from "../istio/sidecar.js";
import type { LiveObject } from "../kubernetes/client.js";
import { nameOf } from "../kubernetes/problem.js";
import { selects } from "../model/istio/schema.js";

/*
 * What a mesh consists of, wherever it was read: Kubernetes' objects, and questions about them.
 */

/** What is looked at, by API group; the version of an API makes no difference here. */
const GROUPS = {
  ConfigMap: "",
  Namespace: "",
  Pod: "",
  Secret: "",
  Service: "",
  DaemonSet: "apps",
  Deployment: "apps",
  ReplicaSet: "apps",
  StatefulSet: "apps",
  CronJob: "batch",
  Job: "batch",
  MutatingWebhookConfiguration: "admissionregistration.k8s.io",
  CustomResourceDefinition: "apiextensions.k8s.io",
  TrafficExtension: "extensions.istio.io",
  WasmPlugin: "extensions.istio.io",
  Gateway: "gateway.networking.k8s.io",
  GatewayClass: "gateway.networking.k8s.io",
  DestinationRule: "networking.istio.io",
  ServiceEntry: "networking.istio.io",
  Sidecar: "networking.istio.io",
  VirtualService: "networking.istio.io",
  AuthorizationPolicy: "security.istio.io",
  PeerAuthentication: "security.istio.io",
} as const;
export type Kind = keyof typeof GROUPS;

/** Kinds whose objects have no namespace. */
const CLUSTER_WIDE: readonly string[] = [
  "CustomResourceDefinition",
  "GatewayClass",
  "MutatingWebhookConfiguration",
  "Namespace",
];

/** Kinds of which pods are made. */
const CONTROLLERS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"] as const;

/** Which object, and where it was read. */
export interface Place {
  kind: string;
  namespace?: string;
  name: string;
  /** Missing where it was read from a cluster. */
  file?: string;
  /** From 1. */
  line?: number;
}

/** A part of a manifest, which may be anything that somebody has written. */
// biome-ignore lint/suspicious/noExplicitAny: rules look for what they know, and take nothing else for granted
export type Loose = any;

/** An object as it was read, with a namespace if its kind has one; what is null is not there. */
export type Found = LiveObject & { spec?: Loose; data?: Loose; type?: Loose; source?: Pick<Place, "file" | "line"> };

type Labels = Record<string, string>;

/** What runs, or would: a pod, or the template of pods. */
export interface Workload {
  /** The pod's controller as far as it is known: what a person would edit. */
  place: Place;
  namespace: string;
  labels: Labels;
  annotations: Labels;
  /** Of the pod. */
  spec: Loose;
  /** A real pod, which is as it is; what becomes of a template is still to be decided. */
  running: boolean;
}

/** Pods of one namespace; all of them where there are no labels. */
export interface Selection {
  namespace: string;
  labels?: Labels | undefined;
}

export class World {
  private readonly all: readonly Found[];
  private readonly asked = new Set<string>();
  private cachedWorkloads: readonly Workload[] | undefined;

  /**
   * @param complete whether all objects of a kind (in a namespace, where it has any) are known, so that what is not among
   *   them does not exist
   */
  constructor(
    objects: readonly Found[],
    private readonly complete: (kind: Kind, namespace: string | undefined) => boolean,
  ) {
    const seen = new Map<string, Found>();
    for (const object of objects) if (groupOf(object) === GROUPS[object.kind as Kind]) seen.set(title(object), object);
    this.all = [...seen.values()];
  }

  /** Of files: where there is one of a kind, the others are expected beside it. */
  static ofFiles(objects: readonly Found[]): World {
    return new World(objects, coverage(objects));
  }

  get objects(): readonly Found[] {
    return this.all;
  }

  /** Kinds that a rule would have needed and that are not known. */
  get missed(): string[] {
    return [...this.asked].sort();
  }

  of(kind: Kind, namespace?: string): Found[] {
    return this.all.filter(
      (object) => object.kind === kind && (namespace === undefined || object.metadata.namespace === namespace),
    );
  }

  find(kind: Kind, name: string, namespace?: string): Found | undefined {
    return this.of(kind, namespace).find(({ metadata }) => metadata.name === name);
  }

  /** Whether the absence of an object means anything. Remembers where it does not. */
  knows(kind: Kind, namespace?: string): boolean {
    const known = this.complete(kind, namespace);
    if (!known) this.asked.add(kind);
    return known;
  }

  /** Everything that pods are made of; templates only where none of their pods is known. */
  get workloads(): readonly Workload[] {
    this.cachedWorkloads ??= this.readWorkloads();
    return this.cachedWorkloads;
  }

  private readWorkloads(): Workload[] {
    const pods = this.of("Pod").filter(({ status }) => !/^(Succeeded|Failed)$/.test(phase(status)));
    const running = pods.map((pod): Workload => ({ ...workload(pod, pod), place: ownerOf(pod), running: true }));
    const owners = new Set(running.map(({ place: { kind, namespace, name } }) => `${kind}/${namespace}/${name}`));
    const templates = CONTROLLERS.flatMap((kind) => this.of(kind))
      .filter(({ kind, metadata }) => !owners.has(`${kind}/${metadata.namespace}/${metadata.name}`))
      .map((object): Workload => ({ ...workload(object, templateOf(object)), place: placeOf(object), running: false }));
    return [...running, ...templates];
  }

  selected({ namespace, labels }: Selection): Workload[] {
    return this.workloads.filter((it) => it.namespace === namespace && selects(labels, it.labels));
  }

  /** Whether the workloads of a namespace are known. */
  knowsWorkloads(namespace: string): boolean {
    if (this.workloads.some((it) => it.namespace === namespace)) return true;
    return this.knows("Pod", namespace);
  }

  /** What istiod was told of the mesh, for a revision. Empty where it is not known. */
  meshConfig(revision = "default"): Loose {
    const map = this.meshConfigMap(revision);
    try {
      return parse(String(map?.data?.mesh ?? "")) ?? {};
    } catch {
      return {};
    }
  }

  meshConfigMap(revision = "default"): Found | undefined {
    const name = revision === "default" ? "istio" : `istio-${revision}`;
    return this.find("ConfigMap", name, ROOT_NAMESPACE);
  }

  get rootNamespace(): string {
    return this.meshConfig().rootNamespace ?? ROOT_NAMESPACE;
  }
}

/** For files: known is what there is at least one of. */
export function coverage(objects: readonly Found[]): (kind: Kind, namespace: string | undefined) => boolean {
  const present = new Set(objects.flatMap(({ kind, metadata }) => [kind, `${kind}/${metadata.namespace}`]));
  return (kind, namespace) => present.has(namespace === undefined ? kind : `${kind}/${namespace}`);
}

/** The same object as Kubernetes would take it: with a namespace, without nulls. */
export function placed(object: LiveObject, source?: Found["source"]): Found {
  const { metadata, ...rest } = withoutNulls(object) as LiveObject;
  const { namespace = "default", ...others } = metadata;
  const wide = CLUSTER_WIDE.includes(object.kind);
  return { ...rest, metadata: { ...others, ...(!wide && { namespace }) }, ...(source && { source }) };
}

function withoutNulls(value: unknown): unknown {
  const is = (it: unknown) => it !== null && it !== undefined;
  if (Array.isArray(value)) return value.filter(is).map(withoutNulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).flatMap(([key, it]) => (is(it) ? [[key, withoutNulls(it)]] : [])));
}

/** A list in a manifest; empty where there is something else. */
export function list(value: unknown): Loose[] {
  return Array.isArray(value) ? value : [];
}

export function placeOf({ kind, metadata: { namespace, name }, source }: Found): Place {
  return { kind, ...(namespace !== undefined && { namespace }), name, ...source };
}

/** `Service shop/greeter` */
export function title(object: Place | Found): string {
  return nameOf("metadata" in object ? placeOf(object) : object);
}

/** Whether an object was written by this tool, for one of these services (`greeter.shop`). */
export function isOurs(object: Found, services: readonly string[]): boolean {
  return services.includes(setOf(object) ?? "");
}

/** `app=web,tier=front` */
export function labelsText(labels: Labels | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([name, value]) => `${name}=${value}`);
  return pairs.length === 0 ? "any labels" : pairs.join(",");
}

function groupOf({ apiVersion }: Found): string {
  return apiVersion.includes("/") ? (apiVersion.split("/")[0] as string) : "";
}

function phase(status: unknown): string {
  return String((status as { phase?: string } | undefined)?.phase ?? "");
}

function workload(object: Found, pod: Pick<Found, "spec"> & { metadata?: Partial<Found["metadata"]> }) {
  return {
    namespace: object.metadata.namespace ?? "default",
    labels: pod.metadata?.labels ?? {},
    annotations: pod.metadata?.annotations ?? {},
    spec: pod.spec ?? {},
  };
}

function templateOf({ kind, spec }: Found) {
  return (kind === "CronJob" ? spec?.jobTemplate?.spec?.template : spec?.template) ?? {};
}

/** A Deployment's pods belong to a ReplicaSet, whose name ends with the hash that is their label. */
function ownerOf(pod: Found): Place {
  const { namespace, labels, ownerReferences } = pod.metadata as Found["metadata"] & { ownerReferences?: Loose };
  const owner = list(ownerReferences).find(({ controller, name }) => controller && typeof name === "string");
  if (!owner) return placeOf(pod);
  const hash = labels?.["pod-template-hash"];
  const deployed = owner.kind === "ReplicaSet" && hash !== undefined && owner.name.endsWith(`-${hash}`);
  const { kind, name } = deployed
    ? { kind: "Deployment", name: owner.name.slice(0, -hash.length - 1) }
    : { kind: owner.kind, name: owner.name };
  return { kind, ...(namespace !== undefined && { namespace }), name, ...pod.source };
}
