import { descriptor, globalRateLimit, httpFilter, localRateLimit, nameRules, needsNames } from "../envoy/filters.js";
import { host, type MeshModel, outboundCluster, resource, type Workloads } from "./mesh.js";
import type { Resource } from "./resource.js";
import { routeName } from "./routing.js";

const MANAGER = "envoy.filters.network.http_connection_manager";

/** Rate limits, in the proxies of clients; nothing where there are none. */
export function rateLimits(
  model: MeshModel,
  { namespace, labels, suffix }: Workloads & { suffix: string },
): Resource[] {
  const { routes = [], rateLimitService, istio } = model;
  const limited = routes.flatMap((route, i) =>
    route.rateLimit ? [{ name: routeName(route, i), limit: localRateLimit(route.rateLimit) }] : [],
  );
  const asked = rateLimitService && istio.rateLimitService;
  if (limited.length === 0 && !asked) return [];
  const filters = [
    ...(asked && needsNames(rateLimitService.descriptors)
      ? [httpFilter("header_to_metadata", "header_to_metadata.v3.Config", nameRules)]
      : []),
    ...(limited.length > 0
      ? [httpFilter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", { stat_prefix: "meltemi" })]
      : []),
    ...(asked
      ? [httpFilter("ratelimit", "ratelimit.v3.RateLimit", globalRateLimit(rateLimitService, outboundCluster(asked)))]
      : []),
  ];
  const configPatches = istio.ports.flatMap(({ port }) => {
    const vhost = `${host(model)}:${port}`;
    return [
      ...filters.map((filter) => ({
        applyTo: "HTTP_FILTER",
        match: {
          context: "SIDECAR_OUTBOUND",
          listener: {
            portNumber: port,
            filterChain: { filter: { name: MANAGER, subFilter: { name: "envoy.filters.http.router" } } },
          },
        },
        patch: { operation: "INSERT_BEFORE", value: filter },
      })),
      ...limited.map(({ name, limit }) => ({
        applyTo: "HTTP_ROUTE",
        match: { context: "SIDECAR_OUTBOUND", routeConfiguration: { vhost: { name: vhost, route: { name } } } },
        patch: {
          operation: "MERGE",
          value: { typed_per_filter_config: { "envoy.filters.http.local_ratelimit": limit } },
        },
      })),
      ...(asked
        ? [
            {
              applyTo: "VIRTUAL_HOST",
              match: { context: "SIDECAR_OUTBOUND", routeConfiguration: { vhost: { name: vhost } } },
              patch: { operation: "MERGE", value: { rate_limits: rateLimitService.descriptors.map(descriptor) } },
            },
          ]
        : []),
    ];
  });
  const why = "Limits requests in the proxies of the clients, for which Istio has no resource of its own.";
  const at = {
    kind: "EnvoyFilter" as const,
    name: `limits${suffix}`,
    namespace,
    component: "limits",
    why,
  };
  // After filters of others that have none: what they insert before the router stands before these.
  const priority = 10;
  return [resource(model, at, { ...(labels && { workloadSelector: { labels } }), priority, configPatches })];
}
