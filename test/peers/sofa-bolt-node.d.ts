/** The part of sofa-bolt-node that the peers use; the package ships no types. */

declare module "sofa-bolt-node" {
  import type { Transform, Writable } from "node:stream";

  /** What is said of a frame beside its content. */
  interface Options {
    protocolType: "bolt" | "bolt2";
    /** Of bolt2. */
    boltVersion: number;
    codecType: "hessian2" | "protobuf";
    crcEnable: boolean;
  }

  interface Request {
    packetId: number;
    packetType: "request";
    data: { serverSignature: string; methodName: string; args: unknown[] };
    className: string;
    options: Options & { timeout: number };
    /** `size` of the whole frame in bytes. */
    meta: { start: number; size: number };
  }

  interface Response {
    packetId: number;
    packetType: "response";
    data: { error: Error | null; appResponse?: unknown };
    className: string;
    options: Options;
    meta: { size: number };
  }

  interface Heartbeat {
    packetId: number;
    packetType: "heartbeat" | "heartbeat_ack";
    options: Options;
  }

  type Done = (error?: Error | null) => void;

  /** Emits the bytes of what is written with its methods. */
  interface Encoder extends Transform {
    protocolType: Options["protocolType"];
    boltVersion: number;
    crcEnable: boolean;
    writeRequest(id: number, request: object, done?: Done): void;
    writeResponse(request: Request, response: object, done?: Done): void;
    writeHeartbeat(id: number, options: { timeout: number }, done?: Done): void;
    writeHeartbeatAck(heartbeat: Heartbeat, done?: Done): void;
  }

  /** Emits `request`, `response`, `heartbeat` and `heartbeat_ack`; fails where a checksum is wrong. */
  interface Decoder extends Writable {
    on(event: "request", listener: (request: Request) => void): this;
    on(event: "response", listener: (response: Response) => void): this;
    on(event: "heartbeat" | "heartbeat_ack", listener: (heartbeat: Heartbeat) => void): this;
    on(event: string, listener: (...args: never[]) => void): this;
  }

  interface StreamOptions {
    sentReqs: Map<number, { req: object }>;
    codecType?: Options["codecType"];
  }

  const bolt: {
    encoder(options: StreamOptions): Encoder;
    decoder(options: StreamOptions): Decoder;
  };
  export = bolt;
  namespace bolt {
    export type { Decoder, Encoder, Heartbeat, Options, Request, Response };
  }
}

declare module "sofa-bolt-node/lib/protocol/rpc_req_cmd.js" {
  /** How a request is written. */
  class RequestCommand {
    constructor(request: { timeout: number }, options: object);
    readonly obj: Record<string, unknown>;
    serializeHeader(buffer: { put(bytes: Buffer): void }): void;
  }
  export = RequestCommand;
}

declare module "sofa-bolt-node/lib/protocol/rpc_res_cmd.js" {
  /** How a response is written. */
  class ResponseCommand {
    constructor(response: object, options: { codecType: string });
    readonly obj: Record<string, unknown>;
    responseStatus: number;
    serializeHeader(buffer: { put(bytes: Buffer): void }): void;
  }
  export = ResponseCommand;
}

declare module "sofa-bolt-node/lib/simple_map_serializer.js" {
  const serializer: {
    encode(map: Record<string, string>): Buffer;
    decode(bytes: Buffer): Record<string, string> | null;
  };
  export = serializer;
}
