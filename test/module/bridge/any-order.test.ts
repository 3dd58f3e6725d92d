import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Host, Root } from "../../../tools/host/host.js";
import { encodeHeartbeat, encodeHeartbeatReply, encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { data, Flag, headers, ping, reset, Setting, settings, windowMax } from "./http2.js";
import {
  asking,
  closings,
  expectBytes,
  expectSettled,
  idOf,
  Lifted,
  Lowered,
  leg,
  opaque,
  outcomes,
  Random,
  responded,
  withId,
} from "./support.js";

/**
 * Each leg between two peers that do what is allowed in any order: bytes cut anywhere, windows opened late, little or
 * below nothing, streams that wait, replies in another order. Whatever they do, each frame comes out as it went in.
 */

const lengths = [16, 16, 40, 300, 5000, 65_500, 70_000, 262_144, 300_000];

const length = (random: Random): number => Math.max(16, random.pick(lengths) + random.int(40) - 20);

/** A request with that number in it. Few ids, so that clients use the same one again and again. */
function requestOf(random: Random, number: number): Buffer {
  const id = random.int(4);
  if (random.once(3)) return encodeRequest(id, "a.Greeter", `m${number}`, ["x".repeat(random.size(3000))]);
  return opaque("request", id, Math.max(20, length(random)), number);
}

function replyTo(random: Random, id: number, number: number): Buffer {
  if (random.once(3)) return encodeReply(id, `${number} ${"y".repeat(random.size(3000))}`);
  return opaque("reply", id, Math.max(20, length(random)), number);
}

const sorted = (frames: Buffer[]): Buffer[] => [...frames].sort(Buffer.compare);

/** Holds that the same frames are there, in any order. */
function expectSame(actual: Buffer[], expected: Buffer[]): void {
  expect(actual.length).toBe(expected.length);
  const [left, right] = [sorted(actual), sorted(expected)];
  for (const [i, frame] of left.entries()) expectBytes(frame, right[i] as Buffer);
}

interface Sending {
  stream: number;
  rest: Buffer;
}

/** Sends a part of one of the messages, as far as windows allow; the message leaves the list with its end. */
function sendSome(random: Random, it: Lifted | Lowered, sending: Sending[], most: number): void {
  if (!sending.length) return;
  const message = random.pick(sending);
  const n = it.peer.spend(message.stream, Math.min(most, message.rest.length));
  if (!n && message.rest.length) return;
  const part = message.rest.subarray(0, n);
  const size = Math.max(random.size(16_384), n >> 5);
  message.rest = message.rest.subarray(n);
  it.http(...partOf(random, message, part, size));
  if (!message.rest.length) sending.splice(sending.indexOf(message), 1);
}

function partOf(random: Random, { stream, rest }: Sending, part: Buffer, size: number): Buffer[] {
  if (rest.length) return [data(stream, part, 0, size)];
  switch (random.int(4)) {
    case 0:
      return [data(stream, part, 0, size), data(stream, Buffer.alloc(0), Flag.endStream)];
    case 1:
      return [data(stream, part, 0, size), headers(stream, { "some-trailer": "x" }, Flag.endStream)];
    default:
      return [data(stream, part, Flag.endStream, size)];
  }
}

/** Opens a window, changes the first one, or says something that changes nothing. */
function control(random: Random, { peer }: Lifted | Lowered): Buffer {
  const open = [...peer.streams.values()].filter(({ ended }) => !ended);
  switch (random.int(6)) {
    case 0:
      return peer.setStreamWindow(random.pick([0, 1, 100, 10_000, 65_535, 200_000]));
    case 1:
      return ping();
    case 2:
      return settings({ 77: 1 });
    default:
      return peer.grant(open.length && random.once(2) ? random.pick(open).id : 0, random.size(100_000));
  }
}

/** Opens all windows wide. */
function openAll(it: Lifted | Lowered): void {
  const { peer } = it;
  it.http(peer.setStreamWindow(1 << 20));
  if (peer.window < windowMax) it.http(peer.grant(0, windowMax - peer.window));
}

const patience = 2000;

function playLift(host: Host, root: Root, seed: number): void {
  const random = new Random(seed);
  const it = new Lifted(host, root, {
    hello: (peer) => {
      if (random.once(2)) return settings();
      const streams = settings({ [Setting.maxConcurrentStreams]: random.int(3) });
      return Buffer.concat([streams, peer.setStreamWindow(random.pick([0, 1, 1000]))]);
    },
  });
  const requests: Buffer[] = [];
  const oneWays: Buffer[] = [];
  const expected: Buffer[] = [];
  const sent: Buffer[] = [];
  for (let number = 0, count = 1 + random.int(12); number < count; number++) {
    switch (random.int(8)) {
      case 0:
        sent.push(encodeHeartbeat(100 + number));
        expected.push(encodeHeartbeatReply(100 + number));
        break;
      case 1:
        oneWays.push(opaque("oneway", 9, Math.max(20, length(random)), number));
        sent.push(oneWays.at(-1) as Buffer);
        break;
      default:
        requests.push(requestOf(random, number));
        sent.push(requests.at(-1) as Buffer);
    }
  }
  let rest = Buffer.concat(sent);
  const answered = new Set<number>();
  const sending: Sending[] = [];
  const answer = () => {
    const asked = [...it.peer.streams.values()].filter(({ id, ended }) => ended && !answered.has(id));
    if (!asked.length) return;
    const { id, data: frame } = random.pick(asked);
    answered.add(id);
    if (!((frame[2] as number) & 0x40)) {
      it.http(responded(id, {}, Flag.endStream));
      return;
    }
    const reply = replyTo(random, idOf(frame), answered.size);
    expected.push(reply);
    it.http(responded(id));
    sending.push({ stream: id, rest: reply });
  };
  const speak = (most: number) => {
    const n = Math.min(rest.length, most);
    if (n) it.client(rest.subarray(0, n));
    rest = rest.subarray(n);
  };
  // An HTTP connection manager never speaks first.
  speak(1);
  for (let step = 0, steps = 20 + random.int(200); step < steps; step++) {
    switch (random.int(6)) {
      case 0:
      case 1:
        speak(random.size(150_000));
        break;
      case 2:
        it.http(control(random, it));
        break;
      case 3:
        answer();
        break;
      case 4:
        sendSome(random, it, sending, random.size(100_000));
        break;
      default:
        if (random.once(4)) it.http(settings({ [Setting.maxConcurrentStreams]: random.int(6) }));
        else host.tick();
    }
  }
  it.http(settings({ [Setting.maxConcurrentStreams]: 100 }));
  speak(rest.length);
  let left = patience;
  while (answered.size < requests.length + oneWays.length || sending.length) {
    if (!left--) throw new Error(`no end of it: ${sending.length} replies, ${answered.size} of ${requests.length}`);
    openAll(it);
    host.tick();
    answer();
    sendSome(random, it, sending, 1 << 20);
  }
  host.tick();
  expectSame(
    [...it.peer.streams.values()].map((stream) => stream.data),
    [...requests, ...oneWays],
  );
  expectSame(it.frames, expected);
  expect([...it.peer.streams.values()].filter((stream) => stream.reset !== undefined)).toEqual([]);
  expect(it.closed).toBe(false);
  it.connection.close("client");
}

function playLower(host: Host, root: Root, seed: number): void {
  const random = new Random(seed);
  /** What the server is about to send, whole frames in a row. */
  let speech = Buffer.alloc(0);
  const say = (frame: Buffer) => {
    speech = Buffer.concat([speech, frame]);
  };
  const it = new Lowered(host, root, {
    hello: (peer) => (random.once(2) ? settings() : peer.setStreamWindow(random.pick([0, 1, 1000]))),
    onHeartbeat: (id) => say(encodeHeartbeatReply(id)),
  });
  const speak = (most: number) => {
    const n = Math.min(speech.length, most);
    if (n) it.server(speech.subarray(0, n));
    speech = speech.subarray(n);
  };
  if (random.once(3)) {
    // Before the router has said anything.
    say(encodeHeartbeat(77));
    speak(random.size(20));
    host.tick();
  }
  it.greet();
  const count = 1 + random.int(12);
  const requests = new Map<number, Buffer>();
  const oneWays = new Set<number>();
  const sending: Sending[] = [];
  const ask = () => {
    if (requests.size === count) return;
    const id = it.open();
    const oneWay = random.once(8);
    const frame = oneWay
      ? opaque("oneway", 9, Math.max(20, length(random)), requests.size)
      : requestOf(random, requests.size);
    if (oneWay) oneWays.add(id);
    requests.set(id, frame);
    it.http(asking(id, {}));
    sending.push({ stream: id, rest: frame });
  };
  const answered = new Map<number, Buffer>();
  const seen = new Set<number>();
  const answer = () => {
    const open = it.requests.filter((frame) => !seen.has(idOf(frame)));
    if (!open.length) return;
    const frame = random.pick(open);
    const id = idOf(frame);
    seen.add(id);
    if (oneWays.has(id)) return;
    const reply = replyTo(random, id, seen.size);
    answered.set(id, reply);
    say(reply);
    if (random.once(6)) say(encodeHeartbeat(78));
  };
  for (let step = 0, steps = 20 + random.int(200); step < steps; step++) {
    switch (random.int(6)) {
      case 0:
        ask();
        break;
      case 1:
        sendSome(random, it, sending, random.size(100_000));
        break;
      case 2:
        it.http(control(random, it));
        break;
      case 3:
        answer();
        break;
      case 4:
        speak(random.size(150_000));
        break;
      default:
        host.tick();
    }
  }
  let left = patience;
  const over = () => [...requests.keys()].every((id) => it.peer.stream(id).ended);
  while (requests.size < count || sending.length || !over() || speech.length) {
    if (!left--) {
      const open = [...requests.keys()].filter((id) => !it.peer.stream(id).ended);
      throw new Error(
        `no end of it: ${open.length} of ${count}, ${sending.length} being sent, ${it.requests.length} seen`,
      );
    }
    openAll(it);
    ask();
    sendSome(random, it, sending, 1 << 20);
    answer();
    host.tick();
    speak(speech.length);
  }
  const back = (id: number, frame: Buffer) => withId(frame, idOf(requests.get(id) as Buffer));
  expect(it.requests.length).toBe(count);
  for (const frame of it.requests) expectBytes(back(idOf(frame), frame), requests.get(idOf(frame)) as Buffer);
  for (const [id, reply] of answered) {
    const stream = it.peer.stream(id);
    expect(stream.fields[":status"]).toBe("200");
    expectBytes(stream.data, back(id, reply));
    expect(stream.reset).toBeUndefined();
  }
  for (const id of oneWays) expect(it.peer.stream(id).data).toHaveLength(0);
  expect(it.closed).toBe(false);
  it.connection.close("client");
}

/** What else may come of a request: for each, whether the reply of the service may have passed before. */
function mishap(random: Random, { peer }: Lifted, stream: number): Buffer {
  switch (random.int(6)) {
    case 0:
      return reset(stream, random.int(14));
    case 1:
      return headers(stream, { ":status": random.pick(["403", "503", "504"]) }, Flag.endStream);
    case 2:
      return Buffer.concat([
        headers(stream, { ":status": "429", "content-type": "text/plain" }),
        data(stream, Buffer.alloc(peer.spend(stream, 100), "why"), Flag.endStream),
      ]);
    case 3:
      return Buffer.concat([responded(stream), data(stream, Buffer.alloc(peer.spend(stream, 50), "x"))]);
    case 4:
      return responded(stream, {}, Flag.endStream);
    default:
      return Buffer.concat([responded(stream), reset(stream, 2)]);
  }
}

/** Lift before a peer that breaks streams off wherever it likes. */
function playMishaps(host: Host, root: Root, seed: number): "closed" | "open" {
  const random = new Random(seed);
  const it = new Lifted(host, root, {
    hello: (peer) => (random.once(2) ? settings() : peer.setStreamWindow(random.pick([10, 5000]))),
  });
  const ids = new Map<number, number>();
  const frames: Buffer[] = [];
  for (let number = 0, count = 1 + random.int(15); number < count; number++) {
    const frame = requestOf(random, number);
    frames.push(frame);
    ids.set(idOf(frame), (ids.get(idOf(frame)) ?? 0) + 1);
  }
  let rest = Buffer.concat(frames);
  it.client(rest.subarray(0, 1));
  rest = rest.subarray(1);
  const begun = new Set<number>();
  const over = new Set<number>();
  let sending: Sending[] = [];
  const spoil = (stream: number, bytes: Buffer) => {
    sending = sending.filter((each) => each.stream !== stream);
    over.add(stream);
    it.http(bytes);
  };
  const step = () => {
    const live = [...it.peer.streams.values()].filter(({ id, reset }) => !over.has(id) && reset === undefined);
    const stream = live.length ? random.pick(live) : undefined;
    switch (random.int(8)) {
      case 0:
      case 1: {
        const n = Math.min(rest.length, random.size(150_000));
        if (n) it.client(rest.subarray(0, n));
        rest = rest.subarray(n);
        break;
      }
      case 2:
        if (stream && !begun.has(stream.id)) spoil(stream.id, mishap(random, it, stream.id));
        break;
      case 3:
        // In the middle of a reply, or behind it.
        if (stream && begun.has(stream.id)) spoil(stream.id, reset(stream.id));
        break;
      case 4:
      case 5:
        if (stream && stream.size >= 16 && !begun.has(stream.id)) {
          begun.add(stream.id);
          it.http(responded(stream.id));
          // Before all of the request was taken as well.
          sending.push({ stream: stream.id, rest: replyTo(random, idOf(stream.data), stream.id) });
        }
        break;
      case 6:
        it.http(control(random, it));
        break;
      default:
        host.tick();
    }
    sendSome(random, it, sending, random.size(200_000));
    for (const id of begun) if (!sending.some((each) => each.stream === id)) over.add(id);
  };
  for (let i = 0, steps = 20 + random.int(150); i < steps && !it.closed; i++) step();
  for (let left = patience; !it.closed; left--) {
    if (rest.length) it.client(rest);
    rest = Buffer.alloc(0);
    openAll(it);
    host.tick();
    for (const { stream, rest: reply } of sending) {
      it.http(data(stream, reply.subarray(0, it.peer.spend(stream, reply.length))));
    }
    for (const id of it.peer.streams.keys()) if (!over.has(id) && !it.closed) spoil(id, reset(id));
    if (it.frames.length >= frames.length) break;
    if (!left) throw new Error(`no end of it: ${it.frames.length} replies to ${frames.length} requests`);
  }
  const counts = new Map<number, number>();
  for (const frame of it.frames) counts.set(idOf(frame), (counts.get(idOf(frame)) ?? 0) + 1);
  if (it.closed) {
    for (const [id, count] of counts) expect(count).toBeLessThanOrEqual(ids.get(id) ?? 0);
    return "closed";
  }
  expect(counts).toEqual(ids);
  it.connection.close("client");
  return "open";
}

describe("lift before a peer that breaks off what it likes", () => {
  it("answers each request once, or closes the connection because a part of the answer has left", async () => {
    const { host, root } = await leg("lift", { limits: { waitMilliseconds: 600_000 } });
    let closed = 0;
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        if (playMishaps(host, root, seed) === "closed") closed++;
        expect(closings(host, "incomplete")).toBe(closed);
      }),
      { numRuns: 200, seed: 1, endOnFailure: true },
    );
    expectSettled(host);
    expect(closed).toBeGreaterThan(2);
    expect(closed).toBeLessThan(100);
  }, 60_000);
});

describe.each([
  ["lift", playLift],
  ["lower", playLower],
] as const)("%s, whatever its peers do in whatever order", (mode, play) => {
  it("loses nothing, crosses nothing and mixes nothing", async () => {
    const { host, root } = await leg(mode, { limits: { waitMilliseconds: 600_000 } });
    const seed = fc.integer();
    fc.assert(
      fc.property(seed, (seed) => play(host, root, seed)),
      { numRuns: 100, seed: 1, endOnFailure: true },
    );
    expectSettled(host);
    expect(Object.keys(outcomes(host)).sort()).toEqual(["ok", "oneway"]);
  }, 60_000);
});
