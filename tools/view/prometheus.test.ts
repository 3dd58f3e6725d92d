import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseMetrics } from "./prometheus.js";

describe("parseMetrics", () => {
  test("reads counters and gauges with and without labels, comments, blank lines and timestamps", () => {
    const { scalars } = parseMetrics(
      [
        "# HELP requests what they are",
        "# TYPE requests counter",
        'requests{service="a.B",method="hi"} 5',
        'requests{ service = "a.B" , method="ho", } 6.5e1 1712345678901',
        "",
        "# TYPE memory gauge",
        "memory{} -3",
        "other:name 0x",
      ]
        .join("\r\n")
        .replace("0x", "+Inf"),
    );
    expect(scalars.get("requests")).toEqual([
      { labels: { service: "a.B", method: "hi" }, value: 5 },
      { labels: { service: "a.B", method: "ho" }, value: 65 },
    ]);
    expect(scalars.get("memory")).toEqual([{ labels: {}, value: -3 }]);
    expect(scalars.get("other:name")).toEqual([{ labels: {}, value: Number.POSITIVE_INFINITY }]);
  });

  test("gathers the lines of a histogram, as Envoy writes them", () => {
    const { scalars, histograms } = parseMetrics(
      [
        "# TYPE d histogram",
        'd_bucket{method="hi",le="0.5"} 1',
        'd_bucket{method="hi",le="+Inf"} 9',
        'd_bucket{method="hi",le="5"} 7',
        'd_sum{method="hi"} 31.5',
        'd_count{method="hi"} 9',
        'd_bucket{method="ho",le="+Inf"} 0',
        'd_sum{method="ho"} 0',
        'd_count{method="ho"} 0',
        "# TYPE e_count counter",
        "e_count 4",
      ].join("\n"),
    );
    expect(histograms.get("d")).toEqual([
      {
        labels: { method: "hi" },
        buckets: [
          { le: 0.5, count: 1 },
          { le: 5, count: 7 },
          { le: Number.POSITIVE_INFINITY, count: 9 },
        ],
        sum: 31.5,
        count: 9,
      },
      { labels: { method: "ho" }, buckets: [{ le: Number.POSITIVE_INFINITY, count: 0 }], sum: 0, count: 0 },
    ]);
    expect(scalars.get("e_count")).toEqual([{ labels: {}, value: 4 }]);
  });

  test("adds up series that stand there twice, whatever the order of their labels", () => {
    const page = (a: string, b: string) => `x{${a},${b}} 2
# TYPE d histogram
d_bucket{${a},${b},le="1"} 3
d_bucket{${a},${b},le="+Inf"} 4
d_sum{${a},${b}} 5
d_count{${a},${b}} 4
`;
    const { scalars, histograms } = parseMetrics(page('a="1"', 'b="2"') + page('b="2"', 'a="1"'));
    const labels = { a: "1", b: "2" };
    expect(scalars.get("x")).toEqual([{ labels, value: 4 }]);
    const buckets = [
      { le: 1, count: 6 },
      { le: Number.POSITIVE_INFINITY, count: 8 },
    ];
    expect(histograms.get("d")).toEqual([{ labels, buckets, sum: 10, count: 8 }]);
  });

  test("any label value survives being escaped and read", () => {
    const escaped = (text: string) => text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
    // A bare carriage return or another line separator may stand in a value: only \n ends a line.
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), (a, b) => {
        const { scalars } = parseMetrics(`x{a="${escaped(a)}",b="${escaped(b)}"} 1`);
        expect(scalars.get("x")).toEqual([{ labels: { a, b }, value: 1 }]);
      }),
    );
  });

  test.each(["<html>", "xy", 'x{a="b} 1', 'x{a="b"c="d"} 1', "x{a=b} 1", "x 1 2 3", "x one"])("rejects %s", (line) => {
    expect(() => parseMetrics(`y 1\n${line}\n`)).toThrow(/^line 2 is not in the Prometheus text format/);
  });
});
