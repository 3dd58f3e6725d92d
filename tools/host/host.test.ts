import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { guest } from "./guest.fixture.js";
import { ConfigurationError, Host, ModuleError, TrapError } from "./host.js";

const text = (host: Host) => host.logs.map((entry) => entry.message);

/** A chain that writes down what reaches it. */
function recorder() {
  const seen: string[] = [];
  return {
    seen,
    started: () => seen.push("started"),
    toServer: (bytes: Buffer, end: boolean) => seen.push(`server ${bytes}${end ? " end" : ""}`),
    toClient: (bytes: Buffer, end: boolean) => seen.push(`client ${bytes}${end ? " end" : ""}`),
    closed: () => seen.push("closed"),
  };
}

describe("the read buffer", () => {
  let wasm: Uint8Array;
  beforeAll(async () => {
    // Waits until there are five bytes, as a filter that routes by the first frame does; "!" empties the buffer.
    wasm = await guest(`
      export function proxy_on_new_connection(c: u32): u32 { return 1; }
      export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
        if (n < 5 && !end) return 1;
        get(2, 0, 1, out, out + 4);
        if (load<u8>(load<usize>(out)) == 33) set(2, 0, n, 0, 0);
        return 0;
      }`);
  });

  it("keeps what StopIteration left and starts the chain with the first Continue", async () => {
    const chain = recorder();
    const connection = (await Host.load(wasm)).configure({}).connect(chain);
    expect(connection.downstream(Buffer.from("abc")).toString()).toBe("");
    expect(chain.seen).toEqual([]);
    expect(connection.downstream(Buffer.from("de")).toString()).toBe("abcde");
    expect(chain.seen).toEqual(["started", "server abcde"]);
  });

  it("passes the end on behind what was kept, and skips later filters when the buffer was emptied", async () => {
    const chain = recorder();
    const connection = (await Host.load(wasm)).configure({}).connect(chain);
    expect(connection.downstream(Buffer.from("!2345")).toString()).toBe("");
    expect(connection.downstream(Buffer.from("xyz"), true).toString()).toBe("xyz");
    expect(chain.seen).toEqual(["started", "server xyz end"]);
  });

  it("loses and reorders nothing, however the bytes are cut", async () => {
    const root = (await Host.load(wasm)).configure({});
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 7 }), { maxLength: 20 }), (chunks) => {
        const sent = Buffer.concat(chunks).map((byte) => byte | 0x80);
        const connection = root.connect();
        let at = 0;
        const got = chunks.map((chunk) => {
          at += chunk.length;
          return connection.downstream(sent.subarray(at - chunk.length, at));
        });
        got.push(connection.downstream(Buffer.alloc(0), true));
        expect(Buffer.concat(got)).toEqual(Buffer.from(sent));
        connection.close("client");
      }),
    );
  });
});

describe("proxy_set_buffer_bytes", () => {
  it.each([
    [0, 0, "xy", "xyabc", 0],
    [0, 2, "", "c", 0],
    [0, 2, "xy", "xyc", 0],
    [0, 3, "xy", "xy", 0],
    [0, 99, "", "", 0],
    [3, 0, "xy", "abcxy", 0],
    [9, 7, "xy", "abcxy", 0],
    [1, 1, "xy", "abc", 2],
    [2, 99, "", "abc", 2],
  ])("start %i, length %i, data %j turns abc into %j and answers %i", async (start, length, data, after, result) => {
    const wasm = await guest(`
      export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
        const b = bytes("${data}");
        log(2, set(2, ${start}, ${length}, at(b), b.byteLength).toString());
        return 0;
      }`);
    const host = await Host.load(wasm);
    expect(host.configure({}).connect().downstream(Buffer.from("abc")).toString()).toBe(after);
    expect(text(host)).toEqual([`${result}`]);
  });
});

