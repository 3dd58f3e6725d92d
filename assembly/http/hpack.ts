import { Held } from "../memory/held";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Headers } from "./headers";
import { HUFFMAN_INVALID, HUFFMAN_SLACK, Huffman } from "./huffman";

/** What a dynamic table may hold until another limit is agreed on, as RFC 7541 counts: with 32 bytes for each entry. */
const TABLE_MAX: u32 = 4096;
const FIELD_OVERHEAD: u32 = 32;

/** The longest header list that is accepted, counted in the same way. */
const LIST_MAX: u32 = 64 << 10;
/** Blocks that are too long are read on, to keep the table in step; but not for any price. */
const WORK_MAX: u32 = 1 << 20;

/** Names and values out of the dynamic table or of Huffman code, until the next block. */
const SCRATCH: usize = heap.alloc(LIST_MAX + TABLE_MAX + HUFFMAN_SLACK);

const STATIC_FIELDS: u32 = 61;
/** Name and value of each index of the static table; of index 0, which is none, nothing. */
const STATIC: usize = heap.alloc(((STATIC_FIELDS as usize) + 1) * 2 * offsetof<Slice>());
const STATUS_200: u32 = 8;

buildStatic();

/** Not an integer of HPACK, or one beyond all limits. */
const BAD_INTEGER: u32 = u32.MAX_VALUE;

/** Where the decoder stands in the block, and where the block ends. */
let at: usize = 0;
let end: usize = 0;
/** Where the next bytes in SCRATCH go. */
let scratch: usize = SCRATCH;
const name: Slice = Slice.make();
const value: Slice = Slice.make();

@unmanaged
class Entry {
  /** Where the name starts, in the bytes of its table; the value follows. */
  at: u32;
  nameSize: u16;
  valueSize: u16;
}

/**
 * The dynamic table of one direction of one connection. Part of a bigger record; all zero is an empty table of 4096
 * bytes. The heap block that it takes with its first entry holds entries, oldest first, and behind them their bytes.
 */
@unmanaged
export class HpackTable {
  private block: usize;
  /** Entries, and bytes, that the block has room for. */
  private entriesCapacity: u32;
  private bytesCapacity: u32;
  /** The oldest entry. */
  private first: u32;
  private count: u32;
  /** Bytes in use, those of evicted entries at their start included. */
  private bytesEnd: u32;
  /** Of all entries, with their overhead. */
  private size: u32;
  /** How much lower than TABLE_MAX the announced limit is. */
  private limitCut: u32;
  /** The same of the size that the encoder has chosen. */
  private maxCut: u32;

  /**
   * The size that we allow, at most 4096. After the peer has acknowledged a lower one, its next block must begin with a
   * size update to that or less.
   */
  get limit(): u32 {
    return TABLE_MAX - this.limitCut;
  }

  set limit(bytes: u32) {
    this.limitCut = TABLE_MAX - min<u32>(bytes, TABLE_MAX);
  }

  /** Frees what it holds; then it is as at the start. */
  release(): void {
    this.freeBlock();
    memory.fill(changetype<usize>(this), 0, offsetof<HpackTable>());
  }

  /** Whether the encoder has followed the limit. */
  @inline
  get isWithinLimit(): bool {
    return this.maxCut >= this.limitCut;
  }

  /** False where the encoder wants more than it may. */
  resize(bytes: u32): bool {
    if (bytes > this.limit) return false;
    this.maxCut = TABLE_MAX - bytes;
    this.evict(bytes);
    return true;
  }

  /** Points `name` and `value` to the entry with this index, 0 the youngest; until the next insertion. */
  find(index: u32): bool {
    if (index >= this.count) return false;
    const entry = this.entry(this.first + this.count - 1 - index);
    const p = this.bytes + entry.at;
    name.set(p, entry.nameSize);
    value.set(p + entry.nameSize, entry.valueSize);
    return true;
  }

