import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import type { Bootstrap } from "../../tools/envoy/bootstrap.js";
import { EnvoyProcess } from "../../tools/envoy/process.js";
import { guest } from "../../tools/host/guest.fixture.js";
import { startProxy } from "../../tools/host/proxy.js";
import { envoy, eventually, scratch } from "./harness.js";

/*
 * The host in Node against the real one: a guest that tries what the ABI offers runs in both, under the same traffic,
 * and has to see the same.
 */

const source = `
  function make(type: u32, name: string): u32 {
    const b = bytes(name);
    return define(type, at(b), b.byteLength, out) ? 0 : load<u32>(out);
  }
  function read(type: u32, start: u32, length: u32): string {
    store<usize>(out, 77);
    store<u32>(out, 77, 4);
    const result = get(type, start, length, out, out + 4), size = load<u32>(out, 4);
    return result.toString() + ":" + (size == 77 ? "untouched" : String.UTF8.decodeUnsafe(load<usize>(out), size));
  }
  function size(type: u32): string {
    store<u32>(out, 77);
    return status(type, out, out + 4).toString() + ":" + load<u32>(out).toString();
  }
  function put(type: u32, start: u32, length: u32, text: string): string {
    const b = bytes(text);
    return set(type, start, length, at(b), b.byteLength).toString();
  }
  function property(path: string): string {
    const b = bytes(path);
    const result = getProperty(at(b), b.byteLength, out, out + 4);
    return result ? result.toString() : String.UTF8.decodeUnsafe(load<usize>(out), load<u32>(out, 4));
  }
  function setState(path: string, value: string): string {
    const name = bytes("set_envoy_filter_state");
    const b = bytes("\\n" + String.fromCharCode(path.length) + path + "\\x12" + String.fromCharCode(value.length) + value + "\\x18\\x01");
    return foreign(at(name), name.byteLength, at(b), b.byteLength, 0, 0).toString();
  }
  let connection: u32 = 0, phase: u32 = 0, counted = false;

  function count(): void {
    const counter = make(0, "protocol=.=x%3b;.;service=.=q;.;probe_total"), again = make(0, "protocol=.=x%3b;.;service=.=q;.;probe_total");
    const gauge = make(1, "probe_gauge"), histogram = make(2, "protocol=.=y;.;status=.=ok;.;probe_milliseconds");
    const results = [
      increment(counter, 2), increment(again, 3), increment(counter, 0), increment(counter, -1), increment(gauge, 5),
      increment(gauge, -2), increment(histogram, 1), increment(400, 1), record(400, 1), metric(histogram, out),
      make(3, "bad"), metric(counter, out), load<u32>(out), metric(400, out)
    ];
    log(2, "metrics " + results.join(" "));
    for (let i = 0; i < 12; i++) record(histogram, i);
    const samples = [24, 25, 26, 99, 100, 101, 109, 110, 249, 250, 251, 260, 1000, 1001, 3600000, 4000000];
    for (let i = 0; i < samples.length; i++) record(histogram, samples[i]);
  }

  export function proxy_on_vm_start(root: u32, n: u32): u32 { return 1; }
  export function proxy_on_configure(root: u32, n: u32): u32 { return 1; }
  export function proxy_on_context_create(c: u32, root: u32): void {
    if (root) { connection = c; phase = 0; log(2, "create"); }
  }
  export function proxy_on_new_connection(c: u32): u32 {
    if (!counted) { counted = true; count(); }
    log(2, "new " + [read(2, 0, 5), size(2), size(3), put(2, 0, 0, "x"), resume(1).toString(), read(6, 0, 9), read(7, 0, 9)].join(" "));
    const key = bytes("my.key"), value = bytes("mine");
    log(2, "property " + [
      setProperty(at(key), key.byteLength, at(value), value.byteLength).toString(), property("my.key"), property("filter_state\\0wasm.my.key"),
      property("plugin_name"), property("plugin_root_id"), property("plugin_vm_id"), property("nothing"), property("filter_state\\0none")
    ].join(" "));
    log(2, "state " + [setState("envoy.tcp_proxy.cluster", "echo"), setState("envoy.string", "text"), setState("envoy.nothing", "1"),
      property("filter_state\\0envoy.tcp_proxy.cluster")].join(" "));
    return 1;
  }
  export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
    log(2, "down " + n.toString() + " " + end.toString() + " " + read(2, 0, n));
    if (end) return 0;
    get(2, 0, 1, out, out + 4);
    if (load<u8>(load<usize>(out)) == 0x21) { close(2); log(2, "close"); return 0; }
    phase++;
    if (phase == 1) return 1;
    log(2, [read(2, 0, 3), read(2, 2, 99), read(2, n, 1), read(3, 0, 9), read(7, 0, 9), read(99, 0, 1), size(2), size(99)].join(" "));
    log(2, "set " + [put(2, 1, 1, "Z"), put(2, 0, 2, ""), put(2, 0, 0, "<"), put(2, 99, 0, ">"), put(2, 0, 1, "["), put(3, 0, 0, "z"), read(2, 0, 99)].join(" "));
    log(2, "others " + [resume(3), resume(0), resume(1), resume(9), close(9), effective(999), effective(0)].join(" "));
    period(20);
    // First the tick passes the bytes on, then the filter itself does and the tick comes too late.
    return phase == 2 ? 1 : 0;
  }
  export function proxy_on_tick(root: u32): void {
    period(0);
    log(2, "tick " + [effective(connection).toString(), put(2, 0, 0, "late "), read(2, 0, 99), resume(2).toString()].join(" "));
  }
  export function proxy_on_upstream_data(c: u32, n: u32, end: u32): u32 {
    log(2, "up " + [n.toString(), end.toString(), read(3, 0, n), put(3, 0, 1, "{"), put(3, 99, 0, "}"), read(2, 0, 9), resume(3).toString()].join(" "));
    return 0;
  }
  export function proxy_on_downstream_connection_close(c: u32, peer: u32): void { log(2, "down close " + peer.toString()); }
  export function proxy_on_upstream_connection_close(c: u32, peer: u32): void { log(2, "up close " + peer.toString()); }
  export function proxy_on_done(c: u32): u32 { if (c == connection) log(2, "done"); return 1; }
  export function proxy_on_log(c: u32): void { if (c == connection) log(2, "log"); }
  export function proxy_on_delete(c: u32): void { if (c == connection) log(2, "delete"); }`;

