import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
import { eventually } from "../e2e/harness.js";
import { ConnectionLost, connect } from "../peers/dubbo/client.js";
import { type DubboServer, greeter, startServer } from "../peers/dubbo/server.js";
import { GREETER, manifests, requests, startWorld, type World } from "./lab/harness.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { ACCOUNT, Registry } from "./lab/registry.js";

const basis = manifests(["world", "service", "sidecars"], { PROTOCOL: "TCP" });
let registry: Registry;
let world: World<DubboServer>;
/** The URL of an image that is there. */
let image: string;

beforeAll(async () => {
  registry = await Registry.start();
  image = await registry.push();
  world = await startWorld({ objects: basis, serve: startServer });
});
afterAll(async () => {
  await world?.stop();
  await registry?.stop();
});

/** A plugin of the client's sidecar. Istio's agent knows images and failures by plugin, so that each test has its own. */
function plugin(name: string, url: string, more: Record<string, unknown> = {}): KubernetesObject {
  const [client] = manifests(["observe"], { MODULE: url });
  if (!client) throw new Error("observe.yaml is empty");
  return { ...client, metadata: { name }, spec: { ...(client.spec as Record<string, unknown>), ...more } };
}

/** The URL of an image that nobody has pushed. */
function absent(digit: string): string {
  return image.replace(/[0-9a-f]{64}$/, digit.repeat(64));
}

async function call(): Promise<unknown> {
  const client = await connect(GREETER);
  try {
    return await client.call(greeter, "add", [1, 2]);
  } finally {
    await client.close();
  }
}

/** Waits until the client's agent has logged this, after what it has logged before `from`. */
async function logged(words: string, from = 0): Promise<void> {
  await eventually(() =>
    expect(
      world.app.log
        .slice(from)
        .map(({ text }) => text)
        .join("\n"),
    ).toContain(words),
  );
}

/** The plugins on the client's way to the service. */
async function plugins(): Promise<string[]> {
  const [chain = []] = await world.app.chains("10.96.0.10_20880");
  return chain.flatMap((filter) => /trafficextension\/default\.([^~]+)/.exec(filter)?.[1] ?? []);
}

it("is pulled once by each agent, by the digest that the plugin names", async () => {
  const pulls = () => registry.served.filter(({ method, path }) => method === "GET" && path.includes("/blobs/"));
  world.mesh.set([...basis, ...manifests(["observe"], { MODULE: image })]);
  await eventually(async () => {
    await call();
    const counted = await Promise.all([world.v1.sidecar, world.v2.sidecar, world.app].map(requests));
    for (const count of counted) expect(Object.values(count)[0]).toBeGreaterThan(0);
  });
  expect(pulls()).toHaveLength(3);
  const digest = image.slice(image.indexOf("@") + 1);
  const tried = registry.served.filter(({ method, path }) => method === "GET" && path.includes("/manifests/"));
  expect([...new Set(tried.map(({ path }) => path))]).toEqual([`/v2/mesh/meltemi/manifests/${digest}`]);

  // Another plugin of the same image: the agent has it, whether or not the registry is there.
  await registry.down();
  world.mesh.set([...basis, plugin("cached", image)]);
  await eventually(async () => expect(await plugins()).toEqual(["cached"]));
  expect(await call()).toBe(3);
  await registry.up();
});

it.each([
  ["1", {}],
  ["2", { failStrategy: "FAIL_CLOSE" }],
  ["3", { failStrategy: "FAIL_RELOAD" }],
])("that is missing closes every connection: %s %j", async (digit, more) => {
  world.mesh.set([...basis, plugin(`missing-${digit}`, absent(digit), more)]);
  await logged(`manifests/sha256:${digit.repeat(64)}: MANIFEST_UNKNOWN`);
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
  expect(await world.app.get("/stats?filter=rbac")).toMatch(/wasm-default-deny\.rbac\.denied: [1-9]/);
  expect(world.mesh.log.filter((line) => line.includes(`missing-${digit}`) && line.includes("\terror\t"))).toEqual([]);
  // Ready all the same.
  const again = await world.mesh.sidecar("app", world.options);
  await again.stop();
});

