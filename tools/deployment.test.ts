import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { assertImage, type DeploymentOptions, loadDeployment, loadModels, serviceOption } from "./deployment.js";
import { UserError } from "./errors.js";
import { FakeRegistry } from "./oci/registry.fixture.js";
import { defaultModule } from "./paths.js";

const digest = `sha256:${"a".repeat(64)}`;
const pinned = `registry.example/meltemi@${digest}`;
const observe = "protocol: dubbo\nservice: { name: greeter, bind: 1, endpoints: [2] }\n";
const inMesh = `${observe}istio: { ports: [{ port: 80 }], clients: [{ labels: { app: web } }] }\n`;
const bridge = inMesh.replace("istio: {", "mode: bridge\nistio: { address: 10.0.0.1,");

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-deployment-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

let files = 0;
function file(text: string): string {
  const path = join(folder, `${++files}.yaml`);
  writeFileSync(path, text);
  return path;
}

const load = (texts: string[], options: Partial<DeploymentOptions> = {}) =>
  loadDeployment(texts.map(file), { module: defaultModule, image: pinned, ...options });

/** With no image on the command line. */
const loadUnnamed = (texts: string[]) => loadDeployment(texts.map(file), { module: defaultModule });

/** What the user is told, without the folder of this test. */
async function refusal(loading: Promise<unknown>): Promise<string> {
  const error = await loading.then(
    () => new Error("nothing was refused"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof UserError)) throw error;
  return `${error.code} ${error.exit}: ${error.message}\n${error.options.hint}`.replaceAll(join(folder, "/"), "");
}

describe("a configuration", () => {
  it("has to say where in a mesh it belongs", async () => {
    expect(await refusal(load([observe]))).toMatch(
      /^E_NO_ISTIO 1: \d+\.yaml does not say where in a mesh it belongs: there is no "istio"\nAdd at least\n {2}istio:\n/,
    );
  });

  it("says less than the command line", async () => {
    const options = { module: defaultModule, istioVersion: 30, kind: "TrafficExtension" as const };
    const [model] = await loadModels([file(inMesh.replace("{ ports", '{ version: "1.22", ports'))], options);
    expect(model?.istio).toMatchObject({ version: 30, kind: "TrafficExtension" });
    const { resources } = await load([inMesh], options);
    expect(resources.map(({ object }) => object.kind)).toEqual(["TrafficExtension", "TrafficExtension"]);
    expect(await refusal(load([inMesh], { ...options, istioVersion: 29 }))).toMatch(
      /^E_ISTIO_VERSION 1: greeter\.default: Istio 1\.29 does not have kind TrafficExtension \(from 1\.30\)\nLeave it out/,
    );
  });
});

describe("several configurations", () => {
  const named = (service: string, namespace = "shop") =>
    inMesh.replace("greeter", service).replace("istio: {", `istio: { service: greeter, namespace: ${namespace},`);

  it("must not be of the same service", async () => {
    expect(await refusal(load([named("greeter"), named("Greeter")]))).toMatch(
      /^E_TWICE 1: \d+\.yaml and \d+\.yaml are of the same service, greeter\.shop\nPorts/,
    );
    expect((await load([named("greeter"), named("greeter", "x")])).names).toEqual(["greeter.shop", "greeter.x"]);
  });
});

describe("the image", () => {
  const url = async (texts: string[], options: Partial<DeploymentOptions>) => (await load(texts, options)).image;
  const naming = (image: string) => inMesh.replace("istio: {", `istio: { image: "${image}",`);

  it("is that of the command line, else that of the configurations", async () => {
    expect(await url([inMesh], {})).toBe(`oci://${pinned}`);
    expect(await url([naming("a.example/other:1")], {})).toBe(`oci://${pinned}`);
    const orders = naming(`oci://${pinned}`).replace("greeter", "orders");
    expect((await loadUnnamed([inMesh, orders])).image).toBe(`oci://${pinned}`);
  });

  it("loses its tag where it has a digest", async () => {
    expect(await url([inMesh], { image: pinned.replace("@", ":1.0@") })).toBe(`oci://${pinned}`);
  });

  it("is asked for once before it is applied: elsewhere it may be in reach", async () => {
    const registry = await new FakeRegistry().start();
    try {
      const manifest = { ...(await load([inMesh])), image: `oci://${registry.address}/a/b@${digest}` };
      const asking = () => assertImage(manifest, { module: defaultModule });
      await expect(asking()).rejects.toMatchObject({ code: "E_NOT_FOUND" });
      registry.seen.length = 0;
      registry.fault = (_, __, response) => {
        response.writeHead(503).end();
        return true;
      };
      await asking();
      expect(registry.seen).toHaveLength(1);
    } finally {
      await registry.stop();
    }
  });

  it("is looked up where it has none", async () => {
    const registry = await new FakeRegistry().start();
    try {
      const image = `${registry.address}/a/b:1.0`;
      expect(await refusal(load([inMesh], { image }))).toContain("E_NOT_FOUND 1: there is no ");
      const bytes = Buffer.from("{}");
      registry.manifests.set("1.0", { type: "application/vnd.oci.image.manifest.v1+json", bytes });
      const found = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      expect(await url([inMesh], { image })).toBe(`oci://${registry.address}/a/b@${found}`);
    } finally {
      await registry.stop();
    }
  });

  it("has to be said, and to be one", async () => {
    expect(await refusal(loadUnnamed([inMesh]))).toBe(
      "E_NO_IMAGE 1: which image holds the module is not said\n" +
        "Push the module (meltemi push REF) and name it: --image REF, or istio.image in meltemi.yaml.",
    );
    const [a, b] = [naming("a.example/m:1"), naming("a.example/m:2").replace("greeter", "orders")];
    expect(await refusal(loadUnnamed([a, b]))).toBe(
      "E_NO_IMAGE 1: the configurations name different images: a.example/m:1, a.example/m:2\n" +
        "Name one for all of them: --image REF",
    );
    expect(await refusal(load([inMesh], { image: "A b" }))).toContain('E_REFERENCE 2: "A b" does not name an image');
  });
});

