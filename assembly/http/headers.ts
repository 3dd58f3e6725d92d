import { Bytes } from "../wire/bytes";
import { Slice } from "../wire/slice";

/** Header fields that one message may have. */
export const FIELDS_MAX: u32 = 128;
const NONE: Slice = Slice.make();

/**
 * The header fields of one message: pseudo-headers first, names in lower case. One instance is filled again for each
 * message; slices point into what was decoded and hold until the next one is.
 */
@final
export class Headers {
  count: u32 = 0;
  private fields: usize = heap.alloc(FIELDS_MAX * 2 * offsetof<Slice>());

  clear(): void {
    this.count = 0;
  }

  name(i: u32): Slice {
    return changetype<Slice>(this.fields + i * 2 * offsetof<Slice>());
  }

  value(i: u32): Slice {
    return changetype<Slice>(this.fields + (i * 2 + 1) * offsetof<Slice>());
  }

  /** False where there are too many. */
  add(name: usize, nameSize: u32, value: usize, valueSize: u32): bool {
    const i = this.count;
    if (i >= FIELDS_MAX) return false;
    this.name(i).set(name, nameSize);
    this.value(i).set(value, valueSize);
    this.count = i + 1;
    return true;
  }

  /** The first value of a name; a slice whose ptr is 0 where there is none. */
  find(name: Slice): Slice {
    const size = name.size;
    for (let i: u32 = 0; i < this.count; i++) {
      const other = this.name(i);
      if (other.size == size && Bytes.equal(other.ptr, name.ptr, size)) return this.value(i);
    }
    return NONE;
  }
}
