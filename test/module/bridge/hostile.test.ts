import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Connection, Host } from "../../../tools/host/host.js";
import { encodeHeartbeat, encodeHeartbeatReply, encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { reply, request } from "../support.js";
import {
  block,
  data,
  Flag,
  frame,
  goAway,
  headers,
  padded,
  ping,
  preface,
  reset,
  Setting,
  settings,
  settingsAck,
  Type,
  window,
} from "./http2.js";
import {
  asked,
  asking,
  closings,
  contentType,
  expectSettled,
  Lowered,
  leg,
  opaque,
  Random,
  responded,
  response,
  total,
  withId,
} from "./support.js";

/** Peers that mean no good: what they do ends their own connection, counted, and is no matter for any other. */

/** A connection for the peer, and an innocent one with a request on its way. */
async function lowered(more: object = {}) {
  const { host, root } = await leg("lower", more);
  const other = new Lowered(host, root).greet();
  const stream = other.request(request(9));
  const it = new Lowered(host, root);
  const spared = () => {
    other.server(reply(stream));
    expect(other.peer.stream(stream).data).toEqual(reply(9));
    other.connection.close("client");
    it.connection.close("client");
    expectSettled(host);
  };
  return { host, it, spared };
}

const many = (count: number, make: (i: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));

/** Indexes the last entry of the dynamic table, again and again. */
const bomb = (stream: number): Buffer => {
  const entry = Buffer.concat([Buffer.of(0x40, 1, 0x61, 0x7f, 0x81, 0x1e), Buffer.alloc(3968, "a")]);
  return frame(Type.headers, stream, Buffer.concat([entry, Buffer.alloc(12_000, 0xbe)]), Flag.endHeaders);
};

describe("HTTP/2 that is broken", () => {
  const broken: [string, string, Buffer[]][] = [
    ["a frame of 16,385 bytes", "http_frame", [frame(Type.data, 1, Buffer.alloc(16_385))]],
    ["the head of a frame of 16 MiB", "http_frame", [frame(Type.data, 1, Buffer.alloc(16_777_215)).subarray(0, 9)]],
    ["PUSH_PROMISE", "http_frame", [frame(Type.pushPromise, 1, Buffer.alloc(8), Flag.endHeaders)]],
    ["HEADERS on the connection", "http_frame", [headers(0, {})]],
    ["PING on a stream", "http_frame", [frame(Type.ping, 1, Buffer.alloc(8))]],
    ["PING of seven bytes", "http_frame", [frame(Type.ping, 0, Buffer.alloc(7))]],
    ["SETTINGS on a stream", "http_frame", [frame(Type.settings, 1)]],
    ["an acknowledgement with settings in it", "http_frame", [frame(Type.settings, 0, Buffer.alloc(6), Flag.ack)]],
    ["WINDOW_UPDATE of three bytes", "http_frame", [frame(Type.window, 0, Buffer.alloc(3))]],
    ["RST_STREAM of five bytes", "http_frame", [frame(Type.reset, 1, Buffer.alloc(5))]],
    ["PRIORITY of four bytes", "http_frame", [frame(Type.priority, 1, Buffer.alloc(4))]],
    ["GOAWAY of seven bytes", "http_frame", [frame(Type.goAway, 0, Buffer.alloc(7))]],
    ["padding beyond the frame", "http_frame", [asking(1), frame(Type.data, 1, Buffer.of(200, 0), Flag.padded)]],
    [
      "padding of HEADERS beyond the frame",
      "http_frame",
      [frame(Type.headers, 1, Buffer.of(9, 0x20), Flag.endHeaders | Flag.padded)],
    ],
    ["padded DATA without a pad length", "http_frame", [asking(1), frame(Type.data, 1, Buffer.alloc(0), Flag.padded)]],
    [
      "HEADERS too short for their priority",
      "http_frame",
      [frame(Type.headers, 1, Buffer.alloc(4), Flag.endHeaders | Flag.priority)],
    ],
    ["a header block with another frame in it", "http_frame", [frame(Type.headers, 1, block({})), ping()]],
    [
      "a header block with one of another stream in it",
      "http_frame",
      [frame(Type.headers, 1, block({})), frame(Type.continuation, 3, block({}), Flag.endHeaders)],
    ],
    [
      "CONTINUATION of nothing",
      "http_frame",
      [frame(Type.continuation, 1, block({ ":method": "POST" }), Flag.endHeaders)],
    ],
    [
      "CONTINUATION behind the end of the block",
      "http_frame",
      [asking(1), frame(Type.continuation, 1, block({}), Flag.endHeaders)],
    ],
    [
      "CONTINUATION without end",
      "http_headers",
      [frame(Type.headers, 1, block({})), many(10, () => frame(Type.continuation, 1, Buffer.alloc(16_384, 0xbe)))],
    ],
    [
      "CONTINUATION of no bytes",
      "http_headers",
      [frame(Type.headers, 1, block({})), many(2, () => frame(Type.continuation, 1))],
    ],
    ["an index that no table has", "http_headers", [frame(Type.headers, 1, Buffer.of(0xff, 0x20), Flag.endHeaders)]],
    ["an integer without end", "http_headers", [frame(Type.headers, 1, Buffer.alloc(20, 0xff), Flag.endHeaders)]],
    ["a string beyond its block", "http_headers", [frame(Type.headers, 1, Buffer.of(0, 0x7e, 0x61), Flag.endHeaders)]],
    [
      "bad Huffman code",
      "http_headers",
      [frame(Type.headers, 1, Buffer.of(0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, 0x61), Flag.endHeaders)],
    ],
    [
      "a dynamic table beyond the limit",
      "http_headers",
      [frame(Type.headers, 1, Buffer.of(0x3f, 0xff, 0x7f), Flag.endHeaders)],
    ],
    ["a bomb of headers", "http_headers", [bomb(1)]],
    ["DATA on the connection", "http_frame", [data(0, Buffer.alloc(1))]],
    ["DATA on an idle stream", "http_stream", [data(1, Buffer.alloc(1))]],
    ["RST_STREAM of an idle stream", "http_stream", [reset(1)]],
    ["WINDOW_UPDATE of an idle stream", "http_stream", [window(1, 1)]],
    ["an even stream", "http_stream", [asking(2)]],
    ["a stream that goes back", "http_stream", [asking(5), asking(3)]],
    ["a stream opened again", "http_stream", [...asked(1, request(7)), asking(1)]],
    ["a stream opened again that was reset", "http_stream", [asking(1), reset(1), asking(1)]],
    ["headers in the middle", "http_stream", [asking(1), asking(1)]],
    ["DATA behind the end", "http_stream", [...asked(1, request(7)), data(1, Buffer.alloc(1))]],
    ["trailers behind the end", "http_stream", [...asked(1, request(7)), headers(1, {}, Flag.endStream)]],
    ["a window that grows by nothing", "http_flow", [window(0, 0)]],
    ["a stream's window that grows by nothing", "http_flow", [asking(1), window(1, 0)]],
    ["a window beyond 2^31-1", "http_flow", [window(0, 2 ** 31 - 1)]],
    ["a stream's window beyond 2^31-1", "http_flow", [asking(1), window(1, 2 ** 31 - 1)]],
    ["a first window beyond 2^31-1", "http_flow", [settings({ [Setting.initialWindowSize]: 2 ** 31 })]],
    [
      "a first window that makes a stream's too large",
      "http_flow",
      [asking(1), window(1, 2 ** 30), settings({ [Setting.initialWindowSize]: 2 ** 31 - 1 })],
    ],
    [
      "more than a stream's window",
      "http_flow",
      [asking(1), data(1, opaque("request", 7, 200_000).subarray(0, 65_536))],
    ],
    [
      "more than the connection's window",
      "http_flow",
      [asking(1), data(1, opaque("request", 7, 60_000)), asking(3), data(3, opaque("request", 7, 60_000))],
    ],
    ["padding counts as well", "http_flow", [asking(1), many(260, () => padded(1, Buffer.alloc(0), 255))]],
  ];

  it.each(broken)("%s: %s", async (_, reason, frames) => {
    // However the bytes arrive.
    for (const size of [1 << 30, 1, 7]) {
      const { host, it, spared } = await lowered();
      it.greet();
      const bytes = Buffer.concat(frames);
      for (let at = 0; at < bytes.length && !it.closed; at += size) it.http(bytes.subarray(at, at + size));
      expect(it.closed).toBe(true);
      expect(closings(host, reason)).toBe(1);
      spared();
      if (bytes.length > 20_000) break;
    }
  });

  it.each([
    ["another protocol", Buffer.from("SSH-2.0-OpenSSH_9.6\r\n\r\n")],
    ["a preface with a wrong end", Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r")],
    ["TLS", Buffer.from("16030100c8010000c40303", "hex")],
    ["frames of the private protocol", request(7)],
  ])("%s in place of the preface", async (_, bytes) => {
    const { host, it, spared } = await lowered();
    it.http(bytes);
    it.http(Buffer.from("\r\n\r\n"));
    expect(it.closed).toBe(true);
    expect(closings(host, "http_preface")).toBe(1);
    spared();
  });
});

describe("HTTP/2 that is all right, but too much of it", () => {
  it.each([
    ["PING", () => ping()],
    ["SETTINGS", () => settings({ [Setting.initialWindowSize]: 70_000 })],
    ["requests that are none", (i: number) => asking(1 + 2 * i, {}, Flag.endStream)],
  ])("%s that cannot be answered: what waits is bounded", async (_, make) => {
    const { host, root } = await leg("lower");
    const it = new Lowered(host, root, { onHeartbeat: () => {} }).greet();
    const other = new Lowered(host, root).greet();
    const stream = other.request(request(9));
    let max = 0;
    for (let i = 0; i < 200 && !it.closed; i++) {
      it.http(many(1000, (j) => make(i * 1000 + j)));
      max = Math.max(max, host.memoryBytes);
    }
    expect(it.closed).toBe(true);
    expect(closings(host, "crowded")).toBe(1);
    expect(max).toBeLessThan(16 << 20);
    other.server(reply(stream));
    expect(other.peer.stream(stream).data).toEqual(reply(9));
    expect(it.heartbeats).toBeLessThanOrEqual(1);
    other.connection.close("client");
    expectSettled(host);
  });

  it.each([
    ["empty DATA", () => data(1, Buffer.alloc(0))],
    ["PRIORITY", () => frame(Type.priority, 1, Buffer.alloc(5))],
    ["frames that nobody knows", () => frame(0x77, 1, Buffer.alloc(50))],
    ["WINDOW_UPDATE", () => window(1, 1)],
    ["acknowledgements", () => settingsAck],
    ["GOAWAY", () => goAway(0)],
  ])("%s: nothing grows, and the connection goes on", async (_, make) => {
    const { host, it, spared } = await lowered();
    it.greet();
    it.http(asking(it.open()));
    it.http(many(1000, make));
    const before = host.memoryBytes;
    for (let i = 0; i < 20; i++) it.http(many(1000, make));
    expect(host.memoryBytes).toBe(before);
    it.http(data(1, request(7), Flag.endStream));
    it.server(reply(1));
    expect(it.peer.stream(1).data).toEqual(reply(7));
    spared();
  });

  it("SETTINGS that move the windows of many streams: each costs the same", async () => {
    const { it, spared } = await lowered();
    it.greet();
    for (let i = 0; i < 20; i++) it.http(many(1000, () => asking(it.open())));
    const start = performance.now();
    for (let i = 0; i < 10; i++)
      it.http(many(1000, (j) => settings({ [Setting.initialWindowSize]: 70_000 + (j & 1) })));
    // With a look at each stream, more than three seconds.
    expect(performance.now() - start).toBeLessThan(1000);
    expect(it.closed).toBe(false);
    spared();
  });

  it("streams that are reset at once: nothing grows", async () => {
    const { host, it, spared } = await lowered();
    it.greet();
    const round = () => {
      const frames = Array.from({ length: 1000 }, () => {
        const stream = it.open();
        return [...(stream % 50 === 1 ? asked(stream, request(7)) : [asking(stream)]), reset(stream)];
      });
      it.http(...frames.flat());
      it.requests.length = 0;
      host.tick();
    };
    for (let i = 0; i < 10; i++) round();
    const before = host.memoryBytes;
    for (let i = 0; i < 10; i++) round();
    expect(host.memoryBytes).toBe(before);
    it.server(reply(1));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
    spared();
  });

  it("10,000 streams at once: refused beyond the limits, in bounded memory", async () => {
    const { host, it, spared } = await lowered({ limits: { inFlight: 5000 } });
    it.greet();
    const before = host.memoryBytes;
    for (let i = 0; i < 10; i++) it.http(many(1000, () => asking(it.open())));
    expect(host.memoryBytes - before).toBeLessThan(16 << 20);
    it.server(encodeHeartbeat(1));
    const refused = [...it.peer.streams.values()].filter(({ reset }) => reset !== undefined).length;
    // The innocent has one.
    expect(refused).toBe(10_000 - 4999);
    expect(total(host, "meltemi_in_flight")).toBe(1);
    it.connection.close("client");
    spared();
  });
});

describe("header fields that cost little to send and much to keep", () => {
  it("are bounded for each connection, and are no matter for others", async () => {
    const { host, it, spared } = await lowered();
    it.greet();
    // An entry of 4,000 bytes in the dynamic table, which each of the following requests has fourteen times.
    const entry = Buffer.concat([Buffer.of(0x40, 1, 0x61, 0x7f, 0x81, 0x1e), Buffer.alloc(3968, "a")]);
    it.http(frame(Type.headers, it.open(), entry, Flag.endHeaders));
    const before = host.memoryBytes;
    for (let i = 0; i < 4000 && !it.closed; i++) {
      it.http(frame(Type.headers, it.open(), Buffer.alloc(14, 0xbe), Flag.endHeaders));
    }
    expect(it.closed).toBe(true);
    expect(closings(host, "crowded")).toBe(1);
    expect(host.memoryBytes - before).toBeLessThan(64 << 20);
    spared();
  });
});

describe("header fields that HTTP forbids", () => {
  it("are not written into frames, and a request without a path is one all the same", async () => {
    const { it, spared } = await lowered();
    it.greet();
    const plain = { interface: "a.Greeter", version: "", dubbo: "2.0.2", path: "a.Greeter" };
    const forbidden = {
      "": "x",
      UPPER: "x",
      "with blank": "x",
      "nul\0": "x",
      ":made-up": "x",
      "a\r\nb": "x",
      k: "a\r\nb",
    };
    for (const fields of [plain, { ...forbidden, ...plain }]) {
      const stream = it.open();
      it.http(headers(stream, fields), data(stream, request(7), Flag.endStream));
      expect(it.requests.pop()).toEqual(withId(request(7), stream));
      it.server(reply(stream));
      expect(it.peer.stream(stream).data).toEqual(reply(7));
    }
    spared();
  });
});

describe("servers that mean no good", () => {
  it("heartbeats without end are answered, and what cannot be answered is bounded", async () => {
    const { host, it, spared } = await lowered();
    it.greet();
    for (let i = 0; i < 20; i++) it.server(many(1000, () => encodeHeartbeat(5)));
    host.tick();
    expect(it.heartbeatReplies).toBe(20_000);
    spared();
    const late = await lowered();
    // A router that never says who it is.
    for (let i = 0; i < 100 && !late.it.closed; i++) late.it.server(many(1000, () => encodeHeartbeat(5)));
    expect(late.it.closed).toBe(true);
    expect(closings(late.host, "crowded")).toBe(1);
    late.spared();
  });

  it("replies to nobody are counted, and nothing grows", async () => {
    const { host, it, spared } = await lowered();
    it.greet();
    it.server(many(1000, (i) => reply(i)));
    const before = host.memoryBytes;
    for (let i = 0; i < 10; i++)
      it.server(
        many(1000, (i) => reply(i)),
        encodeHeartbeatReply(2),
        request(1),
      );
    expect(host.memoryBytes).toBe(before);
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(11_010);
    spared();
  });
});

/** What one side says, in no order. */
type Speech = readonly ((random: Random) => Buffer)[];

describe("damaged bytes", () => {
  const client: Speech = [
    (random) =>
      encodeRequest(random.int(5), "a.Greeter", "hi", ["x".repeat(random.size(2000))], { attachments: { k: "v" } }),
    (random) => encodeHeartbeat(random.int(5)),
    (random) => opaque("oneway", 3, 20 + random.int(50)),
    (random) => opaque("request", 4, 20 + random.int(70_000)),
  ];
  const server: Speech = [
    (random) => encodeReply(streamOf(random), "x".repeat(random.size(2000))),
    (random) => opaque("reply", streamOf(random), 20 + random.int(70_000)),
    (random) => encodeHeartbeat(random.int(5)),
    () => encodeHeartbeatReply(2),
    () => request(1),
  ];
  const head = block({ ":status": "200", "content-type": contentType, k: "v".repeat(300) });
  const manager: Speech = [
    (random) => response(streamOf(random), encodeReply(random.int(5), "x".repeat(random.size(2000)))),
    (random) => responded(streamOf(random)),
    (random) => data(streamOf(random), encodeReply(random.int(5), "x"), random.int(2)),
    (random) => headers(streamOf(random), { ":status": "503" }, random.int(2)),
    (random) => frame(Type.headers, streamOf(random), head.subarray(0, 9)),
    (random) => frame(Type.continuation, streamOf(random), head.subarray(9), Flag.endHeaders),
    (random) => padded(streamOf(random), Buffer.alloc(3), random.int(256)),
    (random) => reset(streamOf(random), random.int(15)),
    (random) => settings({ [1 + random.int(6)]: random.pick([0, 1, 100, 65_535, 2 ** 31 - 1, 2 ** 31]) }),
    (random) => window(random.int(2) * streamOf(random), random.pick([1, 1000, 2 ** 31 - 1])),
    () => ping(),
    (random) => goAway(random.pick([0, 3, 2 ** 31 - 1])),
  ];
  const router: Speech = [
    ...manager,
    (random) => Buffer.concat(asked(streamOf(random), random.pick(client)(random))),
    (random) => Buffer.concat(asked(streamOf(random), random.pick(client)(random), { k: "w", added: "x", path: "" })),
    (random) => asking(streamOf(random), {}, random.int(2)),
    (random) => data(streamOf(random), opaque("request", 7, 20_000), random.int(2)),
  ];

  function streamOf(random: Random): number {
    return 1 + 2 * random.int(5);
  }

  function damaged(random: Random, bytes: Buffer): Buffer {
    const copy = Buffer.from(bytes);
    for (let i = random.int(3); i > 0; i--) {
      const at = random.once(2) ? random.int(Math.min(30, copy.length)) : random.int(copy.length);
      copy[at] = random.int(256);
    }
    switch (random.int(12)) {
      case 0:
        return copy.subarray(0, random.int(copy.length));
      case 1:
        return Buffer.concat([copy, copy.subarray(0, random.int(20))]);
      default:
        return copy;
    }
  }

  function said(random: Random, speech: Speech): Buffer {
    return Buffer.concat(
      Array.from({ length: 1 + random.int(4) }, () => {
        const bytes = random.pick(speech)(random);
        return random.once(4) ? damaged(random, bytes) : bytes;
      }),
    );
  }

  /** A few reads of each side, some of them damaged; answers whether the connection survived. */
  function play(host: Host, connection: Connection, random: Random, down: Speech, up: Speech): boolean {
    for (let steps = 1 + random.int(12); steps > 0 && !connection.closed; steps--) {
      const isDown = random.once(2);
      const bytes = said(random, isDown ? down : up);
      const cut = random.int(bytes.length + 1);
      for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (!piece.length) continue;
        if (isDown) connection.downstream(piece);
        else connection.upstream(piece);
      }
      if (random.once(4)) host.tick();
    }
    const survived = !connection.closed;
    connection.close("client");
    return survived;
  }

  it.each(["lift", "lower"] as const)(
    "never trap %s, leave nothing in flight, and make nothing grow",
    async (mode) => {
      const { host, root } = await leg(mode, { limits: { frameBytes: 100_000, headBytes: 8192 } });
      let survived = 0;
      const run = (seed: number) => {
        const random = new Random(seed);
        // What the module writes may be broken off anywhere, so nobody reads it.
        const connection = root.connect();
        const isLift = mode === "lift";
        if (isLift) connection.downstream(Buffer.concat([1, 2, 3, 4].map((id) => request(id))));
        else if (!random.once(10)) connection.downstream(Buffer.concat([preface, settings()]));
        if (play(host, connection, random, isLift ? client : router, isLift ? manager : server)) survived++;
      };
      const held = () => {
        expectSettled(host);
        return host.memoryBytes;
      };
      const cases = fc.sample(fc.integer(), { numRuns: 2500, seed: 1 });
      for (const seed of cases) run(seed);
      const warm = held();
      for (const seed of cases) run(seed);
      expect(held()).toBe(warm);
      expect(survived).toBeGreaterThan(500);
      expect(survived).toBeLessThan(4500);
    },
    60_000,
  );
});
