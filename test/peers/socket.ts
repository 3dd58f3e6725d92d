import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/*
 * What peers have in common that cut frames by a length in a fixed header.
 */

/**
 * Calls `onFrame` for each whole frame that the socket receives. Ends it where `lengthOf` answers no length, and where
 * `onFrame` throws, because that is what it does with a frame that it cannot read.
 */
export function readFrames(
  socket: Socket,
  headerLength: number,
  lengthOf: (header: Buffer) => number,
  onFrame: (frame: Buffer) => void,
): void {
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= headerLength) {
      const length = lengthOf(rest);
      if (!(length >= headerLength)) return void socket.destroy();
      if (rest.length < length) return;
      try {
        onFrame(rest.subarray(0, length));
      } catch {
        return void socket.destroy();
      }
      rest = rest.subarray(length);
    }
  });
}

/** A server of this machine, at any free port. */
export async function listen(onSocket: (socket: Socket) => void) {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    connections++;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    /** Connections so far. */
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

export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}
