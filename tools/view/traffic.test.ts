import { describe, expect, test } from "vitest";
import { type Histogram, parseMetrics } from "./prometheus.js";
import { measure, quantile, type Snapshot } from "./traffic.js";

const bounds = [0.5, 1, 5, 10, Number.POSITIVE_INFINITY];

/** `counts` are those of single buckets, not cumulative. */
function histogram(...counts: number[]): Histogram {
  let count = 0;
  const buckets = bounds.map((le, i) => {
    count += counts[i] ?? 0;
    return { le, count };
  });
  return { labels: {}, buckets, sum: 0, count };
}

const hi = 'protocol="dubbo",direction="outbound",service="a.B",method="hi"';
const ho = 'protocol="dubbo",direction="outbound",service="a.B",method="ho"';

function snapshot(at: number, ...lines: string[]): Snapshot {
  return { at, metrics: parseMetrics(["# TYPE meltemi_request_duration_milliseconds histogram", ...lines].join("\n")) };
}

function durations(labels: string, ...counts: number[]): string[] {
  const { buckets, count } = histogram(...counts);
  const name = "meltemi_request_duration_milliseconds";
  return [
    ...buckets.map(({ le, count }) => `${name}_bucket{${labels},le="${le === Infinity ? "+Inf" : le}"} ${count}`),
    `${name}_sum{${labels}} 0`,
    `${name}_count{${labels}} ${count}`,
  ];
}

describe("quantile", () => {
  test("is linear inside a bucket", () => {
    const samples = [histogram(0, 0, 100, 100)];
    expect(quantile(0.25, samples)).toBe(3);
    expect(quantile(0.5, samples)).toBe(5);
    expect(quantile(0.99, samples)).toBeCloseTo(9.9);
  });

  test("counts the samples of all histograms together", () => {
    expect(quantile(0.5, [histogram(0, 0, 50), histogram(0, 0, 50, 100)])).toBe(5);
  });

  test("lies in the first bucket for what took less than a unit", () => {
    expect(quantile(0.99, [histogram(7)])).toBeLessThan(1);
  });

  test("says no more than the greatest finite bound", () => {
    expect(quantile(0.99, [histogram(1, 0, 0, 0, 99)])).toBe(10);
  });

  test("is null without samples", () => {
    expect(quantile(0.5, [])).toBeNull();
    expect(quantile(0.5, [histogram()])).toBeNull();
  });
});

