import { describe, expect, it } from "vitest";
import { encodeHeartbeatReply, encodeRequest, FrameCutter } from "../../peers/dubbo/codec.js";
import { awesome, reply, request } from "../support.js";
import { closings, contentType, expectBytes, expectSettled, idOf, leg, opaque, outcomes, total } from "./support.js";

/** Lower behind a router that speaks HTTP/1.1, by hand: one request at a time, on a connection that is used again. */

async function lowered(more: object = {}) {
  const { host, root } = await leg("lower", more);
  const seen = { toServer: Buffer.alloc(0) as Buffer, toRouter: "", closed: false };
  const connection = root.connect({
    toServer: (bytes) => {
      seen.toServer = Buffer.concat([seen.toServer, bytes]);
    },
    toClient: (bytes) => {
      seen.toRouter += bytes.toString("latin1");
    },
    closed: () => {
      seen.closed = true;
    },
  });
  return Object.assign(seen, { host, root, connection });
}

const head = (lines: string[]): Buffer =>
  Buffer.from(["POST /a.Greeter/hello HTTP/1.1", "Host: greeter", ...lines, "", ""].join("\r\n"), "latin1");

/** The fields that lift makes of the frames of support.ts. */
const same = ["Interface: a.Greeter", "Version:", "dubbo: 2.0.2", "Path: a.Greeter"];

const whole = (frame: Buffer, lines: string[] = same): Buffer =>
  Buffer.concat([head([`Content-Type: ${contentType}`, ...lines, `Content-Length: ${frame.length}`]), frame]);

function chunked(frame: Buffer, sizes: number[]): Buffer {
  const parts: Buffer[] = [head([`Content-Type: ${contentType}`, ...same, "Transfer-Encoding: chunked"])];
  let at = 0;
  for (const size of [...sizes, frame.length]) {
    const part = frame.subarray(at, at + size);
    at += part.length;
    if (part.length) parts.push(Buffer.from(`${part.length.toString(16)};x=y\r\n`), part, Buffer.from("\r\n"));
  }
  parts.push(Buffer.from("0\r\nTrailer: x\r\n\r\n"));
  return Buffer.concat(parts);
}

const answered = (frame: Buffer, lines: string[] = []): string =>
  [
    "HTTP/1.1 200 ",
    `content-type: ${contentType}`,
    `content-length: ${frame.length}`,
    ...lines,
    "",
    frame.toString("latin1"),
  ].join("\r\n");

