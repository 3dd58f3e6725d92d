import { readFileSync } from "node:fs";
import { dirname, relative, resolve, sep } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { loadFor } from "../configuration.js";
import { bootstrap, bootstrapYaml, STDOUT } from "../envoy/bootstrap.js";
import { type Envoy, findEnvoy } from "../envoy/find.js";
import { EnvoyProcess, type LogLine } from "../envoy/process.js";
import { UserError } from "../errors.js";
import { ConfigurationError, ModuleError } from "../host/host.js";
import { startProxy } from "../host/proxy.js";
import { clusters, moduleConfig } from "../model/module.js";
import type { Model } from "../model/schema.js";
import { formatAddress } from "../model/units.js";
import { defaultModule } from "../paths.js";
import { startView } from "../view/live.js";

interface Options {
  print?: true;
  envoy?: string;
  concurrency?: number;
  module: string;
  accessLog?: string;
  view: boolean;
  json?: true;
}

/** A proxy that is up, whichever one it is. */
interface Proxy {
  title: string;
  footer: string[];
  /** In the Prometheus text format. */
  metrics(): Promise<string>;
  /** Rejects when it ends by itself. */
  failed: Promise<never>;
  stop(): Promise<unknown>;
}

export function run(): Command {
  return new Command("run")
    .description("Run a local Envoy with the module as meltemi.yaml says, and show live what passes through it.")
    .argument("[file]", "the configuration", "meltemi.yaml")
    .option("--print", "print Envoy's configuration as YAML and do nothing else")
    .option("--envoy <path>", "the Envoy to run (default: $MELTEMI_ENVOY, the PATH, or one that is fetched)")
    .option("--concurrency <n>", "worker threads (default: one for each core)", wholeNumber)
    .option("--module <file>", "another WebAssembly module", defaultModule)
    .option("--access-log <file>", "write a JSON line for each connection that ends, e.g. to /dev/stdout")
    .option("--no-view", "show no live numbers, only the log")
    .option("--json", "live numbers as JSON, a line each second")
    .addHelpText(
      "after",
      "\nExamples:\n  $ meltemi run envoy/observe/meltemi.yaml\n  $ meltemi run --print meltemi.yaml > envoy.yaml\n" +
        "\nOn a terminal the live numbers take the place of the log; 2> FILE keeps it.",
    )
    .action(action);
}

async function action(file: string, options: Options): Promise<void> {
  const model = await loadFor(options.module, file);
  if (options.print) {
    const module = fromHere(options.module);
    const log = options.accessLog === undefined ? "" : `--access-log ${options.accessLog} `;
    const header = `Written by: meltemi run --print ${log}${file}`;
    process.stdout.write(bootstrapYaml(model, { module, accessLog: options.accessLog }, header));
    return;
  }

  const stopped = new AbortController();
  const onSignal = () => {
    // Asked twice: leave at once. What runs is ended by the handlers of the process's exit.
    if (stopped.signal.aborted) process.exit(130);
    stopped.abort();
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  try {
    await serve(model, options, stopped.signal);
  } catch (error) {
    if (!stopped.signal.aborted) throw error;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

async function serve(model: Model, options: Options, signal: AbortSignal): Promise<void> {
  const onTerminal = options.view && !options.json && process.stdout.isTTY;
  // Log lines between redrawn figures would be unreadable.
  const log = onTerminal && process.stderr.isTTY ? () => {} : writeLog;
  const proxy = await start(model, options, signal, log);
  try {
    const { title, footer } = proxy;
    const view = options.view
      ? startView({ source: () => proxy.metrics(), title, footer, json: options.json ?? false })
      : undefined;
    if (!view) say([title, ...footer].join("\n"));
    try {
      await Promise.race([aborted(signal), proxy.failed]);
    } finally {
      await view?.stop();
    }
  } finally {
    await proxy.stop();
  }
}

async function start(
  model: Model,
  options: Options,
  signal: AbortSignal,
  log: (line: LogLine) => void,
): Promise<Proxy> {
  let envoy: Envoy;
  try {
    envoy = await findEnvoy({ path: options.envoy, say, signal });
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof UserError && error.code === "E_NO_ENVOY")) throw error;
    say(`${error.message}:\n${error.options.hint}\nUntil then the module runs in Node, with the same metrics.`);
    return startInNode(model, options, log);
  }
  signal.throwIfAborted();
  return startEnvoy(envoy, model, options, signal, log);
}

async function startEnvoy(
  envoy: Envoy,
  model: Model,
  options: Options,
  signal: AbortSignal,
  onLog: (line: LogLine) => void,
): Promise<Proxy> {
  const module = resolve(options.module);
  const accessLog = options.accessLog === undefined ? undefined : resolve(options.accessLog);
  // Why a start failed is told in fewer words than Envoy's.
  let live = false;
  const running = await EnvoyProcess.start({
    envoy,
    bootstrap: bootstrap(model, { module, accessLog }),
    files: [module],
    folders: accessLog === undefined || accessLog === STDOUT ? [] : [dirname(accessLog)],
    concurrency: options.concurrency,
    onLog: (line) => live && onLog(line),
    signal,
  });
  live = true;
  return {
    title: title(model, `Envoy ${envoy.version}`),
    footer: footer(formatAddress(await running.listener()), [
      `metrics: http://${formatAddress(running.admin)}/stats/prometheus`,
    ]),
    // The view asks every second: Envoy's own thousand figures would cost more than they tell.
    metrics: () => running.prometheus("meltemi_"),
    failed: running.ended.then((how) => Promise.reject(running.whyEnded(how))),
    stop: () => running.stop(),
  };
}

/** The same module behind a TCP proxy in this process: for a first look on machines without Envoy. */
async function startInNode(model: Model, options: Options, onLog: (line: LogLine) => void): Promise<Proxy> {
  try {
    const proxy = await startProxy({
      wasm: readFileSync(options.module),
      config: moduleConfig(model),
      bind: model.service.bind,
      clusters: clusters(model),
      log: ({ level, message }) => onLog({ level, text: message, module: true }),
    });
    return {
      title: title(model, "Node, without Envoy"),
      footer: footer(formatAddress(proxy), []),
      metrics: async () => proxy.metrics(),
      failed: new Promise<never>(() => {}),
      stop: () => proxy.close(),
    };
  } catch (error) {
    if (!(error instanceof ModuleError || error instanceof ConfigurationError)) throw error;
    throw new UserError("E_MODULE", `the module refuses: ${error.message}`, { cause: error });
  }
}

function title({ service, protocol, mode }: Model, host: string): string {
  return `${service.name}: ${protocol}, ${mode}, in ${host}`;
}

function footer(address: string, more: string[]): string[] {
  return [`clients connect to ${address}`, ...more, "Ctrl-C ends it"];
}

function writeLog({ level, text, module }: LogLine): void {
  process.stderr.write(module && level === "info" ? `${text}\n` : `[${level || "log"}] ${text}\n`);
}

function say(line: string): void {
  process.stderr.write(`meltemi: ${line}\n`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
}

/** A path below the working directory is written relative to it, so that the file works wherever the folder goes. */
function fromHere(path: string): string {
  const below = relative(process.cwd(), resolve(path));
  return below.split(sep)[0] === ".." ? resolve(path) : below;
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError("expected a whole number from 1.");
  return Number(text);
}
