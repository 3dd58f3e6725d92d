import { Changes } from "../codec/changes";
import { READY, Reason } from "../codec/codec";
import { Frame, Side } from "../codec/frame";
import { codecIndex, codecs } from "../codec/registry";
import { Sink } from "../wire/sink";

const frame = Frame.make();
const changes = new Changes();
const sink = new Sink();

export const sofabolt = codecIndex("sofabolt");

/** Room for a frame, or for keys and values. */
export function allocate(size: usize): usize {
  return heap.alloc(size);
}

/** Notes a change for encode(); a value at address 0 takes the key out. */
export function change(key: usize, keySize: u32, value: usize, valueSize: u32): void {
  changes.set(key, keySize, value, valueSize);
}

/** Writes the frame with the changes, which are forgotten. The size of what output() has; 0 where there is no place. */
export function encode(protocol: i32, side: Side, p: usize, n: u32, id: u64): u32 {
  const codec = codecs[protocol];
  sink.clear();
  frame.side = side;
  frame.reset();
  const read = codec.head(p, n, frame) == READY && codec.metadata(p, n, frame) == READY;
  if (read) codec.encode(p, n, frame, id, changes, sink);
  changes.clear();
  return sink.size;
}

/** Writes the error reply to the request at p, with a message. The size of what output() has; 0 where there is no request. */
export function error(protocol: i32, p: usize, n: u32, reason: Reason, message: usize, messageSize: u32): u32 {
  const codec = codecs[protocol];
  sink.clear();
  frame.side = Side.Client;
  frame.reset();
  if (codec.head(p, n, frame) == READY) codec.error(frame, reason, message, messageSize, sink);
  return sink.size;
}

export function output(): usize {
  return sink.ptr;
}
