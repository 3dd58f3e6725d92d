import { describe, expect, it } from "vitest";
import {
  connectThrift,
  type Dialect,
  dialects,
  Refused,
  startThriftServer,
  TApplicationException,
  type ThriftClient,
} from "../peers/thrift/node.js";
import { type Python, type PythonDialect, setUpPython } from "../peers/thrift/python.js";
import { ended, eventually, type Row, type Running, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";
import { digests, startTap, type Tap } from "./tap.js";

const python: Python | null = await setUpPython();

/** Which requests Envoy counted, as `service method status`. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const name = ({ service, method, status }: Row) => `${service} ${method} ${status}`;
  return Object.fromEntries((await proxy.requests()).map((row) => [name(row), row.requests]));
}

/** Every byte passed as it was, and each belongs to a request or a reply that was counted. */
async function agree(proxy: Running, before: Tap, behind: Tap): Promise<void> {
  await eventually(() => expect(digests(before)).toEqual(digests(behind)));
  const bytes = (side: "fromClient" | "fromServer") =>
    before.connections.reduce((sum, connection) => sum + connection[side].bytes, 0);
  await eventually(async () => {
    const rows = await proxy.requests();
    expect(rows.reduce((sum, { requestBytes }) => sum + requestBytes, 0)).toBe(bytes("fromClient"));
    expect(rows.reduce((sum, { responseBytes }) => sum + responseBytes, 0)).toBe(bytes("fromServer"));
  });
  expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
  expect(await proxy.metric("meltemi_unmatched_responses_total")).toBe(0);
  expect(await proxy.metric("meltemi_in_flight")).toBe(0);
  await proxy.assertSound();
}

const name = ({ transport, protocol }: Dialect | PythonDialect) => `${transport} ${protocol}`;

/** Calls everything; what comes back must be what the server says of itself, also where calls overlap. */
async function callAll(client: ThriftClient, version: string): Promise<void> {
  const names = ["fig", "", "Μελτέμι 🍵".repeat(50)];
  const [hellos, sum, nothing, refused, failed, missing] = await Promise.all([
    Promise.all(names.map((name) => client.call("hello", name))),
    client.call("add", 2, -5),
    client.call("ping"),
    client.call("hello", "nobody").catch((error) => error),
    client.call("fail").catch((error) => error),
    client.call("missing").catch((error) => error),
    client.note("fig"),
  ]);
  expect(hellos).toEqual(names.map((name) => `hello ${name} from ${version}`));
  expect([sum, nothing]).toEqual([-3, undefined]);
  expect(refused).toBeInstanceOf(Refused);
  expect([failed, missing].map((error) => error instanceof TApplicationException && error.type)).toEqual([6, 1]);
}

/** What it calls, as Envoy counts it. */
const calls = (service: string) => ({
  [`${service} add ok`]: 1,
  [`${service} fail internal_error`]: 1,
  [`${service} hello exception`]: 1,
  [`${service} hello ok`]: 3,
  [`${service} missing unknown_method`]: 1,
  [`${service} note oneway`]: 1,
  [`${service} ping ok`]: 1,
});

describe("Thrift", () => {
  it.each(dialects.map((dialect) => [name(dialect), dialect] as const))(
    "is observed, %s: every request by method and outcome, every byte as it was",
    async (_, dialect) => {
      // The library's own way of sharing a connection needs a protocol that is not ours.
      const shared = dialect.protocol === "old" ? undefined : "Greeter";
      const alone = ended(await startThriftServer(dialect));
      const several = ended(await startThriftServer(dialect, { services: ["Greeter", "Other"] }));
      let target = alone.port;
      const behind = await startTap(() => target, { dubbo: false });
      const proxy = await startProxy({ protocol: "thrift", endpoints: [behind.port] });
      const before = await startTap(proxy.port, { dubbo: false });

      const client = await connectThrift(before.port, dialect);
      await callAll(client, "v1");
      await eventually(() => expect(alone.notes).toEqual(["fig"]));
      await client.close();
      await eventually(async () => expect(await counted(proxy)).toEqual(calls("greeter")));
      if (shared) {
        target = several.port;
        const sharing = await connectThrift(before.port, dialect, { service: shared });
        await callAll(sharing, "Greeter v1");
        await eventually(() => expect(several.notes).toEqual(["fig"]));
        await sharing.close();
        await eventually(async () =>
          expect(await counted(proxy)).toEqual({ ...calls("greeter"), ...calls("Greeter") }),
        );
      }
      await agree(proxy, before, behind);
    },
  );

  it("is routed by method, by one of several services, and by a THeader's infos", async () => {
    const routes = [
      { match: { service: "Other" }, subset: "v2" },
      { match: { method: { prefix: "ad" } }, subset: "v2" },
      { match: { trace: "fig" }, subset: "v2" },
      { match: { method: "hello" }, subset: "v1" },
    ];
    const some: Dialect[] = [
      { transport: "framed", protocol: "binary" },
      { transport: "unframed", protocol: "compact" },
      { transport: "header", protocol: "compact" },
    ];
    for (const dialect of some) {
      const services = ["Greeter", "Other"];
      const [v1, v2] = [
        ended(await startThriftServer(dialect, { version: "v1", services })),
        ended(await startThriftServer(dialect, { version: "v2", services })),
      ];
      const proxy = await startProxy({
        protocol: "thrift",
        mode: "route",
        subsets: { v1: v1.port, v2: v2.port },
        routes,
      });
      const first = async (service: string, call: (client: ThriftClient) => Promise<unknown>, infos = {}) => {
        const client = await connectThrift(proxy.port, dialect, { service, infos });
        const outcome = await call(client).catch(({ message }: Error) => message);
        await client.close();
        return outcome;
      };
      const hello = (client: ThriftClient) => client.call("hello", "fig");
      expect(await first("Greeter", hello)).toBe("hello fig from Greeter v1");
      expect(await first("Other", hello)).toBe("hello fig from Other v2");
      expect(await first("Greeter", (client) => client.call("add", 1, 2))).toBe(3);
      expect([v1.connections, v2.connections]).toEqual([1, 2]);
      expect(await first("Greeter", (client) => client.call("ping"))).toBe("the connection was lost");
      if (dialect.transport === "header") {
        expect(await first("Greeter", hello, { trace: "fig" })).toBe("hello fig from Greeter v2");
        expect(await first("Greeter", hello, { trace: "olive" })).toBe("hello fig from Greeter v1");
      }
      expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(1);
      await proxy.assertSound();
    }
  });

  it("reads framed messages of any size, unframed ones as far as a head may go", async () => {
    const framed: Dialect = { transport: "framed", protocol: "binary" };
    const unframed: Dialect = { transport: "unframed", protocol: "binary" };
    const long = "fig ".repeat(250_000);
    for (const [dialect, errors] of [
      [framed, 0],
      [unframed, 1],
    ] as const) {
      const server = ended(await startThriftServer(dialect));
      const proxy = await startProxy({ protocol: "thrift", endpoints: [server.port] });
      const client = await connectThrift(proxy.port, dialect);
      expect(await client.call("hello", long)).toBe(`hello ${long} from v1`);
      await client.close();
      await eventually(async () => expect(await counted(proxy)).toEqual(errors ? {} : { "greeter hello ok": 1 }));
      expect(await proxy.metric("meltemi_decode_errors_total", { reason: "head_too_large" })).toBe(errors);
      expect(await proxy.metric("meltemi_decode_errors_total")).toBe(errors);
      await proxy.assertSound();
    }
  });

  it("tells other bytes at once", async () => {
    const server = ended(await startThriftServer({ transport: "framed", protocol: "binary" }));
    const proxy = await startProxy({ protocol: "thrift", endpoints: [server.port] });
    for (const [i, text] of ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-fig\r\n", "\0\0\0\x0cHello, world"].entries()) {
      const raw = await connectRaw(proxy.port);
      await raw.send(Buffer.from(text, "latin1"));
      await eventually(async () =>
        expect(await proxy.metric("meltemi_decode_errors_total", { reason: "magic" })).toBe(i + 1),
      );
    }
    await proxy.assertSound();
  });
});

describe.skipIf(!python)(`Thrift in Python${python ? "" : ": there is no Python here that can install it"}`, () => {
  const plain: PythonDialect[] = [
    ...(["framed", "unframed"] as const).flatMap((transport) =>
      (["binary", "compact", "old"] as const).map((protocol) => ({ transport, protocol })),
    ),
    { transport: "multiplexed", protocol: "binary" },
  ];
  const headers: PythonDialect[] = [
    { transport: "header", protocol: "binary" },
    { transport: "header", protocol: "compact" },
    { transport: "zlib", protocol: "binary" },
  ];

  /** The client through Envoy, what it finds without, and what Envoy counts. */
  async function chain(dialect: PythonDialect) {
    const peer = python as Python;
    const server = ended(await peer.serve(dialect));
    const behind = await startTap(server.port, { dubbo: false });
    const proxy = await startProxy({ protocol: "thrift", endpoints: [behind.port] });
    const before = await startTap(proxy.port, { dubbo: false });
    const direct = await peer.call(dialect, server.port);
    const through = await peer.call(dialect, before.port);
    expect(through).toEqual(direct);
    return { direct, proxy, before, behind };
  }

  it.each(plain.map((dialect) => [name(dialect), dialect] as const))(
    "finds the same behind Envoy as without it, %s",
    async (_, dialect) => {
      const { direct, proxy, before, behind } = await chain(dialect);
      const shared = dialect.transport === "multiplexed";
      expect(direct).toEqual({
        ...{ hello: "hello fig from v1", refused: "Refused: not nobody", add: -3, ping: null, note: null },
        ...{ fail: "TApplicationException 6", order: true },
        ...(!shared && { missing: "TApplicationException 1" }),
      });
      const service = shared ? "Greeter" : "greeter";
      const { [`${service} missing unknown_method`]: missing, ...others } = calls(service);
      await eventually(async () =>
        expect(await counted(proxy)).toEqual({
          ...others,
          ...(!shared && { [`${service} missing unknown_method`]: missing }),
          [`${service} hello ok`]: 1,
          [`${service} order ok`]: 1,
        }),
      );
      await agree(proxy, before, behind);
    },
  );

  it.each(headers.map((dialect) => [name(dialect), dialect] as const))(
    "finds the same behind Envoy as without it, %s",
    async (_, dialect) => {
      const { direct, proxy, before, behind } = await chain(dialect);
      expect(direct).toEqual({ "hello True": "hello fig from v1 fig" });
      if (dialect.transport === "header") {
        await eventually(async () =>
          expect(await counted(proxy)).toEqual({ "greeter hello ok": 2, "greeter note oneway": 2 }),
        );
        await agree(proxy, before, behind);
      } else {
        // What is transformed does not even say that it is one-way: it waits for a reply until its client has gone.
        await eventually(async () =>
          expect(await counted(proxy)).toEqual({
            "greeter unknown unreadable": 2,
            "greeter unknown client_gone": 2,
          }),
        );
        await eventually(() => expect(digests(before)).toEqual(digests(behind)));
        expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
        await proxy.assertSound();
      }
    },
  );
});
