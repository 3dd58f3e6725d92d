// `npm run bench`: what one request costs Envoy's CPU with each way of handling it, and how our aims are met.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { findEnvoy } from "../../tools/envoy/find.js";
import type { EnvoyProcess } from "../../tools/envoy/process.js";
import { Exit } from "../../tools/errors.js";
import { wholeNumber } from "../../tools/options.js";
import { type Aim, aims } from "./aims.js";
import { Load, startEcho } from "./child.js";
import { type Decoding, measureDecoding } from "./decode.js";
import {
  type Bench,
  type IdleMemory,
  measure,
  measureIdle,
  paired,
  perConnection,
  type Row,
  ratio,
} from "./measure.js";
import { startProxy, type Variant, variants } from "./proxies.js";
import { figure, format, type Table, times } from "./report.js";
import { bodies, crowds, pipelining, type Scenario } from "./scenarios.js";
import { median, spread } from "./stats.js";

const options = new Command("npm run bench --")
  .description("What one request costs Envoy's CPU with each way of handling it.")
  .option("--quick", "a part of it, in less than three minutes")
  .option(
    "--rounds <n>",
    "measurements of each figure, of which the median counts (15, quick: 5), fewer of bodies and crowds",
    wholeNumber(1, 1000),
  )
  .option("--only <regex>", "only scenarios whose name matches, or memory, or decoding", regularExpression)
  .option("--markdown", "tables for a README")
  .option("--json <file>", "all figures of all rounds")
  .addHelpText("after", "\nExample:\n  $ npm run bench -- --quick --only 'connections? x'")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? Exit.ok : Exit.usage))
  .parse()
  .opts<{ quick?: true; rounds?: number; only?: RegExp; markdown?: true; json?: string }>();

function regularExpression(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

const quick = options.quick ?? false;
// Many short rounds rather than few long ones: what disturbs a shared machine lasts for seconds.
const rounds = options.rounds ?? (quick ? 5 : 15);
const phases = { warmMs: 100, measureMs: quick ? 200 : 300 };

const openFiles = raiseFileLimit(25_000);
/** Each takes two files of Envoy's, which has some of its own. */
const mostConnections = Math.min(10_000, Math.floor(openFiles / 2) - 100);

const crowded = crowds(mostConnections);
const asked = options.only ?? /./;
const quickOnes = new Set([...pipelining, bodies[2], bodies.at(-1), crowded[2]]);
const scenarios = [...pipelining, ...bodies, ...crowded].filter(
  (scenario) => asked.test(scenario.name) && (!quick || quickOnes.has(scenario)),
);

/** The aims for pipelining are the tightest; and opening thousands of connections takes longer than measuring them. */
function roundsOf(scenario: Scenario): number {
  if (pipelining.includes(scenario)) return rounds;
  return Math.min(Math.ceil(rounds * 0.6), scenario.connections > 1000 ? 5 : rounds);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** For this process and its children, as far as that is allowed; answers the limit. */
function raiseFileLimit(wanted: number): number {
  const limit = () => Number(/Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]);
  if (limit() < wanted) spawnSync("prlimit", ["--pid", String(process.pid), `--nofile=${wanted}:${wanted}`]);
  return limit();
}

function withSpread(values: readonly number[]): string {
  return values.length > 0 ? `${figure(median(values))} ±${figure(spread(values))}` : "refused";
}

function costs(rows: readonly Row[]): Table {
  const cell = (row: Row, variant: Variant) => {
    const cost = row.cost[variant];
    return cost ? withSpread(cost) : "-";
  };
  return [
    ["us of CPU a request", ...variants],
    ...rows.map((row) => [row.name, ...variants.map((variant) => cell(row, variant))]),
  ];
}

const compared: [Variant, Variant][] = [
  ["observe", "tcp_proxy"],
  ["route", "tcp_proxy"],
  ["dubbo_proxy", "observe"],
  ["bridge", "HTTP/2"],
  ["dubbo_proxy", "bridge"],
  ["thrift_proxy", "observe, thrift"],
];

function ratios(rows: readonly Row[]): Table {
  return [
    ["ratio of these", ...compared.map(([a, b]) => `${a} / ${b}`)],
    ...rows.map((row) => [row.name, ...compared.map(([a, b]) => times(paired(row, a, b, ratio)))]),
  ];
}

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
  const rows = measured.map(({ name, bytes, nanoseconds }) => [name, String(bytes), withSpread(nanoseconds)]);
  return [["decoding", "bytes read", "ns a frame"], ...rows];
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

// Each Envoy ends with this process.
process.setMaxListeners(2 * variants.length);
const echo = await startEcho();
const load = new Load();
const bench: Bench = { envoy, ports: echo.ports, load, phases, say };
const proxies = new Map<Variant, EnvoyProcess>();
const rows: Row[] = [];
const idleMemory: IdleMemory[] = [];
try {
  for (const variant of variants) proxies.set(variant, await startProxy(envoy, variant, echo.ports));
  for (const [i, scenario] of scenarios.entries()) {
    const n = roundsOf(scenario);
    say(`${i + 1}/${scenarios.length} ${scenario.name}, ${n} rounds`);
    rows.push(await measure(scenario, n, proxies, bench));
  }
  const connections = quick ? 1000 : mostConnections;
  if (asked.test("memory")) {
    for (const variant of ["observe", "route", "bridge"] as const) {
      say(`memory of ${connections} idle connections, ${variant}`);
      idleMemory.push(await measureIdle(variant, connections, bench));
    }
  }
} finally {
  for (const proxy of proxies.values()) await proxy.stop();
  load.stop();
  echo.stop();
}
const decoded = asked.test("decoding") ? await measureDecoding(rounds) : [];

const judged = aims(rows, idleMemory, decoded, mostConnections);
const tables = [costs(rows), ratios(rows), memory(idleMemory), decoding(decoded), aimTable(judged)].filter(
  ({ length }) => length > 1,
);
process.stdout.write(`\n${tables.map((table) => format(table, options.markdown ?? false)).join("\n")}`);
if (options.json) {
  const result = { date: new Date().toISOString(), machine, rows, idleMemory, decoded, aims: judged };
  writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
}
