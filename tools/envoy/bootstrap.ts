import { Document, isMap, isScalar } from "yaml";
import { clusters } from "../model/module.js";
import type { Model } from "../model/schema.js";
import { bridge } from "./bridge.js";
import {
  accessLog,
  type BootstrapOptions,
  cluster,
  MiB,
  type Resources,
  socketAddress,
  tcpProxy,
  wasmFilter,
} from "./resources.js";

export { type BootstrapOptions, STDOUT } from "./resources.js";

/** Envoy's v3 bootstrap as a plain object, in the shape of its YAML. */
export type Bootstrap = Record<string, unknown>;

/** The listener's name in Envoy's admin interface. */
export const LISTENER = "meltemi";

/** Every label of the metrics in docs/architecture.md. */
export const LABELS = ["protocol", "direction", "service", "method", "status", "reason", "cluster"];

/**
 * The bootstrap for one meltemi.yaml. Equal models give equal objects, keys in the same order.
 */
export function bootstrap(model: Model, options: BootstrapOptions): Bootstrap {
  const { listeners, clusters, bootstrapExtensions } =
    model.mode === "bridge" ? bridge(model, LISTENER, options) : pass(model, model.mode, options);
  return {
    admin: { address: socketAddress(model.admin) },
    stats_config: { stats_tags: LABELS.map((tag_name) => ({ tag_name, regex: `(${tag_name}=\\.=(.*?);\\.;)` })) },
    stats_flush_interval: "1s",
    ...(bootstrapExtensions && { bootstrap_extensions: bootstrapExtensions }),
    static_resources: { listeners, clusters },
  };
}

/** Modes observe and route: every byte passes as it is. */
function pass(model: Model, mode: "observe" | "route", options: BootstrapOptions): Resources {
  const all = clusters(model);
  const early = mode === "route" ? model.limits.head : 0;
  const tcp = { ...(early > 0 && { max_early_data_bytes: early }), ...accessLog(model, options.accessLog) };
  return {
    listeners: [
      {
        name: LISTENER,
        address: socketAddress(model.service.bind),
        enable_reuse_port: false,
        per_connection_buffer_limit_bytes: MiB + early,
        filter_chains: [{ filters: [wasmFilter(model, mode, "meltemi", options.module), tcpProxy(all[0].name, tcp)] }],
      },
    ],
    clusters: all.map((it) => cluster(it)),
  };
}

type Path = (string | number)[];

/** The bootstrap as YAML with comments that say why each part is there. */
export function bootstrapYaml(model: Model, options: BootstrapOptions, header = ""): string {
  const document = new Document(bootstrap(model, options), { aliasDuplicateObjects: false });
  for (const [path, text] of comments(model)) comment(document, path, text);
  const top = header && `${header.replace(/^/gm, "# ")}\n\n`;
  return top + document.toString({ lineWidth: 0 });
}

function comments(model: Model): [Path, string][] {
  const listener: Path = ["static_resources", "listeners", 0];
  const filters: Path = [...listener, "filter_chains", 0, "filters"];
  const wasm: Path = [...filters, 0, "typed_config", "config"];
  const second: Path = [...filters, 1, "typed_config"];
  const all: Path = ["static_resources", "clusters"];
  return [
    [["admin"], "Metrics: /stats/prometheus. Whoever reaches this address controls Envoy, so keep it local."],
    [["stats_config"], "Labels: cut out of the names of the module's metrics, where they are written label=.=value;.;"],
    [["stats_flush_interval"], "Histograms show what was recorded up to the last flush; the default is 5 s."],
    [["bootstrap_extensions"], "Lets a cluster lead to another listener of this Envoy."],
    [["static_resources"], "What this Envoy does, all of it: nothing is fetched from a control plane."],
    [[...listener, "address"], "service.bind"],
    [
      [...listener, "enable_reuse_port"],
      "Otherwise a second proxy on the same port would take half of the connections.",
    ],
    [
      [...listener, "per_connection_buffer_limit_bytes"],
      model.mode === "route"
        ? "Room for the longest head (limits.head), which waits in this buffer until it is complete."
        : "Envoy's default, written out: reading pauses while this much waits for the server.",
    ],
    [[...wasm, "failure_policy"], "Should the module ever fail, a fresh one takes over."],
    [[...wasm, "configuration"], "What meltemi.yaml says to the module."],
    [
      [...second, "cluster"],
      model.mode === "route"
        ? "Required, but never used: the module names the cluster of each connection."
        : "Everything goes there.",
    ],
    [
      [...second, "max_early_data_bytes"],
      "Lets the module read the first frame before a server is chosen (Envoy 1.37).",
    ],
    [[...second, "codec_type"], "The module speaks HTTP/2 with this filter, a stream for each request."],
    [
      [...second, "common_http_protocol_options"],
      "RPC clients keep idle connections for days; and only a route's timeout ends a request.",
    ],
    [[...second, "max_request_headers_kb"], "Room for the longest head (limits.head) as headers."],
    [[...second, "normalize_path"], "A service's name is no path of files."],
    [[...second, "route_config"], "routes: the first that matches wins."],
    [[...second, "http_filters"], "What the rules need, in this order."],
    [[...listener.slice(0, -1), 1], "One for each server, where requests become frames again."],
    [all, model.service.subsets ? "One for each subset." : "service.endpoints"],
    [[...all, 0, "circuit_breakers"], "No limit on connections; Envoy would refuse more than 1024."],
    [
      [...all, 0, "typed_extension_protocol_options"],
      model.heartbeats
        ? "HTTP/2, so that requests share one connection to a server."
        : "HTTP/1.1: without heartbeats the protocol cannot share a connection between requests.",
    ],
  ];
}

/** Puts a comment above the key or list entry at `path`; nothing where this bootstrap lacks it. */
function comment(document: Document, path: Path, text: string): void {
  const parent = document.getIn(path.slice(0, -1));
  const last = path.at(-1);
  const pair = isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === last);
  const place = pair && isScalar(pair.key) ? pair.key : document.getIn(path);
  if (!isScalar(place) && !isMap(place)) return;
  place.commentBefore = ` ${text}`;
  place.spaceBefore = path.length === 1 && isMap(parent) && pair !== parent.items[0];
}