describe("bytes put in from a tick", () => {
  const source = (action: number) => `
    export function proxy_on_configure(c: u32, n: u32): u32 { period(10); return 1; }
    export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 { resume(2); return ${action}; }
    export function proxy_on_tick(root: u32): void {
      log(2, effective(2).toString());
      const b = bytes("late");
      log(2, set(2, 0, 0, at(b), b.byteLength).toString());
      log(2, resume(2).toString() + resume(3).toString() + resume(0).toString() + resume(9).toString());
    }`;

  it("go on to the server while the buffer is in reach: after StopIteration", async () => {
    const host = await Host.load(await guest(source(1)));
    const chain = recorder();
    const connection = host.configure({}).connect(chain);
    expect(connection.downstream(Buffer.from("abc")).toString()).toBe("abc");
    host.tick();
    expect(chain.seen).toEqual(["started", "server abc", "server late"]);
    expect(text(host)).toEqual(["0", "0", "01202"]);
  });

  it("are refused after Continue", async () => {
    const host = await Host.load(await guest(source(0)));
    const chain = recorder();
    host.configure({}).connect(chain).downstream(Buffer.from("abc"));
    host.tick();
    expect(chain.seen).toEqual(["started", "server abc"]);
    expect(text(host)[1]).toBe("2");
  });

  it("come by a real timer where the host is told to have one", async () => {
    const host = await Host.load(await guest(source(1)), { timers: true });
    const root = host.configure({});
    const late = await new Promise<string>((resolve) => {
      const connection = root.connect({ toServer: (bytes) => `${bytes}` !== "abc" && resolve(`${bytes}`) });
      connection.downstream(Buffer.from("abc"));
    });
    host.close();
    expect(late).toBe("late");
  });
});

describe("the end of a connection", () => {
  const source = `
    export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 { log(2, "down " + end.toString()); if (n == 1) close(2); return 0; }
    export function proxy_on_upstream_data(c: u32, n: u32, end: u32): u32 { log(2, "up " + end.toString()); if (n == 1) close(3); return n == 2 ? 1 : 0; }
    export function proxy_on_downstream_connection_close(c: u32, peer: u32): void { log(2, "down close " + peer.toString()); }
    export function proxy_on_upstream_connection_close(c: u32, peer: u32): void { log(2, "up close " + peer.toString()); }
    export function proxy_on_done(c: u32): u32 { log(2, "done"); return 1; }
    export function proxy_on_log(c: u32): void { log(2, "log"); }
    export function proxy_on_delete(c: u32): void { log(2, "delete"); }`;
  let wasm: Uint8Array;
  beforeAll(async () => {
    wasm = await guest(source);
  });
  const open = async () => {
    const host = await Host.load(wasm);
    const chain = recorder();
    return { host, chain, connection: host.configure({}).connect(chain) };
  };

  it("by the client", async () => {
    const { host, chain, connection } = await open();
    connection.close("client");
    connection.close("server");
    expect(text(host)).toEqual(["down close 2", "done", "log", "delete"]);
    expect(chain.seen).toEqual(["started", "closed"]);
  });

  it("by the server", async () => {
    const { host, chain, connection } = await open();
    connection.close("server");
    expect(text(host)).toEqual(["up 1", "up close 0", "down close 1", "done", "log", "delete"]);
    expect(chain.seen).toEqual(["started", "client  end", "closed"]);
  });

  it("by the filter, while the client's bytes pass: they go nowhere", async () => {
    const { host, chain, connection } = await open();
    expect(connection.downstream(Buffer.from("x")).toString()).toBe("");
    expect(connection.closed).toBe(true);
    expect(text(host)).toEqual(["down 0", "down close 1", "done", "log", "delete"]);
    expect(chain.seen).toEqual(["started", "closed"]);
  });

  it("by the filter, while the server's bytes pass: they are lost", async () => {
    const { chain, connection } = await open();
    expect(connection.upstream(Buffer.from("x")).toString()).toBe("");
    expect(chain.seen).toEqual(["started", "closed"]);
  });

  it("StopIteration for the server's bytes loses them, and the log says so", async () => {
    const { host, connection } = await open();
    expect(connection.upstream(Buffer.from("xy")).toString()).toBe("");
    expect(connection.upstream(Buffer.from("abc")).toString()).toBe("abc");
    expect(text(host)[1]).toMatch(/^2 bytes lost/);
  });
});

