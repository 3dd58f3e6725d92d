import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { IMAGE } from "../../tools/envoy/find.js";
import { packageRoot } from "../../tools/paths.js";
import { connect } from "../peers/dubbo/client.js";
import { encodeRequest } from "../peers/dubbo/codec.js";
import { greeter, startServer } from "../peers/dubbo/server.js";
import { ended, envoy, eventually, scratch, startProxy, yaml } from "./harness.js";
import { connectRaw } from "./raw.js";

/* The tool as a user runs it. */

const cli = join(packageRoot, "dist", "tools", "cli.js");
const found = await envoy();

/** Starts the tool in a folder; it ends with the test. */
function start(args: string[], { cwd = packageRoot, input = "", env = {} } = {}) {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd,
    env: { ...process.env, ...(found.origin !== IMAGE && { MELTEMI_ENVOY: found.origin }), ...env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  child.stdin.end(input);
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    said.out += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said.err += chunk;
  });
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve));
  onTestFinished(async () => {
    // In good order, so that its Envoy ends as well.
    child.kill("SIGTERM");
    await exit;
  });
  return { child, said, exit };
}

/** Runs the tool to its end. */
async function meltemi(args: string[], options: Parameters<typeof start>[1] = {}) {
  const { said, exit } = start(args, options);
  return { exit: await exit, ...said };
}

/** Every command, as the help lists them. */
const { stdout: help } = await promisify(execFile)(process.execPath, [cli, "--help"]);
const commands = [...help.slice(help.indexOf("\nCommands:")).matchAll(/^ {2}(\w+)/gm)]
  .map(([, name = ""]) => name)
  .filter((name) => name !== "help");

describe("meltemi", () => {
  it("has commands", () => expect(commands).toContain("run"));

  it.each(commands)("%s --help shows an example", async (command) => {
    const { exit, out } = await meltemi([command, "--help"]);
    expect(exit).toBe(0);
    expect(out).toMatch(new RegExp(`^Examples?:\\n( {2}\\$ .*\\n?)*? {2}\\$ .*meltemi ${command}`, "m"));
  });

  it.each([[["fig"]], [["--fig"]], [["run", "a.yaml", "b.yaml"]], ...commands.map((name) => [[name, "--fig"]])])(
    "refuses %j as usage",
    async (args) => {
      const { exit, out, err } = await meltemi(args);
      expect(exit).toBe(2);
      expect(out).toBe("");
      expect(err).toMatch(/^error: /);
      expect(err).toContain("--help");
      expect(err).not.toMatch(/^ +at /m);
    },
  );
});

describe("meltemi run --print", () => {
  it.each([
    [["envoy/observe/meltemi.yaml"]],
    [["envoy/route/meltemi.yaml"]],
    [["envoy/bridge/meltemi.yaml"]],
    [["envoy/route/meltemi.yaml", "--access-log", "/dev/stdout"]],
    [["envoy/observe/meltemi.yaml", "--access-log", "/dev/null"]],
  ])("writes what Envoy accepts: %j", async (args) => {
    const { exit, out } = await meltemi(["run", "--print", ...args]);
    expect(exit).toBe(0);
    const folder = await scratch();
    const file = join(folder, "envoy.yaml");
    await writeFile(file, out);
    const [program = "", ...rest] = found.command(["--mode", "validate", "-c", file], {
      name: `meltemi-validate-${process.pid}`,
      readable: [folder, join(packageRoot, "build")],
      writable: [],
    });
    const { stdout } = await promisify(execFile)(program, rest, { cwd: packageRoot });
    expect(stdout).toContain("OK");
  });
});

