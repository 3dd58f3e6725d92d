// A child process: the server behind the proxies. Answers each request with a string of the same length, and all the
// requests of one read with one write. Sends its port when it listens, and ends with its parent.
import { type AddressInfo, createServer } from "node:net";
import { batch, FrameReader, payloads, replyFrame, requestFrame } from "./frames.js";

const replies = new Map(payloads.map((payload) => [requestFrame(payload).length, replyFrame(payload)]));

const server = createServer({ noDelay: true }, (socket) => {
  let ids: number[] = [];
  let reply: Buffer = Buffer.alloc(0);
  const flush = () => {
    if (ids.length > 0) socket.write(batch(reply, ids));
    ids = [];
  };
  const reader = new FrameReader((_, id, length) => {
    const next = replies.get(length);
    if (!next) throw new Error(`a request of ${length} bytes is none of this benchmark`);
    if (next !== reply) flush();
    reply = next;
    ids.push(id);
  });
  socket.on("data", (chunk) => {
    reader.push(chunk);
    flush();
  });
  // A client that is done resets its connections.
  socket.on("error", () => socket.destroy());
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  process.send?.((server.address() as AddressInfo).port);
});
process.on("disconnect", () => process.exit());
