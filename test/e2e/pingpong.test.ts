import { describe, expect, it } from "vitest";
import { connectPingPong, encodePingPong, STREAM, startPingPongServer, UNARY } from "../peers/pingpong.js";
import { startChain } from "./chain.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";

const protocol = "pingpong";

describe("pingpong", () => {
  it("is observed: every request by service and type, heartbeats of both sides, every byte as it was", async () => {
    const server = ended(await startPingPongServer());
    const { before, proxy, counted } = await startChain(server.port, protocol);
    const client = await connectPingPong(before.port);
    await client.heartbeat();
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(50_000)];
    for (const body of bodies) {
      expect((await client.call(body)).body).toBe(`${body} from v1`);
      expect((await client.call(body, { service: "tea" })).body).toBe(`${body} from v1`);
    }
    const streams = await Promise.all(bodies.map((body) => client.call(body, { type: STREAM })));
    expect(streams.map(({ body }) => body)).toEqual(bodies.map((body) => `${body} from v1`));
    await server.heartbeat();
    await client.close();
    expect(await counted({ others: { client: 20, server: 20 } })).toEqual({
      "greeter stream ok": 3,
      "greeter unary ok": 3,
      "tea unary ok": 3,
    });
    expect(await proxy.metric("meltemi_heartbeats_total")).toBe(4);
  });

  it("is routed by service and type, not by heartbeats", async () => {
    const [v1, v2] = [ended(await startPingPongServer("v1")), ended(await startPingPongServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { service: "b" }, subset: "v2" },
        { match: { type: String(STREAM) }, subset: "v2" },
        { match: { type: String(UNARY) }, subset: "v1" },
      ],
    });
    const first = async (options: { type?: number; service?: string }) => {
      const client = await connectPingPong(proxy.port);
      const heartbeat = client.heartbeat().catch(() => {});
      const outcome = await client.call("fig", options).then(
        ({ body }) => body,
        ({ message }) => message,
      );
      await heartbeat;
      await client.close();
      return outcome;
    };
    expect(await first({ service: "b" })).toBe("fig from v2");
    expect(await first({ type: STREAM })).toBe("fig from v2");
    expect(await first({ type: UNARY })).toBe("fig from v1");
    expect(await first({ service: "abcd" })).toBe("the connection was lost");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
    expect([v1.connections, v2.connections]).toEqual([1, 2]);
    await proxy.assertSound();
  });

  it("is taken for what it is however it arrives, and other bytes are not", async () => {
    const server = ended(await startPingPongServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const slow = await connectRaw(proxy.port);
    await slow.trickle(Buffer.concat([encodePingPong(0, UNARY, "fig"), encodePingPong(7, 4, "fig", "tea")]), 1, 1);
    await eventually(async () =>
      expect(await proxy.requests()).toMatchObject([
        { service: "greeter", method: "unary", status: "ok" },
        { service: "tea", method: "unary", status: "ok" },
      ]),
    );
    const wrong: Record<string, Buffer> = {
      magic: Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      // A heartbeat with a body.
      length: Buffer.from("70700100000000000001", "hex"),
      too_large: Buffer.from("7070020000007f000000", "hex"),
      field: Buffer.from("70700500000000000000", "hex"),
    };
    for (const [reason, bytes] of Object.entries(wrong)) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total", { reason })).toBe(1));
    }
    await proxy.assertSound();
  });
});
