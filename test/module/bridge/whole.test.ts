import { setImmediate as turn } from "node:timers/promises";
import Response from "dubbo-remoting/lib/protocol/response.js";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  decode,
  encodeHeartbeat,
  encodeHeartbeatReply,
  encodeReply,
  encodeRequest,
  FrameCutter,
} from "../../peers/dubbo/codec.js";
import { awesome } from "../support.js";
import { expectBytes, expectSettled, idOf, opaque, Random, total, withId } from "./support.js";
import { type Fields, Whole, type WholeOptions } from "./whole.js";

/** What the two protocols have in common, for peers that are independent of the module. */
interface Protocol {
  name: "dubbo" | "awesomerpc";
  cutter: () => { push(bytes: Buffer): Buffer[] };
  idOf: (frame: Buffer) => number;
  withId: (frame: Buffer, id: number) => Buffer;
  /** With a number that makes its bytes unlike all others'. */
  request: (id: number, length: number, number: number) => Buffer;
  oneWay?: (id: number, length: number, number: number) => Buffer;
  reply: (id: number, length: number, number: number) => Buffer;
  heartbeat?: (id: number) => Buffer;
}

class AwesomeCutter {
  private rest = Buffer.alloc(0);

  push(bytes: Buffer): Buffer[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    const frames: Buffer[] = [];
    while (this.rest.length >= 13 && this.rest.length >= this.rest.readUInt32BE(5)) {
      const length = this.rest.readUInt32BE(5);
      frames.push(this.rest.subarray(0, length));
      this.rest = this.rest.subarray(length);
    }
    return frames;
  }
}

function awesomeFrame(id: number, length: number, number: number): Buffer {
  const frame = awesome(id, 5, { body: length - 13 });
  for (let i = 13; i < length; i++) frame[i] = (number * 31 + i * 7) & 0xff;
  return frame;
}

const protocols: Protocol[] = [
  {
    name: "dubbo",
    cutter: () => new FrameCutter(),
    idOf,
    withId,
    request: (id, length, number) =>
      length % 3 ? opaque("request", id, length, number) : encodeRequest(id, "a.B", "m", [number, "x".repeat(length)]),
    oneWay: (id, length, number) => opaque("oneway", id, length, number),
    reply: (id, length, number) =>
      length % 3 ? opaque("reply", id, length, number) : encodeReply(id, `${number}${"x".repeat(length)}`),
    heartbeat: encodeHeartbeat,
  },
  {
    name: "awesomerpc",
    cutter: () => new AwesomeCutter(),
    idOf: (frame) => frame.readUInt32BE(1),
    withId: (frame, id) => {
      const copy = Buffer.from(frame);
      copy.writeUInt32BE(id, 1);
      return copy;
    },
    request: awesomeFrame,
    reply: awesomeFrame,
  },
];

const lengths = [20, 20, 200, 3000, 20_000, 65_540, 100_000, 300_000, 1 << 20];

/** Cuts bytes at random; some pieces are as short as a byte. */
function pieces(random: Random, bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const n = random.once(4) ? 1 + random.int(20) : random.size(200_000);
    parts.push(bytes.subarray(at, at + n));
    at += n;
  }
  return parts;
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it never came to that");
    await turn();
  }
}

