import { Bytes } from "./bytes";

/** Bytes that stand somewhere in memory: an address and a length. Owns nothing. */
@unmanaged
@final
export class Slice {
  ptr: usize;
  size: u32;

  @inline
  set(ptr: usize, size: u32): void {
    this.ptr = ptr;
    this.size = size;
  }

  @inline
  clear(): void {
    this.ptr = 0;
    this.size = 0;
  }

  /** A slice of its own, never freed: for the static ones that live as long as the module. */
  static make(): Slice {
    const slice = changetype<Slice>(heap.alloc(offsetof<Slice>()));
    slice.clear();
    return slice;
  }

  /** Text that lives as long as the module. */
  static of(text: string): Slice {
    const slice = Slice.make();
    const size = String.UTF8.byteLength(text);
    const ptr = heap.alloc(size);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, ptr);
    slice.set(ptr, size as u32);
    return slice;
  }

  /** A slice in one number, for functions that answer one without memory to put it in. */
  @inline
  static pack(ptr: usize, size: u32): u64 {
    return (ptr as u64) | ((size as u64) << 32);
  }

  @inline
  unpack(packed: u64): void {
    store<u64>(changetype<usize>(this), packed);
  }

  /** The address behind the last byte. */
  @inline
  get end(): usize {
    return this.ptr + this.size;
  }

  /** Points to the same bytes as another. */
  @inline
  point(to: Slice): void {
    this.ptr = to.ptr;
    this.size = to.size;
  }

  @inline
  is(ptr: usize, size: u32): bool {
    return this.size == size && Bytes.equal(this.ptr, ptr, size);
  }

  /** UTF-8 decoded; allocates, so not for the frame path. */
  text(): string {
    return String.UTF8.decodeUnsafe(this.ptr, this.size);
  }
}