describe("--service", () => {
  const named = (args: string[]) =>
    serviceOption(new Command().exitOverride().configureOutput({ writeErr: () => {} }))
      .parse(args, { from: "user" })
      .opts().service;

  it("names services as their objects do", () => {
    expect(named(["--service", "greeter.shop", "orders.shop"])).toEqual(["greeter.shop", "orders.shop"]);
    const [long] = named(["--service", `${"a".repeat(60)}.shop`]);
    expect(long).toMatch(/^a{54}-[0-9a-f]{8}$/);
    expect(named(["--service", long])).toEqual([long]);
  });

  it.each(["", "a,b", "x),!y", "Greeter.shop", "a b"])("refuses %j, which no label could be", (name) => {
    expect(() => named(["--service", name])).toThrow("expected SERVICE.NAMESPACE");
  });
});

describe("--merge", () => {
  const sidecar = (name: string, spec: string) =>
    `apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
  const forWeb = "{ workloadSelector: { labels: { app: web } }, egress: [{ hosts: [./*] }] }";
  const names = async (text: string) =>
    (await load([bridge], { merge: file(text) })).resources.flatMap(({ object }) =>
      object.kind === "Sidecar" ? object.metadata.name : [],
    );

  it("takes Sidecars alone, among other things, and kubectl's lists of them", async () => {
    const joined = ["servers.greeter.default", "web"];
    expect(await names(sidecar("web", forWeb))).toEqual(joined);
    expect(await names(`kind: Service\n---\n---\n${sidecar("web", forWeb)}`)).toEqual(joined);
    const list = (items: string) => `apiVersion: v1\nkind: List\nitems: ${items}\n`;
    expect(await names(list(`\n- ${sidecar("web", forWeb).trim().replaceAll("\n", "\n  ")}`))).toEqual(joined);
    expect(await names(list("[]"))).toEqual(["servers.greeter.default", "clients-web.greeter.default"]);
  });

  it.each([
    ["", ": there is no Sidecar in it"],
    ["kind: Service\n", ": there is no Sidecar in it"],
    ["- 1\n", ": there is no Sidecar in it"],
    ["a: [\n", ":2: Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ["kind: *a\n", ":1: Unresolved alias (the anchor must be set before the alias): a"],
    [sidecar("a", "{ egress: 5 }"), ":1: this Sidecar cannot be read: spec.egress: "],
    [sidecar("a", "{ egress: [{ port: 80 }] }"), ":1: this Sidecar cannot be read: spec.egress[0].port: "],
    [sidecar("5", "{}"), ":1: this Sidecar cannot be read: metadata.name: "],
    [
      `a: &a [x]\nb: &b [${"*a,".repeat(99)}]\nc: [${"*b,".repeat(99)}]\n`,
      ":1: Excessive alias count indicates a resource",
    ],
  ])("refuses %j", async (text, why) => {
    expect(await refusal(names(text))).toMatch(
      /^E_MERGE 1: \d+\.yaml(:\d+)?: .*\nWrite it with: kubectl get sidecars -A -o yaml/,
    );
    expect(await refusal(names(text))).toContain(`.yaml${why}`);
  });

  it("says which file is missing", async () => {
    const merge = join(folder, "none.yaml");
    expect(await refusal(load([bridge], { merge }))).toContain("E_MERGE 1: none.yaml: there is no such file");
  });
});
