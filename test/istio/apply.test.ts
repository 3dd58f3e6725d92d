// apply, diff and delete against a real API server with Istio's custom resource definitions.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { UserError } from "../../tools/errors.js";
import { INSTANCE, type IstioObject, MANAGED_BY, type Manifest } from "../../tools/istio/resource.js";
import { Cluster, type ConnectOptions } from "../../tools/kubernetes/client.js";
import { difference } from "../../tools/kubernetes/difference.js";
import { KINDS, plural, rules } from "../../tools/kubernetes/kinds.js";
import { addedTo, apply, gone, members, name, plan, remove } from "../../tools/kubernetes/set.js";
import { packageRoot } from "../../tools/paths.js";
import { ApiServer } from "./lab/apiserver.js";
import { Line } from "./lab/line.js";

const cli = join(packageRoot, "dist", "tools", "cli.js");
let server: ApiServer;
let cluster: Cluster;

const connect = (kubeconfig: string, options: ConnectOptions = {}) => Cluster.connect({ kubeconfig, ...options });

beforeAll(async () => {
  server = await ApiServer.start();
  cluster = await connect(await server.kubeconfig());
});

afterAll(() => server?.stop());

/** An object of ours, of the service `greeter.shop` unless told otherwise. */
function object(
  kind: string,
  spec: Record<string, unknown>,
  { service = "greeter.shop", named }: { service?: string; named?: string } = {},
): IstioObject {
  const { apiVersion } = KINDS.find((it) => it.kind === kind) as (typeof KINDS)[number];
  const labels = { [MANAGED_BY]: "meltemi", [INSTANCE]: service };
  return { apiVersion, kind, metadata: { name: named ?? service, namespace: "shop", labels }, spec };
}

const plugin = (tag: string, match: object = { ports: [{ number: 20880 }] }) =>
  object("WasmPlugin", {
    url: `oci://ghcr.io/acme/meltemi:${tag}`,
    type: "NETWORK",
    match: [match],
    pluginConfig: { protocol: "dubbo", limits: { frameBytes: 1024 } },
  });
const subsets = () =>
  object("DestinationRule", { host: "greeter", subsets: [{ name: "v1", labels: { version: "v1" } }] });
const routes = () =>
  object("VirtualService", {
    hosts: ["greeter"],
    http: [{ route: [{ destination: { host: "greeter", subset: "v1" } }] }],
  });

function set(...objects: IstioObject[]): Manifest {
  const resources = objects.map((object) => ({ object, why: "" }));
  return { names: ["greeter.shop"], image: "", resources, needs: [], notes: [] };
}

async function applied(manifest: Manifest, { force = false, prune = true, by = cluster } = {}): Promise<string[]> {
  const lines: string[] = [];
  const done = (it: Parameters<typeof name>[0], what: string) => lines.push(`${name(it)} ${what}`);
  await apply(by, await plan(by, manifest, { prune }), { force, done });
  return lines;
}

/** What another person does, with another program. */
async function elsewhere(it: IstioObject, spec: Record<string, unknown>, manager = "console"): Promise<void> {
  const { apiVersion, kind, metadata } = it;
  const path = `/apis/${apiVersion}/namespaces/${metadata.namespace}/${plural(kind)}`;
  const query = `fieldManager=${manager}&force=true`;
  const { name: named, namespace } = metadata;
  const body = { apiVersion, kind, metadata: { name: named, namespace }, spec };
  await server.ask("PATCH", `${path}/${named}?${query}`, body, "application/apply-patch+yaml");
}

async function refusal(action: Promise<unknown>): Promise<{ code: string; text: string }> {
  const error = await action.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof UserError)) throw error ?? new Error("nothing was refused");
  return { code: error.code, text: `${error.message}\n${error.options.hint ?? ""}` };
}

test("without Istio's definitions all says so", async () => {
  const { code, text } = await refusal(plan(cluster, set(plugin("1"), subsets()), { prune: true }));
  expect(code).toBe("E_NO_KIND");
  expect(text).toContain("the cluster knows no WasmPlugin (extensions.istio.io/v1alpha1)");
  expect(text).toContain("the cluster knows no DestinationRule (networking.istio.io/v1)");
  expect(text).toContain("Is Istio installed");
});

test("an administrator installs Istio", () => server.installIstio());

