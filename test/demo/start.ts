// `npm start`: Dubbo clients and servers with Envoy between them, and what becomes of each request there.
import { setMaxListeners } from "node:events";
import { relative } from "node:path";
import { Argument, Command, CommanderError } from "commander";
import { loadFor } from "../../tools/configuration.js";
import { Exit, UserError } from "../../tools/errors.js";
import { interruptible } from "../../tools/interrupt.js";
import { formatAddress } from "../../tools/model/units.js";
import { wholeNumber } from "../../tools/options.js";
import { defaultModule } from "../../tools/paths.js";
import { envoyIfAny, type RunningProxy, startProxy } from "../../tools/proxy.js";
import { startView } from "../../tools/view/live.js";
import { startServer } from "../peers/dubbo/server.js";
import { compare } from "./compare.js";
import { type ModeName, modes, writeYaml } from "./modes.js";
import { showBridge } from "./story.js";
import { Tally } from "./tally.js";
import { drive, type Lane } from "./workload.js";

const passing = Object.keys(modes) as ModeName[];

const program = new Command("npm start --")
  .description("Two versions of a Dubbo service, clients, and the module in Envoy between them.")
  .addArgument(
    new Argument("[mode...]", "what to show: bridge alone, or the others")
      .choices(["bridge", ...passing])
      .default(["bridge"]),
  )
  .option("--requests <n>", "end after so many requests (default: Ctrl-C ends it)", wholeNumber(1, 1e9))
  .addHelpText(
    "after",
    "\nOnly the bridge needs an Envoy." +
      "\nExit codes: 0 all went well, 2 usage, 3 something is missing, 4 requests were lost or wrong.",
  )
  .exitOverride()
  .showHelpAfterError("(npm start -- --help shows the options)");

try {
  program.parse();
  const names = [...new Set(program.processedArgs[0] as (ModeName | "bridge")[])];
  const { requests = Number.POSITIVE_INFINITY } = program.opts<{ requests?: number }>();
  const others = names.filter((name) => name !== "bridge");
  if (others.length > 0 && others.length < names.length) program.error("error: the bridge is shown alone");
  process.exitCode = await interruptible((stopped) =>
    others.length > 0 ? showPassing(others, requests, stopped) : showBridge(requests, stopped, say),
  );
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? Exit.ok : Exit.usage;
  } else if (error instanceof UserError) {
    const other = error.code === "E_NO_ENVOY" ? "npm start -- observe route does without." : undefined;
    process.stderr.write(`${[error.message, error.options.hint, other].filter(Boolean).join("\n")}\n`);
    process.exitCode = error.exit;
  } else {
    throw error;
  }
}

/** Shows modes whose proxies pass every byte as it is. */
async function showPassing(names: readonly ModeName[], requests: number, stopped: AbortController): Promise<Exit> {
  // Every lane listens; Node takes more than ten listeners for a leak, and would say so into the figures.
  setMaxListeners(0, stopped.signal);
  const { signal } = stopped;
  const ends: (() => Promise<unknown>)[] = [];
  try {
    const envoy = await envoyIfAny({ say, signal });
    const servers = { v1: await startServer({ version: "v1" }), v2: await startServer({ version: "v2" }) };
    ends.push(servers.v1.stop, servers.v2.stop);

    const proxies = new Map<ModeName, RunningProxy>();
    const lanes: Lane[] = [];
    const footer: string[] = [];
    for (const name of names) {
      const file = writeYaml(name, modes[name].yaml(servers.v1.port, servers.v2.port));
      const model = await loadFor(defaultModule, file);
      const proxy = await startProxy(model, { envoy, module: defaultModule, concurrency: 1, signal });
      ends.push(proxy.stop);
      proxies.set(name, proxy);
      lanes.push(...modes[name].lanes.map((lane) => ({ ...lane, through: name, port: proxy.address.port })));
      footer.push(`${name} listens on ${formatAddress(proxy.address)} as ${relative(process.cwd(), file)} says`);
      if (proxy.admin) footer.push(`  its Envoy: ${proxy.admin}, its metrics: ${proxy.admin}/stats/prometheus`);
    }

    const metrics = async () => (await Promise.all([...proxies.values()].map((proxy) => proxy.metrics()))).join("\n");
    const endless = requests === Number.POSITIVE_INFINITY;
    const view = startView({
      source: metrics,
      title: `${names.join(" and ")}: Dubbo through ${[...proxies.values()][0]?.host}`,
      footer: [...footer, ...(endless ? ["Ctrl-C ends it"] : [])],
    });
    const tally = new Tally();
    // Nobody can read what goes by faster than this; a given number of requests is to be done soon.
    const pauseMs = endless ? 50 : 0;
    const share = (i: number) => Math.floor((requests + i) / lanes.length);
    const driven = Promise.all(lanes.map((lane, i) => drive(lane, { calls: share(i), pauseMs, signal }, tally)));
    try {
      await Promise.race([driven, ...[...proxies.values()].map(({ failed }) => failed)]);
      await compare(tally, servers, proxies);
    } finally {
      stopped.abort();
      await view.stop();
    }
    say(["", ...tally.report()].join("\n"));
    return tally.failed ? Exit.failed : Exit.ok;
  } catch (error) {
    // Stopped while it was starting.
    if (error === stopped.signal.reason) return Exit.ok;
    throw error;
  } finally {
    await Promise.all(ends.map((end) => end()));
  }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
