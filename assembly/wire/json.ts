import { Sink } from "./sink";
import { Utf8 } from "./utf8";

const INPUT_MAX: u32 = 1 << 20;
const DEPTH_MAX: u32 = 32;
/** A value costs a hundred bytes or so where its text may cost two. */
const VALUES_MAX: u32 = 100_000;
/** Up to here every whole number is an f64, and its quotient by a power of ten up to 10^22 rounds right. */
const EXACT_MAX: u64 = 1 << 53;
const EXACT_POWER: i32 = 22;

export const enum JsonKind {
  Null = 0,
  Bool = 1,
  Number = 2,
  String = 3,
  Array = 4,
  Object = 5,
}

/** A value and the place where it stands, so that whoever reads it can say where something is wrong. */
@final
export class JsonValue {
  bool: bool = false;
  /** A number that is a whole one: `integer` is exact. Otherwise only `float` means something. */
  whole: bool = false;
  integer: i64 = 0;
  /** A number, rounded to the nearest f64. */
  float: f64 = 0;
  text: string = "";
  /** Elements of an array, or values of an object in the order of the text; their `key` is the name. */
  items: JsonValue[] = Json.none;
  /** Of an object: what at() looks into. */
  entries: Map<string, JsonValue> | null = null;

  constructor(
    readonly kind: JsonKind,
    readonly parent: JsonValue | null,
    /** Name in the object that holds this value; empty in an array. */
    readonly key: string,
    /** Position in the array that holds this value. */
    readonly index: i32,
  ) {}

  /** The value of that name, or null where this is no object or has no such name. */
  at(key: string): JsonValue | null {
    const entries = this.entries;
    return entries !== null && entries.has(key) ? entries.get(key) : null;
  }

  /** For people: `a number`, `an object`. */
  kindText(): string {
    switch (this.kind) {
      case JsonKind.Null:
        return "null";
      case JsonKind.Bool:
        return "a boolean";
      case JsonKind.Number:
        return "a number";
      case JsonKind.String:
        return "a string";
      case JsonKind.Array:
        return "an array";
      default:
        return "an object";
    }
  }

  /** For people: `$.routes[0].match["dubbo.tag"]`. */
  path(): string {
    const parent = this.parent;
    if (parent === null) return "$";
    return parent.kind == JsonKind.Object ? parent.pathOf(this.key) : `${parent.path()}[${this.index}]`;
  }

  /** The path that an entry of this object has or would have. */
  pathOf(key: string): string {
    return isName(key) ? `${this.path()}.${key}` : `${this.path()}["${key}"]`;
  }

  /** For people: `$.routes[0].match.method.exact: expected a string, found a number`. */
  expected(what: string): string {
    return `${this.path()}: expected ${what}, found ${this.kindText()}`;
  }
}

function isName(key: string): bool {
  for (let i = 0; i < key.length; i++) {
    const c = key.charCodeAt(i);
    const letter = (c | 32) - 97 < 26 && (c | 32) >= 97;
    const digit = c >= 48 && c <= 57;
    if (!letter && c != 95 && !(digit && i > 0)) return false;
  }
  return key.length > 0;
}

/**
 * Reads strict JSON (RFC 8259) into values; meant for configurations, because it allocates. Refuses more than the
 * standard does: more than 1 MiB, 32 levels or 100,000 values, names given twice, lone surrogates, and numbers that
 * neither fit an i64 nor are a fraction that an f64 holds to the last digit written.
 */
@final
export class Json {
  /** What was wrong, for people; empty after a success. */
  static error: string = "";
  /** Where, in bytes from the start. */
  static offset: u32 = 0;

  static readonly none: JsonValue[] = [];

  private static start: usize = 0;
  private static p: usize = 0;
  private static end: usize = 0;
  private static values: u32 = 0;
  /** The string being read, unescaped. */
  private static readonly unescaped: Sink = new Sink(INPUT_MAX);

