import { describe, expect, it } from "vitest";
import type { Host, Root } from "../../tools/host/host.js";
import { encodeHeartbeat, encodeReply, encodeRequest } from "../peers/dubbo/codec.js";
import { callsOf, connect, load, reply, request, samples, sum } from "./support.js";

/** A frame with a long body, of which only the head is made. */
function long(length: number): Buffer {
  const frame = encodeRequest(1, "a.Greeter", "upload", ["x"]);
  frame.writeUInt32BE(length - 16, 12);
  return frame;
}

async function observing(configuration: object = {}) {
  const { host } = await load();
  const root = host.configure({ protocol: "dubbo", ...configuration });
  return { host, root };
}

describe("calls to the host", () => {
  it("are two for a hundred requests in a row: their bytes once, and the clock", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    // Short enough for one window, and more than one frame would be in steady state.
    const few = Buffer.concat(Array.from({ length: 30 }, (_, i) => request(i)));
    const many = Buffer.concat(Array.from({ length: 100 }, (_, i) => request(1000 + i)));
    expect(few.length).toBeLessThan(4096);
    connection.downstream(few);
    expect(callsOf(host, () => connection.downstream(few))).toEqual({
      get_buffer_bytes: 1,
      get_current_time_nanoseconds: 1,
    });
    const windows = Math.ceil(many.length / 4096) + 1;
    const calls = callsOf(host, () => connection.downstream(many));
    expect(calls.get_current_time_nanoseconds).toBe(1);
    expect(calls.get_buffer_bytes).toBeLessThanOrEqual(windows);
    expect(Object.keys(calls)).toHaveLength(2);
  });

  it("are two for a reply, and one more for its duration with the next tick", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    for (let i = 0; i < 50; i++) connection.downstream(request(i));
    connection.upstream(reply(0));
    host.tick();
    connection.upstream(reply(1));
    expect(callsOf(host, () => connection.upstream(reply(2)))).toEqual({
      get_buffer_bytes: 1,
      get_current_time_nanoseconds: 1,
    });
    const rest = Buffer.concat(Array.from({ length: 47 }, (_, i) => reply(3 + i)));
    expect(callsOf(host, () => connection.upstream(rest))).toEqual({
      get_buffer_bytes: 1,
      get_current_time_nanoseconds: 1,
    });
    // 49 durations; three counters and the gauge; the effective context and the end of the ticks.
    expect(callsOf(host, () => root.tick())).toEqual({
      record_metric: 49,
      increment_metric: 4,
      set_effective_context: 1,
      set_tick_period_milliseconds: 1,
    });
  });

  it("are none for bytes of a body", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    connection.downstream(long(1_000_000));
    expect(callsOf(host, () => connection.downstream(Buffer.alloc(100_000)))).toEqual({});
  });

  it("are one for a heartbeat beside its bytes", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    connection.downstream(encodeHeartbeat(1));
    expect(callsOf(host, () => connection.downstream(encodeHeartbeat(2)))).toEqual({
      get_buffer_bytes: 1,
      increment_metric: 1,
    });
  });

  it("are none for bytes that pass unread", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    connection.downstream(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(callsOf(host, () => connection.downstream(request(1)))).toEqual({});
    expect(callsOf(host, () => connection.upstream(reply(1)))).toEqual({});
  });

  it("define each metric once, whatever connections and configurations come and go", async () => {
    const { host } = await load();
    for (let i = 0; i < 20; i++) {
      const root = host.configure({ protocol: "dubbo", mode: "route", routes: [{ cluster: "c" }] });
      for (let j = 0; j < 3; j++) {
        const { connection } = connect(root);
        connection.downstream(Buffer.concat([encodeHeartbeat(1), request(1)]));
        connection.upstream(Buffer.concat([reply(1), reply(2)]));
        connection.downstream(Buffer.from("no frame, for sure"));
        connection.close("client");
      }
      const waiting = connect(root).connection;
      waiting.downstream(Buffer.of(0xda), true);
      host.tick();
      root.close();
    }
    const { counters, gauges, histograms } = host.metrics;
    expect(host.calls.proxy_define_metric).toBe(counters.size + gauges.size + histograms.size);
  });
});

/** Opens connections, has each do something, and answers how much guest memory there is afterwards. */
function churn(host: Host, root: Root, count: number, use: (i: number) => void): number {
  for (let i = 0; i < count; i++) {
    use(i);
    if (i % 100 === 0) host.tick();
  }
  for (let i = 0; i < 3; i++) root.tick();
  return host.memoryBytes;
}

