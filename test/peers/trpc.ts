import { PbfReader, PbfWriter } from "pbf";
import { dial, listen, readFrames } from "./socket.js";

/*
 * Peers that speak tRPC, calls and streams on one connection. Payloads are google.protobuf.StringValue, as those of the
 * peers in Java.
 */

const HEADER = 16;
const [INIT, DATA, FEEDBACK, CLOSE] = [1, 2, 3, 4];

export const greeter = "trpc.meltemi.demo.Greeter";
export const streams = "trpc.meltemi.demo.Streams";

type Info = Record<string, string>;

export interface Call {
  id: number;
  /** /SERVICE/METHOD */
  func: string;
  oneWay?: boolean;
  info?: Info;
  body?: string;
}

export interface Reply {
  /** The framework's code, 0 is success. */
  ret: number;
  /** The service's. */
  funcRet: number;
  message: string;
  info: Info;
  body: string;
  /** Of the whole frame. */
  bytes: number;
}

export interface StreamEnd {
  ret: number;
  message: string;
  texts: string[];
}

export interface TrpcClient {
  /** Rejects when the connection ends before the reply comes. */
  call(func: string, body?: string, info?: Info): Promise<Reply>;
  oneWay(func: string, body?: string): void;
  /** Opens a stream, sends the texts and the end, and answers what came until the server's end. */
  stream(func: string, texts: string[], info?: Info): Promise<StreamEnd>;
  /** Opens a stream, sends the texts, and gives it up once as many texts came back. */
  abandon(func: string, texts: string[], info?: Info): Promise<StreamEnd>;
  close(): Promise<void>;
}

export interface TrpcServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  /** Streams that are open. */
  readonly streams: number;
  stop(): Promise<void>;
}

function message(write: (pbf: PbfWriter) => void): Buffer {
  const pbf = new PbfWriter();
  write(pbf);
  return Buffer.from(pbf.finish());
}

const stringValue = (text: string) => message((pbf) => text && pbf.writeStringField(1, text));

function textOf(payload: Uint8Array): string {
  const read = (tag: number, found: { text: string }, pbf: PbfReader) => {
    if (tag === 1) found.text = pbf.readString();
  };
  return new PbfReader(payload).readFields(read, { text: "" }).text;
}

function writeInfo(pbf: PbfWriter, tag: number, info: Info): void {
  for (const [key, value] of Object.entries(info)) {
    pbf.writeMessage(
      tag,
      (_, entry) => {
        entry.writeStringField(1, key);
        entry.writeStringField(2, value);
      },
      undefined,
    );
  }
}

function readInfo(pbf: PbfReader, info: Info): void {
  const entry = { key: "", value: "" };
  pbf.readMessage((tag) => {
    if (tag === 1) entry.key = pbf.readString();
    if (tag === 2) entry.value = pbf.readString();
  }, entry);
  info[entry.key] = entry.value;
}

function unary(head: Buffer, payload: Buffer): Buffer {
  const fixed = Buffer.alloc(HEADER);
  fixed.writeUInt16BE(0x930, 0);
  fixed.writeUInt32BE(HEADER + head.length + payload.length, 4);
  fixed.writeUInt16BE(head.length, 8);
  return Buffer.concat([fixed, head, payload]);
}

function streamFrame(type: number, id: number, rest: Buffer): Buffer {
  const fixed = Buffer.alloc(HEADER);
  fixed.writeUInt16BE(0x930, 0);
  fixed.writeUInt8(1, 2);
  fixed.writeUInt8(type, 3);
  fixed.writeUInt32BE(HEADER + rest.length, 4);
  fixed.writeUInt32BE(id, 10);
  return Buffer.concat([fixed, rest]);
}

/** The bytes of a call. */
export function encodeCall({ id, func, oneWay, info = {}, body = "" }: Call): Buffer {
  const head = message((pbf) => {
    if (oneWay) pbf.writeVarintField(2, 1);
    pbf.writeVarintField(3, id);
    pbf.writeVarintField(4, 5000);
    pbf.writeStringField(5, "trpc.meltemi.node.Client");
    pbf.writeStringField(6, func.split("/")[1] ?? "");
    pbf.writeStringField(7, func);
    writeInfo(pbf, 9, info);
  });
  return unary(head, stringValue(body));
}

function encodeReply(id: number, { ret = 0, funcRet = 0, message: why = "", info = {}, body = "" }: Partial<Reply>) {
  const head = message((pbf) => {
    pbf.writeVarintField(3, id);
    if (ret) pbf.writeVarintField(4, ret);
    if (funcRet) pbf.writeVarintField(5, funcRet);
    if (why) pbf.writeStringField(6, why);
    writeInfo(pbf, 8, info);
  });
  return unary(head, ret || funcRet ? Buffer.alloc(0) : stringValue(body));
}

/** The bytes of a stream's end; with `reset`, of both directions. */
function encodeClose(id: number, { ret = 0, why = "", reset = false } = {}): Buffer {
  const meta = message((pbf) => {
    if (reset) pbf.writeVarintField(1, 1);
    if (ret) pbf.writeVarintField(2, ret);
    if (why) pbf.writeStringField(3, why);
  });
  return streamFrame(CLOSE, id, meta);
}

