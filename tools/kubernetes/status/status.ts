import { isDeepStrictEqual } from "node:util";
import { Exit, UserError } from "../../errors.js";
import type { Manifest } from "../../istio/resource.js";
import type { Cluster } from "../client.js";
import { GLOBAL, members } from "../set.js";
import { ADMIN_PORT, type Envoy, PAGES, readEnvoy } from "./envoy.js";
import { ISTIOD_PORT, type Rejection, readSyncs, SYNC_PAGE, type Sync } from "./istiod.js";
import { compare, type ObjectStatus } from "./objects.js";
import { getFromPod } from "./pod-http.js";
import { type Plugin, type Pod, plugins, podsOf } from "./workloads.js";

/*
 * What has become of a set: its objects, and what the proxies have made of them. Only looked at here; what is wrong with it
 * is for verdict.ts to say.
 */

export interface Status {
  services: string[];
  objects: ObjectStatus[];
  /** Those whose pods could be listed. */
  plugins: PluginStatus[];
  /** Why something could not be looked at: what the objects should be, pods, istiod. */
  unseen: UserError[];
}

/** A plugin in the proxies that it is for. */
export interface PluginStatus {
  plugin: Plugin;
  proxies: ProxyStatus[];
}

export interface ProxyStatus {
  pod: Pod;
  /** Nothing where istiod could not be asked, `unknown` where it does not know this proxy. */
  sync: Sync | "unknown" | undefined;
  state: ProxyState;
  /** What runs, 64 hexadecimal digits, where that is known. */
  digest: string | undefined;
  /** Listeners that Envoy would not take. */
  refused: Envoy["refused"];
  counts: Counts | undefined;
  /** Why the proxy could not be looked at. */
  unseen: UserError | undefined;
}

export type ProxyState =
  | "runs"
  /** Of another image than the plugin's. */
  | "old image"
  | "old config"
  /** Envoy has a listener that waits for the module. */
  | "loading"
  /** Envoy has it, and could not start it. */
  | "rejected"
  /** The module could not be fetched. */
  | "denies all"
  | "passes all"
  /** None of the listeners is one that the plugin is for. */
  | "no listener"
  | "no sidecar"
  /** The pod is not up. */
  | "not up"
  | "not seen";

/** What the module in a proxy has counted, for the plugin's protocol and direction. */
export interface Counts {
  /** Nothing where the labels of the metrics are none, for which the mesh has to be told of them. */
  requests: number | undefined;
  decodeErrors: number | undefined;
  memoryBytes: number | undefined;
  reloads: number;
}

export interface StatusOptions {
  /** What the configurations come to, where there are some. */
  manifest?: Manifest | undefined;
  /** Istio's own. */
  istioNamespace: string;
  signal?: AbortSignal;
}

/** @throws UserError as the cluster does, where that keeps all of it from being seen */
export async function lookAt(
  cluster: Cluster,
  services: readonly string[],
  { manifest, istioNamespace, signal }: StatusOptions,
): Promise<Status> {
  const unseen: UserError[] = [];
  const live = (await members(cluster, services)).toReversed();
  /** Goes on without what one question would have told. */
  const orWithout = <T>(answer: Promise<T>): Promise<T | undefined> =>
    answer.catch((error) => {
      unseen.push(tolerable(error));
      return undefined;
    });
  const compared = manifest && (await orWithout(compare(cluster, manifest)));
  const selected: { plugin: Plugin; pods: Pod[] }[] = [];
  for (const plugin of plugins(live)) {
    const pods = await orWithout(podsOf(cluster, plugin, istioNamespace));
    if (pods) selected.push({ plugin, pods });
  }
  const syncs = await orWithout(askIstiod(cluster, istioNamespace, signal));
  const envoys = new Map(
    await inTurns(unique(selected.flatMap(({ pods }) => pods)), async (pod) => {
      return [idOf(pod), await askEnvoy(cluster, pod, signal)] as const;
    }),
  );
  return {
    services: [...services],
    objects: compared ?? live.map((object) => ({ object, state: "applied" })),
    plugins: selected.map(({ plugin, pods }) => ({
      plugin,
      proxies: pods.map((pod) => {
        const sync = syncs && (syncs.get(idOf(pod)) ?? "unknown");
        return proxyStatus(plugin, pod, sync, envoys.get(idOf(pod)));
      }),
    })),
    unseen,
  };
}

/** What keeps one thing from being looked at, and not the others. */
function tolerable(error: unknown): UserError {
  if (error instanceof UserError && !GLOBAL.includes(error.code)) return error;
  throw error;
}

/** As istiod calls a proxy. */
function idOf({ namespace, name }: Pod): string {
  return `${name}.${namespace}`;
}

function unique(pods: readonly Pod[]): Pod[] {
  return [...new Map(pods.map((pod) => [idOf(pod), pod])).values()];
}

