import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import {
  type ClientHttp2Session,
  connect,
  createServer,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { parse } from "../model/load.js";
import type { Matcher } from "../model/matcher.js";
import { type Bootstrap, bootstrap } from "./bootstrap.js";
import { envoy } from "./envoy.fixture.js";
import { OVER_LIMIT, startGrpc, WITHIN_LIMIT } from "./grpc.fixture.js";
import { EnvoyProcess } from "./process.js";

/*
 * What Envoy makes of a bridge's rules, on requests as `lift` writes them. The module itself is left out, so that what
 * stands at its two ends here is HTTP/2: test/e2e has the whole.
 */

const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
afterAll(() => rmSync(folder, { recursive: true }));

const protocols = [{ name: "dubbo", keys: [{ name: "*" }], heartbeats: true }];

interface Parts {
  listeners: { filter_chains: { filters: { name: string }[] }[] }[];
}

/** The bootstrap without the filters of ours. */
function plain(made: Bootstrap): Bootstrap {
  const resources = structuredClone(made.static_resources) as Parts;
  for (const chain of resources.listeners.flatMap((listener) => listener.filter_chains)) {
    chain.filters = chain.filters.filter(({ name }) => name !== "envoy.filters.network.wasm");
  }
  return { ...made, static_resources: resources };
}

interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

type Ask = (path: string, headers?: OutgoingHttpHeaders) => Promise<Reply>;

/** What a server does with a request; the default answers 200 with the server's name. */
type Behaviour = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

/** An HTTP/2 server that says its name in each reply; `seen` are the headers of its requests. */
async function server(name: string, behave?: Behaviour) {
  const seen: IncomingHttpHeaders[] = [];
  const http = createServer().on("stream", (stream, headers) => {
    seen.push(headers);
    if (behave) return behave(stream, headers);
    stream.respond({ ":status": 200, "from-server": "yes" });
    stream.end(name);
  });
  const port = await new Promise<number>((done) => {
    http.listen(0, "127.0.0.1", () => done((http.address() as AddressInfo).port));
  });
  onTestFinished(() => void http.close());
  return { port, seen };
}

/** The same for services that Envoy itself calls. */
async function grpc(...[answer]: Parameters<typeof startGrpc>): Promise<number> {
  const { port, stop } = await startGrpc(answer);
  onTestFinished(stop);
  return port;
}

/** A port where nobody listens. */
async function nobody(): Promise<number> {
  const tcp = createTcpServer().listen(0, "127.0.0.1");
  await new Promise((done) => tcp.once("listening", done));
  const { port } = tcp.address() as AddressInfo;
  await new Promise((done) => tcp.close(done));
  return port;
}

interface Rules {
  subsets?: Record<string, number[]>;
  endpoints?: number[];
  [key: string]: unknown;
}

/** Starts Envoy for these rules and answers how to ask it. */
async function started({ subsets, endpoints, ...rules }: Rules): Promise<{ ask: Ask; proxy: EnvoyProcess }> {
  const local = (ports: number[]) => ports.map((port) => `127.0.0.1:${port}`);
  const service = {
    name: "greeter",
    bind: 0,
    ...(endpoints && { endpoints: local(endpoints) }),
    ...(subsets && {
      subsets: Object.entries(subsets).map(([name, ports]) => ({ name, endpoints: local(ports) })),
    }),
  };
  const model = parse(JSON.stringify({ protocol: "dubbo", mode: "bridge", admin: 0, service, ...rules }), protocols);
  const proxy = await EnvoyProcess.start({
    envoy: envoy as NonNullable<typeof envoy>,
    bootstrap: plain(bootstrap(model, { module: "" })),
    folders: [folder],
    concurrency: 1,
  });
  onTestFinished(() => proxy.stop().then(() => {}));
  const { port } = await proxy.listener();
  const session = client(port);
  return { ask: (path, headers) => request(session, path, headers), proxy };
}

/** A connection that ends with the test; what breaks it is seen by its requests. */
function client(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`).on("error", () => {});
  onTestFinished(() => session.destroy());
  return session;
}

function request(session: ClientHttp2Session, path: string, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
  return new Promise((done, failed) => {
    const stream = session.request({ ":method": "POST", ":path": path, ...headers });
    let body = "";
    let got: IncomingHttpHeaders = {};
    stream
      .setEncoding("utf8")
      .on("response", (it) => {
        got = it;
      })
      .on("data", (chunk: string) => {
        body += chunk;
      })
      .on("end", () => done({ status: Number(got[":status"]), headers: got, body }))
      .on("error", failed)
      .end("frame");
  });
}

/** Status codes or bodies and how often they came. */
function tally(replies: Reply[], by: (reply: Reply) => string | number = ({ body }) => body) {
  const counts: Record<string, number> = {};
  for (const reply of replies) counts[by(reply)] = (counts[by(reply)] ?? 0) + 1;
  return counts;
}

/** A meltemi.yaml that uses all that there is. */
const everything: Rules = {
  subsets: { v1: [1, 2], v2: [2, 3] },
  routes: [
    {
      name: "all",
      match: { method: "get", user: { not: { range: { max: 3 } } } },
      route: [
        { subset: "v1", weight: 0 },
        { subset: "v2", weight: 7 },
      ],
      timeout: "1h",
      retries: { attempts: 100, perTryTimeout: "1ms", retryOn: "5xx,reset-before-request,retriable-4xx,429,503" },
      fault: { abort: { httpStatus: 599, percentage: 0.0001 }, delay: { fixedDelay: "1ms", percentage: 100 } },
      mirror: { subset: "v1", percentage: 0 },
      headers: {
        request: { set: { a: "" }, remove: ["b"] },
        response: { set: { c: "%RESPONSE_CODE%" }, remove: ["d"] },
      },
      rateLimit: { requests: 1, per: "50ms", burst: 1_000_000_000 },
    },
    { subset: "v1" },
  ],
  trafficPolicy: {
    loadBalancer: { simple: "LEAST_REQUEST" },
    outlierDetection: { consecutive5xxErrors: 1, interval: "1ms", baseEjectionTime: "1ms", maxEjectionPercent: 0 },
    retryBudget: { percent: 100, minRetryConcurrency: 0 },
  },
  authorization: [{ name: "n", action: "DENY", match: { service: { regex: "a|b" } } }, { action: "ALLOW" }],
  rateLimitService: { address: "localhost:1", descriptors: [["service", "method", "Host"], ["user"]], failOpen: false },
  tracing: { openTelemetry: "127.0.0.1:1", sampling: 0.5 },
  accessLog: { path: "/dev/stdout", format: "%RESPONSE_CODE% %DYNAMIC_METADATA(meltemi:method)%" },
};

const many = (n: number, ask: () => Promise<Reply>) => Promise.all(Array.from({ length: n }, ask));

describe.skipIf(!envoy)("Envoy", { timeout: 60_000 }, () => {
  /** A key, its matcher, what matches and what does not; `undefined` is a request without the key. */
  const matchers: [string, Matcher | string, (string | undefined)[], (string | undefined)[]][] = [
    ["user", "ann", ["ann"], ["Ann", "anna", "", undefined]],
    ["user", { exact: "" }, [""], ["a", undefined]],
    ["user", { prefix: "a" }, ["a", "ann"], ["bann", "", undefined]],
    ["user", { prefix: "" }, ["a", ""], [undefined]],
    ["user", { suffix: ".x" }, [".x", "a.x"], ["ax", "a.xy", undefined]],
    ["user", { regex: "a.|b" }, ["ab", "b"], ["a", "abc", "cb", undefined]],
    ["user", { regex: "^(ann|bob)$" }, ["ann", "bob"], ["anna", undefined]],
    ["user", { regex: "a*" }, ["", "aa"], ["b", undefined]],
    ["user", { oneOf: ["a.b", "c|d", "("] }, ["a.b", "c|d", "("], ["axb", "c", undefined]],
    ["user", { oneOf: ["", "x"] }, ["", "x"], ["y", undefined]],
    ["user", { range: { min: -3, max: 9 } }, ["-3", "0", "9"], ["-4", "10", "x", "", undefined]],
    ["user", { range: { max: 2 } }, ["-9007199254740993", "2"], ["3", undefined]],
    ["user", { range: { min: 2 } }, ["2", "9007199254740993"], ["1", undefined]],
    ["user", { present: true }, ["", "a"], [undefined]],
    ["user", { present: false }, [undefined], ["", "a"]],
    ["user", { not: { present: false } }, ["", "a"], [undefined]],
    ["user", { not: { exact: "a" } }, ["b", "", undefined], ["a"]],
    ["user", { not: { prefix: "a" } }, ["b", undefined], ["a", "ab"]],
    ["user", { not: { prefix: "" } }, [undefined], ["a", ""]],
    ["user", { not: { oneOf: ["a", "b"] } }, ["c", undefined], ["a", "b"]],
    ["user", { not: { regex: "a+" } }, ["b", "", undefined], ["aa"]],
    ["user", { not: { range: { min: 1 } } }, ["0", "x", undefined], ["1"]],
    ["user", { not: { not: { exact: "a" } } }, ["a"], ["b", undefined]],
    ["User-Id", "7", ["7"], ["8", undefined]],
    ["host", "h", ["h"], ["g", undefined]],
    ["service", "a.B", ["/a.B/x"], ["/a.B2/x", "/a/a.B", "/xa.B/a.B", "/aXB/x"]],
    ["service", { prefix: "a." }, ["/a.B/x", "/a./x"], ["/b/a.B", "/aXB/x"]],
    ["service", { suffix: ".B" }, ["/a.B/x", "/.B/x"], ["/aXB/x", "/a.B2/x", "/a/x.B"]],
    ["service", { regex: "^a|b$" }, ["/a/x", "/b/x"], ["/ab/x", "/x/a", "/x/b"]],
    ["service", { regex: ".*" }, ["/a/x"], []],
    ["service", { oneOf: ["a.B", "c"] }, ["/a.B/x", "/c/x"], ["/aXB/x", "/x/c"]],
    ["service", { present: true }, ["/a/x"], []],
    ["service", { not: { exact: "a" } }, ["/b/x", "/b/a"], ["/a/x"]],
    ["method", "get", ["/a/get"], ["/get/a", "/a/forget", "/a/gets"]],
    ["method", { prefix: "ge" }, ["/a/get", "/a/ge"], ["/get/a", "/a/xget"]],
    ["method", { suffix: "et" }, ["/a/get", "/a/et"], ["/get/a", "/a/gets"]],
    ["method", { regex: "get|set" }, ["/a/get", "/a/set"], ["/get/a", "/a/gets", "/a/xget"]],
    ["method", { regex: "a\\$$" }, ["/x/a$"], ["/x/a"]],
    ["method", { oneOf: ["a+b", "é/%"] }, ["/x/a+b", "/x/%C3%A9%2F%25"], ["/x/aab"]],
    ["method", { exact: "a b" }, ["/x/a%20b"], ["/x/a", "/x/b"]],
    ["method", { not: { prefix: "get" } }, ["/get/a"], ["/a/get", "/a/gets"]],
  ];

  it.each([
    ["both legs", everything],
    ["the client's leg", { ...everything, leg: "client" }],
    ["the server's leg", { leg: "server", endpoints: [1] }],
    ["the least limits", { endpoints: [1], limits: { frame: 64, head: 64 } }],
    ["the greatest limits", { endpoints: [1], limits: { frame: 2 ** 32 - 1, head: "1MiB" } }],
  ])("takes %s", async (_, rules) => {
    // With servers that are not there nothing comes back but an error: that Envoy is live says that it took all.
    const { proxy } = await started(rules as Rules);
    expect(await proxy.get("/ready")).toBe("LIVE\n");
  });

  it("matches as the module does", async () => {
    const [yes, no] = [await server("yes"), await server("no")];
    const routes = matchers.map(([key, matcher], i) => ({
      match: { case: String(i), [key]: matcher },
      subset: "yes",
    }));
    const { ask } = await started({
      leg: "client",
      subsets: { yes: [yes.port], no: [no.port] },
      routes: [...routes, { subset: "no" }],
    });
    const names: Record<string, string> = { host: "meltemi-host", "User-Id": "user-id" };
    const wrong: unknown[] = [];
    for (const [i, [key, matcher, matching, others]] of matchers.entries()) {
      for (const [values, expected] of [[matching, "yes"] as const, [others, "no"] as const]) {
        for (const value of values) {
          const inPath = key === "service" || key === "method";
          const path = inPath ? (value ?? "") : "/a/b";
          const headers = { case: String(i), ...(!inPath && value !== undefined && { [names[key] ?? key]: value }) };
          const { body } = await ask(path, headers);
          if (body !== expected) wrong.push([key, matcher, value, body]);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it("splits by weight, and answers 404 where no route matches", async () => {
    const [v1, v2] = [await server("v1"), await server("v2")];
    const { ask } = await started({
      subsets: { v1: [v1.port], v2: [v2.port] },
      routes: [
        {
          match: { method: "get" },
          route: [
            { subset: "v1", weight: 3 },
            { subset: "v2", weight: 1 },
          ],
        },
      ],
    });
    const counts = tally(await many(400, () => ask("/a/get")));
    expect(counts.v1).toBeGreaterThan(240);
    expect(counts.v2).toBeGreaterThan(60);
    expect((counts.v1 ?? 0) + (counts.v2 ?? 0)).toBe(400);
    expect(await ask("/a/set")).toMatchObject({ status: 404 });
  });

  it("retries on another server, and only where it was asked to", async () => {
    const alive = await server("alive");
    const dead = await nobody();
    let failures = 0;
    const failing = await server("failing", (stream) => {
      failures++;
      stream.respond({ ":status": failures % 3 === 0 ? 200 : 503 });
      stream.end("failing");
    });
    const { ask } = await started({
      subsets: { half: [dead, alive.port], failing: [failing.port] },
      routes: [
        { match: { method: "safe" }, subset: "half", retries: { attempts: 3 } },
        { match: { method: "once" }, subset: "half" },
        { match: { method: "coded" }, subset: "failing", retries: { attempts: 2, retryOn: "503" } },
        { subset: "failing", retries: { attempts: 2 } },
      ],
    });
    expect(tally(await many(50, () => ask("/a/safe")))).toEqual({ alive: 50 });
    const once = tally(await many(50, () => ask("/a/once")), ({ status }) => status);
    expect(once).toEqual({ 200: 25, 503: 25 });
    expect((await ask("/a/coded")).status).toBe(200);
    expect(failures).toBe(3);
    expect((await ask("/a/other")).status).toBe(503);
    expect(failures).toBe(4);
  });

  it("has more retries under way than Envoy's default would, unless there is a budget", async () => {
    const failing = await server("failing", (stream) => {
      stream.respond({ ":status": 503 });
      stream.end();
    });
    const rules = { endpoints: [failing.port], routes: [{ retries: { attempts: 1, retryOn: "5xx" } }] };
    const retries = async (proxy: EnvoyProcess) => {
      const stats = await proxy.stats();
      return [stats["cluster.greeter.upstream_rq_retry"], stats["cluster.greeter.upstream_rq_retry_overflow"]];
    };
    const free = await started(rules);
    await many(40, () => free.ask("/a/b"));
    expect(await retries(free.proxy)).toEqual([40, 0]);
    const bound = await started({
      ...rules,
      trafficPolicy: { retryBudget: { percent: 0, minRetryConcurrency: 1 } },
    });
    await many(40, () => bound.ask("/a/b"));
    expect((await retries(bound.proxy))[1]).toBeGreaterThan(20);
  });

  it("ends requests in time: by the route, by the attempt, by the frame's deadline, and not unless asked to", async () => {
    let held = 0;
    const slow = await server("slow", (stream, { wait }) => {
      held++;
      const timer = setTimeout(() => {
        stream.respond({ ":status": 200 });
        stream.end("slow");
      }, Number(wait));
      stream.on("error", () => clearTimeout(timer));
    });
    const { ask } = await started({
      endpoints: [slow.port],
      routes: [
        { match: { method: "timed" }, timeout: "150ms" },
        {
          match: { method: "whole" },
          timeout: "250ms",
          retries: { attempts: 9, perTryTimeout: "100ms", retryOn: "5xx" },
        },
        { match: { method: "tried" }, retries: { attempts: 2, perTryTimeout: "100ms", retryOn: "gateway-error" } },
        {},
      ],
    });
    const took = async (reply: Promise<Reply>) => {
      const before = performance.now();
      const { status } = await reply;
      return [status, performance.now() - before < 3000];
    };
    const hour = { wait: String(3_600_000) };
    expect(
      await Promise.all([
        took(ask("/a/timed", hour)),
        took(ask("/a/timed", { wait: "1" })),
        took(ask("/a/timed", { ...hour, "grpc-timeout": "50m" })),
        took(ask("/a/timed", { ...hour, "grpc-timeout": "1H" })),
        took(ask("/a/whole", hour)),
        took(ask("/a/whole", { ...hour, "grpc-timeout": "1H" })),
        took(ask("/a/free", { ...hour, "grpc-timeout": "150m" })),
        took(ask("/a/free", { wait: "500" })),
      ]),
    ).toEqual([504, 200, 504, 504, 504, 504, 504, 200].map((status) => [status, true]));
    held = 0;
    expect((await ask("/a/tried", hour)).status).toBe(504);
    expect(held).toBe(3);
  });

  it("injects faults", async () => {
    const v1 = await server("v1");
    const { ask } = await started({
      endpoints: [v1.port],
      routes: [
        { match: { method: "abort" }, fault: { abort: { httpStatus: 503 } } },
        { match: { method: "half" }, fault: { abort: { httpStatus: 429, percentage: 50 } } },
        { match: { method: "delay" }, fault: { delay: { fixedDelay: "300ms" } } },
        {},
      ],
    });
    expect((await ask("/a/abort")).status).toBe(503);
    const half = tally(await many(200, () => ask("/a/half")), ({ status }) => status);
    expect(half[429]).toBeGreaterThan(60);
    expect(half[200]).toBeGreaterThan(60);
    const before = performance.now();
    expect((await ask("/a/delay")).status).toBe(200);
    expect(performance.now() - before).toBeGreaterThan(290);
    expect((await ask("/a/other")).status).toBe(200);
  });

  it("mirrors", async () => {
    const [v1, v2] = [await server("v1"), await server("v2")];
    const { ask } = await started({
      subsets: { v1: [v1.port], v2: [v2.port] },
      routes: [{ match: { method: "copied" }, subset: "v1", mirror: { subset: "v2" } }, { subset: "v1" }],
    });
    expect(tally([await ask("/a/copied"), await ask("/a/other")])).toEqual({ v1: 2 });
    await expect.poll(() => v2.seen.map((headers) => headers[":path"])).toEqual(["/a/copied"]);
    expect(v1.seen).toHaveLength(2);
  });

  it("changes metadata on their way, and adds none of its own that a frame would carry", async () => {
    const v1 = await server("v1");
    const { ask } = await started({
      endpoints: [v1.port],
      routes: [
        {
          match: { method: "change" },
          headers: {
            request: {
              set: { User: "ann", tier: "50%%", from: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" },
              remove: ["Secret"],
            },
            response: { set: { seen: "1" }, remove: ["from-server"] },
          },
        },
        {},
      ],
    });
    const changed = await ask("/a/change", { user: "bob", secret: "s", kept: "k" });
    expect(changed.headers).toMatchObject({ seen: "1" });
    expect(changed.headers).not.toHaveProperty("from-server");
    expect(v1.seen[0]).toMatchObject({ user: "ann", tier: "50%", from: "127.0.0.1", kept: "k" });
    expect(v1.seen[0]).not.toHaveProperty("secret");
    const same = await ask("/a/same", { user: "bob" });
    const names = (headers: IncomingHttpHeaders) => Object.keys(headers).sort();
    expect(names(same.headers)).toEqual([":status", "date", "from-server"]);
    expect(names(v1.seen[1] ?? {})).toEqual([":authority", ":method", ":path", ":scheme", "user", "x-forwarded-proto"]);
  });

  it("limits a rate over all connections", async () => {
    const v1 = await server("v1");
    const { ask, proxy } = await started({
      endpoints: [v1.port],
      routes: [{ match: { method: "limited" }, rateLimit: { requests: 5, per: "1h" } }, {}],
    });
    const { port } = await proxy.listener();
    const other = client(port);
    const replies = [
      ...(await many(6, () => ask("/a/limited"))),
      ...(await many(6, () => request(other, "/a/limited"))),
    ];
    expect(tally(replies, ({ status }) => status)).toEqual({ 200: 5, 429: 7 });
    expect((await ask("/a/other")).status).toBe(200);
  });

  it("denies before it allows, and what nobody allowed", async () => {
    const v1 = await server("v1");
    const rules = [
      { name: "readers", action: "ALLOW", match: { method: { prefix: "get" } } },
      { action: "ALLOW", match: { user: "admin" } },
      { name: "guests", action: "DENY", match: { user: { not: { present: true } }, service: "bank" } },
    ];
    const { ask } = await started({ endpoints: [v1.port], authorization: rules });
    const cases: [string, OutgoingHttpHeaders, number][] = [
      ["/a/get", {}, 200],
      ["/a/set", {}, 403],
      ["/a/set", { user: "admin" }, 200],
      ["/bank/get", {}, 403],
      ["/bank/get", { user: "x" }, 200],
    ];
    for (const [path, headers, status] of cases)
      expect([path, (await ask(path, headers)).status]).toEqual([path, status]);
    const onlyDeny = await started({ endpoints: [v1.port], authorization: rules.slice(2) });
    expect((await onlyDeny.ask("/a/set")).status).toBe(200);
    expect((await onlyDeny.ask("/bank/set")).status).toBe(403);
  });

  it("keeps requests that are alike on one server, and spreads the others", async () => {
    const servers = [await server("a"), await server("b"), await server("c")];
    const endpoints = servers.map(({ port }) => port);
    const byUser = await started({ endpoints, trafficPolicy: { loadBalancer: { consistentHash: { key: "User" } } } });
    const of = async (user: string) => tally(await many(10, () => byUser.ask("/a/b", { user })));
    const used = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const names = Object.keys(await of(`u${i}`));
      expect(names).toHaveLength(1);
      used.add(names[0] ?? "");
    }
    expect([...used].sort()).toEqual(["a", "b", "c"]);
    expect(Object.keys(tally(await many(60, () => byUser.ask("/a/b"))))).toHaveLength(3);

    const byMethod = await started({
      endpoints,
      trafficPolicy: { loadBalancer: { consistentHash: { key: "method" } } },
    });
    const methods = new Map<string, Set<string>>();
    for (let i = 0; i < 60; i++) {
      const names = methods.get(`m${i % 10}`) ?? new Set();
      methods.set(`m${i % 10}`, names.add((await byMethod.ask(`/s${i}/m${i % 10}`)).body));
    }
    expect([...methods.values()].map(({ size }) => size)).toEqual(Array(10).fill(1));
    expect(new Set([...methods.values()].flatMap((names) => [...names])).size).toBe(3);
  });

  it.each([
    ["answers for a dead service", "502"],
    ["is too slow", "hold"],
    ["closes the connection", "close"],
  ])("takes a server out that %s, and not one whose service throws", async (_, failure) => {
    const bad = await server("", (stream) => {
      stream.on("error", () => {});
      if (failure === "close") stream.session?.destroy();
      if (failure === "502") stream.respond({ ":status": 502 }, { endStream: true });
    });
    const throwing = await server("", (stream) => stream.respond({ ":status": 500 }, { endStream: true }));
    const good = await server("good");
    const { ask, proxy } = await started({
      endpoints: [bad.port, throwing.port, good.port],
      routes: [{ timeout: "200ms" }],
      trafficPolicy: { outlierDetection: { consecutiveGatewayErrors: 2, interval: "1h", maxEjectionPercent: 100 } },
    });
    for (let i = 0; i < 12; i++) await ask("/a/b");
    expect(tally(await many(20, () => ask("/a/b")), ({ status }) => status)).toEqual({ 200: 10, 500: 10 });
    expect((await proxy.stats())["cluster.greeter.outlier_detection.ejections_active"]).toBe(1);
  });

  it("asks a rate limit service", async () => {
    const v1 = await server("v1");
    const asked: string[] = [];
    const paths: string[] = [];
    const limits = await grpc((request, path) => {
      asked.push(request.toString("latin1"));
      paths.push(path);
      return request.includes("bob") ? OVER_LIMIT : WITHIN_LIMIT;
    });
    const { ask } = await started({
      endpoints: [v1.port],
      rateLimitService: {
        address: `127.0.0.1:${limits}`,
        domain: "shop",
        descriptors: [["service", "method"], ["User"]],
        timeout: "10s",
      },
    });
    expect((await ask("/a.B/get", { user: "bob" })).status).toBe(429);
    expect((await ask("/a.B/get", { user: "ann" })).status).toBe(200);
    expect((await ask("/a.B/get")).status).toBe(200);
    const words = (text = "") => text.match(/[A-Za-z.]{3,}/g);
    expect(paths[0]).toBe("/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit");
    expect(words(asked[0])).toEqual(["shop", "service", "a.B", "method", "get", "User", "bob"]);
    expect(words(asked[2])).toEqual(["shop", "service", "a.B", "method", "get"]);
  });

  it.each([
    [true, 200],
    [false, 500],
  ])("goes on without a rate limit service only where it may: failOpen %s", async (failOpen, status) => {
    const v1 = await server("v1");
    const { ask } = await started({
      endpoints: [v1.port],
      rateLimitService: { address: `127.0.0.1:${await nobody()}`, descriptors: [["user"]], timeout: "1s", failOpen },
    });
    expect((await ask("/a/b", { user: "ann" })).status).toBe(status);
  });

  it("traces, and continues the trace of a frame", async () => {
    const v1 = await server("v1");
    let spans = Buffer.alloc(0);
    const collector = await grpc((request) => {
      spans = Buffer.concat([spans, request]);
      return Buffer.alloc(0);
    });
    const { ask } = await started({ endpoints: [v1.port], tracing: { openTelemetry: `127.0.0.1:${collector}` } });
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    await ask("/a.B/get", { traceparent: `00-${trace}-00f067aa0ba902b7-01` });
    await ask("/a.B/set");
    expect(v1.seen[0]?.traceparent).toMatch(new RegExp(`^00-${trace}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`));
    expect(v1.seen[1]?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    await expect.poll(() => spans.includes("set"), { timeout: 20_000 }).toBe(true);
    expect(spans.includes(Buffer.from(trace, "hex"))).toBe(true);
    for (const word of ["rpc.service", "a.B", "rpc.method", "get"]) expect(spans.includes(word), word).toBe(true);
  });

  it("writes a line for each request", async () => {
    const v1 = await server("v1");
    const path = join(folder, "access.log");
    const { ask } = await started({
      endpoints: [v1.port],
      routes: [{ name: "aborted", match: { method: "abort" }, fault: { abort: { httpStatus: 503 } } }, { name: "all" }],
      accessLog: { path },
    });
    await ask("/a.B/%C3%A9");
    await ask("/a.B/abort");
    const lines = () =>
      readFileSync(path, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));
    await expect.poll(lines).toHaveLength(2);
    const [first, second] = lines();
    expect(first).toMatchObject({ service: "a.B", method: "%C3%A9", route: "all", cluster: "greeter", code: 200 });
    expect(first).toMatchObject({ server: `127.0.0.1:${v1.port}`, attempts: 1, status: null, received_bytes: 5 });
    expect(second).toMatchObject({ method: "abort", route: "aborted", code: 503, details: "fault_filter_abort" });
  });
});
