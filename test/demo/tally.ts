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

/** What became of the calls, by listener, version that had to answer, and method. */
export class Tally {
  private readonly rows = new Map<string, Row>();
  private readonly durations = createHistogram();
  /** The first few things that went wrong, in words. */
  readonly troubles: string[] = [];
  private troubleCount = 0;

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
    this.troubleCount++;
    if (this.troubles.length < 10) this.troubles.push(lane ? `${lane.through} to ${lane.version}: ${what}` : what);
  }

  get failed(): boolean {
    return this.troubleCount > 0;
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
    const cells = [
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
    ].map((row) => row.map(String));
    const widths = (cells[0] as string[]).map((_, i) => Math.max(...cells.map((row) => (row[i] as string).length)));
    const lines = cells.map((row) =>
      row
        .map((cell, i) => (i < 3 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number)))
        .join("  ")
        .trimEnd(),
    );
    if (!this.failed)
      return [...lines, "", "Servers and module counted every request as it was sent; every reply was right."];
    return [...lines, "", `${this.troubleCount} things went wrong:`, ...this.troubles.map((text) => `- ${text}`)];
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

function quantiles(durations: RecordableHistogram): [string, string] {
  if (durations.count === 0) return ["-", "-"];
  return [(durations.percentile(50) / 1000).toFixed(1), (durations.percentile(99) / 1000).toFixed(1)];
}