describe("guest memory", () => {
  it("does not depend on the length of frames", async () => {
    const { host, root } = await observing({ limits: { frameBytes: 200_000_000 } });
    const short = root.connect();
    short.downstream(request(1));
    short.upstream(reply(1));
    const before = host.memoryBytes;
    const connection = root.connect();
    const length = 100_000_000;
    const head = long(length);
    const chunk = Buffer.alloc(65_536);
    connection.downstream(head);
    for (let sent = head.length; sent < length; ) {
      const size = Math.min(chunk.length, length - sent);
      connection.downstream(chunk.subarray(0, size));
      sent += size;
    }
    connection.upstream(reply(1));
    expect(sum(host, "meltemi_request_bytes_total", { method: "upload" })).toBe(length);
    connection.downstream(request(2));
    connection.upstream(reply(2));
    expect(sum(host, "meltemi_requests_total", { method: "hello", status: "ok" })).toBe(2);
    expect(host.memoryBytes).toBe(before);
  });

  it("does not grow with connections that come and go", async () => {
    const { host, root } = await observing();
    const frames = Array.from({ length: 16 }, (_, i) => request(i, "a.Greeter", `m${i}`));
    const replies = Array.from({ length: 16 }, (_, i) => reply(i));
    const use = (i: number) => {
      const connection = root.connect();
      const frame = frames[i % 16] as Buffer;
      if (i % 3) connection.downstream(frame);
      else {
        connection.downstream(frame.subarray(0, 30));
        connection.downstream(frame.subarray(30));
      }
      if (i % 5) connection.upstream(replies[i % 16] as Buffer);
      // Some leave in the middle of a head, and of a reply.
      if (i % 7 === 0) connection.downstream(frame.subarray(0, 30));
      if (i % 11 === 0) connection.upstream((replies[i % 16] as Buffer).subarray(0, 10));
      if (i % 13 === 0) connection.downstream(Buffer.from("this is no frame"));
      connection.close(i % 2 ? "client" : "server");
    };
    const warm = churn(host, root, 10_000, use);
    expect(churn(host, root, 100_000, use)).toBe(warm);
    expect(samples(host, "meltemi_in_flight")).toEqual([]);
    expect(sum(host, "meltemi_requests_total")).toBeGreaterThanOrEqual(110_000);
  }, 60_000);

  it("does not grow with connections that are routed, closed and time out", async () => {
    const { host, sleep } = await load();
    const root = host.configure({
      protocol: "dubbo",
      mode: "route",
      routes: [{ match: { "dubbo.tag": { exact: "gray" } }, cluster: "gray" }],
    });
    const gray = request(1, "a.B", "m", { attachments: { "dubbo.tag": "gray" } });
    const use = (i: number) => {
      const { connection } = connect(root);
      if (i % 4 === 0) connection.downstream(gray);
      else if (i % 4 === 1) connection.downstream(request(1));
      else connection.downstream(gray.subarray(0, 60));
      if (i % 4 !== 3) connection.close("client");
      if (i % 50 === 0) {
        sleep(11_000);
        host.tick();
      }
    };
    const warm = churn(host, root, 10_000, use);
    expect(churn(host, root, 20_000, use)).toBe(warm);
    expect(sum(host, "meltemi_closed_connections_total", { reason: "timeout" })).toBeGreaterThan(5000);
  }, 60_000);

  it("is at most 1 KiB for an idle connection", async () => {
    const { host, root } = await observing();
    const first = connect(root).connection;
    first.downstream(request(1));
    first.upstream(reply(1));
    const before = host.memoryBytes;
    const idle = Array.from({ length: 10_000 }, () => root.connect());
    for (const connection of idle) {
      connection.downstream(request(1));
      connection.upstream(reply(1));
    }
    expect(host.memoryBytes - before).toBeLessThanOrEqual(10_000 * 1024);
    for (const connection of idle) connection.close("client");
    const after = host.memoryBytes;
    for (let i = 0; i < 10_000; i++) root.connect();
    expect(host.memoryBytes).toBe(after);
  });

  it("is in proportion to what a client has sent of a head, not to what it says will come", async () => {
    const { host, root } = await observing();
    const before = host.memoryBytes;
    // A header, and a service name of 60,000 characters, of which one is there.
    const start = Buffer.concat([long(65_000).subarray(0, 16), Buffer.from("05322e302e3253ea6061", "hex")]);
    for (let i = 0; i < 1000; i++) root.connect().downstream(start);
    expect(host.memoryBytes - before).toBeLessThan(1000 * 1024);
  });

  it("of unfinished heads has a limit for all connections together, and is used again", async () => {
    const { host, root } = await observing();
    // A service name of 60,000 characters, of which all but one are there.
    const start = Buffer.alloc(16 + 6 + 3 + 59_999, 97);
    long(65_000).copy(start, 0, 0, 16);
    Buffer.from("05322e302e3253ea60", "hex").copy(start, 16);
    const hold = () => {
      const connection = root.connect();
      connection.downstream(start);
      return connection;
    };
    const errors = () => sum(host, "meltemi_decode_errors_total", { reason: "crowded" });
    const connections = Array.from({ length: 2300 }, hold);
    // 128 MiB are 2236 times as much.
    expect(errors()).toBe(2300 - 2236);
    // Guest memory grows by doubling.
    expect(host.memoryBytes).toBeLessThanOrEqual(256 << 20);
    // Short heads that come in one piece are read all the same.
    connect(root).connection.downstream(request(1));
    expect(sum(host, "meltemi_in_flight")).toBe(1);

    const [most, refused] = [host.memoryBytes, errors()];
    for (const connection of connections) connection.close("client");
    for (let i = 0; i < 2236; i++) hold();
    expect(errors()).toBe(refused);
    expect(host.memoryBytes).toBe(most);
  });

  it("does not grow with configurations, and old connections go on with theirs", async () => {
    const { host } = await load();
    const configure = (i: number) =>
      host.configure({
        protocol: "dubbo",
        mode: "route",
        service: `greeter-${i}`,
        routes: [
          { name: `r${i}`, match: { "dubbo.tag": { regex: "(gray|blue)+-[0-9]{1,20}" } }, cluster: `c${i % 3}` },
          { name: `rest${i}`, cluster: `c${i % 3}` },
        ],
        limits: { inFlight: 100 + i },
      });
    let warm = 0;
    const old: { root: Root; connection: ReturnType<typeof connect>["connection"] }[] = [];
    for (let i = 0; i < 50; i++) {
      const root = configure(i);
      const { connection } = connect(root);
      connection.downstream(request(1));
      old.push({ root, connection });
      // Three generations are alive at a time, as when Envoy drains.
      for (const { connection } of old) connection.downstream(request(2));
      if (old.length > 3) {
        const oldest = old.shift();
        oldest?.connection.upstream(Buffer.concat([reply(1), reply(2)]));
        expect(oldest?.connection.filterState.get("wasm.meltemi.route")).toBe(`rest${i - 3}`);
        oldest?.connection.close("client");
        oldest?.root.close();
      }
      if (i === 25) warm = host.memoryBytes;
    }
    expect(host.memoryBytes).toBe(warm);
    const waiting = configure(99);
    for (const { connection, root } of old) {
      connection.close("client");
      root.close();
    }
    expect(sum(host, "meltemi_in_flight")).toBe(0);
    const { counters, gauges, histograms } = host.metrics;
    expect(host.calls.proxy_define_metric).toBe(counters.size + gauges.size + histograms.size);
    expect(waiting.tickPeriod).toBe(0);
  });

  it("is reported", async () => {
    const { host, root } = await observing();
    connect(root).connection.downstream(request(1));
    expect(sum(host, "meltemi_guest_memory_bytes")).toBe(host.memoryBytes);
    for (let i = 0; i < 10_000; i++) root.connect();
    connect(root).connection.downstream(request(1));
    expect(sum(host, "meltemi_guest_memory_bytes")).toBe(host.memoryBytes);
  });
});

