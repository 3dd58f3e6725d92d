import type { Writable } from "node:stream";
import { type End, method, type OnMessage, once, type Payload, type Side, service, traffic } from "./frames.js";

/*
 * HTTP/2 with prior knowledge, by hand and only as much of it as two peers around an Envoy need. What a request costs
 * Envoy hangs on how many of them come with one write, which Node's own HTTP/2 decides by itself; these peers write and
 * read like those of Dubbo, at about the same price.
 */

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const Type = { data: 0, headers: 1, settings: 4, goAway: 7, windowUpdate: 8 } as const;
const ack = 0x1;
const endStream = 0x1;
const endHeaders = 0x4;
const padded = 0x8;
const initialWindowSize = 4;

const headLength = 9;
/** Of a frame's payload, the default that Envoy keeps to. */
const frameMax = 16_384;
const firstWindow = 65_535;
const windowMax = 2 ** 31 - 1;

function frame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(headLength);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  return Buffer.concat([head, payload]);
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Windows are opened as far as they go, so that nobody waits for us. */
const opening = Buffer.concat([
  frame(Type.settings, 0, Buffer.concat([Buffer.from([0, initialWindowSize]), number(windowMax)])),
  frame(Type.windowUpdate, 0, number(windowMax - firstWindow)),
]);

/** HEADERS frames, of stream 0: those of the first message of a connection, and of the later ones. */
interface Heads {
  readonly first: Buffer;
  readonly later: Buffer;
}

/**
 * In HPACK, as a client or server of every day writes it: the first message puts its fields into the dynamic table, the
 * later ones refer to them. `indexed` are fields of the static table, `fields` have their names there.
 */
function heads(indexed: readonly number[], fields: readonly [name: number, value: string][]): Heads {
  const block = (rest: readonly Buffer[]) =>
    frame(Type.headers, endHeaders, Buffer.concat([Buffer.from(indexed.map((index) => 0x80 | index)), ...rest]));
  return {
    first: block(fields.map(([name, value]) => Buffer.from([0x40 | name, value.length, ...Buffer.from(value)]))),
    // The newest entry of the dynamic table is 62.
    later: block([Buffer.from(fields.map((_, i) => 0x80 | (62 + fields.length - 1 - i)))]),
  };
}

/** Of the static table. */
const Static = { authority: 1, post: 3, path: 4, http: 6, ok: 8, contentType: 31 } as const;

/** The fields that a bridge with one route makes of the same request and of its reply. */
const written = {
  client: heads(
    [Static.post, Static.http],
    [
      [Static.authority, "127.0.0.1:20880"],
      [Static.path, `/${service}/${method}`],
      [Static.contentType, "application/vnd.meltemi.dubbo"],
    ],
  ),
  server: heads([Static.ok], [[Static.contentType, "application/vnd.meltemi.dubbo"]]),
};

/** The DATA frames of a message, of stream 0. The body is the Dubbo frame that the bridge would have carried. */
function data(body: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at < body.length; at += frameMax) {
    const end = at + frameMax;
    frames.push(frame(Type.data, end >= body.length ? endStream : 0, body.subarray(at, end)));
  }
  return Buffer.concat(frames);
}

const bodies = {
  client: once((payload) => data(traffic.client.writes(payload))),
  server: once((payload) => data(traffic.server.writes(payload))),
};

/** A message whose HEADERS are written. */
interface Outgoing {
  readonly stream: number;
  /** The DATA frames that are not. */
  body: Buffer;
  window: number;
}

/** An end that speaks HTTP/2; ids are those of streams. */
export class Http2End implements End {
  /** Bytes of the preface that are still to come. */
  private prefaceBytes: number;
  // The frame that is being read.
  private readonly head = Buffer.alloc(headLength);
  private headBytes = 0;
  private rest = 0;
  private payload: Buffer[] = [];
  /** Body bytes of the messages that have begun, by stream. */
  private readonly begun = new Map<number, number>();
  /** Bytes of DATA for which the connection's window has not been opened again. */
  private received = 0;

  private readonly heads: Heads;
  private first = true;
  private outgoing: Outgoing[] = [];
  private window = firstWindow;
  private streamWindow = firstWindow;
  // What the next flush() writes, and the streams of the frames in it, by where they begin.
  private parts: Buffer[];
  private bytes: number;
  private streams: { readonly at: number; readonly stream: number }[] = [];

  constructor(
    private readonly side: Side,
    private readonly socket: Writable,
    private readonly onMessage: OnMessage,
  ) {
    this.prefaceBytes = side === "client" ? 0 : preface.length;
    this.heads = written[side];
    this.parts = side === "client" ? [preface, opening] : [opening];
    this.bytes = this.parts.reduce((sum, { length }) => sum + length, 0);
  }

