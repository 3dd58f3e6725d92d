import { describe, expect, it } from "vitest";
import { splitName } from "../../tools/host/metrics.js";
import {
  encodeException,
  encodeFailure,
  encodeHeartbeat,
  encodeHeartbeatReply,
  encodeReply,
  encodeRequest,
  Status,
} from "../peers/dubbo/codec.js";
import { awesome, connect, lines, load, reply, request, samples, sum } from "./support.js";

const requests = "meltemi_requests_total";
const durations = "meltemi_request_duration_milliseconds";
const inFlight = "meltemi_in_flight";

/** A root that observes, its host and one connection. */
async function observing(configuration: object = {}) {
  const { host, sleep } = await load();
  const root = host.configure({ protocol: "dubbo", ...configuration });
  const seen = connect(root);
  return { host, sleep, root, seen, connection: seen.connection };
}

describe("what is counted", () => {
  it("is every request with its service, method, status, sizes and duration", async () => {
    const { host, sleep, connection } = await observing({ direction: "inbound" });
    const [one, two, three] = [request(1, "a.B", "x"), request(2, "a.B", "x"), request(3, "a.B", "y")];
    connection.downstream(Buffer.concat([one, two, three]));
    sleep(40);
    connection.upstream(reply(2));
    sleep(60);
    connection.upstream(Buffer.concat([encodeException(1, "refused"), encodeFailure(3, Status.serviceNotFound, "?")]));

    const labels = { protocol: "dubbo", direction: "inbound", service: "a.B" };
    expect(samples(host, requests)).toEqual([
      { labels: { ...labels, method: "x", status: "ok" }, value: 1 },
      { labels: { ...labels, method: "x", status: "exception" }, value: 1 },
      { labels: { ...labels, method: "y", status: "service_not_found" }, value: 1 },
    ]);
    expect(sum(host, "meltemi_request_bytes_total", { method: "x" })).toBe(one.length + two.length);
    expect(sum(host, "meltemi_request_bytes_total", { method: "y" })).toBe(three.length);
    expect(sum(host, "meltemi_response_bytes_total", { status: "ok" })).toBe(reply(2).length);
    expect(sum(host, "meltemi_response_bytes_total", { status: "exception" })).toBe(
      encodeException(1, "refused").length,
    );
    const sums = [...host.metrics.histograms].map(([name, { count, sum }]) => [
      splitName(name).labels.at(-1)?.[1],
      count,
      sum,
    ]);
    expect(sums).toEqual([
      ["ok", 1, 40],
      ["exception", 1, 100],
      ["service_not_found", 1, 100],
    ]);
    expect(samples(host, inFlight)).toEqual([]);
  });

  it("carries its labels in the order of the contract", async () => {
    const { host, connection } = await observing({ protocol: "awesomerpc", service: "shop" });
    connection.downstream(awesome(1, 7));
    host.tick();
    expect([...host.metrics.gauges.keys()]).toContain(
      "protocol=.=awesomerpc;.;direction=.=outbound;.;service=.=shop;.;method=.=7;.;meltemi_in_flight",
    );
    connection.upstream(awesome(1, 7, { code: -3 }));
    host.tick();
    const labels = "protocol=.=awesomerpc;.;direction=.=outbound;.;service=.=shop;.;method=.=7;.;status=.=-3;.;";
    expect([...host.metrics.counters.keys()]).toEqual([
      `${labels}meltemi_requests_total`,
      `${labels}meltemi_request_bytes_total`,
      `${labels}meltemi_response_bytes_total`,
    ]);
    expect([...host.metrics.histograms.keys()]).toEqual([`${labels}meltemi_request_duration_milliseconds`]);
  });

  it("is in flight between a request and the end of its reply", async () => {
    const { host, connection } = await observing();
    const up = (id: number) => sum(host, inFlight, { service: "a.Greeter", method: "hello" }) === id;
    connection.downstream(request(1));
    expect(up(1)).toBe(true);
    connection.downstream(Buffer.concat([request(2), request(3)]));
    expect(up(3)).toBe(true);
    connection.upstream(reply(1).subarray(0, -1));
    expect(up(3)).toBe(true);
    expect(sum(host, requests)).toBe(0);
    connection.upstream(reply(1).subarray(-1));
    expect(up(2)).toBe(true);
    expect(sum(host, requests)).toBe(1);
    connection.upstream(Buffer.concat([reply(3), reply(2)]));
    expect(up(0)).toBe(true);
    connection.downstream(request(1));
    expect(up(1)).toBe(true);
    connection.close("client");
    expect(up(0)).toBe(true);
  });

  it("is a reply that nobody waits for", async () => {
    const { host, connection } = await observing();
    connection.upstream(reply(9));
    connection.downstream(request(1));
    connection.upstream(Buffer.concat([reply(1), reply(1)]));
    expect(sum(host, "meltemi_unmatched_responses_total", { protocol: "dubbo", direction: "outbound" })).toBe(2);
    expect(sum(host, requests)).toBe(1);
  });

  it("is each of two requests with the same id, the older answered first", async () => {
    const { host, sleep, connection } = await observing({ log: { requests: 1 } });
    connection.downstream(request(5, "a.B", "older"));
    sleep(10);
    connection.downstream(request(5, "a.B", "younger"));
    connection.upstream(reply(5));
    connection.upstream(reply(5));
    expect(lines(host, "request").map(({ method, duration_ms }) => [method, duration_ms])).toEqual([
      ["older", 10],
      ["younger", 0],
    ]);
    expect(sum(host, "meltemi_unmatched_responses_total")).toBe(0);
  });

  it("is a reply in pieces while other requests come", async () => {
    const { host, connection } = await observing();
    const long = encodeReply(1, "x".repeat(20_000));
    connection.downstream(request(1));
    for (let at = 0; at < long.length; at += 1000) {
      connection.upstream(long.subarray(at, at + 1000));
      connection.downstream(request(100 + at, "a.B", "other"));
      // The same id again: the reply that is passing belongs to the first.
      if (at === 5000) connection.downstream(request(1, "a.B", "again"));
    }
    expect(sum(host, requests, { method: "hello", status: "ok" })).toBe(1);
    expect(sum(host, "meltemi_response_bytes_total", { method: "hello" })).toBe(long.length);
    expect(sum(host, inFlight, { method: "again" })).toBe(1);
    connection.upstream(reply(1));
    expect(sum(host, requests, { method: "again", status: "ok" })).toBe(1);
  });

  it("is a request that no reply is wanted for, and is not in flight", async () => {
    const { host, connection } = await observing();
    const frame = encodeRequest(1, "a.B", "note", [], { twoWay: false });
    connection.downstream(frame);
    expect(samples(host, requests).map(({ labels, value }) => [labels.status, value])).toEqual([["oneway", 1]]);
    expect(sum(host, "meltemi_request_bytes_total")).toBe(frame.length);
    expect(samples(host, inFlight)).toEqual([]);
    expect(samples(host, durations)).toEqual([]);
    connection.close("client");
    expect(sum(host, requests)).toBe(1);
  });

  it("is every heartbeat and its reply, from either side", async () => {
    const { host, connection } = await observing({ direction: "inbound" });
    connection.downstream(encodeHeartbeat(1));
    connection.upstream(encodeHeartbeatReply(1));
    connection.upstream(encodeHeartbeat(2));
    connection.downstream(encodeHeartbeatReply(2));
    expect(sum(host, "meltemi_heartbeats_total", { protocol: "dubbo", direction: "inbound" })).toBe(4);
    expect(sum(host, requests)).toBe(0);
    expect(sum(host, "meltemi_unmatched_responses_total")).toBe(0);
  });

  it("goes the other way for what the server asks, on every connection", async () => {
    const { host, root } = await observing({ direction: "outbound" });
    for (let i = 0; i < 5; i++) {
      const { connection } = connect(root);
      connection.downstream(request(1, "of.client", "x"));
      connection.upstream(request(1, "of.server", "x"));
      // Both have the id 1; who answers tells which is meant.
      connection.downstream(encodeException(1, "refused"));
      connection.upstream(reply(1));
      connection.downstream(reply(2));
      connection.close("client");
    }
    expect(samples(host, requests).map(({ labels, value }) => ({ ...labels, value }))).toEqual([
      { protocol: "dubbo", direction: "inbound", service: "of.server", method: "x", status: "exception", value: 5 },
      { protocol: "dubbo", direction: "outbound", service: "of.client", method: "x", status: "ok", value: 5 },
    ]);
    expect(sum(host, "meltemi_unmatched_responses_total", { direction: "inbound" })).toBe(5);
  });
});

