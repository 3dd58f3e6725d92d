import { accessSync, readFileSync } from "node:fs";
import { z } from "zod";
import { Exit, UserError } from "../errors.js";
import { defaultModule } from "../paths.js";
import type { Match } from "./matcher.js";
import type { Model, Route } from "./schema.js";
import type { Address } from "./units.js";

/** What one filter of the module does. A bridge has two: lift at the client's end of HTTP, lower at the server's. */
export type ModuleMode = "observe" | "route" | "lift" | "lower";

/** What the module takes as its configuration (docs/architecture.md): sizes in bytes, durations in milliseconds. */
export interface ModuleConfig {
  protocol: string;
  mode: ModuleMode;
  direction: "outbound" | "inbound";
  service: string;
  /** `IP:PORT` each: connections to other addresses pass as they are. All are meant where there is no list. */
  destinations?: string[];
  /** Only in mode lift. */
  authority?: string;
  /** Modes lift and lower: the metadata keys that become headers, in lower case; all where there is no list. */
  metadata?: string[];
  /** Only in mode route. */
  routes?: { name?: string; match?: Match; cluster: string }[];
  limits: { frameBytes: number; headBytes: number; inFlight: number; series: number; waitMilliseconds: number };
  log: { requests: number; frames: boolean };
}

/** Where a filter is, as far as its configuration depends on it. */
export interface Place {
  direction: "outbound" | "inbound";
  /** What clients connect to, where the filter also stands before what is none of its business. */
  destinations?: string[] | undefined;
  /** Mode lift: of every request; undefined for the address that the client connected to. */
  authority: string | undefined;
  /** Modes lift and lower: whether others than the rules of meltemi.yaml may look at requests on their way. */
  open: boolean;
  /** Mode route: the name of a subset's cluster. */
  cluster(subset: string | undefined): string;
}

/** In the Envoy that `meltemi run` configures. */
function locally(model: Model): Place {
  const { direction, service, leg = "both" } = model;
  const cluster = (subset: string | undefined) => clusterName(model, subset);
  return { direction, authority: service.authority, open: leg !== "both", cluster };
}

/**
 * The configuration of one filter, with every key written out and always in the same order, so that equal models give
 * equal text.
 */
export function moduleConfig(model: Model, mode: ModuleMode, place: Place = locally(model)): ModuleConfig {
  const { protocol, service, routes = [], limits, log } = model;
  const metadata = (mode === "lift" || mode === "lower") && !place.open ? headerKeys(model) : undefined;
  return {
    protocol,
    mode,
    direction: mode === "lift" ? "outbound" : mode === "lower" ? "inbound" : place.direction,
    service: service.name,
    ...(place.destinations && { destinations: place.destinations }),
    ...(mode === "lift" && place.authority !== undefined && { authority: place.authority }),
    ...(metadata && { metadata }),
    ...(mode === "route" && {
      routes: routes.map(({ name, match, subset }) => ({
        ...(name !== undefined && { name }),
        ...(match && { match }),
        cluster: place.cluster(subset),
      })),
    }),
    limits: {
      frameBytes: limits.frame,
      headBytes: limits.head,
      inFlight: limits.inFlight,
      series: limits.series,
      waitMilliseconds: limits.wait,
    },
    log: { requests: log.requests, frames: false },
  };
}

/** What joins Envoy's tracing. */
const TRACE_KEYS = [
  ...["b3", "traceparent", "tracestate", "x-request-id"],
  ...["flags", "parentspanid", "sampled", "spanid", "traceid"].map((part) => `x-b3-${part}`),
];

/**
 * The metadata keys that something between the two ends of a bridge looks at or changes. Each header costs time in four
 * places, and where both ends are in one Envoy nothing else can see them. Undefined where anything might be looked at.
 */
function headerKeys(model: Model): string[] | undefined {
  const { routes = [], authorization = [], rateLimitService, trafficPolicy, tracing } = model;
  if (/%(REQ|RESP|TRAILER)/.test(JSON.stringify(model))) return undefined;
  const keys = [
    ...routes.flatMap(({ match = {}, headers = {} }) => [
      ...Object.keys(match),
      ...[headers.request, headers.response].flatMap((changes) => [
        ...Object.keys(changes?.set ?? {}),
        ...(changes?.remove ?? []),
      ]),
    ]),
    ...authorization.flatMap(({ match = {} }) => Object.keys(match)),
    ...(rateLimitService?.descriptors.flat() ?? []),
    ...(trafficPolicy?.loadBalancer?.consistentHash ? [trafficPolicy.loadBalancer.consistentHash.key] : []),
    ...(tracing ? TRACE_KEYS : []),
  ];
  const names = keys.filter((key) => key !== "service" && key !== "method").map((key) => key.toLowerCase());
  return [...new Set(names)].sort();
}

export interface Cluster {
  /** `SERVICE`, of a subset `SERVICE|SUBSET`. */
  name: string;
  endpoints: Address[];
}

/** Where connections or requests can go; never empty. Of subsets one for each, in the order of the file. */
export function clusters(model: Model): [Cluster, ...Cluster[]] {
  const { endpoints = [], subsets = [] } = model.service;
  const [first, ...rest] = subsets.map((subset) => ({
    name: clusterName(model, subset.name),
    endpoints: subset.endpoints,
  }));
  return first ? [first, ...rest] : [{ name: clusterName(model), endpoints }];
}

/** The clusters that a route leads to, with their shares of the requests. */
export function destinations(model: Model, { route, subset }: Route): [Destination, ...Destination[]] {
  const [first, ...rest] = (route ?? []).map((to) => ({
    cluster: clusterName(model, to.subset),
    weight: to.weight ?? 1,
  }));
  return first ? [first, ...rest] : [{ cluster: clusterName(model, subset), weight: 1 }];
}

export interface Destination {
  cluster: string;
  weight: number;
}

export function clusterName({ service }: Model, subset?: string): string {
  return subset === undefined ? service.name : `${service.name}|${subset}`;
}

const description = z.object({
  /** Of Meltemi, when it was built. */
  version: z.string().optional(),
  protocols: z.array(
    z.object({
      name: z.string(),
      magic: z.string().default(""),
      heartbeats: z.boolean().default(false),
      keys: z.array(z.object({ name: z.string(), about: z.string() })),
    }),
  ),
});

/**
 * What a module says of itself. A key named `*` stands for keys that only the frames know. `magic` is how frames begin, as
 * hexadecimal digits, a dot for each that may be any, blanks between alternatives; empty where nothing tells them.
 */
export type ModuleDescription = z.output<typeof description>;

/** Where the description of a module stands: beside it, under its name with `.json`. */
export function descriptionFile(wasm: string): string {
  return wasm.replace(/(\.wasm)?$/, ".json");
}

/**
 * Reads the description that `meltemi build` and `meltemi pull` write beside the module.
 * @throws UserError `E_NOT_BUILT` where there is none
 */
export function describeModule(wasm: string): ModuleDescription {
  const file = descriptionFile(wasm);
  const hint = `Run: meltemi build${wasm === defaultModule ? "" : ` --out ${wasm}`}`;
  let text: string;
  try {
    accessSync(wasm);
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new UserError("E_NOT_BUILT", `the module is not built: ${(cause as Error).message}`, {
      exit: Exit.missing,
      hint,
      cause,
    });
  }
  try {
    return description.parse(JSON.parse(text));
  } catch (cause) {
    const message = `${file} is not the description of a module`;
    throw new UserError("E_NOT_BUILT", message, { exit: Exit.missing, hint, cause });
  }
}
