import { describe, expect, it } from "vitest";
import { filterStateKeys } from "../../tools/host/abi.js";
import type { Root } from "../../tools/host/host.js";
import { encodeHeartbeat, encodeReply, encodeRequest } from "../peers/dubbo/codec.js";
import { awesome, connect, lines, load, reply, request, samples, sum } from "./support.js";

const cluster = "envoy.tcp_proxy.cluster";
const closed = "meltemi_closed_connections_total";
const routed = "meltemi_routed_connections_total";
const garbage = Buffer.from("GET / HTTP/1.1\r\nHost: greeter\r\n\r\n");

/** Routes for most tests: by method, by attachment, and nothing for the rest. */
const routes = [
  { name: "logins", match: { method: { exact: "login" } }, cluster: "greeter|v2" },
  { match: { "dubbo.tag": { exact: "gray" } }, cluster: "greeter|gray" },
];

async function routing(configuration: object = {}) {
  const { host, sleep } = await load();
  const root = host.configure({ protocol: "dubbo", mode: "route", routes, ...configuration });
  const seen = connect(root);
  return { host, sleep, root, seen, connection: seen.connection };
}

/** Where a request goes; undefined where it is closed. */
function target(root: Root, first: Buffer): string | undefined {
  const { connection } = connect(root);
  connection.downstream(first);
  const name = connection.closed ? undefined : connection.filterState.get(cluster);
  connection.close("client");
  return name;
}

const tagged = (tag: string, method = "hello") =>
  request(1, "a.Greeter", method, { attachments: { "dubbo.tag": tag } });

describe("a connection to an address that is not among the destinations", () => {
  const destinations = ["10.96.0.10:20880", "[fd00::10]:20880"];
  it.each(["observe", "route", "lift", "lower"])("passes as it is in mode %s", async (mode) => {
    const { host } = await load();
    const root = host.configure({ protocol: "dubbo", mode, destinations, ...(mode === "route" && { routes }) });
    const seen = connect(root, { destination: "10.96.0.11:20880" });
    expect(seen.started).toBe(true);
    seen.connection.downstream(request(1, "a.Greeter", "login"));
    seen.connection.upstream(garbage);
    expect(seen.toServer).toEqual(request(1, "a.Greeter", "login"));
    expect(seen.toClient).toEqual(garbage);
    seen.connection.close("client");
    host.tick();
    const counted = [...host.metrics.counters.keys(), ...host.metrics.gauges.keys(), ...host.metrics.histograms.keys()];
    expect(counted.filter((name) => !name.includes("guest_memory"))).toEqual([]);
    expect(host.logs).toEqual([]);
  });

  it.each([...destinations, undefined])("and others do not (%s)", async (destination) => {
    const { root } = await routing({ destinations });
    const { connection, started } = connect(root, destination === undefined ? {} : { destination });
    expect(started).toBe(false);
    connection.downstream(request(1, "a.Greeter", "login"));
    expect(connection.filterState.get(cluster)).toBe("greeter|v2");
  });
});

