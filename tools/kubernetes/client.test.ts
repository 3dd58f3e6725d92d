import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { type Asked, FaultyServer, refusal, status } from "./apiserver.fixture.js";
import { Cluster, type ConnectOptions } from "./client.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-kubernetes-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => void vi.unstubAllEnvs());

const plugin = {
  apiVersion: "extensions.istio.io/v1alpha1",
  kind: "WasmPlugin",
  metadata: { name: "greeter", namespace: "shop" },
  spec: { url: "oci://ghcr.io/acme/meltemi:1" },
};
const path = "/apis/extensions.istio.io/v1alpha1/namespaces/shop/wasmplugins/greeter";

function file(name: string, contents: string): string {
  writeFileSync(join(folder, name), contents);
  return join(folder, name);
}

async function faulty(handle: (asked: Asked) => void, options: ConnectOptions = {}) {
  const server = await FaultyServer.start(handle);
  onTestFinished(() => server.stop());
  const cluster = await Cluster.connect({ kubeconfig: file("faulty.yaml", server.kubeconfig), ...options });
  return { server, cluster };
}

describe("kubeconfig", () => {
  // Where this runs in a pod there is always one.
  it.skipIf(existsSync("/var/run/secrets/kubernetes.io"))("is missing", async () => {
    vi.stubEnv("KUBECONFIG", "");
    vi.stubEnv("HOME", folder);
    expect(await refusal(Cluster.connect())).toMatchObject({ code: "E_KUBECONFIG", exit: 3 });
  });

  it("is named, and not there or not one", async () => {
    const missing = await refusal(Cluster.connect({ kubeconfig: join(folder, "nowhere") }));
    expect(missing.message).toContain("there is no ");
    const broken = await refusal(Cluster.connect({ kubeconfig: file("broken.yaml", "clusters: [}") }));
    expect(broken.message).toMatch(/cannot be used: .*\(1:12\)/);
    const empty = await refusal(Cluster.connect({ kubeconfig: file("empty.yaml", "") }));
    expect(empty).toMatchObject({ code: "E_KUBECONFIG", message: expect.stringMatching(/: it is not one$/) });
    const nameless = await refusal(Cluster.connect({ kubeconfig: file("nameless.yaml", "clusters: [{ name: a }]") }));
    expect(nameless.message).toContain("clusters[0].cluster is missing");
  });

  it("comes from $KUBECONFIG", async () => {
    const { server } = await faulty(() => {});
    vi.stubEnv("KUBECONFIG", file("other.yaml", server.kubeconfig));
    expect((await Cluster.connect()).context).toBe("faulty");
  });

  it("lacks the context, or the context's cluster", async () => {
    const contexts = (cluster: string) =>
      `contexts: [{ name: a, context: { cluster: ${cluster} } }, { name: b, context: { cluster: ${cluster} } }]\n` +
      "clusters: [{ name: lab, cluster: { server: https://127.0.0.1 } }]\n";
    const kubeconfig = file("contexts.yaml", contexts("lab"));
    const unknown = await refusal(Cluster.connect({ kubeconfig, context: "c" }));
    expect(unknown).toMatchObject({ code: "E_CONTEXT", options: { hint: expect.stringMatching(/: a, b$/) } });
    expect((await refusal(Cluster.connect({ kubeconfig }))).message).toContain("no current context");
    expect((await Cluster.connect({ kubeconfig, context: "b" })).server).toBe("https://127.0.0.1");
    const dangling = file("dangling.yaml", contexts("elsewhere"));
    expect((await refusal(Cluster.connect({ kubeconfig: dangling, context: "a" }))).message).toContain('"elsewhere"');
  });

  it("may have a password in the server's address, which nobody is shown", async () => {
    const { server } = await faulty(() => {});
    const kubeconfig = file("password.yaml", server.kubeconfig.replace("//127", "//me:hunter2@127"));
    expect((await Cluster.connect({ kubeconfig })).server).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  });

  it("names a program for credentials that fails", async () => {
    const { server } = await faulty(({ answer }) => answer(200, plugin));
    const exec = "exec: { command: sh, args: [-c, 'echo you have to log in >&2; exit 1'] }";
    const kubeconfig = file("exec.yaml", server.kubeconfig.replace("token: secret", exec));
    const { code, message } = await refusal((await Cluster.connect({ kubeconfig })).read(plugin));
    expect([code, message]).toEqual(["E_KUBECONFIG", expect.stringContaining("you have to log in")]);
  });
});