describe("the end of a connection", () => {
  it.each([
    ["client", "client_gone"],
    ["server", "upstream_gone"],
  ] as const)("by the %s leaves what is in flight as %s", async (by, status) => {
    const { host, sleep, connection, seen } = await observing({ log: { requests: 1 } });
    connection.downstream(Buffer.concat([request(1), request(2), request(3)]));
    connection.upstream(Buffer.concat([reply(2), reply(3).subarray(0, 20)]));
    sleep(25);
    connection.close(by);
    expect(seen.closed).toBe(true);
    expect(sum(host, requests, { status })).toBe(2);
    expect(sum(host, requests, { status: "ok" })).toBe(1);
    expect(sum(host, inFlight)).toBe(0);
    expect(sum(host, "meltemi_response_bytes_total", { status })).toBe(0);
    expect(lines(host, "request").filter((line) => line.status === status)).toHaveLength(2);
    expect(lines(host, "request").at(-1)).toMatchObject({ duration_ms: 25, response_bytes: 0 });
  });

  it("of one direction leaves the other alone", async () => {
    const { host, connection, seen } = await observing();
    connection.downstream(request(1), true);
    expect(sum(host, inFlight)).toBe(1);
    connection.upstream(reply(1));
    expect(sum(host, requests, { status: "ok" })).toBe(1);
    connection.close("server");
    expect(sum(host, requests)).toBe(1);
    expect(seen.toClient).toEqual(reply(1));
  });

  it("is counted for who ended first", async () => {
    const { host, connection } = await observing();
    connection.downstream(request(1));
    connection.upstream(Buffer.alloc(0), true);
    connection.close("client");
    expect(sum(host, requests, { status: "upstream_gone" })).toBe(1);
  });

  it("in the middle of a request's head counts nothing", async () => {
    const { host, connection } = await observing();
    connection.downstream(request(1).subarray(0, 30));
    connection.close("client");
    expect(samples(host, requests)).toEqual([]);
  });
});

