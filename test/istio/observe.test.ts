import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../e2e/harness.js";
import { ConnectionLost, connect } from "../peers/dubbo/client.js";
import { type DubboServer, greeter, startServer } from "../peers/dubbo/server.js";
import { assertSound, GREETER, manifests, requests, startWorld, type World } from "./lab/harness.js";
import { Registry } from "./lab/registry.js";

let registry: Registry;
let world: World<DubboServer>;

beforeAll(async () => {
  registry = await Registry.start();
  const words = { PROTOCOL: "TCP", MODULE: await registry.push() };
  const objects = manifests(["world", "service", "sidecars", "observe"], words);
  world = await startWorld({ objects, serve: startServer });
});
afterAll(async () => {
  await world?.stop();
  await registry?.stop();
});

it("stands before tcp_proxy on both sides", async () => {
  const { app, v1 } = world;
  const terminal = "envoy.filters.network.tcp_proxy";
  const plugin = (name: string) => expect.stringContaining(`default.${name}~`);
  await eventually(async () =>
    expect(await app.chains("10.96.0.10_20880")).toEqual([[plugin("meltemi-client"), terminal]]),
  );
  expect(await v1.sidecar.chains("10.9.0.11_20880")).toEqual([[plugin("meltemi-server"), terminal]]);
});

it("stands where nothing but mTLS comes in", async () => {
  const direct = await connect({ host: "10.9.0.11", port: 20880 });
  await expect(direct.call(greeter, "add", [1, 2])).rejects.toThrow(ConnectionLost);
});

it("counts requests in the sidecars of client and server", async () => {
  const { app, v1, v2 } = world;
  const clients = await eventually(() => Promise.all(Array.from({ length: 10 }, () => connect(GREETER))));
  const calls = clients.flatMap((client) => [
    ...Array.from({ length: 20 }, () => client.call(greeter, "add", [1, 2])),
    client.call(greeter, "fail").catch(() => {}),
  ]);
  await Promise.all(calls);
  await Promise.all(clients.map((client) => client.close()));

  const served = [v1, v2].map(({ server }) => server.stats.requests);
  const total = (method: string) => served.reduce((sum, requests) => sum + (requests[method] ?? 0), 0);
  expect([total("add"), total("fail")]).toEqual([200, 10]);
  const outbound = { [`outbound ${greeter} add ok`]: 200, [`outbound ${greeter} fail exception`]: 10 };
  await eventually(async () => expect(await requests(app)).toEqual(outbound));
  for (const { sidecar, server } of [v1, v2]) {
    const { add = 0, fail = 0 } = server.stats.requests;
    expect(add, "each of ten connections had the same chance").toBeGreaterThan(0);
    const inbound = { [`inbound ${greeter} add ok`]: add, [`inbound ${greeter} fail exception`]: fail };
    await eventually(async () => expect(await requests(sidecar)).toEqual(inbound));
  }
  for (const sidecar of [app, v1.sidecar, v2.sidecar]) assertSound(sidecar);
});
