import { describe, expect, it } from "vitest";
import { connectTrpc, startTrpcServer, streams, greeter as unary } from "../../peers/trpc.js";
import { ended, eventually, type Running, startProxy } from "../harness.js";
import { http2 } from "./peers.js";

/*
 * Streams of tRPC through a bridge: one HTTP stream each, in both directions at once, from the client's opening to the
 * server's end.
 */

const protocol = "trpc";
const stream = (method: string) => `/${streams}/${method}`;

/** Which requests lift and lower counted, as `outbound Echo ok`. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { direction, method, status, requests } of await proxy.requests()) {
    const name = `${direction} ${method} ${status}`;
    counts[name] = (counts[name] ?? 0) + requests;
  }
  return counts;
}

const both = (counts: Record<string, number>) =>
  Object.fromEntries(
    Object.entries(counts).flatMap(([name, n]) => [
      [`outbound ${name}`, n],
      [`inbound ${name}`, n],
    ]),
  );

describe.each([
  ["HTTP/1.1, a connection to the server each", {}, 1],
  ["HTTP/2, all on one connection to the server", http2, 2],
])("over %s", (_, options, http) => {
  it("they carry data both ways, of several clients with the same ids, beside calls", async () => {
    const server = ended(await startTrpcServer());
    const proxy = await startProxy({ mode: "bridge", protocol, endpoints: [server.port] }, options);
    const clients = await Promise.all([1, 2, 3].map(() => connectTrpc(proxy.port)));
    await Promise.all(
      clients.map(async (client, c) => {
        const texts = Array.from({ length: 200 }, (_, i) => `${c}/${i}`);
        const long = `${c} ${"Μελτέμι 🍵".repeat(50_000)}`;
        const [echoed, joined, broken, missing, large, ...replies] = await Promise.all([
          client.stream(stream("Echo"), texts),
          client.stream(stream("Join"), texts),
          client.stream(stream("Break"), [`fig ${c}`]),
          client.stream("/trpc.meltemi.demo.Missing/Echo", texts),
          client.stream(stream("Echo"), [long, "fig", long]),
          ...texts.map((text) => client.call(`/${unary}/Echo`, text)),
        ]);
        expect(echoed).toEqual({ ret: 0, message: "", texts });
        expect(joined).toEqual({ ret: 0, message: "", texts: [texts.join("")] });
        expect(broken).toEqual({ ret: 1000, message: "broken off", texts: [`fig ${c}`] });
        expect(missing).toEqual({ ret: 12, message: "no /trpc.meltemi.demo.Missing/Echo", texts: [] });
        expect(large?.texts.map((text) => text === long)).toEqual([true, false, true]);
        expect(replies.map((reply) => "body" in reply && reply.body)).toEqual(texts.map((text) => `${text} from v1`));
      }),
    );
    if (http === 2) expect(server.connections).toBe(1);
    await eventually(async () => {
      // The calls' method is Echo, too.
      const counts = { "Echo ok": 606, "Join ok": 3, "Break stream_unknown": 3, "Echo server_nofunc": 3 };
      expect(await counted(proxy)).toEqual(both(counts));
    });
    for (const client of clients) await client.close();
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    expect(server.streams).toBe(0);
    await proxy.assertSound();
  });

  it("one that its client gives up ends at the server, and no other gets what is said of it later", async () => {
    const server = ended(await startTrpcServer());
    const proxy = await startProxy({ mode: "bridge", protocol, endpoints: [server.port] }, options);
    const texts = Array.from({ length: 20 }, (_, i) => `fig ${i}`);
    for (let round = 0; round < 3; round++) {
      // All have the same ids.
      const clients = await Promise.all(texts.map(() => connectTrpc(proxy.port)));
      await Promise.all(
        clients.map(async (client, c) => {
          const own = texts.map((text) => `${round}/${c} ${text}`);
          expect((await client.abandon(stream("Echo"), own)).texts).toEqual(own);
          expect((await client.stream(stream("Echo"), own)).texts).toEqual(own);
          expect((await client.call(`/${unary}/Echo`, own[0])).body).toBe(`${own[0]} from v1`);
          await client.close();
        }),
      );
    }
    await eventually(() => expect(server.streams).toBe(0));
    await eventually(async () =>
      expect(await counted(proxy)).toEqual(both({ "Echo ok": 120, "Echo client_gone": 60 })),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });
});

it("they are routed by what opens them, and end with what Envoy says: to the client, and to the server", async () => {
  const [v1, v2] = [ended(await startTrpcServer("v1")), ended(await startTrpcServer("v2"))];
  const is = (value: string) => ({ match: { "trpc-env": value } });
  const proxy = await startProxy({
    mode: "bridge",
    protocol,
    subsets: { v1: v1.port, v2: v2.port },
    authorization: [{ action: "DENY", ...is("denied") }],
    routes: [
      { ...is("gray"), subset: "v2" },
      { ...is("fault"), subset: "v1", fault: { abort: { httpStatus: 503 } } },
      { ...is("once"), subset: "v1", rateLimit: { requests: 1, per: "1h" } },
      // Whose end never comes.
      { ...is("timed"), subset: "v1", timeout: "1s" },
      { ...is("denied"), subset: "v1" },
      { match: { method: "Notified" }, subset: "v1" },
      { match: { method: "Echo", "trpc-env": { present: false } }, subset: "v1" },
    ],
  });
  const client = await connectTrpc(proxy.port);
  const open = async (env: string) => {
    const { ret, message, texts } = await client.stream(stream("Echo"), ["fig"], { "trpc-env": env });
    return ret ? `${ret} ${message}` : texts;
  };
  const streamsOf = () => [v1.connections, v2.connections];
  expect(await open("gray")).toEqual(["fig"]);
  expect(streamsOf()).toEqual([0, 1]);
  expect(await open("once")).toEqual(["fig"]);
  const refused = {
    fault: "141 HTTP 503: fault filter abort",
    once: "23 HTTP 429: local_rate_limited",
    denied: "41 HTTP 403: RBAC: access denied",
    other: "11 HTTP 404: no route",
  };
  for (const [env, error] of Object.entries(refused)) {
    expect(await open(env)).toBe(error);
    expect((await client.call(`/${unary}/Notified`, "fig")).body).toBe("0");
  }
  expect(await client.abandon(stream("Wait"), ["fig"], { "trpc-env": "timed" })).toMatchObject({
    ret: 141,
    message: expect.stringContaining("reset"),
  });
  expect((await client.call(`/${unary}/Notified`, "fig")).body).toBe("0");
  await eventually(() => expect([v1.streams, v2.streams]).toEqual([0, 0]));
  expect((await client.stream(stream("Echo"), ["fig", "leaf"])).texts).toEqual(["fig", "leaf"]);
  await client.close();
  await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
  await proxy.assertSound();
});
