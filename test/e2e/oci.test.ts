import { execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { descriptionFile } from "../../tools/model/module.js";
import { defaultModule, packageRoot } from "../../tools/paths.js";
import { ACCOUNT, Registry } from "../istio/lab/registry.js";
import { ended, scratch } from "./harness.js";

/* push and pull as a user runs them, against the registry that Debian has, read back by skopeo. */

const missing = (program: string) => spawnSync(program, ["--version"]).error !== undefined;
const noRegistry = missing("docker-registry");
const noSkopeo = missing("skopeo");
const cli = join(packageRoot, "dist", "tools", "cli.js");
const MIB = 2 ** 20;

interface Options {
  cwd: string;
  /** On standard input. */
  input?: string;
  env?: NodeJS.ProcessEnv;
}

/** Starts the tool, which knows of no credentials but those in its folder. */
function start(args: string[], { cwd, input = "", env = {} }: Options) {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd,
    env: { ...process.env, DOCKER_CONFIG: cwd, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(input);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.err += text;
  });
  const exit = new Promise<number | null>((done) => child.once("close", done));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  return { child, end: exit.then((code) => ({ exit: code, ...said })) };
}

const meltemi = (args: string[], options: Options) => start(args, options).end;

async function skopeo(...args: string[]): Promise<string> {
  return (await promisify(execFile)("skopeo", args)).stdout;
}

/** Between a client and a registry. */
interface Relay {
  readonly address: string;
  /** Resolves when the client has begun its nth PATCH, of which the registry gets nothing before `letPass()`. */
  readonly held: Promise<void>;
  /** What is held is lost, with its connection; all that comes later passes. */
  letPass(): void;
  stop(): Promise<void>;
}

async function relay(to: string, nth: number): Promise<Relay> {
  const [host, port] = to.split(":") as [string, string];
  const sockets = new Set<Socket>();
  let hold: (value?: unknown) => void = () => {};
  const held = new Promise<unknown>((done) => {
    hold = done;
  });
  let parts = 0;
  let passing = true;
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
    upstream.on("data", (data) => client.write(data));
    client.on("data", (data) => {
      if (data.subarray(0, 6).toString() === "PATCH " && ++parts === nth) {
        passing = false;
        hold();
      }
      if (passing) upstream.write(data);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const letPass = () => {
    passing = true;
    for (const socket of sockets) socket.destroy();
  };
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    held: held.then(() => {}),
    letPass,
    stop: async () => {
      letPass();
      await new Promise((done) => server.close(done));
    },
  };
}

/** The module with so many bytes more, which no compression makes less. */
function bigModule(folder: string, bytes: number): string {
  const file = join(folder, "big.wasm");
  const leb = (value: number): number[] => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)]);
  // A custom section: its name has one letter.
  const section = Buffer.from([0, ...leb(bytes + 2), 1, "x".charCodeAt(0)]);
  writeFileSync(file, Buffer.concat([readFileSync(defaultModule), section, randomBytes(bytes)]));
  copyFileSync(descriptionFile(defaultModule), descriptionFile(file));
  return file;
}

