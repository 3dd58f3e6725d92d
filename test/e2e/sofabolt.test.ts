import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Encoding, loadEncoding, type Reason, reasons } from "../encoding.js";
import { buildJavaPeer, type ConsumerCheck, type JavaPeer } from "../peers/java.js";
import { dial, listen, readFrames } from "../peers/socket.js";
import {
  boltLength,
  connectBolt,
  type Dialect,
  dialects,
  greeter,
  readBolt,
  startBoltServer,
} from "../peers/sofabolt.js";
import { startChain } from "./chain.js";
import { ended, eventually, startProxy } from "./harness.js";
import { connectRaw } from "./raw.js";

const java: JavaPeer | null = await buildJavaPeer("bolt-java");

const protocol = "sofabolt";
/** Where ids of requests are moved to. */
const FAR = 1_000_000;

let encoding: Encoding;
beforeAll(async () => {
  encoding = await loadEncoding(protocol);
}, 60_000);

/** Passes all to that port, as the codec writes it with other ids and, in requests, a tag: what a bridge does. */
function startRelay(port: number) {
  return listen(async (client) => {
    client.pause();
    const server = await dial(port);
    for (const [from, to, side] of [
      [client, server, "client"],
      [server, client, "server"],
    ] as const) {
      from.on("close", () => to.destroy());
      readFrames(from, 20, boltLength, (frame) => {
        const { type, heartbeat, id } = readBolt(frame);
        const other = type === "response" ? id - FAR : id + FAR;
        const written = encoding.encode(frame, side, other, type === "response" || heartbeat ? {} : { tag: "gray" });
        if (!written && !heartbeat) throw new Error(`not encoded: ${frame.toString("hex")}`);
        to.write(written ?? frame);
      });
    }
    client.resume();
  });
}

/** A server that answers each request as the codec does where there is none; `reasonOf` sees its bytes as text. */
function startRefusing(reasonOf: (request: string) => Reason) {
  return listen((socket) =>
    readFrames(socket, 20, boltLength, (frame) => {
      if (readBolt(frame).type === "request" && !readBolt(frame).heartbeat)
        socket.write(encoding.error(frame, reasonOf(frame.toString("latin1")), "not today, é"));
    }),
  );
}

describe.each(dialects)("SOFABolt, %s", (dialect) => {
  it("is observed: every call by its status, one-way calls, heartbeats, every byte as it was", async () => {
    const server = ended(await startBoltServer());
    const { before, proxy, counted } = await startChain(server.port, protocol);
    const texts = ["", "fig", "Μελτέμι 🍵".repeat(20_000)];
    const clients = await Promise.all([1, 2].map(() => connectBolt(before.port, dialect)));
    const header = { tag: "gray" };
    for (const client of clients) {
      await client.heartbeat();
      expect(await Promise.all(texts.map((text) => client.call("hello", text, { header })))).toEqual(
        texts.map((text) => `${text} from v1`),
      );
      expect(await client.call("hello", "fig")).toBe("fig from v1");
      for (const method of ["refuse", "busy", "missing"]) {
        await expect(client.call(method, "", { header })).rejects.toThrow(/refused by v1|busy|no missing/);
      }
      await expect(client.call("hello", "", { header, service: "a.Missing:1.0" })).rejects.toThrow("no a.Missing");
      await client.note("fig");
      await eventually(() => expect(server.notes.length).toBe(1 + clients.indexOf(client)));
      await client.close();
    }
    const [question, answer] = dialect === "bolt 1" ? [22, 20] : [24, 22];
    const crc = dialect === "bolt 2 with checksums" ? 4 : 0;
    const others = { client: 2 * (question + crc), server: 2 * (answer + crc) };
    expect(await counted({ others })).toEqual({
      [`${greeter} hello ok`]: 6,
      // The library itself names no method in the header.
      [`${greeter} unknown ok`]: 2,
      [`${greeter} refuse exception`]: 2,
      [`${greeter} busy server_threadpool_busy`]: 2,
      [`${greeter} missing server_exception`]: 2,
      [`${greeter} note oneway`]: 2,
      "a.Missing:1.0 hello server_exception": 2,
    });
    expect(await proxy.metric("meltemi_heartbeats_total")).toBe(4);
  });

  it("takes frames with other ids and headers for its own", async () => {
    const server = ended(await startBoltServer());
    const relay = ended(await startRelay(server.port));
    const client = await connectBolt(relay.port, dialect);
    const long = "Μελτέμι 🍵".repeat(20_000);
    expect(await client.call("hello", long)).toBe(`${long} from v1`);
    expect(await client.call("hello", "fig", { header: { tag: "red", a: "1" } })).toBe("fig from v1");
    await expect(client.call("missing")).rejects.toThrow("no missing");
    await client.heartbeat();
    await client.note("fig");
    await eventually(() => expect(server.notes).toEqual(["fig"]));
    await client.close();
  });

  it.each(reasons)("understands that a request was not answered: %s", async (reason) => {
    const server = ended(await startRefusing(() => reason));
    const client = await connectBolt(server.port, dialect);
    await expect(client.call("hello", "fig")).rejects.toThrow("not today, ??");
    await client.close();
  });
});

