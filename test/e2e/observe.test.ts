import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { ConnectionLost, connect, type DubboClient, RemoteException, StatusError } from "../peers/dubbo/client.js";
import { encodeReply, encodeRequest } from "../peers/dubbo/codec.js";
import { blob, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { ended, eventually, type Row, type Running, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, heartbeatsOf, rowsOf, startTap, type Tap } from "./tap.js";

/** Bodies around the sizes at which frames are read in pieces, up to what does not fit into any buffer. */
const SIZES = [0, 1, 4079, 4080, 4081, 4096, 65_535, 65_536, 1_048_577, 5_000_000];

/** Every method of the peers, each `rounds` times, several calls at a time; checks every reply. */
async function mix(client: DubboClient, rounds: number, sizes: readonly number[] = []): Promise<void> {
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < rounds; i++) {
    calls.push(
      expect(client.call(greeter, "sayHello", [`σύκο ${i}`])).resolves.toBe(`Hello σύκο ${i} from v1`),
      expect(client.call(greeter, "add", [i, 1])).resolves.toBe(i + 1),
      expect(client.call(greeter, "echo", [{ i, list: ["a", i / 2, null] }])).resolves.toEqual({
        i,
        list: ["a", i / 2, null],
      }),
      expect(client.call(greeter, "slow", [i % 20])).resolves.toBe(i % 20),
      expect(client.call(greeter, "fail")).rejects.toThrow(RemoteException),
      expect(client.call(greeter, "crash")).rejects.toThrow(StatusError),
      expect(client.call(greeter, "missing")).rejects.toMatchObject({ status: 70 }),
      expect(client.call("no.such.Service", "hi")).rejects.toMatchObject({ status: 60 }),
      expect(client.call(orders, "create", [`fig ${i}`, i])).resolves.toMatchObject({ item: `fig ${i}` }),
      client.oneway(greeter, "notify", [`fig ${i}`]),
      client.heartbeat(),
    );
  }
  await Promise.all(calls);
  for (const size of sizes) {
    const bytes = blob(size);
    expect(bytes.equals((await client.call(greeter, "blob", [size])) as Buffer), `reply of ${size} bytes`).toBe(true);
    const echoed = (await client.call(greeter, "echo", [bytes])) as Buffer;
    expect(bytes.equals(echoed), `request of ${size} bytes`).toBe(true);
  }
}

/** What `mix` comes to: requests by service, method and status. */
function mixed(rounds: number, sizes: readonly number[] = []): Record<string, number> {
  return {
    [`${greeter} sayHello ok`]: rounds,
    [`${greeter} add ok`]: rounds,
    [`${greeter} echo ok`]: rounds + sizes.length,
    [`${greeter} slow ok`]: rounds,
    [`${greeter} fail exception`]: rounds,
    [`${greeter} crash server_error`]: rounds,
    [`${greeter} missing service_error`]: rounds,
    "no.such.Service hi service_not_found": rounds,
    [`${orders} create ok`]: rounds,
    [`${greeter} notify oneway`]: rounds,
    ...(sizes.length > 0 && { [`${greeter} blob ok`]: sizes.length }),
  };
}

function counts(rows: readonly Row[]): Record<string, number> {
  return Object.fromEntries(rows.map((row) => [`${row.service} ${row.method} ${row.status}`, row.requests]));
}

/** A Dubbo server behind an Envoy, with a tap on both sides of it. */
async function chain(options: { concurrency?: number; direction?: "inbound"; log?: { requests: number } } = {}) {
  const server = ended(await startServer());
  const behind = await startTap(server.port);
  const { concurrency = 1, ...rules } = options;
  const proxy = await startProxy({ endpoints: [behind.port], ...rules }, { concurrency });
  const before = await startTap(proxy.port);
  return { server, behind, proxy, before };
}

