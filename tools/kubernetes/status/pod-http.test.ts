import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KubernetesApi } from "../../../test/istio/lab/kubernetes.js";
import { Cluster } from "../client.js";
import { getFromPod } from "./pod-http.js";

const LONG = "x".repeat(3_000_000);

function* endless() {
  const chunk = Buffer.alloc(2 ** 20);
  for (;;) yield chunk;
}

let api: KubernetesApi;
let pod: Server;
let folder: string;
let cluster: Cluster;

beforeAll(async () => {
  api = await KubernetesApi.start();
  pod = createServer(({ url }, response) => {
    if (url === "/long") response.end(LONG);
    else if (url === "/endless") Readable.from(endless()).pipe(response);
    else if (url === "/busy") response.writeHead(503).end("busy");
    else if (url !== "/silent") response.writeHead(404).end();
  });
  await once(pod.listen(0, "127.0.0.1"), "listening");
  api.forwards.set({ namespace: "shop", name: "web", port: 15000 }, (pod.address() as AddressInfo).port);
  folder = await mkdtemp(join(tmpdir(), "meltemi-pod-"));
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

const get = (path: string, { port = 15000, signal }: { port?: number; signal?: AbortSignal } = {}) =>
  getFromPod(cluster, { namespace: "shop", pod: "web", port }, path, signal);

it("reads a page, however long", async () => {
  expect((await get("/long")) === LONG).toBe(true);
});

it("reads no page without an end", async () => {
  const message = "port 15000 of pod shop/web cannot be reached: it answers with more than 64 MiB";
  await expect(get("/endless")).rejects.toMatchObject({ code: "E_POD", message });
});

it("answers nothing where there is no such page", async () => {
  expect(await get("/none")).toBeUndefined();
});

it.each([
  ["/busy", 15000, "port 15000 of pod shop/web cannot be reached: HTTP 503: busy"],
  ["/long", 9, "port 9 of pod shop/web cannot be reached: error forwarding port 9: connection refused"],
])("says why there is no answer: %s of port %i", async (path, port, message) => {
  await expect(get(path, { port })).rejects.toMatchObject({ code: "E_POD", exit: 3, message });
});

it("says that it is forbidden, and what would allow it", async () => {
  api.forwards.allowed = false;
  try {
    const options = { hint: expect.stringContaining("pods/portforward") };
    await expect(get("/long")).rejects.toMatchObject({ code: "E_FORBIDDEN", options });
  } finally {
    api.forwards.allowed = true;
  }
});

it("ends when nobody waits for the answer any more", async () => {
  const interrupt = new AbortController();
  const asked = once(pod, "request");
  const answer = get("/silent", { signal: interrupt.signal });
  await asked;
  interrupt.abort();
  await expect(answer).rejects.toMatchObject({ code: "E_INTERRUPTED" });
});
