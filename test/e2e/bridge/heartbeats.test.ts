import { expect, it } from "vitest";
import { connectPingPong, startPingPongServer } from "../../peers/pingpong.js";
import { connectBolt, dialects, startBoltServer } from "../../peers/sofabolt.js";
import { ended, eventually, startProxy } from "../harness.js";

/* Heartbeats of other protocols than Dubbo: each leg answers those that come to it, and none crosses. */

it("SOFABolt's are answered in the dialect in which they come", async () => {
  const server = ended(await startBoltServer());
  const proxy = await startProxy({ mode: "bridge", protocol: "sofabolt", endpoints: [server.port] });
  const clients = await Promise.all(dialects.map((dialect) => connectBolt(proxy.port, dialect)));
  await Promise.all(clients.map((client) => client.heartbeat()));
  // Before there is a connection to the server, and while there is one.
  expect(server.connections).toBe(0);
  await Promise.all(
    clients.map(async (client) => {
      const calls = Array.from({ length: 20 }, (_, i) => client.call("hello", `fig ${i}`));
      await Promise.all([client.heartbeat(), client.heartbeat()]);
      expect(await Promise.all(calls)).toEqual(calls.map((_, i) => `fig ${i} from v1`));
    }),
  );
  for (const client of clients) await client.close();
  await eventually(async () =>
    expect(await proxy.metric("meltemi_heartbeats_total", { direction: "outbound" })).toBe(9),
  );
  await proxy.assertSound();
});

it("pingpong's are answered on both sides, whoever asks", async () => {
  const server = ended(await startPingPongServer());
  const proxy = await startProxy({ mode: "bridge", protocol: "pingpong", endpoints: [server.port] });
  const client = await connectPingPong(proxy.port);
  await client.heartbeat();
  expect((await client.call("fig")).body).toBe("fig from v1");
  await server.heartbeat();
  await client.heartbeat();
  expect((await client.call("fig", { service: "abc" })).body).toBe("fig from v1");
  await client.close();
  await eventually(async () => {
    const counted = (direction: string) => proxy.metric("meltemi_heartbeats_total", { direction });
    expect([await counted("outbound"), await counted("inbound")]).toEqual([2, 1]);
  });
  await proxy.assertSound();
});
