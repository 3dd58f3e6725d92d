import { expect, it } from "vitest";
import { connectThrift, startThriftServer } from "../../peers/thrift/node.js";
import { connectTrpc, greeter, startTrpcServer } from "../../peers/trpc.js";
import { ended, eventually, startProxy } from "../harness.js";

/* One-way requests of protocols without heartbeats, whose servers give the bridge no occasion to say that they arrived. */

interface Path {
  readonly protocol: string;
  start(): Promise<{ readonly port: number; readonly connections: number; stop(): Promise<void> }>;
  connect(port: number): Promise<{ tell(): void; told(): Promise<number>; close(): Promise<void> }>;
}

const framed = { transport: "framed", protocol: "binary" } as const;

function paths(): Path[] {
  let notes: readonly string[] = [];
  return [
    {
      protocol: "trpc",
      start: () => startTrpcServer(),
      async connect(port) {
        const { oneWay, call, close } = await connectTrpc(port);
        return {
          tell: () => oneWay(`/${greeter}/Notify`, "fig"),
          told: async () => Number((await call(`/${greeter}/Notified`, "fig")).body),
          close,
        };
      },
    },
    {
      protocol: "thrift",
      async start() {
        const server = await startThriftServer(framed);
        notes = server.notes;
        return server;
      },
      async connect(port) {
        const { note, call, close } = await connectThrift(port, framed);
        const told = async () => {
          expect(await call("hello", "fig")).toBe("hello fig from v1");
          return notes.length;
        };
        return { tell: () => void note("fig"), told, close };
      },
    },
  ];
}

it("all arrive, and keep no connection to the server for long", async () => {
  await Promise.all(
    paths().map(async ({ protocol, start, connect }) => {
      const server = ended(await start());
      const proxy = await startProxy({
        ...{ mode: "bridge", protocol, endpoints: [server.port], limits: { wait: "1s" } },
        // None is sent twice, although none is answered.
        routes: [{ retries: { attempts: 3 } }],
      });
      const client = await connect(proxy.port);
      const open = async () => (await proxy.envoy.stats())["cluster.greeter.upstream_cx_active"];
      const n = 300;
      for (let i = 0; i < n; i++) client.tell();
      await eventually(async () => expect(await client.told()).toBe(n));
      expect(server.connections).toBeGreaterThan(n);
      await eventually(async () => expect(await open()).toBeLessThan(10));
      // The client's own goes on, and so does what it says.
      client.tell();
      await eventually(async () => expect(await client.told()).toBe(n + 1));
      await eventually(async () => {
        const told = await proxy.metric("meltemi_requests_total", { direction: "outbound", status: "oneway" });
        expect(told).toBe(n + 1);
        expect(await proxy.metric("meltemi_requests_total", { direction: "inbound", status: "oneway" })).toBe(n + 1);
      });
      await client.close();
      expect(await proxy.metric("meltemi_in_flight")).toBe(0);
      await proxy.assertSound();
    }),
  );
});
