import { Held } from "../memory/held";
import { Bad, Codec, Look, READY } from "./codec";
import { Frame } from "./frame";

/**
 * Bytes asked for at a time when frames are expected and reading copies: enough for many heads of small frames in one
 * host call, little enough that copying the start of a body does no harm.
 */
const WINDOW: u32 = 4096;

/**
 * A frame that does not say how long it is may end with every byte, so its head is read again with each piece that
 * arrives. All in all so many times the most that a head may have: pieces of a packet's size stay far below it.
 */
export const REREAD_MAX: u64 = 256;

/** Where one side of a connection stands between two reads. Part of a connection's record; all zero at the start. */
@unmanaged
export class Cut {
  /** Bytes of the current frame that are still to come. */
  rest: u64;
  /** Bytes of this side before the next one to be scanned. */
  offset: u64;
  /** The start of a head that is not whole yet, in a heap block; 0 where there is none. */
  held: usize;
  heldSize: u32;
  heldCapacity: u32;
  /** Bytes of the held head that are needed before it is worth looking again. */
  want: u32;
  /** Bytes of it that were read in vain, all in all, where its frame does not say how long it is. */
  reread: u64;

  release(): void {
    if (this.held) heap.free(this.held);
    Held.give(this.heldCapacity);
    this.held = 0;
    this.heldSize = 0;
    this.heldCapacity = 0;
    this.reread = 0;
  }
}

/**
 * Cuts a stream of bytes into frames. It asks for the bytes of heads only: bodies are passed over, and what it holds
 * between two reads is the unfinished head, at most `headLimit` bytes.
 */
export abstract class Scanner {
  readonly frame: Frame = Frame.make();
  /** The longest frame that is accepted, bytes. */
  frameLimit: u64 = 0;
  /** The most bytes that are held to read one head or one frame's metadata. */
  headLimit: u32 = 0;
  /** Whether metadata is read before onFrame(). */
  wantsMetadata: bool = false;
  /** The most bytes that read() is asked for where fewer would do. */
  protected window: u32 = WINDOW;

  /** The address of `size` bytes from `at` on of the chunk being scanned, valid until the next call; 0 on failure. */
  protected abstract read(at: u32, size: u32): usize;
  /**
   * A head was read into `frame`, which starts at p. The first n bytes of it are there, never more than it has; `rest` of
   * the cut are still to come.
   */
  protected abstract onFrame(p: usize, n: u32): void;
  /** The next bytes of that frame: `size` from `at` on of the chunk. */
  protected onBody(at: u32, size: u32): void {}
  /** The last byte of that frame was seen. */
  protected abstract onEnd(): void;
  /** The bytes are not the protocol; nothing of this side can be scanned any more. */
  protected abstract onBad(bad: Bad): void;

  /** Offset of the current frame (or of the bytes that are not one) in its side of the connection. */
  protected frameOffset: u64 = 0;
  /** Out parameter of the private methods: bytes of the chunk that are dealt with. */
  private at: u32 = 0;

  /** Scans a chunk of `size` bytes; false once onBad() was called. */
  protected scan(cut: Cut, codec: Codec, size: u32): bool {
    let at: u32 = 0;
    while (at < size) {
      if (cut.rest) {
        const passed = min<u64>(cut.rest, (size - at) as u64) as u32;
        cut.rest -= passed as u64;
        this.onBody(at, passed);
        at += passed;
        if (!cut.rest) this.onEnd();
        continue;
      }
      const look = cut.heldSize ? this.continueHead(cut, codec, at, size) : this.heads(cut, codec, at, size);
      at = this.at;
      if (look < 0) {
        cut.release();
        this.onBad(-look as Bad);
        return false;
      }
    }
    cut.offset += size;
    return true;
  }

