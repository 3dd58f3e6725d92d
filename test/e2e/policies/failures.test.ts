import { describe, expect, it } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import { encodeException, encodeFailure, encodeReply, Status } from "../../peers/dubbo/codec.js";
import { blob, greeter } from "../../peers/dubbo/server.js";
import { startScripted } from "../bridge/peers.js";
import { eventually, type Rules, startProxy } from "../harness.js";
import { type Answer, type Instance, many, nobody, outcome, startInstance, tally, took } from "./support.js";

/* What becomes of requests that fail or take too long, and of those that fail on purpose. */

/** How Envoy names the end of an attempt's time, and of a deadline's. */
const ATTEMPT_OVER = "StatusError 31: HTTP 504: upstream request timeout";
const TIME_OVER = "StatusError 31: HTTP 504: downstream duration timeout";
const EXCEPTION = "RemoteException: no figs";

const never: Answer = () => undefined;
const throws: Answer = ({ id }) => encodeException(id, "no figs");
const crashes: Answer = ({ id }) => encodeFailure(id, Status.serverError, "crashed");

const ports = (...instances: Instance[]) => instances.map(({ port }) => port);
const asked = (...instances: Instance[]) => instances.map(({ requests }) => requests.length);

/** An Envoy of both legs, and a client of it. */
async function bridge(rules: Rules) {
  const proxy = await startProxy({ mode: "bridge", ...rules });
  return { proxy, client: await connect({ port: proxy.port }) };
}

describe("a timeout", () => {
  it("is the route's, the attempt's or the frame's, whichever ends first; without one there is none", async () => {
    // What has no time to be answered after waits until the end.
    const held: (() => void)[] = [];
    const slow = await startInstance("slow", ({ id, args: [wait] }) => {
      return new Promise((done) => {
        const reply = () => done(encodeReply(id, "done"));
        if (wait === undefined) held.push(reply);
        else setTimeout(reply, wait as number).unref();
      });
    });
    const { proxy, client } = await bridge({
      endpoints: [slow.port],
      routes: [
        { match: { method: "timed" }, timeout: "300ms" },
        {
          match: { method: "tried" },
          timeout: "10s",
          retries: { attempts: 2, perTryTimeout: "150ms", retryOn: "5xx" },
        },
        {
          match: { method: "whole" },
          timeout: "300ms",
          retries: { attempts: 9, perTryTimeout: "200ms", retryOn: "gateway-error" },
        },
        {},
      ],
    });
    const ends = async (method: string, from: number, deadline?: string) => {
      const attachments = deadline === undefined ? {} : { timeout: deadline };
      const call = outcome(client.call(greeter, method, [], { attachments }));
      const after = await took(call);
      expect(await call, method).toMatch(/^StatusError 31: HTTP 504: .* timeout$/);
      expect(after, method).toBeGreaterThan(from - 20);
      expect(after, method).toBeLessThan(from + 2_000);
    };
    const patient = client.call(greeter, "patient");
    await Promise.all([
      ends("timed", 300),
      ends("timed", 100, "100"),
      ends("timed", 300, "3600000"),
      ends("whole", 300, "3600000"),
      ends("free", 150, "150"),
      // Three of 150 ms each, with pauses of at most 25 and 75 ms between them.
      ends("tried", 450),
      expect(client.call(greeter, "timed", [1])).resolves.toBe("done"),
      expect(client.call(greeter, "free", [400], { attachments: { timeout: "not a number" } })).resolves.toBe("done"),
    ]);
    const { tried, whole, ...others } = tally(slow.requests.map(({ method }) => method));
    expect(tried).toBe(3);
    expect([1, 2]).toContain(whole);
    expect(others).toEqual({ patient: 1, timed: 4, free: 2 });
    // The late replies to all those reach nobody, and harm nobody.
    for (const reply of held) reply();
    expect(await patient).toBe("done");
    expect(await client.call(greeter, "timed", [0])).toBe("done");
    expect(client.unexpected).toBe(0);
    await client.close();
    await eventually(async () => {
      const unmatched = await proxy.metric("meltemi_unmatched_responses_total", { direction: "inbound" });
      expect(unmatched).toBe(held.length - 1);
    });
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
    await proxy.assertSound();
  });

  it("that the frame carries is the caller's even behind a long argument, and replies in time are theirs", async () => {
    const server = await startInstance("v1", ({ id, method }) =>
      method === "hold" ? undefined : encodeReply(id, "in time"),
    );
    const { proxy, client } = await bridge({ endpoints: [server.port] });
    const calls = many(100, (i) =>
      client.call(greeter, i % 2 ? "hold" : "go", ["x".repeat(600 * i)], {
        attachments: { timeout: i % 2 ? `${100 + i}` : "60000" },
      }),
    );
    expect(tally(await calls)).toEqual({ "in time": 50, [TIME_OVER]: 50 });
    expect(asked(server)).toEqual([100]);
    await eventually(async () => {
      const counted = (direction: string, status: string) =>
        proxy.metric("meltemi_requests_total", { direction, status });
      expect(await counted("outbound", "timeout")).toBe(50);
      expect(await counted("inbound", "client_gone")).toBe(50);
      expect([await counted("outbound", "ok"), await counted("inbound", "ok")]).toEqual([50, 50]);
    });
    await client.close();
    await proxy.assertSound();
  });

  it.each([
    ["the route's", "1 KB", 1_000, {}],
    ["the frame's", "1 KB", 1_000, { timeout: "250" }],
    ["the route's", "1 MB", 1_000_000, {}],
  ])("ends a reply, too, that has begun and does not come to its end: %s, %s", async (_, __, size, attachments) => {
    const stuck = await startScripted((request, socket) => {
      const reply = encodeReply(request.id, blob(size));
      socket.write(reply.subarray(0, reply.length - 10));
    });
    const good = await startInstance("good");
    const { proxy, client } = await bridge({
      subsets: { stuck: stuck.port, good: good.port },
      routes: [{ match: { method: "stuck" }, subset: "stuck", timeout: "300ms" }, { subset: "good" }],
    });
    const call = outcome(client.call(greeter, "stuck", [], { attachments }));
    if (size < 200_000) expect(await client.call(greeter, "hi")).toBe("good");
    const after = await took(call);
    expect(after).toBeGreaterThan(200);
    expect(after).toBeLessThan(3_000);
    if (size < 200_000) {
      expect(await call).toBe("StatusError 80: the request was reset (HTTP/2 error 2)");
      expect(await client.call(greeter, "hi")).toBe("good");
      await client.close();
    } else {
      // A part of it is with the client, so that nothing else can follow.
      expect(await call).toMatch(/^ConnectionLost/);
    }
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
    await proxy.assertSound();
  });
});

