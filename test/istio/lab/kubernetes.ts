import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { PortForwards } from "./portforward.js";

/*
 * The Kubernetes API as far as istiod needs it to read a cluster: lists and watches of objects that a test holds. Writes
 * are answered as if they had happened and kept apart, since what istiod writes (status, leases) should not come back to it.
 */

export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string>; annotations?: Record<string, string> };
  [field: string]: unknown;
}

/** Kinds by API group: all that istiod watches, of which Istio's own come as custom resources. */
const KINDS: Record<string, readonly string[]> = {
  "": ["ConfigMap", "Endpoints", "Namespace", "Node", "Pod", "Secret", "Service", "ServiceAccount"],
  "admissionregistration.k8s.io": ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
  "apiextensions.k8s.io": ["CustomResourceDefinition"],
  "discovery.k8s.io": ["EndpointSlice"],
  "networking.k8s.io": ["Ingress", "IngressClass"],
  "extensions.istio.io": ["TrafficExtension", "WasmPlugin"],
  "networking.istio.io": [
    ...["DestinationRule", "EnvoyFilter", "Gateway", "ProxyConfig", "ServiceEntry", "Sidecar", "VirtualService"],
    ...["WorkloadEntry", "WorkloadGroup"],
  ],
  "security.istio.io": ["AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"],
  "telemetry.istio.io": ["Telemetry"],
};
const CLUSTER_WIDE = ["Namespace", "Node", "CustomResourceDefinition"];

/** The same object, in the namespace `default` where it names none and its kind has one. */
export function placed(object: KubernetesObject): KubernetesObject {
  if (CLUSTER_WIDE.includes(object.kind)) return object;
  return { ...object, metadata: { namespace: "default", ...object.metadata } };
}

interface Resource {
  readonly group: string;
  readonly kind: string;
  readonly plural: string;
}

const RESOURCES: readonly Resource[] = Object.entries(KINDS).flatMap(([group, kinds]) =>
  kinds.map((kind) => ({ group, kind, plural: plural(kind) })),
);

function plural(kind: string): string {
  if (kind === "Endpoints") return "endpoints";
  const word = kind.toLowerCase();
  if (/[^aeiou]y$/.test(word)) return `${word.slice(0, -1)}ies`;
  return word.endsWith("s") ? `${word}es` : `${word}s`;
}

/** An object as it is served, with what an API server adds. */
type Stored = KubernetesObject & {
  metadata: { uid: string; resourceVersion: string; creationTimestamp: string };
};

interface Change {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly resource: Resource;
  readonly object: Stored;
}

interface Query {
  readonly resource: Resource;
  /** Whether the client wants nothing but the objects' metadata. */
  readonly metadataOnly: boolean;
  selects(object: Stored): boolean;
}

/** Where a URL points. */
interface Place {
  readonly group: string;
  readonly apiVersion: string;
  readonly plural: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
}

const NOT_FOUND = { apiVersion: "v1", kind: "Status", status: "Failure", code: 404, reason: "NotFound", metadata: {} };
/** Where an API server says which kinds a version of a group has. */
const GROUP_PATH = /^\/(?:api\/v1|apis\/([^/]+\/[^/]+))$/;
const METADATA = { apiVersion: "meta.k8s.io/v1", kind: "PartialObjectMetadata" };

/** What an API server finds out about whoever asks, by the kind of the question. */
const ANSWERS: Record<string, (spec: { token: string; audiences: string[] }) => unknown> = {
  SelfSubjectAccessReview: () => ({ allowed: true }),
  TokenReview: ({ token, audiences }) => ({
    authenticated: true,
    audiences,
    user: { username: token, groups: ["system:serviceaccounts", "system:authenticated"] },
  }),
};

/** The token of a service account: its full name, which this API takes at its word. */
export function token(namespace: string, serviceAccount: string): string {
  return `system:serviceaccount:${namespace}:${serviceAccount}`;
}

export class KubernetesApi {
  /** Ways into the pods. */
  readonly forwards: PortForwards;
  private revision = 1;
  private readonly objects = new Map<string, { resource: Resource; object: Stored; source: string }>();
  private readonly changes: Change[] = [];
  private readonly watchers = new Set<(change: Change) => void>();

  private readonly log: KubernetesObject[] = [];

