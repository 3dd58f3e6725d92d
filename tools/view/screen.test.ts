import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { bytes, count, milliseconds, type Page, render, type Step, sparkline, stepLine, summary } from "./screen.js";
import type { Load, MethodLoad, Traffic } from "./traffic.js";

const idle: Load = {
  requestsPerSecond: 0,
  errorsPerSecond: 0,
  requestBytesPerSecond: 0,
  responseBytesPerSecond: 0,
  requests: 0,
  errors: 0,
  statuses: [],
  inFlight: 0,
  p50: null,
  p99: null,
};

function method(service: string, method: string, load: Partial<MethodLoad> = {}): MethodLoad {
  return { ...idle, direction: "outbound", protocol: "dubbo", service, method, ...load };
}

function traffic(methods: MethodLoad[], beside: Partial<Traffic> = {}): Traffic {
  return {
    methods,
    all: { ...idle, requestsPerSecond: 1234.4, requests: 99, p50: 0.4, p99: 20 },
    heartbeats: { label: "heartbeats", total: 0, perSecond: 0 },
    unmatchedResponses: { label: "unmatched responses", total: 0, perSecond: 0 },
    decodeErrors: [],
    closedConnections: [],
    routedConnections: [],
    upstreams: [],
    interventions: [],
    guestMemoryBytes: null,
    ...beside,
  };
}

const page = (of: Traffic | undefined, rest: Partial<Page> = {}): Page => ({
  title: "greeter",
  steps: [],
  traffic: of,
  history: new Map(),
  trouble: undefined,
  footer: [],
  ...rest,
});

const wide = { columns: 110, rows: 32, colour: false };

describe("render", () => {
  test("aligns the figures below their titles", () => {
    const busy = method("a.Greeter", "hi", { requestsPerSecond: 1200, requests: 99, errors: 1, p50: 0.3, p99: 12.4 });
    const lines = render(page(traffic([busy])), wide);
    const [head, row] = lines.slice(2, 4) as [string, string];
    expect(row).toMatch(/^a\.Greeter {2}hi +1,200 .* <1 ms +12 ms +0 +0$/);
    for (const [title, figure] of Object.entries({ "REQ/S": "1,200", P50: "<1 ms", P99: "12 ms" })) {
      expect(head.indexOf(title) + title.length).toBe(row.indexOf(figure) + figure.length);
    }
    expect(lines[5]).toMatch(/^all +1,234 /);
  });

  test("fits any screen and is never higher than it", () => {
    const long = Array.from({ length: 40 }, (_, i) => method(`com.example.very.long.Service${i}`, `someMethod${i}`));
    for (const columns of [10, 40, 60, 79, 110, 200]) {
      for (const rows of [6, 12, 24, 60]) {
        const many = Array.from({ length: 30 }, (_, i) => ({ label: `cluster${i}`, total: i, perSecond: 0 }));
        const lines = render(
          page(traffic(long, { upstreams: many }), {
            steps: [
              { name: "step", state: "running", text: "a long text ".repeat(20), detail: ["and more ".repeat(20)] },
            ],
            footer: ["a footer that is rather long ".repeat(8)],
          }),
          { columns, rows, colour: true },
        );
        expect(lines.length).toBeLessThan(rows);
        if (columns < 40) continue;
        for (const line of lines) expect(stripVTControlCharacters(line).length).toBeLessThanOrEqual(columns);
      }
    }
  });

  test("shows the busiest methods in their own order where not all fit", () => {
    const methods = Array.from({ length: 40 }, (_, i) => method("s", `m${i}`, { requests: i % 20 }));
    const text = render(page(traffic(methods)), { ...wide, rows: 14 }).join("\n");
    expect(text).toMatch(/ m19 (.|\n)* m39 /);
    expect(text).not.toContain(" m0 ");
    expect(text).toMatch(/and \d+ more/);
  });

  test("prefers what is busy now where not all fit", () => {
    const methods = Array.from({ length: 40 }, (_, i) => method("s", `m${i}`, { requests: 40 - i }));
    methods[39] = method("s", "m39", { requests: 1, requestsPerSecond: 1 });
    const text = render(page(traffic(methods)), { ...wide, rows: 12 }).join("\n");
    expect(text).toMatch(/ m0 (.|\n)* m39 /);
  });

  test("names outcomes other than ok: by method where there is room, of all below", () => {
    const status = (label: string, total: number) => ({ label, total, perSecond: 0 });
    const statuses = [status("denied", 12), status("ok", 80), status("oneway", 3), status("timeout", 1)];
    const failing = method("s", "m", { requests: 96, errors: 13, statuses });
    const of = traffic([failing], { all: { ...idle, requests: 96, errors: 13, statuses } });
    expect(render(page(of), { ...wide, columns: 120 })[3]).toMatch(/ denied 12 · timeout 1$/);
    const narrow = render(page(of), { ...wide, columns: 80 }).join("\n");
    expect(narrow).not.toContain("OTHER THAN OK");
    expect(narrow).toMatch(/^answers +ok 80 · oneway 3 · denied 12 · timeout 1$/m);
  });

  test("says where Envoy sent requests and what it did about them, on as many lines as that takes", () => {
    const counts = (...labels: string[]) => labels.map((label, i) => ({ label, total: 1000 + i, perSecond: 0 }));
    const of = traffic([method("s", "m")], {
      upstreams: counts("greeter|v1", "greeter|v2"),
      interventions: counts("retried", "delayed", "aborted", "rate limited"),
    });
    const text = render(page(of), { ...wide, columns: 60 }).join("\n");
    expect(text).toMatch(/^upstreams +greeter\|v1 1,000 · greeter\|v2 1,001$/m);
    expect(text).toMatch(/^envoy {10}retried 1,000 · delayed 1,001 · aborted 1,002\n {15}rate limited 1,003$/m);
    expect(summary(of)).toContain("to greeter|v1 1,000 · greeter|v2 1,001  envoy retried 1,000 · ");
  });

  test("marks steps, and tells the details of the one that runs", () => {
    const steps: Step[] = [
      { name: "one", state: "right", text: "all of them went to the canary, and nowhere else", detail: ["hidden"] },
      { name: "second", state: "running", text: "so far 7", detail: ["rule: 90"] },
      { name: "third", state: "waiting", text: "not yet" },
      { name: "last", state: "wrong", text: "no" },
    ];
    const shown = (rows: number) => render(page(undefined, { steps }), { columns: 40, rows, colour: false }).slice(2);
    expect(shown(40).slice(0, 7)).toEqual([
      "✓ one     all of them went to the",
      "          canary, and nowhere else",
      "▸ second  so far 7",
      "          rule: 90",
      "  third   not yet",
      "✗ last    no",
      "",
    ]);
    expect(shown(24).join("\n")).not.toContain("rule: 90");
    expect(stepLine(steps[0] as Step)).toBe("✓ one: all of them went to the canary, and nowhere else");
    expect(stepLine(steps[1] as Step)).toBe("▸ second: so far 7  rule: 90");
  });

  test("names protocol and direction only where there are several", () => {
    const one = [method("s", "m")];
    expect(render(page(traffic(one)), wide).join("\n")).not.toContain("dubbo");
    const two = [...one, method("s", "m", { direction: "inbound", protocol: "thrift" })];
    expect(render(page(traffic(two)), wide).join("\n")).toMatch(/\ndubbo outbound\ns +m .*\nthrift inbound\ns +m /);
  });

  test("names a service once, above its methods", () => {
    const lines = render(page(traffic([method("a", "x"), method("a", "y"), method("b", "x")])), wide);
    expect(lines.slice(3, 6).map((line) => line.slice(0, 10))).toEqual(["a        x", "         y", "b        x"]);
  });

  test("says what happened beside the requests, and nothing of what did not", () => {
    const quiet = render(page(traffic([method("s", "m")])), wide).join("\n");
    expect(quiet).not.toMatch(/routed|decode|unmatched|closed|heartbeats|memory/);
    const text = render(
      page(
        traffic([method("s", "m")], {
          routedConnections: [
            { label: "s|v1", total: 12, perSecond: 0 },
            { label: "s|v2", total: 3, perSecond: 0 },
          ],
          decodeErrors: [{ label: "magic", total: 2, perSecond: 0 }],
          heartbeats: { label: "heartbeats", total: 7, perSecond: 0 },
          guestMemoryBytes: 196608,
        }),
      ),
      wide,
    ).join("\n");
    expect(text).toMatch(/routed +s\|v1 12 · s\|v2 3\n/);
    expect(text).toContain("7 heartbeats · 192 KiB guest memory");
    expect(text).toMatch(/decode errors +magic 2$/);
  });

  test("says what it waits for, and what is wrong", () => {
    const stranger = traffic([], { all: idle, decodeErrors: [{ label: "magic", total: 2, perSecond: 0 }] });
    expect(render(page(stranger), wide).slice(2)).toEqual([
      "waiting for the first request",
      "",
      "decode errors  magic 2",
    ]);
    expect(render(page(undefined), wide).join("\n")).toContain("waiting for the first request");
    expect(render(page(undefined, { trouble: "connection refused" }), wide).join("\n")).toContain(
      "no new figures: connection refused",
    );
  });

  test("has no colours where they are not wanted", () => {
    const lines = render(page(traffic([method("s", "m")]), { trouble: "x", footer: ["y"] }), wide);
    expect(lines.map(stripVTControlCharacters)).toEqual(lines);
  });
});

