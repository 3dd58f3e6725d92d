import { Changes } from "../codec/changes";
import { Frame, METADATA_MAX } from "../codec/frame";
import { Field } from "../http/field";
import { FIELDS_MAX, Headers } from "../http/headers";
import { Bytes } from "../wire/bytes";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Utf8 } from "../wire/utf8";

/** Bytes that the longest header name may have. */
const NAME_ROOM: u32 = 256;
/**
 * Bytes of the names and values that one frame's metadata have as headers; what does not fit is no header. Half of what
 * Envoy takes in one request.
 */
const HEADERS_BYTES: u32 = 30 << 10;

const PREFIX = Slice.of("meltemi-");
const X_ENVOY = Slice.of("x-envoy-");
const X_FORWARDED = Slice.of("x-forwarded-");
const X_REQUEST_ID = Slice.of("x-request-id");
const TRACESTATE = Slice.of("tracestate");
/** What HTTP or Envoy gives a meaning, beside whole families. */
const RESERVED: StaticArray<Slice> = [
  Slice.of("connection"),
  Slice.of("content-length"),
  Slice.of("content-type"),
  Slice.of("cookie"),
  Slice.of("date"),
  Slice.of("expect"),
  Slice.of("grpc-timeout"),
  Slice.of("host"),
  Slice.of("keep-alive"),
  Slice.of("proxy-connection"),
  Slice.of("server"),
  Slice.of("te"),
  Slice.of("trailer"),
  Slice.of("transfer-encoding"),
  Slice.of("upgrade"),
  Slice.of("via"),
];

const reservedTags: usize = memory.data(16);
for (let i = 0; i < RESERVED.length; i++) store<u8>(reservedTags + i, tagOf(RESERVED[i].ptr, RESERVED[i].size));

/** The name() of the last call, where it is not the key as it stands. */
const scratch: usize = memory.data(NAME_ROOM);
const named: Slice = Slice.make();

/** Bytes of HEADERS_BYTES that are left for the frame that header() is being asked about. */
let room: u32 = 0;

// Of the frame in changes(), for each metadata entry:
/** The name that it has or would have as a header; ptr 0 where it can have none. */
const names: usize = memory.data(METADATA_MAX * 8);
/** Room for the names that are not the key as it stands. */
const nameBytes: usize = memory.data(METADATA_MAX * NAME_ROOM);
/** Whether it is a header. */
const shown: usize = memory.data(METADATA_MAX);
/** The tagOf() that name, to find it fast; 0 once it was compared, or where there is none. */
const entryTags: usize = memory.data(METADATA_MAX);
/** The same for each header field. */
const headerTags: usize = memory.data(FIELDS_MAX);

const expected: Slice = Slice.make();
const actual: Slice = Slice.make();
/** Values of one name, joined. Of fixed capacity: slices point into it. */
const joined: Sink = new Sink(128 << 10);

/**
 * How metadata become HTTP headers and come back. A key is a header of that name in lower case, with `meltemi-` in front
 * where HTTP or Envoy has a use for the name itself; keys and values that HTTP cannot carry are no headers.
 *
 * Whatever the metadata: the headers that header() names, handed on as HTTP hands them on, have no changes(). That may
 * join the values of one name by commas, so those are compared and set together.
 */
@final
export class HeaderRule {
  /** The header name of a metadata key, valid until the next call; ptr 0 where the key can be none. */
  static name(key: Slice): Slice {
    const size = key.size;
    named.clear();
    if (!size || size > NAME_ROOM - PREFIX.size) return named;
    const at = scratch + PREFIX.size;
    let same = true;
    for (let i: u32 = 0; i < size; i++) {
      const byte = load<u8>(key.ptr + i) as u32;
      const lower = Field.lower(byte);
      if (!lower) return named;
      same = same && lower == byte;
      store<u8>(at + i, lower as u8);
    }
    if (isReserved(at, size)) {
      memory.copy(scratch, PREFIX.ptr, PREFIX.size);
      named.set(scratch, size + PREFIX.size);
    } else if (same) {
      named.point(key);
    } else {
      named.set(at, size);
    }
    return named;
  }