/** A server's INIT: that the stream is open, or why not. */
function encodeAccept(id: number, ret = 0, why = ""): Buffer {
  const meta = message((pbf) => {
    const response = (_: unknown, inner: PbfWriter) => {
      if (ret) inner.writeVarintField(1, ret);
      if (why) inner.writeStringField(2, why);
    };
    pbf.writeMessage(2, response, undefined);
  });
  return streamFrame(INIT, id, meta);
}

function encodeOpen(id: number, func: string, info: Info): Buffer {
  const meta = message((pbf) => {
    const request = (_: unknown, inner: PbfWriter) => {
      inner.writeStringField(1, "trpc.meltemi.node.Client");
      inner.writeStringField(2, func.split("/")[1] ?? "");
      inner.writeStringField(3, func);
      writeInfo(inner, 5, info);
    };
    pbf.writeMessage(1, request, undefined);
  });
  return streamFrame(INIT, id, meta);
}

interface Head {
  id: number;
  func: string;
  oneWay: boolean;
  info: Info;
}

const lengthOf = (header: Buffer) => (header.readUInt16BE(0) === 0x930 ? header.readUInt32BE(4) : -1);
const headOf = (frame: Buffer) => frame.subarray(HEADER, HEADER + frame.readUInt16BE(8));
const payloadOf = (frame: Buffer) => frame.subarray(HEADER + frame.readUInt16BE(8));

function readRequest(head: Buffer): Head {
  const found: Head = { id: 0, func: "", oneWay: false, info: {} };
  return new PbfReader(head).readFields((tag, request, pbf) => {
    if (tag === 2) request.oneWay = pbf.readVarint() === 1;
    if (tag === 3) request.id = pbf.readVarint();
    if (tag === 7) request.func = pbf.readString();
    if (tag === 9) readInfo(pbf, request.info);
  }, found);
}

/** Of INIT and CLOSE: the code and the text, wherever they stand. */
function readEnd(type: number, meta: Buffer): { ret: number; message: string } {
  const end = { ret: 0, message: "" };
  const fields = new PbfReader(meta);
  if (type === CLOSE) {
    return fields.readFields((tag, found, pbf) => {
      if (tag === 2) found.ret = pbf.readVarint(true);
      if (tag === 3) found.message = pbf.readString();
    }, end);
  }
  return fields.readFields((outer, found, pbf) => {
    if (outer !== 2) return;
    pbf.readMessage((tag) => {
      if (tag === 1) found.ret = pbf.readVarint(true);
      if (tag === 2) found.message = pbf.readString();
    }, found);
  }, end);
}

/**
 * A server with the services of the peers in Java. With `refuse`, it answers everything with that error, as a proxy
 * does: calls with a reply, streams with the end of both directions and an INIT that says why.
 */
export async function startTrpcServer(
  version = "v1",
  { refuse }: { refuse?: { ret: number; message: string } } = {},
): Promise<TrpcServer> {
  const notes = new Map<string, number>();
  const ofConnections = new Set<ReadonlyMap<number, unknown>>();

  function answer({ func, info }: Head, body: string): Partial<Reply> {
    if (refuse) return refuse;
    switch (func) {
      case `/${greeter}/Echo`:
        return { body: `${body} from ${version}`, info };
      case `/${greeter}/Info`:
        return { body: info[body] ?? "" };
      case `/${greeter}/Fail`:
        return { funcRet: 42, message: `refused by ${version}` };
      case `/${greeter}/Crash`:
        return { ret: 999, funcRet: 999, message: "crashed" };
      case `/${greeter}/Notify`:
        notes.set(body, (notes.get(body) ?? 0) + 1);
        return {};
      case `/${greeter}/Notified`:
        return { body: String(notes.get(body) ?? 0) };
      default:
        return { ret: 12, message: `no ${func}` };
    }
  }

  const server = await listen((socket) => {
    const write = (frame: Buffer) => socket.writable && socket.write(frame);
    const open = new Map<number, { method: string; texts: string[] }>();
    ofConnections.add(open);
    socket.on("close", () => ofConnections.delete(open));

    function init(id: number, frame: Buffer): void {
      const request: Head = { id, func: "", oneWay: false, info: {} };
      new PbfReader(frame.subarray(HEADER)).readFields((outer, _, pbf) => {
        if (outer !== 1) return;
        pbf.readMessage((tag) => {
          if (tag === 3) request.func = pbf.readString();
        }, request);
      }, request);
      const [, service, method = ""] = request.func.split("/");
      if (refuse) {
        write(encodeClose(id, { ret: refuse.ret, why: refuse.message, reset: true }));
        return void write(encodeAccept(id, refuse.ret, refuse.message));
      }
      if (service !== streams) return void write(encodeAccept(id, 12, `no ${request.func}`));
      open.set(id, { method, texts: [] });
      write(encodeAccept(id));
    }

    function data(id: number, text: string): void {
      const stream = open.get(id);
      if (!stream) return;
      const send = (value: string) => write(streamFrame(DATA, id, stringValue(value)));
      const end = (ret = 0, why = "") => {
        write(encodeClose(id, { ret, why }));
        open.delete(id);
      };
      stream.texts.push(text);
      if (stream.method === "Echo") send(text);
      if (stream.method === "Repeat") {
        for (const _ of text) send(text);
        end();
      }
      if (stream.method === "Break") {
        send(text);
        end(1000, "broken off");
      }
    }

    function close(id: number): void {
      const stream = open.get(id);
      open.delete(id);
      if (stream?.method === "Join") write(streamFrame(DATA, id, stringValue(stream.texts.join(""))));
      if (stream) write(encodeClose(id));
    }

    readFrames(socket, HEADER, lengthOf, (frame) => {
      const id = frame.readUInt32BE(10);
      if (frame.readUInt8(2) === 0) {
        const request = readRequest(headOf(frame));
        const reply = answer(request, textOf(payloadOf(frame)));
        if (!request.oneWay) write(encodeReply(request.id, reply));
        return;
      }
      const type = frame.readUInt8(3);
      if (type === INIT) init(id, frame);
      if (type === DATA) data(id, textOf(frame.subarray(HEADER)));
      if (type === CLOSE) close(id);
    });
  });
  return {
    port: server.port,
    get connections() {
      return server.connections;
    },
    get streams() {
      return [...ofConnections].reduce((sum, { size }) => sum + size, 0);
    },
    stop: server.stop,
  };
}