describe("bytes that are not the protocol", () => {
  const garbage = Buffer.from("GET / HTTP/1.1\r\n\r\n");

  it.each([0, 1, 5])("after %i good frames end the counting, and nothing else", async (good) => {
    const { host, connection, seen } = await observing({ log: { frames: true } });
    const frames = Array.from({ length: good }, (_, i) => request(i + 1));
    connection.downstream(Buffer.concat(frames));
    for (let i = 0; i < good - 1; i++) connection.upstream(reply(i + 1));
    const sent = Buffer.concat([...frames, garbage, request(99), garbage]);
    connection.downstream(sent.subarray(Buffer.concat(frames).length));
    connection.upstream(reply(good));
    connection.upstream(garbage);

    expect(samples(host, "meltemi_decode_errors_total")).toEqual([
      { labels: { protocol: "dubbo", direction: "outbound", reason: "magic" }, value: 1 },
    ]);
    expect(lines(host, "decode_error")).toEqual([
      { meltemi: "decode_error", connection: 2, from: "client", reason: "magic", offset: Buffer.concat(frames).length },
    ]);
    expect(sum(host, requests, { status: "ok" })).toBe(Math.max(0, good - 1));
    expect(sum(host, requests, { status: "unknown" })).toBe(Math.min(1, good));
    expect(sum(host, inFlight)).toBe(0);
    expect(seen.toServer).toEqual(sent);
    expect(seen.toClient).toEqual(
      Buffer.concat([...frames.slice(0, -1).map((_, i) => reply(i + 1)), reply(good), garbage]),
    );
    connection.close("client");
    expect(sum(host, requests)).toBe(good);
  });

  it("from the server end the counting too, in the middle of a chunk", async () => {
    const { host, connection } = await observing({ log: { frames: true } });
    connection.downstream(Buffer.concat([request(1), request(2)]));
    connection.upstream(Buffer.concat([reply(1), garbage, reply(2)]));
    expect(sum(host, requests, { status: "ok" })).toBe(1);
    expect(sum(host, requests, { status: "unknown" })).toBe(1);
    expect(lines(host, "decode_error")).toMatchObject([{ from: "server", offset: reply(1).length }]);
  });

  it.each([
    ["length", Buffer.from("dabbe20000000000000000ffffffffff", "hex")],
    ["too_large", Buffer.from("dabbe20000000000000000ff000003f1", "hex")],
    ["encoding", Buffer.from("dabbc20000000000000000ff000000019045", "hex")],
    [
      "head_too_large",
      Buffer.concat([Buffer.from("dabbc20000000000000000ff000003e85303d0", "hex"), Buffer.alloc(999, 97)]),
    ],
  ])("are counted with the reason %s", async (reason, bytes) => {
    const { host, connection, seen } = await observing({ limits: { frameBytes: 1024, headBytes: 128 } });
    connection.downstream(bytes);
    expect(samples(host, "meltemi_decode_errors_total").map(({ labels }) => labels.reason)).toEqual([reason]);
    expect(seen.toServer).toEqual(bytes);
  });

  it("leave other connections alone", async () => {
    const { host, root, connection } = await observing();
    const other = connect(root).connection;
    other.downstream(request(1));
    connection.downstream(garbage);
    other.upstream(reply(1));
    expect(sum(host, requests, { status: "ok" })).toBe(1);
  });
});