test("a summary names the busy methods only", () => {
  const line = summary(traffic([method("s", "busy", { requestsPerSecond: 7.25 }), method("s", "quiet")]));
  expect(line).toBe("1,234 req/s  0 errors/s  p50 <1 ms  p99 20 ms  0 in flight  s/busy 7.3");
});

test("a summary says which way a method goes where there are several", () => {
  const both = ["inbound", "outbound"].map((direction) => method("s", "m", { direction, requestsPerSecond: 1 }));
  expect(summary(traffic(both))).toMatch(/ {2}dubbo inbound s\/m 1 {2}dubbo outbound s\/m 1$/);
});

test("figures are short", () => {
  expect([0, 0.04, 3, 9.96, 12.3, 123456.7].map(count)).toEqual(["0", "<0.1", "3", "10.0", "12", "123,457"]);
  expect([null, 0.2, 1, 1.6, 999.4, 12345].map(milliseconds)).toEqual([
    "-",
    "<1 ms",
    "<1 ms",
    "2 ms",
    "999 ms",
    "12.3 s",
  ]);
  expect([0, 0.5, 1023, 1024, 20480, 5 * 2 ** 20].map(bytes)).toEqual([
    "0 B",
    "1 B",
    "1023 B",
    "1.0 KiB",
    "20 KiB",
    "5.0 MiB",
  ]);
  expect(sparkline([0, 1, 50, 100])).toBe("▁▂▅█");
  expect(sparkline([0, 0])).toBe("▁▁");
});

test("folds the lines of the footer, because a cut address is none", () => {
  const url = "http://127.0.0.1:9901/stats/prometheus";
  const lines = render(page(undefined, { footer: [`metrics: ${url}`] }), { columns: 20, rows: 24, colour: false });
  expect(lines.slice(-3)).toEqual(["metrics: http://127.", "0.0.1:9901/stats/pro", "metheus"]);
});
