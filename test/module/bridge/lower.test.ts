import { describe, expect, it } from "vitest";
import {
  encodeException,
  encodeFailure,
  encodeHeartbeat,
  encodeHeartbeatReply,
  encodeReply,
  encodeRequest,
} from "../../peers/dubbo/codec.js";
import { reply, request } from "../support.js";
import { Code, data, Flag, frame, headers, ping, reset, Setting, Type } from "./http2.js";
import {
  asked,
  asking,
  closings,
  contentType,
  expectBytes,
  expectSettled,
  idOf,
  Lowered,
  type LoweredOptions,
  leg,
  opaque,
  outcomes,
  total,
  withId,
} from "./support.js";

/** What lower says to whom, when, and what it makes of wrong requests and replies. */

async function lowered(options: LoweredOptions = {}, more: object = {}) {
  const { host, root, sleep } = await leg("lower", more);
  return { host, root, sleep, it: new Lowered(host, root, options).greet() };
}

const oneWay = (id: number) => encodeRequest(id, "a.Greeter", "tell", ["x"], { twoWay: false });

describe("lower speaks to the router", () => {
  it("only with what the server sends, its settings first", async () => {
    const { host, it } = await lowered();
    const stream = it.request(request(7));
    host.tick();
    expect(it.peer.frames).toEqual([]);
    expect(it.requests).toHaveLength(1);
    it.server(withId(reply(7), stream));
    expect(it.peer.frames.map(({ type, flags }) => [type, flags])).toEqual([
      [Type.settings, 0],
      [Type.window, 0],
      [Type.settings, Flag.ack],
      [Type.headers, Flag.endHeaders],
      [Type.data, Flag.endStream],
    ]);
    expect(it.peer.stream(stream).fields).toEqual({ ":status": "200", "content-type": contentType });
    expect(it.peer.stream(stream).data).toEqual(reply(7));
    expect(it.heartbeats).toBe(0);
    expectSettled(host);
  });

  it("settings first as well where the server speaks first", async () => {
    const { it } = await lowered();
    it.server(encodeHeartbeat(5));
    expect(it.peer.frames.map(({ type }) => type)).toEqual([Type.settings, Type.window, Type.settings]);
    expect(it.heartbeats).toBe(0);
  });

  it("by a heartbeat to the server where that cannot wait: for a window, a one-way request, PING, an error", async () => {
    const cases: [string, (it: Lowered) => void][] = [
      ["a window", (it) => it.http(asking(it.open()), data(1, opaque("request", 7, 65_536).subarray(0, 65_535)))],
      ["a long request", (it) => it.http(asking(it.open()), data(1, opaque("request", 7, 65_600).subarray(0, 16_384)))],
      ["a one-way request", (it) => it.request(oneWay(7))],
      ["PING", (it) => it.http(ping())],
      ["an error", (it) => it.request(Buffer.from("garbage"))],
      [
        "all streams together",
        (it) => {
          for (let i = 0; i < 3; i++)
            it.http(asking(it.open()), data(it.next - 2, opaque("request", 7, 20_000).subarray(0, 12_000)));
        },
      ],
    ];
    for (const [, act] of cases) {
      const { host, it } = await lowered({ onHeartbeat: () => {} });
      act(it);
      expect(it.heartbeats).toBe(1);
      // Only one at a time.
      it.http(ping());
      expect(it.heartbeats).toBe(1);
      const { length } = it.peer.frames;
      it.server(encodeHeartbeatReply(2));
      expect(it.peer.frames.length).toBeGreaterThan(length);
      // Nobody sees the answer.
      expect(it.peer.of(Type.data)).toEqual([]);
      expect(total(host, "meltemi_unmatched_responses_total")).toBe(0);
      // And nothing is left to be said.
      it.request(request(8));
      expect(it.heartbeats).toBe(1);
    }
  });

  it("in time for requests of all lengths around the first window", async () => {
    const { host, it } = await lowered({ hello: (peer) => peer.grant(0, 1 << 30) });
    for (const length of [
      65_534, 65_535, 65_536, 80_000, 81_919, 131_072, 262_143, 262_144, 262_145, 270_000, 278_528, 600_000,
    ]) {
      const stream = it.open();
      let rest = opaque("request", length, length);
      it.http(asking(stream));
      while (rest.length) {
        const n = it.peer.spend(stream, Math.min(rest.length, 16_384));
        expect(n).toBeGreaterThan(0);
        it.http(data(stream, rest.subarray(0, n), n === rest.length ? Flag.endStream : 0));
        rest = rest.subarray(n);
        host.tick();
      }
      expect(it.requests).toHaveLength(1);
      expectBytes(withId(it.requests.pop() as Buffer, length), opaque("request", length, length));
      it.http(it.peer.grant(stream, length));
      it.server(opaque("reply", stream, length));
      expectBytes(it.peer.stream(stream).data, withId(opaque("reply", stream, length), length));
    }
    expectSettled(host);
  });
});