  /** Whether a metadata value can be a header's value as it is. */
  static fits(value: Slice): bool {
    const size = value.size;
    if (!value.ptr) return false;
    if (!size) return true;
    return (
      size <= HEADERS_BYTES &&
      !isBlank(load<u8>(value.ptr)) &&
      !isBlank(load<u8>(value.end - 1)) &&
      Field.isText(value.ptr, size) &&
      Utf8.valid(value.ptr, size)
    );
  }

  /**
   * The name of the header that metadata entry i of the frame becomes, with the value as it is; ptr 0 where it becomes
   * none. Valid until the next call. To be asked about every entry, the first one first.
   */
  static header(frame: Frame, i: u32): Slice {
    if (!i) room = HEADERS_BYTES;
    const name = HeaderRule.name(frame.key(i));
    if (!isShown(name, frame.value(i))) name.clear();
    return name;
  }

  /** Whether there are headers that may be metadata: others say nothing of a frame. */
  static any(headers: Headers): bool {
    for (let i: u32 = 0; i < headers.count; i++) {
      const name = headers.name(i);
      if (load<u8>(name.ptr) == 0x3a) continue;
      if (!isReserved(name.ptr, name.size) || starts(name.ptr, name.size, PREFIX)) return true;
    }
    return false;
  }

  /**
   * Fills `changes` with what must change in the frame's metadata so that they say what the headers say, and answers
   * whether there are any. Headers that are HTTP's or Envoy's own say nothing; others that the frame does not have are
   * added under their name (`x-request-id` is not, since Envoy adds it to everything). What is missing is removed, unless
   * not all of the metadata are known. The changes point into the frame, the headers, and memory that holds until the
   * next call.
   */
  static changes(frame: Frame, headers: Headers, changes: Changes): bool {
    changes.clear();
    joined.clear();
    readNames(frame, headers);
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      if (load<u8>(entryTags + i)) compare(frame, i, headers, changes);
    }
    for (let i: u32 = 0; i < headers.count; i++) {
      if (load<u8>(headerTags + i)) add(headers, i, changes);
    }
    return changes.count > 0;
  }
}

/** A byte for a name that others hardly have; never 0. */
function tagOf(name: usize, size: u32): u8 {
  const first = load<u8>(name) as u32;
  const last = load<u8>(name + size - 1) as u32;
  return ((first * 5 + last * 3 + size) | 0x80) as u8;
}

function nameOf(i: u32): Slice {
  return changetype<Slice>(names + i * offsetof<Slice>());
}

function readNames(frame: Frame, headers: Headers): void {
  room = HEADERS_BYTES;
  for (let i: u32 = 0; i < frame.metadataCount; i++) {
    const name = HeaderRule.name(frame.key(i));
    const kept = nameOf(i);
    kept.point(name);
    if (name.ptr && name.ptr != frame.key(i).ptr) {
      kept.ptr = nameBytes + i * NAME_ROOM;
      memory.copy(kept.ptr, name.ptr, name.size);
    }
    store<u8>(shown + i, isShown(name, frame.value(i)) ? 1 : 0);
    store<u8>(entryTags + i, name.ptr ? tagOf(name.ptr, name.size) : 0);
  }
  for (let i: u32 = 0; i < headers.count; i++) {
    const name = headers.name(i);
    store<u8>(headerTags + i, tagOf(name.ptr, name.size));
  }
}

/** Whether an entry becomes a header; takes the room for it. */
function isShown(name: Slice, value: Slice): bool {
  const size = name.size + value.size;
  if (!name.ptr || size > room || !HeaderRule.fits(value)) return false;
  room -= size;
  return true;
}

