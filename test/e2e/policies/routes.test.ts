import { describe, expect, it } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import {
  type Attachments,
  encodeException,
  encodeFailure,
  encodeReply,
  encodeRequest,
} from "../../peers/dubbo/codec.js";
import { greeter } from "../../peers/dubbo/server.js";
import { eventually, startProxy } from "../harness.js";
import { connectRaw } from "../raw.js";
import { type Instance, many, startInstance, tally } from "./support.js";

/* Which instance a request meets, and what it carries when it does. */

interface Call {
  service?: string;
  method?: string;
  attachments?: Attachments;
}

const user = (value: string): Call => ({ attachments: { user: value } });
const attached = (attachments: Attachments): Call => ({ attachments });
const method = (name: string): Call => ({ method: name });
const service = (name: string): Call => ({ service: name });
const none: Call = {};

/** What a rule asks for, calls that have it and calls that do not. */
const rules: [string, Record<string, unknown>, Call[], Call[]][] = [
  ["a service", { service: "a.B" }, [service("a.B")], [service("a.Bc"), service("xa.B"), service("aXB")]],
  ["a service's prefix", { service: { prefix: "a." } }, [service("a.B")], [service("ab"), service("xa.")]],
  ["a service's suffix", { service: { suffix: ".B" } }, [service("a.B"), service("b.B")], [service("a.Bx")]],
  ["a service's pattern", { service: { regex: "a|b\\.[CD]" } }, [service("a"), service("b.D")], [service("b.E")]],
  ["one of two services", { service: { oneOf: ["a", "b"] } }, [service("b")], [service("ab")]],
  ["no such service", { service: { not: { prefix: "a" } } }, [service("b")], [service("a"), service("ab")]],
  ["a service with a slash", { service: "a/b c" }, [service("a/b c")], [service("a"), service("a/b")]],
  ["a method", { method: "get" }, [method("get")], [method("Get"), method("gets"), method("forget")]],
  ["a method's prefix", { method: { prefix: "get" } }, [method("get"), method("getAll")], [method("forget")]],
  ["a method's suffix", { method: { suffix: "All" } }, [method("getAll")], [method("getAllOf")]],
  [
    "a method's pattern",
    { method: { regex: "(get|set)\\w+" } },
    [method("getAll")],
    [method("get"), method("xgetAll")],
  ],
  ["one of two methods", { method: { oneOf: ["get", "set"] } }, [method("set")], [method("getset")]],
  ["a method in other letters", { method: "σύκο/%$" }, [method("σύκο/%$")], [method("σύκο"), method("σύκο/%25$")]],
  ["no such method", { method: { not: { oneOf: ["get", "set"] } } }, [method("gets")], [method("get")]],
  ["an attachment", { user: "ann" }, [user("ann")], [user("Ann"), user("anna"), user(""), none]],
  ["an attachment in other letters", { user: "γκρι" }, [user("γκρι")], [user("γκρίζο")]],
  ["a key in capitals", { "User-Id": "7" }, [attached({ "User-Id": "7" })], [attached({ "User-Id": "8" }), none]],
  ["a key that HTTP uses", { host: "h" }, [attached({ host: "h" })], [attached({ host: "g" }), none]],
  ["a key with a dot", { "dubbo.tag": "gray" }, [attached({ "dubbo.tag": "gray" })], [attached({ tag: "gray" })]],
  ["the interface", { interface: "a.B" }, [service("a.B")], [service("a.C")]],
  ["a prefix", { user: { prefix: "a" } }, [user("a"), user("ann")], [user("bann"), user(""), none]],
  ["a suffix", { user: { suffix: ".x" } }, [user("a.x")], [user("ax"), user("a.xy"), none]],
  ["a pattern", { user: { regex: "gr[ae]y-\\d+" } }, [user("gray-1")], [user("gray-"), user("xgray-1"), none]],
  ["one of some", { user: { oneOf: ["a.b", "("] } }, [user("a.b"), user("(")], [user("axb"), none]],
  ["a range", { user: { range: { min: -5, max: 20 } } }, [user("-5"), user("20")], [user("21"), user("x"), none]],
  ["a lower bound", { user: { range: { min: 7 } } }, [user("7"), user("900000")], [user("6"), none]],
  ["presence", { user: { present: true } }, [user("ann"), user("")], [none]],
  ["absence", { user: { present: false } }, [none], [user("ann"), user("")]],
  ["the contrary", { user: { not: { prefix: "a" } } }, [user("b"), none], [user("a"), user("ann")]],
  [
    "all of several",
    { method: "get", user: "ann", tier: { present: true } },
    [{ method: "get", ...attached({ user: "ann", tier: "gold" }) }],
    [{ method: "get", ...user("ann") }, attached({ user: "ann", tier: "gold" })],
  ],
];