async function play(whole: Whole, protocol: Protocol, serve: Serve, seed: number): Promise<void> {
  const random = new Random(seed);
  const asked = new Map<string, { frame: Buffer; reply: Buffer | undefined }[]>();
  const frames: Buffer[] = [];
  const expected: Buffer[] = [];
  const blank = (frame: Buffer) => protocol.withId(frame, 0).toString("latin1");
  for (let number = 0, count = 1 + random.int(10); number < count; number++) {
    const id = random.int(5);
    const length = random.pick(lengths) + random.int(9);
    if (protocol.heartbeat && random.once(8)) {
      frames.push(protocol.heartbeat(1000 + number));
      expected.push(encodeHeartbeatReply(1000 + number));
      continue;
    }
    const silent = protocol.oneWay && random.once(8);
    const frame = silent ? protocol.oneWay?.(id, length, number) : protocol.request(id, length, number);
    const reply = silent ? undefined : protocol.reply(id, random.pick(lengths) + random.int(9), number);
    frames.push(frame as Buffer);
    if (reply) expected.push(reply);
    // The same bytes under several ids are not told apart at the server; each gets one of the replies.
    const same = asked.get(blank(frame as Buffer)) ?? [];
    asked.set(blank(frame as Buffer), [...same, { frame: frame as Buffer, reply }]);
  }
  let seen = 0;
  const waiting: { to: (bytes: Buffer) => void; reply: Buffer }[] = [];
  serve((frame, to) => {
    const found = asked.get(blank(frame))?.shift();
    if (!found) throw new Error(`the server got what nobody sent: ${frame.toString("hex", 0, 32)}`);
    seen++;
    if (found.reply) waiting.push({ to, reply: protocol.withId(found.reply, protocol.idOf(frame)) });
  });
  const got: Buffer[] = [];
  const cutter = protocol.cutter();
  const connection = whole.connect((bytes) => got.push(...cutter.push(bytes)));
  const all = [...asked.values()].reduce((total, { length }) => total + length, 0);
  const parts = pieces(random, Buffer.concat(frames));
  await until(() => {
    const part = random.once(2) ? parts.shift() : undefined;
    if (part) connection.downstream(part);
    if (waiting.length && random.once(3)) {
      const { to, reply } = waiting.splice(random.int(waiting.length), 1)[0] as (typeof waiting)[0];
      for (const piece of pieces(random, reply)) to(piece);
    }
    return seen === all && got.length >= expected.length && !parts.length;
  });
  expect(got.length).toBe(expected.length);
  const sorted = (list: Buffer[]) => [...list].sort(Buffer.compare);
  for (const [i, frame] of sorted(got).entries()) expectBytes(frame, sorted(expected)[i] as Buffer);
  connection.close("client");
}

type OnRequest = (frame: Buffer, answer: (bytes: Buffer) => void) => void;
type Serve = (onRequest: OnRequest) => void;

/** Servers behind lower, which answer heartbeats and hand requests over. */
async function start(protocol: Protocol, more: Partial<WholeOptions> = {}) {
  let onRequest: OnRequest = () => {};
  let heartbeats = 0;
  const cutters = new WeakMap<object, { push(bytes: Buffer): Buffer[] }>();
  const whole = await Whole.load({
    ...more,
    protocol: protocol.name,
    toServer: (bytes, server) => {
      const cutter = cutters.get(server) ?? protocol.cutter();
      cutters.set(server, cutter);
      for (const frame of cutter.push(bytes)) {
        if (protocol.heartbeat && (frame[2] as number) & 0x20) {
          heartbeats++;
          server.upstream(encodeHeartbeatReply(idOf(frame)));
        } else {
          onRequest(frame, (answer) => server.upstream(answer));
        }
      }
    },
  });
  onTestFinished(() => whole.close());
  const serve: Serve = (next) => {
    onRequest = next;
  };
  return { whole, serve, heartbeats: () => heartbeats };
}

describe.each(protocols)("$name, through Node's HTTP", (protocol) => {
  it.each([
    ["the usual windows", {}],
    ["narrow ones", { initialWindowSize: 20_000 }],
  ])(
    "with %s, frames arrive as they were, and each reply where it belongs",
    async (_, settings) => {
      const { whole, serve } = await start(protocol, { settings });
      const seed = fc.integer();
      await fc.assert(
        fc.asyncProperty(seed, (seed) => play(whole, protocol, serve, seed)),
        { numRuns: 15, seed: 1, endOnFailure: true },
      );
      await until(() => total(whole.host, "meltemi_in_flight") === 0);
      expectSettled(whole.host);
    },
    60_000,
  );
});

