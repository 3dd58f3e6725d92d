/** The numbers of proxy-wasm ABI 0.2.1, as Envoy's host uses them. */

export const Result = {
  Ok: 0,
  NotFound: 1,
  BadArgument: 2,
  InvalidMemoryAccess: 6,
  Unimplemented: 12,
} as const;
export type Result = (typeof Result)[keyof typeof Result];

export const BufferType = {
  NetworkDownstreamData: 2,
  NetworkUpstreamData: 3,
  VmConfiguration: 6,
  PluginConfiguration: 7,
  Max: 8,
} as const;

/** What proxy_continue_stream and proxy_close_stream mean; 0 and 1 are HTTP's and do nothing to a connection. */
export const StreamType = { HttpRequest: 0, HttpResponse: 1, Downstream: 2, Upstream: 3 } as const;

export const MetricType = { Counter: 0, Gauge: 1, Histogram: 2 } as const;

/** Who closed a connection, as told to proxy_on_downstream_connection_close. */
export const Peer = { Unknown: 0, Local: 1, Remote: 2 } as const;

export const Action = { Continue: 0, StopIteration: 1 } as const;

export const logLevels = ["trace", "debug", "info", "warn", "error", "critical"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Keys that set_envoy_filter_state may create: those that Envoy has an object factory for. */
export const filterStateKeys: ReadonlySet<string> = new Set([
  "envoy.hashable_string",
  "envoy.network.application_protocols",
  "envoy.network.upstream_server_name",
  "envoy.network.upstream_subject_alt_names",
  "envoy.ratelimit.hits_addend",
  "envoy.string",
  "envoy.tcp_proxy.cluster",
  "envoy.tcp_proxy.disable_tunneling",
  "envoy.tcp_proxy.per_connection_idle_timeout_ms",
  "envoy.upstream.dynamic_host",
  "envoy.upstream.dynamic_port",
]);

/** Host functions of the ABI that no network filter has a use for: a module may import them, and is told so. */
export const unimplementedFunctions = [
  "proxy_add_header_map_value",
  "proxy_clear_route_cache",
  "proxy_dequeue_shared_queue",
  "proxy_enqueue_shared_queue",
  "proxy_get_header_map_pairs",
  "proxy_get_header_map_size",
  "proxy_get_header_map_value",
  "proxy_get_shared_data",
  "proxy_grpc_call",
  "proxy_grpc_cancel",
  "proxy_grpc_close",
  "proxy_grpc_send",
  "proxy_grpc_stream",
  "proxy_http_call",
  "proxy_register_shared_queue",
  "proxy_remove_header_map_value",
  "proxy_replace_header_map_value",
  "proxy_resolve_shared_queue",
  "proxy_send_local_response",
  "proxy_set_header_map_pairs",
  "proxy_set_shared_data",
] as const;

const signature = (parameters: string, result = "") =>
  `(${[...parameters].map((c) => (c === "l" ? "i64" : "i32")).join(",")})->(${result})`;

/** Signatures of the host functions that a network filter uses. */
export const hostFunctions: Readonly<Record<string, string>> = {
  proxy_call_foreign_function: signature("iiiiii", "i32"),
  proxy_close_stream: signature("i", "i32"),
  proxy_continue_stream: signature("i", "i32"),
  proxy_define_metric: signature("iiii", "i32"),
  proxy_done: signature("", "i32"),
  proxy_get_buffer_bytes: signature("iiiii", "i32"),
  proxy_get_buffer_status: signature("iii", "i32"),
  proxy_get_current_time_nanoseconds: signature("i", "i32"),
  proxy_get_log_level: signature("i", "i32"),
  proxy_get_metric: signature("ii", "i32"),
  proxy_get_property: signature("iiii", "i32"),
  proxy_get_status: signature("iii", "i32"),
  proxy_increment_metric: signature("il", "i32"),
  proxy_log: signature("iii", "i32"),
  proxy_record_metric: signature("il", "i32"),
  proxy_set_buffer_bytes: signature("iiiii", "i32"),
  proxy_set_effective_context: signature("i", "i32"),
  proxy_set_property: signature("iiii", "i32"),
  proxy_set_tick_period_milliseconds: signature("i", "i32"),
};

/** Signatures of what a module exports to the host. */
export const guestFunctions: Readonly<Record<string, { signature: string; optional?: true }>> = {
  _initialize: { signature: signature("") },
  malloc: { signature: signature("i", "i32"), optional: true },
  meltemi_describe: { signature: signature("", "i32") },
  proxy_abi_version_0_2_1: { signature: signature("") },
  proxy_on_configure: { signature: signature("ii", "i32") },
  proxy_on_context_create: { signature: signature("ii") },
  proxy_on_delete: { signature: signature("i") },
  proxy_on_done: { signature: signature("i", "i32") },
  proxy_on_downstream_connection_close: { signature: signature("ii") },
  proxy_on_downstream_data: { signature: signature("iii", "i32") },
  proxy_on_log: { signature: signature("i") },
  proxy_on_memory_allocate: { signature: signature("i", "i32"), optional: true },
  proxy_on_new_connection: { signature: signature("i", "i32") },
  proxy_on_tick: { signature: signature("i") },
  proxy_on_upstream_connection_close: { signature: signature("ii") },
  proxy_on_upstream_data: { signature: signature("iii", "i32") },
  proxy_on_vm_start: { signature: signature("ii", "i32") },
};