describe("labels", () => {
  it("escape what would end a value early, look like another label or is no printable ASCII", async () => {
    const { host, connection } = await observing();
    const service = 'a;.;b%3B method=.=d"\\\u007f';
    connection.downstream(request(1, service, "ελ🍵\n"));
    connection.upstream(reply(1));
    const [sample] = samples(host, requests);
    expect(sample?.labels).toEqual({
      protocol: "dubbo",
      direction: "outbound",
      service: 'a%3B.%3Bb%253B%20method%3D.%3Dd"\\%7F',
      // dubbo-remoting writes characters above U+FFFF as two surrogates, as Java does.
      method: "%CE%B5%CE%BB%ED%A0%BC%ED%BD%B5%0A",
      status: "ok",
    });
  });

  it("are cut at 255 bytes, so that long names count as one", async () => {
    const { host, connection } = await observing();
    const long = "s".repeat(255);
    connection.downstream(Buffer.concat([request(1, long, long), request(2, `${long}!`, `${long}?`)]));
    connection.upstream(Buffer.concat([reply(1), reply(2)]));
    expect(samples(host, requests).map(({ labels, value }) => [labels.service, labels.method, value])).toEqual([
      [long, long, 2],
    ]);
  });

  it("say unknown, or the service's own name, where a request has none", async () => {
    const { host, connection } = await observing({ service: "greeter" });
    const fastjson = Buffer.from("dabbc600000000000000000100000003227b7d", "hex");
    connection.downstream(fastjson);
    connection.upstream(reply(1));
    expect(samples(host, requests).map(({ labels }) => [labels.service, labels.method])).toEqual([
      ["greeter", "unknown"],
    ]);
  });

  it("say other past the limit of series, and go on so for new ones only", async () => {
    const { host, connection } = await observing({ limits: { series: 3 } });
    for (let i = 0; i < 10; i++) {
      connection.downstream(request(i, "a.B", `m${i}`));
      connection.upstream(reply(i));
    }
    connection.downstream(request(1, "a.B", "m1"));
    connection.upstream(reply(1));
    expect(
      samples(host, requests)
        .map(({ labels, value }) => [labels.service, labels.method, value])
        .sort(),
    ).toEqual([
      ["a.B", "m0", 1],
      ["a.B", "m1", 2],
      ["a.B", "m2", 1],
      ["other", "other", 7],
    ]);
  });

  it("say other past 64 outcomes of a method, and never trap", async () => {
    const { host, connection } = await observing({ protocol: "awesomerpc" });
    for (let i = 0; i < 300; i++) {
      connection.downstream(awesome(i, 1));
      connection.upstream(awesome(i, 1, { code: i }));
    }
    const found = samples(host, requests);
    expect(found.find(({ labels }) => labels.status === "other")?.value).toBe(300 - 64);
    expect(found).toHaveLength(65);
    connection.downstream(awesome(1, 1));
    connection.close("client");
    expect(sum(host, requests)).toBe(301);
  });
});

