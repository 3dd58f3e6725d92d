import { once } from "node:events";
import { connect as connectHttp2, createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect, createServer } from "node:net";
import { PassThrough } from "node:stream";
import { buffer } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { type Payload, replyFrame, requestFrame } from "./frames.js";
import { Http2End } from "./http2.js";

/** Longer than every first window. */
const long = 100 * 1024;
const contentType = { "content-type": "application/vnd.meltemi.dubbo" };

test("requests are those that another implementation reads, the later ones by the dynamic table", async () => {
  const server = createHttp2Server();
  const requests: unknown[] = [];
  server.on("stream", async (stream: ServerHttp2Stream, headers) => {
    const body = await buffer(stream);
    requests.push({ id: stream.id, path: headers[":path"], type: headers["content-type"], body });
    stream.respond({ ":status": 200, ...contentType });
    stream.end(replyFrame(long));
  });
  const socket = connect(await listening(server), "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  const replies = await new Promise<[number, Payload | undefined][]>((resolve, reject) => {
    const got: [number, Payload | undefined][] = [];
    const end = new Http2End("client", socket, (id, payload) => {
      got.push([id, payload]);
      if (got.length === 3) resolve(got);
    });
    for (const id of [1, 3, 5]) end.queue(id === 3 ? long : 10, id);
    end.flush();
    socket.on("data", (chunk) => {
      try {
        end.push(chunk);
        end.flush();
      } catch (error) {
        reject(error);
      }
    });
  });
  expect(replies.sort()).toEqual([1, 3, 5].map((id) => [id, long]));
  const alike = { path: "/org.meltemi.bench.Echo/echo", type: "application/vnd.meltemi.dubbo" };
  expect(requests).toHaveLength(3);
  for (const [id, payload] of [[1, 10] as const, [3, long] as const, [5, 10] as const]) {
    expect(requests).toContainEqual({ id, ...alike, body: requestFrame(payload) });
  }
});

test("replies are those that another implementation reads", async () => {
  const server = createServer((socket) => {
    const end: Http2End = new Http2End("server", socket, (id, payload) => end.queue(payload ?? 10, id));
    end.flush();
    socket.on("data", (chunk) => {
      end.push(chunk);
      end.flush();
    });
  });
  const session = connectHttp2(`http://127.0.0.1:${await listening(server)}`);
  onTestFinished(() => session.destroy());
  for (const payload of [10, long, long] as const) {
    const stream = session.request({ ":method": "POST" });
    stream.end(requestFrame(payload));
    const [headers] = await once(stream, "response");
    expect(headers).toMatchObject({ ":status": 200, ...contentType });
    expect(await buffer(stream)).toEqual(replyFrame(payload));
  }
});

test("messages are found wherever the stream is cut, and are written with one write", () => {
  const up = new PassThrough();
  const client = new Http2End("client", up, () => {});
  for (const id of [1, 3]) client.queue(10, id);
  client.flush();
  const bytes = up.read() as Buffer;
  expect(up.read()).toBeNull();
  for (let size = 1; size <= bytes.length; size++) {
    const seen: unknown[] = [];
    const server = new Http2End("server", new PassThrough(), (...message) => seen.push(message));
    for (let at = 0; at < bytes.length; at += size) server.push(bytes.subarray(at, at + size));
    expect(seen).toEqual([
      [1, 10],
      [3, 10],
    ]);
  }
});

test("a reply that is none fails the client", () => {
  const client = new Http2End("client", new PassThrough(), () => {});
  const unavailable = Buffer.from([0, 0, 5, 1, 4, 0, 0, 0, 1, 0x48, 3, ...Buffer.from("503")]);
  expect(() => client.push(unavailable)).toThrow("not the headers of a message of this benchmark: H\x03503");
});

async function listening(server: ReturnType<typeof createServer | typeof createHttp2Server>): Promise<number> {
  onTestFinished(() => void server.close());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