describe("a rule", () => {
  it.each([
    ["with all metadata as headers", { leg: "client" }],
    ["with those that the rules name", { leg: "both" }],
  ] as const)("sends each request of one connection to the subset that it asks for, %s", async (_, { leg }) => {
    const [yes, no] = [await startInstance("yes"), await startInstance("no")];
    const routes = rules.map(([name, match], i) => ({ name, match: { rule: String(i), ...match }, subset: "yes" }));
    const all = [...routes, { subset: "no" }];
    const subsets = { yes: yes.port, no: no.port };
    const behind = async ({ port }: Instance) =>
      (await startProxy({ mode: "bridge", leg: "server", endpoints: [port] })).port;
    const proxy = await startProxy({
      mode: "bridge",
      leg,
      subsets: leg === "both" ? subsets : { yes: await behind(yes), no: await behind(no) },
      routes: all,
    });
    const client = await connect({ port: proxy.port });
    const wrong: unknown[] = [];
    const counts = { yes: 0, no: 0 };
    await Promise.all(
      rules.flatMap(([name, , hits, misses], i) =>
        [["yes", hits] as const, ["no", misses] as const].flatMap(([expected, calls]) =>
          calls.map(async (call) => {
            counts[expected]++;
            const attachments = { ...call.attachments, rule: String(i) };
            const reply = await client.call(call.service ?? greeter, call.method ?? "sayHello", [], { attachments });
            if (reply !== expected) wrong.push([name, call, reply]);
          }),
        ),
      ),
    );
    expect(wrong).toEqual([]);
    expect({ yes: yes.requests.length, no: no.requests.length }).toEqual(counts);
    await client.close();
    await proxy.assertSound();
  });

  it("is the first that matches; where none does, the client is told so and goes on", async () => {
    const [v1, v2] = [await startInstance("v1"), await startInstance("v2")];
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { method: { prefix: "get" }, user: "ann" }, subset: "v2" },
        { match: { method: { prefix: "get" } }, subset: "v1" },
        { match: { user: "ann", method: { not: { exact: "drop" } } }, subset: "v1" },
      ],
    });
    const client = await connect({ port: proxy.port });
    const attachments = { user: "ann" };
    const calls = ["getAll", "set", "drop"].flatMap((name) => [
      client.call(greeter, name, [], { attachments }),
      client.call(greeter, name),
    ]);
    const lost = "StatusError 60: HTTP 404: no route";
    expect(await many(calls.length, (i) => calls[i] as Promise<unknown>)).toEqual(["v2", "v1", "v1", lost, lost, lost]);
    expect([v1.requests.length, v2.requests.length]).toEqual([2, 1]);
    await client.close();
    await proxy.assertSound();
  });
});

describe("a weight", () => {
  it("is a share of the requests, and none is none", async () => {
    const servers = [await startInstance("v1"), await startInstance("v2"), await startInstance("v3")] as const;
    const [v1, v2, v3] = servers;
    const shares = (weights: Record<string, number>) =>
      Object.entries(weights).map(([subset, weight]) => ({ subset, weight }));
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, v2: v2.port, v3: v3.port },
      routes: [
        { match: { method: "all" }, route: shares({ v1: 0, v2: 1, v3: 0 }) },
        { match: { method: "split" }, route: shares({ v1: 1, v2: 0, v3: 4 }) },
        { route: [{ subset: "v1" }] },
      ],
    });
    const clients = await Promise.all([1, 2].map(() => connect({ port: proxy.port })));
    const ask = async (n: number, name: string) =>
      tally(await many(n, (i) => (clients[i % 2] as (typeof clients)[0]).call(greeter, name)));
    expect(await ask(200, "all")).toEqual({ v2: 200 });
    expect(await ask(50, "only")).toEqual({ v1: 50 });
    const { v1: fifth = 0, v3: rest = 0, ...others } = await ask(1000, "split");
    expect(others).toEqual({});
    expect(fifth + rest).toBe(1000);
    // 200 are expected; five standard deviations are 63.
    expect(Math.abs(fifth - 200)).toBeLessThan(64);
    expect(servers.map(({ requests }) => requests.length)).toEqual([50 + fifth, 200, rest]);
    await Promise.all(clients.map((client) => client.close()));
    await proxy.assertSound();
  });
});

