import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KubernetesApi } from "../../../test/istio/lab/kubernetes.js";
import { INSTANCE, MANAGED_BY } from "../../istio/resource.js";
import { Cluster } from "../client.js";
import { lookAt } from "./status.js";

/* What real proxies and a real istiod say is in test/istio. */

let api: KubernetesApi;
let pod: Server;
let page: string;
let folder: string;
let cluster: Cluster;

beforeAll(async () => {
  api = await KubernetesApi.start();
  pod = createServer((_, response) => void response.end(page));
  await once(pod.listen(0, "127.0.0.1"), "listening");
  const { port } = pod.address() as AddressInfo;
  const running = (namespace: string, name: string, app: string) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, labels: { app } },
    spec: { containers: [{ name: "istio-proxy" }] },
    status: { phase: "Running" },
  });
  api.set([
    running("shop", "web", "web"),
    running("istio-system", "istiod", "istiod"),
    {
      apiVersion: "extensions.istio.io/v1alpha1",
      kind: "WasmPlugin",
      metadata: { namespace: "shop", name: "a", labels: { [MANAGED_BY]: "meltemi", [INSTANCE]: "greeter.shop" } },
      spec: { selector: { matchLabels: { app: "web" } } },
    },
  ]);
  api.forwards.set({ namespace: "shop", name: "web", port: 15000 }, port);
  api.forwards.set({ namespace: "istio-system", name: "istiod", port: 15014 }, port);
  folder = await mkdtemp(join(tmpdir(), "meltemi-status-"));
  const file = join(folder, "kubeconfig");
  await writeFile(file, api.kubeconfig);
  cluster = await Cluster.connect({ kubeconfig: file });
});
afterAll(async () => {
  pod?.close();
  pod?.closeAllConnections();
  await api?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});

it.each(["", "<html>", "null", "5", '{"configs":5}', '{"configs":[null]}', "[null]"])(
  "pods that answer %j are not seen, which says nothing of the others",
  async (answer) => {
    page = answer;
    const { plugins, unseen } = await lookAt(cluster, ["greeter.shop"], { istioNamespace: "istio-system" });
    expect(unseen).toEqual([expect.objectContaining({ code: "E_POD", exit: 3 })]);
    expect(unseen[0]?.message).toMatch(/^istiod in namespace istio-system answers with a page that cannot be read: /);
    const [proxy] = plugins[0]?.proxies ?? [];
    expect(proxy).toMatchObject({ state: "not seen", sync: undefined, unseen: { code: "E_POD" } });
    expect(proxy?.unseen?.message).toMatch(/^pod shop\/web answers with a page that cannot be read: /);
  },
);
