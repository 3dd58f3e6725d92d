import { execFile, spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { request as request1 } from "node:http";
import { connect as connect2, constants, createServer, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import { decode, encodeReply, encodeRequest, type Message } from "../../peers/dubbo/codec.js";
import { blob, greeter, startServer } from "../../peers/dubbo/server.js";
import { ended, eventually, scratch, startProxy } from "../harness.js";
import { connectRaw } from "../raw.js";
import { failure, shuffled } from "./peers.js";

const contentType = "application/vnd.meltemi.dubbo";

/* Each leg faces HTTP peers that know nothing of the other leg. */

interface Response {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** A POST of that body. Rejects where the connection ends without a response. */
type Post = (port: number, body: Buffer, headers?: Record<string, string>) => Promise<Response>;

function curl(...options: string[]): Post {
  return async (port, body, headers = {}) => {
    const folder = await scratch();
    const at = (name: string) => join(folder, name);
    await writeFile(at("request"), body);
    await promisify(execFile)("curl", [
      ...["--silent", "--show-error", "--max-time", "20", "--data-binary", `@${at("request")}`],
      ...["--header", `content-type: ${contentType}`, "--header", "expect:"],
      ...Object.entries(headers).flatMap(([name, value]) => ["--header", `${name}: ${value}`]),
      ...["--dump-header", at("head"), "--output", at("body"), ...options, `http://127.0.0.1:${port}/${greeter}/any`],
    ]);
    const [first = "", ...lines] = (await readFile(at("head"), "latin1")).trim().split("\r\n");
    return {
      status: Number(first.split(" ")[1]),
      headers: Object.fromEntries(lines.map((line) => line.split(": ") as [string, string])),
      body: await readFile(at("body")).catch(() => Buffer.alloc(0)),
    };
  };
}

/** Node's own client, over HTTP/1.1. Without a length the body is sent in chunks. */
function node1(withLength: boolean): Post {
  return (port, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const request = request1({ port, method: "POST", path: `/${greeter}/any`, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers as Record<string, string>,
            body: Buffer.concat(chunks),
          }),
        );
      });
      request.on("error", reject);
      for (const [name, value] of Object.entries({ "content-type": contentType, ...headers })) {
        request.setHeader(name, value);
      }
      if (withLength) request.setHeader("content-length", body.length);
      const middle = body.length / 2;
      request.write(body.subarray(0, middle));
      request.end(body.subarray(middle));
    });
}

/** Node's own client, over HTTP/2: each POST on a connection of its own. */
const node2: Post = (port, body, headers = {}) =>
  new Promise((resolve, reject) => {
    const session = connect2(`http://127.0.0.1:${port}`);
    session.on("error", reject);
    const stream = session.request({
      ":method": "POST",
      ":path": `/${greeter}/any`,
      "content-type": contentType,
      ...headers,
    });
    const chunks: Buffer[] = [];
    let head: Record<string, unknown> = {};
    stream.on("response", (fields) => {
      head = fields;
    });
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.on("error", reject);
    stream.on("close", () => {
      session.close();
      if (!head[":status"]) return reject(new Error(`the stream was closed with code ${stream.rstCode}`));
      const { ":status": status, ...rest } = head;
      resolve({ status: Number(status), headers: rest as Record<string, string>, body: Buffer.concat(chunks) });
    });
    stream.end(body);
  });

const hasCurl = spawnSync("curl", ["--version"]).stdout?.includes("HTTP2") ?? false;

const clients: { name: string; http: 1 | 2; post: Post; here: boolean }[] = [
  { name: "curl, HTTP/2", http: 2, post: curl("--http2-prior-knowledge"), here: hasCurl },
  { name: "curl, HTTP/1.1 with a length", http: 1, post: curl("--http1.1"), here: hasCurl },
  {
    name: "curl, HTTP/1.1 in chunks",
    http: 1,
    post: curl("--http1.1", "-H", "transfer-encoding: chunked"),
    here: hasCurl,
  },
  { name: "Node, HTTP/2", http: 2, post: node2, here: true },
  { name: "Node, HTTP/1.1 with a length", http: 1, post: node1(true), here: true },
  { name: "Node, HTTP/1.1 in chunks", http: 1, post: node1(false), here: true },
];

const call = (id: number, method: string, ...args: unknown[]) => encodeRequest(id, greeter, method, args);

