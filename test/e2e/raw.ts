import { once } from "node:events";
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { onTestFinished } from "vitest";
import { decode, FrameCutter, type Message } from "../peers/dubbo/codec.js";

/** A connection that sends whatever it is told. It ends with the test. */
export interface Raw {
  /** Resolves when the system has the bytes. */
  send(bytes: Uint8Array): Promise<void>;
  /** Sends the bytes in pieces of that size with a pause after each; gives up when the connection is gone. */
  trickle(bytes: Uint8Array, size: number, pauseMs: number): Promise<void>;
  /** Sends no more. */
  end(): void;
  /** Ends the connection without order. */
  reset(): void;
  /** Leaves what comes to the system, until resume(). */
  pause(): void;
  resume(): void;
  /** All bytes that came back. */
  received(): Buffer;
  /** How many came back. */
  readonly count: number;
  /** The Dubbo messages that came back. */
  messages(): Message[];
  readonly open: boolean;
  /** Resolves when the connection is gone, whoever ended it and however. */
  readonly closed: Promise<void>;
}

export async function connectRaw(port: number): Promise<Raw> {
  const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  await once(socket, "connect");
  const chunks: Buffer[] = [];
  let count = 0;
  let open = true;
  socket.on("data", (chunk) => {
    chunks.push(chunk);
    count += chunk.length;
  });
  socket.on("error", () => {});
  socket.on("end", () => socket.end());
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      open = false;
      resolve();
    });
  });
  onTestFinished(() => {
    socket.destroy();
  });
  const send = (bytes: Uint8Array) => new Promise<void>((resolve) => socket.write(bytes, () => resolve()));
  return {
    send,
    async trickle(bytes, size, pauseMs) {
      for (let at = 0; at < bytes.length && open; at += size) {
        await send(bytes.subarray(at, at + size));
        await sleep(pauseMs);
      }
    },
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    received: () => Buffer.concat(chunks),
    messages: () => new FrameCutter().push(Buffer.concat(chunks)).map(decode),
    get count() {
      return count;
    },
    get open() {
      return open;
    },
    closed,
  };
}

export interface EchoServer {
  readonly port: number;
  readonly connections: number;
  stop(): Promise<void>;
}

/** A server that sends back what it gets, and ends when its client does. It ends with the test. */
export async function startEcho(): Promise<EchoServer> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    connections++;
    open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    socket.pipe(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = async () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
  onTestFinished(stop);
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    stop,
  };
}