  /** The value that the `size` bytes at `ptr` are, or null with `error` and `offset` set. */
  static parse(ptr: usize, size: u32): JsonValue | null {
    Json.error = "";
    Json.offset = 0;
    Json.start = ptr;
    Json.p = ptr;
    Json.end = ptr + size;
    Json.values = 0;
    if (size > INPUT_MAX) return Json.fail("longer than 1 MiB");
    const value = Json.value(null, "", 0, 0);
    if (value === null) return null;
    Json.space();
    return Json.p == Json.end ? value : Json.fail("something stands behind the value");
  }

  private static value(parent: JsonValue | null, key: string, index: i32, depth: u32): JsonValue | null {
    Json.space();
    if (++Json.values > VALUES_MAX) return Json.fail("more than 100000 values");
    const c = Json.peek();
    if (c == 0x7b || c == 0x5b) {
      if (depth == DEPTH_MAX) return Json.fail("more than 32 levels deep");
      return c == 0x7b ? Json.object(parent, key, index, depth) : Json.array(parent, key, index, depth);
    }
    if (c == 0x22) {
      const value = new JsonValue(JsonKind.String, parent, key, index);
      if (!Json.text()) return null;
      value.text = Json.takeText();
      return value;
    }
    if (c == 0x2d || Json.digit(c)) return Json.number(new JsonValue(JsonKind.Number, parent, key, index));
    if (Json.word("true")) {
      const value = new JsonValue(JsonKind.Bool, parent, key, index);
      value.bool = true;
      return value;
    }
    if (Json.word("false")) return new JsonValue(JsonKind.Bool, parent, key, index);
    if (Json.word("null")) return new JsonValue(JsonKind.Null, parent, key, index);
    return Json.fail("expected a value");
  }

  private static array(parent: JsonValue | null, key: string, index: i32, depth: u32): JsonValue | null {
    const array = new JsonValue(JsonKind.Array, parent, key, index);
    const items: JsonValue[] = [];
    array.items = items;
    Json.p++;
    if (Json.accept(0x5d)) return array;
    do {
      const item = Json.value(array, "", items.length, depth + 1);
      if (item === null) return null;
      items.push(item);
    } while (Json.accept(0x2c));
    return Json.accept(0x5d) ? array : Json.fail("expected ',' or ']'");
  }

  private static object(parent: JsonValue | null, key: string, index: i32, depth: u32): JsonValue | null {
    const object = new JsonValue(JsonKind.Object, parent, key, index);
    const items: JsonValue[] = [];
    const entries = new Map<string, JsonValue>();
    object.items = items;
    object.entries = entries;
    Json.p++;
    if (Json.accept(0x7d)) return object;
    do {
      Json.space();
      const at = Json.p;
      if (Json.peek() != 0x22) return Json.fail("expected a name in quotes");
      if (!Json.text()) return null;
      const name = Json.takeText();
      if (entries.has(name)) {
        Json.p = at;
        return Json.fail("a name given twice");
      }
      if (!Json.accept(0x3a)) return Json.fail("expected ':'");
      const item = Json.value(object, name, 0, depth + 1);
      if (item === null) return null;
      items.push(item);
      entries.set(name, item);
    } while (Json.accept(0x2c));
    return Json.accept(0x7d) ? object : Json.fail("expected ',' or '}'");
  }