describe("a mirror", () => {
  it("gets copies of as many requests as it should, and nobody hears it", async () => {
    const v1 = await startInstance("v1");
    const copies = await startInstance("copy", ({ id, method }) =>
      method === "silent" ? undefined : encodeReply(id, "copy"),
    );
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, copies: copies.port },
      routes: [
        {
          match: { method: { oneOf: ["all", "silent", "tell"] } },
          subset: "v1",
          mirror: { subset: "copies" },
          headers: { request: { set: { tier: "gold" } } },
        },
        { match: { method: "some" }, subset: "v1", mirror: { subset: "copies", percentage: 20 } },
        { match: { method: "none" }, subset: "v1", mirror: { subset: "copies", percentage: 0 } },
        { subset: "v1" },
      ],
    });
    const client = await connect({ port: proxy.port });
    const [names, n] = [["all", "silent", "some", "none", "other"], 400];
    for (const name of names) {
      expect(tally(await many(n, (i) => client.call(greeter, name, [i]))), name).toEqual({ v1: n });
    }
    await client.oneway(greeter, "tell", ["fig"]);
    const counts = ({ requests }: Instance) => tally(requests.map(({ method }) => method));
    await eventually(() =>
      expect(counts(v1)).toEqual({ ...Object.fromEntries(names.map((name) => [name, n])), tell: 1 }),
    );
    await eventually(() => expect(counts(copies)).toMatchObject({ all: n, silent: n, tell: 1 }));
    // 80 are expected; five standard deviations are 40. Those that are no longer under way make the number final.
    await eventually(async () => {
      const stats = await proxy.envoy.stats();
      expect(stats["cluster.greeter|copies.upstream_rq_total"]).toBe(copies.requests.length);
      expect(stats["cluster.greeter|copies.upstream_rq_active"]).toBe(n);
    });
    const { all, silent, tell, some = 0, ...others } = counts(copies);
    expect(others).toEqual({});
    expect(Math.abs(some - 80)).toBeLessThan(41);
    // They are copies of what the server got.
    const told = (of: Instance, name: string) =>
      new Set(
        of.requests
          .filter(({ method }) => method === name)
          .map(({ args, attachments }) => JSON.stringify([args, attachments.tier])),
      );
    expect(told(copies, "all")).toEqual(told(v1, "all"));
    expect(told(copies, "tell")).toEqual(new Set(['[["fig"],"gold"]']));
    expect(client.unexpected).toBe(0);
    await client.close();
    await proxy.assertSound();
  });

  it("that is down, or breaks off, is nobody's loss", async () => {
    const v1 = await startInstance("v1");
    const copies = await startInstance("copy");
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, copies: copies.port },
      routes: [{ subset: "v1", mirror: { subset: "copies" } }],
    });
    const client = await connect({ port: proxy.port });
    const ask = async () => tally(await many(100, () => client.call(greeter, "hi")));
    const before = ask();
    await eventually(() => expect(copies.requests.length).toBeGreaterThan(10));
    await copies.stop();
    expect([await before, await ask(), v1.requests.length]).toEqual([{ v1: 100 }, { v1: 100 }, 200]);
    await client.close();
    await proxy.assertSound();
  });
});