it("answers InvalidMemoryAccess to addresses outside of the guest's memory", async () => {
  const wasm = await guest(`
    export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
      const bad: usize = 0xfffffff0;
      const id = out + 8;
      define(1, out, 1, id);
      const all = [
        log_(2, bad, 32), get(2, 0, 1, bad, out), get(2, 0, 1, out, bad), status(2, bad, out), status(2, out, bad),
        set(2, 0, 0, bad, 99), now(bad), define(0, bad, 99, out), define(0, out, 1, bad), metric(load<u32>(id), bad),
        setProperty(bad, 99, out, 1), setProperty(out, 1, bad, 99), getProperty(bad, 99, out, out),
        foreign(bad, 99, out, 1, 0, 0), foreign(out, 1, bad, 99, 0, 0)
      ];
      log(2, all.join(" "));
      return 0;
    }`);
  const host = await Host.load(wasm);
  host.configure({}).connect().downstream(Buffer.from("abc"));
  expect(text(host)).toEqual([new Array(15).fill("6").join(" ")]);
});

it("reads buffers by start and length", async () => {
  const wasm = await guest(`
    function read(type: u32, start: u32, length: u32): string {
      store<usize>(out, 0); store<u32>(out, 0, 4);
      const result = get(type, start, length, out, out + 4);
      return result.toString() + ":" + String.UTF8.decodeUnsafe(load<usize>(out), load<u32>(out, 4));
    }
    export function proxy_on_configure(c: u32, n: u32): u32 { log(2, read(7, 0, n) + " " + read(2, 0, 9)); return 1; }
    export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 {
      log(2, [read(2, 0, n), read(2, 1, 1), read(2, 1, 99), read(2, 3, 1), read(2, 4, 1), read(3, 0, 9), read(7, 0, 9), read(99, 0, 1)].join(" "));
      return 0;
    }`);
  const host = await Host.load(wasm);
  host.configure('{"a":1}').connect().downstream(Buffer.from("abc"));
  expect(text(host)).toEqual(['0:{"a":1} 1:', "0:abc 0:b 0:bc 0: 2: 0: 1: 2:"]);
});

it("keeps filter state of a connection, and knows which keys Envoy knows", async () => {
  const field = (n: number, s: string) =>
    `String.fromCharCode(${(n << 3) | 2}) + String.fromCharCode(${s.length}) + "${s}"`;
  const wasm = await guest(`
    function put(message: string): u32 {
      const name = bytes("set_envoy_filter_state"), b = bytes(message);
      return foreign(at(name), name.byteLength, at(b), b.byteLength, 0, 0);
    }
    function prop(path: string, value: string): u32 { const k = bytes(path), v = bytes(value); return setProperty(at(k), k.byteLength, at(v), v.byteLength); }
    function show(path: string): string {
      const k = bytes(path);
      const result = getProperty(at(k), k.byteLength, out, out + 4);
      return result ? "error " + result.toString() : String.UTF8.decodeUnsafe(load<usize>(out), load<u32>(out, 4));
    }
    export function proxy_on_configure(c: u32, n: u32): u32 {
      log(2, prop("a", "b").toString() + put(${field(1, "envoy.string")}).toString());
      return 1;
    }
    export function proxy_on_new_connection(c: u32): u32 {
      const span = String.fromCharCode(24) + String.fromCharCode(1);
      log(2, [
        prop("meltemi.method", "hi"), put(${field(1, "envoy.tcp_proxy.cluster")} + ${field(2, "v2")} + span),
        put(${field(1, "envoy.tcp_proxy.clusters")} + ${field(2, "v2")}), put("\\x0a\\x7fshort")
      ].join(" "));
      log(2, [show("meltemi.method"), show("filter_state\\0envoy.tcp_proxy.cluster"), show("plugin_name"), show("nothing")].join(" "));
      return 0;
    }`);
  const host = await Host.load(wasm);
  const connection = host.configure({}).connect();
  expect(text(host)).toEqual(["11", "0 0 1 2", "hi v2 meltemi error 1"]);
  expect(Object.fromEntries(connection.filterState)).toEqual({
    "wasm.meltemi.method": "hi",
    "envoy.tcp_proxy.cluster": "v2",
  });
  expect(host.calls.proxy_call_foreign_function).toBe(4);
});

