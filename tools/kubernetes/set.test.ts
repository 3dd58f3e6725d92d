import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { parseAllDocuments } from "yaml";
import { INSTANCE, type IstioObject, MANAGED_BY, type Manifest } from "../istio/resource.js";
import { packageRoot } from "../paths.js";
import { type Asked, FaultyServer, refusal, status } from "./apiserver.fixture.js";
import { Cluster } from "./client.js";
import { coloured, difference } from "./difference.js";
import { KINDS, type Kind, rules } from "./kinds.js";
import { apply, content, plan } from "./set.js";

/* What a real API server does with sets is in test/istio; here are faults that it does not show on demand. */

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-set-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const plugin = (name: string): IstioObject => ({
  apiVersion: "extensions.istio.io/v1alpha1",
  kind: "WasmPlugin",
  metadata: { name, namespace: "shop", labels: { [MANAGED_BY]: "meltemi", [INSTANCE]: "greeter.shop" } },
  spec: { url: "oci://ghcr.io/acme/meltemi:1" },
});

const manifest: Manifest = {
  names: ["greeter.shop"],
  resources: ["a", "b", "c"].map((name) => ({ object: plugin(name), why: "" })),
  needs: [],
  image: "",
  notes: [],
};

async function faulty(handle: (asked: Asked) => void): Promise<Cluster> {
  const server = await FaultyServer.start(handle);
  onTestFinished(() => server.stop());
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(kubeconfig, server.kubeconfig);
  return Cluster.connect({ kubeconfig });
}

const missing = ({ answer, path }: Asked) =>
  answer(404, status(404, "not found", { name: path.split("/").at(-1), kind: "wasmplugins" }));
const list = { apiVersion: "v1", kind: "List", metadata: {}, items: [] };

/** Answers as a server would that holds nothing and takes everything. */
function empty(asked: Asked): void {
  if (asked.method === "PATCH") asked.answer(200, asked.body);
  else if (asked.query.has("labelSelector")) asked.answer(200, list);
  else missing(asked);
}

it("says how to do without a right to look into all namespaces", async () => {
  const forbidden = 'wasmplugins is forbidden: User "jane" cannot list resource "wasmplugins" at the cluster scope';
  const cluster = await faulty((asked) =>
    asked.query.has("labelSelector") ? asked.answer(403, status(403, forbidden)) : empty(asked),
  );
  const { code, message, options } = await refusal(plan(cluster, manifest, { prune: true }));
  expect([code, message]).toEqual(["E_FORBIDDEN", "nothing was changed: one object is refused"]);
  expect(options.hint).toContain("--no-prune");
  expect((await plan(cluster, manifest, { prune: false })).steps.map(({ change }) => change)).toEqual([
    "created",
    "created",
    "created",
  ]);
});

it("tells every object that is refused, and what is the same for several once", async () => {
  const cluster = await faulty((asked) => {
    if (asked.method !== "PATCH") return empty(asked);
    if (asked.path.endsWith("/b")) return asked.answer(400, status(400, "no url"));
    asked.answer(404, status(404, 'namespaces "shop" not found', { name: "shop", kind: "namespaces" }));
  });
  const { code, message, options, exit } = await refusal(plan(cluster, manifest, { prune: true }));
  expect([code, message, exit]).toEqual(["E_NO_NAMESPACE", "nothing was changed: 3 objects are refused", 1]);
  expect(options.hint).toContain(
    "WasmPlugin shop/a: there is no namespace shop\nWasmPlugin shop/b is refused\n  no url",
  );
  expect(options.hint?.match(/kubectl create namespace shop/g)).toHaveLength(1);
});

it("knows what is not done where the server refuses one in the middle after all", async () => {
  const cluster = await faulty((asked) =>
    asked.path.endsWith("/b") && asked.method === "PATCH" && !asked.query.has("dryRun")
      ? asked.answer(400, status(400, "quota exceeded"))
      : empty(asked),
  );
  const done: string[] = [];
  const { code, message, options, exit } = await refusal(
    apply(cluster, await plan(cluster, manifest, { prune: true }), {
      force: false,
      done: ({ metadata }, what) => done.push(`${metadata.name} ${what}`),
    }),
  );
  expect(done).toEqual(["a created"]);
  expect([code, exit]).toEqual(["E_INCOMPLETE", 4]);
  expect(message).toBe("1 of 3 done, then: WasmPlugin shop/b is refused\n  quota exceeded");
  expect(options.hint).toContain("Not done:\n  WasmPlugin shop/b\n  WasmPlugin shop/c\n");
});

