import type { Envoy } from "../../tools/envoy/find.js";
import type { EnvoyProcess } from "../../tools/envoy/process.js";
import { parseMetrics } from "../../tools/view/prometheus.js";
import type { Load } from "./child.js";
import type { EchoPorts } from "./echo.js";
import { startProxy, trafficOf, type Variant } from "./proxies.js";
import type { Scenario } from "./scenarios.js";
import { median } from "./stats.js";

/**
 * One figure for each round, of the scenario's variants; their rounds are interleaved. Empty where a variant closes such
 * connections.
 */
type Rounds = Partial<Record<Variant, number[]>>;

export interface Row extends Scenario {
  /** Microseconds of CPU for each request. */
  readonly cost: Rounds;
  /** Requests a second. They depend on the whole machine, so only the cost is compared. */
  readonly throughput: Rounds;
}

export interface IdleMemory {
  readonly variant: Variant;
  readonly connections: number;
  /** Guest memory before and with them. */
  readonly before: number;
  readonly after: number;
}

export interface Bench {
  readonly envoy: Envoy;
  readonly ports: EchoPorts;
  readonly load: Load;
  readonly phases: { readonly warmMs: number; readonly measureMs: number };
  say(line: string): void;
}

/** What a scenario costs with each of its variants, which are all in `proxies`. */
export async function measure(
  scenario: Scenario,
  rounds: number,
  proxies: ReadonlyMap<Variant, EnvoyProcess>,
  { load, phases, say }: Bench,
): Promise<Row> {
  const { connections, active, inFlight, payload, variants } = scenario;
  const cost: Rounds = Object.fromEntries(variants.map((variant) => [variant, []]));
  const throughput: Rounds = Object.fromEntries(variants.map((variant) => [variant, []]));
  const refused = new Set<Variant>();
  for (let round = 0; round < rounds; round++) {
    for (const [variant, proxy] of proxies) {
      if (refused.has(variant) || !variants.includes(variant)) continue;
      try {
        const { port } = await proxy.listener();
        await load.open({ port, connections, payload, ...trafficOf(variant) });
        const result = await load.measure({ pid: proxy.pid, active, inFlight, ...phases });
        cost[variant]?.push(result.cpuMicroseconds / result.requests);
        throughput[variant]?.push(result.requests / result.seconds);
      } catch (error) {
        // Not everything that passes tcp_proxy passes Envoy's own filters; ours have to let it pass.
        if (!["dubbo_proxy", "generic_proxy", "thrift_proxy"].includes(variant)) throw error;
        refused.add(variant);
        say(`  ${variant}: ${(error as Error).message}: ${proxy.log.at(-1) ?? ""}`);
      } finally {
        await load.close();
      }
    }
  }
  return { ...scenario, cost, throughput };
}

async function guestMemory(proxy: EnvoyProcess): Promise<number> {
  const { scalars } = parseMetrics(await proxy.prometheus("meltemi_guest_memory_bytes"));
  return scalars.get("meltemi_guest_memory_bytes")?.[0]?.value ?? 0;
}

/** The module reports its memory from its tick, so this waits until it says the same for a while. */
async function settledGuestMemory(proxy: EnvoyProcess): Promise<number> {
  let bytes = 0;
  for (let same = 0; same < 15; same++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = await guestMemory(proxy);
    if (now !== bytes || now === 0) same = 0;
    bytes = now;
  }
  return bytes;
}

/** In an Envoy of its own, because guest memory never shrinks. */
export async function measureIdle(
  variant: Variant,
  connections: number,
  { envoy, ports, load }: Bench,
): Promise<IdleMemory> {
  const proxy = await startProxy(envoy, variant, ports);
  try {
    const { port } = await proxy.listener();
    const order = { port, payload: 50, ...trafficOf(variant) } as const;
    await load.open({ ...order, connections: 1 });
    const before = await settledGuestMemory(proxy);
    await load.open({ ...order, connections: connections + 1 });
    const after = await settledGuestMemory(proxy);
    await load.close();
    return { variant, connections, before, after };
  } finally {
    await proxy.stop();
  }
}

/** Of each round, because what disturbs the machine disturbs the variants of a round alike. NaN where one has none. */
export function paired(row: Row, a: Variant, b: Variant, combine: (a: number, b: number) => number): number {
  const others = row.cost[b] ?? [];
  return median((row.cost[a] ?? []).map((cost, round) => combine(cost, others[round] ?? Number.NaN)));
}

export const ratio = (a: number, b: number) => a / b;
export const difference = (a: number, b: number) => a - b;

/** Bytes. */
export const perConnection = ({ before, after, connections }: IdleMemory) => (after - before) / connections;
