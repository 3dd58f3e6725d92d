import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import {
  type Attachments,
  decode,
  encodeException,
  encodeFailure,
  encodeHeartbeatReply,
  encodeReply,
  FrameCutter,
  type Message,
  Status,
} from "./codec.js";

export const greeter = "org.meltemi.demo.Greeter";
export const orders = "org.meltemi.demo.Orders";

/** What the server has seen since it started. */
export type ServerStats = {
  connections: number;
  heartbeats: number;
  /** Requests by `method`, one-way ones included. */
  requests: Record<string, number>;
  /** One-way requests. */
  oneway: number;
};

export type DubboServer = { readonly port: number; readonly stats: ServerStats; stop(): Promise<void> };

export type ServerOptions = {
  /** Told in what `sayHello` answers, so that a test sees who did. Default "v1". */
  version?: string;
  /** The address to listen at. Default 127.0.0.1. */
  host?: string;
  /** Default: any free one. */
  port?: number;
};

/** The service is there and says no: a Java exception in a reply with status OK. */
class BusinessException extends Error {}

/** The call cannot be carried out: a reply with a status of its own. */
class ServerFailure extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

type Method = (attachments: Attachments, ...args: never[]) => unknown;

/** The services of one server, by interface and method. */
function services(version: string): Record<string, Record<string, Method>> {
  const book = new Map<number, { id: number; item: string; count: number; version: string }>();
  const notified = new Map<string, number>();
  return {
    [greeter]: {
      sayHello: (_, name: string) => `Hello ${name} from ${version}`,
      echo: (_, value: unknown) => value,
      add: (_, a: number, b: number) => a + b,
      slow: async (_, milliseconds: number) => {
        await delay(milliseconds, undefined, { ref: false });
        return milliseconds;
      },
      fail: () => {
        throw new BusinessException(`refused by ${version}`);
      },
      crash: () => {
        throw new ServerFailure(Status.serverError, `crashed in ${version}`);
      },
      blob: (_, bytes: number) => blob(bytes),
      attachment: (attachments, key: string) => attachments[key] ?? null,
      notify: (_, text: string) => {
        notified.set(text, (notified.get(text) ?? 0) + 1);
      },
      notified: (_, text: string) => notified.get(text) ?? 0,
    },
    [orders]: {
      create: (_, item: string, count: number) => {
        const order = { id: book.size + 1, item, count, version };
        book.set(order.id, order);
        return order;
      },
      get: (_, id: number) => book.get(id) ?? null,
    },
  };
}

/** What `blob(bytes)` answers: recognisable at every offset, so that bytes that moved are seen. */
export function blob(bytes: number): Buffer {
  const out = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) out[i] = (i * 31 + (i >> 8)) & 0xff;
  return out;
}

/** Starts a Dubbo server of `greeter` and `orders`. It answers in the order in which the methods finish. */
export async function startServer({
  version = "v1",
  host = "127.0.0.1",
  port = 0,
}: ServerOptions = {}): Promise<DubboServer> {
  const stats: ServerStats = { connections: 0, heartbeats: 0, requests: {}, oneway: 0 };
  const table = services(version);
  const open = new Set<Socket>();

  async function answer(request: Message & { kind: "request" }): Promise<Buffer> {
    const { id, service, method, args, attachments } = request;
    try {
      const run = table[service]?.[method];
      if (!table[service]) throw new ServerFailure(Status.serviceNotFound, `no service ${service}`);
      if (!run) throw new ServerFailure(Status.serviceError, `no method ${service}.${method}`);
      return encodeReply(id, await run(attachments, ...(args as never[])));
    } catch (error) {
      if (error instanceof BusinessException) return encodeException(id, error.message);
      const status = error instanceof ServerFailure ? error.status : Status.serviceError;
      return encodeFailure(id, status, (error as Error).message);
    }
  }

  async function receive(socket: Socket, frame: Buffer): Promise<void> {
    let message: Message;
    try {
      message = decode(frame);
    } catch (error) {
      // A whole frame with contents that cannot be read: the connection is none the worse for it.
      socket.write(encodeFailure(String(frame.readBigInt64BE(4)), Status.badRequest, (error as Error).message));
      return;
    }
    if (message.kind === "heartbeat") {
      stats.heartbeats++;
      socket.write(encodeHeartbeatReply(message.id));
    } else if (message.kind === "request") {
      stats.requests[message.method] = (stats.requests[message.method] ?? 0) + 1;
      if (!message.twoWay) stats.oneway++;
      const reply = await answer(message);
      if (message.twoWay && socket.writable) socket.write(reply);
    }
  }

  const server = createServer({ noDelay: true }, (socket) => {
    stats.connections++;
    open.add(socket);
    const cutter = new FrameCutter();
    socket.on("close", () => open.delete(socket));
    // A peer that resets its connection is no concern of the server; the close event follows.
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      try {
        for (const frame of cutter.push(chunk)) void receive(socket, frame);
      } catch {
        socket.destroy();
      }
    });
  });
  server.listen(port, host);
  await once(server, "listening");

  return {
    port: (server.address() as AddressInfo).port,
    stats,
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}
