import { pendingOn } from "./pending.js";
import { dial, listen, readFrames } from "./socket.js";

/*
 * Peers that speak qza: a header of 106 bytes and what extends it, then a body of text.
 */

const headerLength = 106;

export interface QzaCall {
  cmd: number;
  subCmd?: number;
  uid?: number;
  alpha?: number;
  body?: string;
  /** Bytes that extend the header. */
  extension?: Buffer;
}

export interface QzaReply {
  cmd: number;
  subCmd: number;
  /** 0 is success. */
  code: number;
  body: string;
  /** Of the whole frame. */
  bytes: number;
}

export interface QzaClient {
  /** Rejects when the connection ends before the reply comes. */
  call(call: QzaCall): Promise<QzaReply>;
  close(): Promise<void>;
}

export interface QzaServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  stop(): Promise<void>;
}

/** The bytes of one frame. */
export function encodeQza({
  flow,
  cmd,
  code = 0,
  subCmd = 0,
  uid = 0,
  alpha = 0,
  body = "",
  extension = Buffer.alloc(0),
}: QzaCall & { flow: number; code?: number }): Buffer {
  const header = Buffer.alloc(headerLength);
  const text = Buffer.from(body);
  const length = headerLength + extension.length + text.length;
  header.writeInt8(1, 0);
  header.writeUInt32BE(flow, 1);
  header.writeUInt16BE(length & 0xffff, 5);
  header.writeInt16BE(cmd, 7);
  header.writeInt16BE(code, 9);
  header.writeUInt8(extension.length >> 8, 54);
  header.writeInt8(alpha, 61);
  header.writeInt16BE(subCmd, 64);
  header.writeUInt32BE(uid, 74);
  header.writeUInt16BE(length >>> 16, 103);
  header.writeUInt8(extension.length & 255, 105);
  return Buffer.concat([header, extension, text]);
}

const lengthOf = (header: Buffer) => header.readUInt16BE(103) * 65536 + header.readUInt16BE(5);

/** All that either side looks at. */
function read(frame: Buffer): QzaReply & { flow: number } {
  const behind = headerLength + frame.readUInt8(54) * 256 + frame.readUInt8(105);
  return {
    flow: frame.readUInt32BE(1),
    cmd: frame.readInt16BE(7),
    code: frame.readInt16BE(9),
    subCmd: frame.readInt16BE(64),
    body: frame.toString("utf8", behind),
    bytes: frame.length,
  };
}

/**
 * A server that answers a frame with what it says and who answered: `fig from v1`. A negative cmd is refused with itself
 * as code.
 */
export async function startQzaServer(version = "v1"): Promise<QzaServer> {
  return listen((socket) =>
    readFrames(socket, headerLength, lengthOf, (frame) => {
      const { flow, cmd, subCmd, body } = read(frame);
      socket.write(encodeQza({ flow, cmd, subCmd, code: Math.min(0, cmd), body: `${body} from ${version}` }));
    }),
  );
}

/** One connection that carries any number of calls at a time. */
export async function connectQza(port: number): Promise<QzaClient> {
  const socket = await dial(port);
  const pending = pendingOn<QzaReply>(socket);
  readFrames(socket, headerLength, lengthOf, (frame) => {
    const { flow, ...reply } = read(frame);
    pending.settle(flow, reply);
  });
  return {
    call: (call) => pending.call((flow) => socket.write(encodeQza({ flow, ...call }))),
    close: pending.close,
  };
}
