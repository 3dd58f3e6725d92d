import { relative } from "node:path";
import { createHistogram } from "node:perf_hooks";
import { loadFor } from "../../tools/configuration.js";
import { Exit } from "../../tools/errors.js";
import { formatAddress } from "../../tools/model/units.js";
import { defaultModule } from "../../tools/paths.js";
import { envoyIfAny, startProxy } from "../../tools/proxy.js";
import { startView } from "../../tools/view/live.js";
import { parseMetrics } from "../../tools/view/prometheus.js";
import type { Step } from "../../tools/view/screen.js";
import { type Count, measure, type Traffic } from "../../tools/view/traffic.js";
import { connect, type DubboClient, StatusError } from "../peers/dubbo/client.js";
import { startServer } from "../peers/dubbo/server.js";
import { agree } from "./compare.js";
import { writeYaml } from "./modes.js";
import { type Figures, type Phase, phases, Seen, yaml } from "./phases.js";
import { quantiles, Troubles, table } from "./tally.js";
import { pause } from "./workload.js";

/** Callers that share the client's one connection. */
const callers = 4;
/** Nobody can read what goes by faster than this; a given number of requests is to be done soon. */
const pauseMs = 50;

/** A phase while it is shown. */
interface Act {
  readonly phase: Phase;
  readonly seen: Seen;
  /** Of its calls, in microseconds. */
  readonly durations: ReturnType<typeof createHistogram>;
  state: Step["state"];
  /** What came of it, once it is over. */
  told: string | undefined;
  wrong: number;
  /** As the client read it. */
  error: string;
}

/**
 * Shows the bridge: one phase after the other, all of them on one connection of a client; again and again, or with
 * `requests` once and with so many in all.
 * @throws UserError where there is no Envoy
 */