describe("limits", () => {
  it("say other when many methods have many outcomes, because every one costs memory", async () => {
    const { host, connection } = await observing();
    for (let method = 0; method < 90; method++) {
      const ids = Array.from({ length: 60 }, (_, id) => id);
      connection.downstream(Buffer.concat(ids.map((id) => request(id, "a.B", `m${method}`))));
      connection.upstream(Buffer.concat(ids.map((id) => encodeFailure(id, 101 + id, "x"))));
    }
    const outcomes = samples(host, requests);
    expect(outcomes).toHaveLength(90 * 8 + 4096 + outcomes.filter(({ labels }) => labels.status === "other").length);
    expect(outcomes.reduce((all, { value }) => all + value, 0)).toBe(90 * 60);
  });

  it("leave requests past the in-flight limit untracked, and track again below it", async () => {
    const { host, root, connection } = await observing({ limits: { inFlight: 3 } });
    const other = connect(root).connection;
    connection.downstream(Buffer.concat([request(1), request(2), request(3), request(4)]));
    other.downstream(request(1));
    expect(sum(host, requests, { status: "untracked" })).toBe(2);
    expect(sum(host, inFlight)).toBe(3);
    connection.upstream(reply(2));
    other.downstream(request(7));
    expect(sum(host, inFlight)).toBe(3);
    other.upstream(reply(7));
    expect(sum(host, requests, { status: "ok" })).toBe(2);
    expect(sum(host, inFlight)).toBe(2);
  });
});

describe("log lines", () => {
  it("of one in N requests", async () => {
    const { host, connection } = await observing({ log: { requests: 10 } });
    for (let i = 0; i < 95; i++) {
      connection.downstream(request(i));
      connection.upstream(reply(i));
    }
    expect(lines(host, "request").map(({ id }) => id)).toEqual(["9", "19", "29", "39", "49", "59", "69", "79", "89"]);
    expect(host.logs.every(({ level }) => level === "info")).toBe(true);
  });

  it("of a request are what the contract says", async () => {
    const { host, sleep, connection } = await observing({ log: { requests: 1 } });
    connection.downstream(request(7, "a.B", "hi"));
    sleep(4);
    connection.upstream(reply(7));
    expect(host.logs).toEqual([
      {
        level: "info",
        context: connection.id,
        message:
          '{"meltemi":"request","protocol":"dubbo","direction":"outbound","service":"a.B","method":"hi","status":"ok",' +
          `"id":"7","duration_ms":4,"request_bytes":${request(7, "a.B", "hi").length},"response_bytes":${reply(7).length}}`,
      },
    ]);
  });

  it("of frames are what the contract says", async () => {
    const { host, connection } = await observing({ log: { frames: true } });
    const asked = request(7, "a.B", 'say "hi"', { attachments: { tag: "é\n" } });
    connection.downstream(asked);
    connection.upstream(Buffer.concat([encodeHeartbeat(8), encodeFailure(7, 100, "busy")]));
    const id = connection.id;
    expect(host.logs.map(({ message }) => message)).toEqual([
      `{"meltemi":"frame","connection":${id},"from":"client","protocol":"dubbo","kind":"request","id":"7","service":"a.B",` +
        `"method":"say \\"hi\\"","status":"","code":0,"length":${asked.length},"offset":0,"metadata":{"interface":"a.B",` +
        '"version":"","dubbo":"2.0.2","path":"a.B","tag":"é\\n"}}',
      `{"meltemi":"frame","connection":${id},"from":"server","protocol":"dubbo","kind":"heartbeat","id":"8","service":"",` +
        '"method":"","status":"","code":0,"length":17,"offset":0,"metadata":{}}',
      `{"meltemi":"frame","connection":${id},"from":"server","protocol":"dubbo","kind":"response","id":"7","service":"",` +
        '"method":"","status":"threadpool_exhausted","code":100,"length":21,"offset":17,"metadata":{}}',
    ]);
  });

  it("of frames are written however long they are", async () => {
    const { host, connection } = await observing({ log: { frames: true } });
    const name = "\u0001".repeat(15_000);
    connection.downstream(request(1, name, "m", { attachments: { key: name } }));
    expect(lines(host, "frame")).toMatchObject([{ service: name, metadata: { interface: name, key: name } }]);
  });

  it("of ids have all 64 bits", async () => {
    const { host, connection } = await observing({ log: { requests: 1 } });
    const frame = request(1);
    frame.writeBigUInt64BE(2n ** 64n - 1n, 4);
    connection.downstream(frame);
    connection.close("client");
    expect(lines(host, "request")).toMatchObject([{ id: "18446744073709551615", status: "client_gone" }]);
  });

  it("are none by default", async () => {
    const { host, connection } = await observing();
    connection.downstream(Buffer.concat([request(1), Buffer.from("garbage that is long enough")]));
    connection.close("client");
    expect(host.logs).toEqual([]);
  });
});

