import { PbfReader } from "pbf";
import { describe, expect, it, onTestFinished } from "vitest";
import { OVER_LIMIT, startGrpc, WITHIN_LIMIT } from "../../../tools/envoy/grpc.fixture.js";
import { connect, type DubboClient } from "../../peers/dubbo/client.js";
import { encodeException, encodeFailure, encodeReply, Status } from "../../peers/dubbo/codec.js";
import { blob, greeter } from "../../peers/dubbo/server.js";
import { startScripted } from "../bridge/peers.js";
import { eventually, startProxy } from "../harness.js";
import { many, nobody, outcome, startInstance, tally, took } from "./support.js";

/* Requests that may not pass, and how their clients hear of it. */

const LIMITED = "StatusError 100: HTTP 429: local_rate_limited";
const DENIED = "StatusError 80: HTTP 403: RBAC: access denied";

/** Any of several clients. */
const anyOf = (clients: DubboClient[], i: number) => clients[i % clients.length] as DubboClient;

describe("a rate limit", () => {
  it("counts over all connections and workers, and is refilled", async () => {
    const v1 = await startInstance("v1");
    const proxy = await startProxy(
      {
        mode: "bridge",
        endpoints: [v1.port],
        routes: [
          { match: { method: "rare" }, rateLimit: { requests: 30, per: "1h" } },
          { match: { method: "burst" }, rateLimit: { requests: 1, per: "1h", burst: 50 } },
          { match: { method: "refilled" }, rateLimit: { requests: 10, per: "500ms" } },
          {},
        ],
      },
      { concurrency: 2 },
    );
    const clients = await Promise.all(Array.from({ length: 8 }, () => connect({ port: proxy.port })));
    const ask = async (n: number, method: string) =>
      tally(await many(n, (i) => anyOf(clients, i).call(greeter, method)));
    expect(await Promise.all([ask(200, "rare"), ask(200, "burst"), ask(200, "free")])).toEqual([
      { v1: 30, [LIMITED]: 170 },
      { v1: 50, [LIMITED]: 150 },
      { v1: 200 },
    ]);
    expect(tally(v1.requests.map(({ method }) => method))).toEqual({ rare: 30, burst: 50, free: 200 });
    await ask(20, "refilled");
    expect(await ask(20, "refilled")).toHaveProperty([LIMITED]);
    await eventually(async () => expect(await ask(1, "refilled")).toEqual({ v1: 1 }));
    await Promise.all(clients.map((client) => client.close()));
    await eventually(async () => {
      const counted = (labels: Record<string, string>) => proxy.metric("meltemi_requests_total", labels);
      expect(await counted({ direction: "outbound", method: "rare", status: "rate_limited" })).toBe(170);
      expect(await counted({ direction: "outbound", method: "rare", status: "ok" })).toBe(30);
      expect(await counted({ direction: "inbound", method: "rare" })).toBe(30);
    });
    await proxy.assertSound();
  });
});

describe("authorization", () => {
  it("denies before it allows, and what nobody allowed, by service, method and metadata", async () => {
    const v1 = await startInstance("v1");
    const proxy = await startProxy({
      mode: "bridge",
      endpoints: [v1.port],
      authorization: [
        { name: "readers", action: "ALLOW", match: { method: { prefix: "get" } } },
        { name: "admins", action: "ALLOW", match: { user: { oneOf: ["root", "admin"] } } },
        { name: "guests", action: "DENY", match: { service: "bank.Accounts", user: { present: false } } },
      ],
    });
    const client = await connect({ port: proxy.port });
    const cases: [string, string, string | undefined, string][] = [
      ["shop.Carts", "get", undefined, "v1"],
      ["shop.Carts", "getAll", "ann", "v1"],
      ["shop.Carts", "set", undefined, DENIED],
      ["shop.Carts", "set", "ann", DENIED],
      ["shop.Carts", "set", "admin", "v1"],
      ["bank.Accounts", "get", undefined, DENIED],
      ["bank.Accounts", "get", "ann", "v1"],
      ["bank.Accounts", "set", "root", "v1"],
      ["bank.Accounts2", "get", undefined, "v1"],
    ];
    const answers = await many(9 * cases.length, (i) => {
      const [service, method, user] = cases[i % cases.length] as (typeof cases)[0];
      return client.call(service, method, [], { attachments: user === undefined ? {} : { user } });
    });
    expect(answers).toEqual(answers.map((_, i) => cases[i % cases.length]?.[3]));
    const passed = cases.filter(([, , , answer]) => answer === "v1").length;
    expect(v1.requests).toHaveLength(9 * passed);
    await client.close();
    await eventually(async () => {
      const counted = (labels: Record<string, string>) => proxy.metric("meltemi_requests_total", labels);
      expect(await counted({ direction: "outbound", status: "denied" })).toBe(9 * (cases.length - passed));
      expect(await counted({ direction: "outbound", status: "ok" })).toBe(9 * passed);
      expect(await counted({ direction: "inbound" })).toBe(9 * passed);
    });
    await proxy.assertSound();
  });
});

