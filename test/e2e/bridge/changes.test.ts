import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Bootstrap } from "../../../tools/envoy/bootstrap.js";
import { defaultModule } from "../../../tools/paths.js";
import { ConnectionLost, connect, StatusError } from "../../peers/dubbo/client.js";
import { greeter, startServer } from "../../peers/dubbo/server.js";
import { bootstrapOf, ended, eventually, type Rules, type Running, scratch, startProxy } from "../harness.js";

/*
 * Configuration that changes under load. Envoy reads listeners, clusters and routes from files and watches them.
 */

const TYPE = "type.googleapis.com/envoy.config";
/** Of the load: its connections, and the calls of each at a time. */
const CONNECTIONS = 4;
const AT_A_TIME = 10;

interface Resource {
  [key: string]: unknown;
  name: string;
}

interface Resources {
  listeners: Resource[];
  clusters: Resource[];
  /** Of the connection manager, which then has none itself. */
  routes?: Resource;
}

interface Changing {
  readonly proxy: Running;
  /** Has Envoy go over to what these rules come to; resolves when it has taken it. */
  change(rules: Rules, module?: string): Promise<void>;
}

/** An Envoy whose resources come from files; `rds`: the routes from one of their own. */
async function startChanging(rules: Rules, { rds = false } = {}): Promise<Changing> {
  let folder = "";
  const content = new Map<string, string>();
  const source = (kind: string) => ({
    path_config_source: { path: join(folder, `${kind}.json`), watched_directory: { path: folder } },
    resource_api_version: "V3",
  });

  /** What stands in the files. */
  function split(bootstrap: Bootstrap): Resources {
    const { listeners, clusters } = bootstrap.static_resources as Resources;
    let routes: Resource | undefined;
    const rest = JSON.parse(JSON.stringify(listeners), (_, value) => {
      if (!value?.route_config) return value;
      // Not five seconds until a client whose listener is gone hears that no more requests are taken.
      const { route_config, ...manager } = { drain_timeout: "0.2s", ...value };
      if (!rds) return { ...manager, route_config };
      routes = route_config;
      return { ...manager, rds: { config_source: source("route"), route_config_name: route_config.name } };
    });
    return { listeners: rest, clusters, ...(routes && { routes }) };
  }

  async function write({ listeners, clusters, routes }: Resources): Promise<void> {
    const put = async (kind: string, type: string, resources: Resource[]) => {
      const typed = resources.map((resource) => ({ "@type": `${TYPE}.${type}`, ...resource }));
      const path = join(folder, `${kind}.json`);
      const text = JSON.stringify({ version_info: "", resources: typed });
      if (text === content.get(kind)) return;
      content.set(kind, text);
      await writeFile(`${path}.new`, text);
      await rename(`${path}.new`, path);
    };
    // Clusters first, since the others refer to them.
    await put("cluster", "cluster.v3.Cluster", clusters);
    if (routes) await put("route", "route.v3.RouteConfiguration", [routes]);
    await put("listener", "listener.v3.Listener", listeners);
  }

  const proxy = await startProxy(rules, {
    // Connections of a listener that was replaced are asked to go at once, and are gone after two seconds.
    args: ["--drain-strategy", "immediate", "--drain-time-s", "2"],
    async change(bootstrap, scratch) {
      folder = scratch;
      await write(split(bootstrap));
      const { static_resources: _, ...rest } = bootstrap;
      return {
        ...rest,
        node: { id: "meltemi", cluster: "meltemi" },
        dynamic_resources: { lds_config: source("listener"), cds_config: source("cluster") },
      };
    },
  });
  const updates = async () => {
    const stats = await proxy.envoy.stats();
    return {
      lds: stats["listener_manager.lds.update_success"] ?? 0,
      rds: stats["http.meltemi.rds.greeter.update_success"] ?? 0,
    };
  };
  return {
    proxy,
    async change(rules, module = defaultModule) {
      const before = await updates();
      const text = JSON.stringify(bootstrapOf(rules, join(folder, "access.log"))).replaceAll(
        JSON.stringify(defaultModule),
        JSON.stringify(module),
      );
      await write(split(JSON.parse(text)));
      await eventually(async () => expect(await updates()).not.toEqual(before));
    },
  };
}

interface Load {
  /** Replies so far, by who answered. */
  readonly from: Record<string, number>;
  /** Ends it; how many calls were made and how they ended. */
  stop(): Promise<{ asked: number; replies: number; refused: number; lost: number }>;
}

