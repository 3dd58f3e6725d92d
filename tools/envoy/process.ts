import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { Exit, portInUse, UserError } from "../errors.js";
import type { Address } from "../model/units.js";
import { formatAddress, parseAddress } from "../model/units.js";
import { type Bootstrap, LISTENER } from "./bootstrap.js";
import type { Envoy } from "./find.js";

export interface EnvoyOptions {
  envoy: Envoy;
  bootstrap: Bootstrap;
  /** Files besides the bootstrap that Envoy reads, absolute: the module. Only a container has to be told. */
  files?: readonly string[];
  /** Folders that Envoy writes into, absolute: that of an access log. Only a container has to be told. */
  folders?: readonly string[];
  /** Worker threads; default: one for each core. */
  concurrency?: number | undefined;
  /** Envoy's own log level, default `error`; the module's lines of level info and above always come. */
  logLevel?: string;
  onLog?: (line: LogLine) => void;
  /** Gives the start up. */
  signal?: AbortSignal;
}

/** One line of Envoy's log. */
export interface LogLine {
  /** `trace`, `debug`, `info`, `warning`, `error`, `critical`; empty where the line has another form. */
  level: string;
  text: string;
  /** Whether the module wrote it: `text` is then only what it wrote. */
  module: boolean;
}

/** How an Envoy ended. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
}

const START_MS = 60_000;
const STOP_MS = 10_000;
const POLL_MS = 20;
const LOG_FORMAT = "[%Y-%m-%dT%T.%e][%l][%n] %v";

/** An Envoy that is running and live. Ports that the bootstrap left to chance (0) are known here. */
export class EnvoyProcess {
  /** Resolves when the process is gone, whoever ended it. */
  readonly ended: Promise<Ended>;
  private lastLines: string[] = [];
  private adminAddress: Address | undefined;
  private readonly leave = () => {
    // Not SIGKILL, which a docker client could not pass on.
    this.child.kill("SIGTERM");
    rmSync(this.folder, { recursive: true, force: true });
  };

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: EnvoyOptions,
    private readonly folder: string,
  ) {
    this.ended = new Promise((resolve) => {
      child.once("close", (code, signal) => resolve({ code, signal }));
    });
    // Should this process end without stop(), neither Envoy nor its files must stay behind.
    process.once("exit", this.leave);
    if (!child.stderr) throw new Error("Envoy was started without a pipe for its log");
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.lastLines.push(line);
      if (this.lastLines.length > 200) this.lastLines.shift();
      options.onLog?.(parseLogLine(line));
    });
  }

  /**
   * Starts Envoy and waits until it is live.
   * @throws UserError `E_PORT_IN_USE`, `E_MODULE` (it or its configuration was refused) or `E_ENVOY` (anything else)
   */
  static async start(options: EnvoyOptions): Promise<EnvoyProcess> {
    const { envoy, bootstrap, files = [], folders = [], concurrency, logLevel = "error" } = options;
    const folder = await mkdtemp(join(tmpdir(), "meltemi-"));
    const config = join(folder, "envoy.json");
    await writeFile(config, JSON.stringify(bootstrap));
    const args = [
      ...["-c", config, "--admin-address-path", join(folder, "admin")],
      // The shared memory of hot restarts would let only one Envoy run.
      "--disable-hot-restart",
      // Lines of an access log otherwise wait for ten seconds, or for more of them.
      ...["--file-flush-interval-msec", "200"],
      ...["--log-level", logLevel, "--component-log-level", "wasm:info", "--log-format", LOG_FORMAT],
      ...(concurrency === undefined ? [] : ["--concurrency", String(concurrency)]),
    ];
    const [program = "", ...rest] = envoy.command(args, {
      name: basename(folder),
      readable: files,
      writable: [folder, ...folders],
    });
    // A process group of its own: Ctrl-C in a terminal is for the tool, which then ends Envoy in good order.
    const child = spawn(program, rest, { stdio: ["ignore", "inherit", "pipe"], detached: true });
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    const running = new EnvoyProcess(child, options, folder);
    try {
      await Promise.race([running.live(), failed]);
      return running;
    } catch (error) {
      await running.stop();
      throw error;
    }
  }

  /** The process id; of the docker client where Envoy runs in a container. */
  get pid(): number {
    return this.child.pid ?? 0;
  }

  get admin(): Address {
    if (!this.adminAddress) throw new Error("Envoy has not told its admin address yet");
    return this.adminAddress;
  }

  /** Where it listens for the service. */
  async listener(name: string = LISTENER): Promise<Address> {
    const { listener_statuses } = JSON.parse(await this.get("/listeners?format=json")) as {
      listener_statuses: { name: string; local_address: { socket_address: { address: string; port_value: number } } }[];
    };
    const at = listener_statuses.find((status) => status.name === name)?.local_address.socket_address;
    if (!at) throw new Error(`Envoy has no listener ${name}`);
    return { host: at.address, port: at.port_value };
  }

  /** The body of an admin page. */
  async get(path: string): Promise<string> {
    const response = await fetch(`http://${formatAddress(this.admin)}${path}`);
    const body = await response.text();
    if (!response.ok) throw new Error(`Envoy's admin answers ${response.status} to ${path}: ${body}`);
    return body;
  }

  /** The metrics in the Prometheus text format; only those whose names match `filter`, a regular expression. */
  prometheus(filter = ""): Promise<string> {
    return this.get(`/stats/prometheus?filter=${encodeURIComponent(filter)}`);
  }

  /** Counters and gauges by Envoy's own full names, such as `cluster.greeter.upstream_cx_total`. */
  async stats(): Promise<Record<string, number>> {
    const { stats } = JSON.parse(await this.get("/stats?format=json")) as {
      stats: { name?: string; value?: number }[];
    };
    return Object.fromEntries(stats.flatMap(({ name, value }) => (name === undefined ? [] : [[name, value ?? 0]])));
  }

  /** The newest lines of the log, at most 200. */
  get log(): readonly string[] {
    return this.lastLines;
  }

  /** Ends Envoy and waits until it is gone. May be called more than once. */
  async stop(): Promise<Ended> {
    this.child.kill("SIGTERM");
    const timeout = new AbortController();
    const late = sleep(STOP_MS, "late" as const, { signal: timeout.signal }).catch(() => "late" as const);
    if (this.child.pid !== undefined && (await Promise.race([this.ended, late])) === "late") this.child.kill("SIGKILL");
    timeout.abort();
    const ended = this.child.pid === undefined ? { code: null, signal: null } : await this.ended;
    process.off("exit", this.leave);
    await rm(this.folder, { recursive: true, force: true });
    return ended;
  }

  /** Why it ended, in the user's words. */
  whyEnded({ code, signal }: Ended): UserError {
    return explain(this.lastLines, this.options.bootstrap, signal ?? `exit code ${code}`);
  }

  private async live(): Promise<void> {
    let ended: Ended | undefined;
    this.ended.then((how) => {
      ended = how;
    });
    const deadline = Date.now() + START_MS;
    while (!(await this.isLive())) {
      if (ended) throw this.whyEnded(ended);
      this.options.signal?.throwIfAborted();
      if (Date.now() > deadline) {
        const hint = this.lastLines.slice(-10).join("\n");
        throw new UserError("E_ENVOY", `Envoy is not live after ${START_MS / 1000} s`, { exit: Exit.failed, hint });
      }
      await sleep(POLL_MS);
    }
  }

  private async isLive(): Promise<boolean> {
    const file = join(this.folder, "admin");
    const parsed = existsSync(file) ? parseAddress(readFileSync(file, "utf8")) : undefined;
    if (!parsed || !("value" in parsed)) return false;
    this.adminAddress = parsed.value;
    return this.get("/ready").then(
      () => true,
      () => false,
    );
  }
}

