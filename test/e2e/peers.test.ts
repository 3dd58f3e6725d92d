import { once } from "node:events";
import { type AddressInfo, connect as connectSocket, createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  CallTimeout,
  ConnectionLost,
  connect,
  type DubboClient,
  RemoteException,
  StatusError,
} from "../peers/dubbo/client.js";
import { decode, encodeRequest, FrameCutter, type Message } from "../peers/dubbo/codec.js";
import { blob, type DubboServer, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { buildJava, type Java } from "../peers/dubbo-java.js";

/* The peers among themselves, without a proxy: what fails here is not the proxy's doing. */

const java: Java | null = await buildJava();

/** Writes the pieces one after the other on a connection of their own, and reads one message. */
async function exchange(port: number, pieces: Uint8Array[]): Promise<Message | undefined> {
  const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  for (const piece of pieces) await new Promise((written) => socket.write(piece, written));
  const cutter = new FrameCutter();
  for await (const chunk of socket) {
    const [frame] = cutter.push(chunk);
    if (frame) return decode(frame);
  }
  return undefined;
}

describe("Node client, Node server", () => {
  let server: DubboServer;
  let client: DubboClient;
  beforeAll(async () => {
    server = await startServer({ version: "v7" });
    client = await connect({ port: server.port });
  });
  afterAll(async () => {
    await client.close();
    await server.stop();
  });

  it.each([
    ["text", "σύκο 🍵".repeat(20_000)],
    ["no text", ""],
    ["zero", 0],
    ["a negative number", -5],
    ["a large number", 2 ** 52],
    ["a fraction", 2.5],
    ["true", true],
    ["false", false],
    ["null", null],
    ["a date", new Date(1_700_000_000_123)],
    ["a list", ["a", 1, null, [true]]],
    ["an object", { a: 1, b: { c: ["d"] } }],
    ["bytes", blob(100_000)],
  ])("echoes %s", async (_, value) => {
    expect(await client.call(greeter, "echo", [value])).toEqual(value);
  });

  it("tells who answered", async () => {
    expect(await client.call(greeter, "sayHello", ["fig"])).toBe("Hello fig from v7");
  });

  it("answers each of many calls at a time by its own id, in whatever order they finish", async () => {
    const done: number[] = [];
    const waits = [120, 60, 1];
    const slow = waits.map((ms) => client.call(greeter, "slow", [ms]).then((reply) => done.push(reply as number)));
    const sums = Array.from({ length: 200 }, (_, i) => client.call(greeter, "add", [i, 1000]));
    expect(await Promise.all(sums)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1000));
    await Promise.all(slow);
    expect(done).toEqual([1, 60, 120]);
  });

  it("returns large replies whole", async () => {
    expect(blob(3_000_000).equals((await client.call(greeter, "blob", [3_000_000])) as Buffer)).toBe(true);
  });

  it("carries attachments", async () => {
    const options = { attachments: { "dubbo.tag": "gray" } };
    expect(await client.call(greeter, "attachment", ["dubbo.tag"], options)).toBe("gray");
    expect(await client.call(greeter, "attachment", ["dubbo.tag"])).toBeNull();
  });

  it("keeps orders", async () => {
    const order = (await client.call(orders, "create", ["fig", 3])) as { id: number };
    expect(order).toMatchObject({ item: "fig", count: 3, version: "v7" });
    expect(await client.call(orders, "get", [order.id])).toEqual(order);
    expect(await client.call(orders, "get", [-1])).toBeNull();
  });

  it("tells an exception from a failure", async () => {
    await expect(client.call(greeter, "fail")).rejects.toThrow(RemoteException);
    await expect(client.call(greeter, "fail")).rejects.toThrow("refused by v7");
    await expect(client.call(greeter, "crash")).rejects.toMatchObject({ name: "StatusError", status: 80 });
    await expect(client.call(greeter, "missing")).rejects.toMatchObject({ name: "StatusError", status: 70 });
    await expect(client.call("no.such.Service", "hi")).rejects.toMatchObject({ name: "StatusError", status: 60 });
  });

  it("counts one-way calls, which have no reply", async () => {
    const before = server.stats.oneway;
    await client.oneway(greeter, "notify", ["fig"]);
    await client.oneway(greeter, "notify", ["fig"]);
    expect(await client.call(greeter, "notified", ["fig"])).toBe(2);
    expect(server.stats.oneway - before).toBe(2);
    expect(client.unexpected).toBe(0);
  });

  it("answers heartbeats", async () => {
    const before = server.stats.heartbeats;
    await client.heartbeat();
    expect(server.stats.heartbeats - before).toBe(1);
  });

  it("gives a call up after its time, and counts the reply that comes too late", async () => {
    const own = await connect({ port: server.port });
    await expect(own.call(greeter, "slow", [50], { timeoutMs: 5 })).rejects.toThrow(CallTimeout);
    await expect.poll(() => own.unexpected).toBe(1);
    await own.close();
  });

  it("fails what waits when the connection is lost, and what comes after", async () => {
    const own = await startServer();
    const lost = await connect({ port: own.port });
    const call = lost.call(greeter, "slow", [60_000]);
    const outcome = expect(call).rejects.toThrow(ConnectionLost);
    await own.stop();
    await outcome;
    await expect(lost.call(greeter, "add", [1, 2])).rejects.toThrow(ConnectionLost);
    await expect(connect({ port: own.port })).rejects.toThrow(ConnectionLost);
  });

  it("reads requests cut at every byte", async () => {
    const pieces = [...encodeRequest(5, greeter, "add", [2, 3])].map((byte) => Uint8Array.of(byte));
    expect(await exchange(server.port, pieces)).toEqual({ kind: "reply", id: 5, status: 20, value: 5, error: null });
  });

  it("answers a request that cannot be read, by all 64 bits of its id", async () => {
    const request = encodeRequest(1, greeter, "echo", [{ $class: "[[I", $: [[1]] }]);
    request.writeBigInt64BE(-1536029936762484635n, 4);
    expect(await exchange(server.port, [request])).toMatchObject({ id: "-1536029936762484635", status: 40 });
  });

  it("ends connections that do not speak Dubbo", async () => {
    const socket = connectSocket({ port: server.port, host: "127.0.0.1" });
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    socket.resume();
    await once(socket, "close");

    const web = createServer((peer) => peer.on("error", () => {}).end("HTTP/1.1 400 Bad Request\r\n\r\n")).listen(0);
    await once(web, "listening");
    const lost = await connect({ port: (web.address() as AddressInfo).port });
    await lost.closed;
    await expect(lost.call(greeter, "add", [1, 2])).rejects.toThrow("not a Dubbo frame");
    web.close();
  });
});

