import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Host, Root } from "../../tools/host/host.js";
import {
  encodeException,
  encodeFailure,
  encodeHeartbeat,
  encodeHeartbeatReply,
  encodeReply,
  encodeRequest,
} from "../peers/dubbo/codec.js";
import { awesome, connect, load, samples, sum } from "./support.js";

/** What one side sends: frames of either protocol, with or without damage, or anything at all. */
const id = fc.integer({ min: 0, max: 6 });
const name = fc.oneof(fc.constantFrom("a.B", "c.D", "m"), fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }));
const argument = fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.string({ minLength: 500, maxLength: 6000 }));
const attachments = fc.dictionary(fc.constantFrom("dubbo.tag", "timeout", "k1", "k2"), fc.string({ maxLength: 30 }));

const dubboFrame = fc.oneof(
  fc
    .tuple(id, name, name, fc.array(argument, { maxLength: 3 }), attachments, fc.boolean())
    .map(([id, service, method, args, attachments, twoWay]) =>
      encodeRequest(id, service, method, args, { attachments, twoWay }),
    ),
  fc.tuple(id, fc.string({ minLength: 1 })).map(([id, value]) => encodeReply(id, value)),
  id.map((id) => encodeException(id, "boom")),
  fc.tuple(id, fc.integer({ min: 0, max: 255 })).map(([id, status]) => encodeFailure(id, status, "no")),
  id.map(encodeHeartbeat),
  id.map(encodeHeartbeatReply),
);
const awesomeFrame = fc
  .tuple(
    id,
    fc.integer({ min: -32768, max: 32767 }),
    fc.integer({ min: -2, max: 2 }),
    fc.integer({ min: 0, max: 5000 }),
  )
  .map(([id, cmd, code, body]) => awesome(id, cmd, { code, body }));

const damaged = (frame: fc.Arbitrary<Buffer>) =>
  fc
    .tuple(frame, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }))
    .map(([bytes, changes]) => {
      const copy = Buffer.from(bytes);
      for (const [at, value] of changes) copy[at % copy.length] = value;
      return copy;
    });

/** What happens on a connection: bytes of a side, cut somewhere, time, or an end. */
type Event =
  | { from: "client" | "server"; bytes: Buffer; cuts: number[] }
  | { sleep: number }
  | { end: "client" | "server" };

