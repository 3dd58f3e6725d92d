/** The head of every record that a Table keeps; a record class extends it. */
@unmanaged
export class Entry {
  /** The next younger record of the same bucket, or the next one of the free list. */
  next: usize;
  /** The next older record of the same bucket. */
  previous: usize;
  /** Whose record it is, so that keys of different owners never meet. */
  owner: usize;
  key: u64;
}

/**
 * Records whose hashes start alike, from the oldest to the youngest. Linked both ways, because a client may give all its
 * requests one id: adding and removing must not walk past them.
 */
@unmanaged
class Bucket {
  first: usize;
  last: usize;
}

/** Odd, so that multiplying with it loses nothing; see Table.seed(). */
let secret: u64 = 0xff51afd7ed558ccd;
let seeded: bool = false;

const FIRST_BUCKETS: u32 = 64;
const RECORDS_IN_A_CHUNK: usize = 64;

/**
 * Records of one size, found by (owner, key). Two records may have the same (owner, key): find() answers the older.
 *
 * Raw memory and no managed objects, because it works for every frame. Memory of removed records is used again, never
 * given back: what a table holds is bounded by the most records that it ever had at one time.
 */
@final
export class Table {
  /**
   * Makes it unknown which keys share a bucket, because clients choose keys: those that share one are walked past again
   * and again. Before the first record of any table; only the first call counts.
   */
  static seed(value: u64): void {
    if (seeded) return;
    seeded = true;
    secret = (Table.scatter(value) * secret) | 1;
  }

  /** Records in the table. */
  count: u32 = 0;
  private bits: u32 = 0;
  private buckets: usize = 0;
  private free: usize = 0;
  private recordBytes: usize;

  /** `recordBytes` is offsetof<R>() of a record class R that extends Entry. */
  constructor(recordBytes: usize) {
    // A class ends with its last field, be it one byte; the addresses of all records are multiples of eight.
    this.recordBytes = (recordBytes + 7) & ~7;
    this.resize(FIRST_BUCKETS);
  }

  /** The oldest record with this owner and key; 0 where there is none. */
  find(owner: usize, key: u64): usize {
    let at = this.bucket(owner, key).first;
    while (at) {
      const entry = changetype<Entry>(at);
      if (entry.key == key && entry.owner == owner) return at;
      at = entry.next;
    }
    return 0;
  }

  /** The next younger record with the owner and key of `record`; 0 where there is none. */
  nextSame(record: usize): usize {
    const entry = changetype<Entry>(record);
    let at = entry.next;
    while (at) {
      const other = changetype<Entry>(at);
      if (other.key == entry.key && other.owner == entry.owner) return at;
      at = other.next;
    }
    return 0;
  }

  /** A new record, all zero but for its owner and key. */
  add(owner: usize, key: u64): usize {
    if (this.count >> this.bits) this.resize(2 << this.bits);
    if (!this.free) this.allocateChunk();
    const record = this.free;
    const entry = changetype<Entry>(record);
    this.free = entry.next;
    // A few stores; the instruction for it is a call out of the module.
    for (let at = record; at < record + this.recordBytes; at += 8) store<u64>(at, 0);
    entry.owner = owner;
    entry.key = key;
    this.append(entry);
    this.count++;
    return record;
  }

  remove(record: usize): void {
    const entry = changetype<Entry>(record);
    const bucket = this.bucket(entry.owner, entry.key);
    const next = entry.next;
    const previous = entry.previous;
    if (previous) changetype<Entry>(previous).next = next;
    else bucket.first = next;
    if (next) changetype<Entry>(next).previous = previous;
    else bucket.last = previous;
    entry.next = this.free;
    this.free = record;
    this.count--;
  }

  /** Another number for each number, whose upper and lower bits depend on all bits of `x`. */
  @inline
  private static scatter(x: u64): u64 {
    x *= 0x9e3779b97f4a7c15;
    return x ^ (x >> 32);
  }

  @inline
  private bucket(owner: usize, key: u64): Bucket {
    // Scattered first, since products of keys in a row with an unlucky secret would meet.
    const hash = Table.scatter(key ^ ((owner as u64) * secret)) * secret;
    return changetype<Bucket>(this.buckets + ((hash >> (64 - this.bits)) as usize) * offsetof<Bucket>());
  }

  private allocateChunk(): void {
    const bytes = this.recordBytes;
    const chunk = heap.alloc(bytes * RECORDS_IN_A_CHUNK);
    for (let i: usize = 0; i < RECORDS_IN_A_CHUNK; i++) {
      const record = chunk + i * bytes;
      changetype<Entry>(record).next = this.free;
      this.free = record;
    }
  }

  private resize(size: u32): void {
    const old = this.buckets;
    const oldSize = old ? 1 << this.bits : 0;
    this.bits = ctz(size);
    this.buckets = heap.alloc(size * offsetof<Bucket>());
    memory.fill(this.buckets, 0, size * offsetof<Bucket>());
    for (let i: u32 = 0; i < (oldSize as u32); i++) {
      let at = changetype<Bucket>(old + i * offsetof<Bucket>()).first;
      while (at) {
        const entry = changetype<Entry>(at);
        const next = entry.next;
        this.append(entry);
        at = next;
      }
    }
    if (old) heap.free(old);
  }

  /** Appends, so that of two records with the same key the older is found first. */
  private append(entry: Entry): void {
    const bucket = this.bucket(entry.owner, entry.key);
    const last = bucket.last;
    entry.next = 0;
    entry.previous = last;
    if (last) changetype<Entry>(last).next = changetype<usize>(entry);
    else bucket.first = changetype<usize>(entry);
    bucket.last = changetype<usize>(entry);
  }
}