  /** Reads frames from `at`, the start of one, until a body passes the window or the chunk's last head is not whole. */
  private heads(cut: Cut, codec: Codec, at: u32, size: u32): Look {
    const frame = this.frame;
    const least = codec.min;
    let need = least;
    // Bytes that the last head was looked at with and found to be too few.
    let looked: u32 = 0;
    while (at < size) {
      this.at = at;
      this.frameOffset = cut.offset + at;
      const available = size - at;
      if (need > available) {
        // Only a head that was looked at has told its frame's length, which grow() relies on.
        cut.want = need > least ? this.grow(need, looked) : need;
        return this.hold(cut, at, available);
      }
      // Twice as much as the last time, so that a head that asks for a little more each time is not read each time.
      let left = min<u32>(available, max<u32>(max<u32>(this.window, need), looked << 1));
      let p = this.read(at, left);
      if (!p) return -Bad.Length;
      need = least;
      while (left >= least) {
        // Never more than may be held, so that it does not matter how the bytes arrive.
        const n = min<u32>(left, this.headLimit);
        const look = this.look(codec, p, n);
        if (look) {
          if (look < 0) return look;
          need = look as u32;
          looked = n;
          break;
        }
        const length = frame.length;
        if (length > (left as u64)) {
          this.at = at + left;
          cut.rest = length - left;
          this.onFrame(p, left);
          return READY;
        }
        this.onFrame(p, length as u32);
        at += length as u32;
        p += length as usize;
        left -= length as u32;
        this.at = at;
        this.frameOffset = cut.offset + at;
        this.onEnd();
      }
    }
    return READY;
  }

  /** Adds to the held head and looks again. */
  private continueHead(cut: Cut, codec: Codec, at: u32, size: u32): Look {
    const frame = this.frame;
    this.frameOffset = cut.offset + at - cut.heldSize;
    // Twice as much where it is here: what asks for a little more each time is not read each time.
    const most = max<u32>(cut.want, min<u32>(cut.heldSize << 1, this.headLimit));
    const look = this.hold(cut, at, min<u32>(most - cut.heldSize, size - at));
    let held = cut.heldSize;
    if (look || held < cut.want) return look;
    const again = this.look(codec, cut.held, held);
    if (again > 0) {
      cut.want = this.grow(again as u32, held);
      if (!frame.length) cut.reread += held;
      return cut.reread > REREAD_MAX * this.headLimit ? -Bad.HeadTooLarge : READY;
    }
    if (again < 0) return again;
    if (frame.length < (held as u64)) {
      // What is behind the frame came with this chunk.
      const behind = held - (frame.length as u32);
      if (behind > this.at - at) return -Bad.Length;
      this.at -= behind;
      held -= behind;
    }
    cut.rest = frame.length - held;
    this.onFrame(cut.held, held);
    cut.release();
    if (!cut.rest) this.onEnd();
    return READY;
  }

  @inline
  private look(codec: Codec, p: usize, n: u32): Look {
    return codec.look(p, n, this.frame, this.frameLimit, this.headLimit, this.wantsMetadata);
  }

  @inline
  private grow(need: u32, have: u32): u32 {
    return this.frame.grow(need, have, this.headLimit);
  }

  /** Moves `size` bytes from `at` on to the held head. */
  private hold(cut: Cut, at: u32, size: u32): Look {
    const p = this.read(at, size);
    if (!p) return -Bad.Length;
    const end = cut.heldSize + size;
    if (end > cut.heldCapacity) {
      // Not at once what a head claims to need: a few bytes must not take the memory of many.
      const capacity = max<u32>(end, min<u32>(cut.want, end << 1));
      const added = capacity - cut.heldCapacity;
      if (!Held.take(added)) return -Bad.Crowded;
      cut.held = cut.held ? heap.realloc(cut.held, capacity) : heap.alloc(capacity);
      cut.heldCapacity = capacity;
    }
    memory.copy(cut.held + cut.heldSize, p, size);
    cut.heldSize = end;
    this.at = at + size;
    return READY;
  }
}
