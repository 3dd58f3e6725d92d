import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { guest } from "./guest.fixture.js";
import { type Address, type RunningProxy, startProxy } from "./proxy.js";

// The first byte names the cluster: "a", or "b". "!" traps. Counts connections.
const source = `
  let id: u32 = 0;
  function text(s: string): ArrayBuffer { return String.UTF8.encode(s); }
  export function proxy_on_configure(c: u32, n: u32): u32 {
    const name = text("connections_total");
    define(0, at(name), name.byteLength, out);
    id = load<u32>(out);
    return 1;
  }
  export function proxy_on_new_connection(c: u32): u32 { increment(id, 1); return 1; }
  export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
    if (!n) return 0;
    get(2, 0, 1, out, out + 4);
    const first = load<u8>(load<usize>(out));
    if (first == 33) unreachable();
    const name = text("set_envoy_filter_state");
    const state = text("\\n\\x17envoy.tcp_proxy.cluster\\x12\\x01" + String.fromCharCode(first));
    foreign(at(name), name.byteLength, at(state), state.byteLength, 0, 0);
    return 0;
  }`;
let wasm: Uint8Array;
beforeAll(async () => {
  wasm = await guest(source);
});

const running: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

const here = { host: "127.0.0.1", port: 0 };

/** A server that lets `serve` treat every connection. */
async function serve(treat: (socket: Socket) => void): Promise<Address> {
  const sockets: Socket[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket.on("error", () => {}));
    treat(socket);
  });
  await once(server.listen(0, here.host), "listening");
  running.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { host: here.host, port: (server.address() as AddressInfo).port };
}

/** All that comes until the other side ends; unlike stream/consumers it leaves the socket open for the way back. */
async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk) => chunks.push(chunk));
  await once(socket, "end");
  return Buffer.concat(chunks);
}

/** Answers its name and what it got, once the client has ended. */
const named = (name: string) => serve(async (socket) => socket.end(`${name}:${await read(socket)}`));

async function proxy(clusters: Record<string, Address[]>): Promise<RunningProxy> {
  const list = Object.entries(clusters).map(([name, endpoints]) => ({ name, endpoints }));
  const started = await startProxy({ wasm, config: {}, bind: here, clusters: list });
  running.push(() => started.close());
  return started;
}

async function ask(to: Address, text: string): Promise<string> {
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.end(text);
  return (await read(socket)).toString();
}

it("goes to the cluster that the filter names, endpoints in turn, and keeps a half-closed connection", async () => {
  const to = await proxy({ a: [await named("a1"), await named("a2")], b: [await named("b")] });
  expect(await ask(to, "a-one")).toBe("a1:a-one");
  expect(await ask(to, "b-two")).toBe("b:b-two");
  expect(await ask(to, "a-three")).toBe("a2:a-three");
  expect(await ask(to, "a-four")).toBe("a1:a-four");
  expect(to.metrics()).toContain("connections_total{} 4");
});

it("closes a connection to a cluster that does not exist, or whose endpoint is dead", async () => {
  const dead = createServer();
  await once(dead.listen(0, here.host), "listening");
  const { port } = dead.address() as AddressInfo;
  await new Promise((resolve) => dead.close(resolve));
  const to = await proxy({ a: [{ host: here.host, port }] });
  expect(await ask(to, "b")).toBe("");
  expect(await ask(to, "a")).toBe("");
});

it("stops reading from a client whose server waits, and loses nothing of what it carries both ways", async () => {
  // More than the kernel's buffers of both hops hold together.
  const bytes = Buffer.alloc(64 << 20, "a0123456789");
  let reached: (socket: Socket) => void;
  const connected = new Promise<Socket>((resolve) => {
    reached = resolve;
  });
  const echo = await serve((socket) => reached(socket.pause()));
  const client = connect(await proxy({ a: [echo] }));
  client.end(bytes);
  const server = await connected;
  let before = -1;
  await vi.waitFor(
    () => {
      const rest = client.writableLength;
      const stalled = rest === before;
      before = rest;
      expect(stalled).toBe(true);
    },
    { interval: 100, timeout: 10_000 },
  );
  expect(client.writableLength).toBeGreaterThan(0);
  server.pipe(server);
  expect((await read(client)).equals(bytes)).toBe(true);
}, 30_000);

it("closes everything when the guest traps, and lives on to refuse", async () => {
  const to = await proxy({ a: [await named("a")] });
  const idle = connect(to);
  await once(idle, "connect");
  expect(await ask(to, "!")).toBe("");
  expect((await read(idle)).toString()).toBe("");
  expect(await ask(to, "a").catch((error) => error.code)).toMatch(/^$|ECONNRESET|EPIPE/);
  expect(to.logs.map(({ message }) => message)).toEqual(["proxy_on_downstream_data trapped: unreachable"]);
});

it("says which port is in use", async () => {
  const { port } = await proxy({});
  const again = startProxy({ wasm, config: {}, bind: { ...here, port }, clusters: [] });
  await expect(again).rejects.toMatchObject({ code: "E_PORT_IN_USE", message: `127.0.0.1:${port} is in use` });
});
