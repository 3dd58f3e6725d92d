import { expect } from "vitest";
import type { Connection, Host, Root } from "../../../tools/host/host.js";
import { decode, encodeHeartbeatReply, FrameCutter, type Message } from "../../peers/dubbo/codec.js";
import { type Labels, load, samples, sum } from "../support.js";
import { data, type Fields, Flag, headers, Peer, pingAck, preface, settings, settingsAck, Type } from "./http2.js";

/*
 * Either leg of a bridge with a peer on each side: private frames on the one, HTTP/2 by hand on the other. Everything is
 * synchronous, so a test sees what one read makes of itself.
 */

export { Random } from "../../random.js";

export const contentType = "application/vnd.meltemi.dubbo";

const configuration = (mode: "lift" | "lower", more: object) => ({
  protocol: "dubbo",
  mode,
  direction: mode === "lift" ? "outbound" : "inbound",
  service: "greeter",
  ...more,
});

/** A module with one of the two legs. */
export async function leg(mode: "lift" | "lower", more: object = {}) {
  const { host, sleep } = await load();
  return { host, sleep, root: host.configure(configuration(mode, more)) };
}

/** Cuts bytes into frames of the private protocol. */
export interface Cutter {
  push(bytes: Buffer): Buffer[];
}

export interface LiftedOptions {
  /** What the HTTP connection manager says first; default: settings that change nothing. */
  hello?: (peer: Peer) => Buffer;
  /** False: nobody answers PING. */
  pings?: boolean;
  /** Of another protocol than Dubbo. */
  cutter?: Cutter;
}

/** A client's connection with lift in it, and the HTTP connection manager behind it. */
export class Lifted {
  readonly connection: Connection;
  /** What lift sends as HTTP. */
  readonly peer = new Peer({
    preface: true,
    onFrame: ({ type, flags, payload }) => {
      if (type === Type.settings && !(flags & Flag.ack)) this.http(settingsAck);
      if (type === Type.ping && !(flags & Flag.ack) && this.options.pings !== false) this.http(pingAck(payload));
    },
  });
  /** Whole frames that reached the client. */
  readonly frames: Buffer[] = [];
  closed = false;
  private readonly cutter: Cutter;
  private greeted = false;

  constructor(
    readonly host: Host,
    root: Root,
    private readonly options: LiftedOptions = {},
  ) {
    this.cutter = options.cutter ?? new FrameCutter();
    this.connection = root.connect({
      toServer: (bytes) => {
        this.peer.push(bytes);
        if (this.greeted) return;
        this.greeted = true;
        this.http(options.hello?.(this.peer) ?? settings());
      },
      toClient: (bytes) => this.frames.push(...this.cutter.push(bytes)),
      closed: () => {
        this.closed = true;
      },
    });
  }

  /** What the client sends, in one read. */
  client(...frames: Buffer[]): void {
    this.connection.downstream(Buffer.concat(frames));
  }

  /** What the HTTP connection manager sends, in one read. */
  http(...frames: Buffer[]): void {
    this.connection.upstream(Buffer.concat(frames));
  }

  /** Bytes of the client that stay in the host's buffer. */
  get unread(): number {
    return this.connection.readInReach?.length ?? 0;
  }

  get replies(): Message[] {
    return this.frames.map(decode);
  }

  /** Ids and statuses of the replies so far. */
  get statuses(): [number, number][] {
    return this.frames.map((frame) => {
      if ((frame[2] as number) & 0xe0) throw new Error(`no reply reached the client: ${frame.toString("hex", 0, 16)}`);
      return [idOf(frame), frame[3] as number];
    });
  }
}

/** Headers of a response that carries a frame. */
export const responded = (stream: number, fields: Fields = {}, flags = 0): Buffer =>
  headers(stream, { ":status": "200", "content-type": contentType, ...fields }, flags);

/** A whole response that carries frames. */
export const response = (stream: number, ...frames: Buffer[]): Buffer =>
  Buffer.concat([responded(stream), data(stream, Buffer.concat(frames), Flag.endStream)]);

export interface LoweredOptions {
  /** What the router says behind its preface; default: settings that change nothing. */
  hello?: (peer: Peer) => Buffer;
  /** What the server does with a heartbeat; default: it answers at once. */
  onHeartbeat?: (id: number) => void;
  /** Of another protocol than Dubbo, without heartbeats. */
  cutter?: Cutter;
}

/** A router's connection with lower in it, and the server behind it. */
export class Lowered {
  readonly connection: Connection;
  /** What lower sends as HTTP. */
  readonly peer = new Peer({
    onFrame: ({ type, flags }) => {
      if (type === Type.settings && !(flags & Flag.ack)) this.http(settingsAck);
    },
  });
  /** Requests that reached the server, heartbeats not among them. */
  readonly requests: Buffer[] = [];
  heartbeats = 0;
  /** Answers to the server's own heartbeats. */
  heartbeatReplies = 0;
  closed = false;
  /** The next stream that the router opens. */
  next = 1;
  private readonly cutter: Cutter;

