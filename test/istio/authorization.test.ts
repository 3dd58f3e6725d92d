import { afterAll, beforeAll, expect, inject, it } from "vitest";
import { findEnvoy } from "../../tools/envoy/find.js";
import { eventually } from "../e2e/harness.js";
import { connect, type DubboClient } from "../peers/dubbo/client.js";
import { type DubboServer, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { manifestOf } from "./lab/command.js";
import { assertSound, GREETER, manifests, requests } from "./lab/harness.js";
import { complaints } from "./lab/istioctl.js";
import { Mesh, type Sidecar } from "./lab/mesh.js";
import { Registry } from "./lab/registry.js";

/*
 * Where requests are to be judged at the servers, Istio's HTTP filters stand before lower there. Mutual TLS is demanded of
 * everybody, and only one of the pods runs: what is within a pod has one address on this machine.
 */

let registry: Registry;
let mesh: Mesh;
let app: Sidecar;
let pod: Sidecar;
let server: DubboServer;
let client: DubboClient;

beforeAll(async () => {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  const envoy = await findEnvoy({ path: found.origin });
  registry = await Registry.start();
  await registry.push();
  const printed = await manifestOf(
    {
      protocol: "dubbo",
      mode: "bridge",
      service: { name: "greeter", bind: 20880, subsets: [{ name: "v1", endpoints: [20881] }] },
      routes: [{ name: "all", subset: "v1" }],
      authorization: [
        { action: "DENY", match: { method: { oneOf: ["fail", "slow"] } } },
        { action: "DENY", match: { tenant: { prefix: "black" } } },
        { action: "ALLOW", match: { service: greeter } },
        { action: "ALLOW", match: { user: { present: true }, debug: { not: { present: true } } } },
      ],
      istio: {
        ports: [{ port: 20880, serverPort: 20881 }],
        address: GREETER.host,
        clients: [{ labels: { app: "app" } }],
      },
    },
    "--image",
    `${registry.address}/mesh/meltemi:1`,
  );
  const objects = [...manifests(["world", "service"], { NAME: "http2-dubbo" }), ...printed];
  expect(complaints(objects)).toEqual([]);
  mesh = await Mesh.start(objects);
  server = await startServer({ port: 20881 });
  pod = await mesh.sidecar("greeter-v1", { envoy });
  app = await mesh.sidecar("app", { envoy });
  client = await eventually(() => connect(GREETER));
});
afterAll(async () => {
  await client?.close();
  for (const part of [app, pod, server, mesh, registry]) await part?.stop();
});

it("has Istio's filters at the pod's address, and lower behind them on loopback", async () => {
  const filters = (names: string[]) => names.map((name) => expect.stringContaining(name));
  await eventually(async () => {
    const [outer] = await pod.chains("10.9.0.11_20880");
    expect(outer?.at(-1)).toContain("http_connection_manager");
    const [inner] = await pod.chains("127.0.0.1_30880");
    expect(inner).toEqual(expect.arrayContaining(filters([".lower.greeter.default~", "tcp_proxy"])));
  });
});

it.each([
  ["what a service may be asked", greeter, "add", {}, "3"],
  ["what another is not", orders, "create", {}, "HTTP 403: RBAC: access denied"],
  ["what whoever says who he is may ask", orders, "create", { user: "ada" }, "passes"],
  ["unless he debugs", orders, "create", { user: "ada", debug: "1" }, "HTTP 403: RBAC: access denied"],
  ["what nobody may ask", greeter, "fail", {}, "HTTP 403: RBAC: access denied"],
  ["who may not ask anything", greeter, "add", { tenant: "blacklisted" }, "HTTP 403: RBAC: access denied"],
])("decides %s", async (_, service, method, attachments, expected) => {
  const args = method === "create" ? ["fig", 1] : [1, 2];
  const outcome = () =>
    client.call(service, method, args, { attachments }).then(
      (value) => (expected === "passes" ? "passes" : String(value)),
      (error: Error) => error.message,
    );
  await eventually(async () => expect(await outcome()).toBe(expected));
});

it("counts what was denied where the client is, and complains nowhere", async () => {
  await eventually(async () => {
    expect((await requests(app))[`outbound ${greeter} fail denied`]).toBeGreaterThan(0);
    expect((await requests(pod))[`inbound ${greeter} fail denied`]).toBeUndefined();
  });
  for (const sidecar of [app, pod]) assertSound(sidecar);
});
