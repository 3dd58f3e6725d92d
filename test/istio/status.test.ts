// meltemi status in a real Istio: what istiod and Envoys say of what the tool has printed, reached as in a cluster.
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { packageRoot } from "../../tools/paths.js";
import { eventually } from "../e2e/harness.js";
import { connect } from "../peers/dubbo/client.js";
import { type DubboServer, greeter, startServer } from "../peers/dubbo/server.js";
import { manifest, shipped } from "./lab/command.js";
import { GREETER, manifests, startWorld, type World } from "./lab/harness.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Registry } from "./lab/registry.js";

const SERVICE = "greeter.default";
/** Where no registry is. */
const NOWHERE = "127.0.0.1:1";
const ISTIOD: KubernetesObject = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "istiod-1", namespace: "istio-system", labels: { app: "istiod" } },
  status: { phase: "Running" },
};

let registry: Registry;
let world: World<DubboServer>;
let folder: string;
let kubeconfig: string;
/** URLs of two images of the module. */
let [first, second] = ["", ""];

/** As in a cluster where sidecars are injected, except into the pods that are named. */
function basis(...without: string[]): KubernetesObject[] {
  const injected = manifests(["world", "service", "sidecars"], { PROTOCOL: "TCP" }).map((object) => {
    if (object.kind !== "Pod" || without.includes(object.metadata.name)) return object;
    const { containers, ...spec } = object.spec as { containers: object[] };
    return { ...object, spec: { ...spec, containers: [...containers, { name: "istio-proxy" }] } };
  });
  return [...injected, ISTIOD];
}

const printed = (image: string) => manifest(shipped("dubbo-observe"), "--image", image);

