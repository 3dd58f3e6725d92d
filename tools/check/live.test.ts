import { expect, it } from "vitest";
import { UserError } from "../errors.js";
import type { ListOptions, LiveObject, Reference } from "../kubernetes/client.js";
import { check } from "./check.js";
import { readCluster } from "./live.js";
import { golden, goodWorld } from "./world.fixture.js";
import { World } from "./world.js";

/** A cluster of these objects, which refuses what `refuse` has an answer for. */
class FakeCluster {
  readonly asked: string[] = [];
  constructor(
    private readonly objects: readonly LiveObject[],
    private readonly refuse: (kind: string) => `E_${string}` | undefined = () => undefined,
  ) {}

  async list(apiVersion: string, kind: string, { namespace }: ListOptions = {}): Promise<LiveObject[]> {
    this.ask("list", apiVersion, kind, namespace);
    return this.objects.filter(
      (it) => it.kind === kind && (namespace === undefined || it.metadata.namespace === namespace),
    );
  }

  async read({ apiVersion, kind, metadata }: Reference): Promise<LiveObject | undefined> {
    const { name, namespace } = metadata;
    this.ask("get", apiVersion, kind, namespace, name);
    return this.objects.find(
      (it) => it.kind === kind && it.metadata.name === name && it.metadata.namespace === namespace,
    );
  }

  private ask(verb: string, apiVersion: string, kind: string, namespace = "*", name = "*"): void {
    this.asked.push(`${verb} ${apiVersion} ${kind} ${namespace}/${name}`);
    const code = this.refuse(kind);
    if (code) throw new UserError(code, `${kind}: ${code}`);
  }
}

async function report(name: string, refuse?: (kind: string) => `E_${string}` | undefined) {
  const model = await golden(name);
  const cluster = new FakeCluster(goodWorld(model), refuse);
  const { objects, complete } = await readCluster(cluster, [model]);
  return { ...check([model], new World(objects, complete)), asked: cluster.asked };
}

it.each(["observe-waypoint", "bridge-policies"])("reads all that the rules ask for: %s", async (name) => {
  const { counts, unknown, objects } = await report(name);
  expect([counts.error, counts.warning, unknown]).toEqual([0, 0, []]);
  expect(objects.Service).toBe(1);
});

it("knows that what is not there does not exist", async () => {
  const model = await golden("bridge");
  const { objects, complete } = await readCluster(new FakeCluster([]), [model]);
  const { services } = check([model], new World(objects, complete));
  expect(services[0]?.findings.map(({ code }) => code)).toEqual([
    "no_service",
    "no_namespace",
    "no_crd",
    "no_servers",
    "no_clients",
    "other_clients",
  ]);
});

it("reads no Secret but the one that is named, and pods only where the module runs", async () => {
  const { asked } = await report("observe-waypoint");
  expect(asked.filter((line) => line.includes(" Secret "))).toEqual([
    "get v1 Secret shop/registry",
    "get v1 Secret ingress/registry",
  ]);
  expect(asked.filter((line) => line.includes(" Pod "))).toEqual(["list v1 Pod shop/*", "list v1 Pod ingress/*"]);
  expect((await report("bridge")).asked.filter((line) => line.includes(" Secret "))).toEqual([]);
});

it("leaves out what may not be read, and says so", async () => {
  const { counts, unknown } = await report("observe-waypoint", (kind) =>
    ["Secret", "Namespace", "Gateway"].includes(kind)
      ? "E_FORBIDDEN"
      : kind === "TrafficExtension"
        ? "E_NO_KIND"
        : undefined,
  );
  expect([counts.error, counts.warning]).toEqual([0, 0]);
  expect(unknown).toEqual(["Gateway", "Namespace", "Secret"]);
});

it("gives up where the cluster cannot be asked", async () => {
  await expect(report("bridge", () => "E_UNREACHABLE")).rejects.toMatchObject({ code: "E_UNREACHABLE" });
});
