import type { Socket } from "node:net";
import bolt from "sofa-bolt-node";
import RequestCommand from "sofa-bolt-node/lib/protocol/rpc_req_cmd.js";
import ResponseCommand from "sofa-bolt-node/lib/protocol/rpc_res_cmd.js";
import headers from "sofa-bolt-node/lib/simple_map_serializer.js";
import { pendingOn } from "./pending.js";
import { dial, listen } from "./socket.js";

/*
 * Peers that speak SOFABolt by sofa-bolt-node. That library is what sofa-rpc-node has below, which itself changes how the
 * process ends, and keeps it from doing so.
 */

export type Dialect = "bolt 1" | "bolt 2" | "bolt 2 with checksums";
export const dialects: readonly Dialect[] = ["bolt 1", "bolt 2", "bolt 2 with checksums"];

export const greeter = "org.meltemi.demo.Greeter:1.0";

/** Bytes of a frame, as far as its first bytes tell: never less than 20. */
export function boltLength(frame: Buffer): number {
  const second = frame[0] === 2;
  const fields = second ? 1 : 0;
  const header = 20 + (frame[1 + fields] === 0 ? 0 : 2) + (second ? 2 : 0);
  if (frame.length < header) return header;
  const checked = second && frame[1] === 2 && (frame.readUInt8(11) & 1) === 1;
  const lengths = header - 8;
  const parts = frame.readUInt16BE(lengths) + frame.readUInt16BE(lengths + 2) + frame.readUInt32BE(lengths + 4);
  return header + parts + (checked ? 4 : 0);
}

/** What is done with a frame before it is passed on. */
export interface BoltFrame {
  type: "request" | "oneway" | "response";
  heartbeat: boolean;
  id: number;
}

export function readBolt(frame: Buffer): BoltFrame {
  const fields = frame[0] === 2 ? 1 : 0;
  return {
    type: (["response", "request", "oneway"] as const)[frame.readUInt8(1 + fields)] ?? "request",
    heartbeat: frame.readUInt16BE(2 + fields) === 0,
    id: frame.readUInt32BE(5 + fields),
  };
}

export interface BoltClient {
  /** Rejects with the server's error, or when the connection ends before the reply comes. */
  call(method: string, text?: string, options?: CallOptions): Promise<string>;
  /** Sends a call that nobody answers. */
  note(text: string): Promise<void>;
  /** Sends a heartbeat and waits for the answer. */
  heartbeat(): Promise<void>;
  close(): Promise<void>;
}

export interface CallOptions {
  service?: string;
  /** More entries of the header. Without it, only the service is there, as the library itself has it. */
  header?: Record<string, string>;
}

export interface BoltServer {
  readonly port: number;
  /** Connections so far. */
  readonly connections: number;
  /** What came one-way. */
  readonly notes: readonly string[];
  stop(): Promise<void>;
}

/** A request whose header names the method, as SOFARPC for Java writes it. */
class Call extends RequestCommand {
  override serializeHeader(buffer: { put(bytes: Buffer): void }): void {
    const { serverSignature, methodName, header } = this.obj as {
      serverSignature: string;
      methodName: string;
      header: Record<string, string>;
    };
    const names = { sofa_head_target_service: serverSignature, sofa_head_method_name: methodName };
    buffer.put(headers.encode({ ...names, service: serverSignature, ...header }));
  }
}

/** A reply that went well, but whose header says that it carries an exception, as SOFARPC for Java writes it. */
class Refusal extends ResponseCommand {
  override serializeHeader(buffer: { put(bytes: Buffer): void }): void {
    buffer.put(headers.encode({ sofa_head_response_error: "true" }));
  }
}

/** Writes what is encoded to the socket, and reads frames from it. */
function streams(socket: Socket, dialect: Dialect) {
  const options = { sentReqs: new Map() };
  const encoder = bolt.encoder(options);
  const decoder = bolt.decoder(options);
  encoder.protocolType = dialect === "bolt 1" ? "bolt" : "bolt2";
  encoder.boltVersion = dialect === "bolt 2 with checksums" ? 2 : 1;
  encoder.crcEnable = dialect === "bolt 2 with checksums";
  encoder.pipe(socket);
  socket.pipe(decoder);
  socket.on("error", () => {});
  decoder.on("error", () => socket.destroy());
  return { encoder, decoder };
}

/** A server that answers in the dialect of each request: what it was told, and who says so. */
export async function startBoltServer(version = "v1"): Promise<BoltServer> {
  const notes: string[] = [];
  const server = await listen((socket) => {
    const { encoder, decoder } = streams(socket, "bolt 1");
    decoder.on("heartbeat", (heartbeat) => encoder.writeHeartbeatAck(heartbeat));
    decoder.on("request", (request) => {
      const { methodName, args, serverSignature } = request.data;
      const fail = (message: string) => ({ isError: true, errorMsg: message, appResponse: null });
      if (methodName === "note") notes.push(String(args[0]));
      else if (serverSignature !== greeter) encoder.writeResponse(request, fail(`no ${serverSignature}`));
      else if (methodName === "hello") encoder.writeResponse(request, { appResponse: `${args[0]} from ${version}` });
      else if (methodName === "refuse") encoder.writeResponse(request, refusal(`refused by ${version}`));
      else if (methodName === "busy") encoder.writeResponse(request, { ...fail("busy"), status: 4 });
      else encoder.writeResponse(request, fail(`no ${methodName}`));
    });
  });
  return Object.assign(server, { notes });
}

function refusal(message: string): ResponseCommand {
  const command = new Refusal({ isError: true, errorMsg: message, appResponse: null }, { codecType: "hessian2" });
  command.responseStatus = 0;
  return command;
}

/** One connection that carries any number of calls at a time. */
export async function connectBolt(port: number, dialect: Dialect = "bolt 1"): Promise<BoltClient> {
  const socket = await dial(port);
  const { encoder, decoder } = streams(socket, dialect);
  const pending = pendingOn<string>(socket);
  decoder.on("response", ({ packetId, data }) => pending.settle(packetId, data.error ?? String(data.appResponse)));
  decoder.on("heartbeat_ack", ({ packetId }) => pending.settle(packetId, ""));
  const request = (methodName: string, text: string, { service = greeter, header }: CallOptions, oneway: boolean) => {
    const plain = { serverSignature: service, methodName, args: [text], timeout: 5000, oneway };
    return header ? new Call({ ...plain, header } as { timeout: number }, {}) : plain;
  };
  return {
    call: (method, text = "", options = {}) =>
      pending.call((id) => encoder.writeRequest(id, request(method, text, options, false))),
    note: (text) =>
      new Promise((resolve) => encoder.writeRequest(0, request("note", text, { header: {} }, true), () => resolve())),
    heartbeat: async () => void (await pending.call((id) => encoder.writeHeartbeat(id, { timeout: 1000 }))),
    close: pending.close,
  };
}
