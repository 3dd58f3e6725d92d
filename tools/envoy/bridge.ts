import { headerName } from "../model/http.js";
import { type Cluster, clusterName, clusters, destinations } from "../model/module.js";
import type { Model, Route } from "../model/schema.js";
import { type Address, formatAddress } from "../model/units.js";
import {
  descriptor,
  fraction,
  globalRateLimit,
  httpFilter,
  localRateLimit,
  NAMES,
  nameOf,
  nameRules,
  needsNames,
  part,
  seconds,
} from "./filters.js";
import { headerMatchers, headerOf } from "./match.js";
import {
  accessLog,
  type BootstrapOptions,
  cluster,
  MiB,
  type Resources,
  socketAddress,
  TYPE,
  tcpProxy,
  UNLIMITED,
  wasmFilter,
} from "./resources.js";

/*
 * Mode bridge: `lift` makes requests of frames, http_connection_manager does with them what the model says, `lower` makes
 * frames of them again. Between router and `lower` lies the network, or an internal listener for each server.
 */

/** HTTP/2 streams of one connection: no more requests are ever under way in the module. */
const STREAMS = 65_536;
/** Largest window of HTTP/2. */
const WINDOW_MAX = 2 ** 31 - 1;
/** Clusters of other services than the user's, whose names have no colon. */
const RATE_LIMIT_SERVICE = "meltemi:rateLimitService";
const TRACING = "meltemi:tracing";

/** All of a bridge: listener `name` on service.bind, and what is behind it. */
export function bridge(model: Model, name: string, options: BootstrapOptions): Resources {
  const { leg = "both", service, rateLimitService, tracing } = model;
  const upstream = clusters(model);
  const { listener, lower } = builders(model, options);
  if (leg === "server") {
    const log = accessLog(model, options.accessLog);
    return {
      listeners: [listener(name, service.bind, lower(upstream[0].name, log))],
      clusters: upstream.map((it) => cluster(it)),
    };
  }

  const lift = [wasmFilter(model, "lift", "lift", options.module), connectionManager(model, options)];
  const others = [
    ...(rateLimitService ? [grpcCluster(RATE_LIMIT_SERVICE, rateLimitService.address)] : []),
    ...(tracing ? [grpcCluster(TRACING, tracing.openTelemetry)] : []),
  ];
  if (leg === "client") {
    return {
      listeners: [listener(name, service.bind, lift)],
      clusters: [...upstream.map((it) => bridgedCluster(model, it)), ...others],
    };
  }
  const servers = distinct(upstream.flatMap(({ endpoints }) => endpoints)).map((at) => ({
    name: serverName(model, at),
    endpoints: [at],
  }));
  return {
    listeners: [
      listener(name, service.bind, lift),
      ...servers.map((server) => listener(server.name, undefined, lower(server.name))),
    ],
    clusters: [
      ...upstream.map((it) => bridgedCluster(model, it, (at) => serverName(model, at))),
      ...servers.map((server) => cluster(server)),
      ...others,
    ],
    bootstrapExtensions: [
      {
        name: "envoy.bootstrap.internal_listener",
        typed_config: { "@type": `${TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener` },
      },
    ],
  };
}

function builders(model: Model, { module }: BootstrapOptions) {
  return {
    /** Without an address an internal one. */
    listener: (name: string, address: Address | undefined, filters: object[]) => ({
      name,
      ...(address ? { address: socketAddress(address), enable_reuse_port: false } : { internal_listener: {} }),
      per_connection_buffer_limit_bytes: MiB,
      filter_chains: [{ filters }],
    }),
    lower: (to: string, more?: object) => [wasmFilter(model, "lower", "lower", module), tcpProxy(to, more)],
  };
}

/** Of a server's internal listener and its cluster. */
function serverName(model: Model, at: Address): string {
  return clusterName(model, formatAddress(at));
}

function distinct(addresses: readonly Address[]): Address[] {
  return [...new Map(addresses.map((at) => [formatAddress(at), at])).values()];
}

