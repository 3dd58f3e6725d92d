import { spawnSync } from "node:child_process";
import { openSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { Exit } from "./errors.js";
import { packageRoot } from "./paths.js";

it("says in words that what it prints finds no place", () => {
  const full = openSync("/dev/full", "w");
  const cli = join(packageRoot, "dist", "tools", "cli.js");
  const { status, stderr } = spawnSync(process.execPath, [cli, "schema"], {
    stdio: ["ignore", full, "pipe"],
    encoding: "utf8",
  });
  expect(stderr).toMatch(/^meltemi: standard output cannot be written: ENOSPC: .* \[E_OUTPUT\]\n$/);
  expect(status).toBe(Exit.missing);
});
