import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished, vi } from "vitest";
import { type Bootstrap, bootstrap } from "../../tools/envoy/bootstrap.js";
import { dockerEnvoy, type Envoy, findEnvoy, IMAGE } from "../../tools/envoy/find.js";
import { EnvoyProcess, type LogLine } from "../../tools/envoy/process.js";
import { parse } from "../../tools/model/load.js";
import { describeModule } from "../../tools/model/module.js";
import { defaultModule } from "../../tools/paths.js";
import { type Labels, type Metrics, parseMetrics } from "../../tools/view/prometheus.js";

/*
 * A stock Envoy between the peers of one test. What is started here ends with the test that started it.
 */

export interface Running {
  /** Where clients connect. */
  readonly port: number;
  readonly envoy: EnvoyProcess;
  /** What Envoy has logged so far. */
  readonly log: readonly LogLine[];
  /** The module's JSON lines of one kind: `request`, `frame`, `route`, `decode_error`. */
  lines(kind: string): Record<string, unknown>[];
  /** The access log so far, a record for each connection (mode bridge: each request) that has ended. */
  accessLog(): Record<string, string | number | null>[];
  metrics(): Promise<Metrics>;
  /** The sum of a counter's or gauge's values whose labels include `labels`; 0 where there is none. */
  metric(name: string, labels?: Labels): Promise<number>;
  /** The module's requests by service, method and status, of everything that is not zero. */
  requests(): Promise<Row[]>;
  /** Client connections that are open. */
  connections(): Promise<number>;
  /** Throws where Envoy has ended, or has logged an error: a module that traps would be one. */
  assertSound(): Promise<void>;
}

/** Requests that are alike in all labels. */
export interface Row {
  direction: string;
  service: string;
  method: string;
  status: string;
  requests: number;
  requestBytes: number;
  responseBytes: number;
  /** Samples of the histogram of durations. */
  durations: number;
}

export interface ProxyOptions {
  /** Worker threads; default 1. */
  concurrency?: number;
  /** Options of Envoy's own. */
  args?: readonly string[];
  /** Changes what meltemi.yaml came to. */
  change?: (bootstrap: Bootstrap, folder: string) => Bootstrap | Promise<Bootstrap>;
}

/** Of every listener with a port but the admin interface's, without the numbers of each worker. */
const OPEN_CONNECTIONS = /^listener\.(?!admin\.|envoy_internal_)(?!.*worker_).*\.downstream_cx_active$/;

/** The Envoy that setup.ts found. */
export async function envoy(): Promise<Envoy> {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  return found.origin === IMAGE ? dockerEnvoy() : findEnvoy({ path: found.origin });
}

/** Stops a peer when the test ends. */
export function ended<T extends { stop(): Promise<void> }>(peer: T): T {
  onTestFinished(() => peer.stop());
  return peer;
}

