import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import { encodeHeartbeat, encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { greeter, startServer } from "../../peers/dubbo/server.js";
import { ended, eventually, startProxy } from "../harness.js";
import { connectRaw } from "../raw.js";
import { startScripted } from "./peers.js";

/** Open files that a process may have. */
const files = Number(execFileSync("sh", ["-c", "ulimit -n"], { encoding: "utf8" })) || Number.POSITIVE_INFINITY;

describe("heartbeats", () => {
  it("of a client are answered while nothing else goes on, and pass nobody", async () => {
    const server = await startScripted(() => {});
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] });
    const client = await connect({ port: proxy.port });
    for (let i = 0; i < 20; i++) await client.heartbeat();
    await Promise.all(Array.from({ length: 200 }, () => client.heartbeat()));
    expect(client.unexpected).toBe(0);
    expect(server.sockets.size).toBe(0);
    await eventually(async () => {
      expect(await proxy.metric("meltemi_heartbeats_total", { direction: "outbound" })).toBe(220);
    });
    await client.close();
    await proxy.assertSound();
  });

  it("of a server are answered while nothing else goes on, and between requests", async () => {
    const server = await startScripted(({ id, args }, socket) => {
      socket.write(Buffer.concat([encodeHeartbeat(1001), encodeReply(id, args[0]), encodeHeartbeat(1002)]));
    });
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] });
    const client = await connect({ port: proxy.port });
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    await eventually(() => expect(server.heartbeatReplies).toBe(2));
    const [socket] = server.sockets;
    for (let i = 0; i < 20; i++) {
      socket?.write(encodeHeartbeat(i));
      await eventually(() => expect(server.heartbeatReplies).toBe(3 + i));
    }
    const calls = Array.from({ length: 100 }, (_, i) => client.call(greeter, "echo", [`${i}`]));
    expect(await Promise.all(calls)).toEqual(calls.map((_, i) => `${i}`));
    await eventually(() => expect(server.heartbeatReplies).toBe(222));
    expect(client.unexpected).toBe(0);
    expect(server.sockets.size).toBe(1);
    await client.close();
    await proxy.assertSound();
  });

  it("in both directions stand between frames, however long", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] });
    const raw = await connectRaw(proxy.port);
    const body = Buffer.alloc(1_000_000, "fig");
    for (let i = 0; i < 10; i++) {
      await raw.send(
        Buffer.concat([encodeHeartbeat(100 + i), encodeRequest(i, greeter, "echo", [body]), encodeHeartbeat(200 + i)]),
      );
    }
    await eventually(() => expect(raw.count).toBeGreaterThan(10_000_000));
    await eventually(() => expect(raw.messages()).toHaveLength(30));
    const ids = raw.messages().map(({ id, kind }) => `${kind} ${id}`);
    const expected = Array.from({ length: 10 }, (_, i) => [
      `reply ${i}`,
      `heartbeatReply ${100 + i}`,
      `heartbeatReply ${200 + i}`,
    ]);
    expect(ids.sort()).toEqual(expected.flat().sort());
    raw.end();
    await raw.closed;
    await proxy.assertSound();
  });
});

describe("connections that come and go", () => {
  // Each is a file here, and another one in Envoy.
  const count = files > 12_000 ? 10_000 : 2000;

  it(`leave no memory behind: ${count} at a time, twice`, async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] });
    let made = 0;
    const round = async () => {
      const clients: Awaited<ReturnType<typeof connect>>[] = [];
      while (clients.length < count) {
        clients.push(...(await Promise.all(Array.from({ length: 100 }, () => connect({ port: proxy.port })))));
      }
      await eventually(async () => expect(await proxy.connections()).toBe(count));
      // Each is used, some of them for a request that is never answered.
      const calls = clients.map((client, i) => client.call(greeter, "add", [made + i, 1]));
      const sums = await Promise.all(calls);
      expect(sums.filter((sum, i) => sum !== made + i + 1)).toEqual([]);
      made += count;
      const left = clients
        .slice(0, 100)
        .map((client) => client.call(greeter, "slow", [60_000]).catch(({ name }) => name));
      await eventually(() => expect(server.stats.requests.slow).toBe((made / count) * 100));
      await Promise.all(clients.map((client) => client.close()));
      expect(new Set(await Promise.all(left))).toEqual(new Set(["ConnectionLost"]));
      await eventually(async () => {
        expect(await proxy.connections()).toBe(0);
        expect(await proxy.metric("meltemi_in_flight")).toBe(0);
        expect(await proxy.metric("meltemi_requests_total", { direction: "outbound", status: "ok" })).toBe(made);
      });
      return proxy.metric("meltemi_guest_memory_bytes");
    };
    const once = await round();
    expect(once).toBeGreaterThan(0);
    expect(await round()).toBe(once);
    await proxy.assertSound();
  });
});
