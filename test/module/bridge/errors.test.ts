import { describe, expect, it } from "vitest";
import { encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { reply, request } from "../support.js";
import {
  block,
  Code,
  data,
  Flag,
  frame,
  goAway,
  headers,
  padded,
  ping,
  reset,
  Setting,
  settings,
  Type,
  window,
} from "./http2.js";
import {
  closings,
  contentType,
  expectBytes,
  expectSettled,
  Lifted,
  type LiftedOptions,
  leg,
  opaque,
  outcomes,
  responded,
  response,
  total,
} from "./support.js";

/** What lift makes of what comes back instead of a reply. */

const ok = 20;
/** Statuses of Dubbo. */
const timeout = 31;
const badRequest = 40;
const notFound = 60;
const serverError = 80;
const exhausted = 100;

async function lifted(options: LiftedOptions = {}, more: object = {}) {
  const { host, root, sleep } = await leg("lift", more);
  return { host, root, sleep, it: new Lifted(host, root, options) };
}

describe("a status that Envoy wrote", () => {
  const cases: [number, number, string][] = [
    [401, serverError, "denied"],
    [403, serverError, "denied"],
    [404, notFound, "no_route"],
    [408, timeout, "timeout"],
    [413, badRequest, "too_large"],
    [429, exhausted, "rate_limited"],
    [500, serverError, "internal"],
    [502, serverError, "unavailable"],
    [503, serverError, "unavailable"],
    [504, timeout, "timeout"],
    [418, badRequest, "bad_request"],
    [302, serverError, "internal"],
    [200, serverError, "internal"],
  ];

  it.each(cases)("%i becomes status %i and counts as %s, with a body and without", async (status, code, name) => {
    const { host, it } = await lifted();
    it.client(request(7), request(8), request(9));
    it.http(
      headers(3, { ":status": `${status}`, "content-type": "text/plain" }),
      data(3, Buffer.from("why not"), Flag.endStream),
      headers(1, { ":status": `${status}` }, Flag.endStream),
    );
    expect(it.statuses).toEqual([
      [8, code],
      [7, code],
    ]);
    const [said, silent] = it.replies.map((reply) => (reply.kind === "reply" ? reply.error?.message : ""));
    expect(said).toContain(`HTTP ${status}: why not`);
    expect(silent).toContain(`HTTP ${status}`);
    it.http(response(5, reply(9)));
    expect(it.statuses.at(-1)).toEqual([9, ok]);
    expect(outcomes(host)).toEqual({ [name]: 2, ok: 1 });
    expect(it.peer.of(Type.reset)).toEqual([]);
    expectSettled(host);
  });

  it("may have a long text, of which the start is told, and trailers", async () => {
    const { host, it } = await lifted();
    it.client(request(7));
    it.http(
      headers(1, { ":status": "503", "content-type": "text/plain" }),
      data(1, Buffer.alloc(40_000, "x")),
      data(1, Buffer.alloc(40_000, "y")),
      headers(1, { "some-trailer": "x" }, Flag.endStream),
    );
    expect(it.statuses).toEqual([[7, serverError]]);
    expect((it.frames[0] as Buffer).length).toBeLessThan(400);
    expectSettled(host);
  });

  it("that comes before all of the request was taken ends what is sent of it", async () => {
    const { host, it } = await lifted();
    const long = opaque("request", 7, 400_000);
    it.client(request(1));
    it.http(response(1, reply(1)), it.peer.setStreamWindow(100));
    it.client(long.subarray(0, 300_000));
    it.http(headers(3, { ":status": "413" }, Flag.endStream));
    expect(it.statuses.at(-1)).toEqual([7, badRequest]);
    it.client(long.subarray(300_000), request(8));
    expect(it.peer.stream(3).reset).toBe(Code.noError);
    expect(it.peer.stream(3).data).toHaveLength(100);
    it.http(it.peer.grant(5, 1000));
    host.tick();
    it.http(response(5, reply(8)));
    expect(it.statuses.at(-1)).toEqual([8, ok]);
    expectSettled(host);
  });
});

describe("a stream that is broken off", () => {
  const short = encodeReply(7, "x".repeat(1000));
  const long = opaque("reply", 7, 300_000);
  const codes = Array.from({ length: 14 }, (_, code) => code);

  it.each(codes)(
    "with code %i before, in and after the headers, or in a short reply, is an error reply",
    async (code) => {
      const { host, it } = await lifted();
      it.client(request(7), request(7), request(7), request(8));
      it.http(
        reset(1, code),
        responded(3),
        reset(3, code),
        responded(5),
        data(5, short.subarray(0, 500)),
        reset(5, code),
        response(7, reply(8)),
      );
      expect(it.statuses).toEqual([
        [7, serverError],
        [7, serverError],
        [7, serverError],
        [8, ok],
      ]);
      const first = it.replies[0];
      expect(first?.kind === "reply" && first.error?.message).toContain(`HTTP/2 error ${code}`);
      expect(outcomes(host)).toEqual({ unavailable: 3, ok: 1 });
      expect(it.peer.of(Type.reset)).toEqual([]);
      expectSettled(host);
    },
  );

  it.each(codes)("with code %i in a long reply ends the connection", async (code) => {
    const { host, it } = await lifted();
    it.client(request(7), request(8));
    it.http(responded(1), data(1, long.subarray(0, 1000)));
    expect(it.closed).toBe(false);
    it.http(reset(1, code));
    expect(it.closed).toBe(true);
    expect(closings(host, "incomplete")).toBe(1);
    expect(outcomes(host)).toEqual({ upstream_gone: 2 });
    expectSettled(host);
  });

  it("when the reply is whole already is no second reply", async () => {
    const { host, it } = await lifted();
    it.client(request(7), request(8), request(9));
    it.http(responded(1), data(1, reply(7)), reset(1));
    it.http(responded(3), data(3, reply(8)));
    it.http(reset(3, Code.noError));
    it.http(responded(5), data(5, opaque("reply", 9, 300_000)), reset(5));
    expect(it.statuses.map(([id]) => id)).toEqual([7, 8, 9]);
    expect(outcomes(host)).toEqual({ ok: 3 });
    expectSettled(host);
  });

  it("while it waits for its turn is an error reply behind the one that is passing", async () => {
    const { host, it } = await lifted();
    it.client(request(7), request(8), request(9));
    it.http(responded(1), data(1, long.subarray(0, 100_000)));
    it.http(responded(3), data(3, encodeReply(8, "x".repeat(20_000)).subarray(0, 19_000)), response(5, reply(9)));
    it.http(reset(3));
    expect(it.frames).toEqual([]);
    it.http(data(1, long.subarray(100_000), Flag.endStream));
    expectBytes(it.frames[0] as Buffer, long);
    expect(it.statuses.slice(1)).toEqual([
      [9, ok],
      [8, serverError],
    ]);
    expectSettled(host);
  });
});

describe("GOAWAY", () => {
  it("that only announces the end changes nothing; the final one refuses what comes behind its last stream", async () => {
    const { host, it } = await lifted();
    it.client(request(1), request(2));
    it.http(goAway(2 ** 31 - 1));
    it.client(request(3), request(4));
    it.http(goAway(3));
    expect(it.statuses).toEqual([
      [3, serverError],
      [4, serverError],
    ]);
    it.http(response(1, reply(1)), response(3, reply(2)));
    it.client(request(5));
    expect(it.peer.streams.size).toBe(4);
    expect(it.statuses).toEqual([
      [3, serverError],
      [4, serverError],
      [1, ok],
      [2, ok],
      [5, serverError],
    ]);
    expect(outcomes(host)).toEqual({ unavailable: 3, ok: 2 });
    expectSettled(host);
  });

  it("ends requests that wait for a stream", async () => {
    const { host, it } = await lifted({ hello: () => settings({ [Setting.maxConcurrentStreams]: 1 }) });
    it.client(request(1));
    it.client(request(2), encodeRequest(3, "a.Greeter", "tell", [], { twoWay: false }), request(4));
    expect(it.peer.streams.size).toBe(1);
    it.http(goAway(1));
    expect(it.statuses).toEqual([
      [2, serverError],
      [4, serverError],
    ]);
    it.http(response(1, reply(1)));
    expect(it.peer.streams.size).toBe(1);
    expect(it.statuses.at(-1)).toEqual([1, ok]);
    expectSettled(host);
  });
});

describe("what is not a reply", () => {
  const wrong: [string, (stream: number) => Buffer[]][] = [
    ["an end at once", (s) => [responded(s, {}, Flag.endStream)]],
    ["an end in the head of a frame", (s) => [responded(s), data(s, reply(7).subarray(0, 10), Flag.endStream)]],
    ["an end in the body of a frame", (s) => [responded(s), data(s, reply(7).subarray(0, 25), Flag.endStream)]],
    [
      "an end by trailers",
      (s) => [responded(s), data(s, reply(7).subarray(0, 25)), headers(s, { t: "1" }, Flag.endStream)],
    ],
    [
      "another content type",
      (s) => [headers(s, { ":status": "200", "content-type": "application/json" }), data(s, reply(7), Flag.endStream)],
    ],
    ["no content type", (s) => [headers(s, { ":status": "200" }), data(s, reply(7), Flag.endStream)]],
    ["another id", (s) => [response(s, reply(8))]],
    ["a request", (s) => [response(s, request(7))]],
    ["garbage", (s) => [response(s, Buffer.alloc(10_000, "garbage"))]],
    [
      "garbage, and more of it",
      (s) => [responded(s), data(s, Buffer.alloc(100, "x")), data(s, Buffer.alloc(100, "x"))],
    ],
    ["an empty message", (s) => [responded(s), data(s, Buffer.alloc(0), Flag.endStream)]],
    ["a frame beyond the limit", (s) => [responded(s), data(s, opaque("reply", 7, 2_000_000).subarray(0, 100))]],
  ];

  it.each(wrong)("%s: one error reply", async (_, make) => {
    const { host, it } = await lifted({}, { limits: { frameBytes: 1_000_000 } });
    it.client(request(7), request(9));
    it.http(...make(1));
    it.http(response(3, reply(9)));
    expect(it.statuses).toEqual([
      [7, serverError],
      [9, ok],
    ]);
    expect(it.closed).toBe(false);
    expectSettled(host);
  });

  it.each(wrong)("%s, while another reply is passing: one error reply", async (_, make) => {
    const { host, it } = await lifted({}, { limits: { frameBytes: 1_000_000 } });
    const long = opaque("reply", 1, 400_000);
    it.client(request(1), request(7), request(9));
    it.http(responded(1), data(1, long.subarray(0, 300_000)));
    for (const frame of make(3)) it.http(frame);
    it.http(response(5, reply(9)));
    expect(it.frames).toEqual([]);
    it.http(data(1, long.subarray(300_000), Flag.endStream));
    expect(it.statuses).toEqual([
      [1, ok],
      [7, serverError],
      [9, ok],
    ]);
    expectSettled(host);
  });

  it("two replies in one stream: the first counts", async () => {
    const { host, it } = await lifted();
    it.client(request(7), request(9), request(11));
    it.http(response(1, reply(7), reply(7)));
    it.http(responded(3), data(3, reply(9)));
    it.http(data(3, reply(9)), data(3, reply(9), Flag.endStream));
    it.http(response(5, reply(11), Buffer.from("garbage")));
    expect(it.statuses).toEqual([
      [7, ok],
      [9, ok],
      [11, ok],
    ]);
    expectSettled(host);
  });
});

describe("HTTP/2 that Envoy does not write, but might", () => {
  it("informational responses, padding, CONTINUATION, PRIORITY, trailers, unknown frames", async () => {
    const { host, it } = await lifted();
    it.client(request(1), request(2), request(3), request(4));
    const head = block({ ":status": "200", "content-type": contentType, "x-long": "y".repeat(3000) });
    it.http(
      headers(1, { ":status": "100" }),
      headers(1, { ":status": "103", link: "</style>" }),
      response(1, reply(1)),
      frame(Type.priority, 3, Buffer.alloc(5)),
      responded(3),
      padded(3, reply(2).subarray(0, 9), 255),
      padded(3, Buffer.alloc(0), 0),
      padded(3, reply(2).subarray(9), 1, Flag.endStream),
      frame(Type.headers, 5, head.subarray(0, 5)),
      frame(Type.continuation, 5, head.subarray(5, 2000)),
      frame(Type.continuation, 5, head.subarray(2000), Flag.endHeaders),
      frame(0xfa, 5, Buffer.alloc(1000)),
      frame(0xfb, 99, Buffer.alloc(0), 0xff),
      data(5, reply(3)),
      headers(5, { "grpc-status": "0" }, Flag.endStream),
      frame(
        Type.headers,
        7,
        Buffer.concat([
          Buffer.of(9),
          Buffer.alloc(5),
          block({ ":status": "200", "content-type": contentType }),
          Buffer.alloc(9),
        ]),
        Flag.endHeaders | Flag.padded | Flag.priority,
      ),
      ping(),
      settings({ 99: 1, 4: 70_000 }),
      window(0, 1000),
      data(7, reply(4), Flag.endStream),
    );
    expect(it.statuses).toEqual([1, 2, 3, 4].map((id) => [id, ok]));
    expectSettled(host);
    // The next read takes what had to wait: answers to PING and to SETTINGS.
    it.client(request(5));
    const acks = (type: number) => it.peer.of(type).filter(({ flags }) => flags & Flag.ack);
    expect(acks(Type.ping)).toHaveLength(1);
    expect(acks(Type.settings)).toHaveLength(2);
  });

  it("one-way requests are over whatever is answered", async () => {
    const { host, it } = await lifted();
    const oneWay = encodeRequest(5, "a.Greeter", "tell", ["x"], { twoWay: false });
    it.client(...Array.from({ length: 6 }, () => oneWay));
    it.http(
      headers(1, { ":status": "200", "content-type": contentType }, Flag.endStream),
      headers(3, { ":status": "503" }, Flag.endStream),
      reset(5),
      response(7, reply(5)),
      response(9, Buffer.from("garbage")),
      responded(11),
      data(11, reply(5)),
      reset(11, Code.noError),
    );
    it.client(request(6));
    it.http(response(13, reply(6)));
    expect(it.statuses).toEqual([[6, ok]]);
    expect(outcomes(host)).toEqual({ oneway: 6, ok: 1 });
    expect(total(host, "meltemi_request_duration_milliseconds")).toBe(1);
    expectSettled(host);
  });
});

describe("HTTP/2 that is broken ends the connection", () => {
  const broken: [string, string, Buffer[]][] = [
    ["a frame that is too long", "http_frame", [frame(Type.data, 1, Buffer.alloc(16_385))]],
    ["PUSH_PROMISE", "http_frame", [frame(Type.pushPromise, 1, Buffer.alloc(8), Flag.endHeaders)]],
    ["DATA on the connection", "http_frame", [data(0, Buffer.alloc(4))]],
    ["padding beyond the frame", "http_frame", [frame(Type.data, 1, Buffer.of(9, 0, 0), Flag.padded)]],
    ["SETTINGS of five bytes", "http_frame", [frame(Type.settings, 0, Buffer.alloc(5))]],
    ["a header block with a frame in it", "http_frame", [frame(Type.headers, 1, block({ ":status": "200" })), ping()]],
    [
      "CONTINUATION of nothing",
      "http_frame",
      [frame(Type.continuation, 1, block({ ":status": "200" }), Flag.endHeaders)],
    ],
    ["headers that are no HPACK", "http_headers", [frame(Type.headers, 1, Buffer.of(0xff, 0xff), Flag.endHeaders)]],
    ["no status", "http_headers", [headers(1, { "content-type": contentType })]],
    ["a status of two digits", "http_headers", [headers(1, { ":status": "20" })]],
    ["an informational response that ends", "http_headers", [headers(1, { ":status": "100" }, Flag.endStream)]],
    ["headers in the middle", "http_headers", [responded(1), headers(1, { x: "y" })]],
    ["DATA before headers", "http_stream", [data(1, reply(7))]],
    ["DATA of a stream that was never opened", "http_stream", [data(99, reply(7))]],
    ["a response to a stream that was never opened", "http_stream", [responded(99)]],
    ["an end of a stream that was never opened", "http_stream", [reset(99)]],
    ["a stream of the server's own", "http_stream", [responded(2)]],
    ["a window of nothing", "http_flow", [window(0, 0)]],
    ["a window that is too large", "http_flow", [window(0, 2 ** 31 - 1)]],
    ["a stream's window that is too large", "http_flow", [window(1, 2 ** 31 - 1)]],
    ["a first window that is too large", "http_flow", [settings({ [Setting.initialWindowSize]: 2 ** 31 })]],
  ];

  it.each(broken)("%s: %s", async (_, reason, frames) => {
    const { host, root, it } = await lifted();
    const other = new Lifted(host, root);
    other.client(request(3));
    it.client(request(7));
    it.http(...frames);
    expect(it.closed).toBe(true);
    expect(closings(host, reason)).toBe(1);
    expect(it.frames).toEqual([]);
    other.http(response(1, reply(3)));
    expect(other.statuses).toEqual([[3, ok]]);
    expect(outcomes(host)).toEqual({ upstream_gone: 1, ok: 1 });
    expectSettled(host);
  });

  it("more of a reply than it may send while it waits for its turn", async () => {
    const { host, it } = await lifted();
    it.client(request(7), request(8));
    it.http(responded(1), data(1, opaque("reply", 7, 300_000).subarray(0, 1000)), responded(3));
    const long = opaque("reply", 8, 300_000);
    it.http(data(3, long.subarray(0, 256 << 10)));
    expect(it.closed).toBe(false);
    it.http(data(3, long.subarray(0, 1)));
    expect(it.closed).toBe(true);
    expect(closings(host, "http_flow")).toBe(1);
    expectSettled(host);
  });
});