test("each kind that this tool writes is served, under the name that RBAC has for it", async () => {
  for (const { apiVersion, kind } of KINDS) {
    expect(await cluster.list(apiVersion, kind)).toEqual([]);
    await server.ask("GET", `/apis/${apiVersion}/${plural(kind)}`);
  }
});

test("objects are created, configured, left alone", async () => {
  expect(await applied(set(plugin("1"), subsets()))).toEqual([
    "WasmPlugin shop/greeter.shop created",
    "DestinationRule shop/greeter.shop created",
  ]);
  expect(await applied(set(plugin("2"), subsets()))).toEqual([
    "WasmPlugin shop/greeter.shop configured",
    "DestinationRule shop/greeter.shop unchanged",
  ]);
  expect((await cluster.read(plugin("2")))?.spec).toEqual(plugin("2").spec);
});

test("a plan changes nothing", async () => {
  const { steps } = await plan(cluster, set(plugin("3"), routes()), { prune: true });
  expect(steps.map(({ change }) => change)).toEqual(["configured", "created"]);
  expect((await cluster.read(plugin("3")))?.spec).toEqual(plugin("2").spec);
  expect(await cluster.read(routes())).toBeUndefined();
});

test("a difference is what would change, and nothing of what the server notes down", async () => {
  const text = difference(await plan(cluster, set(plugin("3"), routes()), { prune: true }));
  expect(text).toContain("--- live WasmPlugin shop/greeter.shop\n+++ applied WasmPlugin shop/greeter.shop\n");
  expect(text).toContain("-  url: oci://ghcr.io/acme/meltemi:2\n+  url: oci://ghcr.io/acme/meltemi:3\n");
  expect(text).toContain("--- /dev/null\n+++ applied VirtualService shop/greeter.shop\n");
  expect(text).toContain("--- live DestinationRule shop/greeter.shop\n+++ /dev/null\n");
  expect(text).not.toMatch(/managedFields|resourceVersion|uid:|creationTimestamp|generation|status/);
  expect(difference(await plan(cluster, set(plugin("2"), subsets()), { prune: true }))).toBe("");
});

test("what is no longer in the set is pruned, unless that is not wanted", async () => {
  expect(await applied(set(plugin("2")), { prune: false })).toEqual(["WasmPlugin shop/greeter.shop unchanged"]);
  const other = object("DestinationRule", { host: "orders" }, { service: "orders.shop" });
  await applied({ ...set(other), names: ["orders.shop"] });
  expect(await applied(set(plugin("2")))).toEqual([
    "WasmPlugin shop/greeter.shop unchanged",
    "DestinationRule shop/greeter.shop pruned",
  ]);
  expect(await cluster.read(other)).toBeDefined();
  await remove(cluster, await members(cluster, ["orders.shop"]), { done: () => {} });
});

test("a schema's refusals come all at once, and nothing of the set is applied", async () => {
  const broken = plugin("9", { ports: [{ number: 99_999 }] });
  broken.spec.type = "NETWROK";
  const undeclared = subsets();
  undeclared.spec.hots = "greeter";
  const { code, text } = await refusal(applied(set(routes(), broken, undeclared)));
  expect(code).toBe("E_INVALID");
  expect(text).toContain("nothing was changed: 2 objects are refused");
  expect(text).toMatch(
    /spec\.match\[0\]\.ports\[0\]\.number: Invalid value: 99999: should be less than or equal to 65535/,
  );
  expect(text).toMatch(/spec\.type: Unsupported value: "NETWROK": supported values: .*"NETWORK"/);
  expect(text).toContain("DestinationRule shop/greeter.shop is refused\n  spec.hots: field not declared in schema");
  expect(await cluster.read(routes())).toBeUndefined();
});

test("fields of another manager are in conflict until they are taken over", async () => {
  await elsewhere(plugin("2"), { url: "oci://ghcr.io/acme/meltemi:hotfix", priority: 7 });
  const { code, text } = await refusal(applied(set(routes(), plugin("3"))));
  expect(code).toBe("E_CONFLICT");
  expect(text).toContain('WasmPlugin shop/greeter.shop: others have set these fields\n  spec.url: set by "console"');
  expect(text).toContain("--force-conflicts");
  expect(await cluster.read(routes())).toBeUndefined();

  const { steps } = await plan(cluster, set(plugin("3")), { prune: true });
  expect(steps[0]?.conflict?.code).toBe("E_CONFLICT");
  expect(difference({ steps, prune: [] })).toContain(
    "-  url: oci://ghcr.io/acme/meltemi:hotfix\n+  url: oci://ghcr.io/acme/meltemi:3\n",
  );

  expect(await applied(set(plugin("3")), { force: true })).toEqual(["WasmPlugin shop/greeter.shop configured"]);
  // What this tool does not write stays the other's.
  expect((await cluster.read(plugin("3")))?.spec).toEqual({ ...plugin("3").spec, priority: 7 });
});

