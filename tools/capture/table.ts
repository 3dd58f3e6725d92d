import { painter } from "../terminal.js";
import type { Frame, Route } from "./decode.js";
import type { Connection } from "./reassembly.js";

export interface TableOptions {
  /** Columns of the terminal. */
  width: number;
  color: boolean;
}

interface Column {
  title: string;
  right?: true;
  /** May be cut to this many characters: at the start (the end of a Java name says more) or at the end. */
  least?: number;
  cut?: "start" | "end";
  value: (frame: Frame, start: bigint | undefined) => string;
}

const columns: Column[] = [
  { title: "SECONDS", right: true, value: ({ time }, start) => seconds(time, start) },
  { title: "CONN", right: true, value: ({ connection }) => String(connection.id) },
  { title: "FROM", value: ({ from }) => from },
  { title: "KIND", value: ({ kind }) => kind },
  { title: "ID", right: true, least: 8, cut: "start", value: ({ id }) => id },
  { title: "SERVICE", least: 10, cut: "start", value: ({ service }) => printable(service) },
  { title: "METHOD", least: 10, cut: "end", value: ({ method }) => printable(method) },
  { title: "STATUS", least: 8, cut: "end", value: ({ status }) => printable(status) },
  { title: "OFFSET", right: true, value: ({ offset }) => String(offset) },
  { title: "BYTES", right: true, value: ({ length }) => String(length) },
];

/**
 * Frames as an aligned table, what is known of each below it. Columns that would be empty are left out, long names are
 * cut so that lines fit.
 */
export function table(
  frames: Frame[],
  routes: ReadonlyMap<Connection, Route> | undefined,
  options: TableOptions,
): string {
  const { width, color } = options;
  const paint = painter(color);
  const start = frames.find(({ time }) => time !== undefined)?.time;
  const several = new Set(frames.map(({ connection }) => connection.id)).size > 1;
  const shown = columns
    .filter(({ title }) => title !== "CONN" || several)
    .map((column) => ({ ...column, cells: frames.map((frame) => column.value(frame, start)) }))
    .filter(({ cells }) => cells.some((cell) => cell !== ""));
  const widths = widthsWithin(
    shown.map(({ title, cells }) => cells.reduce((most, cell) => Math.max(most, cell.length), title.length)),
    shown.map(({ least }) => least),
    width - 2 * (shown.length - 1),
  );
  const row = (cells: string[]) =>
    cells
      .map((cell, i) => {
        const { right, cut } = shown[i] as Column;
        const size = widths[i] as number;
        const text = shorten(cell, size, cut ?? "end");
        return right ? text.padStart(size) : text.padEnd(size);
      })
      .join("  ")
      .trimEnd();

  const lines = [paint("dim", row(shown.map(({ title }) => title)))];
  const routed = new Set<Connection>();
  frames.forEach((frame, i) => {
    const line = row(shown.map(({ cells }) => cells[i] as string));
    const failed = frame.status !== "" && frame.status !== "ok";
    lines.push(failed ? paint("red", line) : line);
    const metadata = Object.entries(frame.metadata).map(([key, value]) => `${printable(key)}=${printable(value)}`);
    for (const text of wrap(metadata, width - 4)) lines.push(paint("dim", `    ${text}`));
    const route = routes?.get(frame.connection);
    if (route && frame.from === "client" && isRequest(frame) && !routed.has(frame.connection)) {
      routed.add(frame.connection);
      lines.push(paint(route === "closed" ? "red" : "green", `    ${routeText(route)}`));
    }
  });
  return `${lines.join("\n")}\n`;
}

/** Whether a frame is one that a route is chosen by. */
export function isRequest({ kind }: Frame): boolean {
  return kind === "request" || kind === "oneway" || kind === "stream_open";
}

function routeText(route: Route): string {
  if (route === "closed") return "no route matches: the connection would be closed";
  return `route ${printable(route.route)} -> ${printable(route.cluster)}`;
}

/** Takes from the widest that may be cut until all fit, or none may be cut further. */
function widthsWithin(widths: number[], least: (number | undefined)[], total: number): number[] {
  const fitted = [...widths];
  for (let over = fitted.reduce((a, b) => a + b, 0) - total; over > 0; over--) {
    let widest = -1;
    fitted.forEach((size, i) => {
      const room = size - (least[i] ?? size);
      if (room > 0 && (widest < 0 || size > (fitted[widest] as number))) widest = i;
    });
    if (widest < 0) break;
    fitted[widest] = (fitted[widest] as number) - 1;
  }
  return fitted;
}

function shorten(text: string, size: number, cut: "start" | "end"): string {
  if (text.length <= size) return text;
  return cut === "start" ? `…${text.slice(text.length - size + 1)}` : `${text.slice(0, size - 1)}…`;
}

function wrap(words: string[], width: number): string[] {
  const lines: string[] = [];
  for (const word of words.map((text) => shorten(text, width, "end"))) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 2 + word.length <= width) lines[lines.length - 1] = `${last}  ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** What came over the wire must not reach the terminal as commands. */
function printable(text: string): string {
  return text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "·");
}

function seconds(time: bigint | undefined, start: bigint | undefined): string {
  if (time === undefined || start === undefined) return "";
  return (Number(time - start) / 1e9).toFixed(6);
}
