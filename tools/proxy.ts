import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { bootstrap, STDOUT } from "./envoy/bootstrap.js";
import { type Envoy, type FindOptions, findEnvoy } from "./envoy/find.js";
import { EnvoyProcess, type LogLine } from "./envoy/process.js";
import { statName } from "./envoy/resources.js";
import { portInUse, UserError } from "./errors.js";
import { ConfigurationError, ModuleError } from "./host/host.js";
import { startProxy as startInNode } from "./host/proxy.js";
import { clusters, moduleConfig } from "./model/module.js";
import type { Model } from "./model/schema.js";
import { type Address, formatAddress } from "./model/units.js";

/** A proxy with the module in it that is up, whichever one it is. */
export interface RunningProxy {
  /** In words: `Envoy 1.40.0`. */
  host: string;
  /** Where clients connect. */
  address: Address;
  /** URL of Envoy's admin interface; none without Envoy. */
  admin: string | undefined;
  /** That of requests as clients make them: a bridge with both legs counts each of them in the other one, too. */
  direction: Model["direction"];
  /** The module's metrics in the Prometheus text format; of a bridge also those of Envoy's that tell what it did. */
  metrics(): Promise<string>;
  /** Rejects when it ends by itself. */
  failed: Promise<never>;
  stop(): Promise<unknown>;
}

export interface ProxyOptions {
  /** Without one the module runs behind a TCP proxy in this process. */
  envoy: Envoy | undefined;
  /** The module's file. */
  module: string;
  accessLog?: string | undefined;
  concurrency?: number | undefined;
  onLog?: (line: LogLine) => void;
  /** Gives the start up. */
  signal?: AbortSignal;
}

/**
 * The Envoy to run; undefined, and told through `say`, where there is none to be had and the mode can do without.
 * @throws UserError where the user names one that does not do, `E_NO_ENVOY` where the mode needs one
 */
export async function envoyIfAny(
  options: FindOptions & { mode?: Model["mode"]; say: (line: string) => void },
): Promise<Envoy | undefined> {
  try {
    return await findEnvoy(options);
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof UserError && error.code === "E_NO_ENVOY")) throw error;
    if (options.mode === "bridge") {
      throw new UserError(error.code, `mode bridge needs Envoy, and ${error.message}`, {
        ...error.options,
        cause: error,
      });
    }
    options.say(`${error.message}:\n${error.options.hint}\nUntil then the module runs in Node, with the same metrics.`);
    return undefined;
  }
}

/**
 * Starts a proxy for one meltemi.yaml and waits until it is up.
 * @throws UserError where a port is in use, the module is refused, Envoy does not start
 */
export function startProxy(model: Model, options: ProxyOptions): Promise<RunningProxy> {
  return options.envoy ? envoyProxy(options.envoy, model, options) : nodeProxy(model, options);
}

async function envoyProxy(envoy: Envoy, model: Model, options: ProxyOptions): Promise<RunningProxy> {
  const module = resolve(options.module);
  const log = options.accessLog ?? model.accessLog?.path;
  const accessLog = log === undefined ? undefined : resolve(log);
  if (accessLog !== undefined && accessLog !== STDOUT && !existsSync(dirname(accessLog))) {
    const by = options.accessLog === undefined ? "accessLog.path" : "--access-log";
    throw new UserError("E_NO_FILE", `${by}: there is no folder ${dirname(accessLog)}`);
  }
  // Why a start failed is told in fewer words than Envoy's.
  let live = false;
  const running = await EnvoyProcess.start({
    envoy,
    bootstrap: bootstrap(model, { module, accessLog }),
    files: [module],
    folders: accessLog === undefined || accessLog === STDOUT ? [] : [dirname(accessLog)],
    concurrency: options.concurrency,
    onLog: (line) => live && options.onLog?.(line),
    ...(options.signal && { signal: options.signal }),
  });
  live = true;
  const failed = running.ended.then((how) => Promise.reject(running.whyEnded(how)));
  // It also ends when it is told to, and then nobody has to ask.
  failed.catch(() => {});
  return {
    host: `Envoy ${envoy.version}`,
    address: await running.listener(),
    admin: `http://${formatAddress(running.admin)}`,
    direction: model.mode !== "bridge" ? model.direction : model.leg === "server" ? "inbound" : "outbound",
    // A view asks every second: Envoy's own thousand figures would cost more than they tell.
    metrics: () => running.prometheus(model.mode === "bridge" ? bridgeMetrics(model) : "meltemi_"),
    failed,
    stop: () => running.stop(),
  };
}

/** The names of Envoy's counters of retries, faults, limits and the like, as a regular expression; and the module's. */
function bridgeMetrics(model: Model): string {
  const names = clusters(model).map(({ name }) => statName(name).replaceAll("|", "\\|"));
  const ofClusters = "upstream_rq_(completed|retry|timeout|per_try_timeout|max_duration_reached)|ratelimit.over_limit";
  return [
    "meltemi_",
    `^cluster\\.(${names.join("|")})\\.(${ofClusters})$`,
    "^http\\.meltemi\\.(no_route|rbac\\..*denied|fault\\.(aborts|delays)_injected)$",
    "^meltemi\\.http_local_rate_limit\\.rate_limited$",
  ].join("|");
}

async function nodeProxy(model: Model, { module, onLog }: ProxyOptions): Promise<RunningProxy> {
  const { mode } = model;
  if (mode === "bridge") throw new Error("mode bridge was to run without Envoy");
  try {
    const proxy = await startInNode({
      wasm: readFileSync(module),
      config: moduleConfig(model, mode),
      bind: model.service.bind,
      clusters: clusters(model),
      ...(onLog && { log: ({ level, message }) => onLog({ level, text: message, module: true }) }),
    });
    return {
      host: "Node, without Envoy",
      address: proxy,
      admin: undefined,
      direction: model.direction,
      metrics: async () => proxy.metrics(),
      failed: new Promise<never>(() => {}),
      stop: () => proxy.close(),
    };
  } catch (error) {
    if (error instanceof UserError && error.code === "E_PORT_IN_USE") {
      throw portInUse("service.bind", formatAddress(model.service.bind), error);
    }
    if (!(error instanceof ModuleError || error instanceof ConfigurationError)) throw error;
    throw new UserError("E_MODULE", `the module refuses: ${error.message}`, { cause: error });
  }
}