describe.runIf(java)("Java", () => {
  let provider: Awaited<ReturnType<Java["provider"]>>;
  beforeAll(async () => {
    provider = await (java as Java).provider({ version: "j1" });
  }, 60_000);
  afterAll(() => provider.stop());

  it("consumer, Java provider", { timeout: 60_000 }, async () => {
    const checks = await (java as Java).consumer("127.0.0.1", provider.port);
    expect(checks.length).toBeGreaterThan(20);
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
  });

  it("consumer, Node server", { timeout: 60_000 }, async () => {
    const server = await startServer();
    const checks = await (java as Java).consumer("127.0.0.1", server.port);
    await server.stop();
    // What the Node server does not have: the interface with Java's own types, generic calls, and groups of a service.
    const missing = ["object", "no object", "enum", "overload", "every kind", "group and version", "generic"];
    expect(checks.filter(({ ok, name }) => ok === missing.includes(name))).toEqual([]);
  });

  it("provider, Node client", { timeout: 60_000 }, async () => {
    const client = await connect({ port: provider.port });
    const object = ($class: string, $: unknown) => ({ $class, $abstractClass: "java.lang.Object", $ });
    expect(await client.call(greeter, "sayHello", ["σύκο 🍵"])).toBe("Hello σύκο 🍵 from j1");
    expect(await client.call(greeter, "add", [2, 3])).toBe(5);
    expect(await client.call(greeter, "echo", [object("java.lang.String", "")])).toBe("");
    expect(await client.call(greeter, "echo", [object("java.lang.Long", 2 ** 52)])).toBe(2 ** 52);
    expect(await client.call(greeter, "echo", [object("java.util.HashMap", { a: ["b", 1] })])).toEqual({ a: ["b", 1] });
    expect(blob(1_000_000).equals((await client.call(greeter, "blob", [1_000_000])) as Buffer)).toBe(true);
    expect(await client.call(greeter, "attachment", ["trace"], { attachments: { trace: "fig" } })).toBe("fig");
    const gray = { attachments: { group: "gray", version: "2.0.0" } };
    expect(await client.call(greeter, "sayHello", ["fig"], gray)).toBe("Hello fig from j1 gray 2.0.0");
    await expect(client.call(greeter, "fail")).rejects.toThrow(RemoteException);
    await expect(client.call(greeter, "fail")).rejects.toThrow("refused by j1");
    await expect(client.call("no.such.Service", "hi")).rejects.toThrow(StatusError);
    await client.oneway(greeter, "notify", ["fig"]);
    await expect.poll(() => client.call(greeter, "notified", ["fig"])).toBe(1);
    const all = Array.from({ length: 100 }, (_, i) => client.call(greeter, "add", [i, 1]));
    expect(await Promise.all(all)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    await client.heartbeat();
    await client.close();
  });
});
