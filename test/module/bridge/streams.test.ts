import { describe, expect, it } from "vitest";
import { Code, data, Flag, headers, reset } from "./http2.js";
import { expectBytes, expectSettled, Lifted, Lowered, leg, outcomes, total } from "./support.js";

/** Streams of a private protocol, which are those of tRPC: many frames in each of the two messages. */

const trpc = "application/vnd.meltemi.trpc";
const [OPEN, DATA, CLOSE] = [1, 2, 4];

class TrpcCutter {
  private rest: Buffer = Buffer.alloc(0);

  push(bytes: Buffer): Buffer[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const frames: Buffer[] = [];
    while (this.rest.length >= 8 && this.rest.length >= this.rest.readUInt32BE(4)) {
      if (this.rest.readUInt16BE(0) !== 0x930) throw new Error(`no tRPC: ${this.rest.toString("hex", 0, 16)}`);
      const length = this.rest.readUInt32BE(4);
      frames.push(this.rest.subarray(0, length));
      this.rest = this.rest.subarray(length);
    }
    return frames;
  }
}

function streamFrame(type: number, id: number, rest: Buffer): Buffer {
  const fixed = Buffer.alloc(16);
  fixed.writeUInt16BE(0x930, 0);
  fixed.writeUInt8(1, 2);
  fixed.writeUInt8(type, 3);
  fixed.writeUInt32BE(16 + rest.length, 4);
  fixed.writeUInt32BE(id, 10);
  return Buffer.concat([fixed, rest]);
}

/** A field of Protocol Buffers with bytes in it. */
const field = (tag: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.of((tag << 3) | 2, bytes.length), bytes]);

const open = (id: number, func = "/pkg.Streams/Chat"): Buffer =>
  streamFrame(OPEN, id, field(1, field(3, Buffer.from(func))));
/** A server's INIT. */
const accept = (id: number, ret = 0): Buffer =>
  streamFrame(OPEN, id, field(2, ret ? Buffer.of(8, ret) : Buffer.alloc(0)));
const say = (id: number, text: string | Buffer): Buffer => streamFrame(DATA, id, Buffer.from(text));
/** The end of what the sender says; with a code, of both directions. */
const close = (id: number, ret = 0): Buffer => streamFrame(CLOSE, id, ret ? Buffer.of(0x10, ret) : Buffer.alloc(0));
/** A call, which is no stream. */
function call(id: number): Buffer {
  const head = Buffer.concat([Buffer.of(0x18, id), field(7, Buffer.from("/pkg.Greeter/Hi"))]);
  const frame = streamFrame(0, 0, head);
  frame.writeUInt8(0, 2);
  frame.writeUInt16BE(head.length, 8);
  return frame;
}
const idOf = (frame: Buffer): number => frame.readUInt32BE(10);
const kinds = (frames: Buffer[]): [number, number][] => frames.map((frame) => [frame[3] as number, idOf(frame)]);

function withId(frame: Buffer, id: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32BE(id, 10);
  return copy;
}

async function lifted() {
  const { host, root } = await leg("lift", { protocol: "trpc" });
  return { host, it: new Lifted(host, root, { cutter: new TrpcCutter() }) };
}

async function lowered() {
  const { host, root } = await leg("lower", { protocol: "trpc" });
  const it = new Lowered(host, root, { cutter: new TrpcCutter(), hello: (peer) => peer.grant(0, 1 << 30) });
  return { host, it: it.greet() };
}

const responded = (stream: number, flags = 0): Buffer =>
  headers(stream, { ":status": "200", "content-type": trpc }, flags);

