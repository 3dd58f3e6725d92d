import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { loadFor } from "../configuration.js";
import type { Model } from "../model/schema.js";
import { defaultModule, packageRoot } from "../paths.js";
import { manifest, manifestYaml } from "./manifest.js";
import { clients, type MeshModel, serviceName } from "./mesh.js";
import { INSTANCE, type IstioObject, MANAGED_BY } from "./resource.js";

const golden = join(packageRoot, "tools", "istio", "golden");
const url = `oci://registry.example/mesh/meltemi@sha256:${"0123456789abcdef".repeat(4)}`;

async function read(name: string): Promise<MeshModel> {
  const model: Model = await loadFor(defaultModule, join(golden, `${name}.meltemi.yaml`));
  if (!model.istio) throw new Error(`${name} has no istio`);
  return { ...model, istio: model.istio };
}

function existing(name: string): IstioObject[] {
  const text = readFileSync(join(golden, `${name}.existing.yaml`), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as IstioObject);
}

const names = ["observe", "observe-waypoint", "route", "bridge", "bridge-policies", "bridge-loopback", "merge"];
const sidecars = (name: string) => (name === "merge" ? existing(name) : []);

describe("what is written for", () => {
  it.each(names)("%s", async (name) => {
    const written = manifest([await read(name)], { url, existing: sidecars(name) });
    const text = manifestYaml(written, `Written for ${name}.meltemi.yaml`);
    await expect(text).toMatchFileSnapshot(join(golden, `${name}.yaml`));
  });

  it.each(names)("%s is what Kubernetes takes, and reads as it was meant", async (name) => {
    const written = manifest([await read(name)], { url, existing: sidecars(name) });
    const objects = written.resources.map(({ object }) => object);
    for (const { kind, metadata } of objects) {
      expect(metadata.name).toMatch(/^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/);
      expect(metadata.namespace).toMatch(/./);
      // The user's own is one that was there before.
      if (kind === "Sidecar" && metadata.name === "web") continue;
      expect(metadata.labels).toMatchObject({ [MANAGED_BY]: "meltemi", [INSTANCE]: written.names[0] });
      for (const value of Object.values(metadata.labels ?? {})) expect(value).toMatch(/^[A-Za-z0-9._-]{1,63}$/);
    }
    expect(new Set(objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`)).size).toBe(
      objects.length,
    );
    // As Kubernetes reads it, and as everybody else does.
    for (const version of ["1.1", "1.2"] as const) {
      const documents = parseAllDocuments(manifestYaml(written, "a"), { version });
      expect(documents.map((document) => document.toJS())).toEqual(JSON.parse(JSON.stringify(objects)));
    }
  });

  it("nothing depends on the order of labels", async () => {
    const model = await read("bridge-policies");
    const { labels = {} } = model.istio.servers;
    const turned = Object.fromEntries(Object.entries(labels).reverse());
    const istio = { ...model.istio, servers: { ...model.istio.servers, labels: turned } };
    expect(manifest([{ ...model, istio }], { url })).toEqual(manifest([model], { url }));
  });
});

describe("several configurations", () => {
  const other = async (name: string, more: object = {}) => {
    const model = await read("bridge");
    return { ...model, service: { ...model.service, name }, istio: { ...model.istio, ...more } };
  };

  it("come to the same in any order, and share the Sidecar of a client", async () => {
    const models = [
      await other("greeter"),
      await other("orders", { address: "10.96.0.11", ports: [{ port: 20890 }] }),
      await other("accounts", {
        address: "10.96.0.12",
        ports: [{ port: 20870 }],
        clients: [{ labels: { app: "job" } }],
      }),
    ];
    const written = manifest(models, { url });
    expect(manifest(models.toReversed(), { url })).toEqual(written);
    expect(written.names).toEqual(["accounts.shop", "greeter.shop", "orders.shop"]);
    const shared = written.resources.filter(({ object }) => object.kind === "Sidecar").map(({ object }) => object);
    expect(shared.map(({ metadata }) => metadata.name)).toEqual([
      "servers.accounts.shop",
      "clients-job.accounts.shop",
      "servers.greeter.shop",
      "clients-web.greeter.shop",
      "servers.orders.shop",
    ]);
    expect(shared[3]?.spec.egress).toMatchObject([
      { port: { number: 20880 }, bind: "10.96.0.10" },
      { port: { number: 20890 }, bind: "10.96.0.11" },
      { hosts: ["*/*"] },
    ]);
    expect(written.needs).toHaveLength(3);
  });
});

describe("names", () => {
  const long = "a".repeat(63);
  const named = async (service: string, namespace: string, more: object = {}) => {
    const model = await read("observe");
    return { ...model, istio: { ...model.istio, service, namespace, ...more } };
  };

  it("fit into labels, however long, and stay different", async () => {
    const models = [await named(long, "b".repeat(63)), await named(long, `${"b".repeat(62)}c`)];
    const { names: instances, resources } = manifest(models, { url });
    expect(new Set(instances).size).toBe(2);
    for (const name of instances) expect(name).toMatch(/^a{54}-[0-9a-f]{8}$/);
    for (const { object } of resources) {
      expect(instances).toContain(object.metadata.labels?.[INSTANCE]);
      expect(object.metadata.name.length).toBeLessThan(254);
    }
    expect(serviceName(await named("a".repeat(31), "b".repeat(31)))).toBe(`${"a".repeat(31)}.${"b".repeat(31)}`);
  });

  it("of clients say who they are, whatever comes before them", async () => {
    const suffixes = async (...list: object[]) =>
      clients(await named("a", "b", { clients: list })).map((it) => it.suffix);
    const web = { labels: { app: "web" } };
    expect(await suffixes({}, web, { labels: { tier: "Front_End", app: "web" } })).toEqual([
      "",
      "-web",
      "-web-front-end",
    ]);
    expect(await suffixes({ labels: { x: "web" } }, web, { ...web, namespace: "c" })).toEqual([
      "-web",
      "-web-2",
      "-web",
    ]);
    expect(await suffixes({ labels: { x: "web-2" } }, { labels: { x: "web" } }, web)).toEqual([
      "-web-2",
      "-web",
      "-web-3",
    ]);
    expect(await suffixes({ targetRefs: [{ kind: "Gateway", name: "edge" }] })).toEqual(["-edge"]);
    expect(await suffixes({ labels: { app: `${long}`, x: long } })).toEqual([`-${long}`]);
    expect(await suffixes({ labels: { app: "" } })).toEqual([""]);
  });
});

describe("a version of Istio", () => {
  it.each([
    ["route", 28, "mode route (from 1.29)"],
    ["bridge-policies", 26, "trafficPolicy.retryBudget (from 1.27)"],
    ["observe-waypoint", 29, "kind TrafficExtension (from 1.30)"],
  ])("that lacks what %s needs is refused", async (name, version, what) => {
    const model = await read(name);
    const of = (minor: number) => manifest([{ ...model, istio: { ...model.istio, version: minor } }], { url });
    expect(() => of(version)).toThrow(
      expect.objectContaining({
        code: "E_ISTIO_VERSION",
        message: expect.stringMatching(new RegExp(`^\\w+\\.shop: Istio 1\\.${version} does not have `)),
      }),
    );
    expect(() => of(version)).toThrow(what);
    of(version + 1);
  });

  it("decides what happens where the module fails, unless it is said", async () => {
    const model = await read("bridge");
    const strategies = (istio: object) =>
      manifest([{ ...model, istio: { ...model.istio, ...istio } }], { url }).resources.flatMap(
        ({ object }) => object.spec.failStrategy ?? [],
      );
    expect(strategies({ version: 26 })).toEqual(["FAIL_CLOSE", "FAIL_CLOSE"]);
    expect(strategies({ version: 27 })).toEqual(["FAIL_RELOAD", "FAIL_RELOAD"]);
    expect(strategies({ failStrategy: "FAIL_OPEN" })).toEqual(["FAIL_OPEN", "FAIL_OPEN"]);
  });
});

describe("YAML", () => {
  it("keeps texts that Kubernetes would take for something else", async () => {
    const words = ["on", "no", "y", "1_000", "0o7", "012", "12:30:45", "2001-01-01", "~", "1e3", "=", "<<", "0x1F"];
    const object: IstioObject = {
      apiVersion: "v1",
      kind: "A",
      metadata: { name: "a", namespace: "b" },
      spec: { words, ...Object.fromEntries(words.map((word) => [word, word])) },
    };
    const written = { names: [], image: "", resources: [{ object, why: "a" }], needs: [], notes: [] };
    for (const version of ["1.1", "1.2"] as const) {
      const [document] = parseAllDocuments(manifestYaml(written, "a"), { version });
      expect(document?.toJS()).toEqual(object);
    }
  });
});
