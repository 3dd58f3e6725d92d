// `npm run bench`: what one request costs Envoy's CPU with each way of handling it, and how our aims are met.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { Command } from "commander";
import { type Envoy, findEnvoy } from "../../tools/envoy/find.js";
import type { EnvoyProcess } from "../../tools/envoy/process.js";
import { wholeNumber } from "../../tools/options.js";
import { parseMetrics } from "../../tools/view/prometheus.js";
import { Load, startEcho } from "./child.js";
import { type Decoding, measureDecoding } from "./decode.js";
import type { Payload } from "./frames.js";
import { startProxy, type Variant, variants } from "./proxies.js";
import { figure, format, type Table } from "./report.js";
import { median, spread } from "./stats.js";

interface Scenario {
  readonly name: string;
  readonly connections: number;
  readonly active: number;
  readonly inFlight: number;
  readonly payload: Payload;
}

interface Row extends Scenario {
  /**
   * Microseconds of CPU for each request, one figure for each round; the rounds of all variants are interleaved. None
   * where the variant closes such connections.
   */
  readonly cost: Readonly<Record<Variant, readonly number[]>>;
  /** Requests a second, likewise. They depend on the whole machine, so only the cost is compared. */
  readonly throughput: Readonly<Record<Variant, readonly number[]>>;
}

interface IdleMemory {
  readonly variant: Variant;
  readonly connections: number;
  /** Guest memory before and with them. */
  readonly before: number;
  readonly after: number;
}

interface Aim {
  readonly name: string;
  readonly aim: string;
  readonly measured: string;
  readonly met: boolean;
}

const options = new Command("npm run bench --")
  .description("What one request costs Envoy's CPU with each way of handling it.")
  .option("--quick", "a part of it, in less than two minutes")
  .option(
    "--rounds <n>",
    "measurements of each figure, of which the median counts (15, quick: 5)",
    wholeNumber(1, 1000),
  )
  .option("--only <regex>", "only scenarios whose name matches", (text) => new RegExp(text))
  .option("--markdown", "tables for a README")
  .option("--json <file>", "all figures of all rounds")
  .addHelpText("after", "\nExample:\n  $ npm run bench -- --quick --only 'connections? x'")
  .parse()
  .opts<{ quick?: true; rounds?: number; only?: RegExp; markdown?: true; json?: string }>();

const quick = options.quick ?? false;
// Many short rounds rather than few long ones: what disturbs a shared machine lasts for seconds.
const rounds = options.rounds ?? (quick ? 5 : 15);
const phases = { warmMs: 100, measureMs: quick ? 200 : 300 };

const pipelining: Scenario[] = [1, 16].flatMap((inFlight) =>
  [1, 16].map((connections) => ({
    name: `${connections} connection${connections > 1 ? "s" : ""} x ${inFlight}`,
    ...{ connections, active: connections, inFlight, payload: 50 },
  })),
);

const sizes: [string, Payload][] = [
  ["10 B", 10],
  ["1 KiB", 1024],
  ["10 KiB", 10 * 1024],
  ["100 KiB", 100 * 1024],
  ["1 MiB", 1024 * 1024],
];
const bodies: Scenario[] = sizes.map(([size, payload]) => {
  return { name: `bodies of ${size}`, connections: 16, active: 16, inFlight: 1, payload };
});

const openFiles = raiseFileLimit(25_000);
/** Each takes two files of Envoy's, which has some of its own. */
const mostConnections = Math.min(10_000, Math.floor(openFiles / 2) - 100);
const crowds: Scenario[] = [10, 100, 1000, mostConnections].map((n) => {
  const name = `${n.toLocaleString("en-US")} connections, ${Math.min(10, n)} busy`;
  return { name, connections: n, active: Math.min(10, n), inFlight: 1, payload: 50 };
});

const all = [...pipelining, ...bodies, ...crowds];
const asked = options.only ?? /./;
const quickOnes = new Set([...pipelining, bodies[2], crowds[2]]);
const scenarios = all.filter((scenario) => asked.test(scenario.name) && (!quick || quickOnes.has(scenario)));

const say = (line: string) => process.stderr.write(`${line}\n`);