describe("lift, with streams", () => {
  it("has all frames of one in the messages of one, mixed with others as they come", async () => {
    const { host, it } = await lifted();
    it.client(open(7), say(7, "a"), open(8), say(8, "b"));
    it.client(say(7, "c"), close(7), say(8, "d"));
    expectBytes(it.peer.stream(1).data, Buffer.concat([open(7), say(7, "a"), say(7, "c"), close(7)]));
    expectBytes(it.peer.stream(3).data, Buffer.concat([open(8), say(8, "b"), say(8, "d")]));
    expect(it.peer.stream(1).fields).toMatchObject({ ":path": "/pkg.Streams/Chat", "content-type": trpc });
    it.http(responded(1), data(1, accept(7)), responded(3), data(3, Buffer.concat([accept(8), say(8, "x")])));
    it.http(data(1, say(7, "y").subarray(0, 10)), data(3, say(8, "z")));
    it.http(data(1, say(7, "y").subarray(10)), data(1, close(7), Flag.endStream), data(3, close(8), Flag.endStream));
    expect(it.frames).toEqual([accept(7), accept(8), say(8, "x"), say(8, "z"), say(7, "y"), close(7), close(8)]);
    expect(outcomes(host)).toEqual({ ok: 2 });
    // The client has no more to say, and HTTP need not wait for it.
    expect(it.peer.streams.size).toBe(2);
    expectSettled(host);
  });

  it("tells the client once when one is broken off, and takes no more of it", async () => {
    for (const end of [
      (s: number) => [reset(s)],
      (s: number) => [headers(s, { ":status": "503" }, Flag.endStream)],
      (s: number) => [responded(s), data(s, accept(7)), reset(s, Code.internal)],
      (s: number) => [responded(s), data(s, accept(7), Flag.endStream)],
      (s: number) => [responded(s), data(s, accept(7)), data(s, Buffer.from("this is no frame of tRPC"))],
      (s: number) => [responded(s), data(s, say(9, "of another stream"))],
    ]) {
      const { host, it } = await lifted();
      it.client(open(7), say(7, "a"));
      it.http(...end(1));
      const accepted = it.frames[0]?.equals(accept(7)) ?? false;
      // Where the server has not accepted it, that it is not open is told as well.
      const told = accepted ? [OPEN, CLOSE] : [CLOSE, OPEN];
      expect(kinds(it.frames)).toEqual(told.map((kind) => [kind, 7]));
      const { size } = it.peer.stream(1);
      it.client(say(7, "b"), close(7), close(7, 1));
      expect(it.peer.stream(1).size).toBe(size);
      expect(it.frames).toHaveLength(2);
      // The id is free again.
      it.client(open(7), say(7, "again"));
      it.http(responded(3), data(3, Buffer.concat([accept(7), close(7)]), Flag.endStream));
      expect(it.frames.slice(-2)).toEqual([accept(7), close(7)]);
      expectSettled(host);
    }
  });

  it("tells it once as well while a long reply of another one is passing", async () => {
    const { host, it } = await lifted();
    it.client(open(7), open(8));
    const long = say(7, Buffer.alloc(300_000, "x"));
    it.http(responded(1), data(1, accept(7)), data(1, long.subarray(0, 100_000)));
    it.http(responded(3), data(3, Buffer.concat([accept(8), Buffer.from("garbage that is no frame")])));
    it.http(data(3, say(8, "more")), data(3, say(8, "and more"), Flag.endStream));
    it.client(say(8, "b"));
    it.http(data(1, long.subarray(100_000)), data(1, close(7), Flag.endStream));
    expect(kinds(it.frames)).toEqual([
      [OPEN, 7],
      [DATA, 7],
      [OPEN, 8],
      [CLOSE, 8],
      [CLOSE, 7],
    ]);
    expectBytes(it.frames[1] as Buffer, long);
    expect(it.peer.stream(3).reset).toBe(Code.cancel);
    expectSettled(host);
  });

  it("that the client gives up end at once, and what comes of them goes nowhere", async () => {
    const { host, it } = await lifted();
    it.client(open(7), say(7, "a"));
    it.http(responded(1), data(1, accept(7)));
    it.client(close(7, 5));
    expect(it.peer.stream(1).ended).toBe(true);
    expect(outcomes(host)).toEqual({ client_gone: 1 });
    it.client(say(7, "late"), close(7), open(7));
    expect(it.peer.streams.size).toBe(2);
    it.http(data(1, say(7, "x")), data(1, close(7), Flag.endStream));
    expect(it.frames).toEqual([accept(7)]);
    it.http(responded(3), data(3, Buffer.concat([accept(7), close(7)]), Flag.endStream));
    expect(kinds(it.frames)).toEqual([
      [OPEN, 7],
      [OPEN, 7],
      [CLOSE, 7],
    ]);
    expectSettled(host);
  });

  it("that the client gives up in the middle of a long frame leave no half of it behind", async () => {
    const { host, it } = await lifted();
    it.client(open(7), open(8));
    const long = say(7, Buffer.alloc(300_000, "x"));
    it.http(responded(1), data(1, accept(7)), data(1, long.subarray(0, 100_000)));
    it.client(close(7, 5));
    it.http(data(1, long.subarray(100_000)), data(1, close(7), Flag.endStream));
    it.http(responded(3), data(3, Buffer.concat([accept(8), close(8)]), Flag.endStream));
    expectBytes(it.frames[1] as Buffer, long);
    expect(kinds(it.frames)).toEqual([
      [OPEN, 7],
      [DATA, 7],
      [OPEN, 8],
      [CLOSE, 8],
    ]);
    expectSettled(host);
  });

  it("that break off in their second frame end for the client, and were not refused", async () => {
    for (const waits of [false, true]) {
      const { host, it } = await lifted();
      it.client(open(7), open(8));
      const long = say(8, Buffer.alloc(300_000, "x"));
      if (waits) it.http(responded(3), data(3, accept(8)), data(3, long.subarray(0, 1000)));
      it.http(responded(1), data(1, accept(7)), data(1, say(7, "abc").subarray(0, 18)), reset(1));
      if (waits) it.http(data(3, long.subarray(1000)), data(3, close(8), Flag.endStream));
      else it.http(responded(3), data(3, Buffer.concat([accept(8), close(8)]), Flag.endStream));
      expect(kinds(it.frames.filter((frame) => idOf(frame) === 7))).toEqual([
        [OPEN, 7],
        [CLOSE, 7],
      ]);
      expectBytes(it.frames.at(-1) as Buffer, close(8));
      expectSettled(host);
    }
  });

  it("frames of streams that were never opened go nowhere", async () => {
    const { host, it } = await lifted();
    it.client(say(7, "a"), close(7), say(8, Buffer.alloc(100_000)), open(9));
    expect([...it.peer.streams.keys()]).toEqual([1]);
    it.http(responded(1), data(1, accept(9, 31), Flag.endStream));
    expect(it.frames).toEqual([accept(9, 31)]);
    expectSettled(host);
  });
});

