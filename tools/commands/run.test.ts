import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { envoy } from "../envoy/envoy.fixture.js";
import { Exit } from "../errors.js";
import { packageRoot } from "../paths.js";

const cli = join(packageRoot, "dist", "tools", "cli.js");
let folder: string;
let echo: Server;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-test-"));
  echo = createServer((socket) => socket.pipe(socket)).listen(0, "127.0.0.1");
  await new Promise((done) => echo.once("listening", done));
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
});
afterAll(() => {
  echo.close();
  rmSync(folder, { recursive: true });
});

/** Writes a meltemi.yaml for the echo server, on ports that are free. */
function yaml(more = ""): string {
  const { port } = echo.address() as AddressInfo;
  const path = join(folder, "meltemi.yaml");
  writeFileSync(path, `protocol: dubbo\nservice: { name: echo, bind: 0, endpoints: [${port}] }\nadmin: 0\n${more}`);
  return path;
}

/** Starts the tool; `out` and `err` grow while it writes. */
function meltemi(args: string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [cli, ...args], { cwd: packageRoot, env: { ...process.env, ...env } });
  children.add(child);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    said.out += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said.err += chunk;
  });
  const ended = new Promise<number | null>((done) => child.once("close", done));
  ended.then(() => children.delete(child));
  return { child, said, ended };
}

/** Nothing on the PATH, an empty cache, no Python: no Envoy to be had. */
const nowhere = () => ({ PATH: folder, MELTEMI_CACHE: join(folder, "cache"), MELTEMI_ENVOY: "" });
const named = (): NodeJS.ProcessEnv => ({ MELTEMI_ENVOY: envoy?.origin });

async function port(said: { out: string; err: string }): Promise<number> {
  const address = /clients connect to 127\.0\.0\.1:(\d+)/;
  await expect.poll(() => said.out + said.err, { timeout: 20_000 }).toMatch(address);
  return Number(address.exec(said.out + said.err)?.[1]);
}

/** Bytes that are not Dubbo go through all the same, and count as one decode error. */
async function exchange(to: number): Promise<void> {
  const socket = connect(to, "127.0.0.1");
  socket.end("this is not a Dubbo frame");
  expect(await text(socket)).toBe("this is not a Dubbo frame");
}

describe("meltemi run", { timeout: 60_000 }, () => {
  it("prints what stands in envoy/", async () => {
    const { said, ended } = meltemi(["run", "--print", "envoy/observe/meltemi.yaml"]);
    expect(await ended).toBe(Exit.ok);
    expect(said.out).toBe(readFileSync(join(packageRoot, "envoy/observe/envoy.yaml"), "utf8"));
  });

  it.skipIf(!envoy)("serves through Envoy until it is interrupted", async () => {
    const log = join(folder, "access.log");
    const { child, said, ended } = meltemi(
      ["run", yaml(), "--no-view", "--access-log", log, "--concurrency", "1"],
      named(),
    );
    await exchange(await port(said));
    const admin = /metrics: (\S+)/.exec(said.err)?.[1] ?? "";
    await expect.poll(async () => (await fetch(admin)).text()).toContain("meltemi_decode_errors_total");
    child.kill("SIGINT");
    expect(await ended).toBe(Exit.ok);
    await expect(fetch(admin)).rejects.toThrow();
    expect(JSON.parse(readFileSync(log, "utf8"))).toMatchObject({
      cluster: "echo",
      received_bytes: 25,
      sent_bytes: 25,
    });
  });

  it.skipIf(!envoy)("shows live figures as JSON", async () => {
    const { child, said, ended } = meltemi(["run", yaml(), "--json"], named());
    await expect.poll(() => said.out, { timeout: 20_000 }).toMatch(/^\{.*\}\n/);
    child.kill("SIGTERM");
    expect(await ended).toBe(Exit.ok);
    expect(JSON.parse(said.out.split("\n")[0] ?? "")).toMatchObject({ methods: [], all: { requests: 0 } });
  });

  it.skipIf(!envoy)("ends with Envoy, and says why", async () => {
    const { child, said, ended } = meltemi(["run", yaml(), "--no-view"], named());
    await port(said);
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
    expect(children).toHaveLength(1);
    process.kill(Number(children[0]), "SIGKILL");
    expect(await ended).toBe(Exit.failed);
    expect(said.err).toContain("meltemi: Envoy ended by itself: SIGKILL [E_ENVOY]");
  });

  it("runs the module in Node where there is no Envoy", async () => {
    const { child, said, ended } = meltemi(["run", yaml(), "--json"], nowhere());
    await expect.poll(() => said.err, { timeout: 20_000 }).toContain("there is no Envoy");
    expect(said.err).toContain("- it cannot be fetched: python3 cannot be started\n- no Docker answers");
    await expect.poll(() => said.out).toMatch(/^\{.*\}\n/);
    child.kill("SIGINT");
    expect(await ended).toBe(Exit.ok);
  });

  it("does not run mode bridge without Envoy", async () => {
    const { said, ended } = meltemi(["run", yaml("mode: bridge\n")], nowhere());
    expect(await ended).toBe(Exit.missing);
    expect(said.err).toContain("mode bridge needs Envoy, and there is no Envoy");
    expect(said.err).toContain("- no Docker answers");
  });

  it("passes bytes on and counts in Node as well", async () => {
    const { child, said, ended } = meltemi(["run", yaml()], nowhere());
    await exchange(await port(said));
    await expect.poll(() => said.out, { timeout: 10_000 }).toMatch(/decode error/);
    child.kill("SIGINT");
    expect(await ended).toBe(Exit.ok);
  });

  it.each<[string, () => string[], Exit, string]>([
    ["a file that is wrong", () => [yaml("mode: rout\n")], Exit.input, 'unknown mode "rout", did you mean "route"?'],
    [
      "a file that is not there",
      () => ["/nowhere.yaml"],
      Exit.input,
      "/nowhere.yaml: there is no such file [E_NO_FILE]",
    ],
    ["a module that is not built", () => [yaml(), "--module", "/no.wasm"], Exit.missing, "Run: meltemi build"],
    ["an Envoy that is none", () => [yaml(), "--envoy", "/no"], Exit.missing, "--envoy: /no does not run"],
    ["a number that is none", () => [yaml(), "--concurrency", "many"], Exit.usage, "expected a whole number from 1"],
  ])("refuses %s", async (_, args, exit, message) => {
    const { said, ended } = meltemi(["run", ...args()]);
    expect(await ended).toBe(exit);
    expect(said.err).toContain(message);
    expect(said.err).not.toContain("    at ");
  });

  it("has help with examples that are there", async () => {
    const { said, ended } = meltemi(["run", "--help"]);
    expect(await ended).toBe(Exit.ok);
    expect(said.out).toContain("$ meltemi run envoy/observe/meltemi.yaml");
  });
});

it("meltemi schema prints what stands in schema/", async () => {
  const { said, ended } = meltemi(["schema"]);
  expect(await ended).toBe(Exit.ok);
  expect(said.out).toBe(readFileSync(join(packageRoot, "schema/meltemi.schema.json"), "utf8"));
});
