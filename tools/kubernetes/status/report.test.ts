import { describe, expect, it } from "vitest";
import { UserError } from "../../errors.js";
import { INSTANCE } from "../../istio/resource.js";
import type { LiveObject } from "../client.js";
import { type Envoy, readEnvoy } from "./envoy.js";
import { readSyncs } from "./istiod.js";
import { FILTERS, LISTENERS, METRICS, SYNCS } from "./pages.fixture.js";
import { report } from "./report.js";
import { type ProxyStatus, proxyStatus, type Status } from "./status.js";
import { judge } from "./verdict.js";
import { type Pod, plugins } from "./workloads.js";

const DIGEST = "3b2008393645aafbc876add6f081918e8a053e70e38f7e5924f7bdbf80f682c2";
const CONFIG = { protocol: "dubbo", mode: "observe", direction: "outbound", service: "greeter" };
const NOW = Date.parse("2026-11-22T22:00:00Z");

function object(spec: object = {}): LiveObject {
  return {
    apiVersion: "extensions.istio.io/v1alpha1",
    kind: "WasmPlugin",
    metadata: {
      // As it is called in what was recorded.
      name: "meltemi-client",
      namespace: "default",
      creationTimestamp: "2026-11-22T19:00:00Z",
      labels: { [INSTANCE]: "greeter.default" },
    },
    spec: {
      selector: { matchLabels: { app: "app" } },
      url: `oci://registry.example/mesh/meltemi@sha256:${DIGEST}`,
      match: [{ mode: "CLIENT", ports: [{ number: 20880 }] }],
      pluginConfig: CONFIG,
      ...spec,
    },
  };
}

const POD: Pod = { namespace: "default", name: "app", phase: "Running", hasProxy: true, ambient: false };

interface Case {
  spec?: object;
  pod?: Partial<Pod>;
  listeners?: object;
  filters?: object;
  metrics?: string;
  sync?: ProxyStatus["sync"];
  envoy?: UserError;
}

const synced = readSyncs(JSON.stringify(SYNCS.synced)).get("app.default");
const sync = (page: object) => readSyncs(JSON.stringify(page)).get("app.default");

function statusOf(these: Case): Status {
  const live = object(these.spec);
  const [plugin] = plugins([live]);
  if (!plugin) throw new Error("no plugin");
  const pod = { ...POD, ...these.pod };
  const { listeners = LISTENERS.active, filters = FILTERS.module, metrics = METRICS } = these;
  const pages = { listeners: JSON.stringify(listeners), filters: JSON.stringify(filters), metrics };
  const up = pod.hasProxy && pod.phase === "Running";
  const envoy: Envoy | UserError | undefined = these.envoy ?? (up ? readEnvoy(pages) : undefined);
  return {
    services: ["greeter.default"],
    objects: [{ object: live, state: "applied" }],
    plugins: [{ plugin, proxies: [proxyStatus(plugin, pod, "sync" in these ? these.sync : synced, envoy)] }],
    unseen: [],
  };
}

function text(status: Status, width = 100): string {
  return report(status, judge(status), { width, color: false, now: NOW });
}

/** The state of the proxy, and what is wrong with it. */
function judged(these: Case) {
  const status = statusOf(these);
  const { problems, unseen, notes } = judge(status);
  const texts = (findings: typeof problems) => findings.map(({ text }) => text);
  return {
    state: status.plugins[0]?.proxies[0]?.state,
    problems: texts(problems),
    unseen: texts(unseen),
    notes: texts(notes),
  };
}

const right = { problems: [], unseen: [], notes: [] };

describe("a proxy", () => {
  it("runs the plugin", () => {
    expect(judged({})).toEqual({ state: "runs", ...right });
  });

  it.each<[string, Case, string]>([
    [
      "old image",
      { spec: { sha256: "4".repeat(64) } },
      "default/app: meltemi-client is still 3b2008393645 instead of 444444444444",
    ],
    ["old config", { spec: { pluginConfig: { ...CONFIG, protocol: "bolt" } } }, "still has an older configuration"],
    ["loading", { listeners: LISTENERS.warming, filters: {} }, "a listener waits for meltemi-client"],
    ["denies all", { filters: FILTERS.denies }, "could not be fetched: all connections are closed"],
    ["passes all", { filters: FILTERS.passes }, "could not be fetched: all connections pass without it"],
    ["no listener", { listeners: LISTENERS.without }, "no listener has meltemi-client (it is for port 20880)"],
    [
      "rejected",
      { spec: { pluginConfig: CONFIG }, sync: sync(SYNCS.moduleRejected) },
      "does not start with its configuration",
    ],
    ["no sidecar", { pod: { hasProxy: false } }, "no sidecar, so that nothing runs meltemi-client"],
    ["not up", { pod: { phase: "Pending" } }, "not up (Pending)"],
    ["runs", { sync: sync(SYNCS.listenerRejected) }, "Envoy does not take its configuration"],
    ["runs", { sync: { state: "pending" } }, "has not answered what istiod has sent"],
    ["runs", { sync: "unknown" }, "istiod knows no such proxy"],
  ])("%s: %o", (state, these, problem) => {
    const found = judged(these);
    expect(found.state).toBe(state);
    expect(found.problems).toEqual([expect.stringContaining(problem)]);
  });

  it("that cannot be asked is not wrong, but not seen", () => {
    const envoy = new UserError("E_POD", "port 15000 of pod default/app cannot be reached: no answer in 20 s");
    expect(judged({ envoy })).toEqual({ ...right, state: "not seen", unseen: [envoy.message] });
  });

  it("without what istiod says shows what Envoy refuses", () => {
    const listeners = { configs: [...LISTENERS.active.configs, ...LISTENERS.refused.configs] };
    expect(judged({ listeners, sync: undefined }).problems).toEqual([expect.stringContaining("does not take")]);
  });

  it("whose listener was refused while a plugin's configuration was wrong has no wrong one now", () => {
    const details = "Error adding/updating listener(s) l: Unable to create Wasm plugin default.meltemi-client~x";
    expect(judged({ sync: { state: "rejected", errors: [{ type: "Listener", details }] } })).toMatchObject({
      state: "runs",
      problems: [expect.stringContaining("Envoy does not take its configuration")],
    });
  });

  it("whose module has failed, or whose labels are none, is worth a note", () => {
    const metrics = `${METRICS.replace(/(wasmplugin_vm_reload\{\}) 0/, "$1 2")}protocol___dubbo___meltemi_requests_total{} 5\n`;
    const { problems, notes } = judged({ metrics });
    expect(problems).toEqual([]);
    expect(notes).toEqual([
      expect.stringContaining("started anew, 2 times"),
      expect.stringContaining("labels of the metrics"),
    ]);
  });
});