it("ends as interrupted where Ctrl-C came in between, and says how far it is", async () => {
  const stop = new AbortController();
  const cluster = await faulty(empty);
  const plans = await plan(cluster, manifest, { prune: true });
  const { code, exit, message, options } = await refusal(
    apply(cluster, plans, { force: false, signal: stop.signal, done: () => stop.abort() }),
  );
  expect([code, exit, message]).toEqual(["E_INCOMPLETE", 130, "1 of 3 done, then: interrupted"]);
  expect(options.hint).toContain("Not done:\n  WasmPlugin shop/b\n  WasmPlugin shop/c\n");
});

it.each<[string, (asked: Asked) => void, RegExp]>([
  ["a connection that breaks", ({ hangUp }) => hangUp(), /^2 of 3 done, then: http:\S+ cannot be reached: /],
  ["somebody else's answer", ({ answer }) => answer(200, "<html>"), /^2 of 3 done, then: http:\S+ does not answer as /],
  ["a timeout of the server", ({ answer }) => answer(504, status(504, "timeout")), /did not come to an end in time/],
])("%s during a write leaves that one in doubt", async (_, fault, why) => {
  const cluster = await faulty((asked) =>
    asked.path.endsWith("/c") && asked.method === "PATCH" && !asked.query.has("dryRun") ? fault(asked) : empty(asked),
  );
  const { message, options } = await refusal(
    apply(cluster, await plan(cluster, manifest, { prune: true }), { force: false, done: () => {} }),
  );
  expect(message).toMatch(why);
  expect(options.hint).toContain("may be done or not:\n  WasmPlugin shop/c\n");
  expect(options.hint).not.toContain("Not done");
});

it("content is what somebody wants of an object", () => {
  const { metadata, ...rest } = plugin("a");
  const live = {
    ...rest,
    metadata: {
      ...metadata,
      uid: "1",
      resourceVersion: "2",
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": "{}" },
    },
    status: { observedGeneration: 1 },
  };
  expect(content(live)).toEqual(plugin("a"));
});

it("a difference does not depend on the order of keys, and is coloured line by line", () => {
  const live = plugin("a");
  const result = { ...plugin("a"), spec: { priority: 1, url: "oci://ghcr.io/acme/meltemi:1" } };
  const step = { object: live, live, result, change: "configured" } as const;
  const text = difference({ steps: [step], prune: [] });
  expect(text.split("\n").filter((line) => /^[-+]/.test(line))).toEqual([
    "--- live WasmPlugin shop/a",
    "+++ applied WasmPlugin shop/a",
    "+  priority: 1",
  ]);
  expect(coloured(text)).toContain("\x1b[32m+  priority: 1\x1b[39m\n");
  expect(coloured(text)).toContain("\x1b[1m--- live WasmPlugin shop/a\x1b[22m\n");
  // Whoever pipes it into `patch` or a file gets the same text.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  expect(coloured(text).replace(/\x1b\[\d+m/g, "")).toBe(text);
});

it("every kind that is written is one that is looked for, and RBAC's rules name it", () => {
  const golden = join(packageRoot, "tools", "istio", "golden");
  const written = readdirSync(golden)
    .filter((name) => name.endsWith(".yaml") && !/\.(meltemi|existing)\.yaml$/.test(name))
    .flatMap((name) => parseAllDocuments(readFileSync(join(golden, name), "utf8")).map((it) => it.toJS()))
    .map(({ apiVersion, kind }: Kind) => `${kind} of ${apiVersion}`);
  const known = KINDS.map(({ apiVersion, kind }) => `${kind} of ${apiVersion}`);
  expect(new Set(written)).toEqual(new Set(known));
  expect(rules().flatMap(({ resources }) => resources)).toHaveLength(KINDS.length);
  expect(rules()).toContainEqual({
    apiGroups: ["security.istio.io"],
    resources: ["authorizationpolicies", "peerauthentications"],
    verbs: ["get", "list", "create", "patch", "delete"],
  });
});
