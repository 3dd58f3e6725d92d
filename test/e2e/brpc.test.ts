import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectBrpc, encodeCall, greeter, startBrpcServer } from "../peers/brpc.js";
import { buildJavaPeer, type ConsumerCheck, type JavaPeer } from "../peers/java.js";
import { ended, eventually, type Row, type Rules, type Running, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, startTap, type Tap } from "./tap.js";

// The library makes classes while it runs.
const java: JavaPeer | null = await buildJavaPeer("brpc-java", ["--add-opens=java.base/java.lang=ALL-UNNAMED"]);

const protocol = "brpc";

/** Which requests Envoy counted, as `service method status`. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const name = ({ service, method, status }: Row) => `${service} ${method} ${status}`;
  return Object.fromEntries((await proxy.requests()).map((row) => [name(row), row.requests]));
}

/** Every byte passed as it was, and each belongs to a request or a reply that was counted. */
async function agree(proxy: Running, before: Tap, behind: Tap): Promise<void> {
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  const bytes = (side: "fromClient" | "fromServer") => before.connections.reduce((sum, it) => sum + it[side].bytes, 0);
  await eventually(async () => {
    const rows = await proxy.requests();
    expect(rows.reduce((sum, { requestBytes }) => sum + requestBytes, 0)).toBe(bytes("fromClient"));
    expect(rows.reduce((sum, { responseBytes }) => sum + responseBytes, 0)).toBe(bytes("fromServer"));
  });
  expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
  expect(await proxy.metric("meltemi_unmatched_responses_total")).toBe(0);
  await proxy.assertSound();
}

/** Peers with an Envoy in between, and a tap on both sides of it. */
async function chain(server: number, rules: Pick<Rules, "routes"> = {}) {
  const behind = await startTap(server, { dubbo: false });
  // Nobody listens where connections go that are routed wrong.
  const servers: Rules = rules.routes
    ? { mode: "route", subsets: { right: behind.port, wrong: 1 } }
    : { endpoints: [behind.port] };
  const proxy = await startProxy({ protocol, ...servers, ...rules });
  return { behind, proxy, before: await startTap(proxy.port, { dubbo: false }) };
}

describe("bRPC", () => {
  it("is observed: every call by its error code, every byte as it was", async () => {
    const server = ended(await startBrpcServer());
    const { behind, proxy, before } = await chain(server.port);
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(50_000)];
    const clients = await Promise.all([1, 2].map(() => connectBrpc(before.port)));
    for (const client of clients) {
      const replies = await Promise.all(bodies.map((body) => client.call("Echo", body, { logId: 7 })));
      expect(replies.map(({ body }) => body)).toEqual(bodies.map((body) => `${body} from v1`));
      expect(await client.call("Fail")).toMatchObject({ code: 42, text: "refused by v1" });
      expect(await client.call("Missing")).toMatchObject({ code: 1002 });
      expect(await client.call("Echo", "fig", { service: "meltemi.demo.Missing" })).toMatchObject({ code: 1001 });
      await client.close();
    }
    await agree(proxy, before, behind);
    expect(await counted(proxy)).toEqual({
      [`${greeter} Echo ok`]: 6,
      [`${greeter} Fail 42`]: 2,
      [`${greeter} Missing enomethod`]: 2,
      "meltemi.demo.Missing Echo enoservice": 2,
    });
  });

  it("is routed by log_id, user fields, service and method", async () => {
    const [v1, v2] = [ended(await startBrpcServer("v1")), ended(await startBrpcServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { log_id: { range: { min: 100, max: 199 } } }, subset: "v2" },
        { match: { colour: "blue" }, subset: "v2" },
        { match: { service: greeter, method: "Echo" }, subset: "v1" },
      ],
    });
    const first = async (...call: Parameters<Awaited<ReturnType<typeof connectBrpc>>["call"]>) => {
      const client = await connectBrpc(proxy.port);
      const outcome = await client.call(...call).then(
        ({ body }) => body,
        ({ message }) => message,
      );
      await client.close();
      return outcome;
    };
    expect(await first("Echo", "fig", { logId: 150 })).toBe("fig from v2");
    expect(await first("Echo", "fig", { logId: 200 })).toBe("fig from v1");
    expect(await first("Echo", "fig", { fields: { colour: "blue" } })).toBe("fig from v2");
    expect(await first("Echo", "fig", { fields: { colour: "red" } })).toBe("fig from v1");
    expect(await first("Fail")).toBe("the connection was lost");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
    expect([v1.connections, v2.connections]).toEqual([2, 2]);
    await proxy.assertSound();
  });

  it("is taken for what it is however it arrives, and other bytes are not", async () => {
    const server = ended(await startBrpcServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const call = encodeCall({ id: 300, method: "Echo", fields: { colour: "blue" }, body: "fig" });
    const slow = await connectRaw(proxy.port);
    await slow.trickle(call, 1, 1);
    await eventually(async () => expect(await proxy.requests()).toMatchObject([{ method: "Echo", status: "ok" }]));

    const with32 = (at: number, value: number) => {
      const bytes = Buffer.from(call);
      bytes.writeUInt32BE(value, at);
      return bytes;
    };
    const wrong: Record<string, Buffer> = {
      // A frame of a stream, which is another protocol.
      magic: Buffer.concat([Buffer.from("STRM"), call.subarray(4)]),
      length: with32(8, call.length),
      too_large: with32(4, 0x7f000000),
      field: with32(8, 0),
      encoding: Buffer.concat([call.subarray(0, 12), Buffer.alloc(call.length - 12, 0xff)]),
    };
    for (const [reason, bytes] of Object.entries(wrong)) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total", { reason })).toBe(1));
    }
    await proxy.assertSound();
  });
});

describe.skipIf(!java)(`bRPC for Java${java ? "" : ": there is no Maven or no JDK here"}`, { timeout: 60_000 }, () => {
  const peer = java as JavaPeer;
  let provider: Awaited<ReturnType<JavaPeer["provider"]>>;
  let direct: ConsumerCheck[];
  const consumer = (port: number, ...tag: string[]) => peer.consumer("127.0.0.1", String(port), ...tag);
  beforeAll(async () => {
    provider = await peer.provider(undefined, "j1");
    direct = await consumer(provider.port);
  });
  afterAll(() => provider.stop());

  const requests = {
    [`${greeter} Echo ok`]: 305,
    [`${greeter} Fail einternal`]: 1,
    [`${greeter} Info ok`]: 1,
  };

  it("finds the same behind Envoy as without it", async () => {
    expect(direct.filter(({ ok }) => !ok)).toEqual([]);
    const { behind, proxy, before } = await chain(provider.port);
    expect(await consumer(before.port)).toEqual(direct);
    await agree(proxy, before, behind);
    expect(await counted(proxy)).toEqual(requests);
  });

  it("is routed by an attachment of its first call", async () => {
    const routes = [{ match: { tag: "gray" }, subset: "right" }, { subset: "wrong" }];
    const { behind, proxy, before } = await chain(provider.port, { routes });
    expect(await consumer(before.port, "gray")).toEqual(direct);
    await agree(proxy, before, behind);
    expect(await counted(proxy)).toEqual(requests);
    expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|wrong" })).toBe(0);
  });

  it("understands errors in the form that the codec gives them", async () => {
    const server = ended(await startBrpcServer("n1", { refuse: { code: 1009, text: "no healthy upstream" } }));
    const [first] = await consumer(server.port);
    expect(first).toMatchObject({ name: "text", ok: false, got: expect.stringContaining("no healthy upstream") });
  });
});
