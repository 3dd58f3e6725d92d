import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { ethernet, ip, pcap, pcapng, syn, tcp } from "../capture/packets.fixture.js";
import { Exit, UserError } from "../errors.js";
import { packageRoot } from "../paths.js";
import { inspect } from "./inspect.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => void vi.restoreAllMocks());

const capture = join(packageRoot, "test", "fixtures", "captures", "dubbo_hessian2.pcap");
// A two-way heartbeat with id 1, and the answer to it.
const heartbeat = "dabb e2 00 0000000000000001 00000001 4e";
const reply = "dabb 22 14 0000000000000001 00000001 4e";
const bytes = (hex: string) => Buffer.from(hex.replace(/ /g, ""), "hex");

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** Runs the command in this process. */
async function run(...parameters: string[]) {
  let [out, err] = ["", ""];
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    out += chunk;
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((chunk) => {
    err += chunk;
    return true;
  });
  try {
    await inspect().exitOverride().parseAsync(parameters, { from: "user" });
    return {
      out,
      err,
      frames: () =>
        out
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line)),
    };
  } finally {
    vi.restoreAllMocks();
  }
}

const failure = async (...parameters: string[]): Promise<UserError> => {
  const error = await run(...parameters).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(UserError);
  return error;
};

it("shows a capture as a table within 100 columns", async () => {
  const { out, err } = await run(capture);
  const lines = out.split("\n");
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(100);
  expect(lines[0]).toMatch(/^ SECONDS {2}FROM {4}KIND .* BYTES$/);
  expect(lines[1]).toMatch(/^0\.000000 {2}client {2}request +22872 {2}my\.demo\.service\.UserService {2}login .* 264$/);
  expect(out).toContain("remote.application=shop-web");
  expect(out).not.toContain("\x1b");
  expect(err).toBe(
    "meltemi: this looks like dubbo: magic dabb at the start of 1 of 1 connections; " +
      "2 frames, the whole ones make up 471 of 471 bytes\n",
  );
});

it("shows a capture as JSON", async () => {
  const { frames, err } = await run(capture, "--json", "--protocol", "dubbo");
  expect(frames()).toMatchObject([
    { kind: "request", id: "22872", connection: 1, client: "172.16.0.105:33986", time: "2021-11-02T02:41:04.193919Z" },
    {
      kind: "response",
      id: "22872",
      from: "server",
      status: "ok",
      code: 20,
      server: "172.16.0.103:20880",
      length: 207,
    },
  ]);
  expect(err).toBe("");
  const limited = await run(capture, "--json", "--limit", "1");
  expect(limited.frames().length).toBe(1);
});

it("reads a pcapng with lost, repeated and reordered segments", async () => {
  const ports: [number, number] = [50000, 20880];
  const from = { from: "10.0.0.2", to: "10.0.0.1", ports: [20880, 50000] as [number, number] };
  const whole = bytes(heartbeat);
  const path = file(
    "lossy.pcapng",
    pcapng(
      [
        tcp({ ports, sequence: 0, flags: syn }),
        tcp({ ...from, sequence: 10, acknowledged: 1, flags: syn }),
        tcp({ ports, sequence: 8, payload: whole.subarray(7) }),
        tcp({ ports, sequence: 1, payload: whole.subarray(0, 7) }),
        tcp({ ports, sequence: 1, payload: whole }),
        tcp({ ...from, sequence: 11, acknowledged: 18, payload: bytes(reply) }),
        tcp({ ports, sequence: 118, payload: whole }),
      ].map((packet) => ethernet(packet)),
    ),
  );
  const { frames, err } = await run(path, "--json", "--port", "20880");
  expect(frames().map(({ from, kind, offset }) => [from, kind, offset])).toEqual([
    ["client", "heartbeat", 0],
    ["server", "heartbeat_reply", 0],
    ["client", "heartbeat", 117],
  ]);
  expect(err).toContain("meltemi: connection 1, client: 100 bytes at byte 17 were not captured\n");
});

it("says where a connection stops being readable, and shows what came before", async () => {
  const path = file("broken.hex", `${heartbeat} ${"ff ".repeat(16)}`);
  const { out, err } = await run(path, "--from", "client");
  expect(out).toContain("heartbeat");
  expect(err).toContain(
    "connection 1 (client to server), client: not dubbo at byte 17 (magic), nothing behind it was read",
  );
});

