import { describe, expect, it } from "vitest";
import { encodeHeartbeat, encodeHeartbeatReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { reply, request } from "../support.js";
import { data, Flag, ping, pingAck, reset, Setting, settings, Type } from "./http2.js";
import {
  closings,
  contentType,
  expectBytes,
  expectSettled,
  idOf,
  Lifted,
  type LiftedOptions,
  leg,
  opaque,
  outcomes,
  responded,
  response,
  total,
} from "./support.js";

/** What lift says to the HTTP connection manager and to its client, and when. */

async function lifted(options: LiftedOptions = {}, more: object = {}) {
  const { host, root, sleep } = await leg("lift", more);
  return { host, root, sleep, it: new Lifted(host, root, options) };
}

describe("lift speaks to the HTTP connection manager", () => {
  it("its preface and settings first, then a stream for each request, in one piece with their frames", async () => {
    const { it } = await lifted();
    const oneWay = encodeRequest(7, "a.Greeter", "tell", ["x"], { twoWay: false });
    it.client(request(7), request(7, "b.C", "d", { attachments: { timeout: "250", k: "v" } }), oneWay);
    expect(it.peer.frames.map(({ type, stream }) => [type, stream])).toEqual([
      [Type.settings, 0],
      [Type.window, 0],
      [Type.headers, 1],
      [Type.data, 1],
      [Type.headers, 3],
      [Type.data, 3],
      [Type.headers, 5],
      [Type.data, 5],
    ]);
    expect(it.peer.stream(3).fields).toEqual({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "greeter",
      ":path": "/b.C/d",
      "content-type": contentType,
      "grpc-timeout": "250m",
      interface: "b.C",
      version: "",
      dubbo: "2.0.2",
      path: "b.C",
      timeout: "250",
      k: "v",
    });
    expect([1, 3, 5].map((id) => it.peer.stream(id).ended)).toEqual([true, true, true]);
    expect(it.peer.stream(1).data).toEqual(request(7));
    expect(it.peer.stream(5).data).toEqual(oneWay);
  });

  it("with the configured authority, a configured name where the frame has none, and only the metadata asked for", async () => {
    const { it } = await lifted({}, { authority: "greeter.example:80", metadata: ["k"] });
    it.client(opaque("request", 7, 30), request(8, "a.B", "c", { attachments: { k: "v", other: "w" } }));
    expect(it.peer.stream(1).fields).toEqual({
      ":method": "POST",
      ":scheme": "http",
      ":authority": "greeter.example:80",
      ":path": "/greeter/unknown",
      "content-type": contentType,
    });
    expect(it.peer.stream(3).fields).toMatchObject({ k: "v" });
    expect(Object.keys(it.peer.stream(3).fields)).toHaveLength(6);
  });
});

describe("heartbeats of the client", () => {
  it("are answered as soon as PING comes back, with one PING for many of them", async () => {
    const { host, it } = await lifted({ pings: false });
    const asked = () => it.peer.of(Type.ping).filter(({ flags }) => !(flags & Flag.ack)).length;
    it.client(request(9));
    it.client(encodeHeartbeat(1), encodeHeartbeat(2));
    it.client(encodeHeartbeat(3));
    expect(asked()).toBe(1);
    expect(it.frames).toEqual([]);
    // Whatever comes from there is an occasion.
    it.http(response(1, reply(9)));
    expect(it.frames).toEqual([...[1, 2, 3].map(encodeHeartbeatReply), reply(9)]);
    it.client(encodeHeartbeat(4));
    expect(asked()).toBe(1);
    it.http(pingAck(Buffer.alloc(8)));
    expect(it.frames.at(-1)).toEqual(encodeHeartbeatReply(4));
    it.client(encodeHeartbeat(5));
    expect(asked()).toBe(2);
    expect(total(host, "meltemi_heartbeats_total")).toBe(5);
  });

  it("are not answered in the middle of a reply", async () => {
    const { it } = await lifted();
    it.client(request(7));
    const long = opaque("reply", 7, 300_000);
    it.http(responded(1), data(1, long.subarray(0, 100_000)));
    it.client(encodeHeartbeat(1));
    it.http(ping());
    it.http(data(1, long.subarray(100_000), Flag.endStream));
    expect(it.frames).toHaveLength(2);
    expectBytes(it.frames[0] as Buffer, long);
    expect(it.frames[1]).toEqual(encodeHeartbeatReply(1));
  });

  it("that ask for no answer get none; replies that nobody asked for are counted", async () => {
    const { host, it } = await lifted();
    const silent = encodeHeartbeat(1);
    silent.writeUInt8(silent.readUInt8(2) & ~0x40, 2);
    it.client(silent, encodeHeartbeatReply(9), reply(5));
    expect(it.peer.of(Type.ping)).toEqual([]);
    expect(total(host, "meltemi_heartbeats_total")).toBe(2);
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
    expect(it.frames).toEqual([]);
  });
});

describe("windows of the HTTP connection manager", () => {
  it("of one byte", async () => {
    const { host, it } = await lifted();
    it.client(request(1));
    it.http(response(1, reply(1)), it.peer.setStreamWindow(1));
    it.client(request(2), request(3));
    for (let i = 0; !it.peer.stream(5).ended || !it.peer.stream(3).ended; i++) {
      expect(i).toBeLessThan(1000);
      for (const id of [3, 5]) if (!it.peer.stream(id).ended) it.http(it.peer.grant(id, 1));
      host.tick();
      if (i < 50) expect([3, 5].map((id) => it.peer.stream(id).data.length)).toEqual([i + 2, i + 2]);
    }
    expect([3, 5].map((id) => it.peer.stream(id).data)).toEqual([request(2), request(3)]);
    it.http(response(5, reply(3)), response(3, reply(2)));
    expectSettled(host);
  });

  it("of nothing, opened by SETTINGS, and shrunk below nothing in the middle", async () => {
    const { host, it } = await lifted({ hello: (peer) => peer.setStreamWindow(0) });
    it.client(request(1));
    it.http(response(1, reply(1)));
    const long = opaque("request", 2, 50_000);
    it.client(long, request(3));
    expect([3, 5].map((id) => it.peer.stream(id).data.length)).toEqual([0, 0]);
    it.http(it.peer.setStreamWindow(20_000));
    host.tick();
    expect([3, 5].map((id) => it.peer.stream(id).data.length)).toEqual([20_000, request(3).length]);
    it.http(it.peer.setStreamWindow(5000));
    expect(it.peer.stream(3).window).toBe(-15_000);
    it.http(it.peer.grant(3, 15_000));
    host.tick();
    expect(it.peer.stream(3).data).toHaveLength(20_000);
    it.http(it.peer.grant(3, 1));
    host.tick();
    expect(it.peer.stream(3).data).toHaveLength(20_001);
    it.http(it.peer.setStreamWindow(1_000_000));
    host.tick();
    expectBytes(it.peer.stream(3).data, long);
    it.http(response(3, reply(2)), response(5, reply(3)));
    expect(it.frames.map(idOf)).toEqual([1, 2, 3]);
    expectSettled(host);
  });

  it("of the whole connection are shared in the order of the streams", async () => {
    const { host, it } = await lifted();
    const requests = [1, 2, 3].map((id) => opaque("request", id, 40_000));
    it.client(...requests);
    const sizes = () => [1, 3, 5].map((id) => it.peer.stream(id).data.length);
    expect(sizes()).toEqual([40_000, 25_535, 0]);
    it.http(it.peer.grant(0, 20_000));
    host.tick();
    expect(sizes()).toEqual([40_000, 40_000, 5535]);
    it.http(it.peer.grant(0, 100_000));
    host.tick();
    for (const [i, frame] of requests.entries()) expectBytes(it.peer.stream(1 + 2 * i).data, frame);
  });
});

describe("streams that the HTTP connection manager allows", () => {
  it("one at a time", async () => {
    const { host, it } = await lifted({ hello: () => settings({ [Setting.maxConcurrentStreams]: 1 }) });
    it.client(request(1));
    it.client(...[2, 3, 4].map((id) => request(id)));
    for (let i = 0; i < 4; i++) {
      expect(it.peer.streams.size).toBe(i + 1);
      expect(it.peer.stream(1 + 2 * i).data).toEqual(request(i + 1));
      it.http(response(1 + 2 * i, reply(i + 1)));
      host.tick();
    }
    expect(it.frames.map(idOf)).toEqual([1, 2, 3, 4]);
    expectSettled(host);
  });

  it("none, and then some; a client that leaves meanwhile leaves nothing behind", async () => {
    const { host, root, it } = await lifted({ hello: () => settings({ [Setting.maxConcurrentStreams]: 0 }) });
    it.client(request(1));
    it.http(response(1, reply(1)));
    const gone = new Lifted(host, root, { hello: () => settings({ [Setting.maxConcurrentStreams]: 0 }) });
    for (const each of [it, gone]) {
      each.client(request(2));
      each.client(...[3, 4].map((id) => request(id)), opaque("request", 5, 100_000).subarray(0, 60_000));
    }
    gone.connection.close("client");
    expect(it.peer.streams.size).toBe(1);
    expect(total(host, "meltemi_in_flight")).toBe(4);
    it.http(settings({ [Setting.maxConcurrentStreams]: 2 }));
    host.tick();
    expect(it.peer.streams.size).toBe(3);
    it.http(settings({ [Setting.maxConcurrentStreams]: 100 }));
    host.tick();
    expect(it.peer.streams.size).toBe(5);
    it.client(opaque("request", 5, 100_000).subarray(60_000));
    it.http(it.peer.grant(0, 100_000), it.peer.grant(9, 100_000));
    host.tick();
    expectBytes(it.peer.stream(9).data, opaque("request", 5, 100_000));
    it.http(...[3, 5, 7, 9].map((id, i) => response(id, reply(i + 2))));
    expect(it.frames.map(idOf)).toEqual([1, 2, 3, 4, 5]);
    expect(outcomes(host)).toEqual({ ok: 5, client_gone: 4 });
    expectSettled(host);
  });
});

describe("limits", () => {
  it("of requests in flight: the rest is refused in the protocol", async () => {
    const { host, it } = await lifted({}, { limits: { inFlight: 2 } });
    const oneWay = encodeRequest(9, "a.Greeter", "tell", ["x"], { twoWay: false });
    it.client(request(1), request(2), request(3), oneWay, request(4));
    expect(it.peer.streams.size).toBe(2);
    expect(it.statuses).toEqual([
      [3, 100],
      [4, 100],
    ]);
    it.http(response(1, reply(1)), response(3, reply(2)));
    it.client(request(5));
    it.http(response(5, reply(5)));
    expect(it.frames.map(idOf)).toEqual([3, 4, 1, 2, 5]);
    expect(outcomes(host)).toEqual({ ok: 3, rate_limited: 3 });
    expectSettled(host);
  });

  it("of frames, and bytes that are no frames, end the connection, and no other", async () => {
    const cases: [Buffer, string][] = [
      [Buffer.from("GET / HTTP/1.1\r\n\r\n"), "magic"],
      [opaque("request", 8, 200_000).subarray(0, 100), "too_large"],
    ];
    for (const [bytes, reason] of cases) {
      const { host, root, it } = await lifted({}, { limits: { frameBytes: 100_000 } });
      const other = new Lifted(host, root);
      other.client(request(1));
      it.client(request(7));
      it.client(request(8), bytes, request(9));
      expect(it.closed).toBe(true);
      expect(closings(host, reason)).toBe(1);
      expect(total(host, "meltemi_decode_errors_total", { reason })).toBe(1);
      other.http(response(1, reply(1)));
      expect(other.frames).toEqual([reply(1)]);
      expect(outcomes(host)).toEqual({ ok: 1, upstream_gone: 2 });
      expectSettled(host);
    }
  });
});

describe("long replies", () => {
  it("that come mixed leave one after the other, in the order of their first bytes", async () => {
    const { host, it } = await lifted();
    const ids = [1, 2, 3, 4, 5];
    const replies = ids.map((id) => opaque("reply", id, id === 3 ? 5000 : 400_000 + id));
    it.client(...ids.map((id) => request(id)));
    it.http(...ids.map((_, i) => responded(1 + 2 * i)));
    const rest = new Map(replies.map((frame, i) => [1 + 2 * i, frame]));
    for (let round = 0; rest.size; round++) {
      expect(round).toBeLessThan(1000);
      for (const [id, bytes] of rest) {
        const n = it.peer.spend(id, Math.min(10_000, bytes.length));
        if (n) it.http(data(id, bytes.subarray(0, n), n === bytes.length ? Flag.endStream : 0));
        if (n === bytes.length) rest.delete(id);
        else rest.set(id, bytes.subarray(n));
      }
      host.tick();
    }
    expect(it.frames.map(idOf)).toEqual([1, 2, 3, 4, 5]);
    for (const frame of it.frames) expectBytes(frame, replies[idOf(frame) - 1] as Buffer);
    expectSettled(host);
  });

  it("that stop in the middle while others wait end the connection after a while", async () => {
    const { host, sleep, it } = await lifted({}, { limits: { waitMilliseconds: 1000 } });
    it.client(request(1), request(2));
    it.http(responded(1), data(1, opaque("reply", 1, 300_000).subarray(0, 1000)));
    sleep(5000);
    host.tick();
    host.tick();
    // Nobody minds.
    expect(it.closed).toBe(false);
    it.http(response(3, reply(2)));
    sleep(500);
    // A few bytes now and then do not count.
    it.http(data(1, opaque("reply", 1, 300_000).subarray(1000, 2000)));
    host.tick();
    expect(it.closed).toBe(false);
    sleep(600);
    host.tick();
    host.tick();
    expect(it.closed).toBe(true);
    expect(closings(host, "stalled")).toBe(1);
    expectSettled(host);
  });
});

describe("a client that sends more than the HTTP side takes", () => {
  const chunk = 256 << 10;
  const length = 40 << 20;

  it("is read on when what it waits for is over", async () => {
    const { host, it } = await lifted();
    it.client(request(1));
    it.http(response(1, reply(1)));
    it.client(opaque("request", 2, 2 << 20));
    it.client(request(3));
    expect(it.unread).toBe(request(3).length);
    it.http(reset(3));
    host.tick();
    expect(it.unread).toBe(0);
    it.http(response(5, reply(3)));
    expect(it.frames.map(idOf)).toEqual([1, 2, 3]);
    expectSettled(host);
  });

  it("is not read: its bytes stay in the host's buffer, and all of them arrive when windows open", async () => {
    const { host, it } = await lifted({}, { limits: { frameBytes: 100 << 20 } });
    it.client(request(1));
    it.http(response(1, reply(1)));
    const before = host.memoryBytes;
    const long = opaque("request", 2, length);
    for (let at = 0; at < length / 2; at += chunk) it.client(long.subarray(at, at + chunk));
    // One read beyond a mebibyte, in blocks that grow by half.
    expect(host.memoryBytes - before).toBeLessThan(8 << 20);
    expect(it.unread).toBeGreaterThan(length / 2 - (2 << 20));
    expect(it.peer.stream(3).size).toBe(65_535 - request(1).length);
    // Nothing but a way out for what waits: the host would have read no more than a mebibyte at a time.
    let arrived = it.peer.stream(3).size;
    let at = length / 2;
    it.http(it.peer.grant(0, 64 << 20), it.peer.grant(3, 64 << 20));
    for (let i = 0; !it.peer.stream(3).ended; i++) {
      expect(i).toBeLessThan(1000);
      host.tick();
      it.client(long.subarray(at, at + chunk));
      at += chunk;
      expect(it.peer.stream(3).size).toBeGreaterThan(arrived);
      arrived = it.peer.stream(3).size;
    }
    expectBytes(it.peer.stream(3).data, long);
    it.http(response(3, reply(2)));
    expect(it.frames.map(idOf)).toEqual([1, 2]);
    expectSettled(host);
  });
});