describe("SOFABolt", () => {
  it("is routed by service, method, class and header", async () => {
    const [v1, v2] = [ended(await startBoltServer("v1")), ended(await startBoltServer("v2"))];
    const proxy = await startProxy({
      protocol,
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { tag: "gray" }, subset: "v2" },
        { match: { sofa_head_target_app: { prefix: "new" } }, subset: "v2" },
        { match: { service: greeter, class: { suffix: ".SofaRequest" } }, subset: "v1" },
      ],
    });
    const first = async (dialect: Dialect, service: string, header?: Record<string, string>) => {
      const client = await connectBolt(proxy.port, dialect);
      // Does not decide.
      const heartbeat = client.heartbeat().catch(() => {});
      const outcome = await client
        .call("hello", "fig", { service, ...(header && { header }) })
        .catch(({ message }: Error) => message);
      await heartbeat;
      await client.close();
      return outcome;
    };
    for (const dialect of dialects) {
      expect(await first(dialect, greeter, { tag: "gray" })).toBe("fig from v2");
      expect(await first(dialect, greeter, { tag: "red", sofa_head_target_app: "newest" })).toBe("fig from v2");
      expect(await first(dialect, greeter, { tag: "red" })).toBe("fig from v1");
      expect(await first(dialect, greeter)).toBe("fig from v1");
      expect(await first(dialect, "a.Missing:1.0")).toBe("the connection was lost");
    }
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "no_route" })).toBe(3);
    expect([v1.connections, v2.connections]).toEqual([6, 6]);
    await proxy.assertSound();
  });

  it("is taken for what it is however it arrives, and other bytes are not", async () => {
    const server = ended(await startBoltServer());
    const proxy = await startProxy({ protocol, endpoints: [server.port] });
    const slow = await connectRaw(proxy.port);
    const heartbeat = Buffer.from("01010000010000000201ffffffff0000000000000000", "hex");
    await slow.trickle(Buffer.concat([heartbeat, heartbeat]), 1, 1);
    await eventually(() => expect(slow.count).toBe(40));
    await eventually(async () => expect(await proxy.metric("meltemi_heartbeats_total")).toBe(4));
    const changed = (at: number, value: number) => {
      const bytes = Buffer.from(heartbeat);
      bytes.writeUInt8(value, at);
      return bytes;
    };
    const wrong: Record<string, Buffer> = {
      magic: Buffer.from("GET / HTTP/1.1\r\n\r\n  "),
      length: changed(18, 255),
      too_large: changed(18, 127),
      // There is no command 2 that is a request.
      field: changed(3, 2),
    };
    for (const [reason, bytes] of Object.entries(wrong)) {
      const raw = await connectRaw(proxy.port);
      await raw.send(bytes);
      await eventually(async () => expect(await proxy.metric("meltemi_decode_errors_total", { reason })).toBe(1));
    }
    await proxy.assertSound();
  });
});