describe("lower speaks to the server", () => {
  it("with answers to its heartbeats, soon, and not in the middle of a frame", async () => {
    const { host, it } = await lowered();
    it.server(encodeHeartbeat(5), encodeHeartbeat(6));
    host.tick();
    expect(it.heartbeatReplies).toBe(2);
    // Long enough to be written as it comes.
    const stream = it.open();
    const long = opaque("request", 7, 600_000);
    let at = it.peer.spend(stream, 16_384);
    it.http(asking(stream), data(stream, long.subarray(0, at)));
    host.tick();
    const n = it.peer.spend(stream, 16_384);
    it.http(data(stream, long.subarray(at, at + n)));
    at += n;
    it.server(encodeHeartbeat(7));
    host.tick();
    expect(it.heartbeatReplies).toBe(2);
    expect(it.peer.spend(stream, 600_000 - at)).toBe(600_000 - at);
    it.http(data(stream, long.subarray(at), Flag.endStream));
    expect(it.requests).toHaveLength(1);
    expectBytes(withId(it.requests[0] as Buffer, 7), long);
    expect(it.heartbeatReplies).toBe(3);
    expect(total(host, "meltemi_heartbeats_total")).toBe(3 + it.heartbeats);
  });

  it("with answers to heartbeats that came before the router had said who it is", async () => {
    const { host, root } = await leg("lower");
    const early = new Lowered(host, root);
    early.server(encodeHeartbeat(5));
    host.tick();
    early.greet();
    expect(early.heartbeatReplies).toBe(1);
    const later = new Lowered(host, root);
    later.http(Buffer.from("PRI * HT"));
    later.server(encodeHeartbeat(5));
    host.tick();
    expect(later.heartbeatReplies).toBe(0);
    later.http(Buffer.from("TP/2.0\r\n\r\nSM\r\n\r\n"));
    expect(later.heartbeatReplies).toBe(1);
    later.request(request(7));
    expect(later.requests).toHaveLength(1);
  });

  it("with ids of its own, and the router gets back those of the clients", async () => {
    const { host, it } = await lowered();
    const streams = [7, 7, 0, 7, 2 ** 40].map((id) => it.request(request(id)));
    expect(it.requests.map(idOf)).toEqual(streams);
    it.server(...[...streams].reverse().map((id) => reply(id)));
    expect(streams.map((id) => idOf(it.peer.stream(id).data))).toEqual([7, 7, 0, 7, 2 ** 40]);
    expect(outcomes(host)).toEqual({ ok: 5 });
    expectSettled(host);
  });
});

