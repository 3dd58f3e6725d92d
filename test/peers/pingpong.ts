import { pendingOn } from "./pending.js";
import { dial, listen, readFrames } from "./socket.js";

/*
 * Peers that speak pingpong: a header of 10 bytes, of type 4 with a service behind it, then a body of text. A heartbeat
 * that is not the answer to one's own is sent back.
 */

const headerLength = 10;
export const HEARTBEAT = 1;
export const UNARY = 2;
export const STREAM = 3;
export const UNARY_OF_SERVICE = 4;

export interface PingPongReply {
  type: number;
  body: string;
  /** Not 0 where a proxy answered. */
  reserved: number;
  /** Of the whole frame. */
  bytes: number;
}

export interface PingPongClient {
  /** Rejects when the connection ends before the reply comes. With a service, the type is 4 and not that of `type`. */
  call(body: string, options?: { type?: number; service?: string }): Promise<PingPongReply>;
  /** Sends a heartbeat and waits for the same bytes. */
  heartbeat(): Promise<void>;
  close(): Promise<void>;
}

export interface PingPongServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  /** Sends a heartbeat to every client and waits until each has sent it back. */
  heartbeat(): Promise<void>;
  stop(): Promise<void>;
}

/** The bytes of one frame. */
export function encodePingPong(id: number, type: number, body = "", service = ""): Buffer {
  const text = Buffer.from(body);
  const header = Buffer.from("pp\0\0\0\0\0\0\0\0");
  header.writeUInt8(type, 2);
  header.writeUInt16BE(id, 3);
  header.writeUInt32BE(text.length, 6);
  const name = Buffer.alloc(type === UNARY_OF_SERVICE ? 4 : 0);
  name.write(service);
  return Buffer.concat([header, name, text]);
}

const bodyAt = (header: Buffer) => headerLength + (header.readUInt8(2) === UNARY_OF_SERVICE ? 4 : 0);
const lengthOf = (header: Buffer) =>
  header.toString("latin1", 0, 2) === "pp" ? bodyAt(header) + header.readUInt32BE(6) : -1;

/** All that either side looks at. */
function read(frame: Buffer) {
  return {
    id: frame.readUInt16BE(3),
    type: frame.readUInt8(2),
    reserved: frame.readUInt8(5),
    service: frame.toString("utf8", headerLength, bodyAt(frame)).replace(/\0.*/, ""),
    body: frame.toString("utf8", bodyAt(frame)),
    bytes: frame.length,
  };
}

/** A server that answers a frame with what it says and who answered: `fig from v1`. */
export async function startPingPongServer(version = "v1"): Promise<PingPongServer> {
  const clients = new Set<() => Promise<void>>();
  const server = await listen((socket) => {
    // Ids that are not those of the client.
    const pending = pendingOn<void>(socket, 60_000);
    const heartbeat = () => pending.call((id) => socket.write(encodePingPong(id, HEARTBEAT)));
    clients.add(heartbeat);
    socket.on("close", () => clients.delete(heartbeat));
    readFrames(socket, headerLength, lengthOf, (frame) => {
      const { id, type, service, body } = read(frame);
      if (type !== HEARTBEAT) socket.write(encodePingPong(id, type, `${body} from ${version}`, service));
      else if (!pending.settle(id, undefined)) socket.write(frame);
    });
  });
  return Object.assign(server, {
    async heartbeat() {
      await Promise.all([...clients].map((heartbeat) => heartbeat()));
    },
  });
}

/** One connection that carries any number of streams at a time. */
export async function connectPingPong(port: number): Promise<PingPongClient> {
  const socket = await dial(port);
  const pending = pendingOn<PingPongReply>(socket);
  readFrames(socket, headerLength, lengthOf, (frame) => {
    const { id, type, body, reserved, bytes } = read(frame);
    if (!pending.settle(id, { type, body, reserved, bytes }) && type === HEARTBEAT) socket.write(frame);
  });
  return {
    call: (body, { type = UNARY, service } = {}) =>
      pending.call((id) =>
        socket.write(encodePingPong(id, service === undefined ? type : UNARY_OF_SERVICE, body, service)),
      ),
    heartbeat: async () => void (await pending.call((id) => socket.write(encodePingPong(id, HEARTBEAT)))),
    close: pending.close,
  };
}