export async function showBridge(
  requests: number,
  stopped: AbortController,
  say: (text: string) => void,
): Promise<Exit> {
  const { signal } = stopped;
  const ends: (() => Promise<unknown>)[] = [];
  const acts = phases.map(
    (phase): Act => ({
      phase,
      seen: new Seen(),
      durations: createHistogram(),
      state: "waiting",
      told: undefined,
      wrong: 0,
      error: "",
    }),
  );
  const troubles = new Troubles();
  try {
    const envoy = await envoyIfAny({ mode: "bridge", say, signal });
    const steady = await startServer({ version: "v1" });
    const canary = await startServer({ version: "v2" });
    let shaky = await startServer({ version: "v1" });
    const servers = [steady, canary, shaky];
    ends.push(() => Promise.all([steady, canary, shaky].map((server) => server.stop())));

    const rules = yaml([steady.port, shaky.port], canary.port);
    const file = writeYaml("bridge", rules);
    const model = await loadFor(defaultModule, file);
    const proxy = await startProxy(model, { envoy, module: defaultModule, concurrency: 1, signal });
    ends.push(proxy.stop);
    const client = await connect(proxy.address);
    ends.push(client.close);

    const endless = requests === Number.POSITIVE_INFINITY;
    const view = startView({
      source: proxy.metrics,
      direction: proxy.direction,
      title: `bridge: Dubbo through ${proxy.host}, on one connection of a client`,
      steps: (traffic) => acts.map((act) => step(act, traffic, rules)),
      footer: [
        `it listens on ${formatAddress(proxy.address)} as ${relative(process.cwd(), file)} says`,
        `its Envoy: ${proxy.admin}${endless ? "; Ctrl-C ends it" : ""}`,
      ],
    });

    const now = async () => {
      // Only an Envoy that is gone does not answer.
      const page = await proxy.metrics().catch(() => proxy.failed);
      const snapshot = { at: performance.now(), metrics: parseMetrics(page) };
      return measure(snapshot, snapshot, { direction: proxy.direction });
    };
    const play = async (act: Act, calls: number) => {
      act.state = "running";
      act.told = undefined;
      if (act.phase.serverDown) await shaky.stop();
      await drive(client, act, calls, { pauseMs: endless ? pauseMs : 0, signal }, troubles);
      if (act.phase.serverDown) {
        shaky = await startServer({ version: "v1", port: shaky.port });
        servers.push(shaky);
      }
      const envoys = figures(await now());
      act.told = act.phase.told(act.seen, envoys);
      const broken = act.phase.broken(act.seen, envoys);
      for (const claim of broken) troubles.add(`${act.phase.name}: ${claim}`);
      act.state = act.wrong + broken.length > 0 ? "wrong" : "right";
    };
    const playAll = async () => {
      do {
        const counts = endless ? phases.map(({ calls }) => calls) : shares(requests);
        for (const [i, act] of acts.entries()) {
          if (!signal.aborted && counts[i]) await play(act, counts[i]);
        }
      } while (endless && !signal.aborted);
    };
    const played = playAll();
    try {
      await Promise.race([played, proxy.failed]);
      const expected = expectations(acts);
      const served = async () => sums(servers.flatMap(({ stats }) => Object.entries(stats.requests)));
      await agree(troubles, "servers got", expected.served, served);
      await agree(troubles, "the module counted", expected.counted, async () =>
        sums(
          (await now()).methods.flatMap(({ method, statuses }) =>
            statuses.map(({ label, total }) => [`${method} ${label}`, total]),
          ),
        ),
      );
      await agree(troubles, "Envoy counted", expected.envoy, async () => {
        const { upstreams, interventions } = await now();
        const known = interventions.filter(({ label }) => label in expected.envoy);
        return sums([...upstreams, ...known].map(({ label, total }) => [label, total]));
      });
      if (client.unexpected > 0) troubles.add(`${client.unexpected} replies that nobody had asked for`);
    } finally {
      stopped.abort();
      // Not before the server that was down is back, and can be stopped.
      await played.catch(() => {});
      await view.stop();
    }
    say(["", ...report(acts), "", ...verdict(troubles)].join("\n"));
    return troubles.any ? Exit.failed : Exit.ok;
  } catch (error) {
    // Stopped while it was starting.
    if (error === stopped.signal.reason) return Exit.ok;
    throw error;
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

/** How many of `requests` each phase gets: in proportion to what it has in a round, and all of them together. */
function shares(requests: number): number[] {
  const round = phases.reduce((n, { calls }) => n + calls, 0);
  const upTo = (i: number) =>
    Math.round((requests * phases.slice(0, i).reduce((n, { calls }) => n + calls, 0)) / round);
  return phases.map((_, i) => upTo(i + 1) - upTo(i));
}

async function drive(
  client: DubboClient,
  act: Act,
  calls: number,
  { pauseMs, signal }: { pauseMs: number; signal: AbortSignal },
  troubles: Troubles,
): Promise<void> {
  const start = performance.now();
  let left = calls;
  const caller = async () => {
    while (left-- > 0 && !signal.aborted) {
      await perform(client, act, troubles);
      await pause(pauseMs, signal);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  act.seen.rounds++;
  act.seen.seconds += (performance.now() - start) / 1000;
}

async function perform(client: DubboClient, act: Act, troubles: Troubles): Promise<void> {
  const { phase, seen } = act;
  const { service, method, args, attachments = {} } = phase;
  const wrong = (what: string) => {
    act.wrong++;
    troubles.add(`${phase.name}: ${what}`);
  };
  const start = performance.now();
  try {
    const reply = await client.call(service, method, args, { attachments });
    const version = phase.writtenBy(reply);
    if (version) seen.by[version]++;
    else wrong(`unexpected reply ${JSON.stringify(reply).slice(0, 100)}`);
  } catch (error) {
    const { name, message } = error as Error;
    seen.errors++;
    act.error = error instanceof StatusError ? `status ${error.status}, ${message}` : `${name}: ${message}`;
    if (message !== phase.error?.text) wrong(act.error);
  }
  const milliseconds = performance.now() - start;
  seen.calls++;
  if (milliseconds > 75) seen.slow++;
  act.durations.record(Math.max(1, Math.round(milliseconds * 1000)));
}

const figures =
  (traffic: Traffic | undefined): Figures =>
  (name) =>
    traffic?.interventions.find(({ label }: Count) => label === name)?.total ?? 0;

function step({ phase, seen, state, error, ...act }: Act, traffic: Traffic | undefined, rules: string): Step {
  const told = seen.calls > 0 ? `: ${act.told ?? phase.told(seen, figures(traffic))}` : "";
  const detail = [ruleOf(rules, phase.name), ...(error ? [`the client reads: ${error}`] : [])];
  return { name: phase.name, state, text: `${phase.rule}${told}`, detail };
}

/** What the rule of that name says, on one line. */
function ruleOf(rules: string, name: string): string {
  const said = new RegExp(`^ {2}- \\{ name: ${name}, (.*?) \\}$`, "ms").exec(rules)?.[1] ?? "";
  return said.replace(/\s+/g, " ");
}

/** What the others have to have counted, going by what the client saw. */
function expectations(acts: readonly Act[]) {
  const reached = ({ phase, seen }: Act) => (phase.error?.served ? seen.errors : 0);
  return {
    served: sums(acts.map((act) => [act.phase.method, act.seen.ok + reached(act)])),
    counted: sums(
      acts.flatMap(({ phase: { method, error }, seen }) => [
        [`${method} ok`, seen.ok],
        [`${method} ${error?.status}`, seen.errors],
      ]),
    ),
    envoy: sums(
      acts.flatMap((act) => [
        ["greeter|v1", act.seen.by.v1 + reached(act)],
        ["greeter|v2", act.seen.by.v2],
        ...(act.phase.error ? [[act.phase.error.intervention, act.seen.errors] as const] : []),
      ]),
    ),
  };
}

/** Adds up what has the same name. */
function sums(entries: readonly (readonly [string, number])[]): Record<string, number> {
  const totals: Record<string, number> = {};
  for (const [name, n] of entries) totals[name] = (totals[name] ?? 0) + n;
  return totals;
}

function report(acts: readonly Act[]): string[] {
  const sum = (of: (act: Act) => number) => acts.reduce((n, act) => n + of(act), 0);
  const columns = [({ seen }: Act) => seen.calls, ({ seen }: Act) => seen.ok, ({ seen }: Act) => seen.errors];
  const rows = acts.map((act) => [act.phase.name, ...columns.map((of) => of(act)), ...quantiles(act.durations)]);
  const read = acts.filter(({ error }) => error !== "");
  return [
    ...table(
      [["PHASE", "CALLS", "OK", "ERRORS", "P50 MS", "P99 MS"], ...rows, ["all", ...columns.map(sum), "", ""]],
      "lrrrrr",
    ),
    ...(read.length > 0 ? ["", "Errors as the client reads them:"] : []),
    ...table(
      read.map(({ phase, error }) => [phase.name, error]),
      "ll",
    ),
  ];
}

const verdict = (troubles: Troubles) =>
  troubles.any
    ? troubles.report()
    : ["Every call came out as its rule says, and client, servers, module and Envoy counted the same."];