let wasm: Uint8Array;
beforeAll(async () => {
  wasm = await guest(source);
});

interface Echo {
  port: number;
  /** Ends the connection that came last. */
  end(): void;
}

/** Sends everything back. It ends when it is told to: never so soon that its last bytes and the end are one read. */
async function echo(): Promise<Echo> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => socket.write(bytes));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, end: () => sockets.at(-1)?.end() };
}

interface Proxy {
  port: number;
  /** What the guest wrote. */
  log: () => string[];
  metrics: () => string | Promise<string>;
}

async function inNode(upstream: Echo): Promise<Proxy> {
  const clusters = [{ name: "echo", endpoints: [{ host: "127.0.0.1", port: upstream.port }] }];
  const proxy = await startProxy({ wasm, config: {}, bind: { host: "127.0.0.1", port: 0 }, clusters });
  onTestFinished(() => proxy.close());
  return { port: proxy.port, log: () => proxy.logs.map(({ message }) => message), metrics: () => proxy.metrics() };
}

async function inEnvoy(upstream: Echo): Promise<Proxy> {
  const folder = await scratch();
  const module = join(folder, "probe.wasm");
  writeFileSync(module, wasm);
  const lines: string[] = [];
  const process = await EnvoyProcess.start({
    envoy: await envoy(),
    bootstrap: bootstrap(module, upstream.port),
    files: [module],
    concurrency: 1,
    onLog: ({ module, text }) => module && lines.push(text),
  });
  onTestFinished(() => process.stop().then(() => {}));
  return { port: (await process.listener("l")).port, log: () => lines, metrics: () => process.prometheus() };
}

