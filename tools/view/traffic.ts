import { type Histogram, type Labels, type Metrics, type Scalar, seriesKey } from "./prometheus.js";

/** The metrics of a module at one moment; `at` is in milliseconds of any steady clock. */
export interface Snapshot {
  readonly at: number;
  readonly metrics: Metrics;
}

/** What passed between two snapshots. Bytes are those of whole frames. */
export interface Load {
  readonly requestsPerSecond: number;
  /** Outcomes other than `ok` and `oneway`. */
  readonly errorsPerSecond: number;
  readonly requestBytesPerSecond: number;
  readonly responseBytesPerSecond: number;
  /** Since the proxy started. */
  readonly requests: number;
  readonly errors: number;
  /** Requests by their outcome. */
  readonly statuses: readonly Count[];
  readonly inFlight: number;
  /** Milliseconds, estimated inside a bucket of the histogram; null where nothing was measured. */
  readonly p50: number | null;
  readonly p99: number | null;
}

export interface MethodLoad extends Load {
  readonly direction: string;
  readonly protocol: string;
  readonly service: string;
  readonly method: string;
}

/** A counter beside the requests: `label` tells which, `total` counts since the proxy started. */
export interface Count {
  readonly label: string;
  readonly total: number;
  readonly perSecond: number;
}

export interface Traffic {
  /** Ordered by direction, protocol, service, method. */
  readonly methods: readonly MethodLoad[];
  readonly all: Load;
  readonly heartbeats: Count;
  readonly unmatchedResponses: Count;
  /** By reason. */
  readonly decodeErrors: readonly Count[];
  readonly closedConnections: readonly Count[];
  /** By cluster. */
  readonly routedConnections: readonly Count[];
  /** Mode bridge: requests by the cluster that Envoy sent them to, each once, however often it was tried. */
  readonly upstreams: readonly Count[];
  /** Mode bridge: what Envoy did about requests beside passing them on; only what happened. */
  readonly interventions: readonly Count[];
  readonly guestMemoryBytes: number | null;
}

/** By what the view calls them: Envoy's own counters. */
const interventions: Readonly<Record<string, readonly string[]>> = {
  retried: ["cluster_upstream_rq_retry"],
  delayed: ["http_fault_delays_injected"],
  aborted: ["http_fault_aborts_injected"],
  "rate limited": ["http_local_rate_limit_rate_limited", "cluster_ratelimit_over_limit"],
  denied: ["http_rbac_denied"],
  "timed out": [
    "cluster_upstream_rq_timeout",
    "cluster_upstream_rq_per_try_timeout",
    "cluster_upstream_rq_max_duration_reached",
  ],
  "no route": ["http_no_route"],
};

export interface MeasureOptions {
  /** Envoy brings its histograms up to date only from time to time: the quantiles are those since this snapshot. */
  readonly older?: Snapshot | undefined;
  /** Counts only these requests: a bridge with both legs in one proxy sees each of them twice. */
  readonly direction?: string | undefined;
}

/**
 * What happened between two snapshots of the metrics that the module keeps (docs/architecture.md), and of those of
 * Envoy that say what became of a bridge's requests. Equal snapshots give zero rates and no quantiles.
 */
export function measure(
  before: Snapshot,
  after: Snapshot,
  { older = before, direction }: MeasureOptions = {},
): Traffic {
  const seconds = (after.at - before.at) / 1000;
  const meant = <T extends { labels: Labels }>(items: readonly T[]) =>
    direction === undefined ? items : items.filter(({ labels }) => labels.direction === direction);
  const all = (name: string) => increases(before.metrics, after.metrics, `meltemi_${name}`);
  const counts = (name: string) => meant(all(name));
  const envoys = (name: string) => increases(before.metrics, after.metrics, `envoy_${name}`);
  const requests = groupBy(counts("requests_total"), methodKey);
  const requestBytes = groupBy(counts("request_bytes_total"), methodKey);
  const responseBytes = groupBy(counts("response_bytes_total"), methodKey);
  const inFlight = groupBy(meant(after.metrics.scalars.get("meltemi_in_flight") ?? []), methodKey);
  const durations = groupBy(meant(newSamples(older.metrics, after.metrics)), methodKey);

  const load = (
    ofRequests: readonly Increase[],
    ofRequestBytes: readonly Increase[],
    ofResponseBytes: readonly Increase[],
    ofInFlight: readonly Scalar[],
    ofDurations: readonly Histogram[],
  ): Load => {
    const failed = ofRequests.filter(({ labels }) => labels.status !== "ok" && labels.status !== "oneway");
    return {
      requestsPerSecond: rate(sum(ofRequests, "increase"), seconds),
      errorsPerSecond: rate(sum(failed, "increase"), seconds),
      requestBytesPerSecond: rate(sum(ofRequestBytes, "increase"), seconds),
      responseBytesPerSecond: rate(sum(ofResponseBytes, "increase"), seconds),
      requests: sum(ofRequests, "value"),
      errors: sum(failed, "value"),
      statuses: byLabel(ofRequests, "status", seconds),
      inFlight: sum(ofInFlight, "value"),
      p50: quantile(0.5, ofDurations),
      p99: quantile(0.99, ofDurations),
    };
  };

  const keys = [...new Set([...requests.keys(), ...inFlight.keys()])].sort();
  return {
    methods: keys.map((key) => {
      const [direction, protocol, service, method] = JSON.parse(key) as [string, string, string, string];
      const of = <T>(groups: Map<string, T[]>) => groups.get(key) ?? [];
      return {
        ...{ direction, protocol, service, method },
        ...load(of(requests), of(requestBytes), of(responseBytes), of(inFlight), of(durations)),
      };
    }),
    all: load(flat(requests), flat(requestBytes), flat(responseBytes), flat(inFlight), flat(durations)),
    heartbeats: total("heartbeats", counts("heartbeats_total"), seconds),
    unmatchedResponses: total("unmatched responses", counts("unmatched_responses_total"), seconds),
    // Of either side: they are nowhere twice.
    decodeErrors: byLabel(all("decode_errors_total"), "reason", seconds),
    closedConnections: byLabel(all("closed_connections_total"), "reason", seconds),
    routedConnections: byLabel(counts("routed_connections_total"), "cluster", seconds),
    upstreams: byLabel(envoys("cluster_upstream_rq_completed"), "envoy_cluster_name", seconds),
    interventions: Object.entries(interventions)
      .map(([label, names]) => total(label, names.flatMap(envoys), seconds))
      .filter((count) => count.total > 0),
    guestMemoryBytes: after.metrics.scalars.get("meltemi_guest_memory_bytes")?.[0]?.value ?? null,
  };
}

