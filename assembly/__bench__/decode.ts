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

/** Decodes the heads of the frames in [p, p + size), `rounds` times; answers how many, -1 when one was not whole. */
export function decode(protocol: i32, side: Side, p: usize, size: u32, rounds: u32): i32 {
  const codec = codecs[protocol];
  frame.side = side;
  let count = 0;
  for (let round: u32 = 0; round < rounds; round++) {
    let at: u32 = 0;
    while (at < size) {
      frame.reset();
      if (codec.head(p + at, size - at, frame)) return -1;
      at += frame.length as u32;
      count++;
    }
  }
  return count;
}
