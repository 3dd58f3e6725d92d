import { PbfReader, PbfWriter } from "pbf";
import { dial, listen, readFrames } from "./socket.js";

/*
 * Peers that speak bRPC's baidu_std. Payloads are texts.
 */

const HEADER = 12;

export const greeter = "meltemi.demo.Greeter";

type Fields = Record<string, string>;

export interface Call {
  id: number;
  service?: string;
  method: string;
  logId?: number;
  fields?: Fields;
  body?: string;
}

export interface Reply {
  /** 0 is success. */
  code: number;
  text: string;
  body: string;
  /** Of the whole frame. */
  bytes: number;
}

export interface BrpcClient {
  /** Rejects when the connection ends before the reply comes. */
  call(method: string, body?: string, more?: Pick<Call, "service" | "logId" | "fields">): Promise<Reply>;
  close(): Promise<void>;
}

export interface BrpcServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  stop(): Promise<void>;
}

function frame(write: (meta: PbfWriter) => void, body: string): Buffer {
  const pbf = new PbfWriter();
  write(pbf);
  const meta = Buffer.from(pbf.finish());
  const payload = Buffer.from(body);
  const header = Buffer.from("PRPC\0\0\0\0\0\0\0\0");
  header.writeUInt32BE(meta.length + payload.length, 4);
  header.writeUInt32BE(meta.length, 8);
  return Buffer.concat([header, meta, payload]);
}

/** The bytes of a call. */
export function encodeCall({ id, service = greeter, method, logId, fields = {}, body = "" }: Call): Buffer {
  return frame((meta) => {
    const request = (_: unknown, inner: PbfWriter) => {
      inner.writeStringField(1, service);
      inner.writeStringField(2, method);
      if (logId !== undefined) inner.writeVarintField(3, logId);
    };
    meta.writeMessage(1, request, undefined);
    meta.writeVarintField(4, id);
    for (const [key, value] of Object.entries(fields)) {
      const entry = (_: unknown, inner: PbfWriter) => {
        inner.writeStringField(1, key);
        inner.writeStringField(2, value);
      };
      meta.writeMessage(9, entry, undefined);
    }
  }, body);
}

function encodeReply(id: number, { code = 0, text = "", body = "" }: Partial<Reply>): Buffer {
  return frame((meta) => {
    const response = (_: unknown, inner: PbfWriter) => {
      inner.writeVarintField(1, code);
      if (text) inner.writeStringField(2, text);
    };
    meta.writeMessage(2, response, undefined);
    meta.writeVarintField(4, id);
  }, body);
}

const lengthOf = (header: Buffer) =>
  header.toString("latin1", 0, 4) === "PRPC" ? HEADER + header.readUInt32BE(4) : -1;

/** All that either side looks at. */
function read(frame: Buffer) {
  const behind = HEADER + frame.readUInt32BE(8);
  const found = { id: 0, service: "", method: "", code: 0, text: "" };
  const meta = new PbfReader(frame.subarray(HEADER, behind)).readFields((outer, it, pbf) => {
    if (outer === 4) it.id = pbf.readVarint();
    if (outer !== 1 && outer !== 2) return;
    pbf.readMessage((tag) => {
      if (outer === 1 && tag === 1) it.service = pbf.readString();
      if (outer === 1 && tag === 2) it.method = pbf.readString();
      if (outer === 2 && tag === 1) it.code = pbf.readVarint(true);
      if (outer === 2 && tag === 2) it.text = pbf.readString();
    }, it);
  }, found);
  return { ...meta, body: frame.toString("utf8", behind), bytes: frame.length };
}

/** A server that echoes, and says who answered: `fig from v1`. With `refuse`, it answers everything with that error. */
export async function startBrpcServer(
  version = "v1",
  { refuse }: { refuse?: { code: number; text: string } } = {},
): Promise<BrpcServer> {
  function answer(service: string, method: string, body: string): Partial<Reply> {
    if (refuse) return refuse;
    if (service !== greeter) return { code: 1001, text: `no ${service}` };
    if (method === "Echo") return { body: `${body} from ${version}` };
    if (method === "Fail") return { code: 42, text: `refused by ${version}` };
    return { code: 1002, text: `no ${method}` };
  }

  return listen((socket) =>
    readFrames(socket, HEADER, lengthOf, (frame) => {
      const { id, service, method, body } = read(frame);
      if (socket.writable) socket.write(encodeReply(id, answer(service, method, body)));
    }),
  );
}

/** One connection that carries any number of calls at a time. */
export async function connectBrpc(port: number): Promise<BrpcClient> {
  const socket = await dial(port);
  const pending = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  let lastId = 0;
  readFrames(socket, HEADER, lengthOf, (frame) => {
    const { id, code, text, body, bytes } = read(frame);
    pending.get(id)?.resolve({ code, text, body, bytes });
    pending.delete(id);
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      for (const { reject } of pending.values()) reject(new Error("the connection was lost"));
      resolve();
    });
  });
  return {
    call: (method, body, more = {}) =>
      new Promise((resolve, reject) => {
        const id = ++lastId;
        pending.set(id, { resolve, reject });
        socket.write(encodeCall({ id, method, ...(body !== undefined && { body }), ...more }));
      }),
    async close() {
      socket.destroySoon();
      await closed;
    },
  };
}
