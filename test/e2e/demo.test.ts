import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, it } from "vitest";
import { packageRoot } from "../../tools/paths.js";

/* `npm start` as a user runs it. */

function start(args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [join(packageRoot, "dist", "test", "demo", "start.js"), ...args], {
    cwd: packageRoot,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  const output = Promise.all([text(child.stdout), text(child.stderr)]).then((parts) => parts.join(""));
  return { child, exit, output };
}

/** Resolves when the demo says that requests pass. */
function traffic(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.stdout?.on("data", (chunk) => {
      if (/req\/s/.test(String(chunk))) resolve();
    });
  });
}

const allRight = "Servers and module counted every request as it was sent; every reply was right.";

describe.each([
  ["with Envoy", {}],
  ["without Envoy", { MELTEMI_ENVOY: "none" }],
])("npm start, %s", (_, env: NodeJS.ProcessEnv) => {
  it("makes as many requests as it is told, and all of them come out right", async () => {
    const { exit, output } = start(["--requests", "400"], env);
    const summary = await output;
    expect(summary).toMatch(/^all +400 +\d+ +0 /m);
    expect(summary).toMatch(/^observe +v1 +sayHello/m);
    expect(summary).toMatch(/^route +v2 +create/m);
    expect(summary).toContain(allRight);
    expect(await exit).toBe(0);
  });

  it("ends at Ctrl-C, with a summary", async () => {
    const { child, exit, output } = start([], env);
    await traffic(child);
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    expect(await output).toContain(allRight);
  });
});

describe("npm start", () => {
  it("shows one mode alone", async () => {
    const { exit, output } = start(["route", "--requests", "50"], { MELTEMI_ENVOY: "none" });
    expect(await output).not.toContain("observe");
    expect(await exit).toBe(0);
  });

  it("fails, and says why, when its Envoy dies", async ({ skip }) => {
    const { child, exit, output } = start([]);
    await traffic(child);
    const [envoy] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ").filter(Boolean);
    if (envoy === undefined) {
      child.kill("SIGINT");
      await exit;
      skip("there is no Envoy here");
    }
    process.kill(Number(envoy), "SIGKILL");
    expect(await exit).toBe(4);
    expect(await output).toContain("Envoy ended by itself: SIGKILL");
  });

  it.each([[["lift"]], [["--requests", "0"]], [["--request", "5"]]])("refuses %j", async (args) => {
    const { exit, output } = start(args);
    expect(await exit).toBe(2);
    expect(await output).toMatch(/^error: .*(Allowed choices are observe, route|whole number|unknown option)/);
    expect(await output).toContain("npm start -- --help");
  });
});