const events = (frame: fc.Arbitrary<Buffer>): fc.Arbitrary<Event[]> =>
  fc.array(
    fc.oneof(
      {
        weight: 12,
        arbitrary: fc.record({
          from: fc.constantFrom("client" as const, "server" as const),
          bytes: fc
            .array(
              fc.oneof(
                { weight: 20, arbitrary: frame },
                { weight: 2, arbitrary: damaged(frame) },
                { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
              ),
              { minLength: 1, maxLength: 8 },
            )
            .map((frames) => Buffer.concat(frames)),
          cuts: fc.array(fc.nat(), { maxLength: 6 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ sleep: fc.integer({ min: 0, max: 20_000 }) }) },
      { weight: 1, arbitrary: fc.record({ end: fc.constantFrom("client" as const, "server" as const) }) },
    ),
    { maxLength: 12 },
  );

function pieces(bytes: Buffer, cuts: number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

/** Plays events and holds that bytes arrive as they were sent, unless the connection was closed for them. */
function play(host: Host, root: Root, events: Event[], sleep: (milliseconds: number) => void): void {
  const seen = connect(root);
  const { connection } = seen;
  const sent = { client: Buffer.alloc(0), server: Buffer.alloc(0) };
  const ended = { client: false, server: false };
  for (const event of events) {
    if ("sleep" in event) {
      sleep(event.sleep);
      host.tick();
    } else if ("end" in event) {
      if (ended[event.end] || (event.end === "server" && !seen.started)) continue;
      ended[event.end] = true;
      if (event.end === "client") connection.downstream(Buffer.alloc(0), true);
      else connection.upstream(Buffer.alloc(0), true);
    } else {
      // A server says nothing before it is connected to, and nobody speaks after the end.
      if (ended[event.from] || (event.from === "server" && !seen.started)) continue;
      for (const piece of pieces(event.bytes, event.cuts)) {
        if (connection.closed) break;
        sent[event.from] = Buffer.concat([sent[event.from], piece]);
        if (event.from === "client") connection.downstream(piece);
        else connection.upstream(piece);
      }
    }
    if (connection.closed) break;
    if (seen.started) {
      expect(seen.toServer.equals(sent.client)).toBe(true);
      expect(seen.toClient.equals(sent.server)).toBe(true);
    } else {
      expect(seen.toServer).toHaveLength(0);
    }
  }
  connection.close("client");
  expect(host.failed).toBeUndefined();
}

const routes = [
  { match: { method: { regex: "[a-m].*" }, "dubbo.tag": { present: false } }, cluster: "x" },
  { match: { "dubbo.tag": { not: { prefix: "a" } } }, cluster: "y" },
];

const configurations: [string, "dubbo" | "awesomerpc", object][] = [
  ["observe", "dubbo", {}],
  [
    "observe, with small limits and every line logged",
    "dubbo",
    {
      limits: { frameBytes: 3000, headBytes: 64, inFlight: 2, series: 2 },
      log: { requests: 1, frames: true },
    },
  ],
  ["route", "dubbo", { mode: "route", routes }],
  [
    "route with a way out for everything",
    "dubbo",
    {
      mode: "route",
      routes: [...routes, { cluster: "z" }],
      limits: { headBytes: 128, waitMilliseconds: 10 },
      log: { frames: true },
    },
  ],
  ["observe", "awesomerpc", {}],
  ["route", "awesomerpc", { mode: "route", routes: [{ match: { cmd: { range: { min: 0 } } }, cluster: "x" }] }],
];

describe.each(configurations)("%s %s", (_, protocol, configuration) => {
  it("passes bytes as they are, traps at nothing and leaves nothing in flight", async () => {
    const { host, sleep } = await load();
    const root = host.configure({ protocol, ...configuration });
    fc.assert(
      fc.property(events(protocol === "dubbo" ? dubboFrame : awesomeFrame), (events) => {
        play(host, root, events, sleep);
        expect(sum(host, "meltemi_in_flight")).toBe(0);
      }),
      { numRuns: 300 },
    );
    for (const { message } of host.logs) expect(() => JSON.parse(message)).not.toThrow();
    // Every request has come to an end, and each that had to wait has its duration.
    const waited = samples(host, "meltemi_requests_total")
      .filter(({ labels }) => labels.status !== "oneway" && labels.status !== "untracked")
      .reduce((total, { value }) => total + value, 0);
    expect(sum(host, "meltemi_request_duration_milliseconds")).toBe(waited);
    expect(waited).toBeGreaterThan(20);
  }, 60_000);
});

describe("the same bytes, cut anywhere", () => {
  it("count the same", async () => {
    const stream = fc.tuple(
      fc.array(dubboFrame, { minLength: 1, maxLength: 15 }),
      fc.array(dubboFrame, { minLength: 1, maxLength: 15 }),
      fc.array(fc.nat(), { maxLength: 40 }),
      fc.array(fc.nat(), { maxLength: 40 }),
    );
    await fc.assert(
      fc.asyncProperty(stream, async ([client, server, clientCuts, serverCuts]) => {
        const counted = [];
        for (const cut of [false, true]) {
          const { host } = await load();
          const { connection } = connect(host.configure({ protocol: "dubbo", log: { requests: 1, frames: true } }));
          for (const piece of pieces(Buffer.concat(client), cut ? clientCuts : [])) connection.downstream(piece);
          for (const piece of pieces(Buffer.concat(server), cut ? serverCuts : [])) connection.upstream(piece);
          connection.close("client");
          host.tick();
          counted.push({ counters: [...host.metrics.counters].sort(), logs: host.logs.map(({ message }) => message) });
        }
        expect(counted[1]).toEqual(counted[0]);
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});

describe("configurations", () => {
  const value = fc.jsonValue();
  const word = fc.constantFrom(
    "protocol",
    "mode",
    "routes",
    "match",
    "limits",
    "log",
    "cluster",
    "exact",
    "range",
    "not",
  );

  it("are taken or refused with a message that names the place, and never trap", async () => {
    const { host } = await load();
    const base = {
      protocol: "dubbo",
      mode: "route",
      routes: [{ name: "n", match: { method: { not: { oneOf: ["a"] } }, x: { range: { min: 1 } } }, cluster: "c" }],
      limits: { frameBytes: 1000, headBytes: 100, inFlight: 1, series: 1, waitMilliseconds: 100 },
      log: { requests: 1, frames: true },
    };
    /** Puts something else in place of one value, at any depth. */
    const changed = fc.tuple(fc.array(fc.nat(), { maxLength: 5 }), fc.oneof(value, word)).map(([path, other]) => {
      const copy = structuredClone({ root: base }) as Record<string, unknown>;
      let at: Record<string, unknown> = copy;
      let key = "root";
      for (const step of path) {
        const next = at[key];
        const keys = typeof next === "object" && next !== null ? Object.keys(next) : [];
        if (!keys.length) break;
        at = next as Record<string, unknown>;
        key = keys[step % keys.length] as string;
      }
      at[key] = other;
      return JSON.stringify(copy.root);
    });
    const text = fc.oneof(
      changed,
      value.map((json) => JSON.stringify(json)),
      fc.string(),
      fc.json(),
    );
    let refused = 0;
    fc.assert(
      fc.property(text, (configuration) => {
        try {
          host.configure(configuration).close();
        } catch (error) {
          refused++;
          expect((error as Error).message).toMatch(/^configuration: \$.*: expected /s);
        }
        expect(host.failed).toBeUndefined();
      }),
      { numRuns: 1500 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  it("may be given to the same root again while connections use the old one", async () => {
    const { host } = await load();
    const root = host.configure({ protocol: "dubbo", service: "x" });
    const { connection } = connect(root);
    connection.downstream(encodeRequest(1, "a.B", "m"));
    root.configuring = true;
    for (let i = 0; i < 200; i++) {
      expect(host.call(root.id, "proxy_on_configure", root.id, root.configuration.length)).toBe(1);
    }
    root.configuring = false;
    connection.upstream(encodeReply(1, "y"));
    expect(sum(host, "meltemi_requests_total", { status: "ok" })).toBe(1);
  });

  it("that are gone still have told what their last connections do", async () => {
    const { host } = await load();
    const root = host.configure({ protocol: "dubbo", service: "x" });
    const { connection } = connect(root);
    connection.downstream(encodeRequest(1, "a.B", "m"));
    // Its ticks are on; they end with it.
    root.close();
    connection.upstream(encodeReply(1, "y"));
    connection.close("client");
    expect([...host.metrics.counters].filter(([name]) => name.endsWith("meltemi_requests_total"))).toEqual([
      [expect.stringContaining("status=.=ok"), 1],
    ]);
  });

  it("have a connection of an unknown root pass unread", async () => {
    const { host } = await load();
    const root = host.configure({ protocol: "dubbo" });
    host.call(root.id, "proxy_on_delete", root.id);
    const seen = connect(root);
    seen.connection.downstream(Buffer.from("anything"));
    seen.connection.upstream(Buffer.from("else"));
    expect([seen.toServer.toString(), seen.toClient.toString()]).toEqual(["anything", "else"]);
    seen.connection.close("client");
  });
});
