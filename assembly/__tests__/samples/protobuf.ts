import { Sink } from "../../wire/sink";
import { hexOf } from "../util";
import { hexText } from "./sample";

function varint(value: u64): string {
  const sink = new Sink();
  sink.varint(value);
  return hexOf(sink.ptr, sink.size);
}

/** A field with a number, as hexadecimal digits. */
export function number(field: u32, value: i64): string {
  return varint(field << 3) + varint(value);
}

/** A field with bytes or a message, given in hexadecimal digits. */
export function bytes(field: u32, value: string): string {
  return varint((field << 3) | 2) + varint(value.length >> 1) + value;
}

export function text(field: u32, value: string): string {
  return bytes(field, hexText(value));
}

/** An entry of a map of text. */
export function entry(field: u32, key: string, value: string): string {
  return bytes(field, text(1, key) + text(2, value));
}
