import { INSTANCE } from "../../istio/resource.js";
import type { Cluster, LiveObject } from "../client.js";

/** A WasmPlugin or a TrafficExtension of a set. */
export interface Plugin {
  object: LiveObject;
  /** `lift`: its name, without that of the service where it ends with it. */
  name: string;
  /** Of what it installs, 64 hexadecimal digits: of an image the manifest's. Nothing where it is not pinned. */
  digest: string | undefined;
  config: PluginConfig;
}

/** As much of the module's configuration as tells its metrics from those of others. */
export interface PluginConfig {
  protocol?: string;
  direction?: string;
}

interface PluginSpec {
  selector?: { matchLabels?: Record<string, string> };
  targetRefs?: { kind: string; name: string }[];
  url?: string;
  sha256?: string;
  pluginConfig?: PluginConfig;
  match?: { ports?: { number: number }[] }[];
}

interface PodObject extends LiveObject {
  spec: { containers?: Container[]; initContainers?: Container[] };
  status?: { phase?: string };
}

interface Container {
  name: string;
}

/** A pod with the proxy that is, or should be, in it. */
export interface Pod {
  namespace: string;
  name: string;
  /** Kubernetes' word: Running, Pending ... */
  phase: string;
  hasProxy: boolean;
  /** Whether ztunnel takes its traffic: it needs no sidecar, and has none. */
  ambient: boolean;
}

export function plugins(objects: readonly LiveObject[]): Plugin[] {
  return objects
    .filter(({ kind }) => kind === "WasmPlugin" || kind === "TrafficExtension")
    .map((object) => {
      const { url, sha256, pluginConfig = {} } = installed(object);
      const { name, labels } = object.metadata;
      return {
        object,
        name: name.endsWith(`.${labels?.[INSTANCE]}`) ? name.slice(0, -`.${labels?.[INSTANCE]}`.length) : name,
        digest: sha256 || /@sha256:([0-9a-f]{64})$/.exec(url ?? "")?.[1],
        config: pluginConfig,
      };
    });
}

/** The image that a set's plugins name, `oci://...`. */
export function imageOf(objects: readonly LiveObject[]): string | undefined {
  return plugins(objects)
    .map(({ object }) => installed(object).url)
    .find((url) => url?.startsWith("oci://"));
}

function specOf({ spec }: LiveObject): PluginSpec {
  return (spec ?? {}) as PluginSpec;
}

/** What a TrafficExtension has in `wasm`, a WasmPlugin has in its spec. */
function installed(object: LiveObject): PluginSpec {
  return (object.spec as { wasm?: PluginSpec } | undefined)?.wasm ?? specOf(object);
}

/** The ports that a plugin is meant for. */
export function portsOf({ object }: Plugin): number[] {
  return (specOf(object).match ?? []).flatMap(({ ports = [] }) => ports.map(({ number }) => number));
}

/** In words, which pods a plugin is for. */
export function selectionOf({ object }: Plugin): string {
  const { selector, targetRefs } = specOf(object);
  if (targetRefs) return targetRefs.map(({ kind, name }) => `${kind} ${name}`).join(", ");
  const labels = Object.entries(selector?.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  return labels.length > 0 ? labels.join(",") : "all pods";
}

/**
 * The pods that a plugin is for, those that have come to their end left out.
 * @param rootNamespace where a plugin is for pods of all namespaces
 */
export async function podsOf(cluster: Cluster, plugin: Plugin, rootNamespace: string): Promise<Pod[]> {
  const { namespace = "default" } = plugin.object.metadata;
  const found = await Promise.all(
    (await selections(cluster, plugin, rootNamespace)).map(({ labels, everywhere }) =>
      cluster.list("v1", "Pod", {
        ...(everywhere ? {} : { namespace }),
        labels: Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, [value]])),
      }),
    ),
  );
  return (found.flat() as PodObject[])
    .filter(({ status, metadata }) => !ENDED.includes(status?.phase ?? "") && !metadata.deletionTimestamp)
    .map(asPod);
}

interface Selection {
  labels: Record<string, string>;
  /** In all namespaces. */
  everywhere?: boolean;
}

/** Kubernetes' Gateway API has its implementations label their pods. */
const GATEWAY = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_CLASS = "gateway.networking.k8s.io/gateway-class-name";
const WAYPOINT = "istio.io/use-waypoint";
const ENDED = ["Succeeded", "Failed"];
const NETWORKING = "networking.istio.io/v1";

async function selections(cluster: Cluster, { object }: Plugin, rootNamespace: string): Promise<Selection[]> {
  const { selector, targetRefs } = specOf(object);
  const { namespace = "default" } = object.metadata;
  if (!targetRefs) return [{ labels: selector?.matchLabels ?? {}, everywhere: namespace === rootNamespace }];
  const found = await Promise.all(
    targetRefs.map(async ({ kind, name }): Promise<Selection | undefined> => {
      if (kind === "Gateway") return { labels: { [GATEWAY]: name } };
      if (kind === "GatewayClass") return { labels: { [GATEWAY_CLASS]: name }, everywhere: true };
      // The waypoint in front of it.
      const apiVersion = kind === "ServiceEntry" ? NETWORKING : "v1";
      const service = await cluster.read({ apiVersion, kind, metadata: { name, namespace } });
      const around = await cluster.read({ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
      const waypoint = service?.metadata.labels?.[WAYPOINT] ?? around?.metadata.labels?.[WAYPOINT];
      return waypoint === undefined ? undefined : { labels: { [GATEWAY]: waypoint } };
    }),
  );
  return found.filter((selection) => selection !== undefined);
}

function asPod({ metadata, spec, status }: PodObject): Pod {
  // A sidecar that Kubernetes knows as one is an init container that goes on.
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  return {
    namespace: metadata.namespace ?? "default",
    name: metadata.name,
    phase: status?.phase ?? "Unknown",
    hasProxy: containers.some(({ name }) => name === "istio-proxy"),
    ambient: metadata.annotations?.["ambient.istio.io/redirection"] === "enabled",
  };
}
