import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { guest } from "../../tools/host/guest.fixture.js";
import { describeModule } from "../../tools/model/module.js";
import { defaultModule } from "../../tools/paths.js";
import { Samples } from "./corpus.js";
import { fuzz, type Mode, modes, report } from "./fuzz.js";

let samples: Samples;
beforeAll(async () => {
  samples = await Samples.load();
}, 60_000);

const rounds = (most: number) => (round: number) => round < most;

it("the module holds against a short run of every protocol and mode", { timeout: 60_000 }, async () => {
  const corpora = samples.corpora();
  expect(corpora.map(({ protocol }) => protocol).sort()).toEqual(
    describeModule(defaultModule)
      .protocols.map(({ name }) => name)
      .sort(),
  );
  for (const { client, server, requests } of corpora) {
    expect(Math.min(client.length, server.length, requests.length)).toBeGreaterThan(1);
  }
  const wasm = readFileSync(defaultModule);
  const { found, ...done } = await fuzz({ wasm, samples, corpora, modes, seed: 20_250_101, more: rounds(3) });
  expect(found && report(found)).toBeUndefined();
  expect(done.rounds).toBe(3 * corpora.length * modes.length);
  expect(done.bytes).toBeGreaterThan(100_000);
});

/** What every module of these has: it takes any configuration, and lets bytes pass. */
const usual = `
export function proxy_on_context_create(context: u32, root: u32): void {}
export function proxy_on_vm_start(root: u32, size: u32): u32 { return 1; }
export function proxy_on_configure(root: u32, size: u32): u32 { return 1; }
export function proxy_on_new_connection(context: u32): u32 { return 0; }
`;

describe("it finds a module that", () => {
  it.each<[string, Mode, RegExp, string]>([
    ["traps", "route", /proxy_on_downstream_data trapped: unreachable/, "if (size > 5000) unreachable();"],
    [
      "says something else of the same bytes in pieces",
      "observe",
      /at once: \{"meltemi":"frame","offset":0\}\nin pieces: nothing|at once: nothing\nin pieces: /,
      'if (size < 500) log(2, `{"meltemi":"frame","offset":0}`);',
    ],
    ["logs what nobody can read", "observe", /a log line that is not JSON: \{"meltemi":/, 'log(2, `{"meltemi":`);'],
    ["takes more and more memory", "observe", /\d{8} bytes of guest memory/, "heap.alloc(1 << 20);"],
    [
      "leaves a request in flight",
      "observe",
      /1 left in meltemi_in_flight/,
      `const name = bytes("meltemi_in_flight");
       define(1, at(name), name.byteLength, out);
       increment(load<u32>(out), 1);`,
    ],
    ["changes bytes", "observe", /\d+ of \d+ bytes passed, or others/, "set(2, 0, 1, out, 1);"],
    ["loses requests", "bridge", /of \d+ requests 0 passed and 0 were answered/, "set(2, 0, size, 0, 0);"],
  ])("%s", async (_, mode, what, body) => {
    const wasm = await guest(`${usual}
export function proxy_on_downstream_data(context: u32, size: u32, end: u32): u32 { ${body} return 0; }
export function proxy_on_upstream_data(context: u32, size: u32, end: u32): u32 { return 0; }
`);
    const corpora = samples.corpora().filter(({ protocol }) => protocol === "dubbo");
    const { found } = await fuzz({ wasm, samples, corpora, modes: [mode], seed: 7, more: rounds(20) });
    expect(found?.what).toMatch(what);
    if (!found) return;
    expect(report(found)).toMatch(
      new RegExp(
        `^dubbo, ${mode}, seed ${found.seed}: (.|\\n)*\\nagain: npm run fuzz -- --codec dubbo --mode ${mode} --seed ${found.seed} --rounds 1\\n$`,
      ),
    );
    const again = await fuzz({ wasm, samples, corpora, modes: [mode], seed: found.seed, more: rounds(1) });
    expect(again.found).toEqual(found);
  });
});
