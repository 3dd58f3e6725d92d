import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { describeModule } from "../../../tools/model/module.js";
import { defaultModule } from "../../../tools/paths.js";
import { connectTrpc, greeter, startTrpcServer } from "../../peers/trpc.js";
import { http2 } from "../bridge/peers.js";
import { ended, eventually, type Running, startProxy } from "../harness.js";
import { startTap, type Tap } from "../tap.js";
import { libraries } from "./libraries.js";
import { type Peer, peers } from "./peers.js";
import { many, tally } from "./support.js";

/* The same policies for every protocol: what Envoy does is not Dubbo's alone. */

/** A server of no protocol, that does the same with whatever comes. It ends with the test. */
async function startDeaf(onData: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  let heard = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => {
      heard++;
      onData(socket);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    /** How often bytes came. */
    get heard() {
      return heard;
    },
  };
}

/** Requests by direction and status, of everything that is not zero. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { direction, status, requests } of await proxy.requests()) {
    const name = `${direction} ${status}`;
    counts[name] = (counts[name] ?? 0) + requests;
  }
  return counts;
}

const spoken = describeModule(defaultModule).protocols;

it("are proven for every protocol of the module", () => {
  expect([...new Set(peers.map(({ protocol }) => protocol))].sort()).toEqual(spoken.map(({ name }) => name).sort());
});

it("write what a route changes into replies as well", async () => {
  const server = ended(await startTrpcServer());
  const headers = { request: { set: { a: "1", b: "2" } }, response: { set: { c: "3" }, remove: ["a"] } };
  const endpoints = [server.port];
  const proxy = await startProxy({ mode: "bridge", protocol: "trpc", endpoints, routes: [{ headers }] });
  const client = await connectTrpc(proxy.port);
  // The server answers with what it was told.
  const { info, body } = await client.call(`/${greeter}/Echo`, "fig", { a: "0", d: "4" });
  expect([body, info]).toEqual(["fig from v1", { b: "2", c: "3", d: "4" }]);
  await client.close();
  await proxy.assertSound();
});

const heartbeats = (protocol: string) => spoken.some((it) => it.name === protocol && it.heartbeats);

it("share a connection to the server over HTTP/2 without heartbeats as well, whatever their ids", async () => {
  const carry = async (peer: Peer) => {
    const { protocol, key } = peer;
    const server = ended(await peer.startServer("v1"));
    const routes = [
      { match: { [key]: "1" }, ...(!peer.unwritten && { headers: { response: { set: { [key]: "2" } } } }) },
    ];
    const proxy = await startProxy({ mode: "bridge", protocol, endpoints: [server.port], routes }, http2);
    const clients = await Promise.all([1, 2, 3].map(() => peer.connect(proxy.port)));
    const texts = Array.from({ length: 100 }, (_, i) => String(i));
    const replies = clients.map((client, c) => Promise.all(texts.map((text) => client.call(1, `${text}/${c}`))));
    expect(await Promise.all(replies)).toEqual(clients.map((_, c) => texts.map((text) => `${text}/${c} from v1`)));
    expect(server.connections).toBe(1);
    for (const client of clients) await client.close();
    await eventually(async () => expect(await counted(proxy)).toEqual({ "outbound ok": 300, "inbound ok": 300 }));
    await proxy.assertSound();
  };
  const others = peers.filter(({ protocol }) => !heartbeats(protocol));
  const failures = await Promise.all(others.map((peer) => carry(peer).catch((error) => `${peer.name}: ${error}`)));
  expect(failures.filter(Boolean)).toEqual([]);
});

describe.each([...peers, ...(await libraries())].map((peer) => [peer.name, peer] as const))("%s", (_, peer) => {
  const { protocol, key, errors, refused } = peer;
  const calls = 10;
  const n = (peer.clients ?? 3) * calls;

  it.skipIf(peer.missing)(
    `is routed by ${key}, request by request; what goes wrong is an error of its own${peer.missing ? `: ${peer.missing}` : ""}`,
    async () => {
      const [v1, v2] = [ended(await peer.startServer("v1")), ended(await peer.startServer("v2"))];
      const mute = await startDeaf(() => {});
      const breaking = await startDeaf((socket) => socket.destroy());
      const back: Tap = await startTap(() => proxy.port, { dubbo: false });
      const at = (value: number) => ({ match: { [key]: String(value) } });
      const proxy: Running = await startProxy({
        ...{ mode: "bridge", protocol },
        subsets: { v1: v1.port, v2: v2.port, mute: mute.port, half: [breaking.port, v1.port], back: back.port },
        authorization: [{ action: "DENY", ...at(9) }],
        routes: [
          { ...at(1), subset: "v1" },
          { match: { [key]: { oneOf: ["2", "3"] } }, subset: "v2" },
          { ...at(4), subset: "v1", fault: { abort: { httpStatus: 503 } } },
          { ...at(5), subset: "mute", timeout: "200ms" },
          { ...at(-7), subset: "v1", retries: { attempts: 2, retryOn: "5xx" } },
          { ...at(8), subset: "half", retries: { attempts: 1 } },
          { ...at(10), subset: "v1", rateLimit: { requests: 1, per: "1h" } },
          // Comes back as what it has become.
          peer.unwritten
            ? { ...at(11), subset: "v2", headers: { request: { set: { [peer.unwritten]: "2" } } } }
            : { ...at(11), subset: "back", headers: { request: { set: { [key]: "2" } } } },
        ],
      });
      const clients = await Promise.all(Array.from({ length: n / calls }, () => peer.connect(proxy.port)));

      /** Who answers all calls with this value, or the errors. On a busy machine either of two timeouts may come first. */
      const ask = async (value: number, times = calls) => {
        const outcomes = clients.map((client, c) =>
          many(times, async (i) => {
            const text = `${value}/${c}/${i}`;
            const reply = String(await client.call(value, text));
            return reply.startsWith(`${text} from `) ? reply.slice(text.length + 6) : reply;
          }),
        );
        const told = (await Promise.all(outcomes)).flat().map(String);
        return tally(told.map((it) => it.replace(/(upstream request|downstream duration) timeout$/, "timeout")));
      };
      const expected: [number, Record<string, number>][] = [
        [1, { v1: n }],
        [2, { v2: n }],
        [3, { v2: n }],
        [4, { [errors.unavailable]: n }],
        [5, { [errors.timeout]: n }],
        [6, { [errors.noRoute]: n }],
        ...(refused ? [[-7, { [refused.error]: n }] satisfies [number, object]] : []),
        [9, { [errors.denied]: n }],
        [10, { v1: 1, [errors.limited]: n - 1 }],
        [11, { v2: n }],
      ];
      const outcomes = await Promise.all(expected.map(([value]) => ask(value)));
      expect(outcomes).toEqual(expected.map(([, counts]) => counts));
      expect(mute.heard).toBeGreaterThan(0);
      // With heartbeats, all share a connection to the server; else each request has one while it lasts.
      if (v2.connections !== undefined && heartbeats(protocol)) expect(v2.connections).toBe(1);
      else if (v2.connections !== undefined) expect(v2.connections).toBeGreaterThan(1);
      // The connections go on, and one instance hides that the other breaks off.
      for (let i = 0; i < 10; i++) expect(await ask(8, 1)).toEqual({ v1: clients.length });
      expect(breaking.heard).toBeGreaterThan(4);
      for (const client of clients) await client.close();
      await eventually(async () => {
        const twice = peer.unwritten ? 0 : n;
        const ok = 4 * n + 10 * clients.length + 1 + twice;
        expect(await counted(proxy)).toEqual({
          ...{ "outbound ok": ok, "inbound ok": ok, "inbound upstream_gone": expect.any(Number) },
          ...{ "outbound timeout": n, "inbound client_gone": n, "outbound unavailable": n, "outbound no_route": n },
          ...{ "outbound denied": n, "outbound rate_limited": n - 1 },
          // Three tries each.
          ...(refused && { [`outbound ${refused.status}`]: n, [`inbound ${refused.status}`]: 3 * n }),
        });
      });
      expect(await proxy.metric("meltemi_unwritten_changes_total")).toBe(peer.unwritten ? n : 0);
      expect(await proxy.metric("meltemi_in_flight")).toBe(0);
      await proxy.assertSound();
    },
  );
});
