import { describe, expect, it } from "vitest";
import { ConnectionLost, connect } from "../peers/dubbo/client.js";
import { encodeReply, encodeRequest } from "../peers/dubbo/codec.js";
import { blob, greeter, startServer } from "../peers/dubbo/server.js";
import { ended, eventually, type Running, startProxy } from "./harness.js";
import { connectRaw, startEcho } from "./raw.js";

/** The first 16 bytes of a Dubbo request that announces a body of so many bytes, and what may follow. */
function head(bodyLength: number, magic = 0xdabb): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16BE(magic);
  bytes.writeUInt8(0xc2, 2);
  bytes.writeUInt32BE(bodyLength, 12);
  return bytes;
}

const request = (id: number) => encodeRequest(id, greeter, "add", [id, 1]);
const good = Buffer.concat([request(1), request(2), request(3)]);

/** A TLS 1.2 client hello: record and handshake header, then what could be anything. */
const hello = Buffer.concat([Buffer.from("16030100f5010000f10303", "hex"), blob(239)]);
const names = Buffer.concat([head(100), Buffer.from([0x05]), Buffer.from("2.0.2"), Buffer.alloc(94, 0xff)]);

/** What is not the protocol, and why. Each is sent whole, then more bytes that could be anything. */
const broken: [string, Buffer, string][] = [
  ["HTTP", Buffer.from("GET /fig HTTP/1.1\r\nhost: meltemi.test\r\n\r\n"), "magic"],
  ["TLS", hello, "magic"],
  ["other bytes", blob(5000), "magic"],
  ["zeros", Buffer.alloc(5000), "magic"],
  ["half of the magic", Buffer.concat([head(0, 0xdabc), Buffer.alloc(10)]), "magic"],
  ["a negative length", head(-1 >>> 0), "length"],
  ["the most negative length", head(0x80000000), "length"],
  ["2 GiB", head(0x7fffffff), "length"],
  ["1 GiB", head(2 ** 30), "too_large"],
  ["a body without anything", head(0), "encoding"],
  ["names that are none", names, "encoding"],
];

describe.each(["observe", "route"] as const)("%s", (mode) => {
  /** Raw bytes come back from an echo server; on the same Envoy, calls go on. */
  async function chain() {
    const echo = await startEcho();
    const proxy = await startProxy(
      mode === "observe"
        ? { endpoints: [echo.port] }
        : {
            mode,
            subsets: { v1: echo.port },
            routes: [{ match: { method: "add" }, subset: "v1" }, { subset: "v1" }],
          },
    );
    return { echo, proxy };
  }

  /** Sends each kind of bytes on a connection of its own, and checks that they come back and count as one error. */
  async function sendAll(port: number, metric: Running["metric"], around: (bytes: Buffer) => Buffer): Promise<void> {
    for (const [i, [name, bytes, reason]] of broken.entries()) {
      const raw = await connectRaw(port);
      const sent = around(bytes);
      await raw.trickle(sent, 32_768, 1);
      await eventually(() => expect(raw.received().equals(sent), name).toBe(true));
      raw.end();
      await raw.closed;
      expect(raw.count, name).toBe(sent.length);
      const same = broken.slice(0, i + 1).filter(([, , other]) => other === reason);
      const labels = { protocol: "dubbo", direction: "outbound", reason };
      expect(await metric("meltemi_decode_errors_total", labels), name).toBe(same.length);
      expect(await metric("meltemi_decode_errors_total"), name).toBe(i + 1);
    }
  }

  it("passes what is not the protocol untouched, and counts one error for each connection", async () => {
    const { proxy } = await chain();
    await sendAll(proxy.port, proxy.metric, (bytes) => Buffer.concat([bytes, blob(100_000), bytes, good]));
    await proxy.assertSound();
    expect(await proxy.requests()).toEqual([]);
  });

  it("steps aside where good frames are followed by something else", async () => {
    const { proxy } = await chain();
    // No frame of the echo is a reply, so these requests are in flight until then.
    await sendAll(proxy.port, proxy.metric, (bytes) => Buffer.concat([good, bytes, blob(10_000), good]));
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([
        { direction: "outbound", status: "unknown", requests: 3 * broken.length },
      ]),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });

  it("survives frames that end too early", async () => {
    const { proxy } = await chain();
    const cuts = [1, 2, 15, 16, 17, 30, 60, request(1).length - 1];
    for (const cut of cuts) {
      const raw = await connectRaw(proxy.port);
      const bytes = Buffer.concat([good, request(4).subarray(0, cut)]);
      await raw.send(bytes);
      await eventually(() => expect(raw.received().equals(bytes)).toBe(true));
      raw.end();
      await raw.closed;
    }
    // The last request of each counts where its names are whole. The echo makes requests of the server's out of them.
    const whole = cuts.filter((cut) => cut >= request(4).indexOf("add") + "add".length).length;
    const requests = 3 * cuts.length + whole;
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([
        { direction: "inbound", status: "client_gone", requests },
        { direction: "outbound", status: "client_gone", requests },
      ]),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
    await proxy.assertSound();
  });

  it("goes on with other connections as if nothing were", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy(
      mode === "observe"
        ? { endpoints: [server.port] }
        : {
            mode,
            subsets: { v1: server.port },
            routes: [{ match: { method: "add" }, subset: "v1" }, { subset: "v1" }],
          },
    );
    const client = await connect({ port: proxy.port });
    let calls = 0;
    for (const [name, bytes] of broken) {
      const raw = await connectRaw(proxy.port);
      const sums = Array.from({ length: 20 }, (_, i) => client.call(greeter, "add", [i, 1]));
      await raw.send(bytes);
      raw.reset();
      expect(await Promise.all(sums), name).toEqual(sums.map((_, i) => i + 1));
      calls += sums.length;
    }
    await client.close();
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([{ method: "add", status: "ok", requests: calls }]),
    );
    await proxy.assertSound();
  });
});