describe.each(clients)("the server's leg, asked by $name", ({ http, post, here }) => {
  it.runIf(here)("answers with the server's frames, and with a status that says how it went", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", leg: "server", endpoints: [server.port] });
    const message = ({ body }: Response) => decode(body) as Message & { kind: "reply" };

    const hello = await post(proxy.port, call(41, "sayHello", "fig"));
    expect(hello).toMatchObject({ status: 200, headers: { "content-type": contentType } });
    expect(hello.headers["meltemi-status"]).toBeUndefined();
    expect(message(hello)).toMatchObject({ id: 41, status: 20, value: "Hello fig from v1" });

    const bytes = blob(3_000_000);
    const echo = await post(proxy.port, call(42, "echo", bytes));
    expect(echo.status).toBe(200);
    expect(Buffer.compare(message(echo).value as Buffer, bytes)).toBe(0);
    expect(message(await post(proxy.port, call(43, "echo", Buffer.alloc(0))))).toMatchObject({ id: 43 });

    const fail = await post(proxy.port, call(44, "fail"));
    expect(fail).toMatchObject({
      status: 500,
      headers: { "content-type": contentType, "meltemi-status": "exception" },
    });
    expect(message(fail).error?.message).toBe("refused by v1");
    const crash = await post(proxy.port, call(45, "crash"));
    expect(crash).toMatchObject({ status: 500, headers: { "meltemi-status": "server_error" } });
    expect(message(crash).error?.message).toBe("crashed in v1");
    const none = await post(proxy.port, encodeRequest(46, "no.such.Service", "any"));
    expect(none).toMatchObject({ status: 404, headers: { "meltemi-status": "service_not_found" } });

    const oneway = await post(proxy.port, encodeRequest(47, greeter, "notify", ["fig"], { twoWay: false }));
    expect(oneway.status).toBe(200);
    expect(oneway.body).toHaveLength(0);
    await eventually(() => expect(server.stats.oneway).toBe(1));
    await proxy.assertSound();
  });

  it.runIf(here)("refuses what is no request, and goes on", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", leg: "server", endpoints: [server.port] });
    const good = call(1, "sayHello", "fig");
    const long = call(1, "echo", blob(200_000));
    const wrong: [string, Buffer][] = [
      ["nothing", Buffer.alloc(0)],
      ["text", Buffer.from("figs")],
      ["other bytes", blob(50_000)],
      ["a reply", encodeReply(1, "fig")],
      ["a part of a frame's head", good.subarray(0, 10)],
      ["a part of a frame", good.subarray(0, good.length - 1)],
      ["a frame and something else", Buffer.concat([good, blob(10)])],
      [
        "a frame beyond the limit",
        (() => {
          const out = Buffer.from(good);
          out.writeUInt32BE(2 ** 28, 12);
          return out;
        })(),
      ],
    ];
    for (const [name, body] of wrong) {
      // Over HTTP/1.1 the connection ends, since nothing can be said before the server has spoken.
      const status = await post(proxy.port, body).then(
        ({ status }) => status,
        () => "closed",
      );
      expect(status, name).toBe(http === 2 ? 400 : "closed");
      expect((await post(proxy.port, good)).status, name).toBe(200);
    }
    expect((await post(proxy.port, long)).status).toBe(200);
    await proxy.assertSound();
  });
});

describe("the server's leg, asked over HTTP/2", () => {
  it("answers each of many requests of one connection, whatever stands between them", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", leg: "server", endpoints: [server.port] });
    const session = connect2(`http://127.0.0.1:${proxy.port}`);
    onTestFinished(() => session.destroy());
    const post = (body: Buffer, then?: (stream: ReturnType<typeof session.request>) => void) =>
      new Promise<{ status: number | string; body: Buffer }>((resolve) => {
        const stream = session.request({ ":method": "POST", ":path": "/a/b", "content-type": contentType });
        const chunks: Buffer[] = [];
        let status: number | string = "reset";
        stream.on("response", (fields) => {
          status = fields[":status"] ?? 0;
        });
        stream.on("data", (chunk) => chunks.push(chunk));
        stream.on("error", () => {});
        stream.on("close", () => resolve({ status, body: Buffer.concat(chunks) }));
        stream.end(body);
        then?.(stream);
      });
    const kinds = shuffled(Array.from({ length: 400 }, (_, i) => i));
    const done = await Promise.all(
      kinds.map(async (i) => {
        if (i % 4 === 0) expect((await post(blob(100 + i))).status).toBe(400);
        else if (i % 4 === 1) await post(call(i, "slow", 50), (stream) => stream.close(constants.NGHTTP2_CANCEL));
        else {
          const { status, body } = await post(call(i, "echo", blob(i * 500)));
          expect(status).toBe(200);
          const reply = decode(body) as Message & { kind: "reply" };
          expect(reply.id).toBe(i);
          expect(Buffer.compare(reply.value as Buffer, blob(i * 500))).toBe(0);
        }
        return i;
      }),
    );
    expect(done).toHaveLength(400);
    expect(session.destroyed).toBe(false);
    expect(server.stats.connections).toBe(1);
    await proxy.assertSound();
  });

  it("refuses headers that are too many, and goes on", async () => {
    const server = ended(await startServer());
    const proxy = await startProxy({ mode: "bridge", leg: "server", endpoints: [server.port] });
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`fig-${i}`, "f".repeat(800)]));
    expect((await node2(proxy.port, call(1, "sayHello", "fig"), many)).status).toBe(200);
    const tooMany = Object.fromEntries(Array.from({ length: 600 }, (_, i) => [`fig-${i}`, "f"]));
    expect((await node2(proxy.port, call(1, "sayHello", "fig"), tooMany)).status).toBe(431);
    await proxy.assertSound();
  });
});

