import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { connectAwesome, startAwesomeServer } from "../../peers/awesomerpc.js";
import { connect } from "../../peers/dubbo/client.js";
import { encodeReply } from "../../peers/dubbo/codec.js";
import { blob, greeter, startServer } from "../../peers/dubbo/server.js";
import { ended, eventually, type ProxyOptions, type Rules, type Running, startProxy } from "../harness.js";
import { http1, type Request, shuffled, startScripted } from "./peers.js";

/** An Envoy of both legs, or one for each. */
interface Path {
  readonly port: number;
  readonly proxies: readonly Running[];
}

async function oneEnvoy(rules: Rules, options: ProxyOptions = {}): Promise<Path> {
  const proxy = await startProxy({ mode: "bridge", ...rules }, options);
  return { port: proxy.port, proxies: [proxy] };
}

async function twoEnvoys(rules: Rules, options: ProxyOptions = {}): Promise<Path> {
  const behind = await startProxy({ mode: "bridge", leg: "server", ...rules }, options);
  const before = await startProxy({ mode: "bridge", leg: "client", ...rules, endpoints: [behind.port] }, options);
  return { port: before.port, proxies: [before, behind] };
}

const paths = [
  { name: "one Envoy", start: oneEnvoy, most: 5000 },
  { name: "one Envoy with two workers", start: (rules: Rules) => oneEnvoy(rules, { concurrency: 2 }), most: 5000 },
  { name: "two Envoys", start: twoEnvoys, most: 5000 },
  // Here each request at a time is a connection to the server.
  { name: "two Envoys, HTTP/1.1 between them", start: (rules: Rules) => twoEnvoys(rules, http1), most: 1000 },
];

/** Every leg counted so many requests, all of them answered. */
async function sound({ proxies }: Path, requests: number): Promise<void> {
  await eventually(async () => {
    for (const direction of ["outbound", "inbound"]) {
      const rows = await Promise.all(proxies.map((proxy) => proxy.requests()));
      const own = rows.flat().filter((row) => row.direction === direction);
      expect(own.map(({ status }) => status)).toEqual(own.map(() => "ok"));
      expect(own.reduce((sum, row) => sum + row.requests, 0)).toBe(requests);
    }
  });
  for (const proxy of proxies) {
    for (const name of ["in_flight", "unmatched_responses_total", "decode_errors_total", "closed_connections_total"]) {
      expect(await proxy.metric(`meltemi_${name}`), name).toBe(0);
    }
    await proxy.assertSound();
  }
}

describe.each(paths)("$name", ({ start, most }) => {
  it(`carries up to ${most} requests at a time, answered in any order`, async () => {
    let expected = 0;
    let held: [Request, Socket][] = [];
    // All are held until the last one is there.
    const server = await startScripted((request, socket) => {
      held.push([request, socket]);
      if (held.length < expected) return;
      for (const [{ id, args }, to] of shuffled(held)) to.write(encodeReply(id, `reply to ${args[0]}`));
      held = [];
    });
    const path = await start({ endpoints: [server.port] });
    const client = await connect({ port: path.port });
    const counts = [1, 32, 1000, 5000].filter((count) => count <= most);
    for (const count of counts) {
      expected = count;
      const calls = Array.from({ length: count }, (_, i) => client.call(greeter, "sayHello", [`${count}/${i}`]));
      expect(await Promise.all(calls)).toEqual(calls.map((_, i) => `reply to ${count}/${i}`));
    }
    expect(client.unexpected).toBe(0);
    await client.close();
    await sound(
      path,
      counts.reduce((a, b) => a + b),
    );
  });

  it("carries bodies of 0 B to 32 MB both ways, one by one, together and on several connections", async () => {
    const server = ended(await startServer());
    const path = await start({ endpoints: [server.port] });
    const whole = blob(32_000_000);
    const client = await connect({ port: path.port });
    let requests = 0;
    const echoes = async (own: typeof client, sizes: number[]) => {
      requests += sizes.length;
      await Promise.all(
        sizes.map(async (size) => {
          const bytes = whole.subarray(size % 7, (size % 7) + size);
          const reply = (await own.call(greeter, "echo", [bytes], { timeoutMs: 50_000 })) as Buffer;
          expect(Buffer.compare(reply, bytes), `${size} bytes`).toBe(0);
        }),
      );
    };
    for (const size of [0, 1, 16_384, 65_535, 65_536, 262_144, 1_048_576, 31_999_990]) await echoes(client, [size]);
    await echoes(
      client,
      shuffled(
        [0, 10, 1000, 60_000, 70_000, 250_000, 270_000, 1_000_000, 3_000_000, 8_000_000].flatMap((n) => [n, n + 1]),
      ),
    );
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect({ port: path.port })));
    await Promise.all(clients.map((own, i) => echoes(own, [i, 65_000 + i * 500, 300_000 + i, 1_000_000 * i + i])));
    expect([client, ...clients].map(({ unexpected }) => unexpected)).toEqual([0, 0, 0, 0, 0, 0]);
    await Promise.all([client, ...clients].map((own) => own.close()));
    await sound(path, requests);
  });

  it("carries requests that nobody answers, and ends them all the same", async () => {
    const server = ended(await startServer());
    const path = await start({ endpoints: [server.port] });
    const client = await connect({ port: path.port });
    const texts = Array.from({ length: 1000 }, (_, i) => `fig ${i % 10}`);
    await Promise.all(texts.map((text) => client.oneway(greeter, "notify", [text])));
    await client.oneway(greeter, "notify", [blob(2_000_000)]);
    await eventually(() => expect(server.stats.oneway).toBe(1001));
    for (const text of texts.slice(0, 10)) expect(await client.call(greeter, "notified", [text])).toBe(100);
    await client.oneway(greeter, "notify", ["last"]);
    // Without anything else going on.
    const stats = async () => (await Promise.all(path.proxies.map(({ envoy }) => envoy.stats())))[0] ?? {};
    await eventually(async () => {
      expect((await stats())["http.meltemi.downstream_rq_2xx"]).toBe(1012);
      expect((await stats())["http.meltemi.downstream_rq_active"]).toBe(0);
    });
    expect(client.unexpected).toBe(0);
    await client.close();
    for (const proxy of path.proxies) await proxy.assertSound();
  });
});

describe.each([
  ["one Envoy", oneEnvoy],
  ["two Envoys", twoEnvoys],
] as const)("awesomerpc, %s", (_, start) => {
  it("crosses HTTP/1.1, since it has no heartbeats", async () => {
    const server = ended(await startAwesomeServer());
    const path = await start({ protocol: "awesomerpc", endpoints: [server.port] });
    const clients = await Promise.all(Array.from({ length: 3 }, () => connectAwesome(path.port)));
    const bodies = ["", "fig", "Μελτέμι 🍵".repeat(100_000)];
    let requests = 0;
    const call = async (client: (typeof clients)[0], wait: number, body: string) => {
      requests++;
      expect((await client.call(wait, body)).body === `${body} from v1`, body.slice(0, 20)).toBe(true);
    };
    for (const client of clients) for (const body of bodies) await call(client, 0, body);
    // The longest wait first, so that replies overtake each other.
    await Promise.all(
      clients.flatMap((client, c) => Array.from({ length: 150 }, (_, i) => call(client, 150 - i, `${c}/${i}`))),
    );
    await Promise.all(clients.map((client) => client.close()));
    await sound(path, requests);
    expect(server.connections).toBeGreaterThan(100);
  });
});
