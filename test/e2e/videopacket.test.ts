import { describe, expect, it } from "vitest";
import { connectVideo, encodeVideoCall, startVideoServer } from "../peers/videopacket.js";
import { startChain } from "./chain.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";

const protocol = "videopacket";

describe("videopacket", () => {
  it("is observed: every request by command and result, every byte as it was", async () => {
    const server = ended(await startVideoServer());
    const { before, counted } = await startChain(server.port, protocol);
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(50_000)];
    const clients = await Promise.all([1, 2].map(() => connectVideo(before.port)));
    for (const client of clients) {
      const calls = bodies.flatMap((body) => [
        client.call({ command: 0xe801, func: "/Play", body }),
        client.call({ command: 7, subCmd: 5, body }),
        client.call({ command: 7, subCmd: -70_000, body }),
      ]);
      const replies = await Promise.all(calls);
      expect(replies.map(({ body }) => body)).toEqual(bodies.flatMap((body) => Array(3).fill(`${body} from v1`)));
      expect(replies.map(({ result }) => result)).toEqual(bodies.flatMap(() => [0, 5, -70_000]));
      await client.close();
    }
    expect(await counted()).toEqual({
      "greeter 59393 ok": 6,
      "greeter 7 err_forbidden": 6,
      "greeter 7 -70000": 6,
    });
  });

  it("is routed by command, and by function and server behind the body", async () => {
    const [v1, v2] = [ended(await startVideoServer("v1")), ended(await startVideoServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { command: "59393", uin: { range: { min: 10_000 } } }, subset: "v2" },
        { match: { func: { prefix: "/Play" } }, subset: "v2" },
        { match: { to_server: "video.v2" }, subset: "v2" },
        { match: { command: { oneOf: ["7", "59393"] } }, subset: "v1" },
      ],
    });
    const first = async (call: Parameters<Awaited<ReturnType<typeof connectVideo>>["call"]>[0]) => {
      const client = await connectVideo(proxy.port);
      const outcome = await client.call({ body: "fig", ...call }).then(
        ({ body }) => body,
        ({ message }) => message,
      );
      await client.close();
      return outcome;
    };
    expect(await first({ command: 59_393, uin: 10_000n })).toBe("fig from v2");
    expect(await first({ command: 59_393 })).toBe("fig from v1");
    expect(await first({ command: 7, func: "/Play/Next" })).toBe("fig from v2");
    expect(await first({ command: 7, func: "/Stop" })).toBe("fig from v1");
    expect(await first({ command: 8, toServer: "video.v2" })).toBe("fig from v2");
    expect(await first({ command: 8 })).toBe("the connection was lost");
    const long = "fig ".repeat(10_000);
    expect(await first({ command: 7, func: "/Play", body: long })).toBe(`${long} from v2`);
    // What stands farther behind than a head may reach is not found.
    const longer = "fig ".repeat(20_000);
    expect(await first({ command: 7, func: "/Play", body: longer })).toBe(`${longer} from v1`);
    expect([v1.connections, v2.connections]).toEqual([3, 4]);
    await proxy.assertSound();
  });

  it("is taken for what it is however it arrives, and other bytes are not", async () => {
    const server = ended(await startVideoServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const call = encodeVideoCall(300, { command: 7, func: "/Play", body: "fig" });
    const slow = await connectRaw(proxy.port);
    await slow.trickle(call, 1, 1);
    await eventually(async () => expect(await proxy.requests()).toMatchObject([{ method: "7", status: "ok" }]));

    const changed = (at: number, ...values: number[]) => {
      const bytes = Buffer.from(call);
      Buffer.from(values).copy(bytes, at);
      return bytes;
    };
    const wrong: Record<string, Buffer> = {
      magic: Buffer.from("GET / HTTP/1.1\r\n\r\n   "),
      length: changed(1, 0, 0, 0, 18),
      too_large: changed(1, 0x7f),
      field: changed(5, 2),
      // A struct with another tag.
      encoding: changed(16, 0x1a),
    };
    for (const [reason, bytes] of Object.entries(wrong)) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total", { reason })).toBe(1));
    }
    await proxy.assertSound();
  });
});