test("objects of somebody else, or of another service, are not overwritten", async () => {
  const theirs = object("DestinationRule", { host: "theirs" }, { named: "theirs" });
  await elsewhere(theirs, { host: "theirs" });
  expect(await refusal(applied(set(plugin("3"), theirs)))).toMatchObject({
    code: "E_CONFLICT",
    text: expect.stringContaining("DestinationRule shop/theirs: it is there already, and not made by meltemi"),
  });
  const orders = object("DestinationRule", { host: "theirs" }, { service: "orders.shop", named: "theirs" });
  await applied({ ...set(orders), names: ["orders.shop"] }, { force: true });
  expect((await refusal(applied(set(plugin("3"), theirs)))).text).toContain("belongs to another service, orders.shop");
  await remove(cluster, await members(cluster, ["orders.shop"]), { done: () => {} });
});

test("a Sidecar of the user's that entries are joined with stays the user's", async () => {
  const { metadata, ...rest } = object("Sidecar", { egress: [{ hosts: ["*/*"] }] }, { named: "default" });
  const theirs = { ...rest, metadata: { name: metadata.name, namespace: metadata.namespace } };
  await elsewhere(theirs, { ingress: [{ port: { number: 80, protocol: "HTTP", name: "http" } }] });
  expect(await applied(set(plugin("3"), theirs))).toContain("Sidecar shop/default configured");
  expect(await applied(set(plugin("3")))).toEqual(["WasmPlugin shop/greeter.shop unchanged"]);
  expect((await members(cluster, ["greeter.shop"])).map(name)).toEqual(["WasmPlugin shop/greeter.shop"]);
  expect((await cluster.read(theirs))?.spec).toMatchObject({ egress: [{ hosts: ["*/*"] }] });
  expect((await addedTo(cluster)).map(name)).toEqual(["Sidecar shop/default"]);
});

test("deleting takes what carries the labels, in every namespace, and waits for finalizers", async () => {
  const far = plugin("3");
  far.metadata.namespace = "faraway";
  await applied(set(plugin("3"), subsets(), far));
  const path = "/apis/extensions.istio.io/v1alpha1/namespaces/faraway/wasmplugins/greeter.shop";
  const finalizers = (names: string[]) =>
    server.ask("PATCH", path, { metadata: { finalizers: names } }, "application/merge-patch+json");
  await finalizers(["example.com/slow"]);

  const found = await members(cluster, ["greeter.shop"]);
  const deleted: string[] = [];
  await remove(cluster, found, { done: (it) => deleted.push(name(it)) });
  // What refers to others goes first.
  expect(deleted[0]).toBe("DestinationRule shop/greeter.shop");
  expect(deleted.slice(1).sort()).toEqual(["WasmPlugin faraway/greeter.shop", "WasmPlugin shop/greeter.shop"]);
  const { code, text } = await refusal(gone(cluster, found, { timeoutMs: 1 }));
  expect(code).toBe("E_NOT_GONE");
  expect(text).toContain("example.com/slow");

  const waiting = gone(cluster, found, { timeoutMs: 30_000 });
  await finalizers([]);
  await waiting;
  expect(await members(cluster, ["greeter.shop"])).toEqual([]);
  // Gone already is fine.
  await remove(cluster, found, { done: () => {} });
});

test("a server that goes away half-way: what is done and what is not is known, and the same again finishes it", async () => {
  const host = "127.0.0.1";
  const line = await Line.open({ host, port: 0 }, { host, port: server.port });
  const by = await connect(await server.kubeconfig({ port: line.port }));
  const manifest = set(plugin("4"), subsets(), routes());
  const lines: string[] = [];
  const { code, text } = await refusal(
    apply(by, await plan(by, manifest, { prune: true }), {
      force: false,
      done: (it, what) => {
        lines.push(`${name(it)} ${what}`);
        line.break();
      },
    }),
  );
  expect(lines).toEqual(["WasmPlugin shop/greeter.shop created"]);
  expect(code).toBe("E_INCOMPLETE");
  expect(text).toContain("1 of 3 done, then: ");
  expect(text).toContain("cannot be reached");
  expect(text).toContain("may be done or not:\n  DestinationRule shop/greeter.shop\n");
  expect(text).toContain("Not done:\n  VirtualService shop/greeter.shop\n");

  expect(await applied(manifest)).toEqual([
    "WasmPlugin shop/greeter.shop unchanged",
    "DestinationRule shop/greeter.shop created",
    "VirtualService shop/greeter.shop created",
  ]);
});