describe("a reply", () => {
  it("says in HTTP how it went", async () => {
    const cases: [Buffer, string, string | undefined, string][] = [
      [encodeReply(1, "x"), "200", undefined, "ok"],
      [encodeException(1, "boom"), "500", "exception", "exception"],
      [encodeFailure(1, 31, "late"), "504", "server_timeout", "server_timeout"],
      [encodeFailure(1, 40, "bad"), "400", "bad_request", "bad_request"],
      [encodeFailure(1, 60, "none"), "404", "service_not_found", "service_not_found"],
      [encodeFailure(1, 80, "no"), "500", "server_error", "server_error"],
      [encodeFailure(1, 100, "full"), "429", "threadpool_exhausted", "threadpool_exhausted"],
      [encodeFailure(1, 35, "gone"), "502", "channel_inactive", "channel_inactive"],
      [encodeFailure(1, 99, "what"), "500", "99", "99"],
    ];
    const { host, it } = await lowered();
    for (const [frame, status, word] of cases) {
      const stream = it.request(request(9));
      it.server(withId(frame, stream));
      const { fields, data, ended } = it.peer.stream(stream);
      expect([fields[":status"], fields["meltemi-status"], ended]).toEqual([status, word, true]);
      expect(data).toEqual(withId(frame, 9));
    }
    expect(outcomes(host)).toEqual(Object.fromEntries(cases.map(([, , , name]) => [name, 1])));
    expectSettled(host);
  });

  it("to nobody, to what is not asked yet, and a second one, count as unmatched", async () => {
    const { host, it } = await lowered();
    const stream = it.request(request(7));
    it.http(asking(it.open()), data(3, request(8).subarray(0, 30)));
    it.server(reply(99), reply(3), reply(2), reply(2 ** 33 + stream), request(stream), opaque("oneway", stream, 20));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(6);
    it.server(reply(stream), reply(stream));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(7);
    expect(it.peer.stream(stream).data).toEqual(reply(7));
    expect(it.peer.stream(3).data).toHaveLength(0);
    it.http(data(3, request(8).subarray(30), Flag.endStream));
    it.server(reply(3));
    expect(it.peer.stream(3).data).toEqual(reply(8));
    expectSettled(host);
  });

  it("to a request that is not whole ends the stream", async () => {
    const { host, it } = await lowered();
    it.request(request(1));
    it.server(reply(1));
    const stream = it.open();
    const long = opaque("request", 7, 400_000);
    it.http(asking(stream), data(stream, long.subarray(0, it.peer.spend(stream, 60_000))));
    host.tick();
    it.http(data(stream, long.subarray(60_000, 60_000 + it.peer.spend(stream, 20_000))));
    it.server(reply(stream));
    // The rest of the request has nowhere to go.
    expect(it.closed).toBe(true);
    expect(closings(host, "incomplete")).toBe(1);
    expectSettled(host);
  });

  it("that is garbage, or beyond the limit, ends the connection, and no other", async () => {
    const limits = { frameBytes: 100_000 };
    const bad: [Buffer, string][] = [
      [Buffer.from("this is no reply"), "magic"],
      [opaque("reply", 1, 200_000).subarray(0, 100), "too_large"],
    ];
    for (const [bytes, reason] of bad) {
      const { host, root, it } = await lowered({}, { limits });
      const other = new Lowered(host, root).greet();
      const [first] = [it.request(request(7)), it.request(request(8)), other.request(request(9))];
      it.server(reply(first), bytes);
      expect(it.closed).toBe(true);
      expect(closings(host, reason)).toBe(1);
      expect(total(host, "meltemi_decode_errors_total", { reason })).toBe(1);
      other.server(reply(1));
      expect(other.peer.stream(1).data).toEqual(reply(9));
      expect(outcomes(host)).toEqual({ ok: 2, upstream_gone: 1 });
      expectSettled(host);
    }
  });
});

describe("a frame whose metadata are not all of interest", () => {
  it("keeps the others when one changes", async () => {
    const { host, root } = await leg("lower", { protocol: "thrift", metadata: ["a"] });
    const it = new Lowered(host, root, { cutter: { push: (bytes) => [bytes] } }).greet();
    const framed = (value: string) =>
      Buffer.from(
        `00000025_0fff0000_00000007_0003_0000_0102_0161_01${value}_0162_0132_80010001_00000002_6869_00000007_00`.replaceAll(
          "_",
          "",
        ),
        "hex",
      );
    const stream = it.open();
    it.http(
      asking(stream, { "content-type": "application/vnd.meltemi.thrift", a: "9" }),
      data(stream, framed("31"), Flag.endStream),
    );
    expect(it.requests.map((frame) => frame.toString("latin1"))).toEqual([expect.stringContaining("\u0001b\u00012")]);
    expect(it.requests[0]?.toString("latin1")).toContain("\u0001a\u00019");
    it.connection.close("client");
    expectSettled(host);
  });
});