describe("a change of metadata", () => {
  it("is what the server sees in the frame, and all else stays", async () => {
    const v1 = await startInstance("v1", ({ id, args }) => encodeReply(id, args));
    const proxy = await startProxy({
      mode: "bridge",
      endpoints: [v1.port],
      routes: [
        {
          match: { method: "change" },
          headers: {
            request: {
              set: {
                tier: "gold",
                User: "bob",
                empty: "",
                from: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
                greek: "σύκο 50%%",
                long: "f".repeat(5000),
              },
              remove: ["Secret", "absent"],
            },
          },
        },
        {},
      ],
    });
    const client = await connect({ port: proxy.port });
    const attachments = { user: "ann", secret: "s", Server: "s", kept: "κ", other: "line\nbreak", host: "h" };
    const args = ["fig", 7, null, ["x".repeat(40_000)], { a: 1 }];
    expect(await client.call(greeter, "change", args, { attachments })).toEqual(args);
    expect(await client.call(greeter, "same", args, { attachments })).toEqual(args);
    const [changed, same] = v1.requests;
    const own = { dubbo: "2.0.2", interface: greeter };
    expect(same?.attachments).toMatchObject({ ...own, ...attachments });
    expect(changed?.attachments).toMatchObject({
      ...own,
      ...{ Server: "s", kept: "κ", other: "line\nbreak", host: "h" },
      ...{ tier: "gold", user: "bob", empty: "", from: "127.0.0.1" },
      ...{ greek: "σύκο 50%", long: "f".repeat(5000) },
    });
    const keys = (of: object = {}) => Object.keys(of);
    expect(keys(changed?.attachments)).not.toContain("secret");
    expect(keys(changed?.attachments)).toHaveLength(keys(same?.attachments).length + 4);
    expect(await proxy.metric("meltemi_unwritten_changes_total")).toBe(0);

    // Behind more bytes than limits.head nothing can be changed: the request passes as it is, and that is counted.
    await client.call(greeter, "change", ["x".repeat(100_000)], { attachments });
    expect(v1.requests[2]?.attachments).toEqual(same?.attachments);
    await eventually(async () => expect(await proxy.metric("meltemi_unwritten_changes_total")).toBe(1));
    await client.close();
    await proxy.assertSound();
  });

  it("is what the client sees in the reply, where the reply can carry it", async () => {
    const kinds: Record<string, (id: number | string) => Buffer> = {
      value: (id) => encodeReply(id, ["fig"]),
      attached: (id) => encodeReply(id, ["fig"], { Stack: "at fig", kept: "κ", tier: "iron" }),
      nothing: (id) => encodeReply(id, null),
      exception: (id) => encodeException(id, "no figs"),
      failure: (id) => encodeFailure(id, 80, "crashed"),
    };
    const v1 = await startInstance("v1", ({ id, method }) => kinds[method]?.(id));
    const proxy = await startProxy({
      mode: "bridge",
      endpoints: [v1.port],
      routes: [
        {
          match: { as: "changed" },
          headers: { response: { set: { tier: "gold", code: "%RESPONSE_CODE%" }, remove: ["stack"] } },
        },
        {},
      ],
    });
    const raw = await connectRaw(proxy.port);
    const ask = async (as: string) => {
      const before = raw.messages().length;
      const names = Object.keys(kinds);
      for (const [i, name] of names.entries()) {
        await raw.send(encodeRequest(before + i, greeter, name, [], { attachments: { as } }));
        await eventually(() => expect(raw.messages()).toHaveLength(before + i + 1));
      }
      return raw.messages().slice(before);
    };
    const same = await ask("same");
    const changed = await ask("changed");
    const tier = { tier: "gold" };
    expect(same.map((it) => (it.kind === "reply" ? it.attachments : it))).toEqual([
      ...[undefined, { Stack: "at fig", kept: "κ", tier: "iron" }, undefined, undefined, undefined],
    ]);
    expect(changed).toMatchObject([
      { id: 5, status: 20, value: ["fig"], attachments: { ...tier, code: "200" } },
      { id: 6, status: 20, value: ["fig"], attachments: { ...tier, code: "200", kept: "κ" } },
      { id: 7, status: 20, value: null, attachments: { ...tier, code: "200" } },
      { id: 8, status: 20, error: { message: "no figs" }, attachments: { ...tier, code: "500" } },
      // A reply with a status has no room for attachments: it passes as it is, and that is counted.
      { id: 9, status: 80, error: { message: "crashed" } },
    ]);
    expect(changed[1]).not.toHaveProperty("attachments.Stack");
    expect(changed[4]).not.toHaveProperty("attachments");
    await eventually(async () => {
      const counted = (direction: string) => proxy.metric("meltemi_unwritten_changes_total", { direction });
      expect([await counted("outbound"), await counted("inbound")]).toEqual([1, 0]);
    });
    await proxy.assertSound();
  });
});

describe("consistent hashing", () => {
  it("leads the same user to the same instance on whatever connection, and spreads the users", async () => {
    const servers = await Promise.all(["a", "b", "c"].map((name) => startInstance(name)));
    const proxy = await startProxy(
      {
        mode: "bridge",
        endpoints: servers.map(({ port }) => port),
        trafficPolicy: { loadBalancer: { consistentHash: { key: "User" } } },
      },
      { concurrency: 2 },
    );
    const clients = await Promise.all([1, 2, 3, 4].map(() => connect({ port: proxy.port })));
    const call = (i: number, attachments: Attachments) =>
      (clients[i % clients.length] as (typeof clients)[0]).call(greeter, `m${i}`, [], { attachments });
    const users = Array.from({ length: 60 }, (_, i) => `user ${i}`);
    const met = await Promise.all(users.map(async (user) => tally(await many(8, (i) => call(i, { user })))));
    expect(met.filter((counts) => Object.values(counts)[0] !== 8)).toEqual([]);
    const spread = tally(met.map((counts) => Object.keys(counts)[0]));
    expect(Object.keys(spread).sort()).toEqual(["a", "b", "c"]);
    // 20 are expected of each.
    expect(Math.min(...Object.values(spread))).toBeGreaterThan(5);
    expect(servers.map(({ name, requests }) => [name, requests.length])).toEqual(
      ["a", "b", "c"].map((name) => [name, 8 * (spread[name] ?? 0)]),
    );
    // Without a user there is nothing to hold on to.
    expect(Object.keys(tally(await many(90, (i) => call(i, {}))))).toHaveLength(3);
    await Promise.all(clients.map((client) => client.close()));
    await proxy.assertSound();
  });
});