/**
 * The value that the share `q` of all samples stays below, linear inside its bucket; the greatest finite bound where it
 * lies beyond all of them; null without samples.
 */
export function quantile(q: number, histograms: readonly Histogram[]): number | null {
  // Every histogram of one metric has the same bounds, because they come from one configuration.
  const bounds = histograms[0]?.buckets.map(({ le }) => le) ?? [];
  const counts = bounds.map((_, i) => histograms.reduce((n, { buckets }) => n + (buckets[i]?.count ?? 0), 0));
  const samples = counts.at(-1) ?? 0;
  if (samples === 0) return null;
  const rank = q * samples;
  const i = counts.findIndex((count) => count >= rank);
  const lower = bounds[i - 1] ?? 0;
  const upper = bounds[i] as number;
  if (upper === Number.POSITIVE_INFINITY) return lower;
  const below = counts[i - 1] ?? 0;
  return lower + ((upper - lower) * (rank - below)) / ((counts[i] as number) - below);
}

interface Increase extends Scalar {
  readonly increase: number;
}

/** A counter that went down started anew with its proxy, so all that it counts is new. */
const grown = (before: number, after: number) => (after >= before ? after - before : after);

function increases(before: Metrics, after: Metrics, name: string): Increase[] {
  const old = new Map(before.scalars.get(name)?.map(({ labels, value }) => [seriesKey(labels), value]));
  return (after.scalars.get(name) ?? []).map(({ labels, value }) => ({
    labels,
    value,
    increase: grown(old.get(seriesKey(labels)) ?? 0, value),
  }));
}

/** The histograms of the samples that came between the two. */
function newSamples(before: Metrics, after: Metrics): Histogram[] {
  const name = "meltemi_request_duration_milliseconds";
  const old = new Map(before.histograms.get(name)?.map((histogram) => [seriesKey(histogram.labels), histogram]));
  return (after.histograms.get(name) ?? []).map((now) => {
    const was = old.get(seriesKey(now.labels));
    if (!was || now.count < was.count) return now;
    const buckets = now.buckets.map(({ le, count }, i) => ({ le, count: count - (was.buckets[i]?.count ?? 0) }));
    return { labels: now.labels, buckets, sum: now.sum - was.sum, count: now.count - was.count };
  });
}

const methodKey = ({ direction = "", protocol = "", service = "", method = "" }: Labels) =>
  JSON.stringify([direction, protocol, service, method]);

function groupBy<T extends { labels: Labels }>(items: readonly T[], key: (labels: Labels) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item.labels));
    if (group) group.push(item);
    else groups.set(key(item.labels), [item]);
  }
  return groups;
}

const flat = <T>(groups: Map<string, T[]>): T[] => [...groups.values()].flat();

const sum = <K extends string>(items: readonly Record<K, number>[], key: K) => items.reduce((n, i) => n + i[key], 0);

const rate = (increase: number, seconds: number) => (seconds > 0 ? increase / seconds : 0);

function total(label: string, items: readonly Increase[], seconds: number): Count {
  return { label, total: sum(items, "value"), perSecond: rate(sum(items, "increase"), seconds) };
}

function byLabel(items: readonly Increase[], label: string, seconds: number): Count[] {
  return [...groupBy(items, (labels) => labels[label] ?? "")]
    .map(([value, group]) => total(value, group, seconds))
    .filter((count) => count.total > 0)
    .sort((a, b) => (a.label < b.label ? -1 : 1));
}