/** Calls on a few connections at a time, always some of them under way; a lost connection is made again. */
function startLoad(port: number): Load {
  const from: Record<string, number> = {};
  const sum = { asked: 0, replies: 0, refused: 0, lost: 0 };
  let going = true;
  async function caller() {
    let client = await connect({ port });
    while (going) {
      const calls = Array.from({ length: AT_A_TIME }, async (_, i) => {
        sum.asked++;
        try {
          const value = (await client.call(greeter, "sayHello", [`${i}`])) as string;
          const [, to, version = ""] = /^Hello (\d) from (v\d)$/.exec(value) ?? [];
          expect(to).toBe(`${i}`);
          from[version] = (from[version] ?? 0) + 1;
          sum.replies++;
        } catch (error) {
          if (error instanceof StatusError) {
            expect(error).toMatchObject({ status: 80 });
            sum.refused++;
          } else {
            expect(error).toBeInstanceOf(ConnectionLost);
            sum.lost++;
          }
        }
      });
      const lost = sum.lost;
      await Promise.all(calls);
      expect(client.unexpected).toBe(0);
      if (sum.lost > lost) {
        await client.close();
        client = await connect({ port });
      }
    }
    await client.close();
  }
  const callers = Promise.all(Array.from({ length: CONNECTIONS }, caller));
  return {
    from,
    async stop() {
      going = false;
      await callers;
      return sum;
    },
  };
}

/** Goes on for so many more replies of that server. */
async function more({ from }: Load, version: string, count = 300): Promise<void> {
  const enough = (from[version] ?? 0) + count;
  await eventually(() => expect(from[version] ?? 0).toBeGreaterThanOrEqual(enough));
}

async function pair() {
  const [v1, v2] = [ended(await startServer()), ended(await startServer({ version: "v2" }))];
  const subsets = { v1: v1.port, v2: v2.port };
  const all = (subset: "v1" | "v2"): Rules => ({ mode: "bridge", subsets, routes: [{ subset }] });
  return { v1, v2, subsets, all };
}

it("routes that change under load lose nothing", async () => {
  const { v1, v2, all } = await pair();
  const { proxy, change } = await startChanging(all("v1"), { rds: true });
  const load = startLoad(proxy.port);
  for (let round = 0; round < 3; round++) {
    await more(load, "v1");
    await change(all("v2"));
    await more(load, "v2");
    await change(all("v1"));
  }
  await more(load, "v1");
  const { asked, ...outcome } = await load.stop();
  expect(outcome).toEqual({ replies: asked, refused: 0, lost: 0 });
  // What was there stayed: four clients, and one connection to each server.
  expect((await proxy.envoy.stats())["http.meltemi.downstream_cx_total"]).toBe(CONNECTIONS);
  expect([v1.stats.connections, v2.stats.connections]).toEqual([1, 1]);
  await proxy.assertSound();
});

it("a listener that changes under load answers all that it was asked, or ends the connection", async () => {
  const { all } = await pair();
  const { proxy, change } = await startChanging(all("v1"));
  const load = startLoad(proxy.port);
  await more(load, "v1");
  await change(all("v2"));
  await more(load, "v2");
  await eventually(async () =>
    expect((await proxy.envoy.stats())["listener_manager.total_filter_chains_draining"]).toBe(0),
  );
  const { v1 = 0 } = load.from;
  await more(load, "v2");
  expect(load.from.v1).toBe(v1);
  const outcome = await load.stop();
  expect(outcome.replies + outcome.refused + outcome.lost).toBe(outcome.asked);
  // Once for each connection: what it had under way when it ended.
  expect(outcome.lost).toBeLessThanOrEqual(CONNECTIONS * AT_A_TIME);
  await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
  await eventually(async () =>
    expect(await proxy.metric("meltemi_requests_total", { direction: "outbound", status: "ok" })).toBe(outcome.replies),
  );
  await proxy.assertSound();
});

it("a module that is replaced under load answers all that it was asked, or ends the connection", async () => {
  const { all } = await pair();
  const { proxy, change } = await startChanging(all("v1"));
  const load = startLoad(proxy.port);
  const folder = await scratch();
  for (let round = 0; round < 3; round++) {
    await more(load, "v1");
    // A custom section of another name makes it another module, to Envoy as well.
    const module = join(folder, `${round}.wasm`);
    await writeFile(module, Buffer.concat([readFileSync(defaultModule), Buffer.of(0, 3, 1, 0x66, round)]));
    await change(all("v1"), module);
  }
  await more(load, "v1");
  await eventually(async () => {
    const stats = await proxy.envoy.stats();
    expect(stats["listener_manager.total_filter_chains_draining"]).toBe(0);
    expect(stats["listener_manager.total_listeners_draining"]).toBe(0);
  });
  await more(load, "v1");
  const outcome = await load.stop();
  expect(outcome.replies + outcome.refused + outcome.lost).toBe(outcome.asked);
  expect(outcome.lost).toBeLessThanOrEqual(3 * CONNECTIONS * AT_A_TIME);
  await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
  await proxy.assertSound();
});