describe.skipIf(!java)(
  `SOFABolt for Java${java ? "" : ": there is no Maven or no JDK here"}`,
  { timeout: 60_000 },
  () => {
    const peer = java as JavaPeer;
    let provider: Awaited<ReturnType<JavaPeer["provider"]>>;
    let direct: ConsumerCheck[];
    const consumer = (port: number, ...tag: string[]) => peer.consumer("127.0.0.1", String(port), ...tag);
    beforeAll(async () => {
      provider = await peer.provider(undefined, "j1");
      direct = await consumer(provider.port);
    }, 60_000);
    afterAll(() => provider.stop());

    /** Of each of the three dialects. */
    const requests = {
      [`${greeter} hello ok`]: 3 * 302,
      [`${greeter} tag ok`]: 3,
      [`${greeter} fly server_exception`]: 3,
      [`${greeter} refuse exception`]: 3,
      "greeter org.meltemi.demo.Stranger server_exception": 3,
      [`${greeter} slow ok`]: 3,
      [`${greeter} note oneway`]: 3,
      [`${greeter} noted ok`]: expect.any(Number),
      [`${greeter} back ok`]: 3,
      [`from the server: ${greeter} hello ok`]: 3,
    };

    it("finds the same behind Envoy as without it", async () => {
      expect(direct.filter(({ ok }) => !ok)).toEqual([]);
      const { proxy, before, counted } = await startChain(provider.port, protocol);
      expect(await consumer(before.port)).toEqual(direct);
      expect(await counted({ others: "any" })).toEqual(requests);
      // In each dialect while it waits, and each has an answer.
      expect(await proxy.metric("meltemi_heartbeats_total")).toBeGreaterThanOrEqual(6);
    });

    it("is routed by the header of its first call", async () => {
      const routes = [{ match: { tag: "gray" }, subset: "right" }, { subset: "wrong" }];
      const { proxy, before, counted } = await startChain(provider.port, protocol, { routes });
      const gray = direct.map((check) => (check.name.endsWith(" tag") ? { ...check, got: "gray" } : check));
      expect(await consumer(before.port, "gray")).toEqual(gray);
      expect(await counted({ others: "any" })).toEqual(requests);
      expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|right" })).toBe(3);
      expect(await proxy.metric("meltemi_routed_connections_total", { cluster: "greeter|wrong" })).toBe(0);
    });

    it("takes frames with other ids and headers for its own", async () => {
      const relay = ended(await startRelay(provider.port));
      const gray = direct.map((check) => (check.name.endsWith(" tag") ? { ...check, ok: false, got: "gray" } : check));
      expect(await consumer(relay.port)).toEqual(gray);
    });

    it("understands that a request was not answered, and why", async () => {
      const methods: Record<string, Reason> = {
        hello: "no_route",
        slow: "unavailable",
        tag: "timeout",
        fly: "rate_limited",
        refuse: "denied",
        Stranger: "too_large",
        noted: "bad_request",
        back: "internal",
      };
      const server = ended(
        await startRefusing((request) => {
          const method = Object.keys(methods).find(
            (name) => request.includes(`${name}O`) || request.includes(`.${name}`),
          );
          return methods[method ?? ""] ?? "internal";
        }),
      );
      const got = Object.fromEntries((await consumer(server.port)).map(({ name, got }) => [name, got]));
      for (const dialect of ["1", "2", "2.2"]) {
        const of = (check: string) => got[`${dialect} ${check}`];
        expect(of("text")).toContain("InvokeException: Rpc invocation exception: NO_PROCESSOR");
        expect(of("heartbeats meanwhile")).toContain("ConnectionClosedException");
        expect(of("tag")).toContain("InvokeTimeoutException");
        expect(of("exception")).toBe("InvokeServerBusyException");
        expect(of("refused")).toMatch(/InvokeServerException.*not today, \?\?/);
        expect(of("no processor")).toBe("DeserializationException");
        expect(of("one-way")).toMatch(/DeserializationException.*not today, \?\?/);
        expect(of("asked back")).toMatch(/InvokeServerException.*not today, \?\?/);
      }
    });
  },
);
