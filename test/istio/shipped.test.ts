import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { eventually } from "../e2e/harness.js";
import { connect } from "../peers/dubbo/client.js";
import { greeter, startServer } from "../peers/dubbo/server.js";
import { connectThrift, startThriftServer } from "../peers/thrift/node.js";
import { manifest, meltemi, shipped } from "./lab/command.js";
import { assertSound, GREETER, manifests, requests, type Server, startWorld, type World } from "./lab/harness.js";
import { complaints } from "./lab/istioctl.js";
import type { KubernetesObject } from "./lab/kubernetes.js";
import { Registry } from "./lab/registry.js";

/*
 * What a user does, from the module to the mesh: push, manifest, and from there on the real Istio alone. Nothing of what the
 * tool prints is changed.
 */

interface Caller {
  /** Answers the version of the server that has said hello. */
  hello(): Promise<string>;
  add(a: number, b: number): Promise<unknown>;
  close(): Promise<void>;
}

interface Protocol {
  name: string;
  /** As the metrics call it. */
  service: string;
  hello: string;
  /** What the Service's port is called in mode bridge: HTTP/2 where the protocol has heartbeats. */
  bridged: { NAME: string };
  serve(at: { host: string; port: number; version: string }): Promise<Server>;
  connect(): Promise<Caller>;
}

const framed = { transport: "framed", protocol: "binary" } as const;
const version = (text: unknown) => /from (v\d)/.exec(String(text))?.[1] ?? `no version in ${text}`;

const protocols: Protocol[] = [
  {
    name: "dubbo",
    service: greeter,
    hello: "sayHello",
    bridged: { NAME: "http2-dubbo" },
    serve: startServer,
    async connect() {
      const client = await connect(GREETER);
      return {
        hello: async () => version(await client.call(greeter, "sayHello", ["fig"])),
        add: (a, b) => client.call(greeter, "add", [a, b]),
        close: () => client.close(),
      };
    },
  },
  {
    name: "thrift",
    service: "greeter",
    hello: "hello",
    bridged: { NAME: "http-thrift" },
    serve: (at) => startThriftServer(framed, at),
    async connect() {
      const client = await connectThrift(GREETER.port, framed, GREETER);
      return {
        hello: async () => version(await client.call("hello", "fig")),
        add: (a, b) => client.call("add", a, b),
        close: () => client.close(),
      };
    },
  },
];

let registry: Registry;
let image: string;

beforeAll(async () => {
  registry = await Registry.start();
  image = (await meltemi("push", `${registry.address}/mesh/meltemi:1.0`)).trim();
});
afterAll(() => registry?.stop());

it("prints the image's digest alone, and takes the tag for it as well", async () => {
  expect(image).toMatch(/^127\.0\.0\.1:\d+\/mesh\/meltemi:1\.0@sha256:[0-9a-f]{64}$/);
  const byTag = await meltemi("manifest", shipped("dubbo-bridge"), "--image", `${registry.address}/mesh/meltemi:1.0`);
  expect(byTag).toBe(await meltemi("manifest", shipped("dubbo-bridge"), "--image", image));
});

describe.each(protocols)("$name", ({ name, service, hello, bridged, serve, connect }) => {
  let world: World<Server>;

  /** The cluster, and in it what the tool prints for a mode. */
  async function cluster(mode: string): Promise<KubernetesObject[]> {
    const printed = await manifest(shipped(`${name}-${mode}`), "--image", image);
    // Nothing diverts connections here, which is what the mesh's own Sidecars make up for where the tool prints none.
    const own =
      mode === "bridge"
        ? manifests(["world", "service"], bridged)
        : manifests(["world", "service", "sidecars"], { NAME: `tcp-${name}`, PROTOCOL: "TCP" });
    const objects = [...own, ...printed];
    expect(complaints(objects)).toEqual([]);
    return objects;
  }

  async function connected(): Promise<Caller> {
    const client = await connect();
    onTestFinished(() => client.close());
    return client;
  }

  /** Once the client's sidecar has these filters before its clients, and the servers' theirs. */
  async function settled(client: string[], server: string[]): Promise<void> {
    await eventually(async () => {
      for (const [sidecar, address, filters] of [
        [world.app, "10.96.0.10_20880", client],
        [world.v1.sidecar, "10.9.0.11_20880", server],
        [world.v2.sidecar, "10.9.0.12_20880", server],
      ] as const) {
        const expected = filters.map((filter) => expect.stringContaining(filter));
        expect(await sidecar.chains(address)).toEqual([expected]);
      }
    });
  }

  /** What was counted while `act` ran, in the sidecars of client and servers. */
  async function counted(act: () => Promise<void>, expected: Record<string, number>): Promise<void> {
    const read = async () => {
      const all = await Promise.all([world.app, world.v1.sidecar, world.v2.sidecar].map(requests));
      return Object.keys(expected).map((key) => all.reduce((sum, each) => sum + (each[key] ?? 0), 0));
    };
    const before = await read();
    await act();
    await eventually(async () => {
      const after = await read();
      expect(
        Object.fromEntries(Object.keys(expected).map((key, i) => [key, (after[i] ?? 0) - (before[i] ?? 0)])),
      ).toEqual(expected);
    });
  }

  beforeAll(async () => {
    world = await startWorld<Server>({ objects: await cluster("observe"), serve });
  });
  afterAll(() => world?.stop());

  it("is observed", async () => {
    await settled(
      [".observe-clients-app.greeter.default~", "tcp_proxy"],
      [".observe-servers.greeter.default~", "tcp_proxy"],
    );
    const client = await connected();
    await counted(
      async () => {
        for (let i = 0; i < 20; i++) expect(await client.add(i, 1)).toBe(i + 1);
      },
      { [`outbound ${service} add ok`]: 20, [`inbound ${service} add ok`]: 20 },
    );
    expect(registry.served.some(({ method, path }) => method === "GET" && path.includes("/blobs/"))).toBe(true);
  });

  it("is routed by the first frame of each connection", async () => {
    world.mesh.set(await cluster("route"));
    await settled(
      [".route-20880-app.greeter.default~", "tcp_proxy"],
      [".observe-servers.greeter.default~", "tcp_proxy"],
    );
    await counted(
      async () => {
        for (let i = 0; i < 10; i++) {
          const [plain, adding] = [await connected(), await connected()];
          expect(await plain.hello()).toBe("v1");
          expect(await adding.add(i, 1)).toBe(i + 1);
          expect(await adding.hello()).toBe("v2");
        }
      },
      {
        [`outbound ${service} ${hello} ok`]: 20,
        [`inbound ${service} ${hello} ok`]: 20,
        [`outbound ${service} add ok`]: 10,
      },
    );
  });

  it("is bridged: each request of a connection goes its own way", async () => {
    world.mesh.set(await cluster("bridge"));
    await settled([".lift-app.greeter.default~", "http_connection_manager"], [".lower.greeter.default~", "tcp_proxy"]);
    const client = await connected();
    const before = (await requests(world.v2.sidecar))[`inbound ${service} add ok`] ?? 0;
    await eventually(async () => expect(await client.hello()).toBe("v1"));
    for (let i = 0; i < 20; i++) {
      expect(await client.add(i, 1)).toBe(i + 1);
      expect(await client.hello()).toBe("v1");
    }
    await eventually(async () =>
      expect((await requests(world.v2.sidecar))[`inbound ${service} add ok`]).toBe(before + 20),
    );
  });

  it("has nobody complain", () => {
    for (const sidecar of [world.app, world.v1.sidecar, world.v2.sidecar]) assertSound(sidecar);
  });
});
