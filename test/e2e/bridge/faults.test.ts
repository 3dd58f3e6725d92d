import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import { encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { blob, greeter, startServer } from "../../peers/dubbo/server.js";
import { ended, eventually, type ProxyOptions, type Running, startProxy } from "../harness.js";
import { connectRaw } from "../raw.js";
import { failure, http1, type Request, shuffled, startScripted, tally } from "./peers.js";

/*
 * Each request is answered once, whatever happens: by its reply, by the protocol's own error, or by the end of the
 * connection where a part of a reply is with the client already.
 */

/** SERVER_ERROR of Dubbo, which stands for everything that is no fault of the request. */
const unavailable = "StatusError 80";

const bridge = (port: number, rules: object = {}) => startProxy({ mode: "bridge", endpoints: [port], ...rules });

/** The windows that Envoy has by default. */
const ownWindows: ProxyOptions = {
  change: (bootstrap) =>
    JSON.parse(JSON.stringify(bootstrap), (key, value) =>
      /^initial_(stream|connection)_window_size$/.test(key) ? undefined : value,
    ),
};

/** Nothing is left of any request, and Envoy is well. */
async function settled(proxy: Running): Promise<void> {
  await eventually(async () => {
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    expect((await proxy.envoy.stats())["http.meltemi.downstream_rq_active"]).toBe(0);
  });
  await proxy.assertSound();
}

describe("a server that", () => {
  const endings: [string, (socket: Socket) => void][] = [
    ["closes", (socket) => socket.destroy()],
    ["resets", (socket) => socket.resetAndDestroy()],
    ["half closes", (socket) => socket.end()],
  ];

  it.each(endings)(
    "%s its connection with requests in flight: each gets an error, and the next a reply",
    async (_, end) => {
      let held = 0;
      const server = await startScripted(({ id, method, args }, socket) => {
        if (method === "echo") socket.write(encodeReply(id, args[0]));
        else if (++held === 200) end(socket);
      });
      const proxy = await bridge(server.port);
      const client = await connect({ port: proxy.port });
      expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
      const calls = Array.from({ length: 200 }, (_, i) => client.call(greeter, "slow", [i]));
      expect(await tally(calls)).toEqual({ [unavailable]: 200 });
      expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
      expect(client.unexpected).toBe(0);
      await client.close();
      await settled(proxy);
    },
  );

  it.each(endings)("%s its connection within a short reply: an error in its place", async (_, end) => {
    const server = await startScripted(({ id, method, args }, socket) => {
      const reply = encodeReply(id, args[0]);
      if (method === "echo") socket.write(reply);
      else socket.write(reply.subarray(0, reply.length / 2), () => end(socket));
    });
    const proxy = await bridge(server.port);
    const client = await connect({ port: proxy.port });
    const calls = [1, 2, 3].map((i) => client.call(greeter, "slow", [blob(i * 50_000)]));
    expect(await tally(calls)).toEqual({ [unavailable]: 3 });
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    expect(client.unexpected).toBe(0);
    await client.close();
    await settled(proxy);
  });

  it.each(endings)("%s its connection within a long reply: the client's ends, others do not", async (_, end) => {
    let cut: (() => void) | undefined;
    const server = await startScripted(({ id, method, args }, socket) => {
      const reply = encodeReply(id, args[0]);
      if (method === "echo") socket.write(reply);
      else
        socket.write(reply.subarray(0, 1_000_000), () => {
          cut = () => end(socket);
        });
    });
    const proxy = await bridge(server.port);
    const raw = await connectRaw(proxy.port);
    const other = await connect({ port: proxy.port });
    await raw.send(encodeRequest(1, greeter, "slow", [blob(2_000_000)]));
    await eventually(() => expect(raw.count).toBeGreaterThan(900_000));
    expect(raw.open).toBe(true);
    cut?.();
    await raw.closed;
    expect(raw.count).toBeLessThan(2_000_000);
    expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    await other.close();
    await settled(proxy);
  });

  it("ends one of its connections, with HTTP/1.1 inside: only the request on it gets an error", async () => {
    const server = await startScripted(({ id, method, args }, socket) => {
      const reply = encodeReply(id, args[0]);
      if (method === "echo") socket.write(reply);
      else if (method === "slow") socket.resetAndDestroy();
      else socket.write(reply.subarray(0, reply.length - 1), () => socket.end());
    });
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] }, http1);
    const client = await connect({ port: proxy.port });
    const methods = Array.from({ length: 90 }, (_, i) => ["echo", "slow", "sayHello"][i % 3] as string);
    const calls = methods.map((method) => client.call(greeter, method, ["fig"]));
    expect(await tally(calls)).toEqual({ reply: 30, [unavailable]: 60 });
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    expect(client.unexpected).toBe(0);
    await client.close();
    await settled(proxy);
  });

  it("says nothing: a route's timeout, at once and on a connection that stays", async () => {
    const held: [Request, Socket][] = [];
    const server = await startScripted((request, socket) => {
      if (request.method === "echo") socket.write(encodeReply(request.id, request.args[0]));
      else held.push([request, socket]);
    });
    const proxy = await bridge(server.port, {
      routes: [{ match: { method: "slow" }, timeout: "200ms" }, { timeout: "30s" }],
    });
    const client = await connect({ port: proxy.port });
    const calls = Array.from({ length: 100 }, (_, i) => client.call(greeter, "slow", [i]));
    expect(await tally(calls)).toEqual({ "StatusError 31": 100 });
    // Replies that come too late are for nobody.
    for (const [{ id }, socket] of held) socket.write(encodeReply(id, "late"));
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    expect(held).toHaveLength(100);
    expect(server.sockets.size).toBe(1);
    await eventually(async () => expect(await proxy.metric("meltemi_unmatched_responses_total")).toBe(100));
    expect(client.unexpected).toBe(0);
    await client.close();
    await settled(proxy);
  });

  it("stops within a long reply: after limits.wait those that wait behind it lose the connection", async () => {
    const stalling = await startScripted(({ id }, socket) => {
      socket.write(encodeReply(id, blob(2_000_000)).subarray(0, 1_000_000));
    });
    const other = ended(await startServer());
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { stalling: stalling.port, other: other.port },
      routes: [{ match: { method: "blob" }, subset: "stalling" }, { subset: "other" }],
      limits: { wait: "500ms" },
    });
    const raw = await connectRaw(proxy.port);
    await raw.send(encodeRequest(1, greeter, "blob", [2_000_000]));
    await eventually(() => expect(raw.count).toBeGreaterThan(900_000));
    expect(raw.open).toBe(true);
    await raw.send(encodeRequest(2, greeter, "echo", ["fig"]));
    await raw.closed;
    expect(other.stats.requests.echo).toBe(1);
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "stalled" })).toBe(1);
    await settled(proxy);
  });

  it("is gone: an error for each request, until it is back", async () => {
    const first = await startServer();
    const { port } = first;
    const proxy = await bridge(port);
    const client = await connect({ port: proxy.port });
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    await first.stop();
    expect(await tally(Array.from({ length: 50 }, () => client.call(greeter, "echo", ["fig"])))).toEqual({
      [unavailable]: 50,
    });
    ended(await startServer({ port }));
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
    await client.close();
    await settled(proxy);
  });

  it("restarts under load: every request is answered, on the same connections", async () => {
    let server = await startServer();
    const { port } = server;
    const proxy = await bridge(port);
    const clients = await Promise.all(Array.from({ length: 4 }, () => connect({ port: proxy.port })));
    const calls: Promise<unknown>[] = [];
    let going = true;
    let replies = 0;
    const load = clients.map(async (client, c) => {
      while (going) {
        const own = Array.from({ length: 20 }, (_, i) => client.call(greeter, "sayHello", [`${c}/${i}`]));
        calls.push(...own);
        const done = await Promise.allSettled(own);
        done.forEach((outcome, i) => {
          if (outcome.status !== "fulfilled") return;
          expect(outcome.value).toBe(`Hello ${c}/${i} from v1`);
          replies++;
        });
      }
    });
    for (let restart = 0; restart < 3; restart++) {
      const before = replies;
      await eventually(() => expect(replies).toBeGreaterThan(before + 200));
      await server.stop();
      server = await startServer({ port });
    }
    const before = replies;
    await eventually(() => expect(replies).toBeGreaterThan(before + 200));
    going = false;
    await Promise.all(load);
    const { reply = 0, [unavailable]: failed = 0, ...other } = await tally(calls);
    expect(other).toEqual({});
    expect(reply + failed).toBe(calls.length);
    expect(failed).toBeGreaterThan(0);
    expect(clients.map(({ unexpected }) => unexpected)).toEqual([0, 0, 0, 0]);
    await Promise.all(clients.map((client) => client.close()));
    await server.stop();
    await settled(proxy);
    await eventually(async () => {
      const rows = (await proxy.requests()).filter(({ direction }) => direction === "outbound");
      expect(rows.reduce((sum, { requests }) => sum + requests, 0)).toBe(calls.length);
    });
  });

  it.each([
    ["meltemi's", {}],
    ["Envoy's own", ownWindows],
  ])(
    "stops reading while 24 MB of requests come, within %s windows: all are answered in the end",
    async (_, options) => {
      const server = await startScripted(({ id, method, args }, socket) => {
        socket.write(encodeReply(id, args[0]));
        if (method === "slow") socket.pause();
      });
      const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] }, options);
      const client = await connect({ port: proxy.port });
      expect(await client.call(greeter, "slow", ["fig"])).toBe("fig");
      const bodies = shuffled(Array.from({ length: 16 }, (_, i) => blob(i * 200_000)));
      const calls = bodies.map((body) => client.call(greeter, "echo", [body], { timeoutMs: 50_000 }));
      await eventually(async () => {
        expect(await proxy.metric("meltemi_in_flight", { method: "echo", direction: "outbound" })).toBe(bodies.length);
      });
      for (const socket of server.sockets) socket.resume();
      const replies = (await Promise.all(calls)) as Buffer[];
      expect(replies.map((reply, i) => Buffer.compare(reply, bodies[i] as Buffer))).toEqual(bodies.map(() => 0));
      await client.close();
      await settled(proxy);
    },
  );
});