describe("observe", () => {
  it("counts replies that nobody asked for", async () => {
    const echo = await startEcho();
    const proxy = await startProxy({ endpoints: [echo.port] });
    const raw = await connectRaw(proxy.port);
    // What a client sends as a reply, the echo server sends too.
    const replies = Buffer.concat([encodeReply(1, "fig"), encodeReply(2, null)]);
    await raw.send(replies);
    await eventually(() => expect(raw.received().equals(replies)).toBe(true));
    const name = "meltemi_unmatched_responses_total";
    expect(await proxy.metric(name, { direction: "outbound" })).toBe(2);
    expect(await proxy.metric(name, { direction: "inbound" })).toBe(2);
    expect(await proxy.requests()).toEqual([]);
  });

  it("counts each of two requests with the same id, and each reply once", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ endpoints: [server.port] });
    const raw = await connectRaw(proxy.port);
    await raw.send(Buffer.concat([request(7), request(7), request(8)]));
    await eventually(() => expect(raw.messages()).toHaveLength(3));
    raw.end();
    await raw.closed;
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([{ status: "ok", requests: 3, durations: 3 }]),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    expect(await proxy.metric("meltemi_unmatched_responses_total")).toBe(0);
  });

  it("measures requests that a server sends to its client as the other direction", async () => {
    const echo = await startEcho();
    const proxy = await startProxy({ endpoints: [echo.port] });
    const raw = await connectRaw(proxy.port);
    // The echo makes a request of the server's out of the client's; its reply comes back to the client as one, too.
    await raw.send(request(7));
    await eventually(() => expect(raw.count).toBe(request(7).length));
    await raw.send(encodeReply(7, 8));
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([
        { direction: "inbound", method: "add", status: "ok", requests: 1 },
        { direction: "outbound", method: "add", status: "ok", requests: 1 },
      ]),
    );
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  });

  it("tracks no more requests than it is told to", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ endpoints: [server.port], limits: { inFlight: 2, series: 2 } });
    const client = await connect({ port: proxy.port });
    const calls = Array.from({ length: 5 }, () => client.call(greeter, "slow", [60_000], { timeoutMs: 60_000 }));
    const outcomes = Promise.all(calls.map((call) => expect(call).rejects.toThrow(ConnectionLost)));
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(2));
    await client.close();
    await outcomes;
    await eventually(async () =>
      expect((await proxy.requests()).map(({ status, requests }) => [status, requests])).toEqual([
        ["client_gone", 2],
        ["untracked", 3],
      ]),
    );

    const other = await connect({ port: proxy.port });
    await other.call(greeter, "add", [1, 2]);
    await other.call(greeter, "sayHello", ["fig"]);
    await other.call(greeter, "echo", ["fig"]);
    await other.close();
    await eventually(async () => {
      const rows = await proxy.requests();
      expect(rows.map(({ service, method, requests }) => [service, method, requests])).toContainEqual([
        "other",
        "other",
        2,
      ]);
      expect(rows.map(({ method }) => method)).not.toContain("echo");
    });
  });
});
