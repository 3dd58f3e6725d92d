import { setTimeout as sleep } from "node:timers/promises";
import type { RunningProxy } from "../../tools/proxy.js";
import { parseMetrics } from "../../tools/view/prometheus.js";
import type { DubboServer } from "../peers/dubbo/server.js";
import type { ModeName } from "./modes.js";
import type { Tally, Troubles } from "./tally.js";

/** Holds what was sent, by method, against what servers got and what the module counted. */
export async function compare(
  tally: Tally,
  servers: Record<string, DubboServer>,
  proxies: ReadonlyMap<ModeName, RunningProxy>,
): Promise<void> {
  for (const [version, { stats }] of Object.entries(servers)) {
    const sent = tally.byMethod((row) => row.version === version);
    await agree(tally.troubles, `${version} got`, sent, async () => stats.requests);
  }
  for (const [name, proxy] of proxies) {
    const sent = tally.byMethod((row) => row.through === name);
    await agree(tally.troubles, `the module counted in ${name}`, sent, async () => countedBy(await proxy.metrics()));
  }
}

/** One-way calls are still on their way when the last reply is there, and metrics come once a second. */
const agreeMs = 3000;

/** Waits until somebody's counts are those of what was sent; where they never are, that is trouble. */
export async function agree(
  troubles: Troubles,
  who: string,
  sent: Record<string, number>,
  counts: () => Promise<Record<string, number>>,
): Promise<void> {
  const deadline = performance.now() + agreeMs;
  for (;;) {
    const counted = await counts();
    const differing = [...new Set([...Object.keys(sent), ...Object.keys(counted)])].filter(
      (what) => (sent[what] ?? 0) !== (counted[what] ?? 0),
    );
    if (differing.length === 0) return;
    if (performance.now() > deadline) {
      for (const what of differing) troubles.add(`${who} ${counted[what] ?? 0} of ${sent[what] ?? 0} ${what}`);
      return;
    }
    await sleep(20);
  }
}

/** Requests by method. */
function countedBy(page: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { labels, value } of parseMetrics(page).scalars.get("meltemi_requests_total") ?? []) {
    const { method = "" } = labels;
    counts[method] = (counts[method] ?? 0) + value;
  }
  return counts;
}