describe("filter state", () => {
  it("names service and method of the connection's first request, whole heads only, for good", async () => {
    const { connection } = await observing();
    const state = () => [
      connection.filterState.get("wasm.meltemi.service"),
      connection.filterState.get("wasm.meltemi.method"),
    ];
    connection.downstream(encodeHeartbeat(1));
    connection.downstream(request(1, "a.B", "first").subarray(0, 25));
    expect(state()).toEqual([undefined, undefined]);
    connection.downstream(request(1, "a.B", "first").subarray(25));
    expect(state()).toEqual(["a.B", "first"]);
    connection.downstream(request(2, "c.D", "second"));
    expect(state()).toEqual(["a.B", "first"]);
  });

  it("names them past the limit of series too, and what it can where a frame has no names", async () => {
    const { connection, root } = await observing({ service: "own", limits: { series: 1 } });
    connection.downstream(request(1));
    const next = connect(root).connection;
    next.downstream(request(1, "c.D", "later"));
    const other = connect(root).connection;
    other.downstream(request(1, "", ""));
    expect([next, other].map(({ filterState }) => [...filterState.values()])).toEqual([
      ["c.D", "later"],
      ["own", "unknown"],
    ]);
  });
});

describe("ticks", () => {
  it("come only while there is something to tell", async () => {
    const { host, root, connection } = await observing();
    expect(root.tickPeriod).toBe(0);
    connection.downstream(encodeHeartbeat(1));
    expect(root.tickPeriod).toBe(0);
    connection.downstream(request(1));
    expect(root.tickPeriod).toBe(500);
    root.tick();
    expect(root.tickPeriod).toBe(0);
    expect([...host.metrics.gauges].filter(([name]) => name.endsWith(inFlight))[0]?.[1]).toBe(1);
    connection.upstream(reply(1));
    expect(root.tickPeriod).toBe(500);
    root.tick();
    connection.downstream(request(2));
    root.tick();
    expect(root.tickPeriod).toBe(0);
    connection.close("client");
    expect(root.tickPeriod).toBe(500);
    root.tick();
    expect(root.tickPeriod).toBe(0);
  });

  it("of one configuration tell what another counted, and do not end its ticks", async () => {
    const { host, root, connection } = await observing();
    const other = host.configure({ protocol: "awesomerpc" });
    connection.downstream(request(1));
    connect(other).connection.downstream(awesome(1, 1));
    root.tick();
    expect(root.tickPeriod).toBe(0);
    expect(other.tickPeriod).toBe(500);
    connection.upstream(reply(1));
    expect(root.tickPeriod).toBe(500);
    other.tick();
    expect(other.tickPeriod).toBe(0);
    expect([...host.metrics.counters].some(([name, value]) => name.endsWith(requests) && value === 1)).toBe(true);
  });
});
