import { Slice } from "../wire/slice";

/** Changes to the metadata of one frame; more are not noted. */
const CHANGES_MAX: u32 = 64;

/** What Codec.encode() shall change in the metadata of a frame. One instance is filled again for each frame. */
@final
export class Changes {
  count: u32 = 0;
  private entries: usize = heap.alloc(CHANGES_MAX * 2 * offsetof<Slice>());

  clear(): void {
    this.count = 0;
  }

  key(i: u32): Slice {
    return changetype<Slice>(this.entries + i * 2 * offsetof<Slice>());
  }

  /** The new value; its ptr is 0 where the entry goes. */
  value(i: u32): Slice {
    return changetype<Slice>(this.entries + (i * 2 + 1) * offsetof<Slice>());
  }

  /** Another value for a key, whether the frame has it or not; false where there are too many changes. */
  set(key: usize, keySize: u32, value: usize, valueSize: u32): bool {
    const i = this.count;
    if (i >= CHANGES_MAX) return false;
    this.key(i).set(key, keySize);
    this.value(i).set(value, valueSize);
    this.count = i + 1;
    return true;
  }

  remove(key: usize, keySize: u32): bool {
    return this.set(key, keySize, 0, 0);
  }

  /** Which change is for that key; -1 where it stays as it is. */
  find(key: Slice): i32 {
    for (let i: u32 = 0; i < this.count; i++) {
      if (this.key(i).is(key.ptr, key.size)) return i;
    }
    return -1;
  }
}
