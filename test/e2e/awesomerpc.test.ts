import { describe, expect, it } from "vitest";
import { connectAwesome, startAwesomeServer } from "../peers/awesomerpc.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, startTap } from "./tap.js";

describe("awesomerpc", () => {
  it("is observed: every request by cmd and code, every byte as it was", async () => {
    const server = ended(await startAwesomeServer());
    const behind = await startTap(server.port, { dubbo: false });
    const proxy = await startProxy({ protocol: "awesomerpc", endpoints: [behind.port] });
    const before = await startTap(proxy.port, { dubbo: false });
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(100_000)];
    const clients = await Promise.all([1, 2, 3].map(() => connectAwesome(before.port)));
    const calls = clients.flatMap((client) =>
      bodies.flatMap((body) => [7, 0, -5].map(async (cmd) => ({ body, reply: await client.call(cmd, body) }))),
    );
    const done = await Promise.all(calls);
    for (const { body, reply } of done) expect(reply.body === `${body} from v1`).toBe(true);
    await Promise.all(clients.map((client) => client.close()));

    await eventually(() => expect(digests(before)).toEqual(digests(behind)));
    const row = (cmd: number, status: string) => {
      const same = done.filter(({ reply }) => reply.cmd === cmd);
      return {
        // The protocol names no service, so meltemi.yaml does.
        ...{ direction: "outbound", service: "greeter", method: String(cmd), status },
        ...{ requests: same.length, durations: same.length },
        requestBytes: same.reduce((sum, { body }) => sum + 13 + Buffer.byteLength(body), 0),
        responseBytes: same.reduce((sum, { reply }) => sum + reply.bytes, 0),
      };
    };
    await eventually(async () => expect(await proxy.requests()).toEqual([row(-5, "-5"), row(0, "ok"), row(7, "ok")]));
    expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });

  it("is routed by cmd", async () => {
    const [v1, v2] = [ended(await startAwesomeServer("v1")), ended(await startAwesomeServer("v2"))];
    const proxy = await startProxy({
      protocol: "awesomerpc",
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { cmd: { range: { min: 1, max: 9 } } }, subset: "v2" },
        { match: { cmd: "0" }, subset: "v1" },
      ],
    });
    const first = async (cmd: number) => {
      const client = await connectAwesome(proxy.port);
      const outcome = await client.call(cmd, "fig").then(
        ({ body }) => body,
        ({ message }) => message,
      );
      await client.close();
      return outcome;
    };
    expect(await first(1)).toBe("fig from v2");
    expect(await first(9)).toBe("fig from v2");
    expect(await first(0)).toBe("fig from v1");
    expect(await first(10)).toBe("the connection was lost");
    expect(await first(-1)).toBe("the connection was lost");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(2);
    expect([v1.connections, v2.connections]).toEqual([1, 2]);
    await proxy.assertSound();
  });

  it("has no magic: a length that cannot be is what tells other bytes", async () => {
    const server = ended(await startAwesomeServer());
    const proxy = await startProxy({ protocol: "awesomerpc", endpoints: [server.port] });
    const raw = await connectRaw(proxy.port);
    await raw.send(Buffer.alloc(13));
    await eventually(async () =>
      expect(await proxy.metric("meltemi_decode_errors_total", { reason: "length" })).toBe(1),
    );
    const client = await connectAwesome(proxy.port);
    expect(await client.call(1, "fig")).toMatchObject({ code: 0, body: "fig from v1" });
    await client.close();
    await proxy.assertSound();
  });
});