describe("the first request", () => {
  it("decides by what a generic call is for, and by a serialization that is not read", async () => {
    const { root } = await routing({
      routes: [
        { match: { "generic.method": { exact: "add" } }, cluster: "generic" },
        {
          match: { serialization: { oneOf: ["fastjson2", "protobuf"] }, method: { present: false } },
          cluster: "other",
        },
      ],
    });
    const generic = (method: string) => request(1, "a.Greeter", "$invoke", {}, [method, ["int"], [2]]);
    expect(target(root, generic("add"))).toBe("generic");
    expect(target(root, generic("remove"))).toBeUndefined();
    expect(target(root, request(1, "a.Greeter", "add"))).toBeUndefined();
    const other = request(1);
    other[2] = ((other[2] as number) & 0xe0) | 23;
    expect(target(root, other)).toBe("other");
  });

  it("decides, before later filters start, and names the route", async () => {
    const { host, root } = await routing();
    let before: string | undefined;
    const seen = connect(root, {
      started: ({ filterState }) => {
        before = filterState.get(cluster);
      },
    });
    expect(seen.started).toBe(false);
    seen.connection.downstream(request(1, "a.Greeter", "login"));
    expect(before).toBe("greeter|v2");
    expect(seen.toServer).toEqual(request(1, "a.Greeter", "login"));
    expect(Object.fromEntries(seen.connection.filterState)).toEqual({
      [cluster]: "greeter|v2",
      "wasm.meltemi.route": "logins",
      "wasm.meltemi.service": "a.Greeter",
      "wasm.meltemi.method": "login",
    });
    expect(samples(host, routed)).toEqual([
      { labels: { protocol: "dubbo", direction: "outbound", cluster: "greeter|v2" }, value: 1 },
    ]);
  });

  it("decides for good, and what follows is counted as when observing", async () => {
    const { host, connection } = await routing();
    connection.downstream(Buffer.concat([tagged("gray"), request(2, "a.Greeter", "login")]));
    connection.downstream(request(3, "a.Greeter", "login"));
    connection.upstream(Buffer.concat([reply(1), reply(2), reply(3)]));
    expect(connection.filterState.get(cluster)).toBe("greeter|gray");
    expect(connection.filterState.get("wasm.meltemi.route")).toBe("1");
    expect(sum(host, "meltemi_requests_total", { status: "ok" })).toBe(3);
    expect(sum(host, routed)).toBe(1);
  });

  it("goes where the first matching route says", async () => {
    const { root } = await routing();
    expect(target(root, tagged("gray", "login"))).toBe("greeter|v2");
    expect(target(root, tagged("gray"))).toBe("greeter|gray");
    expect(target(root, tagged("blue"))).toBeUndefined();
  });

  it("that no route matches closes the connection and is counted, and nothing of it goes on", async () => {
    const { host, seen, connection } = await routing();
    connection.downstream(request(1));
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(seen.toServer).toHaveLength(0);
    expect(samples(host, closed)).toEqual([
      { labels: { protocol: "dubbo", direction: "outbound", reason: "no_route" }, value: 1 },
    ]);
    expect(sum(host, "meltemi_requests_total")).toBe(0);
  });

  it("may be one that nobody answers", async () => {
    const { root } = await routing();
    expect(target(root, encodeRequest(1, "a.B", "login", [], { twoWay: false }))).toBe("greeter|v2");
  });

  it("is found behind heartbeats", async () => {
    const { seen, connection } = await routing();
    connection.downstream(encodeHeartbeat(1));
    connection.downstream(encodeHeartbeat(2).subarray(0, 10));
    expect(seen.started).toBe(false);
    connection.downstream(Buffer.concat([encodeHeartbeat(2).subarray(10), encodeHeartbeat(3)]));
    connection.downstream(request(4, "a.B", "login"));
    expect(connection.filterState.get(cluster)).toBe("greeter|v2");
    expect(seen.toServer).toEqual(
      Buffer.concat([encodeHeartbeat(1), encodeHeartbeat(2), encodeHeartbeat(3), request(4, "a.B", "login")]),
    );
  });

  it("decides wherever its head is cut", async () => {
    const { root } = await routing();
    const frame = Buffer.concat([encodeHeartbeat(9), tagged("gray"), request(2)]);
    for (let at = 0; at <= frame.length; at++) {
      const seen = connect(root);
      seen.connection.downstream(frame.subarray(0, at));
      seen.connection.downstream(frame.subarray(at));
      expect(seen.connection.filterState.get(cluster), `cut at ${at}`).toBe("greeter|gray");
      expect(seen.toServer.equals(frame)).toBe(true);
      seen.connection.close("client");
    }
  });

  it("decides as soon as its head is there, without its body", async () => {
    const { host } = await load();
    const root = host.configure({
      protocol: "dubbo",
      mode: "route",
      routes: [{ match: { method: { exact: "login" } }, cluster: "c" }],
    });
    const { connection } = connect(root);
    const frame = encodeRequest(1, "a.B", "login", ["x".repeat(100_000)]);
    connection.downstream(frame.subarray(0, 200));
    expect(connection.filterState.get(cluster)).toBe("c");
  });

  it("decides when it trickles in byte by byte", async () => {
    const { root } = await routing();
    const seen = connect(root);
    const frame = tagged("gray");
    for (const byte of frame) seen.connection.downstream(Buffer.of(byte));
    expect(seen.connection.filterState.get(cluster)).toBe("greeter|gray");
    expect(seen.toServer).toEqual(frame);
  });

  it("goes without attachments that stand behind the limit of the head", async () => {
    const { root } = await routing({
      limits: { headBytes: 1024 },
      routes: [
        { match: { "dubbo.tag": { exact: "gray" } }, cluster: "gray" },
        { match: { "dubbo.tag": { present: false } }, cluster: "none" },
      ],
    });
    const attachments = { "dubbo.tag": "gray" };
    expect(target(root, encodeRequest(1, "a.B", "m", ["x".repeat(500)], { attachments }))).toBe("gray");
    expect(target(root, encodeRequest(1, "a.B", "m", ["x".repeat(5000)], { attachments }))).toBe("none");
    // The same when the bytes come one by one.
    const seen = connect(root);
    for (const byte of encodeRequest(1, "a.B", "m", ["x".repeat(5000)], { attachments })) {
      seen.connection.downstream(Buffer.of(byte));
    }
    expect(seen.connection.filterState.get(cluster)).toBe("none");
  });
});

