import { Host, type Connection as HostConnection } from "../host/host.js";
import type { Connection, Piece, Side } from "./reassembly.js";

/** One frame as the module read it; the names are those of its log lines (docs/architecture.md). */
export interface Frame {
  protocol: string;
  kind: string;
  /** 64 bits, so text. */
  id: string;
  service: string;
  method: string;
  status: string;
  code: number;
  /** Bytes. */
  length: number;
  /** Where it starts in what that side of the connection sent. */
  offset: number;
  from: Side;
  connection: Connection;
  /** Nanoseconds since 1970. */
  time: bigint | undefined;
  metadata: Record<string, string>;
}

/** Bytes that are not the protocol; nothing behind them was read. */
export interface DecodeError {
  connection: Connection;
  from: Side;
  reason: string;
  offset: number;
}

export interface Decoded {
  frames: Frame[];
  errors: DecodeError[];
  /** Bytes of all frames that are there to their ends. */
  explained: number;
}

/** Where a connection goes: nowhere when no route matches or its bytes are not the protocol. */
export type Route = { route: string; cluster: string } | "closed";

/** A stretch of one side without gaps, which the module sees as a connection of its own. */
interface Stretch {
  host: HostConnection;
  /** Bytes of that side before the stretch. */
  base: number;
  fed: number;
  errors: DecodeError[];
  frames: Frame[];
}

/** What the module logs for `log.frames`; which keys there are depends on the first. */
interface LogLine {
  meltemi: "frame" | "decode_error" | "route";
  offset: number;
  reason: string;
  route: string;
  cluster: string;
}

/**
 * Has the module read frames out of pieces, with the module's own log lines as the result.
 * @param limit stops after this many frames
 */
export async function decode(
  wasm: Uint8Array,
  protocol: string,
  pieces: Iterable<Piece>,
  limit = Number.POSITIVE_INFINITY,
): Promise<Decoded> {
  const lines: LogLine[] = [];
  const host = await Host.load(wasm, { log: ({ message }) => collect(lines, message) });
  const root = host.configure({ protocol, mode: "observe", log: { requests: 0, frames: true } });
  const stretches = new Set<Stretch>();
  const current = new Map<string, Stretch>();
  const frames: Frame[] = [];

  for (const { connection, from, time, offset, bytes, gap, whole } of pieces) {
    // Each side is read on its own, so that one which is not readable does not hide the other.
    const key = `${connection.id} ${from}`;
    let stretch = current.get(key);
    if (stretch && (gap || isLost(stretch, whole))) {
      stretch.host.close("client");
      current.delete(key);
      if (!gap) stretches.delete(stretch);
      stretch = undefined;
    }
    if (gap) continue;
    if (!stretch) {
      stretch = { host: root.connect(), base: offset, fed: 0, errors: [], frames: [] };
      current.set(key, stretch);
      stretches.add(stretch);
    }
    if (from === "client") stretch.host.downstream(bytes);
    else stretch.host.upstream(bytes);
    stretch.fed += bytes.length;
    for (const { meltemi, ...line } of lines.splice(0)) {
      const at = stretch.base + line.offset;
      if (meltemi === "frame") {
        const frame: Frame = { ...(line as unknown as Frame), connection, from, offset: at, time };
        stretch.frames.push(frame);
        frames.push(frame);
      } else if (meltemi === "decode_error") {
        stretch.errors.push({ connection, from, reason: line.reason, offset: at });
      }
    }
    if (frames.length >= limit) break;
  }

  const complete = ({ base, fed, frames }: Stretch) =>
    frames.reduce((sum, { offset, length }) => sum + (offset + length <= base + fed ? length : 0), 0);
  return {
    frames: frames.slice(0, limit),
    errors: [...stretches].flatMap((stretch) => stretch.errors),
    explained: [...stretches].reduce((sum, stretch) => sum + complete(stretch), 0),
  };
}

/**
 * A stretch that starts where the capture does, or behind a gap, may start in the middle of a frame: as long as nothing
 * could be read of it, the next piece is as good a start, because most frames start with one.
 */
function isLost({ errors, frames, base }: Stretch, whole: boolean): boolean {
  return errors.length > 0 && frames.length === 0 && (base > 0 || !whole);
}

/**
 * Has the module choose a route for every connection, by a configuration of mode route. Connections whose first request
 * is not there have none.
 */
export async function route(
  wasm: Uint8Array,
  config: unknown,
  pieces: Iterable<Piece>,
): Promise<Map<Connection, Route>> {
  const lines: LogLine[] = [];
  const host = await Host.load(wasm, { log: ({ message }) => collect(lines, message) });
  const root = host.configure(config);
  const connections = new Map<Connection, HostConnection>();
  const routes = new Map<Connection, Route>();
  for (const { connection, from, bytes } of pieces) {
    if (from !== "client" || routes.has(connection)) continue;
    const open = connections.get(connection) ?? root.connect();
    connections.set(connection, open);
    open.downstream(bytes);
    const chosen = lines.splice(0).find(({ meltemi }) => meltemi === "route");
    if (chosen) routes.set(connection, { route: chosen.route, cluster: chosen.cluster });
    else if (open.closed) routes.set(connection, "closed");
  }
  return routes;
}

function collect(lines: LogLine[], message: string): void {
  if (message.startsWith('{"meltemi":')) lines.push(JSON.parse(message));
}
