import type { Writable } from "node:stream";
import { FramedEnd, type Layout, method, type OnMessage, once, payloadsByLength, type Side } from "./frames.js";

/*
 * Framed messages of Thrift's binary protocol: 4 length of what follows, 2 0x8001, 1 unused, 1 type, 4 length of the name,
 * name, 4 sequence id, then a struct with one string.
 */

const Type = { call: 1, reply: 2 } as const;
const version = 0x8001;
const string = 11;

const start = 4 + 4 + 4 + method.length;

export const thriftLayout: Layout = {
  headLength: start + 4,
  idAt: start,
  lengthOf: (head) =>
    head.readUInt16BE(4) === version && head.readUInt32BE(8) === method.length ? 4 + head.readUInt32BE(0) : undefined,
};

/** The argument of a call is field 1, the result of a reply field 0. */
export function thriftFrame(type: number, field: number, bytes: number): Buffer {
  const frame = Buffer.alloc(start + 4 + 3 + 4 + bytes + 1);
  frame.writeUInt32BE(frame.length - 4, 0);
  frame.writeUInt16BE(version, 4);
  frame.writeUInt8(type, 7);
  frame.writeUInt32BE(method.length, 8);
  frame.write(method, 12);
  frame.writeUInt8(string, start + 4);
  frame.writeUInt16BE(field, start + 5);
  frame.writeUInt32BE(bytes, start + 7);
  frame.fill("x", start + 11, start + 11 + bytes);
  return frame;
}

const written = {
  client: once((payload) => thriftFrame(Type.call, 1, payload)),
  server: once((payload) => thriftFrame(Type.reply, 0, payload)),
};
const payloads = { client: payloadsByLength(written.server), server: payloadsByLength(written.client) };

/** An end that speaks Thrift; ids are sequence ids. */
export class ThriftEnd extends FramedEnd {
  constructor(side: Side, socket: Writable, onMessage: OnMessage) {
    const expected = side === "client" ? Type.reply : Type.call;
    super(thriftLayout, written[side], socket, (head, id, length) => {
      const payload = payloads[side].get(length);
      if (head.readUInt8(7) !== expected || payload === undefined) {
        throw new Error(`not a message of this benchmark: type ${head.readUInt8(7)}, ${length} bytes`);
      }
      onMessage(id, payload);
    });
  }
}
