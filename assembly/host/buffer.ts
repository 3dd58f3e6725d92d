import { Arena } from "./arena";
import { proxy_get_buffer_bytes } from "./imports";

export const enum BufferType {
  DownstreamData = 2,
  UpstreamData = 3,
  PluginConfiguration = 7,
}

const out: usize = memory.data(8, 4);

/** Copies out of the host's buffers. */
@final
export class Buffer {
  /** Bytes that the last read() gave, which may be fewer than were asked for. */
  static size: u32 = 0;

  /** The address of a copy in the arena; 0 where there is nothing. */
  static read(type: BufferType, start: u32, length: u32): usize {
    store<u64>(out, 0);
    if (proxy_get_buffer_bytes(type, start, length, out, out + 4)) {
      Buffer.size = 0;
      return 0;
    }
    Buffer.size = load<u32>(out, 4);
    return load<u32>(out);
  }
}

/** Reads that follow each other and need only the last copy, so that its memory serves the next one. */
@final
export class BufferReader {
  private mark: usize = 0;
  private type: BufferType = BufferType.DownstreamData;

  /** Once in each callback, before the first read. */
  open(type: BufferType): void {
    this.type = type;
    this.mark = Arena.mark();
  }

  /** The address of exactly `length` bytes, valid until the next read; 0 where the buffer has fewer. */
  read(start: u32, length: u32): usize {
    Arena.rewind(this.mark);
    const p = Buffer.read(this.type, start, length);
    return Buffer.size == length ? p : 0;
  }
}
