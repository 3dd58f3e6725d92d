import { Headers } from "../http/headers";
import { Hpack, HpackTable } from "../http/hpack";
import { Sink } from "../wire/sink";

const headers = new Headers();
const sink = new Sink();

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

export function newTable(): usize {
  const record = heap.alloc(offsetof<HpackTable>());
  memory.fill(record, 0, offsetof<HpackTable>());
  return record;
}

export function limitTable(table: usize, bytes: u32): void {
  changetype<HpackTable>(table).limit = bytes;
}

export function releaseTable(table: usize): void {
  changetype<HpackTable>(table).release();
  heap.free(table);
}

/** How many fields the block has; -1 where it is refused, -2 where it is too large. */
export function decode(table: usize, p: usize, n: u32): i32 {
  if (Hpack.decode(changetype<HpackTable>(table), p, n, headers)) return headers.count;
  return Hpack.tooLarge ? -2 : -1;
}

/** The address of four u32: address and length of the name, address and length of the value. */
export function field(i: u32): usize {
  return changetype<usize>(headers.name(i));
}

/** Starts a block. */
export function begin(): void {
  sink.clear();
}

export function indexed(index: u32): void {
  Hpack.indexed(sink, index);
}

export function literal(name: usize, nameSize: u32, value: usize, valueSize: u32): void {
  Hpack.literal(sink, name, nameSize, value, valueSize);
}

export function literalIndexed(nameIndex: u32, value: usize, valueSize: u32): void {
  Hpack.literalIndexed(sink, nameIndex, value, valueSize);
}

export function status(status: u32): void {
  Hpack.status(sink, status);
}

export function block(): usize {
  return sink.ptr;
}

export function blockSize(): u32 {
  return sink.size;
}
