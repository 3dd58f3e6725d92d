import { describe, expect, it } from "vitest";
import { connectQza, encodeQza, startQzaServer } from "../peers/qza.js";
import { startChain } from "./chain.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";

const protocol = "qza";

describe("qza", () => {
  it("is observed: every request by cmd and code, every byte as it was", async () => {
    const server = ended(await startQzaServer());
    const { before, counted } = await startChain(server.port, protocol);
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(50_000)];
    const extension = Buffer.alloc(300, 1);
    const clients = await Promise.all([1, 2].map(() => connectQza(before.port)));
    for (const client of clients) {
      const calls = bodies.flatMap((body) => [
        client.call({ cmd: 153, subCmd: 1, uid: 10_001, body }),
        client.call({ cmd: -5, extension, body }),
      ]);
      const replies = await Promise.all(calls);
      expect(replies.map(({ body }) => body)).toEqual(bodies.flatMap((body) => Array(2).fill(`${body} from v1`)));
      expect(replies.map(({ code }) => code)).toEqual([0, -5, 0, -5, 0, -5]);
      await client.close();
    }
    expect(await counted()).toEqual({ "greeter 153 ok": 6, "greeter -5 -5": 6 });
  });

  it("is routed by cmd, sub_cmd, uid and alpha", async () => {
    const [v1, v2] = [ended(await startQzaServer("v1")), ended(await startQzaServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { cmd: "153", sub_cmd: { regex: "1|2" } }, subset: "v2" },
        { match: { uid: { range: { min: 4_000_000_000 } } }, subset: "v2" },
        { match: { alpha: "-1" }, subset: "v2" },
        { match: { method: "153" }, subset: "v1" },
      ],
    });
    const first = async (call: Parameters<Awaited<ReturnType<typeof connectQza>>["call"]>[0]) => {
      const client = await connectQza(proxy.port);
      const outcome = await client.call({ ...call, body: "fig" }).then(
        ({ body }) => body,
        ({ message }) => message,
      );
      await client.close();
      return outcome;
    };
    expect(await first({ cmd: 153, subCmd: 1 })).toBe("fig from v2");
    expect(await first({ cmd: 153, subCmd: 2 })).toBe("fig from v2");
    expect(await first({ cmd: 153, subCmd: 12 })).toBe("fig from v1");
    expect(await first({ cmd: 153, uid: 4_294_967_295 })).toBe("fig from v2");
    expect(await first({ cmd: 153, alpha: -1 })).toBe("fig from v2");
    expect(await first({ cmd: 152 })).toBe("the connection was lost");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
    expect([v1.connections, v2.connections]).toEqual([1, 4]);
    await proxy.assertSound();
  });

  it("has no magic: lengths that cannot be are what tells other bytes", async () => {
    const server = ended(await startQzaServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const call = encodeQza({ flow: 7, cmd: 153, body: "fig" });
    const slow = await connectRaw(proxy.port);
    await slow.trickle(call, 1, 1);
    await eventually(async () => expect(await proxy.requests()).toMatchObject([{ method: "153", status: "ok" }]));

    const changed = (at: number, value: number) => {
      const bytes = Buffer.from(call);
      bytes.writeUInt8(value, at);
      return bytes;
    };
    // Shorter than a header, longer than 64 MiB, and with an extension that does not fit into it.
    for (const [i, bytes] of [Buffer.alloc(106), changed(54, 1)].entries()) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () =>
        expect(await proxy.metric("meltemi_decode_errors_total", { reason: "length" })).toBe(i + 1),
      );
    }
    const raw = await connectRaw(proxy.port);
    await raw.send(changed(103, 255));
    await eventually(async () =>
      expect(await proxy.metric("meltemi_decode_errors_total", { reason: "too_large" })).toBe(1),
    );
    await proxy.assertSound();
  });
});
