import { once } from "node:events";
import { rename, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Bootstrap } from "../../tools/envoy/bootstrap.js";
import { describeModule } from "../../tools/model/module.js";
import { defaultModule } from "../../tools/paths.js";
import { connect } from "../peers/dubbo/client.js";
import { greeter, startServer } from "../peers/dubbo/server.js";
import { bootstrapOf, ended, eventually, type Rules, type Running, startProxy } from "./harness.js";
import { rowsOf, startTap } from "./tap.js";

/** The parts of a bootstrap that these tests change. */
interface Listener {
  name: string;
  filter_chains: {
    filters: [{ typed_config: { config: Wasm } }, ...unknown[]];
  }[];
}

interface Wasm {
  vm_config: { code: { local: { filename: string } } };
  configuration: { value: string };
}

interface Resources {
  listeners: Listener[];
  clusters: { name: string }[];
}

function resources(made: Bootstrap): Resources {
  return made.static_resources as Resources;
}

function wasmOf(listener: Listener | undefined): Wasm {
  const config = listener?.filter_chains[0]?.filters[0].typed_config.config;
  if (!config) throw new Error("the bootstrap has no filter of ours");
  return config;
}

/** The bootstrap with another configuration of the module. */
const configured = (value: string) => (made: Bootstrap) => {
  const changed = structuredClone(made);
  wasmOf(resources(changed).listeners[0]).configuration.value = value;
  return changed;
};

/** As messages list them. */
const protocols = describeModule(defaultModule)
  .protocols.map(({ name }) => name)
  .concat("auto")
  .join(", ");

describe("a start that fails", () => {
  it.each([
    ["", "$: expected an object, found nothing"],
    ["{", "$: expected JSON"],
    ["{}", `$.protocol: expected one of ${protocols}, found nothing`],
    ['{"protocol":"dubo"}', `$.protocol: expected one of ${protocols}, found "dubo"`],
    ['{"protocol":"dubbo","limits":{"frameBytes":"64MiB"}}', "$.limits.frameBytes: expected a whole number"],
    [
      '{"protocol":"dubbo","mode":"route","routes":[{"match":{"method":{"exact":7}},"cluster":"v1"}]}',
      "$.routes[0].match.method.exact: expected a string, found a number",
    ],
  ])("names what is wrong in %j", async (value, message) => {
    await expect(startProxy({ endpoints: [1] }, { change: configured(value) })).rejects.toMatchObject({
      name: "UserError",
      code: "E_MODULE",
      message: expect.stringContaining(`the module refuses: configuration: ${message}`),
    });
  });

  it("names a module that is none", async () => {
    const change = async (made: Bootstrap, folder: string) => {
      const filename = join(folder, "text.wasm");
      await writeFile(filename, "not WebAssembly");
      const changed = structuredClone(made);
      wasmOf(resources(changed).listeners[0]).vm_config.code.local.filename = filename;
      return changed;
    };
    await expect(startProxy({ endpoints: [1] }, { change })).rejects.toMatchObject({
      name: "UserError",
      code: "E_MODULE",
      message: expect.stringMatching(/^Envoy refuses the module: /),
    });
  });

  it.each(["service.bind", "admin"])("names the port in use: %s", async (key) => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const rules: Rules = { endpoints: [1], ...(key === "admin" ? { admin: port } : { bind: port }) };
    await expect(startProxy(rules)).rejects.toMatchObject({
      name: "UserError",
      code: "E_PORT_IN_USE",
      exit: 3,
      message: `${key}: 127.0.0.1:${port} is in use`,
    });
    other.close();
  });
});