describe("what a server says", () => {
  const said = async (
    code: number,
    body: unknown,
    action = (cluster: Cluster) => cluster.apply(plugin) as Promise<unknown>,
  ) => refusal(action((await faulty(({ answer }) => answer(code, body))).cluster));

  it("401", async () => {
    expect(await said(401, status(401, "Unauthorized"))).toMatchObject({ code: "E_UNAUTHORIZED", exit: 3 });
  });

  it("403, with the rule that is missing", async () => {
    const forbidden = (verb: string) =>
      status(
        403,
        `wasmplugins.extensions.istio.io "greeter" is forbidden: User "jane" cannot ${verb} resource "wasmplugins" in API group "extensions.istio.io" in the namespace "shop"`,
        { name: "greeter", group: "extensions.istio.io", kind: "wasmplugins" },
      );
    // Applying what is not there asks for another right than the one to patch.
    const error = await said(403, forbidden("create"));
    expect(error.code).toBe("E_FORBIDDEN");
    expect(error.message).toContain('User "jane" cannot create resource "wasmplugins"');
    expect(error.options.hint).toContain(
      '{ apiGroups: ["extensions.istio.io"], resources: [wasmplugins], verbs: [create] }',
    );
    expect((await said(403, forbidden("get"), (cluster) => cluster.read(plugin))).options.hint).toContain("[get]");
  });

  it("a namespace that does not exist", async () => {
    const body = status(404, 'namespaces "shop" not found', { name: "shop", kind: "namespaces" });
    const error = await said(404, body);
    expect(error.message).toBe("WasmPlugin shop/greeter: there is no namespace shop");
    expect(error.options.hint).toContain("kubectl create namespace shop");
  });

  it("an object that does not exist", async () => {
    const body = status(404, "not found", { name: "greeter", group: "extensions.istio.io", kind: "wasmplugins" });
    const { cluster } = await faulty(({ answer }) => answer(404, body));
    expect(await cluster.read(plugin)).toBeUndefined();
    await cluster.delete(plugin);
  });

  it("a kind that it does not know", async () => {
    const { cluster } = await faulty(({ answer }) => answer(404, "404 page not found"));
    const unknown = { ...plugin, kind: "Trafficextension" };
    expect(await refusal(cluster.read(unknown))).toMatchObject({ code: "E_NO_KIND", exit: 3 });
    const since = await refusal(cluster.list("security.istio.io/v1", "RequestAuthentication"));
    expect(since.options.hint).toContain("Istio 1.22");
  });

  it("a webhook's opinion", async () => {
    const text = 'admission webhook "validation.istio.io" denied the request: configuration is invalid: no url';
    expect(await said(400, status(400, text))).toMatchObject({
      code: "E_INVALID",
      message: expect.stringContaining(text),
    });
    expect(await said(403, status(403, text))).toMatchObject({ code: "E_INVALID" });
  });

  it("anything else, JSON or not", async () => {
    expect((await said(500, "<h1>oops</h1>")).message).toBe(
      "WasmPlugin shop/greeter: the API server answered 500: <h1>oops</h1>",
    );
  });

  it.each([
    "<html>",
    "",
    "null",
    "[]",
    "5",
    '{"items":[]}',
    '{"kind":"List","items":5}',
    '{"kind":"List","items":[null,5]}',
    '{"kind":"Status"}',
  ])("%j, which no API server would say", async (text) => {
    const { cluster } = await faulty(({ answer }) => answer(200, text));
    const actions = [
      () => cluster.read(plugin),
      () => cluster.list(plugin.apiVersion, plugin.kind),
      () => cluster.apply(plugin),
      // What is deleted is answered by a Status, or by what it was.
      ...(text.includes("kind") ? [] : [() => cluster.delete(plugin)]),
    ];
    for (const action of actions) expect(await refusal(action())).toMatchObject({ code: "E_ANSWER", exit: 3 });
  });

  it("an empty list, as Go may write it", async () => {
    const { cluster } = await faulty(({ answer }) => answer(200, '{"kind":"WasmPluginList","items":null}'));
    expect(await cluster.list(plugin.apiVersion, plugin.kind)).toEqual([]);
  });

  it.each(["null", "5", '{"message":7,"details":{"causes":5}}', '{"details":5}'])("an error %s", async (body) => {
    for (const code of [400, 404, 409, 418, 500])
      expect(["E_INVALID", "E_NO_KIND", "E_CHANGED", "E_API"]).toContain((await said(code, body)).code);
    expect((await said(504, body)).code).toBe("E_UNREACHABLE");
  });

  it("warnings beside an answer", async () => {
    const warned: string[] = [];
    const warning = '299 - "old \\"version\\", use another", 299 - "and more"';
    const { cluster } = await faulty(({ answer }) => answer(200, plugin, { warning }), {
      onWarning: (text) => warned.push(text),
    });
    await cluster.read(plugin);
    expect(warned).toEqual(['old "version", use another', "and more"]);
  });
});