/** One connection that carries any number of calls and streams at a time. */
export async function connectTrpc(port: number): Promise<TrpcClient> {
  const socket = await dial(port);
  const calls = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  interface Stream {
    texts: string[];
    send: readonly string[];
    /** Gives it up after as many texts. */
    abandons: boolean;
    resolve(end: StreamEnd): void;
    reject(error: Error): void;
  }
  const opened = new Map<number, Stream>();
  // Ids of calls and of streams do not meet, as in the libraries.
  let lastCall = 0;
  let lastStream = 1 << 20;

  function reply(frame: Buffer): void {
    const found = { id: 0, ret: 0, funcRet: 0, message: "", info: {}, bytes: frame.length };
    const head = new PbfReader(headOf(frame)).readFields((tag, it, pbf) => {
      if (tag === 3) it.id = pbf.readVarint();
      if (tag === 4) it.ret = pbf.readVarint(true);
      if (tag === 5) it.funcRet = pbf.readVarint(true);
      if (tag === 6) it.message = pbf.readString();
      if (tag === 8) readInfo(pbf, it.info);
    }, found);
    const { id, ...rest } = head;
    calls.get(id)?.resolve({ ...rest, body: textOf(payloadOf(frame)) });
    calls.delete(id);
  }

  function streamed(type: number, id: number, frame: Buffer): void {
    const stream = opened.get(id);
    if (!stream) return;
    if (type === DATA) stream.texts.push(textOf(frame.subarray(HEADER)));
    if (stream.abandons && stream.texts.length === stream.send.length) {
      socket.write(encodeClose(id, { ret: 161, why: "given up", reset: true }));
      opened.delete(id);
      return void stream.resolve({ ret: 0, message: "", texts: stream.texts });
    }
    if (type !== INIT && type !== CLOSE) return;
    const end = readEnd(type, frame.subarray(HEADER));
    if (type === CLOSE || end.ret) {
      opened.delete(id);
      stream.resolve({ ...end, texts: stream.texts });
      return;
    }
    for (const text of stream.send) socket.write(streamFrame(DATA, id, stringValue(text)));
    const increment = message((pbf) => pbf.writeVarintField(1, 1024));
    socket.write(streamFrame(FEEDBACK, id, increment));
    if (!stream.abandons) socket.write(encodeClose(id));
  }

  readFrames(socket, HEADER, lengthOf, (frame) => {
    if (frame.readUInt8(2) === 0) reply(frame);
    else streamed(frame.readUInt8(3), frame.readUInt32BE(10), frame);
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      for (const { reject } of [...calls.values(), ...opened.values()]) reject(new Error("the connection was lost"));
      resolve();
    });
  });
  const stream = (func: string, send: readonly string[], info: Info, abandons: boolean) =>
    new Promise<StreamEnd>((resolve, reject) => {
      const id = ++lastStream;
      opened.set(id, { texts: [], send, abandons, resolve, reject });
      socket.write(encodeOpen(id, func, info));
    });
  return {
    call: (func, body, info) =>
      new Promise((resolve, reject) => {
        const id = ++lastCall;
        calls.set(id, { resolve, reject });
        socket.write(encodeCall({ id, func, ...(body !== undefined && { body }), ...(info && { info }) }));
      }),
    oneWay(func, body) {
      socket.write(encodeCall({ id: ++lastCall, func, oneWay: true, ...(body !== undefined && { body }) }));
    },
    stream: (func, texts, info = {}) => stream(func, texts, info, false),
    abandon: (func, texts, info = {}) => stream(func, texts, info, true),
    async close() {
      socket.destroySoon();
      await closed;
    },
  };
}