/** What a rate limit service is asked: its domain, and the pairs of each descriptor. */
interface Question {
  domain: string;
  descriptors: [string, string][][];
}

function questionOf(request: Buffer): Question {
  const question: Question = { domain: "", descriptors: [] };
  new PbfReader(request).readFields((tag, { descriptors }, message) => {
    if (tag === 1) question.domain = message.readString();
    if (tag === 2) descriptors.push(message.readMessage(readDescriptor, []));
  }, question);
  return question;
}

function readDescriptor(tag: number, pairs: [string, string][], message: PbfReader): void {
  if (tag === 1) pairs.push(message.readMessage(readPair, ["", ""]));
}

function readPair(tag: number, pair: [string, string], message: PbfReader): void {
  pair[tag - 1] = message.readString();
}

describe("a rate limit service", () => {
  it("is asked by service, method and metadata, and its answer counts", async () => {
    const v1 = await startInstance("v1");
    const asked: Question[] = [];
    const left = new Map([
      ["ann", 20],
      ["bob", 5],
    ]);
    const limits = await startGrpc((request) => {
      const question = questionOf(request);
      asked.push(question);
      const user = question.descriptors.flat().find(([key]) => key === "User")?.[1];
      if (user === undefined) return WITHIN_LIMIT;
      const rest = left.get(user) ?? 0;
      left.set(user, rest - 1);
      return rest > 0 ? WITHIN_LIMIT : OVER_LIMIT;
    });
    onTestFinished(limits.stop);
    const proxy = await startProxy({
      mode: "bridge",
      endpoints: [v1.port],
      rateLimitService: {
        address: `127.0.0.1:${limits.port}`,
        domain: "shop",
        descriptors: [["service", "method"], ["User"]],
        timeout: "10s",
        failOpen: false,
      },
    });
    const client = await connect({ port: proxy.port });
    const ask = (n: number, user?: string) =>
      many(n, () => client.call("a.B", "gét", [], { attachments: user === undefined ? {} : { User: user } }));
    const [ann, bob, none] = await Promise.all([ask(30, "ann"), ask(30, "bob"), ask(30)]);
    const over = "StatusError 100: HTTP 429: rate limited";
    expect(tally(ann)).toEqual({ v1: 20, [over]: 10 });
    expect(tally(bob)).toEqual({ v1: 5, [over]: 25 });
    expect(tally(none)).toEqual({ v1: 30 });
    expect(v1.requests).toHaveLength(55);
    const byName: [string, string][] = [
      ["service", "a.B"],
      ["method", "g%C3%A9t"],
    ];
    const questions = (user?: string) =>
      JSON.stringify({ domain: "shop", descriptors: [byName, ...(user ? [[["User", user]]] : [])] });
    expect(tally(asked.map((question) => JSON.stringify(question)))).toEqual({
      [questions("ann")]: 30,
      [questions("bob")]: 30,
      [questions()]: 30,
    });
    await client.close();
    await proxy.assertSound();
  });

  it.each([
    [true, "v1"],
    [false, "StatusError 80: HTTP 500: internal"],
  ])("that is gone lets requests pass only where it may: failOpen %s", async (failOpen, answer) => {
    const v1 = await startInstance("v1");
    const proxy = await startProxy({
      mode: "bridge",
      endpoints: [v1.port],
      rateLimitService: { address: `127.0.0.1:${await nobody()}`, descriptors: [["method"]], timeout: "5s", failOpen },
    });
    const client = await connect({ port: proxy.port });
    expect(tally(await many(20, () => client.call(greeter, "hi")))).toEqual({ [answer]: 20 });
    expect(v1.requests).toHaveLength(failOpen ? 20 : 0);
    await client.close();
    await proxy.assertSound();
  });
});