describe("a server that is busy, or going away", () => {
  it("is asked again for what changes nothing", async () => {
    let busy = 2;
    const { cluster, server } = await faulty(({ answer, hangUp }) => {
      if (busy-- === 0) answer(200, plugin);
      else if (busy === 1) answer(429, status(429, "too many requests"), { "retry-after": "0" });
      else hangUp();
    });
    expect((await cluster.read(plugin))?.spec).toEqual(plugin.spec);
    expect(server.asked).toHaveLength(3);
    busy = 1;
    await cluster.apply(plugin, { dryRun: true });
    expect(server.asked).toHaveLength(5);
  });

  it("is not asked for ever", async () => {
    const { cluster, server } = await faulty(({ answer }) => answer(503, status(503, "shutting down")));
    expect(await refusal(cluster.read(plugin))).toMatchObject({ code: "E_API", exit: 3 });
    expect(server.asked).toHaveLength(4);
  });

  it("is not asked again for what changes something", async () => {
    const { cluster, server } = await faulty(({ hangUp }) => hangUp());
    expect(await refusal(cluster.apply(plugin))).toMatchObject({ code: "E_UNREACHABLE", exit: 3 });
    expect(await refusal(cluster.delete(plugin))).toMatchObject({ code: "E_UNREACHABLE" });
    expect(server.asked).toEqual([`PATCH ${path}`, `DELETE ${path}`]);
  });

  it("has so long to answer", async () => {
    const { cluster } = await faulty(() => {}, { timeoutMs: 50 });
    expect((await refusal(cluster.read(plugin))).message).toContain("did not answer in time");
  });

  it("breaks off in the middle of an answer", async () => {
    const { cluster, server } = await faulty(({ answer }) => answer(200, '{"kind":', { "content-length": "1000" }), {
      timeoutMs: 50,
    });
    expect((await refusal(cluster.apply(plugin))).code).toBe("E_UNREACHABLE");
    expect(server.asked).toHaveLength(1);
  });
});

describe("Ctrl-C", () => {
  it("ends what only reads", async () => {
    const stop = new AbortController();
    const { cluster } = await faulty(() => stop.abort(), { signal: stop.signal });
    expect(await refusal(cluster.read(plugin))).toMatchObject({ code: "E_INTERRUPTED", exit: 130 });
    expect((await refusal(cluster.apply(plugin, { dryRun: true }))).code).toBe("E_INTERRUPTED");
  });

  it("lets a write end that has begun", async () => {
    const stop = new AbortController();
    const handle = ({ answer }: Asked) => {
      stop.abort();
      answer(200, plugin);
    };
    const { cluster } = await faulty(handle, { signal: stop.signal });
    expect((await cluster.apply(plugin)).spec).toEqual(plugin.spec);
  });
});

it("asks with the credentials, for all namespaces or one, for labels with one of several values", async () => {
  const queries: string[] = [];
  const { cluster, server } = await faulty(({ query, answer }) => {
    queries.push(query.get("labelSelector") ?? "");
    answer(200, { apiVersion: plugin.apiVersion, kind: "WasmPluginList", metadata: {}, items: [plugin] });
  });
  const labels = { a: ["x"], b: ["y", "z"] };
  expect(await cluster.list(plugin.apiVersion, plugin.kind, { labels })).toEqual([plugin]);
  await cluster.list(plugin.apiVersion, plugin.kind, { namespace: "shop" });
  expect(queries).toEqual(["a in (x),b in (y,z)", ""]);
  expect(server.asked).toEqual([
    "GET /apis/extensions.istio.io/v1alpha1/wasmplugins",
    "GET /apis/extensions.istio.io/v1alpha1/namespaces/shop/wasmplugins",
  ]);
});
