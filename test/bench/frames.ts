import type { Writable } from "node:stream";
import { encodeHeartbeatReply, encodeReply, encodeRequest } from "../peers/dubbo/codec.js";

export const service = "org.meltemi.bench.Echo";
export const method = "echo";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Bytes of the string that a request carries, and its reply too. */
export const payloads = [10, 50, KiB, 10 * KiB, 100 * KiB, MiB, 16 * MiB] as const;
export type Payload = (typeof payloads)[number];

/** Who a peer is: clients send requests and read replies, servers the other way round. */
export type Side = "client" | "server";

/**
 * One end of a connection. `push()` takes what has come, and tells of each whole message: its id, and its payload, or
 * undefined where it is the protocol's error reply. Messages that are queued go out with one write, at `flush()`.
 */
export interface End {
  push(chunk: Buffer): void;
  queue(payload: Payload, id: number): void;
  flush(): void;
}
export type OnMessage = (id: number, payload: Payload | undefined) => void;

const headLength = 16;
const magic = 0xdabb;
/** Of a 64-bit id; those here stay in its lower half. */
const idOffset = 4;
// Bytes 2 and 3: flags and status.
const twoWay = 0xc200;
/** A bridge sends one where it needs the server to speak. */
const heartbeat = 0xe200;
const replyOk = 0x0214;
/** What a client gets for a request that Envoy has denied: SERVER_ERROR. */
const replyDenied = 0x0250;

export const requestFrame = once((payload) => encodeRequest(0, service, method, ["x".repeat(payload)]));
export const replyFrame = once((payload) => encodeReply(0, "y".repeat(payload)));

/** Long messages take their time, and all connections need the same. */
export function once<T>(make: (payload: Payload) => T): (payload: Payload) => T {
  const made = new Map<Payload, T>();
  return (payload) => {
    const value = made.get(payload) ?? make(payload);
    made.set(payload, value);
    return value;
  };
}

const payloadsByLength = (frame: (payload: Payload) => Buffer): ReadonlyMap<number, Payload> =>
  new Map(payloads.map((payload) => [frame(payload).length, payload]));

/** What a side writes, and the payloads of what it reads by the length of the frame. */
export const traffic = {
  client: { writes: requestFrame, reads: payloadsByLength(replyFrame) },
  server: { writes: replyFrame, reads: payloadsByLength(requestFrame) },
};

/** Copies of a frame behind each other, one for each id: what is written at once costs one system call. */
export function batch(frame: Buffer, ids: readonly number[]): Buffer {
  const into = Buffer.allocUnsafe(frame.length * ids.length);
  for (let i = 0; i < ids.length; i++) {
    frame.copy(into, i * frame.length);
    into.writeUInt32BE(ids[i] as number, i * frame.length + idOffset + 4);
  }
  return into;
}
/** Finds the frames in a stream of bytes without keeping their bodies. */
export class FrameReader {
  private readonly head = Buffer.alloc(headLength);
  private headBytes = 0;
  private bodyBytes = 0;
  private inBody = false;

  /** `onFrame` is called at the last byte of a frame: bytes 2 and 3 (flags, status), the id, the whole length. */
  constructor(private readonly onFrame: (flags: number, id: number, length: number) => void) {}

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (!this.inBody) {
        const n = Math.min(headLength - this.headBytes, chunk.length - at);
        chunk.copy(this.head, this.headBytes, at, at + n);
        this.headBytes += n;
        at += n;
        if (this.headBytes < headLength) return;
        if (this.head.readUInt16BE(0) !== magic || this.head.readUInt32BE(idOffset) !== 0) {
          throw new Error(`not a frame of this benchmark: ${this.head.toString("hex")}`);
        }
        this.bodyBytes = this.head.readUInt32BE(12);
        this.inBody = true;
      }
      const n = Math.min(this.bodyBytes, chunk.length - at);
      this.bodyBytes -= n;
      at += n;
      if (this.bodyBytes > 0) return;
      this.inBody = false;
      this.headBytes = 0;
      const { head } = this;
      this.onFrame(head.readUInt16BE(2), head.readUInt32BE(idOffset + 4), headLength + head.readUInt32BE(12));
    }
  }
}

/** An end that speaks Dubbo. */
export class DubboEnd implements End {
  private readonly reader: FrameReader;
  private payload: Payload = 50;
  private ids: number[] = [];

  constructor(
    private readonly side: Side,
    private readonly socket: Writable,
    onMessage: OnMessage,
  ) {
    const { reads } = traffic[side];
    const expected = side === "client" ? replyOk : twoWay;
    this.reader = new FrameReader((flags, id, length) => {
      if (side === "server" && flags === heartbeat) return void socket.write(encodeHeartbeatReply(id));
      const denied = side === "client" && flags === replyDenied;
      const payload = reads.get(length);
      if (!denied && (flags !== expected || payload === undefined)) {
        throw new Error(`not a message of this benchmark: flags ${flags.toString(16)}, ${length} bytes`);
      }
      onMessage(id, denied ? undefined : payload);
    });
  }

  push(chunk: Buffer): void {
    this.reader.push(chunk);
  }

  queue(payload: Payload, id: number): void {
    if (payload !== this.payload) this.flush();
    this.payload = payload;
    this.ids.push(id);
  }

  flush(): void {
    if (this.ids.length > 0) this.socket.write(batch(traffic[this.side].writes(this.payload), this.ids));
    this.ids = [];
  }
}
