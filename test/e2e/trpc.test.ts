import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildJavaPeer, type ConsumerCheck, freePort, type JavaPeer } from "../peers/java.js";
import { connectTrpc, encodeCall, greeter, startTrpcServer, streams, type TrpcClient } from "../peers/trpc.js";
import { ended, eventually, type Row, type Rules, type Running, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, startTap, type Tap } from "./tap.js";

const java: JavaPeer | null = await buildJavaPeer("trpc-java");

const protocol = "trpc";
const echo = `/${greeter}/Echo`;

/** Which requests Envoy counted, as `service method status`. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const name = ({ service, method, status }: Row) => `${service} ${method} ${status}`;
  return Object.fromEntries((await proxy.requests()).map((row) => [name(row), row.requests]));
}

/** Every byte passed as it was, these requests were counted, and nothing is left open or was not understood. */
async function agree(proxy: Running, before: Tap, behind: Tap, requests: Record<string, unknown>): Promise<void> {
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  await eventually(async () => expect(await counted(proxy)).toEqual(requests));
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

describe("tRPC", () => {
  it("is observed: calls, one-way calls and errors, every byte as it was", async () => {
    const server = ended(await startTrpcServer());
    const { behind, proxy, before } = await chain(server.port);
    const client = await connectTrpc(before.port);
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(50_000)];
    const replies = await Promise.all(bodies.map((body) => client.call(echo, body, { traceparent: "00-1" })));
    expect(replies.map(({ body }) => body)).toEqual(bodies.map((body) => `${body} from v1`));
    client.oneWay(`/${greeter}/Notify`, "fig");
    expect(await client.call(`/${greeter}/Notified`, "fig")).toMatchObject({ body: "1" });
    expect(await client.call(`/${greeter}/Fail`)).toMatchObject({ ret: 0, funcRet: 42 });
    expect(await client.call("/trpc.meltemi.demo.Missing/Echo")).toMatchObject({ ret: 12 });
    await client.close();

    await agree(proxy, before, behind, {
      [`${greeter} Echo ok`]: 3,
      [`${greeter} Fail exception`]: 1,
      [`${greeter} Notified ok`]: 1,
      [`${greeter} Notify oneway`]: 1,
      "trpc.meltemi.demo.Missing Echo server_nofunc": 1,
    });
    const rows = await proxy.requests();
    const bytes = (side: "fromClient" | "fromServer") =>
      before.connections.reduce((sum, it) => sum + it[side].bytes, 0);
    expect(rows.reduce((sum, { requestBytes }) => sum + requestBytes, 0)).toBe(bytes("fromClient"));
    expect(rows.reduce((sum, { responseBytes }) => sum + responseBytes, 0)).toBe(bytes("fromServer"));
  });

  it("is observed: streams beside calls, by how they end", async () => {
    const server = ended(await startTrpcServer());
    const { behind, proxy, before } = await chain(server.port);
    const client = await connectTrpc(before.port);
    const texts = Array.from({ length: 200 }, (_, i) => `fig ${i}`);
    const [all, joined, broken, missing, reply] = await Promise.all([
      client.stream(`/${streams}/Echo`, texts),
      client.stream(`/${streams}/Join`, texts),
      client.stream(`/${streams}/Break`, ["fig"]),
      client.stream("/trpc.meltemi.demo.Missing/Echo", texts),
      client.call(echo, "fig"),
    ]);
    expect(all).toEqual({ ret: 0, message: "", texts });
    expect(joined).toEqual({ ret: 0, message: "", texts: [texts.join("")] });
    expect(broken).toEqual({ ret: 1000, message: "broken off", texts: ["fig"] });
    expect(missing).toEqual({ ret: 12, message: "no /trpc.meltemi.demo.Missing/Echo", texts: [] });
    expect(reply.body).toBe("fig from v1");
    await client.close();

    await agree(proxy, before, behind, {
      [`${greeter} Echo ok`]: 1,
      [`${streams} Break stream_unknown`]: 1,
      [`${streams} Echo ok`]: 1,
      [`${streams} Join ok`]: 1,
      "trpc.meltemi.demo.Missing Echo server_nofunc": 1,
    });
  });

  it("is routed by trans_info, func, callee and service", async () => {
    const [v1, v2] = [ended(await startTrpcServer("v1")), ended(await startTrpcServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { "trpc-env": "gray" }, subset: "v2" },
        { match: { func: { suffix: "/Notified" } }, subset: "v2" },
        { match: { service: streams, caller: { prefix: "trpc.meltemi.node" } }, subset: "v2" },
        { match: { callee: greeter }, subset: "v1" },
      ],
    });
    const first = async (act: (client: TrpcClient) => Promise<unknown>) => {
      const client = await connectTrpc(proxy.port);
      const before = [v1.connections, v2.connections];
      const outcome = await act(client).then(
        () => (v1.connections > (before[0] as number) ? "v1" : v2.connections > (before[1] as number) ? "v2" : "none"),
        ({ message }) => message,
      );
      await client.close();
      return outcome;
    };
    expect(await first((client) => client.call(echo, "fig", { colour: "blue", "trpc-env": "gray" }))).toBe("v2");
    expect(await first((client) => client.call(echo, "fig", { "trpc-env": "red" }))).toBe("v1");
    expect(await first((client) => client.call(`/${greeter}/Notified`))).toBe("v2");
    expect(await first((client) => client.stream(`/${streams}/Echo`, ["fig"]))).toBe("v2");
    expect(await first((client) => client.stream(`/${greeter}/Echo`, ["fig"], { "trpc-env": "gray" }))).toBe("v2");
    expect(await first((client) => client.call("/trpc.meltemi.demo.Other/Echo"))).toBe("the connection was lost");
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
    await proxy.assertSound();
  });

  it("is taken for what it is however it arrives, and other bytes are not", async () => {
    const server = ended(await startTrpcServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const call = encodeCall({ id: 7, func: echo, info: { colour: "blue" }, body: "fig" });
    const slow = await connectRaw(proxy.port);
    await slow.trickle(call, 1, 1);
    await eventually(async () => expect(await proxy.requests()).toMatchObject([{ method: "Echo", status: "ok" }]));

    const wrong: Record<string, Buffer> = {
      magic: Buffer.from("GET / HTTP/1.1\r\n\r\n"),
      length: Buffer.concat([call.subarray(0, 4), Buffer.from([0, 0, 0, 15]), call.subarray(8)]),
      too_large: Buffer.concat([call.subarray(0, 4), Buffer.from([0x7f, 0, 0, 0]), call.subarray(8)]),
      field: Buffer.concat([call.subarray(0, 2), Buffer.from([2]), call.subarray(3)]),
      encoding: Buffer.concat([call.subarray(0, 16), Buffer.alloc(call.length - 16, 0xff)]),
    };
    for (const [reason, bytes] of Object.entries(wrong)) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total", { reason })).toBe(1));
    }
    await proxy.assertSound();
  });
});