  /** Adds an entry with `name` and `value`; false where no memory may be held for it. */
  insert(): bool {
    const bytes = name.size + value.size;
    const size = bytes + FIELD_OVERHEAD;
    const allowed = TABLE_MAX - this.maxCut;
    if (size > allowed) {
      this.evict(0);
      return true;
    }
    this.evict(allowed - size);
    const crowded = this.first + this.count == this.entriesCapacity || bytes > this.bytesCapacity - this.bytesEnd;
    if (crowded && !this.move(bytes)) return false;
    const entry = this.entry(this.first + this.count);
    const p = this.bytes + this.bytesEnd;
    entry.at = this.bytesEnd;
    entry.nameSize = name.size as u16;
    entry.valueSize = value.size as u16;
    copy(p, name.ptr, name.size);
    copy(p + name.size, value.ptr, value.size);
    this.bytesEnd += bytes;
    this.size += size;
    this.count++;
    return true;
  }

  private get bytes(): usize {
    return this.block + this.entriesCapacity * offsetof<Entry>();
  }

  private entry(i: u32): Entry {
    return changetype<Entry>(this.block + i * offsetof<Entry>());
  }

  /** Takes the oldest away until the rest is no bigger than that. */
  private evict(size: u32): void {
    while (this.size > size) {
      const entry = this.entry(this.first++);
      this.size -= (entry.nameSize as u32) + entry.valueSize + FIELD_OVERHEAD;
      this.count--;
    }
  }

  /**
   * Moves to a block with room for one more entry of so many bytes. At least half of it is free then, so that the work
   * is proportional to what is inserted; and it is no bigger than what the peer really uses asks for.
   */
  private move(bytes: u32): bool {
    const count = this.count;
    const start = count ? this.entry(this.first).at : this.bytesEnd;
    const live = this.bytesEnd - start;
    const entriesCapacity = powerOfTwo(max<u32>(16, (count + 1) << 1));
    const bytesCapacity = powerOfTwo(max<u32>(512, (live + bytes) << 1));
    const blockSize = entriesCapacity * offsetof<Entry>() + bytesCapacity;
    if (!Held.take(blockSize as u32)) return false;
    const block = heap.alloc(blockSize);
    for (let i: u32 = 0; i < count; i++) {
      const from = this.entry(this.first + i);
      const to = changetype<Entry>(block + i * offsetof<Entry>());
      to.at = from.at - start;
      to.nameSize = from.nameSize;
      to.valueSize = from.valueSize;
    }
    memory.copy(block + entriesCapacity * offsetof<Entry>(), this.bytes + start, live);
    this.freeBlock();
    this.block = block;
    this.entriesCapacity = entriesCapacity;
    this.bytesCapacity = bytesCapacity;
    this.first = 0;
    this.bytesEnd = live;
    return true;
  }

  private freeBlock(): void {
    if (!this.block) return;
    heap.free(this.block);
    Held.give(((this.entriesCapacity * offsetof<Entry>()) as u32) + this.bytesCapacity);
  }
}

/** HPACK (RFC 7541): the whole of it for reading; for writing what needs no state, without Huffman code. */
@final
export class Hpack {
  /** Whether decode() refused a list that is too long, but the connection may go on. */
  static tooLarge: bool = false;

  /**
   * Decodes a whole header block into `headers`, where names and values hold until the next block is decoded, or the
   * bytes at p are gone. False: this was no HPACK, or would ask for too much work, and the connection must end
   * (COMPRESSION_ERROR); or, with `tooLarge`, the list is longer than 128 fields or 64 KiB, but the table is in step.
   * Then `headers` is empty. What HTTP says of names and values is for the caller to check.
   */
  static decode(table: HpackTable, p: usize, n: u32, headers: Headers): bool {
    Hpack.tooLarge = false;
    headers.clear();
    at = p;
    end = p + n;
    scratch = SCRATCH;
    if (read(table, headers)) return !Hpack.tooLarge;
    Hpack.tooLarge = false;
    headers.clear();
    return false;
  }