describe("a retry", () => {
  it("hides an instance that is down, breaks off, crashes or throws, where it is asked to", async () => {
    const dead = await nobody();
    const good = await startInstance("good");
    const broken = await startInstance("broken", throws);
    const crashing = await startInstance("crashing", crashes);
    const again = (retryOn: string) => ({ retries: { attempts: 1, retryOn } });
    const { proxy, client } = await bridge({
      subsets: { dead: [dead, good.port], broken: [broken.port, good.port], crashing: [crashing.port, good.port] },
      routes: [
        { match: { method: "dead" }, subset: "dead", retries: { attempts: 1 } },
        { match: { method: "dead once" }, subset: "dead" },
        { match: { method: "throws" }, subset: "broken", ...again("5xx") },
        { match: { method: "throws 500" }, subset: "broken", ...again("500") },
        { match: { method: "throws elsewhere" }, subset: "broken", ...again("reset,503,gateway-error") },
        { match: { method: "crashes" }, subset: "crashing", ...again("5xx") },
        { subset: "broken" },
      ],
    });
    const ask = async (method: string) => tally(await many(60, () => client.call(greeter, method)));
    const all = { good: 60 };
    expect(await ask("dead")).toEqual(all);
    const { good: reached, ...errors } = await ask("dead once");
    expect(reached).toBe(30);
    expect(Object.entries(errors)).toEqual([[expect.stringMatching(/^StatusError 80: HTTP 503: /), 30]]);
    for (const method of ["throws", "throws 500"]) expect(await ask(method), method).toEqual(all);
    for (const method of ["throws elsewhere", "throws unasked"]) {
      expect(await ask(method), method).toEqual({ good: 30, [EXCEPTION]: 30 });
    }
    expect(await ask("crashes")).toEqual(all);
    const tries = ({ requests }: Instance) => tally(requests.map(({ method }) => method));
    expect(tries(crashing)).toEqual({ crashes: 30 });
    expect(tries(broken)).toEqual({ throws: 30, "throws 500": 30, "throws elsewhere": 30, "throws unasked": 30 });
    expect(tries(good)).toEqual({
      ...{ dead: 60, "dead once": 30, crashes: 60 },
      ...{ throws: 60, "throws 500": 60, "throws elsewhere": 30, "throws unasked": 30 },
    });
    await client.close();
    await proxy.assertSound();
  });

  it("is one of at most as many as allowed, of the same request each time; then the last answer counts", async () => {
    const failing = await startInstance("failing", ({ id }, nth) => encodeException(id, `no figs ${nth}`));
    const third = await startInstance("third", ({ id }, nth) =>
      nth === 2 ? encodeReply(id, "third") : throws({ id } as never, nth),
    );
    const { proxy, client } = await bridge({
      subsets: { failing: failing.port, third: third.port },
      routes: [
        { match: { method: "third" }, subset: "third", retries: { attempts: 4, retryOn: "5xx" } },
        {
          subset: "failing",
          retries: { attempts: 3, retryOn: "5xx" },
          headers: { request: { set: { tier: "gold" } } },
        },
      ],
    });
    const args = ["fig", { a: ["b".repeat(50_000)] }];
    expect(await outcome(client.call(greeter, "failing", args))).toBe("RemoteException: no figs 3");
    expect(asked(failing)).toEqual([4]);
    for (const { args: got, attachments } of failing.requests) {
      expect(got).toEqual(args);
      expect(attachments.tier).toBe("gold");
    }
    expect(await client.call(greeter, "third")).toBe("third");
    expect(asked(third)).toEqual([3]);
    await client.close();
    expect(client.unexpected).toBe(0);
    // Outside there was one request, at the server there were all of them.
    await eventually(async () => {
      const counted = (direction: string) => proxy.metric("meltemi_requests_total", { direction });
      expect([await counted("outbound"), await counted("inbound")]).toEqual([2, 7]);
    });
    await proxy.assertSound();
  });

  it("of one attempt that takes too long meets another instance", async () => {
    const [stuck, good] = [await startInstance("stuck", never), await startInstance("good")];
    const { proxy, client } = await bridge({
      endpoints: ports(stuck, good),
      routes: [{ retries: { attempts: 1, perTryTimeout: "200ms", retryOn: "gateway-error" } }],
    });
    expect(tally(await many(40, () => client.call(greeter, "hi")))).toEqual({ good: 40 });
    expect(asked(stuck, good)).toEqual([20, 40]);
    await client.close();
    await proxy.assertSound();
  });

  it("is left out over the budget, and not without one", async () => {
    // Answers nothing until all first attempts are there, so that the retries come at once.
    const failing = (release: number) => {
      const held: (() => void)[] = [];
      const answer: Answer = (request, nth) =>
        new Promise((done) => {
          held.push(() => done(throws(request, nth)));
          if (nth + 1 >= release) for (const go of held.splice(0)) go();
        });
      return startInstance("failing", answer);
    };
    const n = 60;
    const [bound, free] = [await failing(n), await failing(n)];
    const routes = [{ retries: { attempts: 1, retryOn: "5xx" } }];
    const budget = { retryBudget: { percent: 0, minRetryConcurrency: 5 } };
    for (const [instance, trafficPolicy] of [[bound, budget] as const, [free, {}] as const]) {
      const { proxy, client } = await bridge({ endpoints: [instance.port], routes, trafficPolicy });
      expect(tally(await many(n, () => client.call(greeter, "hi")))).toEqual({ [EXCEPTION]: n });
      const stats = await proxy.envoy.stats();
      const retries = stats["cluster.greeter.upstream_rq_retry"];
      expect(instance.requests.length).toBe(n + (retries ?? 0));
      expect(stats["cluster.greeter.upstream_rq_retry_overflow"]).toBe(n - (retries ?? 0));
      await client.close();
      await proxy.assertSound();
    }
    expect(bound.requests.length - n).toBeGreaterThan(4);
    expect(bound.requests.length - n).toBeLessThan(n);
    expect(free.requests.length - n).toBe(n);
  });
});