/** A folder that is gone when the test ends. */
export async function scratch(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "meltemi-e2e-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The parts of a meltemi.yaml that differ between tests; servers are ports of this machine. */
export interface Rules {
  protocol?: string;
  mode?: "observe" | "route" | "bridge";
  leg?: "both" | "client" | "server";
  direction?: "outbound" | "inbound";
  /** Default: any free port. */
  bind?: number;
  admin?: number;
  endpoints?: number[];
  subsets?: Record<string, number | number[]>;
  authority?: string;
  routes?: unknown[];
  trafficPolicy?: Record<string, unknown>;
  authorization?: unknown[];
  rateLimitService?: Record<string, unknown>;
  tracing?: Record<string, unknown>;
  limits?: Record<string, unknown>;
  log?: { requests: number };
}

/** The text of a meltemi.yaml that listens on free ports. */
export function yaml(rules: Rules): string {
  const { protocol = "dubbo", bind = 0, admin = 0, endpoints, subsets, authority, ...rest } = rules;
  const local = (port: number) => `127.0.0.1:${port}`;
  const service = {
    name: "greeter",
    bind: local(bind),
    ...(endpoints && { endpoints: endpoints.map(local) }),
    ...(subsets && {
      subsets: Object.entries(subsets).map(([name, ports]) => ({ name, endpoints: [ports].flat().map(local) })),
    }),
    ...(authority !== undefined && { authority }),
  };
  // JSON is YAML.
  return JSON.stringify({ protocol, ...rest, service, admin: local(admin) });
}

/** What `meltemi run` would give to Envoy for these rules. */
export function bootstrapOf(rules: Rules, accessLog?: string): Bootstrap {
  return bootstrap(parse(yaml(rules), describeModule(defaultModule).protocols), { module: defaultModule, accessLog });
}

/** Starts an Envoy as `meltemi run` would for these rules. */
export async function startProxy(rules: Rules, options: ProxyOptions = {}): Promise<Running> {
  const { concurrency = 1, args = [], change } = options;
  const folder = await scratch();
  const accessLog = join(folder, "access.log");
  const made: Bootstrap = {
    ...bootstrapOf(rules, accessLog),
    // Histograms are added up at each flush, otherwise every five seconds.
    stats_flush_interval: "0.1s",
  };
  const log: LogLine[] = [];
  const stock = await envoy();
  const running = await EnvoyProcess.start({
    envoy: { ...stock, command: (own, access) => stock.command([...own, ...args], access) },
    bootstrap: (await change?.(made, folder)) ?? made,
    files: [defaultModule],
    folders: [folder],
    concurrency,
    onLog: (line) => log.push(line),
  });
  onTestFinished(() => running.stop().then(() => {}));
  const metrics = async () => parseMetrics(await running.prometheus());
  return {
    port: (await running.listener()).port,
    envoy: running,
    log,
    lines: (kind) =>
      log
        .filter(({ module, text }) => module && text.startsWith('{"meltemi":'))
        .map(({ text }) => JSON.parse(text))
        .filter(({ meltemi }) => meltemi === kind),
    accessLog: () =>
      (existsSync(accessLog) ? readFileSync(accessLog, "utf8") : "")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line)),
    metrics,
    metric: async (name, labels) => sum(await metrics(), name, labels),
    requests: async () => rows(await metrics()),
    async connections() {
      const open = Object.entries(await running.stats()).filter(([name]) => OPEN_CONNECTIONS.test(name));
      return open.reduce((total, [, value]) => total + value, 0);
    },
    async assertSound() {
      await running.get("/ready");
      // A module that traps is no more than a line of level error to Envoy, which then starts it anew.
      const wrong = log.filter(({ level }) => level === "error" || level === "critical");
      if (wrong.length > 0) throw new Error(`Envoy complains:\n${wrong.map(({ text }) => text).join("\n")}`);
    },
  };
}

/** The sum of a counter's or gauge's values whose labels include `labels`. */
export function sum({ scalars }: Metrics, name: string, labels: Labels = {}): number {
  return (scalars.get(name) ?? [])
    .filter((sample) => includes(sample.labels, labels))
    .reduce((total, { value }) => total + value, 0);
}

function rows(metrics: Metrics): Row[] {
  const counted = (metrics.scalars.get("meltemi_requests_total") ?? []).filter(({ value }) => value > 0);
  return counted
    .map(({ labels, value: requests }) => {
      const { direction = "", service = "", method = "", status = "" } = labels;
      const durations = (metrics.histograms.get("meltemi_request_duration_milliseconds") ?? [])
        .filter((histogram) => includes(histogram.labels, labels))
        .reduce((total, { count }) => total + count, 0);
      return {
        ...{ direction, service, method, status, requests, durations },
        requestBytes: sum(metrics, "meltemi_request_bytes_total", labels),
        responseBytes: sum(metrics, "meltemi_response_bytes_total", labels),
      };
    })
    .sort(byLabels);
}

/** The order of Running.requests(). */
export function byLabels(a: Row, b: Row): number {
  const key = ({ direction, service, method, status }: Row) => [direction, service, method, status].join("\n");
  return key(a) < key(b) ? -1 : 1;
}

function includes(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

/** Waits until `assertions` pass; fails with what the last try found. */
export function eventually<T>(assertions: () => T | Promise<T>, timeout = 10_000): Promise<T> {
  return vi.waitFor(assertions, { timeout, interval: 50 });
}