describe("without a protocol", () => {
  it("says by which alternative of a magic it was found", async () => {
    const call = "00000011 80010001 00000001 61 00000007 0800010000002a 00".replace("00000011", "00000015");
    const { err } = await run(file("thrift.hex", call), "--protocol", "auto");
    expect(err).toBe(
      "meltemi: this looks like thrift: magic ........8001 at the start of 1 of 1 connections; " +
        "1 frame, the whole ones make up 25 of 25 bytes\n",
    );
  });

  it("says what else fits", async () => {
    // A body of 3328 zeros: by their lengths these bytes are awesomerpc, too, at first.
    const { err } = await run(file("pingpong.hex", `7070 02 0007 00 00000d00 ${"00".repeat(0xd00)}`));
    expect(err).toBe(
      "meltemi: this looks like pingpong: magic 7070 at the start of 1 of 1 connections; " +
        "1 frame, the whole ones make up 3338 of 3338 bytes; awesomerpc fits 13 bytes as well\n",
    );
  });

  it("says nothing of a magic where there is none", async () => {
    const { err } = await run(file("awesome.hex", "01 00000007 0000000f 0001 0000 6869"));
    expect(err).toMatch(/^meltemi: this looks like awesomerpc: 1 frame, the whole ones make up 15 of 15 bytes/);
  });

  it("takes the one of a configuration that has one", async () => {
    const yaml = (protocol: string) =>
      `protocol: ${protocol}\nservice: { name: users, bind: 127.0.0.1:20880, endpoints: [127.0.0.1:20881] }\n`;
    const auto = await run(capture, "--config", file("auto.yaml", yaml("auto")));
    expect(auto.err).toMatch(/^meltemi: this looks like dubbo: /);
    const named = await run(capture, "--config", file("named.yaml", yaml("dubbo")), "--protocol", "auto");
    expect(named.err).not.toContain("looks like");
  });
});

it("finds out who sent hex text", async () => {
  const path = file("reply.hex", reply);
  const { frames } = await run(path, "--json", "--from", "server");
  expect(frames()).toMatchObject([{ kind: "heartbeat_reply", from: "server" }]);
});

describe("with a configuration", () => {
  const yaml = (method: string) => `
protocol: dubbo
mode: route
service:
  name: users
  bind: 127.0.0.1:20880
  subsets:
    - { name: v1, endpoints: ["127.0.0.1:20881"] }
routes:
  - { name: logins, match: { method: ${method} }, subset: v1 }
`;

  it("says which route is taken", async () => {
    const path = file("login.yaml", yaml("login"));
    expect((await run(capture, "--config", path)).out).toMatch(/\n {4}route logins -> users\|v1\n/);
    const { frames } = await run(capture, "--config", path, "--json");
    expect(frames().map(({ route, cluster }) => [route, cluster])).toEqual([
      ["logins", "users|v1"],
      [undefined, undefined],
    ]);
  });

  it("says that none is", async () => {
    const path = file("logout.yaml", yaml("logout"));
    expect((await run(capture, "--config", path)).out).toContain("no route matches: the connection would be closed");
    expect((await run(capture, "--config", path, "--json")).frames()[0]).toMatchObject({ route: null, cluster: null });
  });

  it("of another protocol is refused", async () => {
    const error = await failure(capture, "--config", file("a.yaml", yaml("login")), "--protocol", "awesomerpc");
    expect(error).toMatchObject({ code: "E_PROTOCOL", exit: Exit.usage });
  });

  it("is read by the same rules as for run", async () => {
    const regex = await failure(capture, "--config", file("regex.yaml", yaml('{ regex: "a(b" }')));
    expect(regex).toMatchObject({ code: "E_CONFIG", exit: Exit.input });
    expect(regex.options.hint).toContain("regex.yaml:10:47: not a regular expression that the module can match");
  });

  it("of mode observe has nothing to route", async () => {
    const path = file(
      "observe.yaml",
      "protocol: dubbo\nservice: { name: users, bind: 127.0.0.1:20880, endpoints: [127.0.0.1:20881] }\n",
    );
    const { out, err } = await run(capture, "--config", path);
    expect(out).not.toContain("route ");
    expect(err).toContain("mode observe");
  });
});

