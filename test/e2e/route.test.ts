import { describe, expect, it } from "vitest";
import { ConnectionLost, connect } from "../peers/dubbo/client.js";
import { type Attachments, encodeHeartbeat, encodeRequest } from "../peers/dubbo/codec.js";
import { type DubboServer, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { ended, eventually, type ProxyOptions, type Rules, startProxy } from "./harness.js";
import { connectRaw, startEcho } from "./raw.js";
import { digests, rowsOf, startTap } from "./tap.js";

interface Call {
  service?: string;
  method?: string;
  attachments?: Attachments;
}

/** Three versions of a service behind an Envoy that routes. */
async function chain(rules: Pick<Rules, "routes" | "limits">, options: ProxyOptions = {}) {
  const [v1, v2, v3] = await Promise.all(
    ["v1", "v2", "v3"].map(async (version) => ended(await startServer({ version }))),
  );
  const servers = { v1, v2, v3 } as Record<"v1" | "v2" | "v3", DubboServer>;
  const subsets = { v1: servers.v1.port, v2: servers.v2.port, v3: servers.v3.port };
  const proxy = await startProxy({ mode: "route", subsets, ...rules }, options);

  /** Who got the first request of a new connection: `v1`, or `none` where the connection was closed instead. */
  async function whoGets({ service = greeter, method = "sayHello", attachments = {} }: Call): Promise<string> {
    const connections = () => Object.entries(servers).map(([name, { stats }]) => [name, stats.connections] as const);
    const before = new Map(connections());
    const client = await connect({ port: proxy.port });
    // Many of these methods and services do not exist, and that is an answer too.
    const outcome = await client.call(service, method, ["fig"], { attachments }).catch((error: Error) => error);
    await client.close();
    const names = connections().flatMap(([name, count]) => (count === before.get(name) ? [] : [name]));
    if (outcome instanceof ConnectionLost) names.push("none");
    return names.join(", ");
  }

  return { servers, proxy, whoGets };
}

const tag = (value: string): Call => ({ attachments: { "dubbo.tag": value } });
const percent = (value: string): Call => ({ attachments: { percent: value } });
const method = (name: string): Call => ({ method: name });

describe("route", () => {
  it.each<[string, unknown, Call[], Call[]]>([
    ["a method", { method: "add" }, [method("add")], [method("ad"), method("addd"), method("Add")]],
    ["a service", { service: orders }, [{ service: orders }], [{ service: greeter }, { service: `${orders}s` }]],
    ["the interface", { interface: { exact: orders } }, [{ service: orders }], [{ service: greeter }]],
    ["an attachment", { "dubbo.tag": "gray" }, [tag("gray")], [tag("blue"), tag(""), tag("grayer"), {}]],
    ["other letters", { "dubbo.tag": "γκρι" }, [tag("γκρι")], [tag("γκρ"), tag("γκρίζο")]],
    ["a prefix", { method: { prefix: "get" } }, [method("get"), method("getAll")], [method("ge"), method("forget")]],
    ["a suffix", { service: { suffix: ".Orders" } }, [{ service: orders }], [{ service: "Orders" }, {}]],
    [
      "a regular expression",
      { "dubbo.tag": { regex: "gr[ae]y-\\d+" } },
      [tag("gray-1"), tag("grey-20")],
      [tag("gray-"), tag("xgray-1"), tag("gray-1x"), {}],
    ],
    ["one of some", { method: { oneOf: ["a", "b"] } }, [method("a"), method("b")], [method("c"), method("ab")]],
    [
      "a range",
      { percent: { range: { min: -5, max: 20 } } },
      [percent("-5"), percent("0"), percent("20")],
      [percent("-6"), percent("21"), percent("x"), percent(""), percent("1.5"), {}],
    ],
    ["a lower bound", { percent: { range: { min: 7 } } }, [percent("7"), percent("900000")], [percent("6"), {}]],
    ["presence", { "dubbo.tag": { present: true } }, [tag("gray"), tag("x")], [{}]],
    ["absence", { "dubbo.tag": { present: false } }, [{}, percent("1")], [tag("gray")]],
    ["the contrary", { "dubbo.tag": { not: { prefix: "gray" } } }, [tag("blue"), {}], [tag("gray"), tag("grayer")]],
    [
      "all of several",
      { method: "add", "dubbo.tag": "gray" },
      [{ method: "add", ...tag("gray") }],
      [{ method: "add" }, tag("gray"), {}],
    ],
  ])("by %s", async (_, match, hits, misses) => {
    const { whoGets, proxy } = await chain({ routes: [{ match, subset: "v2" }, { subset: "v1" }] });
    for (const call of hits) expect(await whoGets(call), JSON.stringify(call)).toBe("v2");
    for (const call of misses) expect(await whoGets(call), JSON.stringify(call)).toBe("v1");
    const routed = "meltemi_routed_connections_total";
    await eventually(async () => expect(await proxy.metric(routed, { cluster: "greeter|v2" })).toBe(hits.length));
    expect(await proxy.metric(routed, { cluster: "greeter|v1" })).toBe(misses.length);
    await proxy.assertSound();
  });

  it("takes the first rule that matches", async () => {
    const { whoGets } = await chain({
      routes: [
        { match: { method: { prefix: "get" }, "dubbo.tag": "gray" }, subset: "v3" },
        { match: { method: { prefix: "get" } }, subset: "v2" },
        { match: { "dubbo.tag": "gray" }, subset: "v1" },
      ],
    });
    expect(await whoGets({ ...method("getAll"), ...tag("gray") })).toBe("v3");
    expect(await whoGets(method("getAll"))).toBe("v2");
    expect(await whoGets(tag("gray"))).toBe("v1");
  });

  it("closes a connection that no rule matches, and counts it", async () => {
    const { whoGets, proxy } = await chain({ routes: [{ match: { method: "add" }, subset: "v2" }] });
    expect(await whoGets(method("sayHello"))).toBe("none");
    expect(await whoGets(method("add"))).toBe("v2");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
    expect(await proxy.metric("meltemi_closed_connections_total")).toBe(1);
    await proxy.assertSound();
  });

  it("counts requests and passes every byte, as observe does", async () => {
    const { servers, proxy } = await chain({ routes: [{ match: { method: "add" }, subset: "v2" }, { subset: "v1" }] });
    const before = await startTap(proxy.port);
    const client = await connect({ port: before.port });
    const sums = Array.from({ length: 50 }, (_, i) => client.call(greeter, "add", [i, i]));
    expect(await Promise.all(sums)).toEqual(sums.map((_, i) => 2 * i));
    const bytes = Buffer.alloc(2_000_000, "fig");
    expect(bytes.equals((await client.call(greeter, "echo", [bytes])) as Buffer)).toBe(true);
    expect(await client.call(greeter, "sayHello", ["fig"])).toBe("Hello fig from v2");
    await client.close();
    await eventually(async () => expect(await proxy.requests()).toEqual(rowsOf(before.connections)));
    expect(servers.v1.stats.connections).toBe(0);
  });

  it("reads a head cut anywhere, also byte by byte", async () => {
    const { proxy } = await chain({ routes: [{ match: { "dubbo.tag": "gray" }, subset: "v2" }, { subset: "v1" }] });
    const request = encodeRequest(7, greeter, "sayHello", ["fig"], { attachments: { "dubbo.tag": "gray" } });
    const cuts = [1, 2, 15, 16, 17, 22, 40, 60, 100, request.length - 1];
    await Promise.all(
      cuts.map(async (cut) => {
        const raw = await connectRaw(proxy.port);
        await raw.trickle(request, cut, 2);
        await eventually(() => expect(raw.messages()).toMatchObject([{ id: 7, value: "Hello fig from v2" }]));
      }),
    );
    await proxy.assertSound();
  });

  it.each([
    ["64KiB", 60_000, "v2"],
    ["64KiB", 70_000, "v1"],
    ["64KiB", 3_000_000, "v1"],
    ["1MiB", 1_000_000, "v2"],
    ["1MiB", 1_100_000, "v1"],
  ])("reads attachments behind arguments up to limits.head: %s, %i bytes", async (head, bytes, version) => {
    const { servers, proxy } = await chain({
      routes: [{ match: { "dubbo.tag": "gray" }, subset: "v2" }, { subset: "v1" }],
      limits: { head },
    });
    const client = await connect({ port: proxy.port });
    const text = Buffer.alloc(bytes, "fig");
    expect(text.equals((await client.call(greeter, "echo", [text], tag("gray"))) as Buffer)).toBe(true);
    await client.close();
    const got = Object.entries(servers).filter(([, { stats }]) => stats.connections > 0);
    expect(got.map(([name]) => name)).toEqual([version]);
    await proxy.assertSound();
  });

  it("decides by the first request, whatever heartbeats stand before it", async () => {
    const { servers, proxy } = await chain({
      routes: [{ match: { method: "sayHello" }, subset: "v2" }, { subset: "v1" }],
      limits: { wait: "100ms" },
    });
    const late = await connectRaw(proxy.port);
    await late.send(encodeHeartbeat(1));
    const request = encodeRequest(3, greeter, "sayHello", ["fig"]);
    const together = await connectRaw(proxy.port);
    await together.send(Buffer.concat([encodeHeartbeat(1), encodeHeartbeat(2), request]));
    await eventually(() =>
      expect(together.messages()).toMatchObject([
        { kind: "heartbeatReply", id: 1 },
        { kind: "heartbeatReply", id: 2 },
        { kind: "reply", value: "Hello fig from v2" },
      ]),
    );
    // The connection that only sent a heartbeat is none that waits: it outlives one that does.
    const slow = await connectRaw(proxy.port);
    await slow.send(request.subarray(0, 10));
    await slow.closed;
    expect(late.open).toBe(true);
    await late.send(request);
    await eventually(() => expect(late.messages()).toMatchObject([{ id: 1 }, { value: "Hello fig from v2" }]));
    expect(servers.v1.stats.connections).toBe(0);
  });

  it("closes a client that is too slow, serves one that is slow, and leaves an idle one alone", async () => {
    const { proxy } = await chain({
      routes: [{ match: { "dubbo.tag": "gray" }, subset: "v2" }, { subset: "v1" }],
      limits: { wait: "800ms" },
    });
    const idle = await connect({ port: proxy.port });
    const request = encodeRequest(7, greeter, "sayHello", ["fig"], { attachments: { "dubbo.tag": "gray" } });
    const [slow, tooSlow] = [await connectRaw(proxy.port), await connectRaw(proxy.port)];
    const then = performance.now();
    void tooSlow.trickle(request, 1, 30);
    void slow.trickle(request, 10, 10);
    await tooSlow.closed;
    expect(performance.now() - then).toBeGreaterThan(750);
    await eventually(() => expect(slow.messages()).toMatchObject([{ value: "Hello fig from v2" }]));
    expect(slow.open).toBe(true);
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "timeout" })).toBe(1);
    expect(await proxy.metric("meltemi_closed_connections_total")).toBe(1);
    expect(await idle.call(greeter, "sayHello", ["fig"], tag("gray"))).toBe("Hello fig from v2");
    await idle.close();
    await proxy.assertSound();
  });

  it("closes what is not the protocol, and counts it", async () => {
    const { servers, proxy } = await chain({ routes: [{ match: { method: "add" }, subset: "v2" }] });
    const raw = await connectRaw(proxy.port);
    await raw.send(Buffer.from("GET / HTTP/1.1\r\nhost: fig\r\n\r\n"));
    await raw.closed;
    expect(raw.count).toBe(0);
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "magic" })).toBe(1);
    expect(await proxy.metric("meltemi_decode_errors_total")).toBe(1);
    expect(servers.v2.stats.connections).toBe(0);
  });

  it("passes what is not the protocol to where everything goes", async () => {
    const echo = await startEcho();
    const routes = [
      { match: { method: "add" }, subset: "v1" },
      { name: "rest", subset: "v2" },
    ];
    const proxy = await startProxy({ mode: "route", subsets: { v1: 1, v2: echo.port }, routes });
    const raw = await connectRaw(proxy.port);
    const bytes = Buffer.from("GET / HTTP/1.1\r\nhost: fig\r\n\r\n".repeat(1000));
    await raw.send(bytes);
    await eventually(() => expect(raw.received().equals(bytes)).toBe(true));
    raw.end();
    await raw.closed;
    expect(await proxy.metric("meltemi_decode_errors_total", { reason: "magic" })).toBe(1);
    expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|v2" })).toBe(1);
    expect(await proxy.metric("meltemi_closed_connections_total")).toBe(0);
    await eventually(() => expect(proxy.accessLog()).toMatchObject([{ route: "rest", cluster: "greeter|v2" }]));
  });

  it("closes after a client that stops inside a head", async () => {
    const { servers, proxy } = await chain({ routes: [{ match: { method: "add" }, subset: "v2" }, { subset: "v1" }] });
    const request = encodeRequest(7, greeter, "add", [1, 2]);
    const [ends, resets] = [await connectRaw(proxy.port), await connectRaw(proxy.port)];
    await ends.send(request.subarray(0, 20));
    ends.end();
    await ends.closed;
    await resets.send(request.subarray(0, 20));
    resets.reset();
    await resets.closed;
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "incomplete" })).toBe(1);
    await eventually(async () => expect(await proxy.connections()).toBe(0));
    expect(servers.v1.stats.connections + servers.v2.stats.connections).toBe(0);
    await proxy.assertSound();
  });

  it("does not count a connection that was never used", async () => {
    const { proxy, whoGets } = await chain({ routes: [{ subset: "v1" }] });
    const raw = await connectRaw(proxy.port);
    raw.end();
    await raw.closed;
    expect(await whoGets({})).toBe("v1");
    expect(await proxy.metric("meltemi_closed_connections_total")).toBe(0);
  });

  it("closes connections whose cluster does not exist or cannot be reached", async () => {
    const gone = await startServer();
    await gone.stop();
    const server = ended(await startServer({ version: "v1" }));
    const proxy = await startProxy(
      {
        mode: "route",
        subsets: { v1: server.port, v2: gone.port, v3: server.port },
        routes: [
          { match: { method: "add" }, subset: "v2" },
          { match: { method: "slow" }, subset: "v3" },
          { subset: "v1" },
        ],
      },
      {
        change: (made) => {
          const all = made.static_resources as { clusters: { name: string }[] };
          return {
            ...made,
            static_resources: { ...all, clusters: all.clusters.filter(({ name }) => name !== "greeter|v3") },
          };
        },
      },
    );
    for (const name of ["add", "slow"]) {
      const client = await connect({ port: proxy.port });
      await expect(client.call(greeter, name, [1, 2])).rejects.toThrow(ConnectionLost);
    }
    const client = await connect({ port: proxy.port });
    expect(await client.call(greeter, "sayHello", ["fig"])).toBe("Hello fig from v1");
    await client.close();
    await eventually(async () =>
      expect((await proxy.requests()).map((row) => [row.method, row.status, row.requests])).toEqual([
        ["add", "upstream_gone", 1],
        ["sayHello", "ok", 1],
        ["slow", "upstream_gone", 1],
      ]),
    );
    await proxy.assertSound();
  });

  it("routes each of many connections at once by its own first request", { timeout: 30_000 }, async () => {
    const { servers, proxy } = await chain(
      {
        routes: [
          { name: "first", match: { "dubbo.tag": "v1" }, subset: "v1" },
          { name: "second", match: { "dubbo.tag": "v2" }, subset: "v2" },
          { name: "third", match: { "dubbo.tag": "v3" }, subset: "v3" },
        ],
      },
      { concurrency: 2 },
    );
    const before = await startTap(proxy.port);
    const wanted = Array.from({ length: 200 }, (_, i) => `v${1 + (i % 3)}`);
    const replies = await Promise.all(
      wanted.map(async (version, i) => {
        const client = await connect({ port: before.port });
        const reply = await client.call(greeter, "sayHello", [i], tag(version));
        await client.close();
        return reply;
      }),
    );
    expect(replies).toEqual(wanted.map((version, i) => `Hello ${i} from ${version}`));
    expect(Object.values(servers).map(({ stats }) => stats.connections)).toEqual([67, 67, 66]);
    await eventually(async () => expect(await proxy.requests()).toEqual(rowsOf(before.connections)));
    expect(digests(before)).toHaveLength(200);
    await eventually(() => expect(proxy.accessLog()).toHaveLength(200));
    const logged = new Set(
      proxy.accessLog().map((line) => [line.service, line.method, line.route, line.cluster].join(" ")),
    );
    expect([...logged].sort()).toEqual([
      `${greeter} sayHello first greeter|v1`,
      `${greeter} sayHello second greeter|v2`,
      `${greeter} sayHello third greeter|v3`,
    ]);
  });
});
