import type { Segment } from "./segment.js";

export type Side = "client" | "server";

export interface Connection {
  /** From 1, in the order of the capture. */
  id: number;
  /** `address:port` */
  client: string;
  server: string;
}

/** A piece of what one side of a connection sent, in order and without repetitions. */
export interface Piece {
  connection: Connection;
  from: Side;
  time: bigint | undefined;
  /** Bytes of that side before this piece. */
  offset: number;
  /** Empty for a gap. */
  bytes: Buffer;
  /** Bytes that were sent and not captured: they stand at `offset`. 0 but for a gap. */
  gap: number;
  /** True when the capture has the connection from its start, so that `offset` 0 is the first byte of the side. */
  whole: boolean;
}

/** What waits for a missing segment before that one is given up, bytes of one side. */
const maxWaiting = 4 << 20;

interface Flow {
  from: Side;
  /** Sequence number of the next byte; undefined before the first segment. */
  next: number | undefined;
  offset: number;
  whole: boolean;
  waiting: Segment[];
}

interface Open {
  connection: Connection;
  flows: Record<Side, Flow>;
}

/**
 * Puts the segments of all TCP connections in order. Answers pieces in the order in which their bytes became readable.
 *
 * The client is who sent the SYN; where the capture has none, the side whose port is not `port`; else the side with the
 * higher port, because servers listen on low ones.
 * @param port only connections with this port at one end
 */
export function* reassemble(segments: Iterable<Segment>, port?: number): Generator<Piece> {
  const open = new Map<string, Open>();
  let connections = 0;
  for (const segment of segments) {
    const { source, destination, sourcePort, destinationPort, syn, acknowledged } = segment;
    if (port !== undefined && sourcePort !== port && destinationPort !== port) continue;
    const key = source < destination ? `${source} ${destination}` : `${destination} ${source}`;
    let known = open.get(key);
    const opens = syn && acknowledged === undefined;
    if (!known || (opens && isNew(known, segment))) {
      if (known) yield* flush(known);
      const client = clientOf(segment, port);
      const connection = { id: ++connections, client, server: client === source ? destination : source };
      known = { connection, flows: { client: flow("client"), server: flow("server") } };
      open.set(key, known);
    }
    const from = source === known.connection.client ? "client" : "server";
    const flows = known.flows;
    // The other side has bytes that the capture will not show any more.
    if (acknowledged !== undefined) {
      yield* release(known, flows[from === "client" ? "server" : "client"], acknowledged);
    }
    yield* receive(known, flows[from], segment);
  }
  for (const known of open.values()) yield* flush(known);
}

function flow(from: Side): Flow {
  return { from, next: undefined, offset: 0, whole: false, waiting: [] };
}

/** A SYN that is not a repetition: the ports are used again. */
function isNew({ connection, flows }: Open, { source, sequence }: Segment): boolean {
  const { next } = flows[source === connection.client ? "client" : "server"];
  return next !== undefined && after(next, sequence) !== 1;
}

function clientOf({ source, destination, sourcePort, destinationPort, syn, acknowledged }: Segment, port?: number) {
  if (syn) return acknowledged === undefined ? source : destination;
  if (sourcePort === destinationPort) return source;
  const server = port ?? Math.min(sourcePort, destinationPort);
  return sourcePort === server ? destination : source;
}

/** How far `a` lies behind `b`, in sequence numbers that wrap. */
function after(a: number, b: number): number {
  return (a - b) | 0;
}

function* receive(known: Open, flow: Flow, segment: Segment): Generator<Piece> {
  const { syn, sequence, payload, missing } = segment;
  if (syn) {
    // A repeated one says nothing new.
    if (flow.next !== undefined) return;
    flow.next = (sequence + 1) >>> 0;
    flow.whole = true;
    return;
  }
  if (payload.length + missing === 0) return;
  flow.next ??= sequence;
  if (after(sequence, flow.next) <= 0) {
    yield* take(known, flow, segment);
    yield* release(known, flow);
    return;
  }
  flow.waiting.push(segment);
  flow.waiting.sort((a, b) => after(a.sequence, b.sequence));
  const waiting = flow.waiting.reduce((sum, { payload }) => sum + payload.length, 0);
  if (waiting > maxWaiting) yield* release(known, flow, flow.waiting[0]?.sequence);
}

/** Hands out what waits and follows on; with `until`, whatever is missing before that sequence number is a gap. */
function* release(known: Open, flow: Flow, until?: number): Generator<Piece> {
  for (let [segment] = flow.waiting; segment; [segment] = flow.waiting) {
    const missing = after(segment.sequence, flow.next as number);
    if (missing > 0) {
      if (until === undefined || after(until, flow.next as number) < missing) return;
      yield* gap(known, flow, missing, segment.time);
    }
    flow.waiting.shift();
    yield* take(known, flow, segment);
  }
}

function* flush(known: Open): Generator<Piece> {
  for (const flow of [known.flows.client, known.flows.server]) {
    while (flow.waiting.length) yield* release(known, flow, flow.waiting[0]?.sequence);
  }
}

/** Hands out the part of a segment that is new. Its start is known to be at or before the next byte. */
function* take(known: Open, flow: Flow, { sequence, payload, missing, time }: Segment): Generator<Piece> {
  const repeated = after(flow.next as number, sequence);
  const bytes = payload.subarray(repeated);
  if (bytes.length) {
    const { from, offset, whole } = flow;
    yield { connection: known.connection, from, time, offset, bytes, gap: 0, whole };
    flow.next = ((flow.next as number) + bytes.length) >>> 0;
    flow.offset += bytes.length;
  }
  const lost = missing - Math.max(0, repeated - payload.length);
  if (lost > 0) yield* gap(known, flow, lost, time);
}

function* gap(known: Open, flow: Flow, bytes: number, time: bigint | undefined): Generator<Piece> {
  const { from, offset, whole } = flow;
  yield { connection: known.connection, from, time, offset, bytes: Buffer.alloc(0), gap: bytes, whole };
  flow.next = ((flow.next as number) + bytes) >>> 0;
  flow.offset += bytes;
}