describe("a fault", () => {
  it("is an error of the client's own protocol, or a delay, for as many requests as it should be", async () => {
    const v1 = await startInstance("v1");
    const { proxy, client } = await bridge({
      endpoints: [v1.port],
      routes: [
        { match: { method: "abort" }, fault: { abort: { httpStatus: 503 } } },
        { match: { method: "quarter" }, fault: { abort: { httpStatus: 429, percentage: 25 } } },
        { match: { method: "delay" }, fault: { delay: { fixedDelay: "400ms" } } },
        { match: { method: "both" }, fault: { abort: { httpStatus: 404 }, delay: { fixedDelay: "200ms" } } },
        {},
      ],
    });
    const ask = async (n: number, method: string) => {
      const calls = many(n, () => client.call(greeter, method));
      const after = await took(calls);
      return { after, counts: tally(await calls) };
    };
    const [delay, both, abort, quarter, other] = await Promise.all([
      ask(20, "delay"),
      ask(20, "both"),
      ask(100, "abort"),
      ask(400, "quarter"),
      ask(100, "other"),
    ]);
    expect(abort.counts).toEqual({ "StatusError 80: HTTP 503: fault filter abort": 100 });
    const { "StatusError 100: HTTP 429: fault filter abort": aborted = 0, v1: passed = 0, ...rest } = quarter.counts;
    expect([rest, aborted + passed]).toEqual([{}, 400]);
    // 100 are expected; five standard deviations are 43.
    expect(Math.abs(aborted - 100)).toBeLessThan(44);
    expect(other.counts).toEqual({ v1: 100 });
    expect(delay.counts).toEqual({ v1: 20 });
    expect(both.counts).toEqual({ "StatusError 60: HTTP 404: fault filter abort": 20 });
    expect(both.after).toBeGreaterThan(180);
    expect(delay.after).toBeGreaterThan(380);
    // The others did not wait for them.
    expect(Math.max(abort.after, quarter.after, other.after)).toBeLessThan(delay.after);
    expect(tally(v1.requests.map(({ method }) => method))).toEqual({ quarter: passed, delay: 20, other: 100 });
    await client.close();
    await proxy.assertSound();
  });
});

