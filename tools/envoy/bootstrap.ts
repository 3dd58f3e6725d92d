import { isIP } from "node:net";
import { Document, isMap, isScalar } from "yaml";
import { type Cluster, clusters, moduleConfig } from "../model/module.js";
import type { Model } from "../model/schema.js";
import type { Address } from "../model/units.js";

/** Envoy's v3 bootstrap as a plain object, in the shape of its YAML. */
export type Bootstrap = Record<string, unknown>;

export interface BootstrapOptions {
  /** The module's file, as Envoy shall open it. */
  module: string;
  /**
   * A file that gets one JSON line for each connection, `/dev/stdout` for Envoy's standard output. Without it there is
   * no access log: connections of RPC clients live for days, so that what is worth knowing meanwhile is in the metrics.
   */
  accessLog?: string | undefined;
}

/** The access log that is no file. */
export const STDOUT = "/dev/stdout";

/** The listener's name in Envoy's admin interface. */
export const LISTENER = "meltemi";

const TYPE = "type.googleapis.com/envoy";
const MiB = 2 ** 20;

/** Every label of the metrics in docs/architecture.md. */
const LABELS = ["protocol", "direction", "service", "method", "status", "reason", "cluster"];

/**
 * The bootstrap for one meltemi.yaml. Equal models give equal objects, keys in the same order.
 */
export function bootstrap(model: Model, { module, accessLog }: BootstrapOptions): Bootstrap {
  const all = clusters(model);
  const head = model.limits.head;
  return {
    admin: { address: socketAddress(model.admin) },
    stats_config: { stats_tags: LABELS.map((tag_name) => ({ tag_name, regex: `(${tag_name}=\\.=(.*?);\\.;)` })) },
    stats_flush_interval: "1s",
    static_resources: {
      listeners: [
        {
          name: LISTENER,
          address: socketAddress(model.service.bind),
          enable_reuse_port: false,
          per_connection_buffer_limit_bytes: MiB + (model.mode === "route" ? head : 0),
          filter_chains: [{ filters: [wasmFilter(model, module), tcpProxy(model, all[0].name, accessLog)] }],
        },
      ],
      clusters: all.map(cluster),
    },
  };
}

/** The bootstrap as YAML with comments that say why each part is there. */
export function bootstrapYaml(model: Model, options: BootstrapOptions, header = ""): string {
  const document = new Document(bootstrap(model, options));
  const listener = ["static_resources", "listeners", 0];
  const filters = [...listener, "filter_chains", 0, "filters"];
  const tcp = [...filters, 1, "typed_config"];
  const comments: [(string | number)[], string][] = [
    [["admin"], "Metrics: /stats/prometheus. Whoever reaches this address controls Envoy, so keep it local."],
    [["stats_config"], "Labels: cut out of the names of the module's metrics, where they are written label=.=value;.;"],
    [["stats_flush_interval"], "Histograms show what was recorded up to the last flush; the default is 5 s."],
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
    [
      [...filters, 0, "typed_config", "config", "failure_policy"],
      "Should the module ever fail, a fresh one takes over.",
    ],
    [[...filters, 0, "typed_config", "config", "configuration"], "What meltemi.yaml says to the module."],
    [
      [...tcp, "cluster"],
      model.mode === "route"
        ? "Required, but never used: the module names the cluster of each connection."
        : "Everything goes there.",
    ],
    [[...tcp, "max_early_data_bytes"], "Lets the module read the first frame before a server is chosen (Envoy 1.37)."],
    [["static_resources", "clusters"], model.mode === "route" ? "One for each subset." : "service.endpoints"],
    [
      ["static_resources", "clusters", 0, "circuit_breakers"],
      "No limit on connections; Envoy would refuse more than 1024.",
    ],
  ];
  for (const [path, text] of comments) comment(document, path, text);
  const top = header && `${header.replace(/^/gm, "# ")}\n\n`;
  return top + document.toString({ lineWidth: 0 });
}

/** Puts a comment above the key at `path`; nothing where this bootstrap lacks it. */
function comment(document: Document, path: (string | number)[], text: string): void {
  const parent = document.getIn(path.slice(0, -1));
  const pair = isMap(parent) && parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
  if (!pair || !isScalar(pair.key)) return;
  pair.key.commentBefore = ` ${text}`;
  pair.key.spaceBefore = path.length === 1 && pair !== parent.items[0];
}

function wasmFilter(model: Model, module: string) {
  return {
    name: "envoy.filters.network.wasm",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.wasm.v3.Wasm`,
      config: {
        name: "meltemi",
        root_id: "meltemi",
        failure_policy: "FAIL_RELOAD",
        vm_config: {
          vm_id: "meltemi",
          runtime: "envoy.wasm.runtime.v8",
          code: { local: { filename: module } },
        },
        configuration: {
          "@type": "type.googleapis.com/google.protobuf.StringValue",
          value: JSON.stringify(moduleConfig(model)),
        },
      },
    },
  };
}

function tcpProxy(model: Model, cluster: string, accessLog: string | undefined) {
  return {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: "meltemi",
      cluster,
      ...(model.mode === "route" && { max_early_data_bytes: model.limits.head }),
      ...(accessLog !== undefined && { access_log: [accessLogger(accessLog)] }),
    },
  };
}

function accessLogger(path: string) {
  const log_format = {
    json_format: {
      start: "%START_TIME%",
      client: "%DOWNSTREAM_REMOTE_ADDRESS%",
      service: "%FILTER_STATE(wasm.meltemi.service:PLAIN)%",
      method: "%FILTER_STATE(wasm.meltemi.method:PLAIN)%",
      route: "%FILTER_STATE(wasm.meltemi.route:PLAIN)%",
      cluster: "%UPSTREAM_CLUSTER%",
      server: "%UPSTREAM_HOST%",
      duration_ms: "%DURATION%",
      received_bytes: "%BYTES_RECEIVED%",
      sent_bytes: "%BYTES_SENT%",
      flags: "%RESPONSE_FLAGS%",
    },
  };
  // Standard output has a logger of its own, since in a container the file may not be open to Envoy's user.
  return path === STDOUT
    ? {
        name: "envoy.access_loggers.stdout",
        typed_config: { "@type": `${TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog`, log_format },
      }
    : {
        name: "envoy.access_loggers.file",
        typed_config: { "@type": `${TYPE}.extensions.access_loggers.file.v3.FileAccessLog`, path, log_format },
      };
}

function cluster({ name, endpoints }: Cluster) {
  const names = endpoints.some(({ host }) => isIP(host) === 0);
  return {
    name,
    type: names ? "STRICT_DNS" : "STATIC",
    // Names such as localhost often have an IPv6 address where nobody listens.
    ...(names && { dns_lookup_family: "V4_PREFERRED" }),
    connect_timeout: "5s",
    lb_policy: "ROUND_ROBIN",
    circuit_breakers: { thresholds: [{ max_connections: UNLIMITED, max_pending_requests: UNLIMITED }] },
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: endpoints.map((at) => ({ endpoint: { address: socketAddress(at) } })) }],
    },
  };
}

const UNLIMITED = 2 ** 32 - 1;

function socketAddress({ host, port }: Address) {
  return { socket_address: { address: host, port_value: port } };
}