type Answer = (stream: ServerHttp2Stream, id: number) => void;

const headers = { ":status": 200, "content-type": contentType };
const reply = (id: number, value: unknown = "fig") => encodeReply(id, value);

/** What a server may answer that is no reply of the protocol, and what the client is told. */
const odd: [string, Answer, RegExp][] = [
  [
    "a page",
    (stream) => {
      stream.respond({ ":status": 200, "content-type": "text/html" });
      stream.end("<p>figs</p>");
    },
    /^HTTP 200: <p>figs/,
  ],
  [
    "a reply that calls itself something else",
    (stream, id) => {
      stream.respond({ ":status": 200, "content-type": "application/octet-stream" });
      stream.end(reply(id));
    },
    /^HTTP 200/,
  ],
  [
    "a status with a long text",
    (stream) => {
      stream.respond({ ":status": 500 });
      stream.end("f".repeat(100_000));
    },
    /^HTTP 500: f+$/,
  ],
  ["a status without a body", (stream) => stream.respond({ ":status": 418 }, { endStream: true }), /^HTTP 418/],
  ["no content", (stream) => stream.respond({ ":status": 204 }, { endStream: true }), /^HTTP 204/],
  ["frames that are missing", (stream) => stream.respond(headers, { endStream: true }), /before it was whole/],
  [
    "a part of a frame's head",
    (stream, id) => {
      stream.respond(headers);
      stream.end(reply(id).subarray(0, 9));
    },
    /before it was whole/,
  ],
  [
    "a part of a frame",
    (stream, id) => {
      stream.respond(headers);
      stream.end(reply(id, blob(50_000)).subarray(0, 40_000));
    },
    /before it was whole/,
  ],
  [
    "a part of a frame and trailers",
    (stream, id) => {
      stream.respond(headers, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ fig: "1" }));
      stream.end(reply(id, blob(50_000)).subarray(0, 40_000));
    },
    /before it was whole/,
  ],
  [
    "other bytes",
    (stream) => {
      stream.respond(headers);
      stream.end(blob(100_000));
    },
    /not a reply of the protocol/,
  ],
  [
    "a request",
    (stream, id) => {
      stream.respond(headers);
      stream.end(call(id, "sayHello", "fig"));
    },
    /not a reply of the protocol/,
  ],
  [
    "a reply to another request",
    (stream, id) => {
      stream.respond(headers);
      stream.end(reply(id + 1));
    },
    /not a reply of the protocol/,
  ],
  ["the end of the stream", (stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR), /HTTP 50[23]|reset/],
  ["a refusal of the stream", (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM), /HTTP 50[23]|reset/],
  [
    "headers and the end of the stream",
    (stream) => {
      stream.respond(headers);
      stream.write(Buffer.alloc(0), () => stream.close(constants.NGHTTP2_CANCEL));
    },
    /reset|before it was whole/,
  ],
  [
    "a part of a frame and the end of the stream",
    (stream, id) => {
      stream.respond(headers);
      stream.write(reply(id, blob(50_000)).subarray(0, 40_000), () => stream.close(constants.NGHTTP2_CANCEL));
    },
    /reset/,
  ],
  ["the end of the connection", (stream) => stream.session?.destroy(), /HTTP 50[23]|reset/],
  [
    "headers and the end of the connection",
    (stream) => {
      stream.respond(headers);
      stream.write("f", () => stream.session?.destroy());
    },
    /reset/,
  ],
];