describe("requests over HTTP/1.1", () => {
  it.each([
    ["with a length", (frame: Buffer) => whole(frame)],
    ["in chunks", (frame: Buffer) => chunked(frame, [1, 10, 15, 30])],
  ])("%s, cut anywhere, reach the server as they were, one after the other", async (_, make) => {
    const it = await lowered();
    const bytes = make(request(7));
    for (let cut = 1; cut < bytes.length; cut += 3) {
      it.connection.downstream(bytes.subarray(0, cut));
      it.connection.downstream(bytes.subarray(cut));
      expect(it.toServer).toEqual(request(7));
      expect(it.toRouter).toBe("");
      it.connection.upstream(reply(7).subarray(0, cut % 30));
      it.connection.upstream(reply(7).subarray(cut % 30));
      expect(it.toRouter).toBe(answered(reply(7)));
      it.toServer = Buffer.alloc(0);
      it.toRouter = "";
    }
    expectSettled(it.host);
  });

  it("byte by byte, long ones as they come", async () => {
    const it = await lowered();
    const long = opaque("request", 7, 100_000);
    const bytes = whole(long, []);
    for (let at = 0; at < 400; at++) it.connection.downstream(bytes.subarray(at, at + 1));
    it.connection.downstream(bytes.subarray(400, 50_000));
    // It need not be held: nobody else has the connection.
    expect(it.toServer.length).toBeGreaterThan(49_000);
    it.connection.downstream(bytes.subarray(50_000));
    expectBytes(it.toServer, long);
    const back = opaque("reply", 7, 90_000);
    it.connection.upstream(back.subarray(0, 40_000));
    expect(it.toRouter.length).toBeGreaterThan(40_000);
    it.connection.upstream(back.subarray(40_000));
    expectBytes(Buffer.from(it.toRouter, "latin1"), Buffer.from(answered(back, ["serialization: fastjson"]), "latin1"));
    expectSettled(it.host);
  });

  it("have what routes changed written into the frame", async () => {
    const it = await lowered();
    it.connection.downstream(whole(request(7, "a.Greeter", "hello", { attachments: { k: "v" } }), [...same, "K: w"]));
    const [frame] = new FrameCutter().push(it.toServer);
    expect(frame).toEqual(request(7, "a.Greeter", "hello", { attachments: { k: "w" } }));
  });

  it("of a protocol without heartbeats, with its ids as they are", async () => {
    const it = await lowered({ protocol: "awesomerpc" });
    const lines = (length: number) =>
      head(["Content-Type: application/vnd.meltemi.awesomerpc", "cmd: 5", `Content-Length: ${length}`]);
    for (const id of [7, 7, 0, 2 ** 32 - 1]) {
      const frame = awesome(id, 5, { body: 20 });
      it.connection.downstream(Buffer.concat([lines(frame.length), frame]));
      expect(it.toServer).toEqual(frame);
      it.connection.upstream(awesome(id, 5, { code: id ? 0 : 3 }));
      expect(it.toRouter).toContain(id ? "HTTP/1.1 200 \r\n" : "HTTP/1.1 500 \r\n");
      expect(it.toRouter.endsWith(awesome(id, 5, { code: id ? 0 : 3 }).toString("latin1"))).toBe(true);
      it.toServer = Buffer.alloc(0);
      it.toRouter = "";
    }
    expect(outcomes(it.host)).toEqual({ ok: 3, 3: 1 });
    expectSettled(it.host);
  });

  it("one-way: answered with the heartbeat that makes the server speak", async () => {
    const it = await lowered();
    const oneWay = encodeRequest(7, "a.Greeter", "hello", ["world"], { twoWay: false });
    it.connection.downstream(whole(oneWay));
    const [frame, heartbeat] = new FrameCutter().push(it.toServer);
    expect(frame).toEqual(oneWay);
    expect(it.toRouter).toBe("");
    it.connection.upstream(encodeHeartbeatReply(idOf(heartbeat as Buffer)));
    expect(it.toRouter).toBe("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n");
    it.connection.downstream(whole(request(8)));
    it.connection.upstream(reply(8));
    expect(it.toRouter.endsWith(answered(reply(8)))).toBe(true);
    expect(outcomes(it.host)).toEqual({ oneway: 1, ok: 1 });
    expectSettled(it.host);
  });

  it("one-way, of a protocol without heartbeats: answered with the next bytes of the server, whatever they are", async () => {
    const it = await lowered({ protocol: "trpc" });
    // The message: one-way, id 7, /a.B/c.
    const message = Buffer.from("100118073a062f612e422f63", "hex");
    const fixed = Buffer.from("09300000000000000000000000000000", "hex");
    fixed.writeUInt32BE(16 + message.length, 4);
    fixed.writeUInt16BE(message.length, 8);
    const frame = Buffer.concat([fixed, message]);
    const lines = ["Content-Type: application/vnd.meltemi.trpc", "func: /a.B/c", `Content-Length: ${frame.length}`];
    it.connection.downstream(Buffer.concat([head(lines), frame]));
    expect(it.toServer).toEqual(frame);
    it.host.tick();
    expect(it.toRouter).toBe("");
    it.connection.upstream(frame);
    expect(it.toRouter).toBe("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n");
    expect(total(it.host, "meltemi_unmatched_responses_total")).toBe(1);
    expect(outcomes(it.host)).toEqual({ oneway: 1 });
    expectSettled(it.host);
  });

  it("are answered early as well, and the rest of their bytes goes nowhere", async () => {
    const it = await lowered();
    // Short: as nothing of it is with the server, nothing of it goes there.
    const bytes = whole(opaque("request", 7, 1000), []);
    it.connection.downstream(bytes.subarray(0, 300));
    it.connection.upstream(reply(7));
    expect(it.closed).toBe(true);
    expect(closings(it.host, "incomplete")).toBe(1);
    expectSettled(it.host);
  });

  it("replies with another id, or when nothing is asked, are nobody's", async () => {
    const it = await lowered();
    it.connection.upstream(reply(7));
    it.connection.downstream(whole(request(7)));
    it.connection.upstream(Buffer.concat([reply(8), reply(7), reply(7)]));
    expect(it.toRouter).toBe(answered(reply(7)));
    expect(total(it.host, "meltemi_unmatched_responses_total")).toBe(3);
    expectSettled(it.host);
  });

  it("end with the connection, whoever ends it", async () => {
    const it = await lowered();
    it.connection.downstream(whole(request(7)));
    it.connection.close("client");
    const other = it.root.connect();
    other.downstream(whole(request(7)));
    other.close("server");
    expect(outcomes(it.host)).toEqual({ client_gone: 1, upstream_gone: 1 });
    expectSettled(it.host);
  });
});

