import { createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";

/** A service that Envoy calls: a rate limit service or a collector of spans. */
export interface GrpcServer {
  readonly port: number;
  stop(): void;
}

/** Bytes before a gRPC message: whether it is compressed, and its length. */
const PREFIX = 5;

/** Answers each unary gRPC call with one message, of less than 256 bytes; nothing: with none. */
export async function startGrpc(answer: (request: Buffer, path: string) => Buffer | undefined): Promise<GrpcServer> {
  const sessions = new Set<ServerHttp2Session>();
  const http = createServer().on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  http.on("stream", async (stream, { ":path": path = "" }) => {
    stream.on("error", () => {});
    const body = Buffer.concat(await stream.toArray());
    const message = answer(body.subarray(PREFIX), path);
    if (!message) return;
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
  });
  await new Promise<void>((done) => http.listen(0, "127.0.0.1", done));
  return {
    port: (http.address() as AddressInfo).port,
    stop() {
      http.close();
      for (const session of sessions) session.destroy();
    },
  };
}

/** Answers of Envoy's rate limit API: OverallCode OK and OVER_LIMIT. */
export const WITHIN_LIMIT = Buffer.from([8, 1]);
export const OVER_LIMIT = Buffer.from([8, 2]);