const registryTests = `meltemi push and pull${noRegistry ? ": there is no docker-registry here" : ""}`;
describe.skipIf(noRegistry)(registryTests, () => {
  it("prints a reference that pulls the same module", async () => {
    const registry = ended(await Registry.start());
    const cwd = await scratch();
    const name = `${registry.address}/acme/meltemi:1.0`;
    const pushed = await meltemi(["push", name], { cwd });
    expect(pushed).toMatchObject({
      exit: 0,
      err: expect.stringMatching(/^meltemi: pushed [\d.]+ KiB, [\d.]+ KiB of them new\n$/),
    });
    expect(pushed.out).toMatch(/^127\.0\.0\.1:\d+\/acme\/meltemi:1\.0@sha256:[0-9a-f]{64}\n$/);

    expect(await meltemi(["pull", pushed.out.trim()], { cwd })).toMatchObject({ exit: 0, out: pushed.out });
    expect(readFileSync(join(cwd, "meltemi.wasm")).equals(readFileSync(defaultModule))).toBe(true);
    // Other commands take it.
    expect(await meltemi(["push", name, "--module", "meltemi.wasm"], { cwd })).toMatchObject({
      exit: 0,
      out: pushed.out,
    });
    const uploads = registry.served.filter(({ method }) => method === "POST");
    expect(uploads).toHaveLength(2);
  });

  it("wants to know who asks, and says who asked", async () => {
    const registry = ended(await Registry.start({ auth: true }));
    const cwd = await scratch();
    const name = `${registry.address}/acme/meltemi:1.0`;
    const { username, password } = ACCOUNT;
    const login = ["--username", username, "--password-stdin"];

    const nobody = await meltemi(["push", name], { cwd });
    expect(nobody).toMatchObject({ exit: 3, out: "" });
    expect(nobody.err).toContain(
      `asks for credentials, and ${join(cwd, "config.json")} has none for ${registry.address} [E_UNAUTHORIZED]`,
    );
    const wrong = await meltemi(["push", name, ...login], { cwd, input: "no" });
    expect(wrong).toMatchObject({ exit: 3, out: "" });
    expect(wrong.err).toContain(`does not accept the credentials of "${username}" from --username`);
    const right = await meltemi(["push", name, ...login], { cwd, input: `${password}\n` });
    expect(right).toMatchObject({ exit: 0 });

    const auth = Buffer.from(`${username}:${password}`).toString("base64");
    writeFileSync(join(cwd, "config.json"), JSON.stringify({ auths: { [registry.address]: { auth } } }));
    expect(await meltemi(["pull", name], { cwd })).toMatchObject({ exit: 0, out: right.out });

    const bin = join(cwd, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "docker-credential-file"), '#!/bin/sh\ncat "$DOCKER_CONFIG/answer"\n');
    chmodSync(join(bin, "docker-credential-file"), 0o755);
    writeFileSync(join(cwd, "answer"), JSON.stringify({ Username: username, Secret: password }));
    writeFileSync(join(cwd, "config.json"), JSON.stringify({ credHelpers: { [registry.address]: "file" } }));
    const env = { PATH: `${bin}:${process.env.PATH}` };
    expect(await meltemi(["pull", name], { cwd, env })).toMatchObject({ exit: 0, out: right.out });
    const helpless = await meltemi(["pull", name], { cwd });
    expect(helpless).toMatchObject({ exit: 3, out: "" });
    expect(helpless.err).toContain("docker-credential-file");
    expect(helpless.err).toContain("is not on the PATH [E_CREDENTIALS]");
  });

  it("goes on with an upload when the registry is back", async () => {
    const registry = ended(await Registry.start());
    const between = ended(await relay(registry.address, 2));
    const cwd = await scratch();
    const module = bigModule(cwd, 20 * MIB);
    const name = `${between.address}/acme/meltemi:1.0`;
    const { end } = start(["push", name, "--module", module, "--layout", "artifact"], { cwd });
    await between.held;
    await registry.down();
    between.letPass();
    await registry.up();

    const { exit, err, out } = await end;
    expect(err).toMatch(/trying again in/);
    expect(exit).toBe(0);
    // Nothing of the blob was sent twice.
    const parts = registry.served.filter(({ method }) => method === "PATCH");
    expect(parts.map(({ status }) => status)).toEqual([202, 202]);
    expect(registry.served.filter(({ method }) => method === "POST")).toHaveLength(2);
    expect(registry.served).toContainEqual(expect.objectContaining({ method: "GET", status: 204 }));

    expect(await meltemi(["pull", out.trim(), "--output", "back.wasm"], { cwd })).toMatchObject({ exit: 0 });
    expect(readFileSync(join(cwd, "back.wasm")).equals(readFileSync(module))).toBe(true);
  });

  it("leaves the tag alone when Ctrl-C comes first", async () => {
    const registry = ended(await Registry.start());
    const between = ended(await relay(registry.address, 1));
    const cwd = await scratch();
    const module = bigModule(cwd, 9 * MIB);
    const { child, end } = start(["push", `${between.address}/acme/meltemi:1.0`, "--module", module], { cwd });
    await between.held;
    child.kill("SIGINT");
    expect(await end).toMatchObject({ exit: 130, out: "", err: expect.stringContaining("[E_INTERRUPTED]") });
    const pull = await meltemi(["pull", `${registry.address}/acme/meltemi:1.0`], { cwd });
    expect(pull).toMatchObject({ exit: 1, err: expect.stringContaining("[E_NOT_FOUND]") });
    expect(existsSync(join(cwd, "meltemi.wasm"))).toBe(false);
  });
});

const skopeoTests = `skopeo reads what is pushed, and the other way round${noSkopeo || noRegistry ? ": there is no skopeo or no docker-registry here" : ""}`;
describe.skipIf(noSkopeo || noRegistry)(skopeoTests, () => {
  it.each(["compat", "docker", "artifact"])("%s", async (layout) => {
    const registry = ended(await Registry.start());
    const cwd = await scratch();
    const name = `${registry.address}/acme/meltemi:1.0`;
    const remote = (tag: string) => `docker://${registry.address}/acme/meltemi:${tag}`;
    const folder = (dir: string) => join(cwd, dir);
    const { out } = await meltemi(["push", name, "--layout", layout, "--json"], { cwd });
    const { digest, mediaType, protocols } = JSON.parse(out);

    const raw = await skopeo("inspect", "--tls-verify=false", "--raw", remote("1.0"));
    expect(JSON.parse(raw).mediaType).toBe(mediaType);
    // skopeo knows nothing of artifacts, but copies them.
    if (layout !== "artifact") {
      const seen = JSON.parse(await skopeo("inspect", "--tls-verify=false", remote("1.0")));
      expect(seen).toMatchObject({ Digest: digest, Architecture: "amd64", Os: "linux" });
      expect(seen.Labels).toMatchObject({
        "org.opencontainers.image.title": "meltemi",
        "meltemi.protocols": protocols.join(","),
      });
    }

    // Out of our folder into the registry.
    expect(await meltemi(["push", name, "--layout", layout, "--oci-dir", "ours"], { cwd })).toMatchObject({
      exit: 0,
      out: expect.stringContaining(digest),
    });
    // By tag it only finds images of OCI.
    const source = layout === "docker" ? `oci:${folder("ours")}` : `oci:${folder("ours")}:1.0`;
    const keep = ["--dest-tls-verify=false", "--src-tls-verify=false", "--preserve-digests"];
    await skopeo("copy", ...keep, source, remote("copied"));
    const copied = await meltemi(["pull", `${registry.address}/acme/meltemi:copied`], { cwd });
    expect(copied.out).toContain(digest);
    expect(readFileSync(folder("meltemi.wasm")).equals(readFileSync(defaultModule))).toBe(true);

    // Out of the registry into skopeo's folder, and from there back. Such folders have only OCI's images there.
    if (layout === "docker") return;
    await skopeo("copy", ...keep, remote("1.0"), `oci:${folder("theirs")}:2.0`);
    const back = await meltemi(["push", `${registry.address}/acme/meltemi:2.0`, "--from", "theirs"], { cwd });
    expect(back).toMatchObject({ exit: 0, out: `${registry.address}/acme/meltemi:2.0@${digest}\n` });
  });
});
