export type Labels = Readonly<Record<string, string>>;

/** One counter, gauge or untyped value. */
export interface Scalar {
  readonly labels: Labels;
  readonly value: number;
}

/** `buckets` ascend by `le` (the unit of the metric, the last is Infinity); `count` is cumulative, as in the format. */
export interface Histogram {
  readonly labels: Labels;
  readonly buckets: readonly { readonly le: number; readonly count: number }[];
  readonly sum: number;
  readonly count: number;
}

/** What one page of metrics says, by metric name. Summaries appear as scalars under the names of their lines. */
export interface Metrics {
  readonly scalars: ReadonlyMap<string, readonly Scalar[]>;
  readonly histograms: ReadonlyMap<string, readonly Histogram[]>;
}

const sampleLine = /^([a-zA-Z_:][\w:]*)(?:[ \t]*\{(.*)\}[ \t]*|[ \t]+)([^\s{}]+)(?:[ \t]+-?\d+)?$/s;
const label = /[ \t]*([a-zA-Z_]\w*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(?:,|$)/sy;

/**
 * Reads the Prometheus text exposition format, version 0.0.4. A series that stands there more than once is added up, so
 * that the pages of several proxies can be read as one.
 * @throws {SyntaxError} on the first line that is none, with its number
 */
export function parseMetrics(text: string): Metrics {
  const histogramNames = new Set<string>();
  const scalars = new Map<string, Map<string, { labels: Labels; value: number }>>();
  const histograms = new Map<string, Map<string, HistogramParts>>();
  let number = 0;
  for (const raw of text.split("\n")) {
    number++;
    const line = raw.trim();
    if (line === "") continue;
    if (line.startsWith("#")) {
      const type = /^#[ \t]+TYPE[ \t]+(\S+)[ \t]+histogram$/.exec(line);
      if (type) histogramNames.add(type[1] as string);
      continue;
    }
    const match = sampleLine.exec(line);
    const labels = match && parseLabels(match[2]?.trim() ?? "");
    const value = match ? parseValue(match[3] as string) : undefined;
    if (!match || !labels || value === undefined) {
      throw new SyntaxError(`line ${number} is not in the Prometheus text format: ${line.slice(0, 80)}`);
    }
    const name = match[1] as string;
    const part = /^(.*)_(bucket|sum|count)$/.exec(name);
    if (part && histogramNames.has(part[1] as string)) {
      addToHistogram(histograms, part[1] as string, part[2] as string, labels, value);
    } else {
      series(scalars, name, labels, () => ({ labels, value: 0 })).value += value;
    }
  }
  return {
    scalars: new Map([...scalars].map(([name, byLabels]) => [name, [...byLabels.values()]])),
    histograms: new Map([...histograms].map(([name, byLabels]) => [name, [...byLabels.values()].map(finish)])),
  };
}

/** The entry of a metric and its labels, made where there is none yet. */
function series<T>(all: Map<string, Map<string, T>>, name: string, labels: Labels, make: () => T): T {
  const byLabels = all.get(name) ?? new Map<string, T>();
  all.set(name, byLabels);
  const key = seriesKey(labels);
  const entry = byLabels.get(key) ?? make();
  byLabels.set(key, entry);
  return entry;
}

interface HistogramParts {
  labels: Labels;
  buckets: Map<number, number>;
  sum: number;
  count: number;
}

/** A histogram is spread over lines: those that agree in all labels but `le` belong together. */
function addToHistogram(
  all: Map<string, Map<string, HistogramParts>>,
  name: string,
  part: string,
  { le, ...labels }: Record<string, string>,
  value: number,
): void {
  const histogram = series(all, name, labels, () => ({ labels, buckets: new Map(), sum: 0, count: 0 }));
  if (part === "sum") histogram.sum += value;
  else if (part === "count") histogram.count += value;
  else {
    const bound = parseValue(le ?? "") ?? Number.NaN;
    histogram.buckets.set(bound, (histogram.buckets.get(bound) ?? 0) + value);
  }
}

function finish({ buckets, ...histogram }: HistogramParts): Histogram {
  return { ...histogram, buckets: [...buckets].sort(([a], [b]) => a - b).map(([le, count]) => ({ le, count })) };
}

/** The same text for the same labels, in whatever order they were written. */
export function seriesKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parseLabels(text: string): Record<string, string> | undefined {
  const labels: Record<string, string> = {};
  label.lastIndex = 0;
  while (label.lastIndex < text.length) {
    const match = label.exec(text);
    if (!match) return undefined;
    labels[match[1] as string] = (match[2] as string).replace(/\\(.)/gs, (_, c: string) => (c === "n" ? "\n" : c));
  }
  return labels;
}

function parseValue(text: string): number | undefined {
  if (/^\+?inf$/i.test(text)) return Number.POSITIVE_INFINITY;
  if (/^-inf$/i.test(text)) return Number.NEGATIVE_INFINITY;
  if (/^nan$/i.test(text)) return Number.NaN;
  const value = Number(text);
  return Number.isNaN(value) ? undefined : value;
}