/** Headers of a request that opens a stream. */
const ask = (stream: number): Buffer =>
  headers(stream, {
    ":method": "POST",
    ":scheme": "http",
    ":authority": "greeter",
    ":path": "/pkg.Streams/Chat",
    "content-type": trpc,
    func: "/pkg.Streams/Chat",
  });

describe("lower, with streams", () => {
  it("gives each an id of its own, and the replies theirs", async () => {
    const { host, it } = await lowered();
    const [a, b] = [it.open(), it.open()];
    it.http(ask(a), data(a, Buffer.concat([open(7), say(7, "a")])), ask(b), data(b, open(7)));
    it.http(data(b, say(7, "b")), data(a, say(7, "c").subarray(0, 12)));
    it.http(data(a, say(7, "c").subarray(12)), data(a, close(7)));
    expect(it.requests).toEqual([open(a), say(a, "a"), open(b), say(b, "b"), say(a, "c"), close(a)]);
    it.server(accept(b), accept(a), say(a, "x"), say(b, "y"), close(a), say(b, "z"), close(b));
    expectBytes(it.peer.stream(a).data, Buffer.concat([accept(7), say(7, "x"), close(7)]));
    expectBytes(it.peer.stream(b).data, Buffer.concat([accept(7), say(7, "y"), say(7, "z"), close(7)]));
    expect([a, b].map((id) => it.peer.stream(id).ended)).toEqual([true, true]);
    expect(outcomes(host)).toEqual({ ok: 2 });
    expectSettled(host);
  });

  it("writes the whole frames of one that waits, though another has begun, and lets that one come", async () => {
    const { host, it } = await lowered();
    const [a, c] = [it.open(), it.open()];
    it.http(ask(a), data(a, open(7)), ask(c), data(c, open(9)));
    it.server(accept(a), accept(c));
    const b = it.open();
    it.http(ask(b), data(b, open(8)));
    const long = say(7, Buffer.alloc(300_000, "x"));
    const frames = Buffer.concat([say(8, Buffer.alloc(100_000)), say(8, Buffer.alloc(200_000)), close(8)]);
    it.http(data(a, long.subarray(0, 100_000)));
    // The occasion to open its window, and the end of that.
    it.server(say(c, "x"));
    host.tick();
    let at = 0;
    const send = (): void => {
      for (let n = it.peer.spend(b, frames.length - at); n; n = it.peer.spend(b, frames.length - at)) {
        it.http(data(b, frames.subarray(at, at + n)));
        at += n;
      }
    };
    it.peer.spend(b, open(8).length);
    send();
    expect(at).toBeLessThan(frames.length);
    it.http(data(a, long.subarray(100_000)));
    expect(kinds(it.requests).slice(-2)).toEqual([
      [DATA, a],
      [DATA, b],
    ]);
    it.server(say(c, "y"));
    send();
    expect(at).toBe(frames.length);
    expect(kinds(it.requests).slice(-2)).toEqual([
      [DATA, b],
      [CLOSE, b],
    ]);
    it.connection.close("client");
    expectSettled(host);
  });

  it("takes one reply to a call, and no frames of streams", async () => {
    const { host, it } = await lowered();
    const a = it.open();
    it.http(ask(a), data(a, call(7), Flag.endStream));
    it.server(say(a, "x"), close(a));
    expect(total(host, "meltemi_unmatched_responses_total")).toBe(2);
    expect(it.peer.stream(a).size).toBe(0);
    it.connection.close("client");
    expectSettled(host);
  });

  it("says why the server did not accept one", async () => {
    const { host, it } = await lowered();
    const a = it.open();
    it.http(ask(a), data(a, open(7)));
    it.server(accept(a, 12));
    expect(it.peer.stream(a)).toMatchObject({ fields: { ":status": "404" }, ended: true });
    expect(it.peer.stream(a).data).toEqual(accept(7, 12));
    it.http(data(a, say(7, "late")));
    expect(it.requests).toHaveLength(1);
    expectSettled(host);
  });

  it("ends HTTP in order where the client gives one up, before the server's first word and after", async () => {
    for (const spoken of [false, true]) {
      const { host, it } = await lowered();
      const a = it.open();
      it.http(ask(a), data(a, open(7)));
      if (spoken) it.server(accept(a), say(a, "x"));
      it.http(data(a, close(7, 5), Flag.endStream));
      expect(it.requests.map((frame) => withId(frame, 7))).toEqual([open(7), close(7, 5)]);
      // The next word of the server, to somebody else, is the occasion.
      const b = it.open();
      it.http(ask(b), data(b, open(8)));
      it.server(accept(b), close(b));
      const { ended, reset: code, fields } = it.peer.stream(a);
      expect(ended || code !== undefined).toBe(true);
      expect(fields[":status"] ?? "200").toBe("200");
      expect(it.peer.stream(b).ended).toBe(true);
      it.server(say(a, "late"));
      expect(total(host, "meltemi_unmatched_responses_total")).toBe(1);
      expect(outcomes(host)).toEqual({ client_gone: 1, ok: 1 });
      expectSettled(host);
    }
  });

  it("refuses frames of another stream in the same message, and another opening", async () => {
    for (const second of [say(8, "of another"), open(7), open(8)]) {
      const { host, it } = await lowered();
      const a = it.open();
      it.http(ask(a), data(a, open(7)));
      it.http(data(a, second));
      it.server(accept(a));
      expect(it.requests).toEqual([open(a)]);
      const { ended, reset: code } = it.peer.stream(a);
      expect(ended || code !== undefined).toBe(true);
      expect(outcomes(host)).toEqual({ refused: 1 });
      expectSettled(host);
    }
  });
});

