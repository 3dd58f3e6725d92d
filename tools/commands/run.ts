import { relative, resolve, sep } from "node:path";
import { Command } from "commander";
import { loadFor } from "../configuration.js";
import { bootstrapYaml } from "../envoy/bootstrap.js";
import type { LogLine } from "../envoy/process.js";
import { interruptible } from "../interrupt.js";
import type { Model } from "../model/schema.js";
import { formatAddress } from "../model/units.js";
import { wholeNumber } from "../options.js";
import { defaultModule } from "../paths.js";
import { envoyIfAny, startProxy } from "../proxy.js";
import { say } from "../terminal.js";
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

export function run(): Command {
  return new Command("run")
    .description("Run a local Envoy with the module as meltemi.yaml says, and show live what passes through it.")
    .argument("[file]", "the configuration", "meltemi.yaml")
    .option("--print", "print Envoy's configuration as YAML and do nothing else")
    .option("--envoy <path>", "the Envoy to run (default: $MELTEMI_ENVOY, the PATH, or one that is fetched)")
    .option("--concurrency <n>", "worker threads (default: one for each core)", wholeNumber(1, 1024))
    .option("--module <file>", "another WebAssembly module", defaultModule)
    .option(
      "--access-log <file>",
      "write a line for each connection (mode bridge: request) that ends, e.g. to /dev/stdout",
    )
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
    const given = [
      ...(options.module === defaultModule ? [] : ["--module", options.module]),
      ...(options.accessLog === undefined ? [] : ["--access-log", options.accessLog]),
    ];
    const header = `Written by: ${["meltemi run --print", ...given, file].join(" ")}`;
    process.stdout.write(bootstrapYaml(model, { module, accessLog: options.accessLog }, header));
    return;
  }

  await interruptible(async ({ signal }) => {
    try {
      await serve(model, options, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  });
}

async function serve(model: Model, options: Options, signal: AbortSignal): Promise<void> {
  const onTerminal = options.view && !options.json && process.stdout.isTTY;
  // Log lines between redrawn figures would be unreadable.
  const log = onTerminal && process.stderr.isTTY ? () => {} : writeLog;
  const envoy = await envoyIfAny({ mode: model.mode, path: options.envoy, say, signal });
  signal.throwIfAborted();
  const { module, accessLog, concurrency } = options;
  const proxy = await startProxy(model, { envoy, module, accessLog, concurrency, onLog: log, signal });
  try {
    const title = `${model.service.name}: ${model.protocol}, ${model.mode}, in ${proxy.host}`;
    const footer = [
      `clients connect to ${formatAddress(proxy.address)}`,
      ...(proxy.admin ? [`metrics: ${proxy.admin}/stats/prometheus`] : []),
      "Ctrl-C ends it",
    ];
    const view = options.view
      ? startView({
          source: () => proxy.metrics(),
          title,
          footer,
          json: options.json ?? false,
          direction: proxy.direction,
        })
      : undefined;
    if (!view || options.json) say([title, ...footer].join("\n"));
    try {
      await Promise.race([aborted(signal), proxy.failed]);
    } finally {
      await view?.stop();
    }
  } finally {
    await proxy.stop();
  }
}

function writeLog({ level, text, module }: LogLine): void {
  process.stderr.write(module && level === "info" ? `${text}\n` : `[${level || "log"}] ${text}\n`);
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
