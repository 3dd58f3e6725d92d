import { setTimeout as sleep } from "node:timers/promises";
import { parseMetrics } from "./prometheus.js";
import { gap, type Page, render, rowKey, type Step, sparklineLength, stepLine, summary } from "./screen.js";
import { measure, type Snapshot, type Traffic } from "./traffic.js";

/** What a view writes to: process.stdout, a file, a pipe, or a test. */
export interface Output extends NodeJS.EventEmitter {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  hasColors?(): boolean;
}

export interface ViewOptions {
  /** The page of metrics in the Prometheus text format; what it throws is shown, and asked for again a tick later. */
  readonly source: () => Promise<string>;
  readonly title: string;
  /** Lines below the figures: where to send requests, how to stop. */
  readonly footer?: readonly string[];
  /** What is being shown, by the newest figures there are. */
  readonly steps?: (traffic: Traffic | undefined) => readonly Step[];
  /** Counts only the requests of this direction, because the proxy sees each of them in both. */
  readonly direction?: string | undefined;
  readonly out?: Output;
  /** One JSON object for each tick: `time` and a `Traffic`, or `time` and `trouble`. */
  readonly json?: boolean;
  readonly intervalMs?: number;
}

export interface View {
  /** Leaves the last figures where they are and gives the terminal back. */
  stop(): Promise<void>;
}

/** Envoy merges its histograms every 5 s unless told otherwise, so quantiles over less would often see nothing. */
const quantilesMs = 5000;

const terminal = {
  hideCursor: "\x1b[?25l",
  showCursor: "\x1b[?25h",
  // A terminal that knows these shows a frame at once; the others ignore them.
  beginFrame: "\x1b[?2026h",
  endFrame: "\x1b[?2026l",
  clearScreen: "\x1b[2J\x1b[H",
  clearToEndOfLine: "\x1b[K",
  clearBelow: "\x1b[J",
  up: (lines: number) => (lines > 0 ? `\x1b[${lines}A\r` : "\r"),
};

/**
 * Shows live numbers until stopped: redrawn in place on a terminal, elsewhere a line whenever something changed.
 * Never throws and never rejects: what goes wrong is part of what it shows.
 */
export function startView(options: ViewOptions): View {
  const { source, title, footer = [], out = process.stdout, json = false, intervalMs = 1000 } = options;
  const { steps = () => [], direction } = options;
  const show = json ? jsonLines(out) : out.isTTY ? redrawn(out) : plainLines(out);
  const stopped = new AbortController();
  const aborted = new Promise<undefined>((resolve) => {
    stopped.signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  const snapshots: Snapshot[] = [];
  const history = new Map<string, number[]>();
  let traffic: Traffic | undefined;

  const page = (trouble?: string): Page => ({ title, steps: steps(traffic), traffic, history, trouble, footer });

  async function tick(): Promise<void> {
    let trouble: string | undefined;
    try {
      const text = await Promise.race([source(), aborted]);
      if (text === undefined) return;
      const now = { at: performance.now(), metrics: parseMetrics(text) };
      const before = snapshots.at(-1) ?? now;
      snapshots.push(now);
      while (snapshots.length > 2 && now.at - (snapshots[1] as Snapshot).at >= quantilesMs) snapshots.shift();
      traffic = measure(before, now, { older: snapshots[0], direction });
      remember(history, traffic);
    } catch (error) {
      trouble = (error as Error).message;
    }
    show.page(page(trouble));
  }

  async function run(): Promise<void> {
    show.page(page());
    while (!stopped.signal.aborted) {
      await tick();
      await Promise.race([sleep(intervalMs, undefined, { signal: stopped.signal }).catch(() => {}), aborted]);
    }
  }

  const running = run();
  return {
    async stop() {
      stopped.abort();
      await running;
      // The last step has ended since.
      if (options.steps && !json) show.page(page());
      show.end();
    },
  };
}

function remember(history: Map<string, number[]>, { methods, all }: Traffic): void {
  const rates = new Map(methods.map((method) => [rowKey(method), method.requestsPerSecond]));
  for (const [key, rate] of rates.set("", all.requestsPerSecond)) {
    history.set(key, [...(history.get(key) ?? []), rate].slice(-sparklineLength));
  }
}

/** One way of showing a page. */
interface Display {
  page(page: Page): void;
  end(): void;
}

function redrawn(out: Output): Display {
  let drawn = 0;
  let last: Page | undefined;

  function draw(prefix: string): void {
    if (!last) return;
    const screen = { columns: out.columns ?? 80, rows: out.rows ?? 24, colour: out.hasColors?.() ?? false };
    const lines = render(last, screen);
    const text = lines.map((line) => `${line}${terminal.clearToEndOfLine}\n`).join("");
    out.write(`${terminal.beginFrame}${prefix}${text}${terminal.clearBelow}${terminal.endFrame}`);
    drawn = lines.length;
  }
  // Lines that a narrower terminal has folded cannot be counted any more: start from an empty screen.
  const resized = () => draw(terminal.clearScreen);
  const restore = () => out.write(terminal.showCursor);

  out.write(terminal.hideCursor);
  out.on("resize", resized);
  process.once("exit", restore);
  return {
    page(page) {
      last = page;
      draw(terminal.up(drawn));
    },
    end() {
      out.off("resize", resized);
      process.off("exit", restore);
      restore();
    },
  };
}

function plainLines(out: Output): Display {
  let last = "";
  let started = false;
  const states = new Map<string, Step["state"]>();
  const write = (text: string) => out.write(`${new Date().toTimeString().slice(0, 8)}${gap}${text}\n`);
  return {
    page({ title, steps, traffic, trouble, footer }) {
      if (!started) for (const line of [title, ...footer]) out.write(`${line}\n`);
      started = true;
      for (const step of steps) {
        if (step.state !== (states.get(step.name) ?? "waiting")) write(stepLine(step));
        states.set(step.name, step.state);
      }
      if (!trouble && !traffic) return;
      const state =
        trouble ??
        JSON.stringify([
          traffic?.methods.map((m) => [m.requests, m.inFlight]),
          traffic?.decodeErrors.map(({ total }) => total),
          traffic?.closedConnections.map(({ total }) => total),
        ]);
      const happened =
        traffic && traffic.all.requests + traffic.decodeErrors.length + traffic.closedConnections.length > 0;
      const quiet = !trouble && !happened;
      if (state === last || quiet) return;
      last = state;
      write(trouble ? `no new figures: ${trouble}` : summary(traffic as Traffic));
    },
    end() {},
  };
}

function jsonLines(out: Output): Display {
  return {
    page({ traffic, trouble }) {
      if (!traffic && !trouble) return;
      out.write(`${JSON.stringify({ time: new Date().toISOString(), ...(trouble ? { trouble } : traffic) })}\n`);
    },
    end() {},
  };
}
