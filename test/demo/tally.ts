import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import type { Lane } from "./workload.js";

interface Row {
  through: string;
  version: string;
  method: string;
  sent: number;
  /** Errors that the call was made for. */
  refused: number;
  wrong: number;
  /** Of calls that have a reply; microseconds. */
  durations: RecordableHistogram;
}

/** What went wrong, in words: the first few, and how many in all. */
export class Troubles {
  private readonly first: string[] = [];
  private count = 0;

  add(what: string): void {
    this.count++;
    if (this.first.length < 10) this.first.push(what);
  }

  get any(): boolean {
    return this.count > 0;
  }

  /** For the end of a summary. */
  report(): string[] {
    const things = this.count === 1 ? "One thing" : `${this.count} things`;
    return [`${things} went wrong:`, ...this.first.map((text) => `- ${text}`)];
  }
}

/** What became of the calls, by listener, version that had to answer, and method. */
export class Tally {
  private readonly rows = new Map<string, Row>();
  private readonly durations = createHistogram();
  readonly troubles = new Troubles();

  sent(lane: Lane, method: string): void {
    this.row(lane, method).sent++;
  }

  /** The call came to what it had to. `milliseconds`: how long its reply took, if it has one. */
  done(lane: Lane, method: string, milliseconds?: number): void {
    if (milliseconds === undefined) return;
    const microseconds = Math.max(1, Math.round(milliseconds * 1000));
    this.row(lane, method).durations.record(microseconds);
    this.durations.record(microseconds);
  }

  /** The call failed as it had to. */
  refused(lane: Lane, method: string, milliseconds: number): void {
    this.row(lane, method).refused++;
    this.done(lane, method, milliseconds);
  }

  wrong(lane: Lane, method: string, why: string): void {
    this.row(lane, method).wrong++;
    this.trouble(lane, `${method}: ${why}`);
  }

  trouble(lane: Lane | undefined, what: string): void {
    this.troubles.add(lane ? `${lane.through} to ${lane.version}: ${what}` : what);
  }

  get failed(): boolean {
    return this.troubles.any;
  }

  /** Calls sent, by method, among the rows that `wanted` picks. */
  byMethod(wanted: (row: { through: string; version: string }) => boolean): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const row of this.rows.values()) {
      if (wanted(row)) counts[row.method] = (counts[row.method] ?? 0) + row.sent;
    }
    return counts;
  }

  /** The summary as lines. */
  report(): string[] {
    const sum = (key: "sent" | "refused" | "wrong") => [...this.rows.values()].reduce((n, row) => n + row[key], 0);
    const lines = table(
      [
        ["THROUGH", "SERVED BY", "METHOD", "REQUESTS", "ERRORS AS ASKED", "WRONG", "P50 MS", "P99 MS"],
        ...[...this.rows.values()]
          .sort((a, b) => (this.key(a, a.method) < this.key(b, b.method) ? -1 : 1))
          .map((row) => [
            row.through,
            row.version,
            row.method,
            row.sent,
            row.refused,
            row.wrong,
            ...quantiles(row.durations),
          ]),
        ["all", "", "", sum("sent"), sum("refused"), sum("wrong"), ...quantiles(this.durations)],
      ],
      "lllrrrrr",
    );
    if (!this.failed)
      return [...lines, "", "Servers and module counted every request as it was sent; every reply was right."];
    return [...lines, "", ...this.troubles.report()];
  }

  private row(lane: Lane, method: string): Row {
    const key = this.key(lane, method);
    let row = this.rows.get(key);
    if (!row) {
      const { through, version } = lane;
      row = { through, version, method, sent: 0, refused: 0, wrong: 0, durations: createHistogram() };
      this.rows.set(key, row);
    }
    return row;
  }

  private key({ through, version }: Pick<Lane, "through" | "version">, method: string): string {
    return `${through} ${version} ${method}`;
  }
}

/** Rows as lines; `sides`: for each column whether its cells stand left (l) or right (r). */
export function table(rows: readonly (readonly (string | number)[])[], sides: string): string[] {
  const cells = rows.map((row) => row.map(String));
  const widths = [...sides].map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  const aligned = (cell: string, i: number) =>
    sides[i] === "l" ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number);
  return cells.map((row) => row.map(aligned).join("  ").trimEnd());
}

/** The middle and the end of what was recorded in microseconds, as text in milliseconds. */
export function quantiles(durations: RecordableHistogram): [string, string] {
  if (durations.count === 0) return ["-", "-"];
  return [(durations.percentile(50) / 1000).toFixed(1), (durations.percentile(99) / 1000).toFixed(1)];
}