  push(chunk: Buffer): void {
    let at = Math.min(this.prefaceBytes, chunk.length);
    this.prefaceBytes -= at;
    while (at < chunk.length) {
      if (this.headBytes < headLength) {
        const n = chunk.copy(this.head, this.headBytes, at, at + headLength - this.headBytes);
        this.headBytes += n;
        at += n;
        if (this.headBytes < headLength) return;
        this.rest = this.head.readUIntBE(0, 3);
      }
      const part = chunk.subarray(at, at + this.rest);
      at += part.length;
      this.rest -= part.length;
      if (this.head[3] !== Type.data) this.payload.push(part);
      if (this.rest > 0) return;
      this.headBytes = 0;
      this.onFrame();
      this.payload = [];
    }
  }

  queue(payload: Payload, id: number): void {
    this.add(this.first ? this.heads.first : this.heads.later, id);
    this.first = false;
    const message = { stream: id, body: bodies[this.side](payload), window: this.streamWindow };
    if (!this.goOn(message)) this.outgoing.push(message);
  }

  flush(): void {
    if (this.parts.length === 0) return;
    const bytes = Buffer.concat(this.parts, this.bytes);
    for (const { at, stream } of this.streams) bytes.writeUInt32BE(stream, at + 5);
    this.parts = [];
    this.bytes = 0;
    this.streams = [];
    this.socket.write(bytes);
  }

  private add(frame: Buffer, stream: number): void {
    this.streams.push({ at: this.bytes, stream });
    this.parts.push(frame);
    this.bytes += frame.length;
  }

  /** Writes as many DATA frames as fit into the windows; true where these were the last. */
  private goOn(message: Outgoing): boolean {
    while (message.body.length > 0) {
      const length = message.body.readUIntBE(0, 3);
      if (length > Math.min(message.window, this.window)) return false;
      this.add(message.body.subarray(0, headLength + length), message.stream);
      message.body = message.body.subarray(headLength + length);
      message.window -= length;
      this.window -= length;
    }
    return true;
  }

  private goOnWithAll(): void {
    this.outgoing = this.outgoing.filter((message) => !this.goOn(message));
  }

  private onFrame(): void {
    const length = this.head.readUIntBE(0, 3);
    const flags = this.head.readUInt8(4);
    const stream = this.head.readUInt32BE(5);
    switch (this.head[3]) {
      case Type.data:
        this.onData(length, flags, stream);
        break;
      case Type.headers:
        this.onHeaders(Buffer.concat(this.payload), flags);
        break;
      case Type.settings:
        if (!(flags & ack)) this.onSettings(Buffer.concat(this.payload));
        break;
      case Type.goAway:
        // The connection's end, which shows by itself.
        break;
      case Type.windowUpdate:
        this.onWindow(Buffer.concat(this.payload).readUInt32BE(0), stream);
        break;
      default:
        throw new Error(`an HTTP/2 frame that this benchmark does not expect: ${this.head.toString("hex")}`);
    }
  }

  private onData(length: number, flags: number, stream: number): void {
    if (flags & padded) throw new Error("padded DATA");
    this.received += length;
    if (this.received > windowMax / 2) {
      this.add(frame(Type.windowUpdate, 0, number(this.received)), 0);
      this.received = 0;
    }
    const whole = (this.begun.get(stream) ?? 0) + length;
    if (!(flags & endStream)) {
      this.begun.set(stream, whole);
      return;
    }
    this.begun.delete(stream);
    const payload = traffic[this.side].reads.get(whole);
    if (payload === undefined) throw new Error(`not a message of this benchmark: ${whole} bytes`);
    this.onMessage(stream, payload);
  }

  /** Of a reply only `:status` counts, which comes first, though possibly behind new sizes of the dynamic table. */
  private onHeaders(block: Buffer, flags: number): void {
    const status = block.find((byte) => (byte & 0xe0) !== 0x20);
    const ok = this.side === "server" || status === (0x80 | Static.ok);
    if (!ok || flags & endStream || !(flags & endHeaders)) {
      throw new Error(`not the headers of a message of this benchmark: ${block.toString("latin1")}`);
    }
  }

  private onSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== initialWindowSize) continue;
      const size = payload.readUInt32BE(at + 2);
      for (const message of this.outgoing) message.window += size - this.streamWindow;
      this.streamWindow = size;
    }
    this.add(frame(Type.settings, ack, Buffer.alloc(0)), 0);
    this.goOnWithAll();
  }

  private onWindow(more: number, stream: number): void {
    if (stream === 0) this.window += more;
    else for (const message of this.outgoing) if (message.stream === stream) message.window += more;
    this.goOnWithAll();
  }
}