  /** At the start of a block: the dynamic table has no room, and never will. */
  static noTable(sink: Sink): void {
    sink.u8(0x20);
  }

  /** A field of the static table. */
  static indexed(sink: Sink, index: u32): void {
    sink.u8(0x80 | index);
  }

  /** A name that no table has. */
  static literal(sink: Sink, name: usize, nameSize: u32, value: usize, valueSize: u32): void {
    sink.u8(0);
    writeString(sink, name, nameSize);
    writeString(sink, value, valueSize);
  }

  /** A name of the static table. */
  static literalIndexed(sink: Sink, nameIndex: u32, value: usize, valueSize: u32): void {
    writeInteger(sink, nameIndex, 0x0f);
    writeString(sink, value, valueSize);
  }

  /** `:status`, three digits. */
  static status(sink: Sink, status: u32): void {
    switch (status) {
      case 200:
        return Hpack.indexed(sink, STATUS_200);
      case 204:
        return Hpack.indexed(sink, 9);
      case 206:
        return Hpack.indexed(sink, 10);
      case 304:
        return Hpack.indexed(sink, 11);
      case 400:
        return Hpack.indexed(sink, 12);
      case 404:
        return Hpack.indexed(sink, 13);
      case 500:
        return Hpack.indexed(sink, 14);
      default:
        sink.u8(STATUS_200);
        sink.u8(3);
        sink.unsigned(status);
    }
  }
}

/** Reads the block to its end; false where the connection must end. */
function read(table: HpackTable, headers: Headers): bool {
  while (at < end && (load<u8>(at) & 0xe0) == 0x20) {
    if (!table.resize(readInteger(0x1f))) return false;
  }
  if (!table.isWithinLimit) return false;
  let size: u32 = 0;
  while (at < end) {
    const first = load<u8>(at) as u32;
    if (first & 0x80) {
      const index = readInteger(0x7f);
      if (!find(table, index)) return false;
      if (index > STATIC_FIELDS) {
        keep(name);
        keep(value);
      }
    } else {
      const inserts = (first & 0x40) != 0;
      // Size updates are for the start of a block.
      if (!inserts && first & 0x20) return false;
      const index = readInteger(inserts ? 0x3f : 0x0f);
      if (index) {
        if (!find(table, index)) return false;
        // The entry may make room for the one that is inserted.
        if (index > STATIC_FIELDS) keep(name);
      } else if (!readString(name)) return false;
      if (!readString(value)) return false;
      if (inserts && !table.insert()) return false;
    }
    size += name.size + value.size + FIELD_OVERHEAD;
    if (size > LIST_MAX || !headers.add(name.ptr, name.size, value.ptr, value.size)) {
      if (size > WORK_MAX) return false;
      Hpack.tooLarge = true;
      headers.clear();
    }
    if (Hpack.tooLarge) scratch = SCRATCH;
  }
  if (Hpack.tooLarge) headers.clear();
  return true;
}

/** Points `name` and `value` to the field with this index. */
function find(table: HpackTable, index: u32): bool {
  if (index > STATIC_FIELDS) return table.find(index - STATIC_FIELDS - 1);
  const field = STATIC + index * (2 * offsetof<Slice>());
  name.point(changetype<Slice>(field));
  value.point(changetype<Slice>(field + offsetof<Slice>()));
  return index != 0;
}

/** Moves to SCRATCH what would not hold until the next block. */
function keep(slice: Slice): void {
  copy(scratch, slice.ptr, slice.size);
  slice.ptr = scratch;
  scratch += slice.size;
}