describe("says what is wrong with", () => {
  const whole = readFileSync(capture);
  const udp = ethernet(ip("1.2.3.4", "5.6.7.8", 17, Buffer.alloc(8)));
  const segment = ethernet(tcp({ sequence: 1, payload: "GET / HTTP/1.1\r\n\r\n" }));
  it.each<[string, string, string | Buffer, string, RegExp, string[]?]>([
    ["an empty file", "E_EMPTY", "", "is empty", /^/],
    ["a capture cut off in its header", "E_CAPTURE", whole.subarray(0, 20), "inside of its header", /^/],
    ["a capture cut off in its first packet", "E_NO_TCP", whole.subarray(0, 60), "no packets at all", /^/],
    ["a damaged capture", "E_CAPTURE", Buffer.concat([whole, Buffer.alloc(16, 0xff)]), "is damaged", /^/],
    ["a file of another kind", "E_FORMAT", Buffer.from("\x7fELF\x02\x01\x01"), "nor hex text", /xxd -p/],
    ["another file called a capture", "E_CAPTURE", "dabb", "neither a pcap nor a pcapng", /^/, ["--pcap"]],
    ["text that is no hex", "E_HEX", "hello", 'line 1, column 1: "h" is not a hex digit', /^/, ["--hex"]],
    ["an odd number of digits", "E_HEX", "da bb c", "line 1, column 7", /^/],
    ["a capture without TCP", "E_NO_TCP", pcap([udp, udp]), "2 packets: 2 not TCP", /^/],
    [
      "a capture without payload",
      "E_NO_TCP",
      pcap([ethernet(tcp({ sequence: 1, flags: syn }))]),
      "no bytes were sent",
      /^/,
    ],
    ["a port that nobody has", "E_NO_TCP", pcap([segment]), "port 81 (there are 80)", /^/, ["--port", "81"]],
    ["an unknown link layer", "E_LINK_TYPE", pcap([udp], { linkType: 105 }), "link type 105", /tcpdump/],
    [
      "another protocol",
      "E_NO_FRAMES",
      pcap([segment]),
      "no frame of dubbo in",
      /47 45 54 20/,
      ["--protocol", "dubbo"],
    ],
    ["too few bytes", "E_NO_FRAMES", "dabb", "no frame of dubbo in", /too few/, ["--protocol", "dubbo"]],
    [
      "the start of a frame",
      "E_NO_FRAMES",
      heartbeat.replace("00000001 4e", "00000009 4e"),
      "whole frame",
      /--protocol/,
    ],
    ["an unknown protocol", "E_PROTOCOL", heartbeat, 'does not speak "duboo"', /dubbo/, ["--protocol", "duboo"]],
  ])("%s", async (name, code, content, message, hint, options = []) => {
    const error = await failure(file(name.replace(/ /g, "-"), content), ...options);
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.options.hint ?? "").toMatch(hint);
  });

  it("a file that is not there, or a folder", async () => {
    expect((await failure(join(folder, "nothing"))).message).toContain("there is no such file");
    expect((await failure(folder)).message).toContain("this is a folder");
  });
});

it("reads standard input", async () => {
  const child = spawn(process.execPath, [join(packageRoot, "dist", "tools", "cli.js"), "inspect", "-", "--json"]);
  child.stdin.end(heartbeat);
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  expect(JSON.parse(out)).toMatchObject({ kind: "heartbeat", id: "1" });
  expect(err).toMatch(/^meltemi: this looks like dubbo: .*; 1 frame/);
  expect(code).toBe(Exit.ok);
});

it("ends quietly when nobody reads on", async () => {
  const path = file("many.hex", heartbeat.repeat(20_000));
  const child = spawn(process.execPath, [join(packageRoot, "dist", "tools", "cli.js"), "inspect", path, "--json"]);
  child.stdout.once("data", () => child.stdout.destroy());
  const [err, [code]] = await Promise.all([text(child.stderr), once(child, "close")]);
  expect(err).toMatch(/^meltemi: this looks like dubbo: .*; 20000 frames.*\n$/);
  expect(code).toBe(Exit.ok);
});
