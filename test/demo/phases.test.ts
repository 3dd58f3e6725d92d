import { expect, test } from "vitest";
import { parse } from "../../tools/model/load.js";
import { phases, Seen, yaml } from "./phases.js";

/** What a phase has to say of so many replies, errors and slow calls. */
function broken(name: string, { envoy = {} as Record<string, number>, ...counts }): readonly string[] {
  const { v1 = 0, v2 = 0, ...seen } = { errors: 0, rounds: 1, ...counts } as Record<string, number>;
  const all = Object.assign(new Seen(), { calls: v1 + v2 + (seen.errors ?? 0), ...seen });
  Object.assign(all.by, { v1, v2 });
  return phases.find((phase) => phase.name === name)?.broken(all, (figure) => envoy[figure] ?? 0) ?? ["no such phase"];
}

test("each phase has a rule of its name", () => {
  const { routes = [], authorization = [] } = parse(yaml([20881, 20883], 20882), ["dubbo"]);
  expect([...routes, ...authorization].map(({ name }) => name).sort()).toEqual(phases.map(({ name }) => name).sort());
});

test("chance has its bounds", () => {
  expect(broken("weights", { v1: 366, v2: 34 })).toEqual([]);
  expect(broken("weights", { v1: 2, v2: 1 })).toEqual([]);
  expect(broken("weights", { v1: 400 })).toEqual(["v2 got 0 of 400"]);
  expect(broken("weights", { v1: 200, v2: 200 })).toEqual(["v2 got 200 of 400"]);
});

test("what a phase claims is refused where it does not hold", () => {
  expect(broken("metadata", { v2: 30 })).toEqual([]);
  expect(broken("metadata", { v1: 1, v2: 29 })).toEqual(["v1 got 1"]);

  expect(broken("retries", { v1: 100, envoy: { retried: 50 } })).toEqual([]);
  expect(broken("retries", { v1: 100 })).toEqual(["0 retries"]);

  const faults = { v1: 240, errors: 60, slow: 150, envoy: { delayed: 150 } };
  expect(broken("faults", faults)).toEqual([]);
  expect(broken("faults", { ...faults, v1: 300, errors: 0 })).toEqual(["0 of 300 were aborted"]);
  expect(broken("faults", { ...faults, envoy: {} })).toEqual(["0 of 300 were delayed"]);
  expect(broken("faults", { ...faults, slow: 9 })).toEqual(["9 took their time, although 150 were delayed"]);

  expect(broken("limit", { v1: 50, errors: 350, seconds: 4.2 })).toEqual([]);
  expect(broken("limit", { v1: 9, errors: 391, seconds: 4.2 })).toEqual(["9 of 400 passed"]);
  expect(broken("limit", { v1: 400, seconds: 4.2 })).toEqual(["400 of 400 passed"]);
});
