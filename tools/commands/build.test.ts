import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { UserError } from "../errors.js";
import { guest } from "../host/guest.fixture.js";
import { Host } from "../host/host.js";
import { version } from "../paths.js";
import { build, check } from "./build.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

it("writes a module that loads, with its description beside it", async () => {
  const lines: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => lines.push(`${text}`) > 0);
  const out = join(folder, "deep", "mine.wasm");
  await build().parseAsync(["--json", "--out", out], { from: "user" });

  const wasm = readFileSync(out);
  const summary = JSON.parse(lines.join(""));
  expect(summary).toMatchObject({ module: out, version, bytes: wasm.length });
  expect(summary.protocols).toContain("dubbo");
  const described = JSON.parse(readFileSync(join(folder, "deep", "mine.json"), "utf8"));
  expect(described).toMatchObject((await Host.load(wasm)).describe() as object);
  expect(existsSync(join(folder, "deep", "mine.wat"))).toBe(false);
}, 60_000);

it("writes the text of a debug build beside it", async () => {
  vi.spyOn(process.stdout, "write").mockReturnValue(true);
  await build().parseAsync(["--debug", "--out", join(folder, "mine")], { from: "user" });
  expect(readFileSync(join(folder, "mine.wat"), "utf8")).toMatch(/^\(module/);
  expect(existsSync(join(folder, "mine.wasm"))).toBe(true);
}, 60_000);

it("says where it cannot write", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  const out = join(file, "mine.wasm");
  const error = await build()
    .parseAsync(["--out", out], { from: "user" })
    .catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "E_WRITE", message: expect.stringContaining(`${out} cannot be written`) });
}, 60_000);

it("refuses what Envoy would refuse", async () => {
  const wasm = await guest("");
  await expect(check(wasm, 1 << 20)).rejects.toThrow(/^Envoy would not load this module: it does not export meltemi_/);
  await expect(check(wasm, 10)).rejects.toThrow(`it has ${wasm.length} bytes, the limit is 10`);
  await expect(check(Buffer.from("no module"), 10)).rejects.toThrow(UserError);
});
