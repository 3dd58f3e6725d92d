import { describe, expect, it } from "vitest";
import type { Host } from "../../../tools/host/host.js";
import { encodeHeartbeat, encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { callsOf, reply, request, samples } from "../support.js";
import { data, headers, reset, windowMax } from "./http2.js";
import {
  asked,
  asking,
  closings,
  expectSettled,
  idOf,
  Lifted,
  Lowered,
  leg,
  opaque,
  responded,
  response,
  total,
} from "./support.js";

/** What a bridge costs the host in calls, and in memory when it is all over. */

/** One read, one write, one look at the clock. */
const once = { get_buffer_bytes: 1, set_buffer_bytes: 1, get_current_time_nanoseconds: 1 };
const sixteen = Array.from({ length: 16 }, (_, i) => i);

/** Both directions without what peers do by themselves, so that only one read is looked at. */
async function lifted() {
  const { host, root } = await leg("lift");
  const it = new Lifted(host, root);
  it.client(request(1));
  it.http(it.peer.grant(0, windowMax - it.peer.window), response(1, reply(1)));
  it.client(request(1));
  it.http(response(3, reply(1)));
  return { host, it };
}

async function lowered() {
  const { host, root } = await leg("lower");
  const it = new Lowered(host, root, { hello: (peer) => peer.grant(0, 1 << 30) }).greet();
  for (let i = 0; i < 2; i++) {
    const stream = it.request(request(1));
    it.server(reply(stream));
  }
  it.requests.length = 0;
  return { host, it };
}

describe("calls to the host for sixteen requests in one read", () => {
  it("lift: the bytes once, the answer once, and on", async () => {
    const { host, it } = await lifted();
    const requests = sixteen.map((id) => request(id, "a.Greeter", "hello", { attachments: { k: `${id}` } }));
    expect(callsOf(host, () => it.client(...requests))).toEqual({ ...once, continue_stream: 1 });
    expect(it.peer.streams.size).toBe(18);
    const replies = sixteen.map((id) => response(5 + 2 * id, reply(id)));
    expect(callsOf(host, () => it.http(...replies))).toEqual(once);
    expect(it.frames).toHaveLength(18);
    expectSettled(host);
  });

  it("lower: the same", async () => {
    const { host, it } = await lowered();
    const requests = sixteen.flatMap((id) => asked(it.open(), request(id)));
    expect(callsOf(host, () => it.http(...requests))).toEqual({ ...once, continue_stream: 1 });
    expect(it.requests).toHaveLength(16);
    const replies = it.requests.map((frame) => reply(idOf(frame)));
    expect(callsOf(host, () => it.server(...replies))).toEqual(once);
    expect(it.peer.stream(it.next - 2).ended).toBe(true);
    expect(it.heartbeats).toBe(0);
    expectSettled(host);
  });
});

describe("calls to the host", () => {
  it("for bytes of a long frame are one read and one write", async () => {
    const { host, it } = await lifted();
    it.http(it.peer.setStreamWindow(1 << 24));
    const long = opaque("request", 7, 1 << 20);
    it.client(long.subarray(0, 100_000));
    const { get_current_time_nanoseconds: _, ...noClock } = once;
    expect(callsOf(host, () => it.client(long.subarray(100_000, 200_000)))).toEqual({ ...noClock, continue_stream: 1 });
    it.client(long.subarray(200_000));
    const answer = opaque("reply", 7, 1 << 20);
    it.http(responded(5), data(5, answer.subarray(0, 100_000)));
    // Nothing to be said to the other side: windows are open.
    expect(callsOf(host, () => it.http(data(5, answer.subarray(100_000, 116_000))))).toEqual(noClock);
  });

  it("for heartbeats are one more each, to count them", async () => {
    const { host, it } = await lifted();
    it.client(encodeHeartbeat(1));
    const { length } = it.frames;
    expect(callsOf(host, () => it.client(encodeHeartbeat(2)))).toEqual({
      // PING goes out, and its answer comes back.
      get_buffer_bytes: 2,
      set_buffer_bytes: 2,
      increment_metric: 1,
      continue_stream: 1,
    });
    expect(it.frames).toHaveLength(length + 1);
  });

  it("in an idle bridge are none: it is not woken", async () => {
    const { host, it } = await lifted();
    it.client(request(7));
    it.http(response(5, reply(7)));
    host.tick();
    host.tick();
    expect(it.connection.root.tickPeriod).toBe(0);
    const lower = await lowered();
    lower.it.server(reply(lower.it.request(request(7))));
    lower.host.tick();
    lower.host.tick();
    expect(lower.it.connection.root.tickPeriod).toBe(0);
  });
});

const oneWay = encodeRequest(7, "a.Greeter", "tell", ["x"], { twoWay: false });
const short = encodeReply(7, "x".repeat(2000));

/** Each leaves a connection in another state. */
const liftUses: ((it: Lifted) => void)[] = [
  (it) => it.http(response(1, reply(7))),
  (it) => it.http(responded(1), data(1, short.subarray(0, 1000))),
  (it) => it.http(responded(1), data(1, opaque("reply", 7, 300_000).subarray(0, 70_000)), response(3, reply(8))),
  (it) => it.http(headers(1, { ":status": "503" }), data(1, Buffer.from("no"))),
  (it) => it.client(opaque("request", 9, 200_000).subarray(0, 120_000)),
  (it) => it.client(request(9).subarray(0, 40)),
  (it) => it.client(encodeHeartbeat(1), oneWay),
  (it) => it.client(Buffer.from("garbage")),
  (it) => it.http(Buffer.from("garbage that is long enough")),
  (it) => it.http(responded(1).subarray(0, 30)),
  (it) => it.http(reset(1), responded(3, { "x-long": "y".repeat(4000) })),
];

const lowerUses: ((it: Lowered) => void)[] = [
  (it) => it.server(reply(1), reply(3)),
  (it) => it.server(reply(1).subarray(0, 20)),
  (it) => it.server(opaque("reply", 1, 100_000).subarray(0, 70_000)),
  (it) => it.http(asking(it.open()), data(it.next - 2, opaque("request", 9, 100_000).subarray(0, 60_000))),
  (it) => it.http(asking(it.open(), { "x-long": "y".repeat(4000) })),
  (it) => it.http(asking(it.open()).subarray(0, 40)),
  (it) => it.request(oneWay),
  (it) => it.request(Buffer.from("garbage")),
  (it) => it.http(Buffer.from("garbage that is long enough")),
  (it) => it.server(Buffer.from("garbage that is long enough")),
  (it) => it.http(reset(1), reset(3)),
];

/** Opens connections, uses each in one of the ways, and closes them; answers the guest's memory afterwards. */
function churn<T extends Lifted | Lowered>(
  host: Host,
  open: () => T,
  uses: ((it: T) => void)[],
  count: number,
): number {
  for (let i = 0; i < count; i++) {
    const it = open();
    uses[i % uses.length]?.(it);
    if (i % 3 === 0) host.tick();
    it.connection.close(i % 2 ? "client" : "server");
  }
  host.tick();
  return host.memoryBytes;
}

describe("guest memory", () => {
  it.each(["lift", "lower"] as const)(
    "is where it was when 10,000 connections of %s are gone",
    async (mode) => {
      const { host, root } = await leg(mode);
      const run = (count: number) =>
        mode === "lift"
          ? churn(
              host,
              () => {
                const it = new Lifted(host, root);
                it.client(request(7), request(8));
                return it;
              },
              liftUses,
              count,
            )
          : churn(
              host,
              () => {
                const it = new Lowered(host, root).greet();
                it.request(request(7));
                it.request(request(8));
                return it;
              },
              lowerUses,
              count,
            );
      const warm = run(1000);
      expect(run(10_000)).toBe(warm);
      expectSettled(host);
      expect(samples(host, "meltemi_in_flight")).toEqual([]);
    },
    60_000,
  );

  it.each(["lift", "lower"] as const)("of thousands of open connections of %s is used again", async (mode) => {
    const { host, root } = await leg(mode);
    const round = () => {
      const all = Array.from({ length: 3000 }, () => {
        if (mode === "lower") {
          const it = new Lowered(host, root).greet();
          it.request(request(7));
          return it;
        }
        const it = new Lifted(host, root);
        it.client(request(7));
        return it;
      });
      expect(total(host, "meltemi_in_flight")).toBe(3000);
      const most = host.memoryBytes;
      for (const { connection } of all) connection.close("client");
      return most;
    };
    const before = host.memoryBytes;
    const most = round();
    expect(most - before).toBeLessThan(3000 * 4096);
    expect(round()).toBe(most);
    expectSettled(host);
  });

  it("of replies that the router does not take is bounded, and the connection that asks for too much ends", async () => {
    const { host, root } = await leg("lower");
    const it = new Lowered(host, root, { hello: (peer) => peer.setStreamWindow(0) }).greet();
    const other = new Lowered(host, root).greet();
    const stream = other.request(request(9));
    it.request(request(7));
    for (let i = 0; i < 1000 && !it.closed; i++) it.server(opaque("reply", it.request(request(7)), 1 << 20));
    expect(it.closed).toBe(true);
    expect(closings(host, "crowded")).toBe(1);
    const most = host.memoryBytes;
    other.server(reply(stream));
    expect(other.peer.stream(stream).data).toEqual(reply(9));
    // All of it is free again.
    const again = new Lowered(host, root, { hello: (peer) => peer.setStreamWindow(0) }).greet();
    for (let i = 0; i < 40; i++) again.server(opaque("reply", again.request(request(7)), 1 << 20));
    expect(again.closed).toBe(false);
    expect(host.memoryBytes).toBe(most);
    again.http(again.peer.setStreamWindow(2 << 20), again.peer.grant(0, 1 << 30));
    again.server(encodeHeartbeat(1));
    expect(again.peer.stream(1).data).toHaveLength(1 << 20);
    expect(again.peer.stream(1).data.equals(opaque("reply", 7, 1 << 20, 1))).toBe(true);
    again.connection.close("client");
    expectSettled(host);
  });
});