/** Envoy passed every byte as it was, and counted what the taps saw. */
async function agree(proxy: Running, before: Tap, behind: Tap, direction = "outbound"): Promise<Row[]> {
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  const expected = rowsOf(before.connections, direction);
  await eventually(async () => expect(await proxy.requests()).toEqual(expected));
  await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
  const metrics = await proxy.metrics();
  expect(metrics.scalars.get("meltemi_decode_errors_total")).toBeUndefined();
  expect(metrics.scalars.get("meltemi_unmatched_responses_total")).toBeUndefined();
  await proxy.assertSound();
  return expected;
}

describe("observe", () => {
  it("counts every request by service, method and status, and passes every byte", async () => {
    const { server, behind, proxy, before } = await chain();
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect({ port: before.port })));
    await Promise.all(clients.map((client, i) => mix(client, 20, i === 0 ? SIZES : [])));
    await Promise.all(clients.map((client) => client.close()));

    expect(server.stats.oneway).toBe(100);
    const rows = await agree(proxy, before, behind);
    expect(counts(rows)).toEqual(mixed(100, SIZES));
    expect(heartbeatsOf(before.connections)).toBe(200);
    const labels = { protocol: "dubbo", direction: "outbound" };
    expect(await proxy.metric("meltemi_heartbeats_total", labels)).toBe(200);
  });

  it("is right with two workers too", async () => {
    const { behind, proxy, before } = await chain({ concurrency: 2, direction: "inbound" });
    const clients = await Promise.all(Array.from({ length: 16 }, () => connect({ port: before.port })));
    await Promise.all(clients.map((client) => mix(client, 10)));
    await Promise.all(clients.map((client) => client.close()));
    expect(counts(await agree(proxy, before, behind, "inbound"))).toEqual(mixed(160));
    const workers = Object.entries(await proxy.envoy.stats())
      .filter(([name]) => /^listener\..*worker_\d\.downstream_cx_total$/.test(name))
      .map(([, connections]) => connections);
    expect(workers, "connections of each worker").toEqual([expect.toSatisfy(Boolean), expect.toSatisfy(Boolean)]);
  });

  it("tells durations", async () => {
    const { proxy, before } = await chain();
    const client = await connect({ port: before.port });
    const then = performance.now();
    await Promise.all([client.call(greeter, "slow", [300]), client.call(greeter, "slow", [300])]);
    const took = performance.now() - then;
    await eventually(async () => {
      const { histograms } = await proxy.metrics();
      const [histogram] = histograms.get("meltemi_request_duration_milliseconds") ?? [];
      expect(histogram?.labels).toMatchObject({ service: greeter, method: "slow", status: "ok" });
      expect(histogram?.count).toBe(2);
      // Envoy sorts samples into bins that are at most ten percent wide, and shows the middle.
      expect((histogram?.sum ?? 0) / 2).toBeGreaterThan(280);
      expect((histogram?.sum ?? 0) / 2).toBeLessThan(took * 1.1);
    });
    await client.close();
  });

  it("shows requests that are in flight", async () => {
    const { server, proxy, before } = await chain();
    const client = await connect({ port: before.port });
    const calls = [1, 2].map(() => client.call(greeter, "slow", [60_000], { timeoutMs: 60_000 }));
    const outcomes = Promise.allSettled(calls);
    const labels = { protocol: "dubbo", direction: "outbound", service: greeter, method: "slow" };
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight", labels)).toBe(2));
    expect(await proxy.requests()).toEqual([]);
    await server.stop();
    await outcomes;
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight", labels)).toBe(0));
  });

  it("counts what a server leaves unanswered", async () => {
    const { server, proxy, before } = await chain();
    const client = await connect({ port: before.port });
    await client.call(greeter, "add", [1, 2]);
    const calls = [1, 2, 3].map(() => client.call(greeter, "slow", [60_000], { timeoutMs: 60_000 }));
    const outcomes = Promise.all(calls.map((call) => expect(call).rejects.toThrow(ConnectionLost)));
    await eventually(() => expect(server.stats.requests.slow).toBe(3));
    await server.stop();
    await outcomes;
    await eventually(async () =>
      expect(counts(await proxy.requests())).toEqual({
        [`${greeter} add ok`]: 1,
        [`${greeter} slow upstream_gone`]: 3,
      }),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });

  it("counts what a client does not wait for", async () => {
    const { server, proxy } = await chain();
    const client = await connect({ port: proxy.port });
    const calls = [1, 2].map(() => client.call(greeter, "slow", [60_000], { timeoutMs: 60_000 }));
    const outcomes = Promise.allSettled(calls);
    await eventually(() => expect(server.stats.requests.slow).toBe(2));
    await client.close();
    await outcomes;
    await eventually(async () =>
      expect(counts(await proxy.requests())).toEqual({ [`${greeter} slow client_gone`]: 2 }),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  });

  it("counts what cannot even reach a server", async () => {
    const server = await startServer();
    const proxy = await startProxy({ endpoints: [server.port] });
    await server.stop();
    const client = await connect({ port: proxy.port });
    // Envoy may have closed the connection before the request leaves.
    await expect(client.call(greeter, "add", [1, 2])).rejects.toThrow(ConnectionLost);
    await client.closed;
    await proxy.assertSound();
    expect((await proxy.requests()).every(({ status }) => status === "upstream_gone")).toBe(true);
  });

  it("counts the reply to a client that has nothing more to say", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("end", () => socket.end(encodeReply(7, "fig"))).resume();
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const proxy = await startProxy({ endpoints: [(server.address() as AddressInfo).port] });
    const raw = await connectRaw(proxy.port);
    await raw.send(encodeRequest(7, greeter, "sayHello", ["fig"]));
    raw.end();
    await raw.closed;
    expect(raw.messages()).toMatchObject([{ id: 7, value: "fig" }]);
    await eventually(async () => expect(counts(await proxy.requests())).toEqual({ [`${greeter} sayHello ok`]: 1 }));
  });

  it("names the first request of a connection in the access log", async () => {
    const { proxy } = await chain();
    const [first, second] = [await connect({ port: proxy.port }), await connect({ port: proxy.port })];
    await first.heartbeat();
    await first.call(greeter, "add", [1, 2]);
    await first.call(greeter, "sayHello", ["fig"]);
    await second.call(orders, "get", [1]);
    await first.close();
    await second.close();
    await eventually(() =>
      expect(proxy.accessLog().map(({ service, method, cluster }) => [service, method, cluster])).toEqual([
        [greeter, "add", "greeter"],
        [orders, "get", "greeter"],
      ]),
    );
  });

  it("writes one line for one in so many requests", async () => {
    const { behind, proxy, before } = await chain({ log: { requests: 1 } });
    const client = await connect({ port: before.port });
    await client.call(greeter, "add", [1, 2]);
    await client.oneway(greeter, "notify", ["fig"]);
    await expect(client.call(greeter, "fail")).rejects.toThrow(RemoteException);
    await client.close();
    await agree(proxy, before, behind);
    const [passed] = before.connections;
    const line = (method: string, status: string, i: number, response: number | undefined) => ({
      ...{ meltemi: "request", protocol: "dubbo", direction: "outbound", service: greeter, method, status },
      ...{ id: String(i + 1), duration_ms: expect.any(Number) },
      ...{ request_bytes: passed?.fromClient.frames[i]?.length, response_bytes: response },
    });
    const [sum, refusal] = (passed?.fromServer.frames ?? []).map(({ length }) => length);
    expect(proxy.lines("request")).toEqual([
      line("add", "ok", 0, sum),
      line("notify", "oneway", 1, 0),
      line("fail", "exception", 2, refusal),
    ]);

    const sampled = await chain({ log: { requests: 10 } });
    const other = await connect({ port: sampled.before.port });
    await Promise.all(Array.from({ length: 95 }, (_, i) => other.call(greeter, "add", [i, i])));
    await other.close();
    await agree(sampled.proxy, sampled.before, sampled.behind);
    expect(sampled.proxy.lines("request")).toHaveLength(9);
  });
});
