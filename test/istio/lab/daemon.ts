import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const START_MS = 60_000;

export interface DaemonOptions {
  args: readonly string[];
  /** All that it gets of an environment. */
  env: NodeJS.ProcessEnv;
  cwd: string;
  /** The URL that answers 200 when the program is ready; it may depend on what the program has printed. */
  readyUrl: string | ((log: readonly string[]) => string | undefined);
}

/** A program that serves until it is stopped. */
export class Daemon {
  private readonly lines: string[] = [];
  private readonly ended: Promise<void>;
  private readonly leave = () => {
    this.kill("SIGKILL");
  };

  private constructor(
    private readonly program: string,
    private readonly child: ChildProcess,
  ) {
    this.ended = new Promise((resolve) => child.once("close", () => resolve()));
    // Should this process end without stop(), the daemon must not stay behind.
    process.once("exit", this.leave);
    for (const output of [child.stdout, child.stderr])
      if (output) createInterface({ input: output }).on("line", (line) => this.lines.push(line));
  }

  /** Starts a program and waits until it is ready. Throws with its log where that does not happen within a minute. */
  static async start(program: string, { args, env, cwd, readyUrl }: DaemonOptions): Promise<Daemon> {
    // A process group of its own: what it has started itself ends with it.
    const child = spawn(program, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
    const daemon = new Daemon(program, child);
    const failed = new Promise<never>((_, reject) => child.once("error", reject));
    const gone = daemon.ended.then(() => {
      throw new Error(`${program} ended:\n${daemon.log.slice(-20).join("\n")}`);
    });
    // Later on it is stop() that ends it, and nobody waits here any more.
    gone.catch(() => {});
    try {
      await Promise.race([daemon.ready(readyUrl), failed, gone]);
      return daemon;
    } catch (error) {
      await daemon.stop();
      throw error;
    }
  }

  /** What it has printed so far. */
  get log(): readonly string[] {
    return this.lines;
  }

  async stop(): Promise<void> {
    process.off("exit", this.leave);
    if (this.child.pid === undefined) return;
    this.child.kill("SIGTERM");
    const killing = setTimeout(() => this.kill("SIGKILL"), 10_000);
    await this.ended;
    clearTimeout(killing);
  }

  private kill(signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = this.child;
    if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, signal);
  }

  private async ready(readyUrl: DaemonOptions["readyUrl"]): Promise<void> {
    const deadline = Date.now() + START_MS;
    const answers = async () => {
      const url = typeof readyUrl === "string" ? readyUrl : readyUrl(this.lines);
      if (url === undefined) return false;
      return fetch(url).then(
        ({ ok }) => ok,
        () => false,
      );
    };
    while (!(await answers())) {
      if (Date.now() > deadline) throw new Error(`${this.program} is not ready:\n${this.log.slice(-20).join("\n")}`);
      await sleep(50);
    }
  }
}