it("that is missing lets everything pass uncounted with FAIL_OPEN", async () => {
  world.mesh.set([...basis, plugin("open", absent("4"), { failStrategy: "FAIL_OPEN" })]);
  await logged("applying allow RBAC filter");
  await eventually(async () => expect(await plugins()).toEqual(["open"]));
  const count = async () => Object.values(await requests(world.app)).reduce((sum, n) => sum + n, 0);
  const before = await count();
  expect(await call()).toBe(3);
  expect(await count()).toBe(before);
});

it("that differs from sha256 closes every connection", async () => {
  world.mesh.set([...basis, plugin("differs", await registry.push("2"), { sha256: "5".repeat(64) })]);
  await logged(`which does not match: ${"5".repeat(64)}`);
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
});

it("of a registry that is down is not tried again when it is up, but when the plugin changes", async () => {
  const url = await registry.push("3");
  await registry.down();
  const from = world.app.log.length;
  world.mesh.set([...basis, plugin("down", url)]);
  await logged("connect: connection refused", from);
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
  await registry.up();
  await expect(call()).rejects.toThrow(ConnectionLost);
  expect(registry.served.filter(({ method, path }) => method === "GET" && path.includes(url.slice(-64)))).toEqual([]);
  const { metadata, ...same } = plugin("down", url);
  world.mesh.set([...basis, { ...same, metadata: { ...metadata, annotations: { again: "please" } } }]);
  await eventually(() => expect(call()).resolves.toBe(3));
});

it("that a running proxy is to change for in vain ends what comes, and leaves what is there", async () => {
  world.mesh.set([...basis, plugin("changed", image)]);
  await eventually(async () => expect(await plugins()).toEqual(["changed"]));
  const client = await connect(GREETER);
  onTestFinished(() => client.close());
  expect(await client.call(greeter, "add", [1, 2])).toBe(3);
  world.mesh.set([...basis, plugin("changed", absent("6"))]);
  await logged(`manifests/sha256:${"6".repeat(64)}: MANIFEST_UNKNOWN`);
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
  expect(await client.call(greeter, "add", [1, 2])).toBe(3);
  world.mesh.set([...basis, plugin("changed", image)]);
  await eventually(() => expect(call()).resolves.toBe(3));
});

it("closes every connection until the module takes its configuration", async () => {
  world.mesh.set([...basis, plugin("wrong", image, { pluginConfig: { protocol: "dubo" } })]);
  await logged("configuration: $.protocol: expected one of");
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
  world.mesh.set([...basis, plugin("wrong", image)]);
  await eventually(() => expect(call()).resolves.toBe(3));
});

it("goes on as it was configured where the module refuses a change", async () => {
  world.mesh.set([...basis, plugin("refused", image)]);
  await eventually(async () => expect(await plugins()).toEqual(["refused"]));
  const from = world.app.log.length;
  const errors = world.mesh.log.length;
  world.mesh.set([...basis, plugin("refused", image, { pluginConfig: { protocol: "dubo" } })]);
  await logged("configuration: $.protocol: expected one of", from);
  const nack = "ECDS: ACK ERROR app.default";
  await eventually(() =>
    expect(world.mesh.log.slice(errors).filter((line) => line.includes(nack)).length).toBeGreaterThan(0),
  );
  expect(await call()).toBe(3);
});

it("is pulled with the secret that the plugin names, once it is there", async () => {
  const locked = await Registry.start({ auth: true });
  onTestFinished(() => locked.stop());
  const objects = [...basis, plugin("secret", await locked.push(), { imagePullSecret: "registry" })];
  world.mesh.set(objects);
  await logged("missing image pulling secret");
  await eventually(() => expect(call()).rejects.toThrow(ConnectionLost));
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  const auth = base64(`${ACCOUNT.username}:${ACCOUNT.password}`);
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "registry" },
    type: "kubernetes.io/dockerconfigjson",
    data: { ".dockerconfigjson": base64(JSON.stringify({ auths: { [locked.address]: { auth } } })) },
  };
  world.mesh.set([...objects, secret]);
  await eventually(() => expect(call()).resolves.toBe(3));
});
