import { type Paint, painter, type Style } from "../terminal.js";
import type { Count, Load, MethodLoad, Traffic } from "./traffic.js";

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

/** One of several things that are shown in turn. */
export interface Step {
  readonly name: string;
  readonly state: "waiting" | "running" | "right" | "wrong";
  readonly text: string;
  /** Told only while the step is running. */
  readonly detail?: readonly string[];
}

export interface Page {
  readonly title: string;
  readonly steps: readonly Step[];
  /** Undefined until the first two snapshots. */
  readonly traffic: Traffic | undefined;
  /** Requests a second of the last seconds, newest last, by `rowKey`. */
  readonly history: ReadonlyMap<string, readonly number[]>;
  /** Why there are no new figures, if there are none. */
  readonly trouble: string | undefined;
  readonly footer: readonly string[];
}

export const sparklineLength = 16;

export const rowKey = ({ direction, protocol, service, method }: MethodLoad) =>
  [direction, protocol, service, method].join(" ");

interface Column {
  readonly title: string;
  readonly width: number;
  /** Where the screen is narrow, the columns with the greatest figure go first. */
  readonly luxury: number;
  readonly text: (load: Load, history: readonly number[]) => string;
  readonly style?: (load: Load) => Style | undefined;
}

const columns: readonly Column[] = [
  { title: "REQ/S", width: 8, luxury: 0, text: (load) => count(load.requestsPerSecond) },
  {
    title: "",
    width: sparklineLength,
    luxury: 4,
    text: (_, history) => sparkline(history),
    style: (load) => (load.requestsPerSecond > 0 ? "cyan" : "dim"),
  },
  { title: "P50", width: 7, luxury: 3, text: (load) => milliseconds(load.p50) },
  { title: "P99", width: 7, luxury: 1, text: (load) => milliseconds(load.p99) },
  {
    title: "ERRORS/S",
    width: 8,
    luxury: 0,
    text: (load) => (load.errors === 0 ? "-" : count(load.errorsPerSecond)),
    style: (load) => (load.errorsPerSecond > 0 ? "red" : "dim"),
  },
  { title: "IN FLIGHT", width: 9, luxury: 2, text: (load) => count(load.inFlight) },
  {
    title: "OTHER THAN OK",
    width: 24,
    luxury: 5,
    text: (load) => cut(other(load).join(dot), 24) || "-",
    style: (load) => (load.errors > 0 ? undefined : "dim"),
  },
];

export const gap = "  ";
const dot = " · ";

const isFine = ({ label }: Count) => label === "ok" || label === "oneway";
const other = ({ statuses }: Load) => amounts(statuses.filter((status) => !isFine(status)));

/** The lines of one page, each at most `columns` wide, fewer than `rows` of them, so that a terminal never scrolls. */
export function render(page: Page, screen: Screen): string[] {
  const paint = painter(screen.colour);
  const plain = (style: Style | undefined, text: string) => paint(style, cut(text, screen.columns));

  const title = cut(page.title, Math.max(0, screen.columns - 9));
  const head = [`${paint(["bold", "cyan"], "meltemi")}${gap}${paint("bold", title)}`, ""];
  const steps = stepLines(page.steps, screen, paint);
  if (steps.length > 0) head.push(...steps, "");
  const foot = page.traffic
    ? facts(page.traffic).flatMap(([name, parts]) => fact(name, parts, screen.columns, paint))
    : [];
  if (page.trouble) foot.push(plain("yellow", `no new figures: ${page.trouble}`));
  // Folded, not cut: there are addresses in these lines.
  const footer = page.footer.flatMap((line) => fold(line, screen.columns));
  if (footer.length > 0) foot.push("", ...footer.map((line) => plain("dim", line)));

  const space = screen.rows - 1 - head.length - foot.length;
  const body = page.traffic?.methods.length
    ? table(page.traffic, page.history, screen.columns, space, paint)
    : [plain("dim", "waiting for the first request"), ""];
  return [...head, ...body, ...foot].slice(0, screen.rows - 1);
}

const marks: Readonly<Record<Step["state"], readonly [mark: string, of: Style | undefined, text: Style | undefined]>> =
  {
    waiting: [" ", undefined, "dim"],
    running: ["▸", "cyan", "bold"],
    right: ["✓", "green", undefined],
    wrong: ["✗", "red", "red"],
  };
/** On a lower screen details would take the place of figures. */
const rowsForDetails = 30;