  private static number(value: JsonValue): JsonValue | null {
    const start = Json.p;
    const negative = Json.peek() == 0x2d;
    if (negative) Json.p++;
    // The number is digits * 10^power.
    let digits: u64 = 0;
    let power: i32 = 0;
    let fits = true;
    if (!Json.digit(Json.peek())) return Json.fail("expected a digit");
    if (Json.peek() == 0x30) {
      Json.p++;
      if (Json.digit(Json.peek())) return Json.fail("a number must not start with 0");
    }
    for (; Json.digit(Json.peek()); Json.p++) {
      if (digits > (u64.MAX_VALUE - 9) / 10) fits = false;
      digits = digits * 10 + ((Json.peek() - 0x30) as u64);
    }
    if (Json.peek() == 0x2e) {
      Json.p++;
      if (!Json.digit(Json.peek())) return Json.fail("expected a digit");
      for (; Json.digit(Json.peek()); Json.p++) {
        if (digits > (u64.MAX_VALUE - 9) / 10) fits = false;
        digits = digits * 10 + ((Json.peek() - 0x30) as u64);
        power--;
      }
    }
    if ((Json.peek() | 32) == 0x65) {
      Json.p++;
      const down = Json.peek() == 0x2d;
      if (down || Json.peek() == 0x2b) Json.p++;
      if (!Json.digit(Json.peek())) return Json.fail("expected a digit");
      let exponent: i32 = 0;
      // An input of 1 MiB has no more fraction digits than this.
      for (; Json.digit(Json.peek()); Json.p++)
        exponent = min(exponent * 10 + (Json.peek() - 0x30), (INPUT_MAX as i32) << 1);
      power += down ? -exponent : exponent;
    }

    if (fits && digits == 0) power = 0;
    for (; fits && power < 0 && digits % 10 == 0; power++) digits /= 10;
    for (; fits && power > 0; power--) {
      if (digits > u64.MAX_VALUE / 10) fits = false;
      digits *= 10;
    }
    if (fits && power == 0 && digits <= (i64.MAX_VALUE as u64) + (negative ? 1 : 0)) {
      value.whole = true;
      value.integer = negative ? -(digits as i64) : (digits as i64);
      value.float = value.integer as f64;
      return value;
    }
    if (!fits || power == 0 || power < -EXACT_POWER || digits > EXACT_MAX) {
      Json.p = start;
      return Json.fail("a number that 64 bits cannot hold exactly");
    }
    let divisor: f64 = 1;
    for (; power < 0; power++) divisor *= 10;
    value.float = (negative ? -1.0 : 1.0) * ((digits as f64) / divisor);
    return value;
  }

  /** Reads the string at p, a quote, into `unescaped`. */
  private static text(): bool {
    const sink = Json.unescaped;
    sink.clear();
    Json.p++;
    while (Json.peek() != 0x22) {
      const from = Json.p;
      let c = Json.peek();
      while (c >= 0x20 && c != 0x22 && c != 0x5c) {
        const length = Utf8.length(Json.p, Json.end);
        if (!length) return Json.refuse("a string that is not UTF-8");
        Json.p += length;
        c = Json.peek();
      }
      sink.bytes(from, (Json.p - from) as u32);
      if (c < 0) return Json.refuse("a string without an end");
      if (c < 0x20) return Json.refuse("a control character in a string");
      if (c == 0x5c) {
        Json.p++;
        if (!Json.escape(sink)) return false;
      }
    }
    Json.p++;
    return true;
  }

  /** Reads what stands behind a backslash. */
  private static escape(sink: Sink): bool {
    const c = Json.peek();
    if (c < 0) return Json.refuse("a string without an end");
    Json.p++;
    switch (c) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        sink.u8(c);
        return true;
      case 0x62:
        sink.u8(8);
        return true;
      case 0x66:
        sink.u8(12);
        return true;
      case 0x6e:
        sink.u8(10);
        return true;
      case 0x72:
        sink.u8(13);
        return true;
      case 0x74:
        sink.u8(9);
        return true;
      case 0x75:
        break;
      default:
        Json.p--;
        return Json.refuse("an escape that JSON does not have");
    }
    const at = Json.p;
    let point = Json.hex4();
    if (point < 0) return Json.refuse("expected four hexadecimal digits");
    if (point >= 0xd800 && point <= 0xdfff) {
      // Half of a pair: the other half must follow.
      const low = Json.word("\\u") ? Json.hex4() : -1;
      if (point > 0xdbff || low < 0xdc00 || low > 0xdfff) {
        Json.p = at;
        return Json.refuse("half of a surrogate pair");
      }
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    if (point < 0x80) {
      sink.u8(point);
    } else if (point < 0x800) {
      sink.u8(0xc0 | (point >> 6));
      sink.u8(0x80 | (point & 63));
    } else if (point < 0x10000) {
      sink.u8(0xe0 | (point >> 12));
      sink.u8(0x80 | ((point >> 6) & 63));
      sink.u8(0x80 | (point & 63));
    } else {
      sink.u8(0xf0 | (point >> 18));
      sink.u8(0x80 | ((point >> 12) & 63));
      sink.u8(0x80 | ((point >> 6) & 63));
      sink.u8(0x80 | (point & 63));
    }
    return true;
  }