/** What is told of a request. */
const REQUEST = {
  start: "%START_TIME%",
  client: "%DOWNSTREAM_REMOTE_ADDRESS%",
  service: `%DYNAMIC_METADATA(${NAMES}:service)%`,
  method: `%DYNAMIC_METADATA(${NAMES}:method)%`,
  route: "%ROUTE_NAME%",
  cluster: "%UPSTREAM_CLUSTER%",
  server: "%UPSTREAM_HOST_NAME%",
  attempts: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
  code: "%RESPONSE_CODE%",
  status: "%RESP(MELTEMI-STATUS)%",
  duration_ms: "%DURATION%",
  received_bytes: "%BYTES_RECEIVED%",
  sent_bytes: "%BYTES_SENT%",
  flags: "%RESPONSE_FLAGS%",
  details: "%RESPONSE_CODE_DETAILS%",
};

function connectionManager(model: Model, options: BootstrapOptions) {
  const { service, routes = [{}], rateLimitService, tracing, limits } = model;
  const log = accessLog(model, options.accessLog, REQUEST);
  return {
    name: "envoy.filters.network.http_connection_manager",
    typed_config: {
      "@type": `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: "meltemi",
      codec_type: "HTTP2",
      http2_protocol_options: {
        max_concurrent_streams: STREAMS,
        // Each time that a window opens, the module takes in what the client has sent meanwhile, up to 1 MiB.
        initial_stream_window_size: 4 * MiB,
        initial_connection_window_size: 256 * MiB,
        // Small replies to a slow client: more frames than streams may wait.
        max_outbound_frames: 4 * STREAMS,
        override_stream_error_on_invalid_http_message: true,
      },
      common_http_protocol_options: { idle_timeout: "0s" },
      stream_idle_timeout: "0s",
      max_request_headers_kb: headersKiB(limits.head),
      generate_request_id: tracing !== undefined,
      server_header_transformation: "PASS_THROUGH",
      normalize_path: false,
      merge_slashes: false,
      ...log,
      ...(tracing && { tracing: tracer(model, tracing) }),
      route_config: {
        name: service.name,
        virtual_hosts: [
          {
            name: service.name,
            domains: ["*"],
            routes: routes.map((route) => routeOf(model, route)),
            ...(rateLimitService && { rate_limits: rateLimitService.descriptors.map(descriptor) }),
          },
        ],
      },
      http_filters: httpFilters(model, log.access_log !== undefined),
    },
  };
}

/** Room for what a head of the greatest length becomes as headers, and for what Envoy adds. */
function headersKiB(head: number): number {
  return Math.ceil(head / 1024) + 32;
}

function routeOf(model: Model, route: Route) {
  const { name, match, timeout, retries, fault, mirror, headers, rateLimit } = route;
  const to = destinations(model, route);
  const perFilter = {
    ...(rateLimit && { "envoy.filters.http.local_ratelimit": localRateLimit(rateLimit) }),
    ...(fault && { "envoy.filters.http.fault": faultOf(fault) }),
  };
  return {
    ...(name !== undefined && { name }),
    match: { prefix: "/", ...(match && Object.keys(match).length > 0 && { headers: headerMatchers(match) }) },
    route: {
      ...(to.length === 1
        ? { cluster: to[0].cluster }
        : { weighted_clusters: { clusters: to.map(({ cluster: name, weight }) => ({ name, weight })) } }),
      ...timeouts(timeout, retries),
      ...(mirror && {
        request_mirror_policies: [
          {
            cluster: clusterName(model, mirror.subset),
            runtime_fraction: { default_value: fraction(mirror.percentage) },
            disable_shadow_host_suffix_append: true,
          },
        ],
      }),
      ...hashPolicy(model),
    },
    ...headerChanges("request", headers?.request),
    ...headerChanges("response", headers?.response),
    ...(Object.keys(perFilter).length > 0 && { typed_per_filter_config: perFilter }),
  };
}

/**
 * How much later than its only attempt a request ends, in milliseconds. The attempt's end comes first, although attempts
 * begin later, because outlier detection counts that one; but it does not come once the reply has begun.
 */
const GRACE = 250;

/**
 * A frame's deadline, which arrives as grpc-timeout, counts as well as the route's timeout; but where Envoy looks at it,
 * it leaves the route's own timeout aside. Instead the whole stream has one, and where there is only one attempt, that.
 */
function timeouts(timeout: number | undefined, retries: Route["retries"]) {
  const end = timeout === undefined ? undefined : seconds(retries ? timeout : timeout + GRACE);
  return {
    timeout: "0s",
    max_stream_duration: { grpc_timeout_header_max: end ?? "0s", ...(end && { max_stream_duration: end }) },
    ...(retries
      ? { retry_policy: retryPolicy(retries) }
      : timeout !== undefined && { retry_policy: { per_try_timeout: seconds(timeout) } }),
  };
}

function retryPolicy({ attempts, perTryTimeout, retryOn }: NonNullable<Route["retries"]>) {
  return {
    retry_on: retryOn.conditions.join(","),
    ...(retryOn.codes.length > 0 && { retriable_status_codes: retryOn.codes }),
    num_retries: attempts,
    ...(perTryTimeout !== undefined && { per_try_timeout: seconds(perTryTimeout) }),
    retry_host_predicate: [
      {
        name: "envoy.retry_host_predicates.previous_hosts",
        typed_config: { "@type": `${TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate` },
      },
    ],
    host_selection_retry_max_attempts: 5,
  };
}

function hashPolicy({ trafficPolicy }: Model) {
  const { key } = trafficPolicy?.loadBalancer?.consistentHash ?? {};
  if (key === undefined) return {};
  const { header_name, regex } = headerOf(key);
  return { hash_policy: [{ header: { header_name, ...(regex && { regex_rewrite: part(regex) }) } }] };
}

type Changes = NonNullable<NonNullable<Route["headers"]>["request"]>;

function headerChanges(side: "request" | "response", { set = {}, remove = [] }: Changes = {}) {
  const add = Object.entries(set).map(([key, value]) => ({
    header: { key: headerName(key), value },
    append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
    keep_empty_value: true,
  }));
  return {
    ...(add.length > 0 && { [`${side}_headers_to_add`]: add }),
    ...(remove.length > 0 && { [`${side}_headers_to_remove`]: remove.map(headerName) }),
  };
}

function faultOf({ abort, delay }: NonNullable<Route["fault"]>) {
  return {
    "@type": `${TYPE}.extensions.filters.http.fault.v3.HTTPFault`,
    ...(delay && { delay: { fixed_delay: seconds(delay.fixedDelay), percentage: fraction(delay.percentage) } }),
    ...(abort && { abort: { http_status: abort.httpStatus, percentage: fraction(abort.percentage) } }),
  };
}

/** Only the filters that something asks for: each costs time on every request. */
function httpFilters({ routes = [], authorization = [], rateLimitService, tracing }: Model, logged: boolean) {
  const { descriptors = [] } = rateLimitService ?? {};
  const named = logged || tracing !== undefined || needsNames(descriptors);
  return [
    ...(named ? [httpFilter("header_to_metadata", "header_to_metadata.v3.Config", nameRules)] : []),
    ...["DENY", "ALLOW"].flatMap((action) => {
      const rules = authorization.filter((rule) => rule.action === action);
      return rules.length > 0 ? [httpFilter("rbac", "rbac.v3.RBAC", accessRules(action, rules))] : [];
    }),
    ...(routes.some(({ rateLimit }) => rateLimit)
      ? [httpFilter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", { stat_prefix: "meltemi" })]
      : []),
    ...(rateLimitService
      ? [httpFilter("ratelimit", "ratelimit.v3.RateLimit", globalRateLimit(rateLimitService, RATE_LIMIT_SERVICE))]
      : []),
    ...(routes.some(({ fault }) => fault) ? [httpFilter("fault", "fault.v3.HTTPFault", {})] : []),
    httpFilter("router", "router.v3.Router", { suppress_envoy_headers: true }),
  ];
}

function accessRules(action: string, rules: NonNullable<Model["authorization"]>) {
  const policies = rules.map(({ name, match }, i) => {
    const headers = headerMatchers(match).map((header) => ({ header }));
    const permission = headers.length > 0 ? { and_rules: { rules: headers } } : { any: true };
    return [name ?? `${action} ${i + 1}`, { permissions: [permission], principals: [{ any: true }] }];
  });
  return { rules: { action, policies: Object.fromEntries(policies) }, rules_stat_prefix: `${action.toLowerCase()}_` };
}

function tracer({ service }: Model, { sampling }: NonNullable<Model["tracing"]>) {
  const tag = (name: string, key: string) => ({
    tag: name,
    metadata: { kind: { request: {} }, metadata_key: nameOf(key) },
  });
  return {
    random_sampling: { value: sampling },
    custom_tags: [tag("rpc.service", "service"), tag("rpc.method", "method")],
    provider: {
      name: "envoy.tracers.opentelemetry",
      typed_config: {
        "@type": `${TYPE}.config.trace.v3.OpenTelemetryConfig`,
        grpc_service: { envoy_grpc: { cluster_name: TRACING }, timeout: "1s" },
        service_name: service.name,
      },
    },
  };
}

/** A cluster behind the router. `internal` names the listener of an address, where servers are reached through one. */
function bridgedCluster(model: Model, to: Cluster, internal?: (at: Address) => string) {
  const { trafficPolicy = {}, limits, heartbeats } = model;
  const { loadBalancer, outlierDetection, retryBudget } = trafficPolicy;
  return cluster(internal ? { ...to, endpoints: [] } : to, {
    ...(loadBalancer?.consistentHash
      ? { lb_policy: "RING_HASH", ring_hash_lb_config: { minimum_ring_size: 1024 } }
      : { lb_policy: loadBalancer?.simple ?? "ROUND_ROBIN" }),
    circuit_breakers: {
      thresholds: [
        {
          max_connections: UNLIMITED,
          max_pending_requests: UNLIMITED,
          max_requests: UNLIMITED,
          ...(retryBudget
            ? {
                retry_budget: {
                  budget_percent: { value: retryBudget.percent },
                  min_retry_concurrency: retryBudget.minRetryConcurrency,
                },
              }
            : { max_retries: UNLIMITED }),
        },
      ],
    },
    ...(outlierDetection && { outlier_detection: outliers(outlierDetection) }),
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        common_http_protocol_options: { idle_timeout: "0s", max_response_headers_kb: headersKiB(limits.head) },
        explicit_http_config: heartbeats
          ? {
              http2_protocol_options: {
                max_concurrent_streams: STREAMS,
                initial_stream_window_size: Math.min(Math.max(limits.frame, MiB), WINDOW_MAX),
                initial_connection_window_size: WINDOW_MAX,
                max_outbound_frames: 4 * STREAMS,
                override_stream_error_on_invalid_http_message: true,
              },
            }
          : { http_protocol_options: {} },
      },
    },
    ...(internal && {
      transport_socket: {
        name: "envoy.transport_sockets.internal_upstream",
        typed_config: {
          "@type": `${TYPE}.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport`,
          transport_socket: {
            name: "envoy.transport_sockets.raw_buffer",
            typed_config: { "@type": `${TYPE}.extensions.transport_sockets.raw_buffer.v3.RawBuffer` },
          },
        },
      },
      load_assignment: {
        cluster_name: to.name,
        endpoints: [{ lb_endpoints: to.endpoints.map((at) => internalEndpoint(internal(at), at)) }],
      },
    }),
  });
}

/** `hostname` is only for logs. */
function internalEndpoint(listener: string, at: Address) {
  const address = { envoy_internal_address: { server_listener_name: listener, endpoint_id: formatAddress(at) } };
  return { endpoint: { hostname: formatAddress(at), address } };
}

type Outliers = NonNullable<NonNullable<Model["trafficPolicy"]>["outlierDetection"]>;

function outliers({ consecutive5xxErrors: all, consecutiveGatewayErrors, ...rest }: Outliers) {
  const gateway = consecutiveGatewayErrors ?? (all === undefined ? 5 : undefined);
  return {
    ...(gateway !== undefined && { consecutive_gateway_failure: gateway }),
    enforcing_consecutive_gateway_failure: gateway === undefined ? 0 : 100,
    ...(all !== undefined && { consecutive_5xx: all }),
    enforcing_consecutive_5xx: all === undefined ? 0 : 100,
    // Envoy would also take servers out that are worse than the others.
    enforcing_success_rate: 0,
    interval: seconds(rest.interval),
    base_ejection_time: seconds(rest.baseEjectionTime),
    max_ejection_percent: rest.maxEjectionPercent,
  };
}

function grpcCluster(name: string, at: Address) {
  return cluster(
    { name, endpoints: [at] },
    {
      typed_extension_protocol_options: {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
          "@type": `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
          explicit_http_config: { http2_protocol_options: {} },
        },
      },
    },
  );
}