/** An integer whose first byte has this mask; BAD_INTEGER where it is none, or beyond 28 bits. */
function readInteger(mask: u32): u32 {
  const prefix = (load<u8>(at++) as u32) & mask;
  if (prefix < mask) return prefix;
  let rest: u32 = 0;
  for (let shift: u32 = 0; shift < 28 && at < end; shift += 7) {
    const byte = load<u8>(at++) as u32;
    rest |= (byte & 0x7f) << shift;
    if (byte < 0x80) return mask + rest;
  }
  return BAD_INTEGER;
}

/** A string; one that does not fit into SCRATCH is LIST_MAX bytes of no meaning: that is more than may be anyway. */
function readString(slice: Slice): bool {
  if (at >= end) return false;
  const huffman = load<u8>(at) >= 0x80;
  const size = readInteger(0x7f);
  if (size > ((end - at) as u32)) return false;
  const p = at;
  at += size;
  if (!huffman) {
    slice.set(p, size);
    return true;
  }
  const room = max<i32>(0, (SCRATCH + LIST_MAX - scratch) as i32);
  const decoded = Huffman.decode(p, size, scratch, room);
  if (decoded == HUFFMAN_INVALID) return false;
  if (decoded < 0) {
    slice.set(SCRATCH, LIST_MAX);
    return true;
  }
  slice.set(scratch, decoded);
  scratch += decoded;
  return true;
}

function writeString(sink: Sink, p: usize, size: u32): void {
  writeInteger(sink, size, 0x7f);
  sink.bytes(p, size);
}

function writeInteger(sink: Sink, value: u32, mask: u32): void {
  if (value < mask) return sink.u8(value);
  sink.u8(mask);
  sink.varint(value - mask);
}

/** Few bytes, nearly always: the instruction for it is a call out of the module. */
function copy(to: usize, from: usize, size: u32): void {
  if (size < 8) {
    for (let i: u32 = 0; i < size; i++) store<u8>(to + i, load<u8>(from + i));
    return;
  }
  const last = size - 8;
  for (let i: u32 = 0; i < last; i += 8) store<u64>(to + i, load<u64>(from + i));
  store<u64>(to + last, load<u64>(from + last));
}

function powerOfTwo(atLeast: u32): u32 {
  return 1 << (32 - clz(atLeast - 1));
}

/** RFC 7541, appendix A. */
function buildStatic(): void {
  const fields = Slice.of(
    ":authority\n:method GET\n:method POST\n:path /\n:path /index.html\n:scheme http\n:scheme https\n" +
      ":status 200\n:status 204\n:status 206\n:status 304\n:status 400\n:status 404\n:status 500\n" +
      "accept-charset\naccept-encoding gzip, deflate\naccept-language\naccept-ranges\naccept\n" +
      "access-control-allow-origin\nage\nallow\nauthorization\ncache-control\ncontent-disposition\n" +
      "content-encoding\ncontent-language\ncontent-length\ncontent-location\ncontent-range\ncontent-type\n" +
      "cookie\ndate\netag\nexpect\nexpires\nfrom\nhost\nif-match\nif-modified-since\nif-none-match\n" +
      "if-range\nif-unmodified-since\nlast-modified\nlink\nlocation\nmax-forwards\nproxy-authenticate\n" +
      "proxy-authorization\nrange\nreferer\nrefresh\nretry-after\nserver\nset-cookie\n" +
      "strict-transport-security\ntransfer-encoding\nuser-agent\nvary\nvia\nwww-authenticate\n",
  );
  let p = fields.ptr;
  for (let index: u32 = 1; index <= STATIC_FIELDS; index++) {
    const start = p;
    while (load<u8>(p) > 0x20) p++;
    const nameEnd = p;
    while (load<u8>(p) != 0x0a) p++;
    const valueStart = p > nameEnd ? nameEnd + 1 : nameEnd;
    const field = STATIC + index * (2 * offsetof<Slice>());
    changetype<Slice>(field).set(start, (nameEnd - start) as u32);
    changetype<Slice>(field + offsetof<Slice>()).set(valueStart, (p - valueStart) as u32);
    p++;
  }
}
