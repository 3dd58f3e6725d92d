import { pendingOn } from "./pending.js";
import { dial, listen, readFrames } from "./socket.js";

/*
 * Peers that speak videopacket, with a small writer and reader of JCE: a struct is a map of tags to integers, texts and
 * structs.
 */

type Struct = Map<number, number | bigint | string | Struct>;

// Tags.
const BASIC_INFO = 0;
const ACCESS_INFO = 1;
const BODY = 3;
const SERVER_ROUTE = 7;
const COMMAND = 1;
const RESULT = 4;
const SEQ_ID = 6;
const SUB_CMD = 7;

export interface VideoCall {
  command: number;
  subCmd?: number;
  uin?: bigint;
  /** Where it is missing, the frame has no ServerRoute. */
  func?: string;
  toServer?: string;
  body?: string;
}

export interface VideoReply {
  command: number;
  /** 0 is success. */
  result: number;
  body: string;
  /** Of the whole frame. */
  bytes: number;
}

export interface VideoClient {
  /** Rejects when the connection ends before the reply comes. */
  call(call: VideoCall): Promise<VideoReply>;
  close(): Promise<void>;
}

export interface VideoServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  stop(): Promise<void>;
}

function head(tag: number, type: number): Buffer {
  return tag < 15 ? Buffer.from([(tag << 4) | type]) : Buffer.from([0xf0 | type, tag]);
}

function writeInt(tag: number, value: bigint): Buffer {
  if (value === 0n) return head(tag, 12);
  const type = [8, 16, 32, 64].findIndex((bits) => BigInt.asIntN(bits, value) === value);
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return Buffer.concat([head(tag, type), bytes.subarray(8 - 2 ** type)]);
}

function writeFields(struct: Struct): Buffer {
  return Buffer.concat(
    [...struct].map(([tag, value]) => {
      if (value instanceof Map) return Buffer.concat([head(tag, 10), writeFields(value), head(0, 11)]);
      if (typeof value !== "string") return writeInt(tag, BigInt(value));
      const text = Buffer.from(value);
      const size = Buffer.alloc(text.length < 256 ? 1 : 4);
      size.writeUIntBE(text.length, 0, size.length);
      return Buffer.concat([head(tag, text.length < 256 ? 6 : 7), size, text]);
    }),
  );
}

/** Reads the fields of a struct up to its end; answers them and where it ends. */
function readFields(bytes: Buffer, from: number): [Struct, number] {
  const struct: Struct = new Map();
  let at = from;
  while (at < bytes.length) {
    const first = bytes.readUInt8(at++);
    const tag = first >> 4 === 15 ? bytes.readUInt8(at++) : first >> 4;
    const type = first & 15;
    if (type === 11) break;
    if (type === 12) struct.set(tag, 0n);
    else if (type === 10) {
      const [inner, end] = readFields(bytes, at);
      struct.set(tag, inner);
      at = end;
    } else if (type < 4) {
      struct.set(tag, type < 3 ? bytes.readIntBE(at, 2 ** type) : bytes.readBigInt64BE(at));
      at += 2 ** type;
    } else if (type === 6 || type === 7) {
      const width = type === 6 ? 1 : 4;
      const size = bytes.readUIntBE(at, width);
      struct.set(tag, bytes.toString("utf8", at + width, at + width + size));
      at += width + size;
    } else throw new Error(`JCE type ${type}`);
  }
  return [struct, at];
}

/** The bytes of one frame; `basic` and `header` are fields besides. */
function encode(command: number, id: number, result: number, more: { basic?: Struct; header?: Struct }): Buffer {
  const basic: Struct = new Map([
    [0, 2112n],
    [COMMAND, BigInt.asIntN(16, BigInt(command))],
    [2, 1],
    [3, 1],
    [RESULT, result],
    [5, 70_000],
    [SEQ_ID, id],
    ...(more.basic ?? []),
  ]);
  const header: Struct = new Map<number, Struct | string>([
    [BASIC_INFO, basic],
    [ACCESS_INFO, new Map([[5, "peer"]])],
  ]);
  for (const [tag, value] of more.header ?? []) header.set(tag, value);
  const fields = writeFields(header);
  const start = Buffer.alloc(16);
  start.writeUInt8(0x26, 0);
  start.writeUInt32BE(fields.length + 17, 1);
  start.writeUInt8(1, 5);
  start.writeUInt16BE(command, 7);
  return Buffer.concat([start, fields, Buffer.from([0x28])]);
}

/** The bytes of a call. */
export function encodeVideoCall(
  id: number,
  { command, subCmd = 0, uin = 2112n, func, toServer, body }: VideoCall,
): Buffer {
  const basic: Struct = new Map([
    [0, uin],
    [SUB_CMD, BigInt(subCmd)],
  ]);
  const header: Struct = new Map();
  if (body !== undefined) header.set(BODY, body);
  if (func !== undefined || toServer !== undefined) {
    const route: Struct = new Map([[0, "peer"]]);
    if (toServer !== undefined) route.set(2, toServer);
    if (func !== undefined) route.set(4, func);
    header.set(SERVER_ROUTE, route);
  }
  return encode(command, id, 0, { basic, header });
}

const lengthOf = (header: Buffer) => (header[0] === 0x26 ? header.readUInt32BE(1) : -1);

/** All that either side looks at. */
export function decodeVideo(frame: Buffer): VideoReply & { id: number; subCmd: number } {
  const [header] = readFields(frame.subarray(0, -1), 16);
  const basic = header.get(BASIC_INFO) as Struct;
  return {
    id: Number(basic.get(SEQ_ID)),
    command: Number(basic.get(COMMAND)) & 0xffff,
    subCmd: Number(basic.get(SUB_CMD) ?? 0),
    result: Number(basic.get(RESULT)),
    body: String(header.get(BODY) ?? ""),
    bytes: frame.length,
  };
}

/**
 * A server that answers a frame with what it says and who answered: `fig from v1`. With a sub command it answers with that
 * as result.
 */
export async function startVideoServer(version = "v1"): Promise<VideoServer> {
  return listen((socket) =>
    readFrames(socket, 17, lengthOf, (frame) => {
      const { id, command, subCmd, body } = decodeVideo(frame);
      socket.write(encode(command, id, subCmd, { header: new Map([[BODY, `${body} from ${version}`]]) }));
    }),
  );
}

/** One connection that carries any number of calls at a time. */
export async function connectVideo(port: number): Promise<VideoClient> {
  const socket = await dial(port);
  const pending = pendingOn<VideoReply>(socket);
  readFrames(socket, 17, lengthOf, (frame) => {
    const { id, command, result, body, bytes } = decodeVideo(frame);
    pending.settle(id, { command, result, body, bytes });
  });
  return {
    call: (call) => pending.call((id) => socket.write(encodeVideoCall(id, call))),
    close: pending.close,
  };
}
