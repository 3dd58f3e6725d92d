import type { Model, Route } from "../model/schema.js";
import { headerOf } from "./match.js";
import { TYPE } from "./resources.js";

/*
 * HTTP filters and what routes say to them, as http_connection_manager takes them: for our own, and for that of Istio.
 */

type RateLimitService = NonNullable<Model["rateLimitService"]>;

/** Where the filters that need them find a request's service and method. */
export const NAMES = "meltemi";

/** `type`: below envoy.extensions.filters.http. */
export function httpFilter(name: string, type: string, config: object) {
  return {
    name: `envoy.filters.http.${name}`,
    typed_config: { "@type": `${TYPE}.extensions.filters.http.${type}`, ...config },
  };
}

/** Takes `:path` apart, since neither rate limits nor logs and spans can. */
export const nameRules = {
  request_rules: ["service", "method"].map((key) => {
    const { header_name: header, regex = "" } = headerOf(key);
    return { header, on_header_present: { metadata_namespace: NAMES, key, regex_value_rewrite: part(regex) } };
  }),
};

/** Whether some descriptor asks for a service or a method. */
export function needsNames(descriptors: RateLimitService["descriptors"]): boolean {
  return descriptors.flat().some((key) => headerOf(key).regex);
}

/** Of one route. */
export function localRateLimit({ requests, per, burst = requests }: NonNullable<Route["rateLimit"]>) {
  const always = { default_value: fraction(100) };
  return {
    "@type": `${TYPE}.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`,
    stat_prefix: "meltemi",
    token_bucket: { max_tokens: burst, tokens_per_fill: requests, fill_interval: seconds(per) },
    filter_enabled: always,
    filter_enforced: always,
  };
}

/** `cluster`: that of the service which is asked. */
export function globalRateLimit({ domain, timeout, failOpen }: RateLimitService, cluster: string) {
  return {
    domain,
    timeout: seconds(timeout),
    failure_mode_deny: !failOpen,
    rate_limit_service: {
      grpc_service: { envoy_grpc: { cluster_name: cluster } },
      transport_api_version: "V3",
    },
  };
}

/** What is asked of one request. */
export function descriptor(keys: readonly string[]) {
  return {
    actions: keys.map((key) => {
      const { header_name, regex } = headerOf(key);
      return regex
        ? { metadata: { descriptor_key: key, metadata_key: nameOf(key) } }
        : { request_headers: { header_name, descriptor_key: key } };
    }),
  };
}

/** The place of a service or method as dynamic metadata. */
export function nameOf(key: string) {
  return { key: NAMES, path: [{ key }] };
}

/** The part of a value that the group of `regex` holds. */
export function part(regex: string) {
  return { pattern: { regex }, substitution: "\\1" };
}

export function seconds(milliseconds: number): string {
  return `${milliseconds / 1000}s`;
}

/** A percentage to the fourth decimal. */
export function fraction(percentage: number) {
  return { numerator: Math.round(percentage * 10_000), denominator: "MILLION" };
}