beforeAll(async () => {
  registry = await Registry.start();
  [first, second] = [await registry.push("1"), await registry.push("2")];
  world = await startWorld({ objects: [...basis(), ...(await printed(first))], serve: startServer });
  const api = world.mesh.kubernetes;
  api.forwards.set({ namespace: "istio-system", name: "istiod-1", port: 15014 }, 15014);
  folder = await mkdtemp(join(tmpdir(), "meltemi-status-"));
  kubeconfig = join(folder, "kubeconfig");
  await writeFile(kubeconfig, api.kubeconfig);
});
afterAll(async () => {
  await world?.stop();
  await registry?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

interface Page {
  objects: { kind: string; state: string }[];
  proxies: { pod: string; state: string; sync?: string; digest?: string; requests?: number; memoryBytes?: number }[];
  problems: { text: string }[];
  unseen: { text: string }[];
}

/** `meltemi status` with these arguments, and how it ends. */
async function status(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const cli = join(packageRoot, "dist", "tools", "cli.js");
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, "status", "--kubeconfig", kubeconfig, ...args], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

async function page(...args: string[]): Promise<Page & { code: number }> {
  const { code, stdout, stderr } = await status("--json", ...args);
  if (stdout === "") throw new Error(stderr);
  return { code, ...(JSON.parse(stdout) as Page) };
}

const digestOf = (image: string) => image.slice(-64);
const states = ({ proxies }: Page) => Object.fromEntries(proxies.map(({ pod, state }) => [pod, state]));
/** A finding about a pod. */
const about = (pod: string, what: RegExp) =>
  expect.objectContaining({ text: expect.stringMatching(new RegExp(`^${pod}: ${what.source}`)) });
const texts = (found: readonly { text: string }[]) => found.map(({ text }) => text);

it("waits until all of it runs in every proxy", async () => {
  const { code, problems, unseen, proxies } = await page("--service", SERVICE, "--wait", "30s");
  expect([code, problems, unseen]).toEqual([0, [], []]);
  expect(proxies.map(({ pod }) => pod).sort()).toEqual(["app", "greeter-v1", "greeter-v2"]);
  for (const proxy of proxies) expect(proxy).toMatchObject({ state: "runs", sync: "synced", digest: digestOf(first) });
});

it("compares the objects with what the configurations come to", async () => {
  const file = shipped("dubbo-observe");
  const same = await page(file);
  expect([same.code, same.objects.map(({ state }) => state)]).toEqual([0, same.objects.map(() => "as written")]);
  expect(same.objects.length).toBeGreaterThan(1);
  const other = await page(file, "--image", second);
  expect([other.code, other.objects.map(({ state }) => state)]).toEqual([4, same.objects.map(() => "differs")]);
  // A registry that is down is no reason to show nothing.
  const unknown = await page(file, "--image", `${NOWHERE}/mesh/meltemi:1`);
  expect([unknown.code, unknown.objects]).toEqual([3, same.objects]);
  expect(texts(unknown.unseen)).toEqual([
    expect.stringMatching(
      /^whether the image that is applied is the one that is wanted: 127\.0\.0\.1:1 cannot be reached/,
    ),
  ]);
});

it("shows what was counted", async () => {
  const client = await eventually(() => connect(GREETER));
  for (let i = 0; i < 5; i++) await client.call(greeter, "add", [1, 2]);
  await client.close();
  await eventually(async () => {
    const { proxies } = await page("--service", SERVICE);
    const of = (pods: RegExp) =>
      proxies.filter(({ pod }) => pods.test(pod)).reduce((sum, { requests = 0 }) => sum + requests, 0);
    expect([of(/app/), of(/greeter/)]).toEqual([5, 5]);
    expect(proxies.find(({ pod }) => pod === "app")?.memoryBytes).toBeGreaterThan(0);
  });
  const { stdout, code } = await status("--service", SERVICE);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^default\/app +observe-clients\S* +runs +[0-9a-f]{12} +5 +0 /m);
  expect(stdout).toContain(`${SERVICE}: rolled out, `);
});

it("follows a change of the image", async () => {
  world.mesh.set([...basis(), ...(await printed(second))]);
  const { code, proxies } = await page("--service", SERVICE, "--wait", "30s");
  expect(code).toBe(0);
  for (const { digest } of proxies) expect(digest).toBe(digestOf(second));
});

it("says that an image could not be fetched, and what that means", async () => {
  const nowhere = second.replace(/[0-9a-f]{64}$/, "0".repeat(64));
  world.mesh.set([...basis(), ...(await printed(nowhere))]);
  await eventually(async () => {
    const seen = await page("--service", SERVICE);
    expect(seen.code).toBe(4);
    // FAIL_OPEN: what only measures stops nothing.
    expect(states(seen)).toEqual({ app: "passes all", "greeter-v1": "passes all", "greeter-v2": "passes all" });
    expect(seen.problems).toContainEqual(
      about("default/app", /the image of observe-clients\S* could not be fetched: all connections pass without it/),
    );
  });
});

it("says that a module refuses its configuration, which only istiod was told", async () => {
  const objects = (await printed(first)).map((object) => {
    const { spec, metadata } = object as KubernetesObject & { spec: { pluginConfig: object } };
    if (!metadata.name.startsWith("observe-clients")) return object;
    return { ...object, spec: { ...spec, pluginConfig: { ...spec.pluginConfig, protocol: "nosuch" } } };
  });
  world.mesh.set([...basis(), ...objects]);
  await eventually(async () => {
    const seen = await page("--service", SERVICE);
    expect(states(seen)).toEqual({ app: "rejected", "greeter-v1": "runs", "greeter-v2": "runs" });
    expect(seen.problems).toEqual([about("default/app", /observe-clients\S* does not start with its configuration/)]);
  });
});

it("says that Envoy refuses a listener", async () => {
  const filter = "envoy.filters.network.tcp_proxy";
  const type = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
  const broken: KubernetesObject = {
    apiVersion: "networking.istio.io/v1alpha3",
    kind: "EnvoyFilter",
    metadata: { name: "broken" },
    spec: {
      workloadSelector: { labels: { app: "app" } },
      configPatches: [
        {
          applyTo: "NETWORK_FILTER",
          match: { context: "SIDECAR_OUTBOUND", listener: { filterChain: { filter: { name: filter } } } },
          patch: {
            operation: "MERGE",
            value: { name: filter, typed_config: { "@type": type, idle_timeout: "-5s" } },
          },
        },
      ],
    },
  };
  const right = [...basis(), ...(await printed(first))];
  world.mesh.set(right);
  expect((await page("--service", SERVICE, "--wait", "30s")).code).toBe(0);
  world.mesh.set([...right, broken]);
  await eventually(async () => {
    const seen = await page("--service", SERVICE);
    expect(seen.code).toBe(4);
    expect(seen.problems).toContainEqual(about("default/app", /Envoy does not take its configuration/));
  });
});

it("says where no listener has the plugin, and where there is no sidecar", async () => {
  const objects = (await printed(first)).map((object) => {
    if (!object.metadata.name.startsWith("observe-clients")) return object;
    const spec = { ...(object.spec as object), match: [{ mode: "CLIENT", ports: [{ number: 9999 }] }] };
    return { ...object, spec };
  });
  world.mesh.set([...basis("greeter-v2"), ...objects]);
  await eventually(async () => {
    const seen = await page("--service", SERVICE);
    expect(states(seen)).toEqual({ app: "no listener", "greeter-v1": "runs", "greeter-v2": "no sidecar" });
    expect(seen.problems).toHaveLength(2);
    expect(seen.problems).toContainEqual(
      about("default/greeter-v2", /no sidecar, so that nothing runs observe-servers/),
    );
    expect(seen.problems).toContainEqual(
      about("default/app", /no listener has observe-clients\S* \(it is for port 9999\)/),
    );
  });
});

it("says what it cannot see, and shows the rest", async () => {
  world.mesh.set([...basis(), ...(await printed(first))]);
  expect((await page("--service", SERVICE, "--wait", "30s")).code).toBe(0);
  world.mesh.kubernetes.forwards.allowed = false;
  try {
    const seen = await page("--service", SERVICE);
    expect(seen.code).toBe(3);
    expect(seen.problems).toEqual([]);
    expect(texts(seen.unseen)).toEqual([
      "port 15014 of pod istio-system/istiod-1: port-forwarding is forbidden",
      expect.stringMatching(/^(default\/[\w-]+(, |: )){3}port-forwarding is forbidden$/),
    ]);
    expect(seen.objects.map(({ state }) => state)).toEqual(seen.objects.map(() => "applied"));
  } finally {
    world.mesh.kubernetes.forwards.allowed = true;
  }
  const elsewhere = await page("--service", SERVICE, "--istio-namespace", "mesh");
  expect([elsewhere.code, texts(elsewhere.unseen)]).toEqual([3, ["no istiod runs in namespace mesh"]]);
  expect(states(elsewhere)).toEqual({ app: "runs", "greeter-v1": "runs", "greeter-v2": "runs" });
});

it("says that a sidecar is gone", async () => {
  await world.v2.sidecar.stop();
  const seen = await page("--service", SERVICE);
  expect(states(seen)["greeter-v2"]).toBe("not seen");
  expect(texts(seen.unseen)).toEqual([expect.stringMatching(/^port 15000 of pod default\/greeter-v2 .*ECONNREFUSED/)]);
});

it("says that nothing is applied", async () => {
  const { code, stdout } = await status("--service", "orders.shop");
  expect(code).toBe(4);
  expect(stdout).toContain("wrong: nothing in the cluster carries the labels of orders.shop");
});