describe("a request that is none", () => {
  const wrong: [string, (stream: number) => Buffer[]][] = [
    ["nothing", (s) => [asking(s, {}, Flag.endStream)]],
    ["nothing, in DATA", (s) => [asking(s), data(s, Buffer.alloc(0), Flag.endStream)]],
    ["the start of a head", (s) => asked(s, request(7).subarray(0, 12))],
    ["the start of a body", (s) => asked(s, request(7).subarray(0, 80))],
    ["garbage", (s) => asked(s, Buffer.alloc(3000, "garbage"))],
    ["a reply", (s) => asked(s, reply(7))],
    ["a heartbeat", (s) => asked(s, encodeHeartbeat(7))],
    ["a frame beyond the limit", (s) => asked(s, opaque("request", 7, 60_000))],
    [
      "an end by trailers",
      (s) => [asking(s), data(s, request(7).subarray(0, 80)), headers(s, { t: "x" }, Flag.endStream)],
    ],
  ];

  it.each(wrong)("%s: 400, and nothing of it reaches the server", async (_, make) => {
    const { host, it } = await lowered({}, { limits: { frameBytes: 50_000 } });
    const other = it.request(request(8));
    const stream = it.open();
    it.http(...make(stream));
    expect(it.peer.stream(stream).fields).toEqual({ ":status": "400" });
    expect(it.peer.stream(stream).ended).toBe(true);
    expect(it.requests).toHaveLength(1);
    it.server(reply(other));
    expect(it.peer.stream(other).data).toEqual(reply(8));
    expect(it.closed).toBe(false);
    expectSettled(host);
  });

  it("two in one stream, cut anywhere: the first may have reached the server, the second does not", async () => {
    const both = Buffer.concat([request(7), request(8)]);
    for (let cut = 1; cut < both.length; cut++) {
      const { host, it } = await lowered();
      const stream = it.open();
      it.http(asking(stream), data(stream, both.subarray(0, cut)));
      it.http(data(stream, both.subarray(cut), Flag.endStream));
      expect(it.peer.stream(stream).fields).toEqual({ ":status": "400" });
      expect(it.requests).toEqual([withId(request(7), stream)]);
      it.server(reply(stream));
      expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
      expect(outcomes(host)).toEqual({ refused: 1 });
      expectSettled(host);
    }
  });

  it("the end of a long one that comes too early ends the connection", async () => {
    const { host, it } = await lowered();
    const stream = it.open();
    const long = opaque("request", 7, 400_000);
    it.http(asking(stream), data(stream, long.subarray(0, 60_000)));
    host.tick();
    it.http(data(stream, long.subarray(60_000, 70_000), Flag.endStream));
    expect(it.closed).toBe(true);
    expect(closings(host, "incomplete")).toBe(1);
    expectSettled(host);
  });

  it("headers that are too long get 431, and HPACK stays in step", async () => {
    const { host, it } = await lowered();
    const stream = it.open();
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, "y"]));
    it.http(...asked(stream, request(7), many));
    expect(it.peer.stream(stream).fields).toEqual({ ":status": "431" });
    const next = it.request(request(8));
    it.server(reply(next));
    expect(it.peer.stream(next).data).toEqual(reply(8));
    expectSettled(host);
  });
});

describe("a router that gives up", () => {
  it("before, in and after a short request: nobody waits, and a late reply is unmatched", async () => {
    const { host, it } = await lowered();
    const [a, b, c] = [it.open(), it.open(), it.open()];
    it.http(
      asking(a),
      reset(a),
      asking(b),
      data(b, opaque("request", 7, 100).subarray(0, 50)),
      reset(b),
      ...asked(c, request(8)),
      reset(c),
    );
    const d = it.request(request(9));
    expect(it.requests.map(idOf)).toEqual([c, d]);
    it.server(reply(c), reply(d));
    expect(it.peer.stream(c).data).toHaveLength(0);
    expect(it.peer.stream(d).data).toEqual(reply(9));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
    expect(outcomes(host)).toEqual({ client_gone: 2, ok: 1 });
    expectSettled(host);
  });

  it("in the middle of a reply: the rest of it goes nowhere", async () => {
    const { host, it } = await lowered();
    const [a, b] = [it.request(request(7)), it.request(request(8))];
    const long = opaque("reply", a, 100_000);
    it.server(long.subarray(0, 30_000));
    it.http(reset(a));
    it.server(long.subarray(30_000), reply(b));
    expect(it.peer.stream(a).data).toHaveLength(30_000);
    expect(it.peer.stream(b).data).toEqual(reply(8));
    expectSettled(host);
  });

  it("in the middle of a long request ends the connection; while that one waits for its turn it does not", async () => {
    const { host, it } = await lowered();
    it.request(request(1));
    it.server(reply(1));
    const [a, b] = [it.open(), it.open()];
    const [long, waiting] = [opaque("request", 7, 400_000), opaque("request", 8, 400_000)];
    it.http(asking(a), data(a, long.subarray(0, it.peer.spend(a, 60_000))), asking(b));
    host.tick();
    it.http(data(a, long.subarray(60_000, 60_000 + it.peer.spend(a, 10_000))));
    it.http(data(b, waiting.subarray(0, it.peer.spend(b, 60_000))), reset(b));
    expect(it.closed).toBe(false);
    it.http(reset(a));
    expect(it.closed).toBe(true);
    expect(closings(host, "incomplete")).toBe(1);
    expect(outcomes(host)).toEqual({ ok: 1, client_gone: 2 });
    expectSettled(host);
  });
});