// Nothing here is timed: work that grows with the square of the input would not be done before a test's timeout.
describe("work", () => {
  it("is not spent on walking past requests with the same id", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    const frame = encodeReply(1, "x");
    const chunk = Buffer.concat(Array.from({ length: 1000 }, () => request(1)));
    for (let i = 0; i < 65; i++) connection.downstream(chunk);
    connection.upstream(frame);
    connection.close("client");
    expect(sum(host, "meltemi_requests_total", { status: "client_gone" })).toBe(64_999);
  });

  it("is not spent on walking past requests whose ids a client chose to meet in the table", async () => {
    const { host, root } = await observing();
    const { connection } = connect(root);
    const ids = meeting(64_000);
    const withId = (frame: Buffer, id: bigint) => {
      const copy = Buffer.from(frame);
      copy.writeBigUInt64BE(id, 4);
      return copy;
    };
    const asked = request(0);
    connection.downstream(Buffer.concat(ids.map((id) => withId(asked, id))));
    // Replies that nobody waits for, to where a request of the other side with that id would be.
    const failed = Buffer.from("dabb0250000000000000000000000000", "hex");
    const replies = Buffer.concat(ids.map((id) => withId(failed, id ^ (1n << 29n))));
    connection.downstream(replies);
    expect(sum(host, "meltemi_unmatched_responses_total")).toBe(ids.length);
  });
});

/** Ids below 2^29 whose products with the golden ratio start alike, as all do that are added to a multiple of 2^29. */
function meeting(count: number): bigint[] {
  const product = (id: bigint) => BigInt.asUintN(64, id * 0x9e3779b97f4a7c15n);
  const small = 1n << 50n;
  // From one of them to the next it is one of three steps.
  let up = 1n;
  while (product(up) >= small) up++;
  let down = 1n;
  while (product(-down) >= small) down++;
  const ids = [0n];
  for (let id = 0n; ids.length < count; ids.push(id)) {
    id += [up, down].find((step) => product(id + step) < small) ?? up + down;
  }
  return ids;
}