describe("every matcher", () => {
  const match = (condition: object) => [
    { match: condition, cluster: "yes" },
    { match: {}, cluster: "no" },
  ];

  it.each<[string, object, string, string | undefined, string]>([
    ["exact", { exact: "gray" }, "gray", "gray2", "no"],
    ["prefix", { prefix: "gr" }, "gray", "blue", "no"],
    ["suffix", { suffix: "ay" }, "gray", "graz", "no"],
    ["regex", { regex: "g[a-z]{3}" }, "gray", "grays", "no"],
    ["oneOf", { oneOf: ["blue", "gray"] }, "gray", "green", "no"],
    ["range", { range: { min: -5, max: 5 } }, "-5", "6", "no"],
    ["range without a minimum", { range: { max: 5 } }, "-99", "6", "no"],
    ["range without a maximum", { range: { min: 5 } }, "99", "4", "no"],
    ["present", { present: true }, "", undefined, "no"],
    ["absent", { present: false }, "ignored", "", "yes"],
    ["not", { not: { exact: "gray" } }, "blue", "gray", "yes"],
    ["not not", { not: { not: { prefix: "gr" } } }, "gray", "blue", "no"],
  ])("%s", async (name, matcher, yes, no, absent) => {
    const { host } = await load();
    const root = host.configure({ protocol: "dubbo", mode: "route", routes: match({ "dubbo.tag": matcher }) });
    if (name !== "absent") expect(target(root, tagged(yes))).toBe("yes");
    if (no !== undefined) expect(target(root, tagged(no))).toBe("no");
    expect(target(root, request(1))).toBe(absent);
  });

  it("holds only together with the others of its route", async () => {
    const { host } = await load();
    const root = host.configure({
      protocol: "dubbo",
      mode: "route",
      routes: match({ service: { prefix: "a." }, method: { exact: "hello" }, "dubbo.tag": { exact: "gray" } }),
    });
    expect(target(root, tagged("gray"))).toBe("yes");
    expect(target(root, tagged("gray", "bye"))).toBe("no");
    expect(target(root, tagged("blue"))).toBe("no");
    expect(target(root, request(1, "b.Greeter", "hello", { attachments: { "dubbo.tag": "gray" } }))).toBe("no");
  });

  it("reads what a protocol without names has", async () => {
    const { host } = await load();
    const root = host.configure({
      protocol: "awesomerpc",
      mode: "route",
      routes: match({ cmd: { range: { min: 10 } } }),
    });
    expect(target(root, awesome(1, 10))).toBe("yes");
    expect(target(root, awesome(1, -10))).toBe("no");
  });
});

