import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { defaultModule } from "../paths.js";
import { hostFunctions, unimplementedFunctions } from "./abi.js";
import { guest } from "./guest.fixture.js";
import { Host } from "./host.js";
import { checkModule } from "./signatures.js";

it("finds nothing wrong with the real module", () => {
  expect(checkModule(readFileSync(defaultModule))).toEqual([]);
});

it("finds functions of another signature, which JavaScript would call all the same", async () => {
  const wrong = checkModule(
    await guest(`
      @external("env", "proxy_done") declare function done(x: i64): u32;
      @global let g: f64 = 1;
      export function proxy_on_tick(root: u32, more: f64): f32 { done(1); return <f32>g; }
      export function proxy_on_log(context: u32): void {}`),
  );
  expect(wrong).toContain("exports proxy_on_tick as (i32,f64)->(f32), the ABI has it as (i32)->()");
  expect(wrong).toContain("imports proxy_done as (i64)->(i32), the ABI has it as ()->(i32)");
  expect(wrong).toContain("does not export proxy_on_configure");
  expect(wrong.join()).not.toMatch(/proxy_on_log|malloc|_initialize|start section/);
});

it("finds a start section", () => {
  // (module (func) (start 0))
  const wasm = Buffer.from("0061736d01000000010401600000030201000801000a040102000b", "hex");
  expect(checkModule(wasm)).toContain("has a start section: export the start function as _initialize");
});

it("knows the signature of every function that the host implements", () => {
  expect([...Object.keys(hostFunctions), ...unimplementedFunctions].sort()).toEqual([...Host.functionNames].sort());
});
