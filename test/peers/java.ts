import { type ChildProcess, type ChildProcessWithoutNullStreams, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { packageRoot } from "../../tools/paths.js";

/*
 * Peers in Java: Maven projects in folders beside this file, each with a Provider and a Consumer.
 */

const run = promisify(execFile);

/** Programs that live for seconds: start fast. */
const quickStart = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/** What a consumer found out about one way of calling. */
export type ConsumerCheck = { name: string; ok: boolean; got: string };

export type JavaPeer = {
  /** Starts `Provider PORT ARGS` and waits until it can be called. Without `port`, a free one. */
  provider(port?: number, ...args: string[]): Promise<{ readonly port: number; stop(): Promise<void> }>;
  /** Runs `Consumer ARGS` and answers what it prints. */
  consumer(...args: string[]): Promise<ConsumerCheck[]>;
  /** Starts another class of the project. */
  start(main: string, ...args: string[]): ChildProcessWithoutNullStreams;
};

/**
 * Builds a project, such as `dubbo-java`, unless what is built is newer than its sources. Answers null, and says so on
 * standard error, where the machine has no Maven or no JDK. Throws if the build fails.
 */
export async function buildJavaPeer(name: string, jvmOptions: string[] = []): Promise<JavaPeer | null> {
  const project = join(packageRoot, "test", "peers", name);
  // As pom.xml says.
  const output = join(packageRoot, "output", name);
  const classpathFile = join(output, "classpath.txt");
  tools ??= haveTools();
  if (!(await tools)) return null;
  if (!built(project, classpathFile)) {
    try {
      await run("mvn", ["-q", "-B", "compile", "dependency:build-classpath"], { cwd: project });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${name} does not build:\n${stdout}${stderr}`);
    }
    // Maven leaves it alone where the classpath is the same.
    utimesSync(classpathFile, new Date(), new Date());
  }
  const classpath = `${join(output, "classes")}:${readFileSync(classpathFile, "utf8").trim()}`;
  const start = (main: string, ...args: string[]) =>
    spawn("java", [...jvmOptions, ...quickStart, "-cp", classpath, `org.meltemi.demo.${main}`, ...args]);

  return {
    async provider(port, ...args) {
      const chosen = port ?? (await freePort());
      const child = start("Provider", String(chosen), ...args);
      await line(child, (text) => text === `READY ${chosen}`);
      return {
        port: chosen,
        stop: () => end(child),
      };
    },
    async consumer(...args) {
      const child = start("Consumer", ...args);
      try {
        return JSON.parse(await line(child, (text) => text.startsWith("[{")));
      } finally {
        child.kill("SIGKILL");
      }
    },
    start,
  };
}

let tools: Promise<boolean> | undefined;

async function haveTools(): Promise<boolean> {
  for (const tool of ["javac", "mvn"]) {
    try {
      await run(tool, ["-version"]);
    } catch (error) {
      process.stderr.write(`no Java peers: ${tool} does not run here (${(error as Error).message.trim()})\n`);
      return false;
    }
  }
  return true;
}

/** Ends a program and waits until it is gone. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  // Nothing is to be saved, and its orderly end takes seconds.
  child.kill("SIGKILL");
  await once(child, "exit");
}

function built(project: string, classpathFile: string): boolean {
  if (!existsSync(classpathFile)) return false;
  const then = statSync(classpathFile).mtimeMs;
  const sources = readdirSync(join(project, "src"), { recursive: true }).map((name) => join("src", String(name)));
  return ["pom.xml", ...sources].every((name) => statSync(join(project, name)).mtimeMs < then);
}

/** The first line on standard output that `wanted` accepts. Throws, with standard error, if the program ends before. */
async function line(
  child: ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream },
  wanted: (text: string) => boolean,
): Promise<string> {
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  for await (const text of createInterface({ input: child.stdout })) if (wanted(text)) return text;
  throw new Error(`${child.spawnargs.slice(-3).join(" ")} ended without an answer:\n${complaints}`);
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return (address as { port: number }).port;
}
