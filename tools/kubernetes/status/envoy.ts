import { basename } from "node:path";
import { type Metrics, parseMetrics } from "../../view/prometheus.js";

/*
 * What the Envoy of a pod says of itself on its admin interface.
 */

/** Istio's default. */
export const ADMIN_PORT = 15000;

/** The pages that are read. */
export const PAGES = {
  listeners: "/config_dump?resource=dynamic_listeners",
  filters: "/config_dump?resource=ecds_filters",
  metrics: "/stats/prometheus?filter=meltemi_(requests_total%7Cdecode_errors%7Cguest_memory)%7Cvm_reload$",
} as const;

/** An extension of Istio (WasmPlugin, TrafficExtension) in an Envoy. */
export interface Extension {
  /**
   * The module; or what Istio's agent has put in its place because it could not fetch it: a filter that closes every
   * connection, or one that does nothing.
   */
  filter: "module" | "denies" | "passes";
  /** Of the module, where Istio's agent has fetched it: 64 hexadecimal digits; of an image the manifest's. */
  digest?: string;
  /** Its pluginConfig. */
  config?: unknown;
  /** How often Envoy has started it anew because it had failed. */
  reloads: number;
}

export interface Envoy {
  /** By `NAMESPACE.NAME`. */
  extensions: Map<string, Extension>;
  /** The extensions in its listeners: those at work, and those that wait for something, such as a module. */
  active: Set<string>;
  warming: Set<string>;
  /** Listeners as Envoy would not take them, and why. */
  refused: { listener: string; details: string }[];
  metrics: Metrics;
}

interface Dump<T> {
  configs?: T[];
}

interface DynamicListener {
  name: string;
  active_state?: ListenerState;
  warming_state?: ListenerState;
  error_state?: { details?: string };
}

interface ListenerState {
  listener: { filter_chains?: FilterChain[]; default_filter_chain?: FilterChain };
}

interface FilterChain {
  filters?: { name: string }[];
}

interface EcdsFilter {
  ecds_filter: { name: string; typed_config: WasmFilter | RbacFilter };
}

interface WasmFilter {
  config: {
    name: string;
    vm_config?: { code?: { local?: { filename?: string } } };
    configuration?: { value?: string };
  };
}

interface RbacFilter {
  config?: undefined;
  /** None means that all may pass, and empty ones that nobody may. */
  rules?: object;
}

/** @param pages the texts of PAGES; nothing where Envoy has nothing to show */
export function readEnvoy(pages: { readonly [K in keyof typeof PAGES]: string | undefined }): Envoy {
  const listeners = configs<DynamicListener>(pages.listeners);
  const metrics = parseMetrics(pages.metrics ?? "");
  return {
    extensions: new Map(
      configs<EcdsFilter>(pages.filters).map(({ ecds_filter: { name, typed_config } }) => [
        extensionName(name),
        extension(typed_config, metrics),
      ]),
    ),
    active: new Set(listeners.flatMap(({ active_state }) => extensionsIn(active_state))),
    warming: new Set(listeners.flatMap(({ warming_state }) => extensionsIn(warming_state))),
    refused: listeners.flatMap(({ name, error_state }) =>
      error_state ? { listener: name, details: error_state.details?.trim() ?? "" } : [],
    ),
    metrics,
  };
}

function configs<T>(page: string | undefined): T[] {
  return (JSON.parse(page ?? "{}") as Dump<T>).configs ?? [];
}

/** Of `extensions.istio.io/trafficextension/shop.lift~istio-translated-wasmplugin`, whose ends depend on Istio's version. */
function extensionName(filter: string): string {
  return /([^/~]*)(~[^/]*)?$/.exec(filter)?.[1] ?? filter;
}

function extensionsIn(state: ListenerState | undefined): string[] {
  const { filter_chains = [], default_filter_chain } = state?.listener ?? {};
  return [...filter_chains, default_filter_chain].flatMap((chain) =>
    (chain?.filters ?? []).map(({ name }) => extensionName(name)),
  );
}

function extension(filter: WasmFilter | RbacFilter, metrics: Metrics): Extension {
  if (!filter.config) return { filter: filter.rules ? "denies" : "passes", reloads: 0 };
  const { name, vm_config, configuration } = filter.config;
  const digest = /^([0-9a-f]{64})\.wasm$/.exec(basename(vm_config?.code?.local?.filename ?? ""))?.[1];
  // Envoy writes what no name of a metric may have as "_".
  const [reloads] = metrics.scalars.get(`envoy_wasm_${name.replace(/\W/g, "_")}_vm_reload`) ?? [];
  return {
    filter: "module",
    ...(digest !== undefined && { digest }),
    ...(configuration?.value !== undefined && { config: JSON.parse(configuration.value) }),
    reloads: reloads?.value ?? 0,
  };
}