  private static takeText(): string {
    return String.UTF8.decodeUnsafe(Json.unescaped.ptr, Json.unescaped.size);
  }

  /** The value of four hexadecimal digits, or -1. */
  private static hex4(): i32 {
    let value: i32 = 0;
    for (let i = 0; i < 4; i++) {
      const c = Json.peek();
      const letter = c | 32;
      if (Json.digit(c)) value = (value << 4) | (c - 0x30);
      else if (letter >= 0x61 && letter <= 0x66) value = (value << 4) | (letter - 0x57);
      else return -1;
      Json.p++;
    }
    return value;
  }

  /** Steps over `text`, which is ASCII, if it is there. */
  private static word(text: string): bool {
    if (((Json.end - Json.p) as i32) < text.length) return false;
    for (let i = 0; i < text.length; i++) {
      if ((load<u8>(Json.p + i) as i32) != text.charCodeAt(i)) return false;
    }
    Json.p += text.length;
    return true;
  }

  /** Steps over white space and then c, if c is there. */
  private static accept(c: i32): bool {
    Json.space();
    if (Json.peek() != c) return false;
    Json.p++;
    return true;
  }

  private static space(): void {
    for (;;) {
      const c = Json.peek();
      if (c != 0x20 && c != 0x0a && c != 0x0d && c != 0x09) return;
      Json.p++;
    }
  }

  /** The byte at p, or -1 at the end. */
  @inline
  private static peek(): i32 {
    return Json.p < Json.end ? (load<u8>(Json.p) as i32) : -1;
  }

  @inline
  private static digit(c: i32): bool {
    return c >= 0x30 && c <= 0x39;
  }

  private static refuse(what: string): bool {
    Json.offset = (Json.p - Json.start) as u32;
    Json.error = `${what} at byte ${Json.offset}`;
    return false;
  }

  private static fail(what: string): JsonValue | null {
    Json.refuse(Json.p < Json.end || Json.p == Json.start ? what : `${what}, found the end`);
    return null;
  }
}

/** Writes JSON; allocates nothing but the sink's room. */
@final
export class JsonText {
  /** Appends bytes as a JSON string with its quotes. A byte that is not UTF-8 becomes \ufffd, so the JSON is valid. */
  static string(sink: Sink, ptr: usize, size: u32): void {
    const end = ptr + size;
    sink.u8(0x22);
    let p = ptr;
    while (p < end) {
      const from = p;
      let length: u32 = 0;
      while (p < end) {
        const c = load<u8>(p);
        if (c < 0x20 || c == 0x22 || c == 0x5c || c == 0x7f) break;
        length = Utf8.length(p, end);
        if (!length) break;
        p += length;
      }
      sink.bytes(from, (p - from) as u32);
      if (p < end) JsonText.escape(sink, load<u8>(p++));
    }
    sink.u8(0x22);
  }

  private static escape(sink: Sink, c: u32): void {
    sink.u8(0x5c);
    switch (c) {
      case 0x22:
      case 0x5c:
        sink.u8(c);
        return;
      case 0x0a:
        sink.u8(0x6e);
        return;
      case 0x0d:
        sink.u8(0x72);
        return;
      case 0x09:
        sink.u8(0x74);
        return;
    }
    const point: u32 = c < 0x80 ? c : 0xfffd;
    sink.u8(0x75);
    for (let shift = 12; shift >= 0; shift -= 4) sink.u8(JsonText.hex((point >> shift) & 15));
  }

  @inline
  private static hex(digit: u32): u32 {
    return digit < 10 ? 0x30 + digit : 0x57 + digit;
  }
}