describe("measure", () => {
  const before = snapshot(
    1000,
    `meltemi_requests_total{${hi},status="ok"} 100`,
    `meltemi_requests_total{${hi},status="exception"} 1`,
    `meltemi_request_bytes_total{${hi},status="ok"} 5000`,
    `meltemi_heartbeats_total{protocol="dubbo",direction="outbound"} 4`,
    ...durations(`${hi},status="ok"`, 100),
  );
  const after = snapshot(
    3000,
    `meltemi_requests_total{${hi},status="ok"} 300`,
    `meltemi_requests_total{${hi},status="exception"} 5`,
    `meltemi_requests_total{${ho},status="oneway"} 10`,
    `meltemi_request_bytes_total{${hi},status="ok"} 9000`,
    `meltemi_response_bytes_total{${hi},status="ok"} 8000`,
    `meltemi_in_flight{${hi}} 3`,
    `meltemi_in_flight{${ho}} 0`,
    `meltemi_heartbeats_total{protocol="dubbo",direction="outbound"} 6`,
    `meltemi_decode_errors_total{protocol="dubbo",direction="outbound",reason="magic"} 2`,
    `meltemi_routed_connections_total{protocol="dubbo",direction="outbound",cluster="greeter|v2"} 5`,
    `meltemi_routed_connections_total{protocol="dubbo",direction="outbound",cluster="greeter|v1"} 1`,
    `meltemi_routed_connections_total{protocol="dubbo",direction="outbound",cluster="unused"} 0`,
    `meltemi_guest_memory_bytes{} 131072`,
    ...durations(`${hi},status="ok"`, 100, 0, 200),
  );

  test("gives the rates of each method and of all", () => {
    const { methods, all } = measure(before, after);
    expect(methods).toEqual([
      {
        direction: "outbound",
        protocol: "dubbo",
        service: "a.B",
        method: "hi",
        requestsPerSecond: 102,
        errorsPerSecond: 2,
        requestBytesPerSecond: 2000,
        responseBytesPerSecond: 4000,
        requests: 305,
        errors: 5,
        statuses: [
          { label: "exception", total: 5, perSecond: 2 },
          { label: "ok", total: 300, perSecond: 100 },
        ],
        inFlight: 3,
        p50: 3,
        p99: expect.closeTo(4.96),
      },
      expect.objectContaining({ method: "ho", requestsPerSecond: 5, errorsPerSecond: 0, errors: 0, p50: null }),
    ]);
    expect(all).toMatchObject({ requestsPerSecond: 107, errorsPerSecond: 2, requests: 315, inFlight: 3, p50: 3 });
  });

  test("gives what is counted beside the requests", () => {
    expect(measure(before, after)).toMatchObject({
      heartbeats: { total: 6, perSecond: 1 },
      unmatchedResponses: { total: 0, perSecond: 0 },
      decodeErrors: [{ label: "magic", total: 2, perSecond: 1 }],
      closedConnections: [],
      routedConnections: [
        { label: "greeter|v1", total: 1 },
        { label: "greeter|v2", total: 5 },
      ],
      guestMemoryBytes: 131072,
    });
  });

  test("takes the quantiles since the older snapshot", () => {
    const later = snapshot(4000, ...durations(`${hi},status="ok"`, 100, 0, 200), `meltemi_in_flight{${hi}} 0`);
    expect(measure(after, later).methods[0]?.p50).toBeNull();
    expect(measure(after, later, { older: before }).methods[0]?.p50).toBe(3);
  });

  test("equal snapshots give no rates", () => {
    expect(measure(after, after).all).toMatchObject({ requestsPerSecond: 0, requests: 315, p50: null });
  });

  test("a proxy that started anew counts from zero", () => {
    const { all } = measure(
      { ...after, at: 0 },
      snapshot(1000, `meltemi_requests_total{${hi},status="ok"} 7`, ...durations(`${hi},status="ok"`, 0, 0, 0, 7)),
    );
    expect(all.requestsPerSecond).toBe(7);
    expect(all.p50).toBeGreaterThan(5);
  });

  test("counts one direction of a bridge that sees every request twice", () => {
    const both = snapshot(
      1000,
      `meltemi_requests_total{${hi},status="ok"} 7`,
      `meltemi_requests_total{${hi.replace("outbound", "inbound")},status="ok"} 9`,
      `meltemi_unmatched_responses_total{protocol="dubbo",direction="inbound"} 2`,
      `meltemi_decode_errors_total{protocol="dubbo",direction="inbound",reason="magic"} 1`,
      ...durations(`${hi.replace("outbound", "inbound")},status="ok"`, 9),
    );
    const traffic = measure(snapshot(0), both, { direction: "outbound" });
    expect(traffic.methods).toMatchObject([{ direction: "outbound", requests: 7, p50: null }]);
    expect(traffic).toMatchObject({ all: { requests: 7 }, unmatchedResponses: { total: 0 } });
    // Bytes that are not the protocol are worth a line whoever sent them.
    expect(traffic.decodeErrors).toMatchObject([{ label: "magic", total: 1 }]);
    expect(measure(snapshot(0), both).all.requests).toBe(16);
  });

  test("says what Envoy did about a bridge's requests", () => {
    const cluster = (name: string) => `{envoy_cluster_name="greeter|${name}"}`;
    const { upstreams, interventions } = measure(
      snapshot(0, `envoy_cluster_upstream_rq_retry${cluster("v1")} 1`),
      snapshot(
        2000,
        `envoy_cluster_upstream_rq_completed${cluster("v1")} 90`,
        `envoy_cluster_upstream_rq_completed${cluster("v2")} 10`,
        `envoy_cluster_upstream_rq_retry${cluster("v1")} 5`,
        `envoy_cluster_upstream_rq_retry${cluster("v2")} 2`,
        `envoy_cluster_upstream_rq_timeout${cluster("v1")} 1`,
        `envoy_cluster_upstream_rq_per_try_timeout${cluster("v1")} 2`,
        `envoy_http_fault_aborts_injected{envoy_http_conn_manager_prefix="meltemi"} 0`,
        `envoy_http_rbac_denied{envoy_http_conn_manager_prefix="meltemi",envoy_rbac_http_prefix="deny_"} 4`,
      ),
    );
    expect(upstreams).toEqual([
      { label: "greeter|v1", total: 90, perSecond: 45 },
      { label: "greeter|v2", total: 10, perSecond: 5 },
    ]);
    expect(interventions).toEqual([
      { label: "retried", total: 7, perSecond: 3 },
      { label: "denied", total: 4, perSecond: 2 },
      { label: "timed out", total: 3, perSecond: 1.5 },
    ]);
  });
});
