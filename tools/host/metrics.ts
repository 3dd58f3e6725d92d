import { MetricType, Result } from "./abi.js";

/** Upper bounds of Envoy's default histogram buckets. */
const histogramBounds: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
];

export interface Histogram {
  count: number;
  /** Exact; Envoy's own is made of the middles of its bins and a little off. */
  sum: number;
  /** Samples at or below each of `histogramBounds`, as Envoy counts them; cumulative. */
  buckets: number[];
}

/** The metrics of one VM: names are the full ones that the guest defined, numbers are what Envoy would show. */
export class Metrics {
  readonly counters = new Map<string, number>();
  readonly gauges = new Map<string, number>();
  readonly histograms = new Map<string, Histogram>();

  /** The low two bits of an id are the type, as in Envoy; every define() makes a new id, even for a known name. */
  private readonly names = new Map<number, string>();
  private readonly last = [0, 0, 0];

  define(type: number, name: string): number | undefined {
    const last = this.last[type];
    if (last === undefined) return undefined;
    if (type === MetricType.Counter) this.counters.set(name, this.counters.get(name) ?? 0);
    else if (type === MetricType.Gauge) this.gauges.set(name, this.gauges.get(name) ?? 0);
    else if (!this.histograms.has(name)) {
      this.histograms.set(name, { count: 0, sum: 0, buckets: histogramBounds.map(() => 0) });
    }
    this.last[type] = last + 1;
    const id = ((last + 1) << 2) | type;
    this.names.set(id, name);
    return id;
  }

  increment(id: number, offset: bigint): Result {
    const type = id & 3;
    if (type !== MetricType.Counter && type !== MetricType.Gauge) return Result.BadArgument;
    const name = this.names.get(id);
    if (name === undefined) return Result.NotFound;
    if (type === MetricType.Counter && offset <= 0n) return Result.BadArgument;
    const values = type === MetricType.Counter ? this.counters : this.gauges;
    values.set(name, (values.get(name) ?? 0) + Number(offset));
    return Result.Ok;
  }

  record(id: number, value: bigint): Result {
    const name = this.names.get(id);
    if (name === undefined) return Result.NotFound;
    const number = Number(value);
    if ((id & 3) === MetricType.Counter) this.counters.set(name, (this.counters.get(name) ?? 0) + number);
    else if ((id & 3) === MetricType.Gauge) this.gauges.set(name, number);
    else {
      const histogram = this.histograms.get(name) as Histogram;
      const counted = floor(number);
      histogram.count++;
      histogram.sum += number;
      histogramBounds.forEach((bound, i) => {
        if (counted <= bound) histogram.buckets[i] = (histogram.buckets[i] as number) + 1;
      });
    }
    return Result.Ok;
  }

  /** The value of a counter or gauge, or why there is none. */
  get(id: number): number | { error: Result } {
    const type = id & 3;
    if (type !== MetricType.Counter && type !== MetricType.Gauge) return { error: Result.BadArgument };
    const name = this.names.get(id);
    if (name === undefined) return { error: Result.NotFound };
    return (type === MetricType.Counter ? this.counters : this.gauges).get(name) as number;
  }

  /** Envoy's `/stats/prometheus` for these metrics: labels are cut out of the names (`label=.=value;.;`). */
  prometheus(): string {
    return (
      render("counter", this.counters, plain) +
      render("gauge", this.gauges, plain) +
      render("histogram", this.histograms, (name, labels, { buckets, count, sum }) => {
        const lines = buckets.map(
          (n, i) => `${name}_bucket{${[...labels, `le="${histogramBounds[i]}"`].join(",")}} ${n}`,
        );
        lines.push(`${name}_bucket{${[...labels, `le="+Inf"`].join(",")}} ${count}`);
        lines.push(`${name}_sum{${labels.join(",")}} ${sum}`, `${name}_count{${labels.join(",")}} ${count}`);
        return lines;
      })
    );
  }
}

/** The lower bound of Envoy's bin for a sample: its first two digits. So 259 counts as at most 250. */
function floor(value: number): number {
  const scale = 10 ** Math.max(0, Math.floor(Math.log10(value)) - 1);
  return Math.floor(value / scale) * scale;
}

function plain(name: string, labels: string[], value: number): string[] {
  return [`${name}{${labels.join(",")}} ${value}`];
}

function render<T>(
  type: string,
  metrics: Map<string, T>,
  lines: (name: string, labels: string[], value: T) => string[],
): string {
  const families = new Map<string, string[]>();
  for (const [full, value] of metrics) {
    const { name, labels } = splitName(full);
    const family = families.get(name) ?? [];
    const pairs = labels.map(([label, text]) => `${label}="${text.replace(/["\\]/g, "\\$&").replace(/\n/g, "\\n")}"`);
    family.push(...lines(name, pairs, value));
    families.set(name, family);
  }
  let text = "";
  for (const [name, family] of families) text += `# TYPE ${name} ${type}\n${family.join("\n")}\n`;
  return text;
}

/** `a=.=1;.;b=.=2;.;name` -> name and its labels in order. */
export function splitName(full: string): { name: string; labels: [string, string][] } {
  const labels: [string, string][] = [];
  const rest = full.replace(/([A-Za-z_]+)=\.=(.*?);\.;/gs, (_, label: string, value: string) => {
    labels.push([label, value]);
    return "";
  });
  return { name: rest.replace(/[^A-Za-z0-9_:]/g, "_"), labels };
}