/** What all istiods know: each proxy is connected to one of them. */
async function askIstiod(cluster: Cluster, namespace: string, signal?: AbortSignal): Promise<Map<string, Sync>> {
  const pods = await cluster.list("v1", "Pod", { namespace, labels: { app: ["istiod"] } });
  const running = pods.filter(({ status }) => (status as { phase?: string } | undefined)?.phase === "Running");
  if (running.length === 0) {
    const hint =
      "Where Istio is in another namespace: --istio-namespace NAME. One that somebody else runs cannot be asked.";
    throw new UserError("E_NO_ISTIOD", `no istiod runs in namespace ${namespace}`, { hint });
  }
  const pages = await Promise.all(
    running.map(({ metadata: { name: pod } }) =>
      getFromPod(cluster, { namespace, pod, port: ISTIOD_PORT }, SYNC_PAGE, signal),
    ),
  );
  // Without the page: ENABLE_DEBUG_ON_HTTP is off.
  if (pages.every((page) => page === undefined)) {
    throw new UserError("E_NO_ISTIOD", `istiod in namespace ${namespace} does not serve ${SYNC_PAGE}`, {
      hint: "Its ENABLE_DEBUG_ON_HTTP is false.",
    });
  }
  return understood(
    `istiod in namespace ${namespace}`,
    () => new Map(pages.flatMap((page) => (page === undefined ? [] : [...readSyncs(page)]))),
  );
}

/** Anything may listen in a pod, and in place of an Envoy. */
function understood<T>(who: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const message = `${who} answers with a page that cannot be read: ${(cause as Error).message}`;
    throw new UserError("E_POD", message, { exit: Exit.missing, cause });
  }
}

async function askEnvoy(cluster: Cluster, pod: Pod, signal?: AbortSignal): Promise<Envoy | UserError | undefined> {
  if (!pod.hasProxy || pod.phase !== "Running") return undefined;
  const get = (path: string) =>
    getFromPod(cluster, { namespace: pod.namespace, pod: pod.name, port: ADMIN_PORT }, path, signal);
  try {
    const [listeners, filters, metrics] = [
      await get(PAGES.listeners),
      await get(PAGES.filters),
      await get(PAGES.metrics),
    ];
    return understood(`pod ${pod.namespace}/${pod.name}`, () => readEnvoy({ listeners, filters, metrics }));
  } catch (error) {
    return tolerable(error);
  }
}

/** What one proxy has made of one plugin. @param envoy nothing where there is none, or none that runs */
export function proxyStatus(
  plugin: Plugin,
  pod: Pod,
  sync: ProxyStatus["sync"],
  envoy: Envoy | UserError | undefined,
): ProxyStatus {
  if (envoy === undefined || envoy instanceof UserError) {
    const state = !pod.hasProxy ? "no sidecar" : envoy === undefined ? "not up" : "not seen";
    return { pod, sync, state, digest: undefined, refused: [], counts: undefined, unseen: envoy };
  }
  const { namespace = "default", name } = plugin.object.metadata;
  const key = `${namespace}.${name}`;
  const state = stateOf(plugin, key, envoy, sync);
  const { digest, reloads = 0 } = envoy.extensions.get(key) ?? {};
  const counts = countsOf(plugin, envoy, reloads);
  return { pod, sync, state, digest, refused: envoy.refused, counts, unseen: undefined };
}

function stateOf(plugin: Plugin, key: string, envoy: Envoy, sync: ProxyStatus["sync"]): ProxyState {
  const extension = envoy.extensions.get(key);
  // A listener that drains may keep an extension that is in none of the others any more.
  if (!envoy.active.has(key) || !extension) return envoy.warming.has(key) ? "loading" : "no listener";
  if (extension.filter !== "module") return extension.filter === "denies" ? "denies all" : "passes all";
  if (plugin.digest !== undefined && extension.digest !== plugin.digest) return "old image";
  if (!isDeepStrictEqual(extension.config ?? {}, plugin.config)) return "old config";
  // Envoy shows what it was given, also where the module has refused to start with it; only istiod was told.
  if (typeof sync === "object" && sync.state === "rejected" && sync.errors.some((error) => isAbout(error, key)))
    return "rejected";
  return "runs";
}

/**
 * `Unable to create Wasm plugin shop.lift~istio-translated-wasmplugin`. Listeners are refused in the same words where they
 * come while a plugin's configuration is still wrong, but that says nothing of the one that came after it.
 */
function isAbout({ type, details }: Rejection, key: string): boolean {
  return type === "TypedExtensionConfig" && details.split(/\s+/).some((word) => word.split("~")[0] === key);
}

function countsOf({ config }: Plugin, { metrics: { scalars } }: Envoy, reloads: number): Counts {
  const { protocol, direction } = config;
  const mine = (labels: Record<string, string>) =>
    labels.direction === direction && (protocol === "auto" || labels.protocol === protocol);
  // Without labels all of them are in the name.
  const labelled = ![...scalars.keys()].some((name) => /._meltemi_(requests|decode_errors)_total$/.test(name));
  const sum = (name: string) =>
    (scalars.get(name) ?? []).reduce((total, { labels, value }) => total + (mine(labels) ? value : 0), 0);
  return {
    requests: labelled ? sum("meltemi_requests_total") : undefined,
    decodeErrors: labelled ? sum("meltemi_decode_errors_total") : undefined,
    memoryBytes: scalars.get("meltemi_guest_memory_bytes")?.[0]?.value,
    reloads,
  };
}

const AT_ONCE = 8;

async function inTurns<T, R>(items: readonly T[], act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const left = items.entries();
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (const [index, item] of left) results[index] = await act(item);
    }),
  );
  return results;
}