export function parseLogLine(line: string): LogLine {
  const [, level = "", text = line] = /^\[[^\]]*\]\[(\w+)\]\[\w+\] (.*)$/.exec(line) ?? [];
  const wrote = /^wasm log(?: [^:]*)?: (.*)$/.exec(text)?.[1];
  return { level, text: wrote ?? text, module: wrote !== undefined };
}

/** Turns the log of an Envoy that ended into what the user can do about it. */
export function explain(log: readonly string[], bootstrap: Bootstrap, how: string): UserError {
  const lines = log.map(parseLogLine);
  const said = lines.map(({ text }) => text).join("\n");
  const taken = /cannot bind '([^']+)': Address already in use/.exec(said)?.[1];
  if (taken !== undefined) {
    const admin = (bootstrap.admin as { address: { socket_address: { address: string; port_value: number } } }).address;
    const { address, port_value } = admin.socket_address;
    const key = taken === formatAddress({ host: address, port: port_value }) ? "admin" : "service.bind";
    return portInUse(key, taken);
  }
  const refused = lines.find(({ module, level }) => module && (level === "error" || level === "critical"))?.text;
  if (refused !== undefined) return new UserError("E_MODULE", `the module refuses: ${refused}`);
  const broken = /^Wasm VM failed (.*)$/m.exec(said)?.[1];
  if (broken !== undefined) return new UserError("E_MODULE", `Envoy refuses the module: ${broken}`);
  // What ends Envoy comes once more at the very end, in the clear and without a prefix.
  const last = lines.at(-1);
  const reason = last && last.level === "" ? last.text : how;
  const worst = lines.filter(({ level }) => level === "critical" || level === "error").map(({ text }) => text);
  return new UserError("E_ENVOY", `Envoy ended by itself: ${reason}`, { exit: Exit.failed, hint: worst.join("\n") });
}