describe("meltemi run", () => {
  /** Where the tool says that clients connect. */
  const portOf = (said: { err: string }) =>
    eventually(() => {
      const address = /clients connect to 127\.0\.0\.1:(\d+)/.exec(said.err)?.[1];
      if (address === undefined) throw new Error(`no address yet: ${said.err}`);
      return Number(address);
    });

  it("shows what a bridge does with requests, each of them once", async () => {
    const [v1, v2] = [ended(await startServer()), ended(await startServer())];
    const file = join(await scratch(), "meltemi.yaml");
    const rules = yaml({
      mode: "bridge",
      subsets: { v1: v1.port, v2: v2.port },
      routes: [
        { match: { method: "add" }, subset: "v2", fault: { abort: { httpStatus: 503, percentage: 100 } } },
        { match: { "dubbo.tag": "gray" }, subset: "v2" },
        { subset: "v1" },
      ],
    });
    // Envoy's metrics take a dot for the end of a cluster's name.
    await writeFile(file, rules.replace('"name":"greeter"', '"name":"greeter.prod"'));
    const { said } = start(["run", "--json", file]);
    const client = await connect({ port: await portOf(said) });
    for (const tag of ["gray", "gray", "blue"]) {
      await client.call(greeter, "echo", [tag], { attachments: { "dubbo.tag": tag } });
    }
    await expect(client.call(greeter, "add", [1, 2])).rejects.toThrow("fault filter abort");
    await client.close();
    await eventually(() => {
      const last = JSON.parse(said.out.trimEnd().split("\n").at(-1) ?? "");
      expect(last).toMatchObject({
        methods: [
          { direction: "outbound", method: "add", requests: 1, statuses: [{ label: "unavailable", total: 1 }] },
          { direction: "outbound", method: "echo", requests: 3, statuses: [{ label: "ok", total: 3 }] },
        ],
        upstreams: [
          { label: "greeter_prod|v1", total: 1 },
          { label: "greeter_prod|v2", total: 2 },
        ],
        interventions: [{ label: "aborted", total: 1 }],
      });
    });
  });

  it("shows what passes, and ends on SIGINT without leaving anything behind", async () => {
    const server = ended(await startServer());
    const folder = await scratch();
    await writeFile(join(folder, "meltemi.yaml"), yaml({ endpoints: [server.port] }));
    // meltemi.yaml in the working directory is what runs unless another is named.
    const { child, said, exit } = start(["run", "--json"], { cwd: folder });
    const port = await portOf(said);
    const client = await connect({ port });
    expect(await client.call(greeter, "add", [1, 2])).toBe(3);
    expect(await client.call(greeter, "sayHello", ["fig"])).toBe("Hello fig from v1");
    await eventually(() => {
      const last = JSON.parse(said.out.trimEnd().split("\n").at(-1) ?? "");
      expect(last.methods).toMatchObject([
        { service: greeter, method: "add", requests: 1, errors: 0 },
        { service: greeter, method: "sayHello", requests: 1, errors: 0 },
      ]);
    });

    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ");
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    await client.closed;
    expect(children).not.toEqual([""]);
    for (const pid of children) expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
    await expect(connect({ port })).rejects.toThrow("cannot connect");
    expect(said.err).not.toMatch(/^ +at /m);
  });

  it("leaves nothing behind when nobody reads it any more", async () => {
    const [folder, temporary] = [await scratch(), await scratch()];
    await writeFile(join(folder, "meltemi.yaml"), yaml({ endpoints: [1] }));
    const { child, said, exit } = start(["run", "--json"], { cwd: folder, env: { TMPDIR: temporary } });
    await eventually(() => expect(said.out).not.toBe(""));
    expect(readdirSync(temporary)).not.toEqual([]);
    child.stdout.destroy();
    expect(await exit).toBe(0);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("names every mistake in a file with line, column and a caret", async () => {
    const folder = await scratch();
    const lines = [
      "protocol: dubo",
      "service:",
      "  name: greeter",
      "  bnd: 127.0.0.1:20880",
      "  endpoints: [127.0.0.1:20881]",
      "limits: { head: 64XB }",
    ];
    await writeFile(join(folder, "bad.yaml"), lines.join("\n"));
    const { exit, out, err } = await meltemi(["run", "bad.yaml"], { cwd: folder });
    expect(exit).toBe(1);
    expect(out).toBe("");
    for (const [place, line, word] of [
      ["bad.yaml:1:11: ", 1, "dubo"],
      ["bad.yaml:4:3: ", 4, "bnd"],
      ["bad.yaml:6:17: ", 6, "64XB"],
    ] as const) {
      const said = err.slice(err.indexOf(place)).split("\n");
      expect(said[0]).toContain(place);
      expect(said[1]).toBe(`  ${line} | ${lines[line - 1]}`);
      expect(said[2]).toBe(`    | ${" ".repeat(lines[line - 1]?.indexOf(word) ?? 0)}${"^".repeat(word.length)}`);
    }
    expect(err).toContain('did you mean "dubbo"?');
    expect(err).toContain('did you mean "bind"?');
    expect(err).not.toMatch(/^ +at /m);
  });

  it.each([
    ["run", "fig.yaml"],
    ["run", "--print", "fig.yaml"],
    ["inspect", "fig.pcap"],
  ])("misses a file that is not there: %s %s", async (...args) => {
    const { exit, err } = await meltemi(args);
    expect(exit).toBe(1);
    expect(err).toContain(`meltemi: ${args.at(-1)}: there is no such file [E_NO_FILE]`);
    expect(err).not.toMatch(/^ +at /m);
  });

  it.each([found.origin, "none"])("names the port that is in use, with Envoy %s", async (envoy) => {
    const other = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void other.close());
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const folder = await scratch();
    await writeFile(join(folder, "meltemi.yaml"), yaml({ bind: port, endpoints: [1] }));
    const { exit, err } = await meltemi(["run"], {
      cwd: folder,
      ...(envoy !== IMAGE && { env: { MELTEMI_ENVOY: envoy } }),
    });
    expect(exit).toBe(3);
    expect(err).toContain(`service.bind: 127.0.0.1:${port} is in use [E_PORT_IN_USE]`);
    expect(err).not.toMatch(/^ +at /m);
  });
});

describe("meltemi inspect", () => {
  it("reads a capture as JSON", async () => {
    const { exit, out } = await meltemi(["inspect", "test/fixtures/captures/dubbo_hessian2.pcap", "--json"]);
    expect(exit).toBe(0);
    const service = "my.demo.service.UserService";
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toMatchObject([
      { from: "client", kind: "request", id: "22872", service, method: "login", length: 264 },
      { from: "server", kind: "response", id: "22872", status: "ok", code: 20, length: 207 },
    ]);
  });

  it.each(["login", "logout"])("takes the route that Envoy takes for %s", async (method) => {
    const server = ended(await startServer());
    const rules = {
      mode: "route" as const,
      subsets: { v1: server.port, v2: server.port },
      routes: [
        { name: "logins", match: { method: "login" }, subset: "v2" },
        { name: "rest", subset: "v1" },
      ],
    };
    const folder = await scratch();
    await writeFile(join(folder, "meltemi.yaml"), yaml(rules));
    const request = encodeRequest(1, greeter, method, ["fig"]);
    const { exit, out } = await meltemi(["inspect", "-", "--json", "--config", "meltemi.yaml"], {
      cwd: folder,
      input: request.toString("hex"),
    });
    expect(exit).toBe(0);
    const { route, cluster } = JSON.parse(out);

    const proxy = await startProxy(rules);
    const raw = await connectRaw(proxy.port);
    await raw.send(request);
    await eventually(() => expect(raw.messages()).toHaveLength(1));
    raw.end();
    await eventually(() => expect(proxy.accessLog()).toMatchObject([{ method, route, cluster }]));
    expect(route).toBe(method === "login" ? "logins" : "rest");
  });
});
