import { seconds } from "../envoy/filters.js";
import { headerName } from "../model/http.js";
import { httpMatch } from "../model/istio/match.js";
import type { Route } from "../model/schema.js";
import { host, type MeshModel, resource } from "./mesh.js";
import type { Resource } from "./resource.js";

/** Subsets and how requests are spread; nothing where the configuration has neither. */
export function destinationRule(model: MeshModel): Resource[] {
  const { service, trafficPolicy, istio } = model;
  if (!service.subsets && !trafficPolicy) return [];
  const why = service.subsets
    ? "Names the subsets that routes lead to, by labels of their pods."
    : "Says how requests are spread over the servers.";
  const { namespace } = istio;
  const at = {
    kind: "DestinationRule" as const,
    name: "",
    namespace,
    component: "routes",
    why,
  };
  return [
    resource(model, at, {
      host: host(model),
      ...(trafficPolicy && { trafficPolicy: policy(trafficPolicy) }),
      ...(service.subsets && {
        subsets: service.subsets.map(({ name, labels = { version: name } }) => ({ name, labels })),
      }),
    }),
  ];
}

function policy({ loadBalancer, outlierDetection, retryBudget }: NonNullable<MeshModel["trafficPolicy"]>) {
  const { simple, consistentHash } = loadBalancer ?? {};
  return {
    ...(simple && { loadBalancer: { simple } }),
    ...(consistentHash && { loadBalancer: { consistentHash: { httpHeaderName: headerName(consistentHash.key) } } }),
    ...(outlierDetection && { outlierDetection: outliers(outlierDetection) }),
    ...(retryBudget && { retryBudget }),
  };
}

type Outliers = NonNullable<NonNullable<MeshModel["trafficPolicy"]>["outlierDetection"]>;

/** What is left out means 5 in a row of any error to Istio. */
function outliers({ consecutive5xxErrors = 0, consecutiveGatewayErrors, ...rest }: Outliers) {
  return {
    consecutive5xxErrors,
    consecutiveGatewayErrors: consecutiveGatewayErrors ?? (consecutive5xxErrors === 0 ? 5 : 0),
    interval: seconds(rest.interval),
    baseEjectionTime: seconds(rest.baseEjectionTime),
    maxEjectionPercent: rest.maxEjectionPercent,
  };
}

/** The name of a route, by which a rate limit finds it. */
export function routeName({ name }: Route, index: number): string {
  return name ?? `route-${index + 1}`;
}

/** The routes of a bridge; nothing where all requests simply go to the service. */
export function virtualService(model: MeshModel): Resource[] {
  const { routes, istio } = model;
  if (!routes) return [];
  const why = "Says where each request goes, and what else happens to it: the first route that matches wins.";
  const { namespace } = istio;
  const at = {
    kind: "VirtualService" as const,
    name: "",
    namespace,
    component: "routes",
    why,
  };
  const http = routes.map((route, i) => httpRoute(model, route, routeName(route, i)));
  return [resource(model, at, { hosts: [host(model)], http })];
}

function httpRoute(model: MeshModel, route: Route, name: string) {
  const { match = {}, timeout, retries, fault, mirror, headers } = route;
  const destination = (subset: string | undefined) => ({ host: host(model), ...(subset !== undefined && { subset }) });
  const to: { subset: string | undefined; weight?: number | undefined }[] = route.route ?? [{ subset: route.subset }];
  return {
    name,
    ...(Object.keys(match).length > 0 && { match: [httpMatch(match)] }),
    route:
      to.length === 1
        ? [{ destination: destination(to[0]?.subset) }]
        : to.map(({ subset, weight = 1 }) => ({ destination: destination(subset), weight })),
    ...(timeout !== undefined && { timeout: seconds(timeout) }),
    ...(retries && {
      retries: {
        attempts: retries.attempts,
        ...(retries.perTryTimeout !== undefined && { perTryTimeout: seconds(retries.perTryTimeout) }),
        retryOn: [...retries.retryOn.conditions, ...retries.retryOn.codes].join(","),
      },
    }),
    ...(fault && {
      fault: {
        ...(fault.delay && {
          delay: { fixedDelay: seconds(fault.delay.fixedDelay), percentage: { value: fault.delay.percentage } },
        }),
        ...(fault.abort && {
          abort: { httpStatus: fault.abort.httpStatus, percentage: { value: fault.abort.percentage } },
        }),
      },
    }),
    ...(mirror && { mirror: destination(mirror.subset), mirrorPercentage: { value: mirror.percentage } }),
    ...(headers && {
      headers: {
        ...(headers.request && { request: changes(headers.request) }),
        ...(headers.response && { response: changes(headers.response) }),
      },
    }),
  };
}

function changes({ set, remove }: NonNullable<NonNullable<Route["headers"]>["request"]>) {
  const named = (key: string) => headerName(key) ?? key;
  return {
    ...(set && { set: Object.fromEntries(Object.entries(set).map(([key, value]) => [named(key), value])) }),
    ...(remove && { remove: remove.map(named) }),
  };
}