test("Ctrl-C between two objects stops there and says so", async () => {
  const interrupted = new AbortController();
  const signal = interrupted.signal;
  const by = await connect(await server.kubeconfig(), { signal });
  const plans = await plan(by, set(plugin("5"), subsets()), { prune: true });
  const { code, text } = await refusal(apply(by, plans, { force: false, signal, done: () => interrupted.abort() }));
  expect(code).toBe("E_INCOMPLETE");
  expect(text).toContain("1 of 3 done, then: interrupted");
  expect(text).toContain("Not done:\n  DestinationRule shop/greeter.shop\n  VirtualService shop/greeter.shop\n");
  expect((await cluster.read(plugin("5")))?.spec).toEqual(plugin("5").spec);
});

test("credentials that are wrong, and a server that is not the one", async () => {
  const tried = async (kubeconfig: string) =>
    refusal(plan(await connect(kubeconfig), set(plugin("5")), { prune: true }));
  const stranger = await tried(await server.kubeconfig({ signedBy: "stranger" }));
  expect(stranger.code).toBe("E_UNAUTHORIZED");
  expect(stranger.text).toContain("does not accept the credentials");
  const impostor = await tried(await server.kubeconfig({ trusts: "stranger" }));
  expect(impostor.code).toBe("E_CERTIFICATE");
});

