import { describe, expect, it } from "vitest";
import { connect } from "../peers/dubbo/client.js";
import { encodeRequest } from "../peers/dubbo/codec.js";
import { greeter, startServer } from "../peers/dubbo/server.js";
import { ended, eventually, type Running, startProxy } from "./harness.js";
import { connectRaw, startEcho } from "./raw.js";

/** Guest memory once all connections are gone and everything that was counted has been told, bytes. */
async function memory(proxy: Running, requests: number): Promise<number> {
  await eventually(async () => {
    expect(await proxy.connections()).toBe(0);
    expect(await proxy.metric("meltemi_requests_total", { direction: "outbound" })).toBe(requests);
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  });
  const bytes = await proxy.metric("meltemi_guest_memory_bytes");
  expect(bytes).toBeGreaterThan(0);
  return bytes;
}

/** A request frame of exactly that many bytes; only its head can be read. */
function frame(bytes: number): Buffer {
  const out = Buffer.alloc(bytes, "fig");
  encodeRequest(1, greeter, "echo").copy(out);
  out.writeUInt32BE(bytes - 16, 12);
  return out;
}

describe.each(["observe", "route"] as const)("%s: the guest's memory", (mode) => {
  const chain = (port: number) =>
    startProxy({
      limits: { frame: "256MiB" },
      ...(mode === "observe"
        ? { endpoints: [port] }
        : { mode, subsets: { v1: port }, routes: [{ match: { "dubbo.tag": { present: false } }, subset: "v1" }] }),
    });

  it("is the same after 20,000 connections as after 2,000", { timeout: 120_000 }, async () => {
    const server = ended(await startServer());
    const proxy = await chain(server.port);
    let made = 0;
    const callUntil = async (count: number) => {
      while (made < count) {
        const n = ++made;
        const client = await connect({ port: proxy.port });
        expect(await client.call(greeter, "add", [n, 1])).toBe(n + 1);
        await client.close();
      }
    };
    const inParallel = (count: number) => Promise.all(Array.from({ length: 20 }, () => callUntil(count)));

    await inParallel(2000);
    const some = await memory(proxy, made);
    await inParallel(20_000);
    expect(await memory(proxy, made)).toBe(some);
    expect(server.stats.connections).toBe(made);
    await proxy.assertSound();
  });

  it("is the same for a frame of 100 MB as for a small one", async () => {
    const echo = await startEcho();
    const proxy = await chain(echo.port);
    let sent = 0;
    const memoryFor = async (bytes: number) => {
      const raw = await connectRaw(proxy.port);
      await raw.send(frame(bytes));
      sent++;
      await eventually(() => expect(raw.count).toBe(bytes));
      raw.end();
      await raw.closed;
      return memory(proxy, sent);
    };
    // To route by metadata, up to limits.head of a frame is read; to observe, its names.
    const small = await memoryFor(mode === "observe" ? 200 : 65_536);
    expect(await memoryFor(100_000_000)).toBe(small);
    expect(await memoryFor(100_000_000)).toBe(small);
    await proxy.assertSound();
  });

  it("is the same after 2,000 idle connections, however often", async () => {
    const server = ended(await startServer());
    const proxy = await chain(server.port);
    let calls = 0;
    const openAndClose = async () => {
      const clients = [];
      for (let i = 0; i < 2000; i++) clients.push(await connect({ port: proxy.port }));
      await eventually(async () => expect(await proxy.connections()).toBe(clients.length));
      // One of them is used, so that there is something to tell.
      expect(await clients[1000]?.call(greeter, "add", [1, 2])).toBe(3);
      await Promise.all(clients.map((client) => client.close()));
      return memory(proxy, ++calls);
    };
    const once = await openAndClose();
    expect(await openAndClose()).toBe(once);
    expect(await openAndClose()).toBe(once);
    await proxy.assertSound();
  });
});
