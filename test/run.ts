// `npm test`: every suite, one after the other, and one closing line that counts them all.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { packageRoot } from "../tools/paths.js";
import { type Counts, countsFile } from "./reporter.js";

interface Suite {
  readonly name: string;
  /** Runs it with its output visible. Rejects where it ended without saying how many tests it ran. */
  run(scratch: string): Promise<Counts & { readonly exitCode: number | null }>;
}

const suites: readonly Suite[] = [asPect(), vitest("tools"), vitest("e2e")];

const total = { passed: 0, failed: 0, skipped: [] as string[] };
for (const suite of suites) {
  say(`== ${suite.name}`);
  const scratch = mkdtempSync(join(tmpdir(), "meltemi-test-"));
  const started = performance.now();
  try {
    const { passed, failed, skipped, exitCode } = await suite.run(scratch);
    total.passed += passed;
    total.failed += failed;
    total.skipped.push(...skipped.map((name) => `${suite.name}: ${name}`));
    if (passed + failed === 0) fail(suite, "ran no test");
    else if (failed === 0 && exitCode !== 0) fail(suite, `ended with code ${exitCode} although no test failed`);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`== ${suite.name}: ${passed} passed, ${failed} failed in ${seconds} s`);
  } catch (error) {
    fail(suite, (error as Error).message);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

if (total.skipped.length > 0)
  process.stdout.write(`\nskipped:\n${total.skipped.map((name) => `  ${name}\n`).join("")}`);
const skipped = total.skipped.length > 0 ? `, ${total.skipped.length} skipped` : "";
say(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 ? 1 : 0;

function fail(suite: Suite, why: string): void {
  total.failed++;
  say(`== ${suite.name}: ${why}`);
}

/** On a line of its own, whatever the suite left behind. */
function say(line: string): void {
  process.stdout.write(`\n${line}\n`);
}

function asPect(): Suite {
  return {
    name: "as-pect",
    async run() {
      // Reporters of as-pect do not hear of traps and compile errors, so what it prints itself is what counts.
      const { output, exitCode } = await node("@as-pect/cli/bin/asp.js", ["--summary"], "capture");
      const summary = /\[Tests\]: (\d+) \/ (\d+)/.exec(stripVTControlCharacters(output));
      if (!summary) throw new Error(`ended with code ${exitCode} before its summary`);
      const passed = Number(summary[1]);
      return { passed, failed: Number(summary[2]) - passed, skipped: [], exitCode };
    },
  };
}

function vitest(project: string): Suite {
  return {
    name: project,
    async run(scratch) {
      const counts = join(scratch, "counts.json");
      const args = ["run", "--project", project, "--reporter", "default", "--reporter", "./test/reporter.ts"];
      const { exitCode } = await node("vitest/vitest.mjs", args, "inherit", { [countsFile]: counts });
      if (!existsSync(counts)) throw new Error(`ended with code ${exitCode} before its summary`);
      return { ...(JSON.parse(readFileSync(counts, "utf8")) as Counts), exitCode };
    },
  };
}

/** Runs a script of a dependency in the package's folder; what it prints is shown as it comes. */
function node(
  script: string,
  args: readonly string[],
  stdout: "inherit" | "capture",
  env: NodeJS.ProcessEnv = {},
): Promise<{ output: string; exitCode: number | null }> {
  const colours = stdout === "capture" && process.stdout.hasColors?.() ? { FORCE_COLOR: "1" } : {};
  const child = spawn(process.execPath, [join(packageRoot, "node_modules", script), ...args], {
    cwd: packageRoot,
    env: { ...process.env, ...colours, ...env },
    stdio: ["ignore", stdout === "capture" ? "pipe" : "inherit", "inherit"],
  });
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode) => resolve({ output, exitCode }));
  });
}