it("counts, sets and records metrics and prints them as Envoy does", async () => {
  const wasm = await guest(`
    function make(type: u32, name: string): u32 { const b = bytes(name); return define(type, at(b), b.byteLength, out) ? 0 : load<u32>(out); }
    export function proxy_on_configure(c: u32, n: u32): u32 {
      const a = make(0, "p=.=x%3b;.;q=.=;.;a_total"), again = make(0, "p=.=x%3b;.;q=.=;.;a_total"), g = make(1, "g"), h = make(2, "p=.=y;.;h");
      const results = [increment(a, 2), increment(again, 3), increment(a, 0), increment(a, -1), increment(g, 5), increment(g, -7),
        increment(h, 1), increment(400, 1), record(h, 1), record(h, 259), record(h, 4000000), record(404, 1), metric(h, out), metric(a, out)];
      log(2, results.join(" ") + " " + load<u64>(out).toString() + " " + make(3, "bad").toString());
      return 1;
    }`);
  const host = await Host.load(wasm);
  host.configure({});
  expect(text(host)).toEqual(["0 0 2 2 0 0 2 1 0 0 0 1 2 0 5 0"]);
  expect(host.metrics.gauges.get("g")).toBe(-2);
  const lines = host.prometheus().split("\n");
  expect(lines.slice(0, 4)).toEqual(["# TYPE a_total counter", 'a_total{p="x%3b",q=""} 5', "# TYPE g gauge", "g{} -2"]);
  expect(lines).toContain('h_bucket{p="y",le="0.5"} 0');
  expect(lines).toContain('h_bucket{p="y",le="1"} 1');
  expect(lines).toContain('h_bucket{p="y",le="10"} 1');
  expect(lines).toContain('h_bucket{p="y",le="100"} 1');
  expect(lines).toContain('h_bucket{p="y",le="250"} 2');
  expect(lines).toContain('h_bucket{p="y",le="3600000"} 2');
  expect(lines.slice(-4)).toEqual(['h_bucket{p="y",le="+Inf"} 3', 'h_sum{p="y"} 4000260', 'h_count{p="y"} 3', ""]);
});

it("refuses a configuration with the guest's own words and lives on", async () => {
  const wasm = await guest(`
    export function proxy_on_configure(c: u32, n: u32): u32 { if (n > 2) log(4, "configuration: too long"); return n < 2 || n > 2 ? 0 : 1; }`);
  const host = await Host.load(wasm);
  expect(() => host.configure('{"a":1}')).toThrow(new ConfigurationError("configuration: too long"));
  expect(() => host.configure("1")).toThrow(/did not say why/);
  expect(host.configure({}).connect().downstream(Buffer.from("a")).toString()).toBe("a");
});

it("gives the VM up when the guest traps, and with it every connection", async () => {
  const wasm = await guest(`
    export function proxy_on_downstream_data(c: u32, n: u32, end: u32): u32 { if (n == 4) unreachable(); return 0; }`);
  const host = await Host.load(wasm);
  const root = host.configure({});
  const [first, second] = [recorder(), recorder()];
  root.connect(first);
  const connection = root.connect(second);
  expect(() => connection.downstream(Buffer.from("boom"))).toThrow(TrapError);
  expect(host.failed?.message).toBe("proxy_on_downstream_data trapped: unreachable");
  expect(first.seen).toEqual(["started", "closed"]);
  expect(() => root.connect()).toThrow(host.failed);
  expect(text(host)).toEqual([host.failed?.message]);
});

it("says what a module lacks", async () => {
  await expect(Host.load(Buffer.from("not wasm"))).rejects.toThrow(ModuleError);
  const wasm = await guest(`
    @external("env", "proxy_nothing") declare function nothing(): u32;
    export function proxy_on_tick(c: u32): void { nothing(); }`);
  await expect(Host.load(wasm)).rejects.toThrow("imports what no host has: env.proxy_nothing");
});

it("tells the time it was given", async () => {
  const wasm = await guest(`
    export function proxy_on_new_connection(c: u32): u32 { now(out); log(2, load<u64>(out).toString()); return 0; }`);
  const host = await Host.load(wasm, { clock: () => 1_700_000_000_123_456_789n });
  host.configure({}).connect();
  expect(text(host)).toEqual(["1700000000123456789"]);
});