describe("a configuration that changes while calls are made", () => {
  /** An Envoy that reads its listener from a file. */
  async function chain() {
    const v1 = ended(await startServer({ version: "v1" }));
    const v2 = ended(await startServer({ version: "v2" }));
    const rules = (subset: string): Rules => ({
      mode: "route",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [{ name: `to ${subset}`, match: { service: greeter }, subset }],
    });
    let file = "";
    const write = async (listener: Listener | undefined) => {
      const resource = { "@type": "type.googleapis.com/envoy.config.listener.v3.Listener", ...listener };
      await writeFile(`${file}.new`, JSON.stringify({ resources: [resource] }));
      // Envoy looks for a file that was moved to this name, so that it never reads half of one.
      await rename(`${file}.new`, file);
    };
    const first = resources(bootstrapOf(rules("v1"))).listeners[0];
    const proxy = await startProxy(rules("v1"), {
      change: async (made, folder) => {
        file = join(folder, "listener.json");
        await write(first);
        return {
          ...made,
          node: { id: "meltemi", cluster: "meltemi" },
          dynamic_resources: { lds_config: { resource_api_version: "V3", path_config_source: { path: file } } },
          static_resources: { ...resources(made), listeners: [] },
        };
      },
    });
    const hello = async (port = proxy.port) => {
      const client = await connect({ port });
      const reply = await client.call(greeter, "sayHello", ["fig"]);
      await client.close();
      return reply;
    };
    return { proxy, rules, write, first, hello };
  }

  it("applies to new connections, and old ones go on", async () => {
    const { proxy, rules, write, hello } = await chain();
    const before = await startTap(proxy.port);
    expect(await hello(before.port)).toBe("Hello fig from v1");

    const old = await connect({ port: before.port });
    const slow = old.call(greeter, "slow", [2000]);
    let busy = true;
    const calls = (async () => {
      const replies = new Set<unknown>();
      while (busy) replies.add(await old.call(greeter, "sayHello", ["fig"]));
      return replies;
    })();
    const greetings = new Set<unknown>();
    await write(resources(bootstrapOf(rules("v2"))).listeners[0]);
    await eventually(async () => {
      greetings.add(await hello(before.port));
      expect([...greetings]).toContain("Hello fig from v2");
    });
    for (let i = 0; i < 20; i++) expect(await hello(before.port)).toBe("Hello fig from v2");
    expect(await slow).toBe(2000);
    busy = false;
    expect([...(await calls)]).toEqual(["Hello fig from v1"]);
    await old.close();
    // Old and new configuration counted together what passed.
    await eventually(async () => expect(await proxy.requests()).toEqual(rowsOf(before.connections)));
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });

  it("changes nothing where it is wrong", async () => {
    const { proxy, first, write, hello } = await chain();
    const bad = structuredClone(first) as Listener;
    wasmOf(bad).configuration.value = '{"protocol":"dubbo","mode":"bridge"}';
    await write(bad);
    await eventually(async () => expect((await proxy.envoy.stats())["listener_manager.lds.update_rejected"]).toBe(1));
    const said = proxy.log.filter(({ module }) => module).map(({ level, text }) => `${level} ${text}`);
    expect(said).toContain('error configuration: $.mode: expected observe, route, lift or lower, found "bridge"');
    expect(await hello()).toBe("Hello fig from v1");
  });
});

describe("several listeners in one Envoy", () => {
  it("share a virtual machine, each with its own configuration", async () => {
    const v1 = ended(await startServer({ version: "v1" }));
    const v2 = ended(await startServer({ version: "v2" }));
    const routing = resources(
      bootstrapOf({
        mode: "route",
        direction: "inbound",
        subsets: { v1: v1.port, v2: v2.port },
        routes: [{ match: { "dubbo.tag": "gray" }, subset: "v2" }, { subset: "v1" }],
      }),
    );
    const proxy = await startProxy(
      { endpoints: [v1.port] },
      {
        change: (made) => ({
          ...made,
          static_resources: {
            listeners: [...resources(made).listeners, ...routing.listeners.map((it) => ({ ...it, name: "routing" }))],
            clusters: [...resources(made).clusters, ...routing.clusters],
          },
        }),
      },
    );
    const observed = await startTap(proxy.port);
    const routed = await startTap((await proxy.envoy.listener("routing")).port);
    await Promise.all(
      [observed, routed].map(async ({ port }, i) => {
        for (const tag of ["gray", "blue"]) {
          const client = await connect({ port });
          const calls = Array.from({ length: 10 }, () =>
            client.call(greeter, "sayHello", ["fig"], { attachments: { "dubbo.tag": tag } }),
          );
          const version = tag === "gray" && i === 1 ? "v2" : "v1";
          expect(new Set(await Promise.all(calls))).toEqual(new Set([`Hello fig from ${version}`]));
          await client.close();
        }
      }),
    );
    const expected = [...rowsOf(routed.connections, "inbound"), ...rowsOf(observed.connections, "outbound")];
    await eventually(async () => expect(await proxy.requests()).toEqual(expected));
    const machines = async ({ envoy }: Running) => (await envoy.stats())["wasm.envoy.wasm.runtime.v8.active"];
    const alone = await startProxy({ endpoints: [v1.port] });
    expect(await machines(proxy)).toBe(await machines(alone));
    await proxy.assertSound();
  });
});