/** For this process and its children, as far as that is allowed; answers the limit. */
function raiseFileLimit(wanted: number): number {
  const limit = () => Number(/Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
  if (limit() < wanted) spawnSync("prlimit", ["--pid", String(process.pid), `--nofile=${wanted}:${wanted}`]);
  return limit();
}

async function measure(
  scenario: Scenario,
  rounds: number,
  proxies: Map<Variant, EnvoyProcess>,
  load: Load,
): Promise<Row> {
  const record = () =>
    Object.fromEntries(variants.map((variant) => [variant, []])) as unknown as Record<Variant, number[]>;
  const cost = record();
  const throughput = record();
  const refused = new Set<Variant>();
  for (let round = 0; round < rounds; round++) {
    for (const [variant, proxy] of proxies) {
      if (refused.has(variant)) continue;
      try {
        const { port } = await proxy.listener();
        await load.open({ port, connections: scenario.connections, payload: scenario.payload });
        const { active, inFlight } = scenario;
        const result = await load.measure({ pid: proxy.pid, active, inFlight, ...phases });
        cost[variant].push(result.cpuMicroseconds / result.requests);
        throughput[variant].push(result.requests / result.seconds);
      } catch (error) {
        // Not everything that passes tcp_proxy passes Envoy's own filters; ours have to let it pass.
        if (variant !== "dubbo_proxy" && variant !== "generic_proxy") throw error;
        refused.add(variant);
        say(`  ${variant}: ${(error as Error).message}: ${proxy.log.at(-1) ?? ""}`);
      } finally {
        await load.close();
      }
    }
  }
  return { ...scenario, cost, throughput };
}

async function guestMemory(proxy: EnvoyProcess): Promise<number> {
  const { scalars } = parseMetrics(await proxy.prometheus("meltemi_guest_memory_bytes"));
  return scalars.get("meltemi_guest_memory_bytes")?.[0]?.value ?? 0;
}

/** The module reports its memory from its tick, so this waits until it says the same for a while. */
async function settledGuestMemory(proxy: EnvoyProcess): Promise<number> {
  let bytes = 0;
  for (let same = 0; same < 15; same++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = await guestMemory(proxy);
    if (now !== bytes || now === 0) same = 0;
    bytes = now;
  }
  return bytes;
}

/** In an Envoy of its own, because guest memory never shrinks. */
async function measureIdle(
  envoy: Envoy,
  variant: Variant,
  echo: number,
  load: Load,
  connections: number,
): Promise<IdleMemory> {
  const proxy = await startProxy(envoy, variant, echo);
  try {
    const { port } = await proxy.listener();
    await load.open({ port, connections: 1, payload: 50 });
    const before = await settledGuestMemory(proxy);
    await load.open({ port, connections: connections + 1, payload: 50 });
    const after = await settledGuestMemory(proxy);
    await load.close();
    return { variant, connections, before, after };
  } finally {
    await proxy.stop();
  }
}

/** Of each round, because what disturbs the machine disturbs the variants of a round alike. */
function paired(row: Row, a: Variant, b: Variant, combine: (a: number, b: number) => number): number {
  return median(row.cost[a].map((cost, round) => combine(cost, row.cost[b][round] ?? Number.NaN)));
}

const times = (value: number) => (Number.isNaN(value) ? "-" : `${figure(value)}x`);
const ratio = (a: number, b: number) => a / b;
const difference = (a: number, b: number) => a - b;

function withSpread(values: readonly number[], none: string): string {
  return values.length > 0 ? `${figure(median(values))} ±${figure(spread(values))}` : none;
}

function costs(rows: readonly Row[]): Table {
  return [
    ["us of CPU a request", ...variants, "observe / tcp", "route / tcp", "dubbo / observe"],
    ...rows.map((row) => [
      row.name,
      ...variants.map((variant) => withSpread(row.cost[variant], "refused")),
      times(paired(row, "observe", "tcp_proxy", ratio)),
      times(paired(row, "route", "tcp_proxy", ratio)),
      times(paired(row, "dubbo_proxy", "observe", ratio)),
    ]),
  ];
}

const perConnection = ({ before, after, connections }: IdleMemory) => (after - before) / connections;

function memory(measured: readonly IdleMemory[]): Table {
  return [
    ["guest memory", "idle connections", "before", "with them", "each"],
    ...measured.map((one) => [
      one.variant,
      one.connections.toLocaleString("en-US"),
      `${one.before / 1024} KiB`,
      `${one.after / 1024} KiB`,
      `${Math.round(perConnection(one))} B`,
    ]),
  ];
}

function decoding(measured: readonly Decoding[]): Table {
  return [
    ["decoding", "ns a frame"],
    ...measured.map(({ name, nanoseconds }) => [
      name,
      `${figure(median(nanoseconds))} ±${figure(spread(nanoseconds))}`,
    ]),
  ];
}

function aims(rows: readonly Row[], idleMemory: readonly IdleMemory[], decoded: readonly Decoding[]): Aim[] {
  const list: Aim[] = [];
  for (const row of rows.filter((row) => pipelining.some(({ name }) => name === row.name))) {
    if (row.inFlight === 1) {
      const measured = paired(row, "observe", "tcp_proxy", ratio);
      const name = `observe against tcp_proxy, ${row.name}`;
      list.push({ name, aim: "<= 1.15x", measured: times(measured), met: measured <= 1.15 });
    } else {
      const more = paired(row, "observe", "tcp_proxy", difference);
      const name = `observe above tcp_proxy, ${row.name}`;
      list.push({ name, aim: "<= 0.30 us", measured: `${figure(more)} us`, met: more <= 0.3 });
      const cheaper = paired(row, "dubbo_proxy", "observe", ratio);
      const against = `dubbo_proxy against observe, ${row.name}`;
      list.push({ name: against, aim: ">= 8x", measured: times(cheaper), met: cheaper >= 8 });
    }
  }
  for (const one of idleMemory) {
    const bytes = perConnection(one);
    const name = `guest memory of an idle connection, ${one.variant}`;
    list.push({ name, aim: "<= 1,024 B", measured: `${Math.round(bytes)} B`, met: bytes <= 1024 });
  }
  for (const { name, nanoseconds } of decoded) {
    const ns = median(nanoseconds);
    list.push({ name: `decoding ${name}`, aim: "<= 25 ns", measured: `${figure(ns)} ns`, met: ns <= 25 });
  }
  return list;
}

const aimTable = (list: readonly Aim[]): Table => [
  ["aim", "wanted", "measured", ""],
  ...list.map(({ name, aim, measured, met }) => [name, aim, measured, met ? "met" : "not met"]),
];

const envoy = await findEnvoy({ say });
const machine = {
  ...{ cpu: cpus()[0]?.model, cores: cpus().length, node: process.versions.node },
  ...{ envoy: envoy.version, openFiles },
};
say(`${machine.cpu}, ${machine.cores} cores, Envoy ${envoy.version}, Node ${machine.node}, ${openFiles} open files`);

const echo = await startEcho();
const load = new Load();
const proxies = new Map<Variant, EnvoyProcess>();
const rows: Row[] = [];
const idleMemory: IdleMemory[] = [];
try {
  for (const variant of variants) proxies.set(variant, await startProxy(envoy, variant, echo.port));
  for (const [i, scenario] of scenarios.entries()) {
    // Opening thousands of connections takes longer than measuring them.
    const n = scenario.connections > 1000 ? Math.min(rounds, 3) : rounds;
    say(`${i + 1}/${scenarios.length} ${scenario.name}, ${n} rounds`);
    rows.push(await measure(scenario, n, proxies, load));
  }
  const connections = quick ? 1000 : mostConnections;
  if (asked.test("memory")) {
    for (const variant of ["observe", "route"] as const) {
      say(`memory of ${connections} idle connections, ${variant}`);
      idleMemory.push(await measureIdle(envoy, variant, echo.port, load, connections));
    }
  }
} finally {
  for (const proxy of proxies.values()) await proxy.stop();
  load.stop();
  echo.stop();
}
const decoded = asked.test("decoding") ? await measureDecoding(rounds) : [];

const judged = aims(rows, idleMemory, decoded);
const tables = [costs(rows), memory(idleMemory), decoding(decoded), aimTable(judged)].filter(
  ({ length }) => length > 1,
);
process.stdout.write(`\n${tables.map((table) => format(table, options.markdown ?? false)).join("\n")}`);
if (options.json) {
  const result = { date: new Date().toISOString(), machine, rows, idleMemory, decoded, aims: judged };
  writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
}