describe("HTTP/1.1 that is none, or no request of the protocol, ends the connection", () => {
  const body = request(7);
  const cases: [string, string, Buffer][] = [
    ["no HTTP", "http_preface", Buffer.from("garbage\r\n\r\n")],
    ["HTTP/1.0", "http_preface", Buffer.from("POST / HTTP/1.0\r\nHost: a\r\n\r\n")],
    ["no host", "http_preface", Buffer.from("POST / HTTP/1.1\r\n\r\n")],
    ["a bare line feed", "http_preface", Buffer.from("POST / HTTP/1.1\nHost: a\n\n")],
    ["a length twice", "http_preface", head(["Content-Length: 5", "Content-Length: 5"])],
    ["a length and chunks", "http_preface", head(["Content-Length: 5", "Transfer-Encoding: chunked"])],
    [
      "a chunk without a size",
      "http_preface",
      Buffer.concat([head(["Transfer-Encoding: chunked"]), Buffer.from("x\r\n")]),
    ],
    ["another coding", "http_preface", head(["Transfer-Encoding: gzip"])],
    ["a head without end", "http_preface", Buffer.concat([head([]).subarray(0, -4), Buffer.alloc(70_000, "a")])],
    ["no body", "bad_request", head([])],
    ["a body of nothing", "bad_request", head(["Content-Length: 0"])],
    ["half a frame", "bad_request", whole(body.subarray(0, 50))],
    ["garbage in the body", "bad_request", whole(Buffer.alloc(100, "x"))],
    ["a reply in the body", "bad_request", whole(reply(7))],
    ["two frames in the body", "bad_request", whole(Buffer.concat([body, body]))],
    // Nobody would take the body of its response for one.
    ["HEAD", "bad_request", Buffer.from(whole(body).toString("latin1").replace("POST", "HEAD"), "latin1")],
    ["a request before the other is answered", "http_stream", Buffer.concat([whole(body), whole(body)])],
  ];

  it.each(cases)("%s: %s", async (_, reason, bytes) => {
    for (const size of [1 << 30, 1, 11]) {
      const it = await lowered();
      const other = it.root.connect();
      other.downstream(whole(request(9)));
      for (let at = 0; at < bytes.length && !it.closed; at += size) {
        it.connection.downstream(bytes.subarray(at, at + size));
      }
      expect(it.closed).toBe(true);
      expect(closings(it.host, reason)).toBe(1);
      expect(other.upstream(reply(9)).toString("latin1")).toBe(answered(reply(9)));
      other.close("client");
      expectSettled(it.host);
      if (bytes.length > 10_000) break;
    }
  });
});
