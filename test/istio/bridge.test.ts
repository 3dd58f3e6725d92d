import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../e2e/harness.js";
import { connect, type DubboClient, StatusError } from "../peers/dubbo/client.js";
import { blob, type DubboServer, greeter, orders, startServer } from "../peers/dubbo/server.js";
import { manifestOf } from "./lab/command.js";
import { assertSound, GREETER, manifests, requests, startWorld, type World } from "./lab/harness.js";
import { complaints } from "./lab/istioctl.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Registry } from "./lab/registry.js";

const [v1, v2] = [{ subset: "v1" }, { subset: "v2" }];

/** What each request of `greeter` meets, by what the test is about. */
const rules = {
  "by method": [
    { name: "one-method", match: { service: greeter, method: "add" }, ...v2 },
    { name: "one-service", match: { service: orders }, ...v2 },
    { name: "one-tenant", match: { tenant: "blue" }, ...v2 },
    { name: "not-so-old", match: { age: { range: { min: 18 } }, method: { not: { prefix: "say" } } }, ...v2 },
    { name: "the-rest", ...v1 },
  ],
  weights: [
    {
      name: "split",
      route: [
        { ...v1, weight: 80 },
        { ...v2, weight: 20 },
      ],
    },
  ],
  faults: [
    { name: "denied", match: { method: "add" }, fault: { abort: { httpStatus: 403 } }, ...v1 },
    { name: "down", match: { method: "echo" }, fault: { abort: { httpStatus: 503 } }, ...v1 },
    { name: "late", match: { method: "slow" }, timeout: "200ms", ...v1 },
    { name: "others", ...v1 },
  ],
  headers: [
    { name: "changed", headers: { request: { set: { tenant: "green", region: "south" }, remove: ["secret"] } }, ...v1 },
  ],
  limits: [
    { name: "limited", match: { method: "add" }, rateLimit: { requests: 5, per: "1h" }, ...v1 },
    { name: "unlimited", ...v1 },
  ],
  mirror: [{ name: "twice", mirror: v2, ...v1 }],
  // Ten times, because the one that fails at once is the least busy one, which is what Envoy looks for.
  retries: [{ name: "again", subset: "any", retries: { attempts: 10 } }],
};