describe.skipIf(!java)(`tRPC for Java${java ? "" : ": there is no Maven or no JDK here"}`, { timeout: 60_000 }, () => {
  const peer = java as JavaPeer;
  let provider: Awaited<ReturnType<JavaPeer["provider"]>>;
  let streamsPort: number;
  let direct: ConsumerCheck[];
  const consumer = (port: number, streams: number, ...env: string[]) =>
    peer.consumer("127.0.0.1", String(port), String(streams), ...env);
  const got = (checks: ConsumerCheck[]) => Object.fromEntries(checks.map(({ name, got }) => [name, got]));
  beforeAll(async () => {
    streamsPort = await freePort();
    provider = await peer.provider(undefined, String(streamsPort), "j1");
    direct = await consumer(provider.port, streamsPort);
  });
  afterAll(() => provider.stop());

  it("finds the same behind Envoy as without it", async () => {
    expect(direct.filter(({ ok }) => !ok)).toEqual([]);
    const calls = await chain(provider.port);
    const ofStreams = await chain(streamsPort);
    expect(await consumer(calls.before.port, ofStreams.before.port)).toEqual(direct);
    await agree(calls.proxy, calls.before, calls.behind, {
      [`${greeter} Crash exception`]: 1,
      [`${greeter} Echo ok`]: 302,
      [`${greeter} Fail exception`]: 1,
      [`${greeter} Info ok`]: 1,
      [`${greeter} Notified ok`]: expect.any(Number),
      [`${greeter} Notify oneway`]: 1,
      "trpc.meltemi.demo.Missing Echo server_nofunc": 1,
    });
    await agree(ofStreams.proxy, ofStreams.before, ofStreams.behind, {
      [`${streams} Break stream_unknown`]: 1,
      [`${streams} Echo ok`]: 1,
      [`${streams} Join ok`]: 1,
      [`${streams} Repeat ok`]: 1,
    });
  });

  it("is routed by trans_info of the first call and the first stream", async () => {
    const routes = [{ match: { "trpc-env": "gray" }, subset: "right" }, { subset: "wrong" }];
    const calls = await chain(provider.port, { routes });
    const ofStreams = await chain(streamsPort, { routes });
    expect(await consumer(calls.before.port, ofStreams.before.port, "gray")).toEqual(direct);
    for (const { proxy } of [calls, ofStreams]) {
      expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|wrong" })).toBe(0);
      await proxy.assertSound();
    }
  });

  it("calls the Node server, which is as good as its own", async () => {
    const server = ended(await startTrpcServer("n1"));
    expect((await consumer(server.port, server.port)).filter(({ ok }) => !ok)).toEqual([]);
  });

  it("understands errors in the form that the codec gives them", async () => {
    const server = ended(await startTrpcServer("n1", { refuse: { ret: 141, message: "no healthy upstream" } }));
    const refused = got(await consumer(server.port, server.port));
    expect(refused).toMatchObject({ text: expect.stringContaining("no healthy upstream"), "broken stream": "141" });
    expect(refused["stream of replies"]).toContain("no healthy upstream");
    expect(refused["stream of requests"]).toContain("no healthy upstream");
  });
});