/** What a server may do besides, and still has answered. */
const fine: [string, Answer][] = [
  [
    "trailers",
    (stream, id) => {
      stream.respond(headers, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ fig: "1" }));
      stream.end(reply(id));
    },
  ],
  [
    "early hints",
    (stream, id) => {
      stream.additionalHeaders({ ":status": 103, link: "<fig>" });
      stream.respond(headers);
      stream.end(reply(id));
    },
  ],
  [
    "a byte at a time",
    async (stream, id) => {
      stream.respond(headers);
      for (const byte of reply(id)) await new Promise((sent) => stream.write(Buffer.of(byte), sent));
      stream.end();
    },
  ],
  [
    "another status",
    (stream, id) => {
      stream.respond({ ...headers, ":status": 503 });
      stream.end(reply(id));
    },
  ],
  [
    "long headers",
    (stream, id) => {
      stream.respond({ ...headers, fig: "f".repeat(16_000), figs: "f".repeat(20_000) });
      stream.end(reply(id));
    },
  ],
  [
    "the announcement that it leaves",
    (stream, id) => {
      stream.session?.close();
      stream.respond(headers);
      stream.end(reply(id));
    },
  ],
];

describe("the client's leg, answered by another HTTP/2 server", () => {
  it("makes an error of all that is no reply, at once, on a connection that stays", async () => {
    const answers = new Map<string, Answer>([...odd.map(([name, answer]) => [name, answer] as const), ...fine]);
    const server = createServer();
    server.on("stream", (stream, fields) => {
      stream.on("error", () => {});
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", () => {
        const request = decode(Buffer.concat(chunks)) as Message & { kind: "request" };
        expect(fields).toMatchObject({
          ":method": "POST",
          ":path": `/${greeter}/echo`,
          ":authority": "fig.example",
          "content-type": contentType,
        });
        answers.get(request.args[0] as string)?.(stream, Number(request.id));
      });
    });
    server.on("sessionError", () => {});
    server.listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await eventually(() => expect(server.listening).toBe(true));
    const { port } = server.address() as AddressInfo;
    const proxy = await startProxy({ mode: "bridge", leg: "client", authority: "fig.example", endpoints: [port] });
    const client = await connect({ port: proxy.port });
    const good = async (name: string) => expect(await client.call(greeter, "echo", [name]), name).toBe("fig");

    for (const [name, , message] of odd) {
      const error = await failure(client.call(greeter, "echo", [name]));
      expect(error, name).toMatchObject({ name: "StatusError" });
      expect(error.message, name).toMatch(message);
      await good("trailers");
    }
    for (const [name] of fine) await good(name);
    // At once all those that leave the connection to the others.
    const errors = odd.map(([name]) => name).filter((name) => !name.includes("connection"));
    const replies = fine.map(([name]) => name).filter((name) => !name.includes("leaves"));
    const all = shuffled([...errors, ...replies].flatMap((name) => [name, name, name]));
    const outcomes = await Promise.all(
      all.map(async (name) => {
        const outcome = client.call(greeter, "echo", [name]);
        return `${name}: ${await outcome.catch((error) => error.name)}`;
      }),
    );
    expect(outcomes).toEqual(all.map((name) => `${name}: ${errors.includes(name) ? "StatusError" : "fig"}`));
    expect(client.unexpected).toBe(0);
    await client.close();
    await eventually(async () => expect(await proxy.metric("meltemi_in_flight")).toBe(0));
    await proxy.assertSound();
  });

  it("faces what is no HTTP at all", async () => {
    const server = createTcp((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.end("figs\n"));
    });
    server.listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await eventually(() => expect(server.listening).toBe(true));
    const { port } = server.address() as AddressInfo;
    const proxy = await startProxy({ mode: "bridge", leg: "client", endpoints: [port] });
    const client = await connect({ port: proxy.port });
    for (let i = 0; i < 3; i++) {
      expect(await failure(client.call(greeter, "echo", ["fig"]))).toMatchObject({ name: "StatusError", status: 80 });
    }
    await client.close();
    await proxy.assertSound();
  });

  it("ends the client's connection where a long reply breaks off", async () => {
    const server = createServer();
    let broken: (() => void) | undefined;
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      stream.respond(headers);
      stream.write(reply(1, blob(2_000_000)).subarray(0, 1_000_000));
      broken = () => stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
    server.listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await eventually(() => expect(server.listening).toBe(true));
    const { port } = server.address() as AddressInfo;
    const proxy = await startProxy({ mode: "bridge", leg: "client", endpoints: [port] });
    const raw = await connectRaw(proxy.port);
    await raw.send(call(1, "echo", "fig"));
    await eventually(() => expect(raw.count).toBe(1_000_000));
    expect(raw.open).toBe(true);
    broken?.();
    await raw.closed;
    expect(raw.count).toBe(1_000_000);
    expect(await proxy.metric("meltemi_closed_connections_total", { reason: "incomplete" })).toBe(1);
    await proxy.assertSound();
  });
});