describe("headers", () => {
  const dubbo = protocols[0] as Protocol;

  /** One call of dubbo through the relay: what the server got, and what the client. */
  async function call(request: Buffer, reply: (id: number) => Buffer, more: Partial<WholeOptions>) {
    const { whole, serve } = await start(dubbo, more);
    let asked: Buffer = Buffer.alloc(0);
    serve((frame, answer) => {
      asked = frame;
      answer(reply(idOf(frame)));
    });
    const got: Buffer[] = [];
    const cutter = new FrameCutter();
    whole.connect((bytes) => got.push(...cutter.push(bytes))).downstream(request);
    await until(() => got.length > 0);
    return { whole, asked, got: got[0] as Buffer };
  }

  it("that nobody changes leave the frames as they are", async () => {
    const attachments = {
      "dubbo.tag": "gray",
      timeout: "500",
      Host: "not the host",
      Cookie: "a=b",
      "x-request-id": "7",
      "Mixed-Case": "v",
      "meltemi-x": "1",
      "with blank": "no header",
      "x-bytes": "grün",
      "x-lines": "a\nb",
      empty: "",
    };
    const seen: Fields[] = [];
    const request = encodeRequest(7, "a.Greeter", "say/hi ü", ["x"], { attachments });
    const { whole, asked, got } = await call(request, (id) => encodeReply(id, "fine"), {
      onRequest: (fields) => {
        seen.push(fields);
        return fields;
      },
    });
    expectBytes(withId(asked, 7), request);
    expectBytes(got, encodeReply(7, "fine"));
    expect(seen[0]).toMatchObject({
      ":method": "POST",
      ":path": "/a.Greeter/say%2Fhi%20%C3%BC",
      ":authority": "greeter",
      "grpc-timeout": "500m",
      interface: "a.Greeter",
      "dubbo.tag": "gray",
      "meltemi-host": "not the host",
      "meltemi-cookie": "a=b",
      "x-request-id": "7",
      "mixed-case": "v",
      "meltemi-meltemi-x": "1",
      empty: "",
    });
    expect(Object.keys(seen[0] ?? {})).not.toContain("with blank");
    expect(Object.keys(seen[0] ?? {})).not.toContain("x-lines");
    expect(total(whole.host, "meltemi_unwritten_changes_total")).toBe(0);
  });

  it("that a route changes are written into the request and into the reply", async () => {
    const attachments = { "dubbo.tag": "gray", Host: "h", k1: "gone", keep: "this" };
    const { asked, got, whole } = await call(
      encodeRequest(7, "a.Greeter", "hi", ["x", 5], { attachments }),
      (id) => encodeReply(id, "fine"),
      {
        onRequest: ({ k1: _, ...fields }) => ({
          ...fields,
          "dubbo.tag": "blue",
          "meltemi-host": "other",
          tier: "gold",
          interface: "b.Other",
          "x-envoy-internal": "true",
          "content-length": undefined,
        }),
        onResponse: (fields) => ({ ...fields, trace: "t-1", "x-envoy-upstream-service-time": "5", server: "envoy" }),
      },
    );
    expect(decode(asked)).toMatchObject({
      service: "a.Greeter",
      method: "hi",
      args: ["x", 5],
      attachments: {
        dubbo: "2.0.2",
        interface: "b.Other",
        "dubbo.tag": "blue",
        Host: "other",
        keep: "this",
        tier: "gold",
      },
    });
    expect(asked.toString("latin1")).not.toContain("gone");
    const { packetId, data } = Response.decode(got);
    expect([Number(packetId), data.appResponse, data.responseProps]).toEqual([7, "fine", { trace: "t-1" }]);
    expect(total(whole.host, "meltemi_unwritten_changes_total")).toBe(0);
  });

  it("of a frame that cannot be written anew are counted, and the frame passes as it is", async () => {
    const request = opaque("request", 7, 100);
    const { asked, got, whole } = await call(request, (id) => opaque("reply", id, 90, 7), {
      onRequest: (fields) => ({ ...fields, tier: "gold" }),
      onResponse: (fields) => ({ ...fields, trace: "t-1" }),
    });
    expectBytes(withId(asked, 7), request);
    expectBytes(got, opaque("reply", 7, 90));
    expect(total(whole.host, "meltemi_unwritten_changes_total")).toBe(2);
  });

  it("of a large frame are written as well, and the rest of it stays", async () => {
    const text = "x".repeat(20_000);
    const { asked, got } = await call(
      encodeRequest(7, "a.Greeter", "hi", [text], { attachments: { a: "b" } }),
      (id) => encodeReply(id, text),
      {
        onRequest: (fields) => ({ ...fields, a: "c", tier: "gold" }),
        onResponse: (fields) => ({ ...fields, trace: "t-1" }),
      },
    );
    expect(decode(asked)).toMatchObject({ args: [text], attachments: { a: "c", tier: "gold" } });
    expect(Response.decode(got).data).toMatchObject({ appResponse: text, responseProps: { trace: "t-1" } });
  });
});
