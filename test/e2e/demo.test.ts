import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, inject, it } from "vitest";
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

const bridgeRight = "Every call came out as its rule says, and client, servers, module and Envoy counted the same.";
const allRight = "Servers and module counted every request as it was sent; every reply was right.";

describe("npm start", () => {
  it("shows the bridge: every phase comes out as its rule says", async ({ skip }) => {
    skip("missing" in inject("envoy"), "there is no Envoy here");
    const { exit, output } = start(["--requests", "600"]);
    const summary = await output;
    const rows: Record<string, { calls: number; ok: number; errors: number }> = {};
    for (const [, phase = "", ...counts] of summary.matchAll(/^(\w+) +(\d+) +(\d+) +(\d+)(?: +[\d.-]+){0,2}$/gm)) {
      const [calls = 0, ok = 0, errors = 0] = counts.map(Number);
      rows[phase] = { calls, ok, errors };
    }
    expect(Object.keys(rows)).toEqual([
      "weights",
      "metadata",
      "retries",
      "faults",
      "timeout",
      "limit",
      "denied",
      "all",
    ]);
    for (const { calls, ok, errors } of Object.values(rows)) expect(ok + errors).toBe(calls);
    expect(rows.all?.calls).toBe(600);
    // What the client sees of a canary, and of a server that is down.
    for (const name of ["weights", "metadata", "retries"]) expect(rows[name]).toMatchObject({ errors: 0 });
    for (const name of ["timeout", "denied"]) expect(rows[name]).toMatchObject({ ok: 0 });
    expect(rows.faults?.errors).toBeGreaterThan(0);
    expect(rows.limit?.ok).toBeGreaterThanOrEqual(10);
    expect(rows.limit?.errors).toBeGreaterThan(0);

    const told = (name: string) => new RegExp(`^[\\d:]{8}  ✓ ${name}: .*`, "m").exec(summary)?.[0];
    const [, v1, v2] = /v1 (\d+), v2 (\d+) /.exec(told("weights") ?? "")?.map(Number) ?? [];
    expect(v2).toBeGreaterThan(0);
    expect(v1).toBe((rows.weights?.calls ?? 0) - (v2 ?? 0));
    expect(told("retries")).toMatch(/: [1-9]\d* retries, 0 errors in \d+ calls$/);
    expect(summary).toContain("\nlimit    status 100, HTTP 429: local_rate_limited\n");
    expect(summary).toContain(bridgeRight);
    expect(await exit).toBe(0);
  });

  it("shows the bridge until Ctrl-C, and then sums up", async ({ skip }) => {
    skip("missing" in inject("envoy"), "there is no Envoy here");
    const { child, exit, output } = start([]);
    await traffic(child);
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    expect(await output).toContain(bridgeRight);
  });

  it("says that the bridge needs an Envoy, and what does without", async () => {
    const { exit, output } = start(["--requests", "50"], { MELTEMI_ENVOY: "none" });
    expect(await output).toMatch(/^mode bridge needs Envoy, and there is no Envoy\n(.|\n)*npm start -- observe route/);
    expect(await exit).toBe(3);
  });
});

describe.each([
  ["with Envoy", {}],
  ["without Envoy", { MELTEMI_ENVOY: "none" }],
])("npm start -- observe route, %s", (_, env: NodeJS.ProcessEnv) => {
  it("makes as many requests as it is told, and all of them come out right", async () => {
    const { exit, output } = start(["observe", "route", "--requests", "400"], env);
    const summary = await output;
    expect(summary).toMatch(/^all +400 +\d+ +0 /m);
    expect(summary).toMatch(/^observe +v1 +sayHello/m);
    expect(summary).toMatch(/^route +v2 +create/m);
    expect(summary).toContain(allRight);
    expect(await exit).toBe(0);
  });

  it("ends at Ctrl-C, with a summary", async () => {
    const { child, exit, output } = start(["observe", "route"], env);
    await traffic(child);
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    expect(await output).toContain(allRight);
  });
});

describe("npm start -- MODE", () => {
  it("shows one mode alone", async () => {
    const { exit, output } = start(["route", "--requests", "50"], { MELTEMI_ENVOY: "none" });
    expect(await output).not.toContain("observe");
    expect(await exit).toBe(0);
  });

  it.for([["bridge"], ["observe"]])("fails, and says why, when the Envoy of %j dies", async (args, { skip }) => {
    skip("missing" in inject("envoy"), "there is no Envoy here");
    const { child, exit, output } = start(args);
    await traffic(child);
    const [envoy] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").split(" ");
    process.kill(Number(envoy), "SIGKILL");
    expect(await exit).toBe(4);
    expect(await output).toContain("Envoy ended by itself: SIGKILL");
  });

  it.each([
    [["lift"], "Allowed choices are bridge, observe, route"],
    [["bridge", "route"], "the bridge is shown alone"],
    [["--requests", "0"], "whole number"],
    [["--request", "5"], "unknown option"],
  ])("refuses %j", async (args, why) => {
    const { exit, output } = start(args);
    expect(await exit).toBe(2);
    expect(await output).toMatch(new RegExp(`^error: .*${why}`));
    expect(await output).toContain("npm start -- --help");
  });
});