describe("lower, with streams over HTTP/1.1", () => {
  /** A request whose chunks come as the test says. */
  const start = Buffer.from(
    [
      "POST /pkg.Streams/Chat HTTP/1.1",
      "host: greeter",
      `content-type: ${trpc}`,
      "func: /pkg.Streams/Chat",
      "transfer-encoding: chunked",
      "",
      "",
    ].join("\r\n"),
  );
  const chunk = (bytes: Buffer): Buffer =>
    Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")]);
  const last = Buffer.from("0\r\n\r\n");

  async function one() {
    const { host, root } = await leg("lower", { protocol: "trpc" });
    const seen = { toServer: Buffer.alloc(0) as Buffer, toRouter: Buffer.alloc(0) as Buffer, closed: false };
    const connection = root.connect({
      toServer: (bytes) => {
        seen.toServer = Buffer.concat([seen.toServer, bytes]);
      },
      toClient: (bytes) => {
        seen.toRouter = Buffer.concat([seen.toRouter, bytes]);
      },
      closed: () => {
        seen.closed = true;
      },
    });
    return Object.assign(seen, { host, connection });
  }

  it("passes frames both ways as they come, in chunks, and ends with the server's end", async () => {
    const it = await one();
    it.connection.downstream(Buffer.concat([start, chunk(open(7)), chunk(say(7, "a").subarray(0, 5))]));
    expect(it.toServer.subarray(0, open(7).length)).toEqual(open(7));
    it.connection.upstream(Buffer.concat([accept(7), say(7, "x")]));
    const [head = "", rest = ""] = it.toRouter.toString("latin1").split("\r\n\r\n", 2);
    expect(head).toContain("HTTP/1.1 200");
    expect(head).toContain("transfer-encoding: chunked");
    expect(`${rest}\r\n`).toContain(chunk(accept(7)).toString("latin1").slice(0, -2));
    it.connection.downstream(Buffer.concat([chunk(say(7, "a").subarray(5)), chunk(close(7)), last]));
    expect(it.toServer).toEqual(Buffer.concat([open(7), say(7, "a"), close(7)]));
    const long = say(7, Buffer.alloc(70_000, "y"));
    it.connection.upstream(long.subarray(0, 30_000));
    it.connection.upstream(Buffer.concat([long.subarray(30_000), close(7)]));
    const body = it.toRouter.subarray(head.length + 4);
    expectBytes(unchunked(body), Buffer.concat([accept(7), say(7, "x"), long, close(7)]));
    expect(outcomes(it.host)).toEqual({ ok: 1 });
    expectSettled(it.host);
  });

  it("ends in order where the client gives one up", async () => {
    const it = await one();
    it.connection.downstream(Buffer.concat([start, chunk(open(7))]));
    it.connection.upstream(accept(7));
    it.connection.downstream(Buffer.concat([chunk(close(7, 5)), last]));
    expect(it.toServer).toEqual(Buffer.concat([open(7), close(7, 5)]));
    it.connection.upstream(say(7, "late"));
    const body = it.toRouter.subarray(it.toRouter.indexOf("\r\n\r\n") + 4);
    expect(unchunked(body).subarray(0, accept(7).length)).toEqual(accept(7));
    expect(outcomes(it.host)).toEqual({ client_gone: 1 });
    expectSettled(it.host);
  });

  /** The bytes of all chunks; throws where the last one is not there, or not the last. */
  function unchunked(body: Buffer): Buffer {
    const parts: Buffer[] = [];
    for (let at = 0; ; ) {
      const end = body.indexOf("\r\n", at);
      const size = Number.parseInt(body.toString("latin1", at, end), 16);
      parts.push(body.subarray(end + 2, end + 2 + size));
      at = end + 2 + size + 2;
      if (size > 0) continue;
      if (at !== body.length) throw new Error("more behind the last chunk");
      return Buffer.concat(parts);
    }
  }
});