describe("limits", () => {
  it("of streams hold once the router knows them", async () => {
    const { host, it } = await lowered();
    it.server(encodeHeartbeat(1));
    const payload = it.peer.of(Type.settings)[0]?.payload as Buffer;
    expect(payload.readUInt16BE(0)).toBe(Setting.maxConcurrentStreams);
    const most = payload.readUInt32BE(2);
    const streams = Array.from({ length: most + 2 }, () => it.request(request(7)));
    host.tick();
    expect(it.requests).toHaveLength(most);
    it.server(encodeHeartbeat(1));
    expect(streams.slice(-2).map((id) => it.peer.stream(id).reset)).toEqual([Code.refusedStream, Code.refusedStream]);
    it.server(...it.requests.map((frame) => reply(idOf(frame))));
    const again = it.request(request(8));
    it.server(reply(again));
    expect(it.peer.stream(again).data).toEqual(reply(8));
    expect(outcomes(host)).toEqual({ ok: most + 1 });
    expectSettled(host);
  });

  it("of requests in flight refuse streams, which routers may try elsewhere", async () => {
    const { host, it } = await lowered({}, { limits: { inFlight: 2 } });
    const streams = [1, 2, 3].map((id) => it.request(request(id)));
    it.server(...it.requests.map((frame) => reply(idOf(frame))));
    expect(it.peer.stream(streams[2] as number).reset).toBe(Code.refusedStream);
    expect(outcomes(host)).toEqual({ ok: 2 });
    const again = it.request(request(4));
    it.server(reply(again));
    expect(it.peer.stream(again).data).toEqual(reply(4));
    expectSettled(host);
  });
});

describe("one-way requests", () => {
  it("are answered when they are written, and count once", async () => {
    const { host, it } = await lowered();
    const streams = [7, 7, 8].map((id) => it.request(oneWay(id)));
    expect(it.requests.map(idOf)).toEqual(streams);
    host.tick();
    for (const id of streams) {
      expect(it.peer.stream(id)).toMatchObject({ fields: { ":status": "200" }, ended: true, reset: undefined });
    }
    expect(outcomes(host)).toEqual({ oneway: 3 });
    it.server(reply(streams[0] as number));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
    expectSettled(host);
  });

  it("wait for their turn behind a long one, although they are answered", async () => {
    const { host, it } = await lowered();
    it.request(request(1));
    it.server(reply(1));
    const [a] = [it.open()];
    const long = opaque("request", 7, 400_000);
    it.http(asking(a), data(a, long.subarray(0, it.peer.spend(a, 60_000))));
    host.tick();
    it.http(data(a, long.subarray(60_000, 60_000 + it.peer.spend(a, 10_000))));
    const b = it.request(oneWay(8));
    it.server(encodeHeartbeat(5));
    expect(it.peer.stream(b).ended).toBe(true);
    // Others do not take what it still writes for theirs.
    it.http(frame(Type.window, b, Buffer.of(0, 0, 0, 1)), reset(b));
    it.http(data(a, long.subarray(70_000, 70_000 + it.peer.spend(a, 330_000)), Flag.endStream));
    expect(it.requests).toHaveLength(3);
    expectBytes(it.requests[1] as Buffer, withId(long, a));
    expect(it.requests[2]).toEqual(withId(oneWay(8), b));
    expect(it.heartbeatReplies).toBe(1);
    it.server(reply(a));
    expectSettled(host);
  });
});