describe("a set", () => {
  const whole = statusOf({});

  it("of which nothing is applied", () => {
    const { problems } = judge({ ...whole, objects: [], plugins: [] });
    expect(problems).toMatchObject([{ text: "nothing in the cluster carries the labels of greeter.default" }]);
  });

  it("whose plugin selects no pods", () => {
    const plugins = whole.plugins.map((it) => ({ ...it, proxies: [] }));
    expect(judge({ ...whole, plugins }).problems).toMatchObject([
      { text: "WasmPlugin default/meltemi-client: no pod is selected (app=app in default)" },
    ]);
  });

  it("with objects that are missing, differ, or are not wanted any more", () => {
    const objects = (["missing", "differs", "extra"] as const).map((state) => ({ object: object(), state }));
    expect(judge({ ...whole, objects }).problems.map(({ text }) => text)).toEqual([
      "WasmPlugin default/meltemi-client: not applied",
      "WasmPlugin default/meltemi-client: not as the configurations have it",
      "WasmPlugin default/meltemi-client: no longer in the configurations",
    ]);
  });

  it("whose plugins name different images", () => {
    const other = statusOf({ spec: { sha256: "4".repeat(64) } });
    expect(judge({ ...whole, plugins: [...whole.plugins, ...other.plugins] }).problems[0]?.text).toBe(
      "the plugins name 2 different images: 3b2008393645, 444444444444",
    );
  });

  it("of which istiod has noted something down", () => {
    const noted = {
      ...object(),
      status: {
        conditions: [{ type: "Reconciled", status: "False", message: "1/3 proxies" }],
        validationMessages: [{ type: { name: "ConflictingSidecar", code: "IST0110" }, documentationUrl: "https://x" }],
      },
    };
    const { problems, notes } = judge({ ...whole, objects: [{ object: noted, state: "applied" }] });
    expect(problems).toMatchObject([{ text: "WasmPlugin default/meltemi-client: not Reconciled: 1/3 proxies" }]);
    expect(notes).toEqual([{ text: expect.stringContaining("ConflictingSidecar (IST0110)"), hint: "https://x" }]);
  });
});

describe("the report", () => {
  it("is two tables and a line", () => {
    expect(text(statusOf({}))).toMatchInlineSnapshot(`
      "OBJECT                             AGE  STATE
      WasmPlugin default/meltemi-client   3h  applied

      POD          PLUGIN          STATE  DIGEST        REQUESTS  ERRORS   MEMORY
      default/app  meltemi-client  runs   3b2008393645        38       0  384 KiB

      greeter.default: rolled out, 1 object, 1 proxy, module 3b2008393645
      "
    `);
  });

  it("tells what is wrong, and what to do", () => {
    expect(text(statusOf({ filters: FILTERS.denies, metrics: "" }))).toMatchInlineSnapshot(`
      "OBJECT                             AGE  STATE
      WasmPlugin default/meltemi-client   3h  applied

      POD          PLUGIN          STATE       DIGEST  REQUESTS  ERRORS  MEMORY
      default/app  meltemi-client  denies all  -              0       0       -

      wrong: default/app: the image of meltemi-client could not be fetched: all connections are closed
        Why: kubectl logs -n default app -c istio-proxy | grep -i wasm
        A private registry needs istio.pullSecret, a Secret in default. Once the image can be fetched,
        Istio's agent tries again when the plugin changes, or the pod starts anew:
        kubectl annotate -n default wasmplugin meltemi-client --overwrite retry=$RANDOM

      greeter.default: not rolled out
      "
    `);
  });

  it("lets no pod command the terminal", () => {
    const errors = [{ type: "Listener", details: "\x1b[2J\x1b]0;gone\x07" }];
    const shown = text(statusOf({ sync: { state: "rejected", errors } }));
    expect(shown).toContain("[2J ]0;gone");
    expect(shown).not.toMatch(/[^\P{Cc}\n]/u);
  });

  it("fits the terminal", () => {
    const long = statusOf({ pod: { name: "greeter-with-a-very-long-name-indeed-7d9f8b6c5d-x2x8k" } });
    for (const width of [80, 100, 120])
      for (const line of text(long, width).split("\n").slice(3, 6)) expect(line.length).toBeLessThanOrEqual(width);
    expect(text(long, 80)).toContain("7d9f8b6c5d-x2x8k");
  });
});
