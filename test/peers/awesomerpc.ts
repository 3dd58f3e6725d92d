import { once } from "node:events";
import { type AddressInfo, connect as connectSocket, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/*
 * Peers that speak awesomerpc: a header of 13 bytes (version, flow, length of the whole frame, cmd, code), then a body of
 * text.
 */

const headerLength = 13;

export interface AwesomeReply {
  cmd: number;
  /** 0 is success. */
  code: number;
  body: string;
  /** Of the whole frame. */
  bytes: number;
}

export interface AwesomeClient {
  /** Rejects when the connection ends before the reply comes. */
  call(cmd: number, body?: string): Promise<AwesomeReply>;
  close(): Promise<void>;
}

export interface AwesomeServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  stop(): Promise<void>;
}

/** The bytes of one frame. */
export function encode({
  flow,
  cmd,
  code = 0,
  body = "",
}: {
  flow: number;
  cmd: number;
  code?: number;
  body?: string;
}) {
  const header = Buffer.alloc(headerLength);
  const text = Buffer.from(body);
  header.writeUInt8(1, 0);
  header.writeUInt32BE(flow, 1);
  header.writeUInt32BE(headerLength + text.length, 5);
  header.writeInt16BE(cmd, 9);
  header.writeInt16BE(code, 11);
  return Buffer.concat([header, text]);
}

/** Calls `onFrame` for each whole frame that the socket receives; ends it where a length cannot be. */
function read(socket: Socket, onFrame: (flow: number, reply: AwesomeReply) => void): void {
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= headerLength) {
      const bytes = rest.readUInt32BE(5);
      if (bytes < headerLength) return void socket.destroy();
      if (rest.length < bytes) return;
      const body = rest.toString("utf8", headerLength, bytes);
      onFrame(rest.readUInt32BE(1), { cmd: rest.readInt16BE(9), code: rest.readInt16BE(11), body, bytes });
      rest = rest.subarray(bytes);
    }
  });
}

/**
 * A server that answers a frame with what it says and who answered: `fig from v1`. A negative cmd is refused with itself
 * as code; the others are answered after as many milliseconds.
 */
export async function startAwesomeServer(version = "v1"): Promise<AwesomeServer> {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    connections++;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    read(socket, async (flow, { cmd, body }) => {
      await delay(Math.max(0, cmd), undefined, { ref: false });
      const code = Math.min(0, cmd);
      if (socket.writable) socket.write(encode({ flow, cmd, code, body: `${body} from ${version}` }));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** One connection that carries any number of calls at a time. */
export async function connectAwesome(port: number): Promise<AwesomeClient> {
  const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  const pending = new Map<number, { resolve(reply: AwesomeReply): void; reject(error: Error): void }>();
  let lastFlow = 0;
  read(socket, (flow, reply) => {
    pending.get(flow)?.resolve(reply);
    pending.delete(flow);
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      for (const { reject } of pending.values()) reject(new Error("the connection was lost"));
      resolve();
    });
  });
  return {
    call(cmd, body) {
      const flow = ++lastFlow;
      return new Promise((resolve, reject) => {
        if (!socket.writable) return reject(new Error("the connection was lost"));
        pending.set(flow, { resolve, reject });
        socket.write(encode({ flow, cmd, ...(body !== undefined && { body }) }));
      });
    },
    async close() {
      socket.destroySoon();
      await closed;
    },
  };
}