function bootstrap(module: string, upstream: number): Bootstrap {
  const local = (port: number) => ({ socket_address: { address: "127.0.0.1", port_value: port } });
  const type = (name: string, fields: object) => ({ "@type": `type.googleapis.com/${name}`, ...fields });
  const config = {
    name: "meltemi",
    configuration: type("google.protobuf.StringValue", { value: "{}" }),
    vm_config: { runtime: "envoy.wasm.runtime.v8", code: { local: { filename: module } } },
  };
  const tcp = { stat_prefix: "t", cluster: "echo", max_early_data_bytes: 65536 };
  const filters = [
    { name: "wasm", typed_config: type("envoy.extensions.filters.network.wasm.v3.Wasm", { config }) },
    { name: "tcp", typed_config: type("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", tcp) },
  ];
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: local(upstream) } }] }];
  return {
    admin: { address: local(0) },
    stats_flush_interval: "0.1s",
    stats_config: {
      stats_tags: ["protocol", "service", "status"].map((tag) => ({ tag_name: tag, regex: `(${tag}=\\.=(.*?);\\.;)` })),
    },
    static_resources: {
      listeners: [{ name: "l", address: local(0), filter_chains: [{ filters }] }],
      clusters: [{ name: "echo", load_assignment: { cluster_name: "echo", endpoints } }],
    },
  };
}

/** The same connections for either proxy; answers what the guest and the clients saw. */
async function drive({ port, log, metrics }: Proxy, server: Echo) {
  const got: string[] = [];
  let ended = 0;
  const logged = (text: string, times: number) =>
    eventually(() => expect(log().filter((line) => line.startsWith(text)).length).toBe(times));
  const open = async () => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const index = got.push("") - 1;
    socket.on("data", (bytes) => {
      got[index] = `${got[index]}${bytes}`;
    });
    socket.on("error", () => {});
    await logged("state", index + 1);
    const has = (text: string) => eventually(() => expect(got[index]).toBe(text));
    return { socket, has, deleted: () => logged("delete", ++ended) };
  };

  const patient = await open();
  patient.socket.write("abc");
  await logged("down 3", 1);
  patient.socket.write("defgh");
  await patient.has("{ate [cdefgh>}");
  patient.socket.write("ijkl");
  await patient.has("{ate [cdefgh>}{kl>}");
  await logged("tick", 2);
  patient.socket.end();
  await logged("down 0 1", 1);
  server.end();
  await patient.deleted();

  const refused = await open();
  refused.socket.write("!");
  await once(refused.socket, "end");
  refused.socket.destroy();
  await refused.deleted();

  const served = await open();
  served.socket.write("client");
  await logged("down 6 0", 1);
  served.socket.end();
  await served.has("{lient}");
  server.end();
  await served.deleted();

  const left = await open();
  left.socket.write("abc");
  await logged("down 3", 2);
  left.socket.write("server");
  await left.has("{ate [cserver>}");
  server.end();
  await once(left.socket, "end");
  left.socket.end();
  await left.deleted();

  const rude = await open();
  rude.socket.write("abc");
  await logged("down 3", 3);
  rude.socket.resetAndDestroy();
  await rude.deleted();

  const numbers = await eventually(async () => {
    const lines = (await metrics()).split("\n").filter((line) => /^(# TYPE )?probe_(?!milliseconds_sum)/.test(line));
    expect(lines).toContain('probe_milliseconds_count{protocol="y",status="ok"} 28');
    return lines;
  });
  return { got, log: [...log()], numbers };
}

it("shows a guest what Envoy shows it", async () => {
  const server = await echo();
  const real = await drive(await inEnvoy(server), server);
  const ours = await drive(await inNode(server), server);
  expect(real.log.length).toBeGreaterThan(30);
  expect(ours.log).toEqual(real.log);
  expect(ours.got).toEqual(real.got);
  expect(ours.numbers).toEqual(real.numbers);
});