  private constructor(private readonly server: Server) {
    server.on("request", (request, response) => this.answer(request, response));
    this.forwards = new PortForwards(server);
    this.set([]);
  }

  /** Serves on a free port of 127.0.0.1. */
  static async start(): Promise<KubernetesApi> {
    const server = createServer();
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return new KubernetesApi(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** What has been written, all of which this cluster has forgotten. */
  get written(): readonly KubernetesObject[] {
    return this.log;
  }

  /** A kubeconfig for it, as text. */
  get kubeconfig(): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "lab", cluster: { server: this.url } }],
      users: [{ name: "lab", user: {} }],
      contexts: [{ name: "lab", context: { cluster: "lab", user: "lab" } }],
      "current-context": "lab",
    });
  }

  /** Makes these the objects of the cluster, all of them; watchers are told what has changed. */
  set(objects: readonly KubernetesObject[]): void {
    const wanted = new Map<string, { resource: Resource; object: KubernetesObject }>();
    for (const object of [...customResourceDefinitions(), ...objects].map(placed)) {
      const resource = resourceOf(object);
      const key = [resource.group, object.kind, object.metadata.namespace, object.metadata.name].join("/");
      if (wanted.has(key)) throw new Error(`two objects ${key}`);
      wanted.set(key, { resource, object });
    }
    for (const [key, { resource, object }] of this.objects) {
      if (wanted.has(key)) continue;
      this.objects.delete(key);
      this.tell("DELETED", resource, { ...object, metadata: { ...object.metadata, ...this.nextVersion() } });
    }
    for (const [key, { resource, object }] of wanted) {
      const source = JSON.stringify(object);
      const known = this.objects.get(key);
      if (known?.source === source) continue;
      const served = { uid: key, creationTimestamp: "2026-01-01T00:00:00Z", ...this.nextVersion() };
      const stored = { ...object, metadata: { ...object.metadata, ...served } };
      this.objects.set(key, { resource, object: stored, source });
      this.tell(known ? "MODIFIED" : "ADDED", resource, stored);
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.server, "close");
    this.server.close();
    this.server.closeAllConnections();
    await closed;
  }

  private nextVersion(): { resourceVersion: string } {
    return { resourceVersion: String(++this.revision) };
  }

  private tell(type: Change["type"], resource: Resource, object: Stored): void {
    const change = { revision: this.revision, type, resource, object };
    this.changes.push(change);
    for (const watcher of this.watchers) watcher(change);
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "", this.url);
    const at = parsePath(pathname);
    const resource = RESOURCES.find(({ group, plural }) => group === at?.group && plural === at.plural);
    if (pathname === "/version") json(response, 200, { major: "1", minor: "33", gitVersion: "v1.33.0" });
    else if (request.method !== "GET") void this.write(request, response);
    else if (GROUP_PATH.test(pathname)) json(response, 200, resourceList(GROUP_PATH.exec(pathname)?.[1] ?? "v1"));
    else if (!at || !resource) json(response, 404, NOT_FOUND);
    else this.read({ ...at, resource }, searchParams, request.headers.accept ?? "", response);
  }

  /** Answers a question, and a write with what was written. */
  private async write(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const written = body === "" ? {} : JSON.parse(body);
    const status = ANSWERS[written.kind]?.(written.spec);
    if (!status) this.log.push(written);
    json(response, request.method === "POST" ? 201 : 200, status ? { ...written, status } : written);
  }

  private read(at: Place & { resource: Resource }, search: URLSearchParams, accept: string, to: ServerResponse): void {
    const query: Query = {
      resource: at.resource,
      metadataOnly: accept.includes(METADATA.kind),
      selects: (object) =>
        (at.namespace === undefined || object.metadata.namespace === at.namespace) &&
        (at.name === undefined || object.metadata.name === at.name) &&
        selected(search.get("labelSelector"), (key) => object.metadata.labels?.[key]) &&
        selected(search.get("fieldSelector"), (path) => field(object, path)),
    };
    const found = [...this.objects.values()]
      .filter(({ resource, object }) => resource === query.resource && query.selects(object))
      .map(({ object }) => object);
    if (search.get("watch") === "true") this.watch(query, found, search, to);
    else if (at.name !== undefined) json(to, found[0] ? 200 : 404, found[0] ?? NOT_FOUND);
    else
      json(to, 200, {
        apiVersion: query.metadataOnly ? METADATA.apiVersion : at.apiVersion,
        kind: `${query.metadataOnly ? METADATA.kind : at.resource.kind}List`,
        metadata: { resourceVersion: String(this.revision) },
        items: found.map((object) => shown(object, query)),
      });
  }

  /** A stream of changes, one JSON object a line: those since `resourceVersion`, or all that is there, and then what comes. */
  private watch(query: Query, found: readonly Stored[], parameters: URLSearchParams, response: ServerResponse): void {
    const send = (type: string, object: unknown) => response.write(`${JSON.stringify({ type, object })}\n`);
    const follow = (change: Change) => {
      if (change.resource === query.resource && query.selects(change.object))
        send(change.type, shown(change.object, query));
    };
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const since = Number(parameters.get("resourceVersion") ?? 0);
    const initial = parameters.get("sendInitialEvents") === "true";
    if (initial || since === 0) for (const object of found) send("ADDED", shown(object, query));
    else for (const change of this.changes.filter(({ revision }) => revision > since)) follow(change);
    if (initial) {
      const annotations = { "k8s.io/initial-events-end": "true" };
      const { kind, group } = query.resource;
      const type = query.metadataOnly ? METADATA : { apiVersion: found[0]?.apiVersion ?? version(group), kind };
      send("BOOKMARK", { ...type, metadata: { resourceVersion: String(this.revision), annotations } });
    }
    this.watchers.add(follow);
    response.on("close", () => this.watchers.delete(follow));
  }
}

