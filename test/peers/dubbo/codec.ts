import Invocation from "dubbo-remoting/lib/protocol/invocation.js";
import Request from "dubbo-remoting/lib/protocol/request.js";
import Response from "dubbo-remoting/lib/protocol/response.js";

/*
 * Dubbo messages by the codec of dubbo-remoting. Its own streams hide the status of a reply and whether a request waits
 * for one, so frames are cut here, where the header is at hand, and only their contents are left to the library.
 */

const headerLength = 16;
const flag = { event: 0x20, twoWay: 0x40, request: 0x80 } as const;
/** How much more the first byte of a reply's body is where attachments follow the value. */
const withAttachments = 3;

/** Status byte of a reply. */
export const Status = { ok: 20, badRequest: 40, serviceNotFound: 60, serviceError: 70, serverError: 80 } as const;

/** An argument or result of a given Java type: `{ $class: "java.lang.Long", $: 7 }`. */
export type JavaValue = { $class: string; $abstractClass?: string; $: unknown };

export type Attachments = Record<string, string>;

export type Message =
  | {
      kind: "request";
      id: number | string;
      twoWay: boolean;
      service: string;
      method: string;
      args: unknown[];
      attachments: Attachments;
    }
  | {
      kind: "reply";
      id: number | string;
      status: number;
      value: unknown;
      error: Error | null;
      /** Only where the reply has any. */
      attachments?: Attachments;
    }
  | { kind: "heartbeat" | "heartbeatReply"; id: number | string };

/** Cuts a stream of bytes into whole frames, however the bytes arrive. */
export class FrameCutter {
  private rest: Buffer[] = [];
  private held = 0;
  /** Bytes that must be held before there is anything to do: the header first, then the frame. */
  private need = headerLength;

  /** The frames that `chunk` completes. Throws where a frame does not start with Dubbo's magic number. */
  push(chunk: Buffer): Buffer[] {
    this.rest.push(chunk);
    this.held += chunk.length;
    if (this.held < this.need) return [];

    const bytes = Buffer.concat(this.rest);
    const frames: Buffer[] = [];
    let start = 0;
    this.need = headerLength;
    while (bytes.length - start >= headerLength) {
      if (bytes.readUInt16BE(start) !== 0xdabb)
        throw new Error(`not a Dubbo frame: ${bytes.toString("hex", start, start + 16)}`);
      const length = headerLength + bytes.readUInt32BE(start + 12);
      if (bytes.length - start < length) {
        this.need = length;
        break;
      }
      frames.push(bytes.subarray(start, start + length));
      start += length;
    }
    this.rest = [bytes.subarray(start)];
    this.held = bytes.length - start;
    return frames;
  }
}

/** Reads one whole frame. */
export function decode(frame: Buffer): Message {
  const flags = frame.readUInt8(2);
  if (flags & flag.request) {
    const { packetId: id, packetType, data } = Request.decode(frame);
    if (packetType === "heartbeat") return { kind: "heartbeat", id };
    const { path, ...attachments } = data.requestProps;
    return {
      kind: "request",
      id,
      twoWay: (flags & flag.twoWay) !== 0,
      service: String(path),
      method: data.methodName,
      args: data.args,
      attachments: attachments as Attachments,
    };
  }
  const { packetId: id, packetType, data } = Response.decode(frame);
  if (packetType === "heartbeat_ack") return { kind: "heartbeatReply", id };
  const { appResponse: value, error, responseProps } = data;
  const attachments = responseProps ? { attachments: responseProps as Attachments } : {};
  return { kind: "reply", id, status: frame.readUInt8(3), value, error, ...attachments };
}

export type RequestOptions = {
  /** Strings sent behind the arguments; `version` and `group` select the service as in Dubbo itself. */
  attachments?: Attachments;
  /** False: nobody waits for a reply. Default true. */
  twoWay?: boolean;
};

/** The bytes of one request. `service` is the interface; plain values get the Java types that fit, or see JavaValue. */
export function encodeRequest(
  id: number,
  service: string,
  method: string,
  args: unknown[] = [],
  { attachments = {}, twoWay = true }: RequestOptions = {},
): Buffer {
  const request = new Request(id);
  request.isTwoWay = twoWay;
  request.data = new Invocation({
    methodName: method,
    args,
    attachments: { dubbo: "2.0.2", path: service, interface: service, ...attachments },
  });
  return request.encode();
}

/** The bytes of the reply `value`, of any type, `null` and the other falsy ones included. */
export function encodeReply(id: number | string, value: unknown, attachments?: Attachments): Buffer {
  const response = new Response(id);
  response.data = value || wrapped(value);
  return attachments ? attach(response.encode(), attachments) : response.encode();
}

/** The library reads the attachments of replies, but writes none: a map behind the value, and another first byte. */
function attach(reply: Buffer, attachments: Attachments): Buffer {
  const map = encodeReply(0, { ...attachments }).subarray(headerLength + 1);
  const frame = Buffer.concat([reply, map]);
  frame.writeUInt8(frame.readUInt8(headerLength) + withAttachments, headerLength);
  frame.writeUInt32BE(frame.length - headerLength, 12);
  return frame;
}

/** The library takes every falsy value for "nothing to say"; with its Java type beside it, it is a value. */
function wrapped(value: unknown): JavaValue {
  switch (typeof value) {
    case "number":
      return { $class: "java.lang.Integer", $: value };
    case "string":
      return { $class: "java.lang.String", $: value };
    case "boolean":
      return { $class: "java.lang.Boolean", $: value };
    default:
      return { $class: "java.lang.Object", $: null };
  }
}

/** The bytes of a reply with a Java exception in it: the call reached the service, which failed (status OK). */
export function encodeException(id: number | string, message: string): Buffer {
  return encodeReply(id, { $class: "java.lang.IllegalStateException", $: { detailMessage: message } });
}

/** The bytes of a reply with a status other than OK. */
export function encodeFailure(id: number | string, status: number, message: string): Buffer {
  const response = new Response(id);
  response.status = status;
  response.errorMsg = message;
  return response.encode();
}

export function encodeHeartbeat(id: number): Buffer {
  const request = new Request(id);
  request.event = null;
  return request.encode();
}

export function encodeHeartbeatReply(id: number | string): Buffer {
  const response = new Response(id);
  response.event = null;
  return response.encode();
}
