// A child process: the servers behind the proxies. Answer each request with a string of the same length, and all the
// requests of one read with one write. Sends their ports when they listen, and ends with its parent.
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { DubboEnd, type End } from "./frames.js";
import { Http2End } from "./http2.js";
import { ThriftEnd } from "./thrift.js";

export interface EchoPorts {
  readonly dubbo: number;
  readonly http2: number;
  readonly thrift: number;
}

async function serve(Peer: typeof DubboEnd | typeof Http2End | typeof ThriftEnd): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    const end: End = new Peer("server", socket, (id, payload) => {
      if (payload !== undefined) end.queue(payload, id);
    });
    end.flush();
    socket.on("data", (chunk) => {
      end.push(chunk);
      end.flush();
    });
    // A client that is done resets its connections.
    socket.on("error", () => socket.destroy());
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 });
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const ports: EchoPorts = {
  dubbo: await serve(DubboEnd),
  http2: await serve(Http2End),
  thrift: await serve(ThriftEnd),
};
process.send?.(ports);
process.on("disconnect", () => process.exit());