test("the commands", async () => {
  const kubeconfig = await server.kubeconfig();
  const folder = await mkdtemp(join(tmpdir(), "meltemi-apply-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const image = (digit: string) => ["--image", `ghcr.io/acme/meltemi@sha256:${digit.repeat(64)}`];
  await writeFile(
    join(folder, "meltemi.yaml"),
    `protocol: dubbo
service: { name: orders, bind: 20880, endpoints: [20881] }
istio: { namespace: shop, ports: [{ port: 20880 }] }
`,
  );
  const meltemi = async (...args: string[]) => {
    const child = spawn(process.execPath, [cli, ...args, "--kubeconfig", kubeconfig], { cwd: folder });
    const [out, err, [exit]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    return { out, err, exit };
  };
  const plugin = "WasmPlugin shop/observe-servers.orders.shop";

  expect(await meltemi("apply", "--dry-run", ...image("1"))).toMatchObject({
    exit: 0,
    out: `${plugin} created (dry run)\n`,
    err: expect.stringContaining(`cluster lab, https://127.0.0.1:${server.port}`),
  });
  const before = await meltemi("diff", ...image("1"));
  expect(before).toMatchObject({ exit: 4, out: expect.stringContaining(`--- /dev/null\n+++ applied ${plugin}\n`) });
  expect(await meltemi("apply", ...image("1"))).toMatchObject({ exit: 0, out: `${plugin} created\n` });
  expect(await meltemi("diff", ...image("1"))).toMatchObject({ exit: 0, out: "" });
  expect(await meltemi("diff", ...image("2"))).toMatchObject({
    exit: 4,
    out: expect.stringMatching(/^- {2}url:.*1{64}$/m),
  });
  expect(await meltemi("diff", ...image("2"), "--context", "nowhere")).toMatchObject({
    exit: 3,
    err: expect.stringContaining("contexts with --context: lab, elsewhere"),
  });
  expect(await meltemi("delete", "--dry-run")).toMatchObject({ exit: 0, out: `${plugin} deleted (dry run)\n` });
  expect(await meltemi("delete", "--service", "orders.shop")).toMatchObject({ exit: 0, out: `${plugin} deleted\n` });
  expect(await meltemi("delete")).toMatchObject({
    exit: 0,
    out: "",
    err: expect.stringContaining("nothing in the cluster carries the labels of orders.shop"),
  });
  const role = parse((await meltemi("apply", "--print-rbac")).out);
  expect(role).toMatchObject({ kind: "ClusterRole", rules: expect.arrayContaining(rules()) });
});

test("a Sidecar that services share, and one that is there already", async () => {
  const kubeconfig = await server.kubeconfig();
  const folder = await mkdtemp(join(tmpdir(), "meltemi-apply-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const chain = (service: string, port: number, client: string) =>
    `protocol: dubbo
mode: bridge
service: { name: ${service}, bind: 20880, endpoints: [20881] }
istio:
  namespace: chain
  ports: [{ port: ${port} }]
  address: 10.96.0.${port % 100}
  image: ghcr.io/acme/meltemi@sha256:${"a".repeat(64)}
  clients: [{ labels: { app: ${client} } }]
`;
  await writeFile(join(folder, "first.yaml"), chain("first", 20880, "web"));
  // The pods of the first service call the second.
  await writeFile(join(folder, "second.yaml"), chain("second", 20890, "first"));
  const meltemi = async (...args: string[]) => {
    const child = spawn(process.execPath, [cli, ...args, "--kubeconfig", kubeconfig], { cwd: folder });
    const [out, err, [exit]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
    return { out, err, exit };
  };
  const refused = (...words: string[]) => ({
    exit: 4,
    out: "",
    err: expect.stringMatching(new RegExp(words.join("[^]*"))),
  });

  expect(await meltemi("apply", "first.yaml")).toMatchObject({ exit: 0 });
  expect(await meltemi("apply", "second.yaml")).toMatchObject({ exit: 1, err: expect.stringContaining("[E_SIDECAR]") });
  const both = await meltemi("apply", "first.yaml", "second.yaml");
  expect(both).toMatchObject({ exit: 0, out: expect.stringMatching(/^Sidecar chain\/\S+ configured$/m) });

  expect(await meltemi("apply", "first.yaml")).toMatchObject(refused("serves second.chain too", "--force-conflicts"));
  expect(await meltemi("delete", "first.yaml")).toMatchObject(refused("serves second.chain too", "--force-conflicts"));
  expect(await meltemi("delete", "first.yaml", "second.yaml", "--dry-run")).toMatchObject({ exit: 0 });
  expect(await meltemi("delete", "first.yaml", "--force-conflicts")).toMatchObject({ exit: 0 });
  expect(await meltemi("apply", "second.yaml")).toMatchObject({ exit: 0 });
  expect(await meltemi("delete", "second.yaml")).toMatchObject({ exit: 0 });

  const spec = { workloadSelector: { labels: { app: "web" } }, egress: [{ hosts: ["./*"] }] };
  const metadata = { name: "web", namespace: "chain" };
  const theirs: IstioObject = { apiVersion: "networking.istio.io/v1", kind: "Sidecar", metadata, spec };
  await cluster.apply(theirs);
  expect(await meltemi("apply", "first.yaml")).toMatchObject(refused("already: chain/web", "--merge", "--no-merge"));
  expect(await meltemi("apply", "first.yaml", "--dry-run", "--no-merge")).toMatchObject({ exit: 0 });
  const joined = await meltemi("apply", "first.yaml", "--dry-run", "--merge");
  expect(joined).toMatchObject({ exit: 0, out: expect.stringContaining("Sidecar chain/web configured") });
});

test("changes are carried out although nobody reads what is said of them", async () => {
  const kubeconfig = await server.kubeconfig();
  const folder = await mkdtemp(join(tmpdir(), "meltemi-apply-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, "meltemi.yaml");
  await writeFile(
    file,
    `protocol: dubbo
mode: bridge
service: { name: unread, bind: 20880, endpoints: [20881] }
istio: { namespace: quiet, ports: [{ port: 20880 }], address: 10.96.0.10, clients: [{ labels: { app: web } }] }
`,
  );
  const unread = async (...args: string[]) => {
    const child = spawn(process.execPath, [cli, ...args, file, "--kubeconfig", kubeconfig]);
    child.stdout.destroy();
    const [err, [exit]] = await Promise.all([text(child.stderr), once(child, "close")]);
    return { err, exit };
  };
  const image = `ghcr.io/acme/meltemi@sha256:${"1".repeat(64)}`;
  expect(await unread("apply", "--image", image)).toMatchObject({ exit: 0 });
  const kinds = (await members(cluster, ["unread.quiet"])).map(({ kind }) => kind);
  expect(kinds).toEqual(["Sidecar", "Sidecar", "WasmPlugin", "WasmPlugin"]);
  expect(await unread("delete")).toMatchObject({ exit: 0, err: expect.stringContaining("unread.quiet is bridged") });
  expect(await members(cluster, ["unread.quiet"])).toEqual([]);
});