describe("an answer that is Envoy's", () => {
  it("is an error of the client's own protocol, at once, on a connection that goes on; and is counted", async () => {
    const good = await startInstance("good", ({ id, method }) =>
      method === "late" ? undefined : encodeReply(id, "good"),
    );
    const breaking = await startScripted((request, socket) => {
      const reply = encodeReply(request.id, "broken");
      // Half of it, nothing of it, or what is no frame.
      const part = {
        half: reply.subarray(0, reply.length - 2),
        nothing: "",
        garbage: "HTTP/1.1 400 Bad Request\r\n\r\n",
      };
      socket.end(part[request.method as keyof typeof part]);
    });
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { good: good.port, gone: await nobody(), breaking: breaking.port },
      routes: [
        { match: { method: "late" }, subset: "good", timeout: "200ms" },
        { match: { method: "limited" }, subset: "good", rateLimit: { requests: 1, per: "1h" } },
        { match: { method: "gone" }, subset: "gone" },
        { match: { method: { oneOf: ["half", "nothing", "garbage"] } }, subset: "breaking" },
        { match: { method: "teapot" }, subset: "good", fault: { abort: { httpStatus: 418 } } },
        { match: { method: "broken" }, subset: "good", fault: { abort: { httpStatus: 500 } } },
        { match: { method: { not: { exact: "lost" } } }, subset: "good" },
      ],
      authorization: [{ action: "DENY", match: { method: "denied" } }],
    });
    const client = await connect({ port: proxy.port });
    expect(await client.call(greeter, "limited")).toBe("good");
    const cut =
      /^StatusError 80: (HTTP 503: upstream connect error or disconnect|the request was reset|the upstream ended)/;
    const answers: [string, RegExp, string][] = [
      ["denied", /^StatusError 80: HTTP 403: RBAC: access denied$/, "denied"],
      ["lost", /^StatusError 60: HTTP 404: no route$/, "no_route"],
      ["limited", /^StatusError 100: HTTP 429: local_rate_limited$/, "rate_limited"],
      ["gone", /^StatusError 80: HTTP 503: upstream connect error or disconnect/, "unavailable"],
      ["late", /^StatusError 31: HTTP 504: upstream request timeout$/, "timeout"],
      ["half", cut, "unavailable"],
      ["nothing", cut, "unavailable"],
      ["garbage", cut, "unavailable"],
      ["teapot", /^StatusError 40: HTTP 418: fault filter abort$/, "bad_request"],
      ["broken", /^StatusError 80: HTTP 500: fault filter abort$/, "internal"],
    ];
    const n = 20;
    for (const [method, message] of answers) {
      const calls = many(2 * n, (i) => client.call(greeter, i % 2 ? "fine" : method));
      const after = await took(calls);
      for (const [i, answer] of (await calls).entries()) {
        if (i % 2) expect(answer, method).toBe("good");
        else expect(answer).toMatch(message);
      }
      expect(after, method).toBeLessThan(method === "late" ? 3_000 : 1_500);
      await client.heartbeat();
    }
    expect(client.unexpected).toBe(0);
    await client.close();

    await eventually(async () => {
      const rows = await proxy.requests();
      const counts = (direction: string) =>
        Object.fromEntries(
          rows.filter((row) => row.direction === direction).map((row) => [`${row.method} ${row.status}`, row.requests]),
        );
      expect(counts("outbound")).toEqual({
        "fine ok": n * answers.length,
        "limited ok": 1,
        ...Object.fromEntries(answers.map(([method, , status]) => [`${method} ${status}`, n])),
      });
      // What breaks off takes requests with it that had not been read.
      const {
        "half upstream_gone": half,
        "nothing upstream_gone": nothing,
        "garbage upstream_gone": garbage,
        ...rest
      } = counts("inbound");
      expect(Math.min(half ?? 0, nothing ?? 0, garbage ?? 0)).toBeGreaterThan(0);
      // Nothing is read for a server that cannot be reached.
      expect(rest).toEqual({ "fine ok": n * answers.length, "limited ok": 1, "late client_gone": n });
      const answered = rows.filter(({ direction, status }) => direction === "outbound" && status !== "ok");
      expect(answered.map(({ durations }) => durations)).toEqual(answered.map(() => n));
      expect(Math.min(...answered.map(({ responseBytes }) => responseBytes))).toBeGreaterThan(n * 20);
    });
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });

  it("comes for a request of any length, of which it need not have seen all", async () => {
    const v1 = await startInstance("v1");
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, gone: await nobody() },
      routes: [
        { match: { method: "aborted" }, subset: "v1", fault: { abort: { httpStatus: 503 } } },
        { match: { method: "gone" }, subset: "gone" },
        { match: { method: { not: { exact: "lost" } } }, subset: "v1" },
      ],
      authorization: [{ action: "DENY", match: { method: "denied" } }],
    });
    const client = await connect({ port: proxy.port });
    for (const bytes of [blob(700_000), blob(8_000_000)]) {
      const answers = await many(8, (i) => {
        const method = ["aborted", "gone", "lost", "denied"][i / 2] ?? "fine";
        return client.call(greeter, method, [bytes]);
      });
      expect(answers.filter((_, i) => i % 2)).toEqual(["v1", "v1", "v1", "v1"]);
      expect(answers.filter((_, i) => i % 2 === 0)).toEqual([
        "StatusError 80: HTTP 503: fault filter abort",
        expect.stringMatching(/^StatusError 80: HTTP 503: upstream connect error/),
        "StatusError 60: HTTP 404: no route",
        DENIED,
      ]);
    }
    for (let i = 0; i < 10; i++) await client.oneway(greeter, "denied", [blob(i * 50_000)]);
    expect(await client.call(greeter, "fine")).toBe("v1");
    expect(v1.requests).toHaveLength(9);
    expect(client.unexpected).toBe(0);
    await client.close();
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
    await proxy.assertSound();
  });

  it("is never put in place of what the service says", async () => {
    const says = {
      fine: (id: number | string) => encodeReply(id, "fine"),
      exception: (id: number | string) => encodeException(id, "no figs"),
      crash: (id: number | string) => encodeFailure(id, Status.serverError, "crashed"),
      busy: (id: number | string) => encodeFailure(id, 100, "all threads are busy"),
      late: (id: number | string) => encodeFailure(id, 31, "waited in vain"),
      missing: (id: number | string) => encodeFailure(id, Status.serviceNotFound, "no such service"),
      wrong: (id: number | string) => encodeFailure(id, Status.badRequest, "no such argument"),
      strange: (id: number | string) => encodeFailure(id, 123, "who knows"),
    };
    const server = await startInstance("v1", ({ id, method }) => says[method as keyof typeof says](id));
    const proxy = await startProxy({ mode: "bridge", endpoints: [server.port] });
    const client = await connect({ port: proxy.port });
    const names = Object.keys(says);
    expect(await Promise.all(names.map((name) => outcome(client.call(greeter, name))))).toEqual([
      "fine",
      "RemoteException: no figs",
      "StatusError 80: crashed",
      "StatusError 100: all threads are busy",
      "StatusError 31: waited in vain",
      "StatusError 60: no such service",
      "StatusError 40: no such argument",
      "StatusError 123: who knows",
    ]);
    await client.close();
    // For Envoy they are HTTP statuses, which is what retries and outlier detection look at.
    const expected = {
      fine: 200,
      exception: 500,
      crash: 500,
      busy: 429,
      late: 504,
      missing: 404,
      wrong: 400,
      strange: 500,
    };
    await eventually(() => {
      const codes = proxy.accessLog().map(({ method, code }) => [method, code]);
      expect(Object.fromEntries(codes)).toEqual(expected);
    });
    const status = Object.fromEntries(proxy.accessLog().map(({ method, status }) => [method, status]));
    expect(status).toEqual({
      ...{ fine: null, exception: "exception", crash: "server_error", busy: "threadpool_exhausted" },
      ...{ late: "server_timeout", missing: "service_not_found", wrong: "bad_request", strange: "123" },
    });
    await eventually(async () => {
      const rows = await proxy.requests();
      for (const direction of ["outbound", "inbound"]) {
        const own = rows.filter((row) => row.direction === direction);
        expect(Object.fromEntries(own.map(({ method, status }) => [method, status])), direction).toEqual({
          ...status,
          fine: "ok",
        });
        expect(own.map(({ requests }) => requests)).toEqual(own.map(() => 1));
      }
    });
    await proxy.assertSound();
  });
});
