import { Frame, Side } from "../codec/frame";
import { codecIndex, codecs } from "../codec/registry";

const frame = Frame.make();

export const dubbo = codecIndex("dubbo");
export const trpc = codecIndex("trpc");
export const brpc = codecIndex("brpc");
export const thrift = codecIndex("thrift");
export const pingpong = codecIndex("pingpong");
export const videopacket = codecIndex("videopacket");
export const sofabolt = codecIndex("sofabolt");
export const awesomerpc = codecIndex("awesomerpc");
export const qza = codecIndex("qza");

/** Room for the frames to decode. */
export function allocate(size: usize): usize {
  return heap.alloc(size);
}

/**
 * Decodes the frames in [p, p + size), `rounds` times: their heads, with `metadata` all that a codec reads. Answers how many,
 * -1 when one was not whole.
 */
export function decode(protocol: i32, side: Side, p: usize, size: u32, metadata: bool, rounds: u32): i32 {
  const codec = codecs[protocol];
  frame.side = side;
  let count = 0;
  for (let round: u32 = 0; round < rounds; round++) {
    let at: u32 = 0;
    while (at < size) {
      frame.reset();
      if (codec.head(p + at, size - at, frame)) return -1;
      if (metadata && codec.metadata(p + at, size - at, frame)) return -1;
      at += frame.length as u32;
      count++;
    }
  }
  return count;
}

/** How many bytes it takes to decode the frame at p like this; -1 where all the n do not do. */
export function needed(protocol: i32, side: Side, p: usize, n: u32, metadata: bool): i32 {
  const codec = codecs[protocol];
  frame.side = side;
  for (let i = codec.min; i <= n; i++) {
    frame.reset();
    if (!codec.head(p, i, frame) && (!metadata || !codec.metadata(p, i, frame))) return i;
  }
  return -1;
}
