import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { byLabels, type Row } from "./harness.js";

/*
 * A relay that writes down what passes. One stands before Envoy and one behind it: what both saw must be the same, and
 * what Envoy counted must be what they saw. It reads Dubbo frames in its own way, not the module's.
 */

export interface Tap {
  readonly port: number;
  readonly connections: readonly Passed[];
}

/** What passed on one connection. */
export interface Passed {
  readonly fromClient: Side;
  readonly fromServer: Side;
}

/** One direction of a connection. */
class Side {
  bytes = 0;
  /** Every whole frame, without its body. */
  readonly frames: DubboFrame[] = [];
  private readonly hash: Hash = createHash("sha256");
  private rest: Buffer = Buffer.alloc(0);
  private skip = 0;

  constructor(private readonly framed: boolean) {}

  /** Two sides that carried the same bytes have the same digest. */
  get digest(): string {
    return `${this.bytes} bytes ${this.hash.copy().digest("hex")}`;
  }

  push(chunk: Buffer): void {
    this.bytes += chunk.length;
    this.hash.update(chunk);
    if (!this.framed) return;
    let bytes = chunk.subarray(Math.min(this.skip, chunk.length));
    this.skip -= chunk.length - bytes.length;
    if (bytes.length === 0) return;
    bytes = Buffer.concat([this.rest, bytes]);
    for (;;) {
      const frame = readFrame(bytes);
      if (!frame) break;
      this.frames.push(frame);
      this.skip = Math.max(0, frame.length - bytes.length);
      bytes = bytes.subarray(frame.length);
    }
    this.rest = bytes;
  }
}

/** What stands in the first bytes of a Dubbo frame. */
export interface DubboFrame {
  kind: "request" | "oneway" | "heartbeat" | "response" | "heartbeatReply";
  id: bigint;
  /** Of the whole frame. */
  length: number;
  service: string;
  method: string;
  status: string;
}

const STATUS: Record<number, string> = {
  40: "bad_request",
  60: "service_not_found",
  70: "service_error",
  80: "server_error",
};

/** Undefined while the frame's first bytes are not all there; names longer than 31 characters may need 600 bytes. */
function readFrame(bytes: Buffer): DubboFrame | undefined {
  if (bytes.length < 16) return undefined;
  const flags = bytes.readUInt8(2);
  const length = 16 + bytes.readUInt32BE(12);
  if (bytes.length < Math.min(length, 600)) return undefined;
  const frame = { id: bytes.readBigUInt64BE(4), length, service: "", method: "", status: "" };
  if (flags & 0x20) return { ...frame, kind: flags & 0x80 ? "heartbeat" : "heartbeatReply" };
  if (flags & 0x80) {
    const [, service = "", , method = ""] = hessianStrings(bytes.subarray(16), 4);
    return { ...frame, kind: flags & 0x40 ? "request" : "oneway", service, method };
  }
  const code = bytes.readUInt8(3);
  const exception = bytes[16] === 0x90 || bytes[16] === 0x93;
  const status = code === 20 ? (exception ? "exception" : "ok") : (STATUS[code] ?? String(code));
  return { ...frame, kind: "response", status };
}

/** The first `count` strings, each of less than 1024 ASCII characters. */
function hessianStrings(bytes: Buffer, count: number): string[] {
  let at = 0;
  return Array.from({ length: count }, () => {
    const first = bytes.readUInt8(at);
    const length = first < 0x20 ? first : ((first - 0x30) << 8) + bytes.readUInt8(at + 1);
    const start = at + (first < 0x20 ? 1 : 2);
    at = start + length;
    return bytes.toString("latin1", start, at);
  });
}

/**
 * Starts a relay to a port of this machine that ends with the test. `dubbo: false` where other bytes will pass.
 */
export async function startTap(target: number | (() => number), { dubbo = true } = {}): Promise<Tap> {
  const connections: Passed[] = [];
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const port = typeof target === "number" ? target : target();
    const upstream = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    const passed = { fromClient: new Side(dubbo), fromServer: new Side(dubbo) };
    connections.push(passed);
    relay(client, upstream, passed.fromClient);
    relay(upstream, client, passed.fromServer);
  });

  function relay(from: Socket, to: Socket, side: Side): void {
    open.add(from);
    from.on("data", (chunk) => {
      side.push(chunk);
      if (!to.write(chunk)) from.pause();
    });
    to.on("drain", () => from.resume());
    from.on("end", () => to.end());
    // Ended without order on one side: the other side learns of it the same way.
    from.on("error", () => to.resetAndDestroy());
    from.on("close", () => {
      open.delete(from);
      to.destroySoon();
    });
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, connections };
}

/** What Envoy must have counted of connections on which every request was answered and that carried only Dubbo. */
export function rowsOf(connections: readonly Passed[], direction = "outbound"): Row[] {
  const rows = new Map<string, Row>();
  const count = (request: DubboFrame, status: string, responseBytes: number, answered: boolean) => {
    const { service, method } = request;
    const key = [service, method, status].join("\n");
    const none = { direction, service, method, status, requests: 0, requestBytes: 0, responseBytes: 0, durations: 0 };
    const row = rows.get(key) ?? none;
    rows.set(key, row);
    row.requests++;
    row.requestBytes += request.length;
    row.responseBytes += responseBytes;
    if (answered) row.durations++;
  };
  for (const { fromClient, fromServer } of connections) {
    const replies = new Map(fromServer.frames.filter(({ kind }) => kind === "response").map((it) => [it.id, it]));
    for (const request of fromClient.frames) {
      if (request.kind === "oneway") count(request, "oneway", 0, false);
      if (request.kind !== "request") continue;
      const reply = replies.get(request.id);
      if (!reply) throw new Error(`${request.service}.${request.method} has no reply`);
      count(request, reply.status, reply.length, true);
    }
  }
  return [...rows.values()].sort(byLabels);
}

/** Heartbeats and their replies. */
export function heartbeatsOf(connections: readonly Passed[]): number {
  return connections
    .flatMap(({ fromClient, fromServer }) => [...fromClient.frames, ...fromServer.frames])
    .filter(({ kind }) => kind.startsWith("heartbeat")).length;
}

/** The digests of both directions of every connection, in an order that does not depend on when they were opened. */
export function digests(tap: Tap): string[] {
  return tap.connections.map(({ fromClient, fromServer }) => `${fromClient.digest} > < ${fromServer.digest}`).sort();
}
