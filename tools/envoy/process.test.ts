import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Exit, UserError } from "../errors.js";
import { parse } from "../model/load.js";
import { type Address, formatAddress } from "../model/units.js";
import { defaultModule } from "../paths.js";
import { bootstrap } from "./bootstrap.js";
import { envoy } from "./envoy.fixture.js";
import { EnvoyProcess, explain, type LogLine, parseLogLine } from "./process.js";

describe.skipIf(!envoy)("a real Envoy", { timeout: 60_000 }, () => {
  let echo: Server;
  let folder: string;
  const running: EnvoyProcess[] = [];
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "meltemi-test-"));
    echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
    await new Promise((done) => echo.once("listening", done));
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
  });
  afterAll(() => {
    echo.close();
    rmSync(folder, { recursive: true });
  });

  interface Changes {
    bind?: string;
    admin?: string;
    module?: string;
    signal?: AbortSignal;
    onLog?: (line: LogLine) => void;
  }
  async function start({ bind = "0", admin = "0", module = defaultModule, ...rest }: Changes = {}) {
    if (!envoy) throw new Error("there is no Envoy");
    const server = `127.0.0.1:${(echo.address() as AddressInfo).port}`;
    const model = parse(
      `protocol: dubbo\nservice: { name: echo, bind: "${bind}", endpoints: ["${server}"] }\nadmin: "${admin}"\n`,
      ["dubbo"],
    );
    const started = await EnvoyProcess.start({
      envoy,
      bootstrap: bootstrap(model, { module }),
      concurrency: 1,
      ...rest,
    });
    running.push(started);
    return started;
  }
  const refusal = (promise: Promise<unknown>): Promise<UserError> =>
    promise.then(
      () => expect.unreachable("it started"),
      (error) => (error instanceof UserError ? error : Promise.reject(error)),
    );
  const free = async (): Promise<string> => {
    const one = await start();
    const address = formatAddress(await one.listener());
    await one.stop();
    return address;
  };

  /** Sends `bytes` and answers all that comes back. */
  async function exchange({ host, port }: Address, bytes: string): Promise<string> {
    const socket = connect({ host, port });
    socket.end(bytes);
    return text(socket);
  }

  it("is live when start() is done, passes bytes on and tells its figures", async () => {
    const one = await start();
    const address = await one.listener();
    expect(address.port).toBeGreaterThan(0);
    expect(await exchange(address, "this is not a Dubbo frame")).toBe("this is not a Dubbo frame");

    await expect.poll(() => one.prometheus()).toMatch(/^meltemi_decode_errors_total\{.*reason="magic".*\} 1$/m);
    expect(await one.prometheus()).toContain("envoy_cluster_upstream_cx_total");
    const ours = await one.prometheus("meltemi_");
    expect(ours).toContain("meltemi_decode_errors_total");
    expect(ours).not.toContain("envoy_");
    expect((await one.stats())["cluster.echo.upstream_cx_total"]).toBe(1);
    await expect(one.get("/nothing")).rejects.toThrow("Envoy's admin answers 404 to /nothing");
    await expect(one.listener("other")).rejects.toThrow("Envoy has no listener other");
  });

  it("is gone when stop() is done, with its files, however often it is called", async () => {
    const one = await start();
    const config = readFileSync(`/proc/${one.pid}/cmdline`, "utf8").split("\0")[2] ?? "";
    expect(existsSync(config)).toBe(true);
    expect(await Promise.all([one.stop(), one.stop()])).toEqual(Array(2).fill({ code: 0, signal: null }));
    expect(existsSync(dirname(config))).toBe(false);
    expect(existsSync(`/proc/${one.pid}`)).toBe(false);
  });

  it("tells when it ends by itself", async () => {
    const one = await start();
    process.kill(one.pid, "SIGKILL");
    const ended = await one.ended;
    expect(ended).toEqual({ code: null, signal: "SIGKILL" });
    expect(one.whyEnded(ended)).toMatchObject({ message: "Envoy ended by itself: SIGKILL", exit: Exit.failed });
  });

  it("names the key whose port is in use", async () => {
    const one = await start();
    const bind = formatAddress(await one.listener());
    const admin = formatAddress(one.admin);
    const hint = (key: string) =>
      `End the program that listens there, or choose another port for "${key}" in meltemi.yaml.`;
    expect(await refusal(start({ bind }))).toMatchObject({
      code: "E_PORT_IN_USE",
      message: `service.bind: ${bind} is in use`,
      options: { hint: hint("service.bind") },
      exit: Exit.missing,
    });
    expect(await refusal(start({ admin, bind: await free() }))).toMatchObject({
      code: "E_PORT_IN_USE",
      message: `admin: ${admin} is in use`,
      options: { hint: hint("admin") },
    });
  });

  it("says why Envoy does not take the module", async () => {
    const module = join(folder, "broken.wasm");
    writeFileSync(module, "no module");
    expect(await refusal(start({ module }))).toMatchObject({
      code: "E_MODULE",
      message: "Envoy refuses the module: Failed to parse corrupted Wasm module",
    });
    expect(await refusal(start({ module: join(folder, "none.wasm") }))).toMatchObject({
      code: "E_ENVOY",
      message: `Envoy ended by itself: Invalid path: ${join(folder, "none.wasm")}`,
    });
  });

  it("says what the module does not like about its configuration", async () => {
    if (!envoy) throw new Error("there is no Envoy");
    const model = parse("protocol: dubbo\nservice: { name: a, bind: 0, endpoints: [1] }\nadmin: 0\n", ["dubbo"]);
    const bad = bootstrap({ ...model, protocol: "smoke" }, { module: defaultModule });
    const error = await refusal(EnvoyProcess.start({ envoy, bootstrap: bad }));
    expect(error.code).toBe("E_MODULE");
    expect(error.message).toMatch(
      /^the module refuses: configuration: \$\.protocol: expected one of .*, found "smoke"$/,
    );
  });

  it("can be given up while it starts", async () => {
    await expect(start({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
  });
});

it("tells the module's lines from Envoy's", () => {
  const module = '[2026-07-01T10:00:00.123][info][wasm] wasm log meltemi meltemi meltemi: {"meltemi":"request"}';
  expect(parseLogLine(module)).toEqual({ level: "info", text: '{"meltemi":"request"}', module: true });
  const envoys = "[2026-07-01T10:00:00.123][error][config] listener: no";
  expect(parseLogLine(envoys)).toEqual({ level: "error", text: "listener: no", module: false });
  expect(parseLogLine("something else")).toEqual({ level: "", text: "something else", module: false });
});

it("shows the worst lines where it does not know what happened", () => {
  const log = ["[t][info][main] fine", "[t][critical][main] all is lost", "[t][warning][main] hm"];
  const error = explain(log, {}, "SIGSEGV");
  expect(error.message).toBe("Envoy ended by itself: SIGSEGV");
  expect(error.options.hint).toBe("all is lost");
});