  constructor(
    readonly host: Host,
    root: Root,
    private readonly options: LoweredOptions = {},
  ) {
    this.cutter = options.cutter ?? new FrameCutter();
    this.connection = root.connect({
      toServer: (bytes) => {
        for (const frame of this.cutter.push(bytes)) this.take(frame);
      },
      toClient: (bytes) => this.peer.push(bytes),
      closed: () => {
        this.closed = true;
      },
    });
  }

  private take(frame: Buffer): void {
    const flags = frame.readUInt8(2);
    if (this.options.cutter || !(flags & 0x20)) {
      this.requests.push(frame);
    } else if (flags & 0x80) {
      this.heartbeats++;
      if (this.options.onHeartbeat) this.options.onHeartbeat(idOf(frame));
      else this.server(encodeHeartbeatReply(idOf(frame)));
    } else {
      this.heartbeatReplies++;
    }
  }

  /** The router's first words. */
  greet(): this {
    this.http(preface, this.options.hello?.(this.peer) ?? settings());
    return this;
  }

  /** What the router sends, in one read. */
  http(...frames: Buffer[]): void {
    this.connection.downstream(Buffer.concat(frames));
  }

  /** What the server sends, in one read. */
  server(...frames: Buffer[]): void {
    this.connection.upstream(Buffer.concat(frames));
  }

  /** Sends a request of one frame, as lift would; answers its stream. */
  request(frame: Buffer, fields: Fields = {}): number {
    const stream = this.open();
    this.http(...asked(stream, frame, fields));
    return stream;
  }

  /** The id of a new stream. */
  open(): number {
    const id = this.next;
    this.next += 2;
    this.peer.expect(id);
    return id;
  }
}

/** Headers of a request that carries a frame. */
export const asking = (stream: number, fields: Fields = {}, flags = 0): Buffer =>
  headers(
    stream,
    {
      ":method": "POST",
      ":scheme": "http",
      ":authority": "greeter",
      ":path": "/a.Greeter/hello",
      "content-type": contentType,
      interface: "a.Greeter",
      version: "",
      dubbo: "2.0.2",
      path: "a.Greeter",
      ...fields,
    },
    flags,
  );

/** A whole request that carries a frame. */
export const asked = (stream: number, frame: Buffer, fields: Fields = {}): Buffer[] => [
  asking(stream, fields),
  data(stream, frame, Flag.endStream),
];

/** The id in the header of a Dubbo frame. */
export const idOf = (frame: Buffer): number => Number(frame.readBigUInt64BE(4));

/** The frame with another id. */
export function withId(frame: Buffer, id: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeBigUInt64BE(BigInt(id), 4);
  return copy;
}

/** A Dubbo frame whose body nobody can read, so that its length can be any from 16 bytes on. */
export function opaque(kind: "request" | "oneway" | "reply", id: number, length: number, fill = id): Buffer {
  const frame = Buffer.alloc(length);
  for (let i = 16; i < length; i++) frame[i] = (fill * 31 + i * 7 + (i >> 8)) & 0xff;
  frame.writeUInt16BE(0xdabb, 0);
  // Serialization 6 is JSON, which the module leaves alone.
  frame.writeUInt8({ request: 0xc6, oneway: 0x86, reply: 0x06 }[kind], 2);
  frame.writeUInt8(kind === "reply" ? 20 : 0, 3);
  frame.writeBigUInt64BE(BigInt(id), 4);
  frame.writeUInt32BE(length - 16, 12);
  return frame;
}

/** Holds that the bytes are the same; a difference of a megabyte is told by its start. */
export function expectBytes(actual: Buffer, expected: Buffer): void {
  if (actual.equals(expected)) return;
  expect([actual.length, actual.toString("hex", 0, 64)]).toEqual([expected.length, expected.toString("hex", 0, 64)]);
  expect.fail(`${actual.length} bytes, not the expected ones`);
}

/** What is counted under a name, with these labels. */
export function total(host: Host, name: string, labels: Labels = {}): number {
  // Ticks that only go on with a bridge do not tell what was counted; the one behind them does.
  host.tick();
  return sum(host, name, labels);
}

/** How many connections were closed for a reason. */
export const closings = (host: Host, reason: string): number =>
  total(host, "meltemi_closed_connections_total", { reason });

/** How many requests ended how. */
export function outcomes(host: Host): Record<string, number> {
  host.tick();
  const counts: Record<string, number> = {};
  for (const { labels, value } of samples(host, "meltemi_requests_total")) {
    counts[labels.status as string] = (counts[labels.status as string] ?? 0) + value;
  }
  return counts;
}

/** Holds that nothing is in flight any more, and that the guest lives. */
export function expectSettled(host: Host): void {
  expect(total(host, "meltemi_in_flight")).toBe(0);
  expect(host.failed).toBeUndefined();
}