/** Compares the values of all entries that have the name of entry i with those of all headers that have it. */
function compare(frame: Frame, i: u32, headers: Headers, changes: Changes): void {
  const name = nameOf(i);
  const tag = load<u8>(entryTags + i);
  const count = frame.metadataCount;
  // The key that a new value goes to: of the first entry that is a header.
  let target = i;
  expected.clear();
  for (let j = i; j < count; j = next(entryTags, j, count, tag)) {
    if (!nameOf(j).is(name.ptr, name.size)) continue;
    store<u8>(entryTags + j, 0);
    if (!load<u8>(shown + j)) continue;
    if (!expected.ptr) target = j;
    join(expected, frame.value(j));
  }
  collect(headers, next(headerTags, -1, headers.count, tag), name, tag);
  if (!actual.ptr) {
    if (!expected.ptr || frame.metadataDropped) return;
  } else {
    if (expected.ptr ? actual.is(expected.ptr, expected.size) : name.is(X_REQUEST_ID.ptr, X_REQUEST_ID.size)) return;
    if (!HeaderRule.fits(actual)) return;
    const key = frame.key(target);
    changes.set(key.ptr, key.size, actual.ptr, actual.size);
  }
  for (let j = i; j < count; j++) {
    const key = frame.key(j);
    const gone = load<u8>(shown + j) != 0 && nameOf(j).is(name.ptr, name.size);
    if (gone && changes.find(key) < 0) changes.remove(key.ptr, key.size);
  }
}

/** A header that the frame does not have. */
function add(headers: Headers, i: u32, changes: Changes): void {
  const name = headers.name(i);
  let key = name.ptr;
  let size = name.size;
  collect(headers, i, name, load<u8>(headerTags + i));
  if (starts(key, size, PREFIX)) {
    // Only what name() would have written.
    key += PREFIX.size;
    size -= PREFIX.size;
    if (!size || !isReserved(key, size)) return;
  } else if (HeaderRule.name(name).ptr != key || name.is(X_REQUEST_ID.ptr, X_REQUEST_ID.size)) {
    // A pseudo-header, HTTP's or Envoy's own, or a name that no client of HTTP/2 may write.
    return;
  }
  // Envoy's tracer adds an empty one where there is none.
  if (!actual.size && name.is(TRACESTATE.ptr, TRACESTATE.size)) return;
  if (HeaderRule.fits(actual)) changes.set(key, size, actual.ptr, actual.size);
}

/** Joins the values of all headers of a name into `actual`, beginning with header i. */
function collect(headers: Headers, i: u32, name: Slice, tag: u8): void {
  actual.clear();
  for (; i < headers.count; i = next(headerTags, i, headers.count, tag)) {
    if (!headers.name(i).is(name.ptr, name.size)) continue;
    store<u8>(headerTags + i, 0);
    join(actual, headers.value(i));
  }
}

/** Where a tag stands for the next time behind i; `count` where it does not. */
function next(tags: usize, i: u32, count: u32, tag: u8): u32 {
  return i + 1 + Bytes.find(tags + i + 1, count - i - 1, tag);
}

/** Appends a value as HTTP joins those of one name: by commas, and empty ones are not seen. */
function join(to: Slice, value: Slice): void {
  if (!to.ptr || !to.size) {
    // Where there is an empty value, there is an address.
    to.set(value.size ? value.ptr : scratch, value.size);
    return;
  }
  if (!value.size) return;
  if (!joined.ptr) {
    joined.reserve(joined.limit);
    joined.clear();
  }
  const open = to.end == joined.ptr + joined.size;
  const size: u32 = (open ? 0 : to.size) + 1 + value.size;
  if (size > joined.limit - joined.size) return;
  if (!open) {
    const from = joined.ptr + joined.size;
    joined.bytes(to.ptr, to.size);
    to.ptr = from;
  }
  joined.u8(0x2c);
  joined.bytes(value.ptr, value.size);
  to.size = (joined.ptr + joined.size - to.ptr) as u32;
}

/** Whether HTTP or Envoy gives a name a meaning, or metadata do with the prefix. */
function isReserved(name: usize, size: u32): bool {
  const first = load<u8>(name) as u32;
  if (first == 0x78) return starts(name, size, X_ENVOY) || starts(name, size, X_FORWARDED);
  if (first == 0x6d) return starts(name, size, PREFIX);
  const tag = tagOf(name, size);
  const count = RESERVED.length as u32;
  for (let i = next(reservedTags, -1, count, tag); i < count; i = next(reservedTags, i, count, tag)) {
    if (RESERVED[i].is(name, size)) return true;
  }
  return false;
}

function starts(name: usize, size: u32, prefix: Slice): bool {
  return size >= prefix.size && Bytes.equal(name, prefix.ptr, prefix.size);
}

function isBlank(byte: u8): bool {
  return byte == 0x20 || byte == 9;
}