function stepLines(steps: readonly Step[], { columns: width, rows }: Screen, paint: Paint): string[] {
  const names = Math.max(...steps.map(({ name }) => name.length));
  const margin = 2 + names + gap.length;
  const folded = (text: string) => wrap(text.split(" "), " ", width - margin);
  return steps.flatMap(({ name, state, text, detail = [] }) => {
    const [mark, ofMark, ofText] = marks[state];
    const [first = "", ...others] = folded(text);
    const details = state === "running" && rows >= rowsForDetails ? detail.flatMap(folded) : [];
    return [
      `${paint(ofMark, mark)} ${paint(ofText, `${name.padEnd(names)}${gap}${first}`)}`,
      ...others.map((line) => " ".repeat(margin) + paint(ofText, line)),
      ...details.map((line) => " ".repeat(margin) + paint("dim", line)),
    ];
  });
}

/** What a file or a pipe is told of a step. */
export function stepLine({ name, state, text, detail = [] }: Step): string {
  return [`${marks[state][0]} ${name}: ${text}`, ...(state === "running" ? detail : [])].join(gap);
}

/** One line that says the same as a page, for a file or a pipe. */
export function summary(traffic: Traffic): string {
  const { all } = traffic;
  const methods = traffic.methods.filter(({ requestsPerSecond }) => requestsPerSecond > 0);
  // The group only where there are several, as on a page.
  const several = new Set(traffic.methods.map(groupOf)).size > 1;
  const name = (load: MethodLoad) => `${several ? `${groupOf(load)} ` : ""}${load.service}/${load.method}`;
  return [
    `${count(all.requestsPerSecond)} req/s`,
    `${count(all.errorsPerSecond)} errors/s`,
    `p50 ${milliseconds(all.p50)}`,
    `p99 ${milliseconds(all.p99)}`,
    `${count(all.inFlight)} in flight`,
    ...methods.map((load) => `${name(load)} ${count(load.requestsPerSecond)}`),
    ...(traffic.upstreams.length > 0 ? [`to ${list(traffic.upstreams)}`] : []),
    ...(traffic.interventions.length > 0 ? [`envoy ${list(traffic.interventions)}`] : []),
    ...(traffic.decodeErrors.length > 0 ? [`decode errors ${list(traffic.decodeErrors)}`] : []),
    ...(traffic.closedConnections.length > 0 ? [`closed ${list(traffic.closedConnections)}`] : []),
  ].join(gap);
}

function table(
  { methods, all }: Traffic,
  history: Page["history"],
  width: number,
  height: number,
  paint: Paint,
): string[] {
  const fixed = columnsFor(width);
  const names = width - fixed.reduce((n, column) => n + gap.length + column.width, 0);
  const longest = (texts: readonly string[]) => Math.max(...texts.map((text) => text.length));
  const methodWidth = Math.min(longest(["METHOD", ...methods.map(({ method }) => method)]), Math.floor(names * 0.4));
  const serviceWidth = Math.min(
    longest(["SERVICE", ...methods.map(({ service }) => service)]),
    names - gap.length - methodWidth,
  );

  const row = (service: string, method: string, style: Style | undefined, cell: (column: Column) => string) =>
    [
      paint(style, cutStart(service, serviceWidth).padEnd(serviceWidth)),
      paint(style, cut(method, methodWidth).padEnd(methodWidth)),
      ...fixed.map(cell),
    ].join(gap);
  const figures = (load: Load, key: string, style: Style | undefined) => (column: Column) =>
    paint(column.style?.(load) ?? style, column.text(load, history.get(key) ?? []).padStart(column.width));

  // A heading for each group where there are several; and titles, rule, sum, and the empty line behind them.
  const groups = new Set(methods.map(groupOf));
  const room = height - 4 - (groups.size > 1 ? groups.size : 0);
  const shown = busiest(methods, room >= methods.length ? methods.length : Math.max(1, room - 1));
  const lines = [row("SERVICE", "METHOD", "dim", ({ title, width }) => paint("dim", title.padStart(width)))];
  let above: MethodLoad | undefined;
  for (const load of shown) {
    const sameGroup = above && groupOf(above) === groupOf(load);
    if (groups.size > 1 && !sameGroup) lines.push(paint("cyan", cut(groupOf(load), width)));
    // A service is named once, above its methods.
    const service = sameGroup && above?.service === load.service ? "" : load.service;
    const style = load.requestsPerSecond > 0 ? undefined : "dim";
    lines.push(row(service, load.method, style, figures(load, rowKey(load), style)));
    above = load;
  }
  if (shown.length < methods.length) lines.push(paint("dim", `and ${methods.length - shown.length} more`));
  const ruled = serviceWidth + gap.length + methodWidth + width - names;
  lines.push(paint("dim", "─".repeat(ruled)), row("all", "", "bold", figures(all, "", "bold")), "");
  return lines;
}