describe("a connection that does not say where it goes", () => {
  it("is closed after the time that it has, however its bytes trickle in", async () => {
    const { host, sleep, root, seen, connection } = await routing({ limits: { waitMilliseconds: 1000 } });
    const frame = tagged("gray");
    for (let i = 0; i < 10; i++) {
      connection.downstream(frame.subarray(i, i + 1));
      expect(root.tickPeriod).toBeGreaterThan(0);
      expect(root.tickPeriod).toBeLessThanOrEqual(250);
      host.tick();
      expect(seen.closed).toBe(false);
      sleep(99);
    }
    sleep(9);
    host.tick();
    expect(seen.closed).toBe(false);
    sleep(1);
    host.tick();
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(samples(host, closed).map(({ labels, value }) => [labels.reason, value])).toEqual([["timeout", 1]]);
    expect(root.tickPeriod).toBe(0);
  });

  it("may take its time before the first byte, and between heartbeats", async () => {
    const { host, sleep, root, seen, connection } = await routing({ limits: { waitMilliseconds: 100 } });
    sleep(1000);
    host.tick();
    connection.downstream(encodeHeartbeat(1));
    expect(root.tickPeriod).toBe(0);
    sleep(1000);
    host.tick();
    expect(seen.closed).toBe(false);
    // A head that has begun has only so much time, from then on.
    connection.downstream(request(1).subarray(0, 20));
    sleep(99);
    host.tick();
    expect(seen.closed).toBe(false);
    sleep(1);
    host.tick();
    expect(seen.closed).toBe(true);
  });

  it("is closed alone: others that wait go on", async () => {
    const { host, sleep, root } = await routing({ limits: { waitMilliseconds: 100 } });
    const all = Array.from({ length: 6 }, () => connect(root));
    for (const { connection } of all) {
      connection.downstream(tagged("gray").subarray(0, 20));
      sleep(30);
    }
    // Four began 100 ms ago or more; one of them got its route meanwhile, another is gone.
    all[1]?.connection.downstream(tagged("gray").subarray(20));
    all[2]?.connection.close("client");
    host.tick();
    expect(all.map(({ closed }) => closed)).toEqual(
      [true, false, true, false, false, false].map((c, i) => c || i === 2),
    );
    sleep(1000);
    host.tick();
    expect(all.map(({ closed }) => closed)).toEqual([true, false, true, true, true, true]);
    expect(sum(host, closed, { reason: "timeout" })).toBe(4);
    expect(all[1]?.connection.filterState.get(cluster)).toBe("greeter|gray");
  });

  it("does not end the ticks of another configuration when it is closed from its tick", async () => {
    const { host, sleep, root, connection } = await routing();
    const other = host.configure({ protocol: "dubbo", mode: "route", routes, limits: { waitMilliseconds: 100 } });
    connect(other).connection.downstream(Buffer.of(0xda));
    connection.downstream(tagged("gray"));
    sleep(100);
    root.tick();
    expect(sum(host, closed, { reason: "timeout" })).toBe(1);
    connect(other).connection.downstream(tagged("gray"));
    expect(other.tickPeriod).toBeGreaterThan(0);
    other.tick();
    expect(other.tickPeriod).toBe(0);
  });

  it("is closed when its client ends early", async () => {
    const { host, seen, connection } = await routing();
    connection.downstream(tagged("gray").subarray(0, 50), true);
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(sum(host, closed, { reason: "incomplete" })).toBe(1);
  });

  it.each([0, 2])("is over and counted nowhere when its client ends after %i heartbeats", async (heartbeats) => {
    const { host, seen, connection } = await routing();
    for (let i = 0; i < heartbeats; i++) connection.downstream(encodeHeartbeat(i));
    connection.downstream(Buffer.alloc(0), true);
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(samples(host, closed)).toEqual([]);
  });

  it("is counted nowhere when its client leaves", async () => {
    const { host, root, connection } = await routing();
    connection.downstream(tagged("gray").subarray(0, 50));
    connection.close("client");
    host.tick();
    expect(samples(host, closed)).toEqual([]);
    expect(root.tickPeriod).toBe(0);
  });

  it("goes on with an end that comes together with the whole request", async () => {
    const { seen, connection } = await routing();
    connection.downstream(tagged("gray"), true);
    connection.upstream(encodeReply(1, "x"));
    expect(seen.toServer).toEqual(tagged("gray"));
    expect(seen.toClient).toEqual(encodeReply(1, "x"));
    expect(seen.closed).toBe(false);
  });

  it("is closed when Envoy does not take its cluster", async () => {
    const { host, seen, connection } = await routing();
    const keys = filterStateKeys as Set<string>;
    keys.delete(cluster);
    try {
      connection.downstream(request(1, "a.B", "login"));
    } finally {
      keys.add(cluster);
    }
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(samples(host, closed).map(({ labels }) => labels.reason)).toEqual(["filter_state"]);
    expect(samples(host, routed)).toEqual([]);
  });

  it.each([
    ["head_too_large", { headBytes: 100 }, request(1, "s".repeat(200))],
    ["too_large", { frameBytes: 100 }, tagged("gray")],
    ["magic", {}, garbage],
    ["encoding", {}, Buffer.from("dabbc20000000000000000ff000000019045", "hex")],
  ])("is closed for %s", async (reason, limits, bytes) => {
    const { host, seen, connection } = await routing({ limits });
    connection.downstream(bytes);
    expect(seen).toMatchObject({ closed: true, started: false });
    expect(samples(host, closed).map(({ labels }) => labels.reason)).toEqual([reason]);
    expect(samples(host, "meltemi_decode_errors_total").map(({ labels }) => labels.reason)).toEqual([reason]);
  });

  it("is closed when heartbeats alone fill the limit of the head", async () => {
    const { seen, connection } = await routing({ limits: { headBytes: 100 } });
    for (let i = 0; i < 5; i++) connection.downstream(encodeHeartbeat(i));
    expect(seen.closed).toBe(false);
    connection.downstream(encodeHeartbeat(5));
    expect(seen.closed).toBe(true);
  });

  it.each([
    ["that is no protocol", garbage],
    ["with a head that is too large", request(1, "s".repeat(2000))],
  ])("%s goes where everything goes, where there is such a route", async (_, bytes) => {
    const { host, seen, connection } = await routing({
      routes: [...routes, { name: "rest", cluster: "greeter|v1" }],
      limits: { headBytes: 1024 },
    });
    connection.downstream(bytes);
    connection.downstream(garbage);
    connection.upstream(garbage);
    expect(connection.filterState.get(cluster)).toBe("greeter|v1");
    expect(connection.filterState.get("wasm.meltemi.route")).toBe("rest");
    expect(seen.toServer).toEqual(Buffer.concat([bytes, garbage]));
    expect(seen.toClient).toEqual(garbage);
    expect(sum(host, "meltemi_decode_errors_total")).toBe(1);
    expect(samples(host, closed)).toEqual([]);
  });
});

describe("log lines", () => {
  it("of a route are what the contract says", async () => {
    const { host, connection } = await routing({ log: { frames: true } });
    connection.downstream(request(1, "a.B", "login"));
    expect(lines(host, "route")).toEqual([
      { meltemi: "route", connection: connection.id, route: "logins", cluster: "greeter|v2" },
    ]);
    expect(lines(host, "frame")).toHaveLength(1);
  });

  it("of bytes that are not the protocol say so, also where the connection is closed", async () => {
    const { host, connection } = await routing({ log: { frames: true } });
    connection.downstream(Buffer.concat([encodeHeartbeat(1), garbage]));
    expect(lines(host, "decode_error")).toEqual([
      { meltemi: "decode_error", connection: connection.id, from: "client", reason: "magic", offset: 17 },
    ]);
  });
});
