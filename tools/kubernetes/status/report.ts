import { wrapped } from "../../model/words.js";
import { type Paint, painter, printable, type Style } from "../../terminal.js";
import { bytes, count } from "../../view/screen.js";
import { name } from "../set.js";
import type { ObjectStatus } from "./objects.js";
import type { ProxyStatus, Status } from "./status.js";
import { type Finding, podName, short, type Verdict } from "./verdict.js";

/*
 * How people read a status.
 */

export interface ReportOptions {
  /** Columns of the terminal. */
  width: number;
  color: boolean;
  /** Milliseconds of the clock. */
  now: number;
}

interface Cell {
  text: string;
  style?: Style;
}

interface Column {
  title: string;
  right?: true;
}

const OBJECTS: Column[] = [{ title: "OBJECT" }, { title: "AGE", right: true }, { title: "STATE" }];
/** The last ones are left out first where a terminal is too narrow. */
const PROXIES: Column[] = [
  { title: "POD" },
  { title: "PLUGIN" },
  { title: "STATE" },
  { title: "DIGEST" },
  { title: "REQUESTS", right: true },
  { title: "ERRORS", right: true },
  { title: "MEMORY", right: true },
];
const LUXURIES = 1;

/** A table of objects, one of proxies, and what there is to say about them. Ends with a line that sums it up. */
export function report(status: Status, verdict: Verdict, { width, color, now }: ReportOptions): string {
  const paint = painter(color);
  const proxies = status.plugins.flatMap(({ plugin, proxies }) => {
    const shown = status.services.length > 1 ? plugin.object.metadata.name : plugin.name;
    return proxies.map((proxy) => proxyRow(shown, proxy));
  });
  const findings = (of: readonly Finding[], title: string, style: Style) =>
    of.map((finding) => sentence(finding, title, width, (text) => paint(style, text)));
  const { problems, unseen, notes } = verdict;
  const right = problems.length === 0 && unseen.length === 0;
  const blocks = [
    table(
      OBJECTS,
      status.objects.map((it) => objectRow(it, now)),
      0,
      width,
      paint,
    ),
    table(PROXIES, proxies, LUXURIES, width, paint),
    ...findings(problems, "wrong", "red"),
    ...findings(unseen, "not seen", "yellow"),
    ...findings(notes, "note", "yellow"),
    [paint(right ? "green" : "red", summary(status, verdict))],
  ];
  return blocks
    .filter((lines) => lines.length > 0)
    .map((lines) => `${lines.join("\n")}\n`)
    .join("\n");
}

/** `greeter.shop: rolled out, 5 objects, 3 proxies, module 3b2008393645` */
export function summary({ services, objects, plugins }: Status, { problems, unseen }: Verdict): string {
  const what = services.join(", ");
  if (problems.length > 0) return `${what}: not rolled out`;
  if (unseen.length > 0) return `${what}: nothing wrong in what could be seen`;
  const pods = new Set(plugins.flatMap(({ proxies }) => proxies.map(({ pod }) => podName(pod))));
  const digest = plugins.map(({ plugin }) => plugin.digest).find((it) => it !== undefined);
  const some = (number: number, one: string, many: string) => `${number} ${number === 1 ? one : many}`;
  const parts = [some(objects.length, "object", "objects"), some(pods.size, "proxy", "proxies")];
  return `${what}: rolled out, ${parts.join(", ")}, module ${short(digest)}`;
}

function objectRow({ object, state }: ObjectStatus, now: number): Cell[] {
  const { creationTimestamp } = object.metadata;
  const style = state === "as written" ? "green" : state === "applied" ? undefined : "red";
  return [
    { text: name(object) },
    { text: state === "missing" || !creationTimestamp ? "-" : age(now - Date.parse(creationTimestamp)) },
    { text: state, ...(style && { style }) },
  ];
}

function proxyRow(plugin: string, proxy: ProxyStatus): Cell[] {
  const { pod, digest, counts } = proxy;
  const { text, style } = shownState(proxy);
  return [
    { text: podName(pod) },
    { text: plugin },
    { text, style },
    { text: digest === undefined ? "-" : short(digest) },
    { text: figure(counts?.requests, count) },
    { text: figure(counts?.decodeErrors, count), ...(counts?.decodeErrors && { style: "red" }) },
    { text: figure(counts?.memoryBytes, bytes) },
  ];
}

/** Where the plugin runs there is more to say: whether its proxy has taken all that istiod has sent. */
function shownState({ state, sync }: ProxyStatus): { text: string; style: Style } {
  if (state !== "runs") return { text: state, style: state === "not seen" ? "yellow" : "red" };
  if (sync === undefined) return { text: state, style: "yellow" };
  if (sync === "unknown") return { text: "cut off", style: "red" };
  if (sync.state === "synced") return { text: state, style: "green" };
  return { text: sync.state === "pending" ? "not synced" : "refuses", style: "red" };
}

function figure(value: number | undefined, write: (value: number) => string): string {
  return value === undefined ? "-" : write(value);
}

function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

/**
 * Aligned columns; nothing without rows.
 * @param luxuries so many of the last columns go where the width does not do, before the first one is cut at its start
 */
function table(
  columns: readonly Column[],
  rows: readonly Cell[][],
  luxuries: number,
  width: number,
  paint: Paint,
): string[] {
  if (rows.length === 0) return [];
  const sizes = columns.map(({ title }, i) => Math.max(title.length, ...rows.map((row) => row[i]?.text.length ?? 0)));
  const total = sizes.reduce((sum, size) => sum + size + GAP.length, -GAP.length);
  if (total > width && luxuries > 0) return table(columns.slice(0, -1), rows, luxuries - 1, width, paint);
  const room = Math.max(10, (sizes[0] as number) - Math.max(0, total - width));
  const lines = [columns.map(({ title }): Cell => ({ text: title, style: "dim" })), ...rows].map((row) =>
    columns
      .map(({ right }, i) => {
        const { text, style } = row[i] as Cell;
        const size = i === 0 ? room : (sizes[i] as number);
        const cut = text.length > size ? `…${text.slice(text.length - size + 1)}` : text;
        const space = " ".repeat(size - cut.length);
        return right ? space + paint(style, cut) : paint(style, cut) + (i < columns.length - 1 ? space : "");
      })
      .join(GAP),
  );
  return lines;
}
const GAP = "  ";

function sentence({ text, hint }: Finding, title: string, width: number, paint: (text: string) => string): string[] {
  const below = printable(hint ?? "")
    .split("\n")
    .filter((line) => line !== "");
  return [
    ...wrapped(printable(`${title}: ${text}`), width).map(paint),
    ...below.flatMap((line) => wrapped(line, width - 2)).map((line) => `  ${line}`),
  ];
}
