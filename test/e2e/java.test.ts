import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, RemoteException } from "../peers/dubbo/client.js";
import { blob, greeter } from "../peers/dubbo/server.js";
import { buildJava, type ConsumerCheck, type Java } from "../peers/dubbo-java.js";
import { eventually, type Row, type Rules, type Running, startProxy } from "./harness.js";
import { digests, heartbeatsOf, rowsOf, startTap, type Tap } from "./tap.js";

const java: Java | null = await buildJava();
const kinds = "org.meltemi.demo.Kinds";

/** The Java provider behind an Envoy, with a tap on both sides of it. */
async function chain(provider: number, rules: Pick<Rules, "routes"> = {}) {
  const behind = await startTap(provider);
  // Nobody listens where connections go that are routed wrong.
  const servers: Rules = rules.routes
    ? { mode: "route", subsets: { right: behind.port, wrong: 1 } }
    : { endpoints: [behind.port] };
  const proxy = await startProxy({ ...servers, ...rules });
  return { behind, proxy, before: await startTap(proxy.port) };
}

/** Envoy passed every byte and counted what the taps saw; answers requests by service, method and status. */
async function agree(proxy: Running, before: Tap, behind: Tap): Promise<Record<string, number>> {
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  await eventually(async () => expect(await proxy.requests()).toEqual(rowsOf(before.connections)));
  const { scalars } = await proxy.metrics();
  expect(await proxy.metric("meltemi_heartbeats_total")).toBe(heartbeatsOf(before.connections));
  expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  expect(scalars.get("meltemi_decode_errors_total")).toBeUndefined();
  expect(scalars.get("meltemi_unmatched_responses_total")).toBeUndefined();
  await proxy.assertSound();
  const name = ({ service, method, status }: Row) => `${service} ${method} ${status}`;
  return Object.fromEntries((await proxy.requests()).map((row) => [name(row), row.requests]));
}

/** What the consumer calls, by service, method and status. */
const requests = {
  [`${greeter} $invoke ok`]: 1,
  [`${greeter} add ok`]: 1,
  [`${greeter} attachment ok`]: 1,
  [`${greeter} blob ok`]: 1,
  [`${greeter} echo ok`]: 23,
  [`${greeter} fail exception`]: 1,
  [`${greeter} notified ok`]: expect.any(Number),
  [`${greeter} notify oneway`]: 1,
  [`${greeter} sayHello ok`]: 1,
  [`${greeter} slow ok`]: 1,
  [`${kinds} color ok`]: 2,
  [`${kinds} describe ok`]: 1,
  [`${kinds} order ok`]: 2,
};

describe.skipIf(!java)(
  `Apache Dubbo for Java${java ? "" : ": there is no Maven or no JDK here"}`,
  { timeout: 60_000 },
  () => {
    let provider: Awaited<ReturnType<Java["provider"]>>;
    let direct: ConsumerCheck[];
    const consumer = (port: number, tag?: string) => (java as Java).consumer("127.0.0.1", port, tag);
    beforeAll(async () => {
      provider = await (java as Java).provider({ version: "j1" });
      direct = await consumer(provider.port);
    });
    afterAll(() => provider.stop());

    it("finds the same behind Envoy as without it", async () => {
      const { behind, proxy, before } = await chain(provider.port);
      expect(await consumer(before.port)).toEqual(direct);
      expect(direct.filter(({ ok }) => !ok)).toEqual([]);
      expect(await agree(proxy, before, behind)).toEqual(requests);
    });

    it("is routed by an attachment of its first call", async () => {
      const routes = [{ match: { "dubbo.tag": "gray" }, subset: "right" }, { subset: "wrong" }];
      const { behind, proxy, before } = await chain(provider.port, { routes });
      expect(await consumer(before.port, "gray")).toEqual(direct);
      expect(await agree(proxy, before, behind)).toEqual(requests);
      expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|right" })).toBe(1);
      expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|wrong" })).toBe(0);
    });

    it("answers a Node client behind Envoy as without it", async () => {
      const { behind, proxy, before } = await chain(provider.port, {
        routes: [
          { match: { group: "gray", version: "2.0.0" }, subset: "right" },
          { match: { method: { prefix: "say" } }, subset: "wrong" },
          { subset: "right" },
        ],
      });
      const object = ($class: string, $: unknown) => ({ $class, $abstractClass: "java.lang.Object", $ });
      const gray = await connect({ port: before.port });
      const attachments = { group: "gray", version: "2.0.0" };
      expect(await gray.call(greeter, "sayHello", ["fig"], { attachments })).toBe("Hello fig from j1 gray 2.0.0");
      const client = await connect({ port: before.port });
      expect(await client.call(greeter, "add", [2, 3])).toBe(5);
      expect(await client.call(greeter, "sayHello", ["σύκο 🍵"])).toBe("Hello σύκο 🍵 from j1");
      expect(await client.call(greeter, "echo", [object("java.lang.String", "Μελτέμι")])).toBe("Μελτέμι");
      expect(blob(1_000_000).equals((await client.call(greeter, "blob", [1_000_000])) as Buffer)).toBe(true);
      await expect(client.call(greeter, "fail")).rejects.toThrow(RemoteException);
      await client.heartbeat();
      const all = Array.from({ length: 100 }, (_, i) => client.call(greeter, "add", [i, 1]));
      expect(await Promise.all(all)).toEqual(all.map((_, i) => i + 1));
      await gray.close();
      await client.close();
      expect(await agree(proxy, before, behind)).toEqual({
        [`${greeter} add ok`]: 101,
        [`${greeter} blob ok`]: 1,
        [`${greeter} echo ok`]: 1,
        [`${greeter} fail exception`]: 1,
        [`${greeter} sayHello ok`]: 2,
      });
    });
  },
);