describe("the bridge", () => {
  let registry: Registry;
  let world: World<DubboServer>;
  /** Copies of sayHello that no client knows of. */
  let mirrored = 0;

  /** The cluster, and in it what the tool prints for these rules. */
  async function cluster(routes: readonly object[], more: object = {}): Promise<KubernetesObject[]> {
    const local = (port: number) => [`127.0.0.1:${port}`];
    const subsets = [
      { name: "v1", endpoints: local(20881) },
      { name: "v2", endpoints: local(20882) },
      { name: "any", endpoints: local(20881), labels: { app: "greeter" } },
    ];
    const printed = await manifestOf(
      {
        protocol: "dubbo",
        mode: "bridge",
        service: { name: "greeter", bind: "127.0.0.1:20880", subsets },
        routes,
        istio: {
          ports: [{ port: 20880, serverPort: 20881 }],
          address: GREETER.host,
          clients: [{ labels: { app: "app" } }],
          servers: { address: "pod" },
        },
        ...more,
      },
      "--image",
      `${registry.address}/mesh/meltemi:1`,
    );
    const objects = [...manifests(["world", "service"], { NAME: "http2-dubbo" }), ...printed];
    expect(complaints(objects)).toEqual([]);
    return objects;
  }

  beforeAll(async () => {
    registry = await Registry.start();
    await registry.push();
    world = await startWorld({ objects: await cluster(rules["by method"]), serve: startServer });
  });
  afterAll(async () => {
    await world?.stop();
    await registry?.stop();
  });

  /** Has the mesh do as these rules say, and answers clients once the sidecar of the client's pod does so. */
  async function routed(by: keyof typeof rules, clients = 1): Promise<[DubboClient, ...DubboClient[]]> {
    world.mesh.set(await cluster(rules[by]));
    const names = rules[by].map(({ name }) => name);
    await eventually(async () => expect((await world.app.virtualHosts("20880"))[0]?.routes).toEqual(names));
    const connected = await times(clients, () => connect(GREETER));
    onTestFinished(() => Promise.all(connected.map((client) => client.close())).then(() => {}));
    return connected as [DubboClient, ...DubboClient[]];
  }

  /** How many requests for `method` reach v1 and v2 while `act` runs. */
  async function reached(method: string, act: () => Promise<unknown>): Promise<{ v1: number; v2: number }> {
    const count = () => ({
      v1: world.v1.server.stats.requests[method] ?? 0,
      v2: world.v2.server.stats.requests[method] ?? 0,
    });
    const before = count();
    await act();
    const after = count();
    return { v1: after.v1 - before.v1, v2: after.v2 - before.v2 };
  }

  it("stands before istiod's http_connection_manager at the client and before tcp_proxy at the server", async () => {
    const plugin = (name: string) => expect.stringContaining(`.${name}.greeter.default~`);
    const lift = [[plugin("lift-app"), "envoy.filters.network.http_connection_manager"]];
    await eventually(async () => expect(await world.app.chains("10.96.0.10_20880")).toEqual(lift));
    const lower = [[plugin("lower"), "envoy.filters.network.tcp_proxy"]];
    expect(await world.v1.sidecar.chains("10.9.0.11_20880")).toEqual(lower);

    const diverted = await world.mesh.sidecar("app", { ...world.options, interception: "REDIRECT" });
    onTestFinished(() => diverted.stop().then(() => {}));
    await eventually(async () => expect(await diverted.chains("10.96.0.10_20880")).toEqual(lift));
  });

  it("finds routes by the address that clients connect to", async () => {
    await routed("by method");
    const [host, rest] = await world.app.virtualHosts("20880");
    expect(host?.domains).toContain(GREETER.host);
    expect(rest?.domains).toEqual(["*"]);
  });

  it("routes each request of a connection by its service, method and metadata", async () => {
    const [client] = await routed("by method");
    const add = await reached("add", () =>
      times(30, (i) => expect(client.call(greeter, "add", [i, 1])).resolves.toBe(i + 1)),
    );
    expect(add).toEqual({ v1: 0, v2: 30 });
    const create = await reached("create", () => times(10, () => client.call(orders, "create", ["fig", 1])));
    expect(create).toEqual({ v1: 0, v2: 10 });
    const hello = await reached("sayHello", () =>
      times(40, (i) => {
        const [tenant, version] = i % 4 === 0 ? ["blue", "v2"] : ["green", "v1"];
        const call = client.call(greeter, "sayHello", [`${i}`], { attachments: { tenant } });
        return expect(call).resolves.toBe(`Hello ${i} from ${version}`);
      }),
    );
    expect(hello).toEqual({ v1: 30, v2: 10 });
    const aged = await reached("attachment", () =>
      times(30, (i) => client.call(greeter, "attachment", ["age"], { attachments: i < 20 ? { age: `${i}` } : {} })),
    );
    expect(aged).toEqual({ v1: 28, v2: 2 });
  });

  it("routes by weight", async () => {
    const clients = await routed("weights", 4);
    const hello = await reached("sayHello", () =>
      times(400, (i) => clients[i % 4]?.call(greeter, "sayHello", ["σύκο"]) ?? Promise.reject()),
    );
    expect(hello.v1 + hello.v2).toBe(400);
    // 80 are expected; five standard deviations are 40.
    expect(hello.v2).toBeGreaterThan(40);
    expect(hello.v2).toBeLessThan(120);
  });

  it.each([
    ["add", "HTTP 403: fault filter abort"],
    ["echo", "HTTP 503: fault filter abort"],
  ])("answers %s with an error of the client's own protocol: %s", async (method, message) => {
    const [client] = await routed("faults");
    const refused = await reached(method, () =>
      times(10, async () => expect(await failure(client.call(greeter, method, [1, 2]))).toMatchObject({ message })),
    );
    expect(refused).toEqual({ v1: 0, v2: 0 });
    expect(await client.call(greeter, "sayHello", ["still"])).toBe("Hello still from v1");
  });

  it("answers at the end of a timeout", async () => {
    const [client] = await routed("faults");
    const expected = { status: 31, message: "HTTP 504: upstream request timeout" };
    const late = times(5, async () => {
      const error = await failure(client.call(greeter, "slow", [5_000]));
      expect(error).toMatchObject(expected);
      expect(error.after).toBeGreaterThan(190);
      expect(error.after).toBeLessThan(2_000);
    });
    expect(await client.call(greeter, "slow", [1])).toBe(1);
    await late;
    expect(await client.call(greeter, "sayHello", ["still"])).toBe("Hello still from v1");
    expect(client.unexpected).toBe(0);
  });

  it("writes headers that a route changes back into the request, and no others", async () => {
    const [client] = await routed("headers");
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const attachments = { tenant: "blue", secret: "fig", other: "kept", traceparent };
    const found = async (key: string) => [key, await client.call(greeter, "attachment", [key], { attachments })];
    const added = ["x-request-id", "x-forwarded-proto", "x-envoy-attempt-count", "x-envoy-decorator-operation"];
    const keys = [...Object.keys(attachments), "region", ...added];
    expect(Object.fromEntries(await Promise.all(keys.map(found)))).toEqual({
      ...{ tenant: "green", secret: null, region: "south", other: "kept", traceparent },
      ...Object.fromEntries(added.map((key) => [key, null])),
    });
  });

  it("limits requests", async () => {
    const [client] = await routed("limits");
    const outcomes: string[] = [];
    const passed = await reached("add", async () => {
      for (let i = 0; i < 20; i++) {
        const outcome = client.call(greeter, "add", [1, 2]).then(String, (error: Error) => error.message);
        outcomes.push(await outcome);
      }
    });
    expect(outcomes).toEqual([...Array(5).fill("3"), ...Array(15).fill("HTTP 429: local_rate_limited")]);
    expect(passed).toEqual({ v1: 5, v2: 0 });
    expect(await client.call(greeter, "sayHello", ["still"])).toBe("Hello still from v1");
  });

  it("mirrors requests", async () => {
    const [client] = await routed("mirror");
    const before = world.v2.server.stats.requests.sayHello ?? 0;
    const hello = await times(10, () => client.call(greeter, "sayHello", ["fig"]));
    expect(new Set(hello)).toEqual(new Set(["Hello fig from v1"]));
    await eventually(() => expect((world.v2.server.stats.requests.sayHello ?? 0) - before).toBe(10));
    mirrored += 10;
  });

  it("carries large frames, one-way requests and heartbeats", async () => {
    const [client] = await routed("weights");
    const bytes = blob(1_048_577);
    const echoed = await times(4, () => client.call(greeter, "echo", [bytes]));
    for (const copy of echoed) expect(bytes.equals(copy as Buffer)).toBe(true);
    await client.heartbeat();
    const oneway = () => world.v1.server.stats.oneway + world.v2.server.stats.oneway;
    const before = oneway();
    await times(10, (i) => client.oneway(greeter, "notify", [`${i}`]));
    await eventually(() => expect(oneway() - before).toBe(10));
  });

  it("answers for a server that is gone, and reaches it again when it is back", async () => {
    const [client] = await routed("headers");
    const pending = failure(client.call(greeter, "slow", [60_000]));
    await eventually(() => expect(world.v1.server.stats.requests.slow).toBeGreaterThan(0));
    await world.v1.down();
    const expected = { message: expect.stringMatching(/^HTTP 503: upstream connect error/) };
    expect(await pending).toMatchObject(expected);
    expect(await failure(client.call(greeter, "sayHello", ["x"]))).toMatchObject(expected);
    await world.v1.up();
    // Until the client's Envoy has heard of it, it takes a connection of before for alive.
    await eventually(() => expect(client.call(greeter, "sayHello", ["again"])).resolves.toBe("Hello again from v1"));
  });

  it("has a request tried again by another server", async () => {
    const [client] = await routed("retries");
    await world.v1.down();
    const calls = times(50, (i) => client.call(greeter, "sayHello", [`${i}`]));
    expect(await calls).toEqual(Array.from({ length: 50 }, (_, i) => `Hello ${i} from v2`));
    await world.v1.up();
  });

  it("has counted every request at both ends, and complained nowhere", async () => {
    await eventually(async () => {
      const client = await requests(world.app);
      const servers = [await requests(world.v1.sidecar), await requests(world.v2.sidecar)];
      const sum = (name: string) => servers.reduce((total, counted) => total + (counted[name] ?? 0), 0);
      for (const method of ["add", "sayHello", "attachment"]) {
        const copies = method === "sayHello" ? mirrored : 0;
        const asked = client[`outbound ${greeter} ${method} ok`] ?? 0;
        expect(sum(`inbound ${greeter} ${method} ok`), method).toBe(asked + copies);
      }
      expect(client).toMatchObject({
        [`outbound ${greeter} add denied`]: 10,
        [`outbound ${greeter} echo unavailable`]: 10,
        [`outbound ${greeter} slow timeout`]: 5,
      });
    });
    for (const sidecar of [world.app, world.v1.sidecar, world.v2.sidecar]) assertSound(sidecar);
  });
});

function times<T>(n: number, act: (i: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: n }, (_, i) => act(i)));
}

/** The reply that says how a call failed, and after how many milliseconds it came. */
async function failure(call: Promise<unknown>): Promise<{ status: number; message: string; after: number }> {
  const then = performance.now();
  const error = await call.then(
    (value) => new Error(`it has not failed but answered ${value}`),
    (error: unknown) => error,
  );
  if (!(error instanceof StatusError)) throw error;
  return { status: error.status, message: error.message, after: performance.now() - then };
}