describe("outlier detection", () => {
  it.each<[string, Answer, Record<string, number>]>([
    ["that throws, where exceptions count", throws, { consecutive5xxErrors: 4 }],
    ["that does not answer", never, { consecutiveGatewayErrors: 4 }],
  ])("takes an instance out %s, and back in", async (_, failure, errors) => {
    let well = false;
    const bad = await startInstance("bad", (request, nth) =>
      well ? encodeReply(request.id, "bad") : failure(request, nth),
    );
    const good = await startInstance("good");
    const { proxy, client } = await bridge({
      endpoints: ports(bad, good),
      routes: [{ timeout: "150ms" }],
      trafficPolicy: {
        outlierDetection: { ...errors, interval: "100ms", baseEjectionTime: "1s", maxEjectionPercent: 100 },
      },
    });
    // One by one, so that there are exactly as many failures as it takes.
    const outcomes: unknown[] = [];
    for (let i = 0; i < 8; i++) outcomes.push(await outcome(client.call(greeter, "hi")));
    expect(asked(bad, good)).toEqual([4, 4]);
    expect(tally(outcomes)).toEqual({ good: 4, [failure === throws ? EXCEPTION : ATTEMPT_OVER]: 4 });
    expect(tally(await many(40, () => client.call(greeter, "hi")))).toEqual({ good: 40 });
    expect(asked(bad, good)).toEqual([4, 44]);
    well = true;
    await eventually(async () => expect(await client.call(greeter, "hi")).toBe("bad"));
    expect(tally(await many(40, () => client.call(greeter, "hi")))).toEqual({ good: 20, bad: 20 });
    expect((await proxy.envoy.stats())["cluster.greeter.outlier_detection.ejections_enforced_total"]).toBe(1);
    await client.close();
    await proxy.assertSound();
  });

  it("leaves an instance in whose service throws, unless exceptions count; and takes out one that is gone", async () => {
    const [throwing, going, good] = [
      await startInstance("throwing", throws),
      await startInstance("going"),
      await startInstance("good"),
    ];
    const { proxy, client } = await bridge({
      endpoints: ports(throwing, going, good),
      trafficPolicy: { outlierDetection: { consecutiveGatewayErrors: 3, interval: "1h", maxEjectionPercent: 100 } },
    });
    expect(tally(await many(60, () => client.call(greeter, "hi")))).toEqual({ [EXCEPTION]: 20, going: 20, good: 20 });
    await going.stop();
    const errors = new Set<unknown>();
    for (let i = 0; i < 9; i++) errors.add(await outcome(client.call(greeter, "hi")));
    expect([...errors].filter((it) => String(it).startsWith("StatusError 80: HTTP 503: "))).toHaveLength(
      errors.size - 2,
    );
    expect(tally(await many(40, () => client.call(greeter, "hi")))).toEqual({ [EXCEPTION]: 20, good: 20 });
    expect((await proxy.envoy.stats())["cluster.greeter.outlier_detection.ejections_active"]).toBe(1);
    await client.close();
    await proxy.assertSound();
  });
});
