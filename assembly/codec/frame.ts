import { Slice } from "../wire/slice";

/** What a frame is to the exchange that it belongs to. */
export const enum Kind {
  Request = 0,
  Response = 1,
  /** A request that nobody answers. */
  OneWay = 2,
  Heartbeat = 3,
  HeartbeatReply = 4,
  StreamOpen = 5,
  StreamData = 6,
  StreamClose = 7,
}

/** Who sent the bytes. */
export const enum Side {
  Client = 0,
  Server = 1,
}

/** How an exchange went, for all protocols alike; the protocol's own word stands in `Frame.outcome`. */
export const enum Status {
  Ok = 0,
  /** The service ran and answered with its own error. */
  Exception = 1,
  BadRequest = 2,
  NotFound = 3,
  Denied = 4,
  Timeout = 5,
  Overload = 6,
  Unavailable = 7,
  Internal = 8,
}

/** Metadata entries that one frame keeps; more are dropped and `metadataDropped` says so. */
export const METADATA_MAX: u32 = 64;
const NONE: Slice = Slice.make();
/** Room for the numbers that a codec turns into text: the longest u64 has 20 digits. */
const SCRATCH_BYTES: u32 = 512;

/**
 * What a codec read out of one frame's head. One instance is filled again for each frame: slices point into the bytes
 * that were decoded, or into `scratch`, and hold until the next frame is decoded.
 *
 * Raw memory with the slices inside: forgetting the frame before is a few stores in a row, which shows at a few
 * nanoseconds a frame.
 */
@unmanaged
@final
export class Frame {
  /** Request (correlation, stream) id; 0 where the frame has none. */
  id: u64;
  /** Bytes of the whole frame; 0 while not known. */
  length: u64;
  /** What Codec.error() needs of a request beside its id and method; small enough to keep for each one in flight. */
  token: u64;
  private outcomeSlice: u64;
  private serviceSlice: u64;
  private methodSlice: u64;
  kind: Kind;
  status: Status;
  /** The protocol's own number of the status. */
  code: i32;
  /** Milliseconds that the caller will wait; 0 where the frame does not say. */
  deadline: u32;
  /** Number of metadata entries, read with key() and value(). */
  metadataCount: u32;
  private scratchUsed: u32;
  /** True when entries are missing: too many, too far behind, or not readable. */
  metadataDropped: bool;

  /** In: who sent it. Set before Codec.head(), for protocols whose frames do not say. */
  side: Side;
  private entries: usize;
  private scratch: usize;

  static make(): Frame {
    const frame = changetype<Frame>(heap.alloc(offsetof<Frame>()));
    frame.side = Side.Client;
    frame.entries = heap.alloc(METADATA_MAX * 2 * offsetof<Slice>());
    frame.scratch = heap.alloc(SCRATCH_BYTES);
    frame.reset();
    return frame;
  }

  /** Forgets the frame before. `side` stays. */
  @inline
  reset(): void {
    this.id = 0;
    this.length = 0;
    this.token = 0;
    this.outcomeSlice = 0;
    this.serviceSlice = 0;
    this.methodSlice = 0;
    this.kind = Kind.Request;
    this.status = Status.Ok;
    this.code = 0;
    this.deadline = 0;
    this.metadataCount = 0;
    this.scratchUsed = 0;
    this.metadataDropped = false;
  }

  /**
   * How many bytes to wait for when `have` were too few to read this frame: what the codec needs, or twice what is there
   * where the frame is known to have them, so that a head that trickles in byte by byte is read again a logarithmic
   * number of times only.
   */
  grow(need: u32, have: u32, headLimit: u32): u32 {
    const most = min<u64>(this.length, headLimit as u64) as u32;
    return max<u32>(need, min<u32>(have << 1, most));
  }

  /** The protocol's name of the status, fit for a label: `ok`, `exception`, `server_timeout`. Empty on requests. */
  @inline
  get outcome(): Slice {
    return changetype<Slice>(changetype<usize>(this) + offsetof<Frame>("outcomeSlice"));
  }

  @inline
  get service(): Slice {
    return changetype<Slice>(changetype<usize>(this) + offsetof<Frame>("serviceSlice"));
  }

  @inline
  get method(): Slice {
    return changetype<Slice>(changetype<usize>(this) + offsetof<Frame>("methodSlice"));
  }

  key(i: u32): Slice {
    return changetype<Slice>(this.entries + i * 2 * offsetof<Slice>());
  }

  value(i: u32): Slice {
    return changetype<Slice>(this.entries + (i * 2 + 1) * offsetof<Slice>());
  }

  /** No more entries are kept; add() only notes that some are missing. */
  get full(): bool {
    return this.metadataCount >= METADATA_MAX;
  }

  add(key: Slice, value: Slice): void {
    const i = this.metadataCount;
    if (i >= METADATA_MAX) {
      this.metadataDropped = true;
      return;
    }
    this.key(i).point(key);
    this.value(i).point(value);
    this.metadataCount = i + 1;
  }

  /** The same where the last of several values for a key counts. */
  put(key: Slice, value: Slice): void {
    const found = this.find(key.ptr, key.size);
    if (found.ptr) found.point(value);
    else this.add(key, value);
  }

  /** Forgets all metadata but those with these keys, which are in lower case and stand for any case. */
  keep(keys: StaticArray<ArrayBuffer>): void {
    let kept: u32 = 0;
    for (let i: u32 = 0; i < this.metadataCount; i++) {
      const key = this.key(i);
      for (let j = 0; j < keys.length; j++) {
        if (!equalInLowerCase(key, keys[j])) continue;
        this.key(kept).point(key);
        this.value(kept++).point(this.value(i));
        break;
      }
    }
    this.metadataCount = kept;
  }

  /** The value of a metadata key; a slice whose ptr is 0 where the frame has no such key. */
  find(key: usize, size: u32): Slice {
    for (let i: u32 = 0; i < this.metadataCount; i++) {
      if (this.key(i).is(key, size)) return this.value(i);
    }
    return NONE;
  }

  /** Points `slice` to the decimal digits of `value`. */
  decimal(slice: Slice, value: i64): void {
    // Twenty digits at the most, written from the end.
    if (this.scratchUsed + 20 > SCRATCH_BYTES) {
      slice.clear();
      this.metadataDropped = true;
      return;
    }
    const end = this.scratch + this.scratchUsed + 20;
    let rest: u64 = value < 0 ? 0 - (value as u64) : (value as u64);
    let at = end;
    do {
      store<u8>(--at, (48 + (rest % 10)) as u8);
      rest /= 10;
    } while (rest);
    if (value < 0) store<u8>(--at, 45);
    slice.set(at, (end - at) as u32);
    this.scratchUsed += 20;
  }
}

function equalInLowerCase(text: Slice, lower: ArrayBuffer): bool {
  const size = text.size;
  if ((lower.byteLength as u32) != size) return false;
  for (let i: u32 = 0; i < size; i++) {
    const c = load<u8>(text.ptr + i) as u32;
    if ((c - 0x41 < 26 ? c | 0x20 : c) != (load<u8>(changetype<usize>(lower) + i) as u32)) return false;
  }
  return true;
}