/** What stands in a URL such as `/apis/networking.istio.io/v1/namespaces/default/sidecars/app`. */
function parsePath(pathname: string): Place | undefined {
  const parts =
    /^\/(?:api|apis\/(?<group>[^/]+))\/(?<version>[^/]+)(?:\/namespaces\/(?<namespace>[^/]+)(?=\/))?\/(?<plural>[^/]+)(?:\/(?<name>[^/]+))?$/.exec(
      pathname,
    )?.groups;
  if (!parts) return undefined;
  const { group = "", version = "", namespace, plural = "", name } = parts;
  return { group, apiVersion: group === "" ? version : `${group}/${version}`, namespace, plural, name };
}

function resourceOf({ apiVersion, kind }: KubernetesObject): Resource {
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  const resource = RESOURCES.find((resource) => resource.group === group && resource.kind === kind);
  if (!resource) throw new Error(`unknown to this cluster: ${kind} of ${apiVersion}`);
  return resource;
}

function version(group: string): string {
  return group === "" ? "v1" : `${group}/v1`;
}

function resourceList(groupVersion: string): unknown {
  const group = groupVersion.includes("/") ? groupVersion.slice(0, groupVersion.indexOf("/")) : "";
  const resources = RESOURCES.filter((resource) => resource.group === group).map(({ kind, plural }) => ({
    name: plural,
    kind,
    namespaced: !CLUSTER_WIDE.includes(kind),
  }));
  return { kind: "APIResourceList", groupVersion, resources };
}

function customResourceDefinitions(): KubernetesObject[] {
  return RESOURCES.filter(({ group }) => group.endsWith("istio.io")).map(({ group, kind, plural }) => ({
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: { group, scope: "Namespaced", names: { kind, plural } },
  }));
}

function shown(object: Stored, { metadataOnly }: Query): unknown {
  return metadataOnly ? { ...METADATA, metadata: object.metadata } : object;
}

/** Whether all terms of a selector hold: `key=value`, `key!=value`, `key in (value,value)`, `key`, `!key`. */
function selected(selector: string | null, value: (key: string) => string | undefined): boolean {
  return ((selector ?? "").match(/[^,(]+(\([^)]*\))?/g) ?? []).every((term) => {
    const [, one, among] = /^(\S+) in \(([^)]*)\)$/.exec(term) ?? [];
    if (one !== undefined) return (among ?? "").split(",").includes(value(one) ?? "");
    const [, key = "", operator, wanted] = /^!?([^!=]+)(!?==?)?(.*)$/.exec(term) ?? [];
    if (operator === undefined) return (value(key) !== undefined) !== term.startsWith("!");
    return ((value(key) ?? "") === wanted) !== operator.startsWith("!");
  });
}

function field(object: unknown, path: string): string | undefined {
  const found = path
    .split(".")
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], object);
  return found === undefined ? undefined : String(found);
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}
