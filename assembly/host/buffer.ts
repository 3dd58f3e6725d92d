import { Sink } from "../wire/sink";
import { Arena } from "./arena";
import { proxy_get_buffer_bytes, proxy_get_buffer_status, proxy_set_buffer_bytes } from "./imports";

export const enum BufferType {
  DownstreamData = 2,
  UpstreamData = 3,
  PluginConfiguration = 7,
}

const out: usize = memory.data(8, 4);

/** The host's buffers. */
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

  /** Bytes that are in the buffer now. */
  static length(type: BufferType): u32 {
    return proxy_get_buffer_status(type, out, out + 4) ? 0 : load<u32>(out);
  }

  /** Puts other bytes in the place of all `size` that are in the buffer; false where the host refuses. */
  static replace(type: BufferType, size: u32, by: Sink): bool {
    return !proxy_set_buffer_bytes(type, 0, size, by.ptr, by.size);
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
