import { isIP } from "node:net";
import { type Cluster, type ModuleMode, moduleConfig } from "../model/module.js";
import { AUTO, type Model } from "../model/schema.js";
import type { Address } from "../model/units.js";

/*
 * Parts of Envoy's configuration that every mode is put together from, as plain objects in the shape of its YAML.
 */

export const TYPE = "type.googleapis.com/envoy";
export const MiB = 2 ** 20;
export const UNLIMITED = 2 ** 32 - 1;

/** The access log that is no file. */
export const STDOUT = "/dev/stdout";

export interface BootstrapOptions {
  /** The module's file, as Envoy shall open it. */
  module: string;
  /**
   * A file that gets one JSON line for each connection, in mode bridge for each request; `/dev/stdout` for Envoy's
   * standard output. Default: the model's, or no access log.
   */
  accessLog?: string | undefined;
}

/** What a mode adds to the bootstrap. */
export interface Resources {
  listeners: object[];
  clusters: object[];
  bootstrapExtensions?: object[];
}

export function socketAddress({ host, port }: Address) {
  return { socket_address: { address: host, port_value: port } };
}

/** One virtual machine serves all filters of a worker; `name` only tells their roots apart. */
export function wasmFilter(model: Model, mode: ModuleMode, name: string, module: string) {
  return {
    name: "envoy.filters.network.wasm",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.wasm.v3.Wasm`,
      config: {
        name,
        root_id: name,
        failure_policy: "FAIL_RELOAD",
        vm_config: {
          vm_id: "meltemi",
          runtime: "envoy.wasm.runtime.v8",
          code: { local: { filename: module } },
        },
        configuration: {
          "@type": "type.googleapis.com/google.protobuf.StringValue",
          value: JSON.stringify(moduleConfig(model, mode)),
        },
      },
    },
  };
}

/** `more`: other keys of tcp_proxy. */
export function tcpProxy(cluster: string, more: object = {}) {
  return {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: "meltemi",
      cluster,
      ...more,
    },
  };
}

/** The `access_log` of a model, if there is to be one; `fields` are what a line holds unless the model says it. */
export function accessLog(model: Model, path = model.accessLog?.path, fields = ofConnection(model)) {
  if (path === undefined) return {};
  const format = model.accessLog?.format ?? fields;
  const log_format =
    typeof format === "string" ? { text_format_source: { inline_string: `${format}\n` } } : { json_format: format };
  // Standard output has a logger of its own, since in a container the file may not be open to Envoy's user.
  const logger =
    path === STDOUT
      ? {
          name: "envoy.access_loggers.stdout",
          typed_config: { "@type": `${TYPE}.extensions.access_loggers.stream.v3.StdoutAccessLog`, log_format },
        }
      : {
          name: "envoy.access_loggers.file",
          typed_config: { "@type": `${TYPE}.extensions.access_loggers.file.v3.FileAccessLog`, path, log_format },
        };
  return { access_log: [logger] };
}

/** What is told of a connection. */
const ofConnection = ({ protocol }: Model): Record<string, string> => ({
  start: "%START_TIME%",
  client: "%DOWNSTREAM_REMOTE_ADDRESS%",
  ...(protocol === AUTO && { protocol: "%FILTER_STATE(wasm.meltemi.protocol:PLAIN)%" }),
  service: "%FILTER_STATE(wasm.meltemi.service:PLAIN)%",
  method: "%FILTER_STATE(wasm.meltemi.method:PLAIN)%",
  route: "%FILTER_STATE(wasm.meltemi.route:PLAIN)%",
  cluster: "%UPSTREAM_CLUSTER%",
  server: "%UPSTREAM_HOST%",
  duration_ms: "%DURATION%",
  received_bytes: "%BYTES_RECEIVED%",
  sent_bytes: "%BYTES_SENT%",
  flags: "%RESPONSE_FLAGS%",
});

/** What Envoy's metrics call a cluster. They would take a dot for the end of its name. */
export function statName(cluster: string): string {
  return cluster.replaceAll(".", "_");
}

/** A cluster of TCP servers; `more`: other keys, which win. */
export function cluster({ name, endpoints }: Cluster, more: object = {}) {
  const names = endpoints.some(({ host }) => isIP(host) === 0);
  return {
    name,
    ...(name.includes(".") && { alt_stat_name: statName(name) }),
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
    ...more,
  };
}