describe("a client that", () => {
  it("reads slowly does not hold up others, nor do its replies pile up in the guest", async () => {
    const server = ended(await startServer());
    const proxy = await bridge(server.port);
    const slow = await connectRaw(proxy.port);
    const other = await connect({ port: proxy.port });
    slow.pause();
    const count = 60;
    await slow.send(
      Buffer.concat(Array.from({ length: count }, (_, i) => encodeRequest(i, greeter, "blob", [1_000_000]))),
    );
    await eventually(async () => {
      expect(await proxy.metric("meltemi_requests_total", { method: "blob", direction: "inbound" })).toBeGreaterThan(5);
    });
    const calls = Array.from({ length: 200 }, (_, i) => other.call(greeter, "echo", [`${i}`]));
    expect(await Promise.all(calls)).toEqual(calls.map((_, i) => `${i}`));
    expect(await proxy.metric("meltemi_guest_memory_bytes")).toBeLessThan(100e6);
    slow.resume();
    await eventually(() => expect(slow.count).toBeGreaterThan(count * 1_000_000));
    const replies = slow.messages();
    const ids = replies.map(({ id }) => Number(id));
    expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    const whole = blob(1_000_000);
    expect(replies.every((reply) => reply.kind === "reply" && Buffer.compare(reply.value as Buffer, whole) === 0)).toBe(
      true,
    );
    slow.end();
    await other.close();
    await settled(proxy);
  });

  it("goes with requests in flight: others are answered as if nothing were", async () => {
    const held: [Request, Socket][] = [];
    const server = await startScripted((request, socket) => {
      if (request.method === "echo") socket.write(encodeReply(request.id, request.args[0]));
      else held.push([request, socket]);
    });
    const proxy = await bridge(server.port);
    const leaving = await Promise.all(Array.from({ length: 3 }, () => connectRaw(proxy.port)));
    const other = await connect({ port: proxy.port });
    for (const raw of leaving) {
      await raw.send(Buffer.concat(Array.from({ length: 50 }, (_, i) => encodeRequest(i, greeter, "slow", [i]))));
    }
    const kept = Array.from({ length: 50 }, (_, i) => other.call(greeter, "slow", [i]));
    await eventually(() => expect(held).toHaveLength(200));
    leaving[0]?.end();
    leaving[1]?.reset();
    leaving[2]?.reset();
    await eventually(async () => expect(await proxy.connections()).toBe(1));
    const calls = Array.from({ length: 100 }, (_, i) => other.call(greeter, "echo", [i]));
    expect(await Promise.all(calls)).toEqual(calls.map((_, i) => i));
    for (const [{ id, args }, socket] of held) socket.write(encodeReply(id, args[0]));
    expect(await Promise.all(kept)).toEqual(kept.map((_, i) => i));
    expect(server.sockets.size).toBe(1);
    expect(other.unexpected).toBe(0);
    await other.close();
    await settled(proxy);
    await eventually(async () => {
      const gone = (await proxy.requests()).filter(({ status }) => status === "client_gone");
      expect(gone.map(({ direction, requests }) => [direction, requests])).toEqual([
        ["inbound", 150],
        ["outbound", 150],
      ]);
    });
  });

  it("goes within a long request: those whose server connection that was get an error, and then replies", async () => {
    const server = ended(await startServer());
    const proxy = await bridge(server.port);
    const other = await connect({ port: proxy.port });
    expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    const kept = Array.from({ length: 20 }, () => other.call(greeter, "slow", [20_000], { timeoutMs: 20_000 }));
    await eventually(() => expect(server.stats.requests.slow).toBe(20));
    const raw = await connectRaw(proxy.port);
    await raw.send(encodeRequest(1, greeter, "echo", [blob(2_000_000)]).subarray(0, 1_000_000));
    await eventually(async () => {
      expect(await proxy.metric("meltemi_in_flight", { method: "echo", direction: "inbound" })).toBe(1);
    });
    raw.reset();
    expect(await tally(kept)).toEqual({ [unavailable]: 20 });
    expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    await other.close();
    await settled(proxy);
  });

  it("stops within a long request: others are answered, after limits.wait at the latest", async () => {
    const server = ended(await startServer());
    const proxy = await bridge(server.port, { limits: { wait: "500ms" } });
    const other = await connect({ port: proxy.port });
    expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    const raw = await connectRaw(proxy.port);
    await raw.send(encodeRequest(1, greeter, "echo", [blob(2_000_000)]).subarray(0, 1_000_000));
    await eventually(async () => {
      expect(await proxy.metric("meltemi_in_flight", { method: "echo", direction: "inbound" })).toBe(1);
    });
    const calls = Array.from({ length: 20 }, () => other.call(greeter, "echo", ["fig"]));
    const { reply = 0, [unavailable]: failed = 0 } = await tally(calls);
    expect(reply + failed).toBe(calls.length);
    expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    raw.reset();
    await other.close();
    await settled(proxy);
  });

  it("sends a long request slowly", async () => {
    const server = ended(await startServer());
    const proxy = await bridge(server.port);
    const raw = await connectRaw(proxy.port);
    const body = blob(100_000);
    await raw.trickle(encodeRequest(1, greeter, "echo", [body]), 5000, 1);
    await eventually(() => expect(raw.messages()).toHaveLength(1));
    expect(raw.messages()[0]).toMatchObject({ kind: "reply", value: body });
    raw.end();
    await raw.closed;
    await settled(proxy);
  });

  it("sends what is not the protocol is closed, others are not", async () => {
    const server = ended(await startServer());
    const proxy = await bridge(server.port);
    const other = await connect({ port: proxy.port });
    const good = encodeRequest(1, greeter, "echo", ["fig"]);
    for (const bad of [
      Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      blob(5000),
      Buffer.concat([good, good, Buffer.alloc(20)]),
    ]) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bad);
      await raw.closed;
      expect(await other.call(greeter, "echo", ["fig"])).toBe("fig");
    }
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "magic" })).toBe(3);
    await other.close();
    await settled(proxy);
  });

  it("waits for a connection that cannot be made gets an error that says so", async () => {
    const proxy = await bridge(1);
    const client = await connect({ port: proxy.port });
    const error = await failure(client.call(greeter, "echo", ["fig"]));
    expect(error).toMatchObject({ name: "StatusError", status: 80 });
    expect(error.message).toMatch(/^HTTP 503: /);
    await client.close();
    await settled(proxy);
  });
});
