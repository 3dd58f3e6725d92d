import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { packageRoot } from "../../tools/paths.js";

/*
 * Apache Dubbo for Java as a peer: the reference implementation, so what it sends and accepts is Dubbo.
 */

const run = promisify(execFile);
const project = join(packageRoot, "test", "peers", "dubbo-java");
/** As pom.xml says. */
const output = join(packageRoot, "output", "dubbo-java");
const classpathFile = join(output, "classpath.txt");

const jvmOptions = [
  // Hessian2 reads and writes the fields of exceptions.
  "--add-opens=java.base/java.lang=ALL-UNNAMED",
  // Programs that live for seconds: start fast.
  "-XX:TieredStopAtLevel=1",
  "-XX:+UseSerialGC",
];

/** What the consumer found out about one way of calling. */
export type ConsumerCheck = { name: string; ok: boolean; got: string };

export type Java = {
  /** Starts a provider and waits until it can be called. Without `port`, a free one; `version` is as in startServer. */
  provider(options?: { port?: number; version?: string }): Promise<{ readonly port: number; stop(): Promise<void> }>;
  /** Calls the provider at that address in every way that Consumer.java has; the first call with that `dubbo.tag`. */
  consumer(host: string, port: number, tag?: string): Promise<ConsumerCheck[]>;
};

/**
 * Builds the Java peers unless what is built is newer than the sources. Answers null, and says so on standard error,
 * where the machine has no Maven or no JDK. Throws if the build fails.
 */
export async function buildJava(): Promise<Java | null> {
  for (const [tool, versionFlag] of [
    ["javac", "-version"],
    ["mvn", "-version"],
  ] as const) {
    try {
      await run(tool, [versionFlag]);
    } catch (error) {
      process.stderr.write(`no Java peers: ${tool} does not run here (${(error as Error).message.trim()})\n`);
      return null;
    }
  }
  if (!built()) {
    try {
      await run("mvn", ["-q", "-B", "compile", "dependency:build-classpath"], { cwd: project });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`the Java peers do not build:\n${stdout}${stderr}`);
    }
  }
  const classpath = `${join(output, "classes")}:${readFileSync(classpathFile, "utf8").trim()}`;
  const start = (main: string, args: string[]) =>
    spawn("java", [...jvmOptions, "-cp", classpath, `org.meltemi.demo.${main}`, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
    });

  return {
    async provider({ port, version = "java" } = {}) {
      const chosen = port ?? (await freePort());
      const child = start("Provider", [String(chosen), version]);
      await line(child, (text) => text === `READY ${chosen}`);
      return {
        port: chosen,
        async stop() {
          if (child.exitCode !== null || child.signalCode !== null) return;
          // Nothing is to be saved, and its orderly end takes seconds.
          child.kill("SIGKILL");
          await once(child, "exit");
        },
      };
    },
    async consumer(host, port, tag) {
      const child = start("Consumer", [host, String(port), ...(tag === undefined ? [] : [tag])]);
      try {
        return JSON.parse(await line(child, (text) => text.startsWith("[{")));
      } finally {
        child.kill("SIGKILL");
      }
    },
  };
}

function built(): boolean {
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return (address as { port: number }).port;
}
