import { wires } from "../__tests__/samples";
import { READY, Reason } from "../codec/codec";
import { Frame, Kind, Side } from "../codec/frame";
import { codecIndex, codecs } from "../codec/registry";
import { JsonText } from "../wire/json";
import { Sink } from "../wire/sink";

const frame = Frame.make();
const sink = new Sink(1 << 24);

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

export function output(): usize {
  return sink.ptr;
}

/** Writes every sample as `{"protocol":"...","side":0,"name":"...","hex":"...","expected":"..."}`, a line each; their size. */
export function samples(): u32 {
  sink.clear();
  for (let i = 0; i < wires.length; i++) {
    for (let j = 0; j < wires[i].samples.length; j++) {
      const sample = wires[i].samples[j];
      field('{"protocol":', wires[i].protocol);
      sink.text(`,"side":${sample.side as i32}`);
      field(',"name":', sample.name);
      field(',"hex":', sample.hex);
      field(',"expected":', sample.expected);
      sink.text("}\n");
    }
  }
  return sink.size;
}

function field(name: string, value: string): void {
  sink.text(name);
  const utf8 = String.UTF8.encode(value);
  JsonText.string(sink, changetype<usize>(utf8), utf8.byteLength);
}

/** Position of a protocol, whose name has been written as UTF-8 to [p, p + n), in the registry. */
export function protocol(p: usize, n: u32): i32 {
  return codecIndex(String.UTF8.decodeUnsafe(p, n));
}

/** Kind of the frame that answer() read last. */
export function kind(): Kind {
  return frame.kind;
}

/** Bytes of what answer() wrote last. */
export function answerSize(): u32 {
  return sink.size;
}

/**
 * Reads the frame that begins at p and writes what a server answers that carries nothing out. The frame's length; 0 where
 * the n bytes are too few for all of it, -1 where it is none.
 */
export function answer(protocol: i32, side: Side, p: usize, n: u32): i32 {
  const codec = codecs[protocol];
  sink.clear();
  if (n < codec.min) return 0;
  frame.reset();
  frame.side = side;
  const look = codec.head(p, n, frame);
  if (look < 0) return -1;
  if (look != READY || frame.length > n) return 0;
  if (frame.kind == Kind.Heartbeat) codec.heartbeatReply(frame, sink);
  if (frame.kind == Kind.Request) codec.error(frame, Reason.Internal, 0, 0, sink);
  return frame.length as i32;
}