const groupOf = ({ protocol, direction }: MethodLoad) => `${protocol} ${direction}`;

function columnsFor(width: number): Column[] {
  const kept = [...columns];
  const namesNeed = 24;
  while (kept.reduce((n, column) => n + gap.length + column.width, namesNeed) > width) {
    const most = Math.max(...kept.map(({ luxury }) => luxury));
    if (most === 0) break;
    kept.splice(
      kept.findIndex(({ luxury }) => luxury === most),
      1,
    );
  }
  return kept;
}

/**
 * The `n` methods with the most requests since the start, after those with any just now, in their own order, so that
 * rows do not jump about.
 */
function busiest(methods: readonly MethodLoad[], n: number): MethodLoad[] {
  const busy = ({ requestsPerSecond }: MethodLoad) => Number(requestsPerSecond > 0);
  const chosen = new Set([...methods].sort((a, b) => busy(b) - busy(a) || b.requests - a.requests).slice(0, n));
  return methods.filter((method) => chosen.has(method));
}

/** What is worth a line below the table: only what happened at all. */
function facts(traffic: Traffic): [name: string, parts: string[]][] {
  const { all, heartbeats, unmatchedResponses, decodeErrors, closedConnections } = traffic;
  const figures = [
    `${bytes(all.requestBytesPerSecond)}/s up`,
    `${bytes(all.responseBytesPerSecond)}/s down`,
    `${count(all.requests)} requests`,
    ...(heartbeats.total > 0 ? [`${count(heartbeats.total)} heartbeats`] : []),
    ...(traffic.guestMemoryBytes === null ? [] : [`${bytes(traffic.guestMemoryBytes)} guest memory`]),
  ];
  const lines: [string, string[]][] = [
    ["routed", amounts(traffic.routedConnections)],
    ["upstreams", amounts(traffic.upstreams)],
    ["envoy", amounts(traffic.interventions)],
    ["answers", all.errors > 0 ? [...amounts(all.statuses.filter(isFine)), ...other(all)] : []],
    ["traffic", all.requests > 0 ? figures : []],
    ["decode errors", amounts(decodeErrors)],
    ["unmatched", unmatchedResponses.total > 0 ? [`${count(unmatchedResponses.total)} responses`] : []],
    ["closed", amounts(closedConnections)],
  ];
  return lines.filter(([, parts]) => parts.length > 0);
}

const warnings = new Set(["decode errors", "unmatched", "closed"]);

function fact(name: string, parts: readonly string[], width: number, paint: Paint): string[] {
  const label = cut(name.padEnd(15), width);
  const style = warnings.has(name) ? "yellow" : undefined;
  return wrap(parts, dot, width - label.length).map(
    (line, i) => (i === 0 ? paint("dim", label) : " ".repeat(label.length)) + paint(style, line),
  );
}

const amounts = (counts: readonly Count[]) => counts.map(({ label, total }) => `${label} ${count(total)}`);

const list = (counts: readonly Count[]) => amounts(counts).join(dot);

/** Parts joined into lines that are at most `width` wide, a longer part cut. */
function wrap(parts: readonly string[], separator: string, width: number): string[] {
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    const longer = last === undefined ? part : `${last}${separator}${part}`;
    if (last !== undefined && longer.length <= width) lines[lines.length - 1] = longer;
    else lines.push(cut(part, width));
  }
  return lines;
}

function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
}

function fold(text: string, width: number): string[] {
  return text.length <= width || width < 1 ? [text] : [text.slice(0, width), ...fold(text.slice(width), width)];
}

/** Cut at the front: the end of a service's name says more than its package. */
function cutStart(text: string, width: number): string {
  return text.length <= width ? text : `…${text.slice(text.length - width + 1)}`;
}

/** Levels relative to the greatest value shown; the lowest one is kept for nothing at all. */
export function sparkline(values: readonly number[]): string {
  const levels = "▁▂▃▄▅▆▇█";
  const most = Math.max(...values);
  return values.map((value) => levels[most > 0 ? Math.ceil((value / most) * (levels.length - 1)) : 0]).join("");
}

export function count(value: number): string {
  if (value > 0 && value < 0.1) return "<0.1";
  if (value < 10 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString("en-US");
}

/** `null` (nothing measured) is `-`. Durations are whole milliseconds, so below one there is nothing to tell apart. */
export function milliseconds(value: number | null): string {
  if (value === null) return "-";
  if (value <= 1) return "<1 ms";
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(1)} s`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${power > 0 && scaled < 10 ? scaled.toFixed(1) : Math.round(scaled)} ${units[power]}`;
}
