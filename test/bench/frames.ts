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
/** Of a 64-bit id. */
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

export const payloadsByLength = (frame: (payload: Payload) => Buffer): ReadonlyMap<number, Payload> =>
  new Map(payloads.map((payload) => [frame(payload).length, payload]));

/** What a side writes, and the payloads of what it reads by the length of the frame. */
export const traffic = {
  client: { writes: requestFrame, reads: payloadsByLength(replyFrame) },
  server: { writes: replyFrame, reads: payloadsByLength(requestFrame) },
};

/** Where the frames of a protocol have what is needed of them here. */
export interface Layout {
  /** Bytes at the start of each frame that are looked at. */
  readonly headLength: number;
  /** Where the id stands: 32 bits, big-endian. */
  readonly idAt: number;
  /** Bytes of the whole frame with that head; undefined where it is none of this benchmark. */
  lengthOf(head: Buffer): number | undefined;
}

export const dubboLayout: Layout = {
  headLength,
  // The lower half: those here stay in it.
  idAt: idOffset + 4,
  lengthOf: (head) =>
    head.readUInt16BE(0) === magic && head.readUInt32BE(idOffset) === 0
      ? headLength + head.readUInt32BE(12)
      : undefined,
};

/** Copies of a frame behind each other, one for each id: what is written at once costs one system call. */
export function batch(frame: Buffer, ids: readonly number[], { idAt } = dubboLayout): Buffer {
  const into = Buffer.allocUnsafe(frame.length * ids.length);
  for (let i = 0; i < ids.length; i++) {
    frame.copy(into, i * frame.length);
    into.writeUInt32BE(ids[i] as number, i * frame.length + idAt);
  }
  return into;
}

/** Finds the frames in a stream of bytes without keeping their bodies. */
export class FrameReader {
  private readonly head: Buffer;
  private headBytes = 0;
  private length = 0;
  private bodyBytes = 0;

  /** `onFrame` is called at the last byte of a frame. */
  constructor(
    private readonly layout: Layout,
    private readonly onFrame: (head: Buffer, length: number) => void,
  ) {
    this.head = Buffer.alloc(layout.headLength);
  }

  push(chunk: Buffer): void {
    const { head, layout } = this;
    let at = 0;
    while (at < chunk.length) {
      if (this.headBytes < head.length) {
        const n = chunk.copy(head, this.headBytes, at, at + head.length - this.headBytes);
        this.headBytes += n;
        at += n;
        if (this.headBytes < head.length) return;
        const length = layout.lengthOf(head);
        if (length === undefined) throw new Error(`not a frame of this benchmark: ${head.toString("hex")}`);
        this.length = length;
        this.bodyBytes = length - head.length;
      }
      const n = Math.min(this.bodyBytes, chunk.length - at);
      this.bodyBytes -= n;
      at += n;
      if (this.bodyBytes > 0) return;
      this.headBytes = 0;
      this.onFrame(head, this.length);
    }
  }
}

/** An end whose frames are found by a layout. */
export class FramedEnd implements End {
  private readonly reader: FrameReader;
  private payload: Payload = 50;
  private ids: number[] = [];

  constructor(
    private readonly layout: Layout,
    private readonly writes: (payload: Payload) => Buffer,
    private readonly socket: Writable,
    onFrame: (head: Buffer, id: number, length: number) => void,
  ) {
    this.reader = new FrameReader(layout, (head, length) => onFrame(head, head.readUInt32BE(layout.idAt), length));
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
    if (this.ids.length > 0) this.socket.write(batch(this.writes(this.payload), this.ids, this.layout));
    this.ids = [];
  }
}

/** An end that speaks Dubbo. */
export class DubboEnd extends FramedEnd {
  constructor(side: Side, socket: Writable, onMessage: OnMessage) {
    const { reads, writes } = traffic[side];
    const expected = side === "client" ? replyOk : twoWay;
    super(dubboLayout, writes, socket, (head, id, length) => {
      const flags = head.readUInt16BE(2);
      if (side === "server" && flags === heartbeat) return void socket.write(encodeHeartbeatReply(id));
      const denied = side === "client" && flags === replyDenied;
      const payload = reads.get(length);
      if (!denied && (flags !== expected || payload === undefined)) {
        throw new Error(`not a message of this benchmark: flags ${flags.toString(16)}, ${length} bytes`);
      }
      onMessage(id, denied ? undefined : payload);
    });
  }
}
