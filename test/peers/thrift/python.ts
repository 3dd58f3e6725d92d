import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { packageRoot } from "../../../tools/paths.js";
import { numbersCaller } from "../caller.js";

/*
 * Two Python libraries as peers, thriftpy2 and Apache's: what the one in Node does not know, they do.
 */

const run = promisify(execFile);
const sources = join(packageRoot, "test", "peers", "thrift", "python");
const environment = join(packageRoot, "output", "thrift-python");
const python = join(environment, "bin", "python");

export interface PythonDialect {
  /** `multiplexed` is framed, as the service Greeter; `zlib` a THeader with a transform. */
  transport: "framed" | "unframed" | "multiplexed" | "header" | "zlib";
  protocol: "binary" | "compact" | "old";
}

export interface Python {
  /** Starts a server and waits until it can be called. */
  serve(dialect: PythonDialect, version?: string): Promise<{ readonly port: number; stop(): Promise<void> }>;
  /** Calls all that peer.py has a call for; answers what it got by name. */
  call(dialect: PythonDialect, port: number): Promise<Record<string, unknown>>;
  /** Calls the services of a multiplexed server whose names are those numbers. */
  talk(protocol: PythonDialect["protocol"], port: number): ReturnType<typeof numbersCaller>;
}

/**
 * Installs the libraries unless they are there. Answers null, and says so on standard error, where the machine has no
 * Python or cannot install them.
 */
export async function setUpPython(): Promise<Python | null> {
  const requirements = join(sources, "requirements.txt");
  if (!existsSync(environment) || statSync(environment).mtimeMs < statSync(requirements).mtimeMs) {
    try {
      await rm(environment, { recursive: true, force: true });
      await run("python3", ["-m", "venv", environment]);
      await run(python, ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--requirement", requirements]);
    } catch (error) {
      await rm(environment, { recursive: true, force: true });
      process.stderr.write(`no Python peers: ${(error as Error).message.trim()}\n`);
      return null;
    }
  }
  const start = (...args: string[]) => spawn(python, [join(sources, "peer.py"), ...args], { stdio: "pipe" });

  return {
    async serve({ transport, protocol }, version = "v1") {
      const child = start("serve", transport, protocol, version);
      const ready = await line(child);
      return {
        port: Number(ready.replace("READY ", "")),
        async stop() {
          if (child.exitCode !== null || child.signalCode !== null) return;
          child.kill("SIGKILL");
          await once(child, "exit");
        },
      };
    },
    async call({ transport, protocol }, port) {
      const child = start("call", transport, protocol, String(port));
      try {
        return JSON.parse(await line(child));
      } finally {
        child.kill("SIGKILL");
      }
    },
    talk: (protocol, port) => numbersCaller(start("talk", "multiplexed", protocol, String(port))),
  };
}

/** The first line on standard output. Throws, with standard error, if the program ends before. */
async function line(child: ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream }) {
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  for await (const text of createInterface({ input: child.stdout })) return text;
  throw new Error(`${child.spawnargs.slice(2).join(" ")} ended without an answer:\n${complaints}`);
}
