import { Utf8 } from "./utf8";

const PATTERN_MAX: i32 = 4096;
const GROUPS_MAX: u32 = 50;
const REPEAT_MAX: i32 = 1000;
/** One for each state and for each range of a state's set: what one character of a value costs at the most. */
const COST_MAX: u32 = 2000;
const CODE_POINT_MAX: u32 = 0x10ffff;

/** What an escape stands for instead of a character: a set of them. */
const MANY: i32 = -1;
/** Nor that: the pattern is wrong. */
const NOTHING: i32 = -2;

/** States, as three u32 each: what it is and two operands. */
const STATE_WORDS: u32 = 3;
/** The value matches, if it ends here. */
const MATCH: u32 = 0;
/** Goes on at both operands, without a character. */
const SPLIT: u32 = 1;
/** Goes on at the next state with a character of the set; operands: the first range and their number. */
const SET: u32 = 2;

/** Two sets of states, the ones to look at and the next ones; shared, since one match runs at a time. */
const here: usize = memory.data((COST_MAX + 1) << 2);
const next: usize = memory.data((COST_MAX + 1) << 2);

/**
 * A regular expression that a whole value matches or not, in time proportional to the value: there is no backtracking.
 *
 * Literals, `.` (anything but a line feed), `[a-z]`, `[^a-z]`, `\d \w \s \D \W \S` (ASCII), `\t \n \v \f \r \xHH`,
 * a backslash before any punctuation, groups `( )` and `(?: )`, `|`, `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`; `^` at the
 * beginning and `$` at the end are allowed and mean nothing. A character is a code point of UTF-8; a byte of a value
 * that is not UTF-8 counts as U+FFFD.
 */
@final
export class Regex {
  /** What was wrong with the last pattern and at which character, counted from 1. Empty after a success. */
  static error: string = "";

  private constructor(
    private readonly states: StaticArray<u32>,
    /** First and last code point of each range. */
    private readonly ranges: StaticArray<u32>,
  ) {}

  /** Allocates; null with `error` set where the pattern is wrong, not supported or too large. */
  static compile(pattern: string): Regex | null {
    const compiler = new Compiler(pattern);
    const root = compiler.parse();
    if (root) compiler.emit(root);
    compiler.state(MATCH, 0, 0, 1);
    Regex.error = compiler.error;
    if (Regex.error.length) return null;
    return new Regex(StaticArray.fromArray<u32>(compiler.states), StaticArray.fromArray<u32>(compiler.ranges));
  }

  /** Allocates nothing. */
  matches(ptr: usize, size: u32): bool {
    const states = changetype<usize>(this.states);
    const end = ptr + size;
    let p = ptr;
    let set = here;
    let other = next;
    StateSet.clear(set);
    StateSet.clear(other);
    StateSet.add(set, 0);
    while (StateSet.count(set)) {
      const atEnd = p == end;
      const length: u32 = atEnd ? 0 : Utf8.length(p, end);
      const c: u32 = atEnd ? 0 : length ? Utf8.decode(p, length) : 0xfffd;
      // Splits add to the set that is being walked, so it is complete when the walk is over.
      for (let i: u32 = 0; i < StateSet.count(set); i++) {
        const index = StateSet.at(set, i);
        const state = states + ((index * STATE_WORDS) << 2);
        const kind = load<u32>(state);
        if (kind == SPLIT) {
          StateSet.add(set, load<u32>(state, 4));
          StateSet.add(set, load<u32>(state, 8));
        } else if (kind == SET) {
          if (!atEnd && this.holds(load<u32>(state, 4), load<u32>(state, 8), c)) StateSet.add(other, index + 1);
        } else if (atEnd) {
          return true;
        }
      }
      if (atEnd) return false;
      p += max<u32>(length, 1);
      const walked = set;
      set = other;
      other = walked;
      StateSet.clear(other);
    }
    return false;
  }

  @inline
  private holds(first: u32, count: u32, c: u32): bool {
    let range = changetype<usize>(this.ranges) + (first << 3);
    const end = range + (count << 3);
    for (; range < end; range += 8) {
      if (c < load<u32>(range)) return false;
      if (c <= load<u32>(range, 4)) return true;
    }
    return false;
  }
}

/**
 * Numbers below COST_MAX in the order in which they came, each once. Raw memory: the count, then pairs of u16, of which
 * one array holds the numbers and the other says for each number where it stands, if it does.
 */
@final
class StateSet {
  @inline
  static clear(set: usize): void {
    store<u32>(set, 0);
  }

  @inline
  static count(set: usize): u32 {
    return load<u32>(set);
  }

  @inline
  static at(set: usize, i: u32): u32 {
    return load<u16>(set + (i << 2), 4) as u32;
  }

  @inline
  static add(set: usize, number: u32): void {
    const count = load<u32>(set);
    const place = load<u16>(set + (number << 2), 6) as u32;
    if (place < count && StateSet.at(set, place) == number) return;
    store<u16>(set + (count << 2), number as u16, 4);
    store<u16>(set + (number << 2), count as u16, 6);
    store<u32>(set, count + 1);
  }
}

const enum NodeKind {
  Set = 0,
  Sequence = 1,
  Choice = 2,
  Repeat = 3,
}

/** A part of a pattern. */
@final
class Node {
  /** Of a Set: its ranges in the table. */
  first: u32 = 0;
  count: u32 = 0;
  /** Of a Repeat; no `most` is -1. */
  least: i32 = 0;
  most: i32 = 0;
  readonly parts: Node[] = [];

  constructor(readonly kind: NodeKind) {}
}

/** Turns a pattern into nodes, and nodes into states. */
@final
class Compiler {
  error: string = "";
  readonly states: u32[] = [];
  readonly ranges: u32[] = [];
  private i: i32 = 0;
  private depth: u32 = 0;
  private cost: u32 = 0;

  constructor(private readonly pattern: string) {}

  parse(): Node | null {
    if (this.pattern.length > PATTERN_MAX) return this.fail("longer than 4096 characters", 0);
    this.accept("^");
    const node = this.choice();
    if (node === null) return null;
    const end = this.i;
    if (this.accept("$")) {
      return this.i == this.pattern.length ? node : this.fail("'$' is only for the end of the pattern", end);
    }
    return end == this.pattern.length ? node : this.fail("')' without '('", end);
  }

  private choice(): Node | null {
    const choice = new Node(NodeKind.Choice);
    do {
      const sequence = new Node(NodeKind.Sequence);
      for (let c = this.peek(); c >= 0 && c != 0x7c && c != 0x29 && c != 0x24; c = this.peek()) {
        let part = this.atom();
        if (part) part = this.repeat(part);
        if (part === null) return null;
        sequence.parts.push(part);
      }
      choice.parts.push(sequence);
    } while (this.accept("|"));
    return choice;
  }

  private atom(): Node | null {
    const start = this.i;
    const c = this.take();
    const ranges: u64[] = [];
    switch (c) {
      case 0x28: // (
        return this.group(start);
      case 0x5b: // [
        return this.set(start);
      case 0x2e: // .
        push(ranges, 0, 9);
        push(ranges, 11, CODE_POINT_MAX);
        return this.setOf(ranges);
      case 0x5c: // backslash
        return this.escape(ranges, start) == NOTHING ? null : this.setOf(ranges);
      case 0x2a: // *
      case 0x2b: // +
      case 0x3f: // ?
      case 0x7b: // {
        return this.fail("nothing to repeat; write a backslash before a character that means itself", start);
      case 0x5e: // ^
        return this.fail("'^' is only for the beginning of the pattern", start);
    }
    push(ranges, c, c);
    return this.setOf(ranges);
  }

  private group(start: i32): Node | null {
    if (this.accept("?")) {
      if (this.accept("=") || this.accept("!") || this.accept("<=") || this.accept("<!")) {
        return this.fail("looking ahead or behind is not supported", start);
      }
      if (this.accept("<") || this.accept("P")) return this.fail("names of groups are not supported", start);
      if (!this.accept(":")) return this.fail("flags and other kinds of groups are not supported", start);
    }
    if (this.depth == GROUPS_MAX) return this.fail("more than 50 groups inside each other", start);
    this.depth++;
    const node = this.choice();
    this.depth--;
    if (node === null) return null;
    if (this.peek() == 0x24) return this.fail("'$' is only for the end of the pattern", this.i);
    return this.accept(")") ? node : this.fail("'(' without ')'", start);
  }

  /** Reads what may stand behind an atom. */
  private repeat(part: Node): Node | null {
    const start = this.i;
    const node = new Node(NodeKind.Repeat);
    node.parts.push(part);
    node.most = -1;
    if (this.accept("+")) {
      node.least = 1;
    } else if (this.accept("?")) {
      node.most = 1;
    } else if (this.accept("{")) {
      node.least = this.number();
      node.most = node.least;
      if (node.least >= 0 && this.accept(",")) node.most = this.peek() == 0x7d ? -1 : this.number();
      if (node.least < 0 || node.most < -1 || !this.accept("}")) return this.fail("expected {m}, {m,} or {m,n}", start);
      if (node.least > REPEAT_MAX || node.most > REPEAT_MAX) return this.fail("more than 1000 repetitions", start);
      if (node.most >= 0 && node.most < node.least) return this.fail("the larger number first", start);
    } else if (!this.accept("*")) {
      return part;
    }
    const c = this.peek();
    if (c == 0x3f)
      return this.fail("lazy repetition is not supported; a whole value matches or not without it", this.i);
    if (c == 0x2b) return this.fail("possessive repetition is not supported", this.i);
    if (c == 0x2a || c == 0x7b) return this.fail("a repetition of a repetition; put the first one in a group", this.i);
    return node;
  }

  /** Decimal digits; -2 where there are none. Large ones stay large without overflow. */
  private number(): i32 {
    let value: i32 = -2;
    for (let c = this.peek(); c >= 0x30 && c <= 0x39; c = this.peek()) {
      value = min(max(value, 0) * 10 + (c - 0x30), REPEAT_MAX + 1);
      this.i++;
    }
    return value;
  }

  /** Reads a set in brackets. */
  private set(start: i32): Node | null {
    const negative = this.accept("^");
    const ranges: u64[] = [];
    do {
      const at = this.i;
      const low = this.member(ranges, start);
      if (low == NOTHING) return null;
      if (this.peek() != 0x2d || this.peek(1) == 0x5d) continue;
      this.i++;
      const high = this.member(ranges, start);
      if (high == NOTHING) return null;
      if (low == MANY || high == MANY) return this.fail("a range between more than two characters", at);
      if (high < low) return this.fail("a range whose end is before its beginning", at);
      push(ranges, low, high);
    } while (!this.accept("]"));
    return this.setOf(negative ? complement(ranges) : ranges);
  }

  /** Reads one member of a set and answers its character, MANY or NOTHING. */
  private member(ranges: u64[], start: i32): i32 {
    const at = this.i;
    const c = this.peek();
    if (c < 0) {
      this.fail("'[' without ']'", start);
      return NOTHING;
    }
    if (c == 0x5d) {
      this.fail("expected a character; write \\] for a ']'", at);
      return NOTHING;
    }
    if (c == 0x5b && this.peek(1) == 0x3a) {
      this.fail("names of sets are not supported; write \\[ for a '['", at);
      return NOTHING;
    }
    this.take();
    if (c == 0x5c) return this.escape(ranges, at);
    push(ranges, c, c);
    return c;
  }

  /** Reads what stands behind a backslash, adds it to the ranges and answers the character, MANY or NOTHING. */
  private escape(ranges: u64[], start: i32): i32 {
    let c = this.take();
    const set: u64[] = [];
    switch (c) {
      case -1:
        this.fail("nothing behind the backslash", start);
        return NOTHING;
      case 0x64: // d
      case 0x44: // D
        push(set, 0x30, 0x39);
        break;
      case 0x77: // w
      case 0x57: // W
        push(set, 0x30, 0x39);
        push(set, 0x41, 0x5a);
        push(set, 0x5f, 0x5f);
        push(set, 0x61, 0x7a);
        break;
      case 0x73: // s
      case 0x53: // S
        push(set, 0x09, 0x0d);
        push(set, 0x20, 0x20);
        break;
      case 0x74: // t
        c = 9;
        break;
      case 0x6e: // n
        c = 10;
        break;
      case 0x76: // v
        c = 11;
        break;
      case 0x66: // f
        c = 12;
        break;
      case 0x72: // r
        c = 13;
        break;
      case 0x78: {
        // x
        const high = this.hex();
        const low = this.hex();
        if (high < 0 || low < 0) {
          this.fail("expected two hexadecimal digits", start);
          return NOTHING;
        }
        c = (high << 4) | low;
        break;
      }
      default:
        if (c >= 0x31 && c <= 0x39) {
          this.fail("references to groups are not supported", start);
          return NOTHING;
        }
        if (c >= 0x80 || c == 0x30 || isLetter(c)) {
          this.fail("an escape that is not supported", start);
          return NOTHING;
        }
    }
    if (!set.length) {
      push(ranges, c, c);
      return c;
    }
    const members = c < 0x61 ? complement(set) : set;
    for (let k = 0; k < members.length; k++) ranges.push(members[k]);
    return MANY;
  }

  /** The value of a hexadecimal digit, or -1. */
  private hex(): i32 {
    const c = this.take();
    const letter = c | 32;
    return c >= 0x30 && c <= 0x39 ? c - 0x30 : letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
  }

  private setOf(ranges: u64[]): Node {
    const node = new Node(NodeKind.Set);
    const sorted = normal(ranges);
    node.first = (this.ranges.length >> 1) as u32;
    node.count = sorted.length as u32;
    for (let k = 0; k < sorted.length; k++) {
      this.ranges.push((sorted[k] >> 32) as u32);
      this.ranges.push(sorted[k] as u32);
    }
    return node;
  }

  /** Writes the states of a node. Its recursion is as deep as the groups are. */
  emit(node: Node): void {
    if (this.error.length) return;
    const parts = node.parts;
    if (node.kind == NodeKind.Set) {
      this.state(SET, node.first, node.count, max<u32>(node.count, 1));
    } else if (node.kind == NodeKind.Sequence) {
      for (let k = 0; k < parts.length; k++) this.emit(parts[k]);
    } else if (node.kind == NodeKind.Choice) {
      const ends: u32[] = [];
      for (let k = 0; k < parts.length - 1; k++) {
        const split = this.split();
        this.emit(parts[k]);
        ends.push(this.split());
        this.point(split, split + 1, this.count());
      }
      this.emit(parts[parts.length - 1]);
      for (let k = 0; k < ends.length; k++) this.point(ends[k], this.count(), this.count());
    } else {
      this.emitRepeat(node, parts[0]);
    }
  }

  private emitRepeat(node: Node, part: Node): void {
    for (let k = 0; k < node.least && !this.error.length; k++) {
      const before = this.count();
      this.emit(part);
      // What is empty is empty a thousand times, too.
      if (this.count() == before) break;
    }
    if (node.most < 0) {
      const split = this.split();
      this.emit(part);
      const back = this.split();
      this.point(back, split, split);
      this.point(split, split + 1, this.count());
      return;
    }
    const splits: u32[] = [];
    for (let k = node.least; k < node.most && !this.error.length; k++) {
      splits.push(this.split());
      this.emit(part);
    }
    for (let k = 0; k < splits.length; k++) this.point(splits[k], splits[k] + 1, this.count());
  }

  /** A split whose operands point() sets. */
  private split(): u32 {
    const index = this.count();
    this.state(SPLIT, 0, 0, 1);
    return index;
  }

  private point(index: u32, x: u32, y: u32): void {
    if (this.error.length) return;
    const at = (index * STATE_WORDS) as i32;
    this.states[at + 1] = x;
    this.states[at + 2] = y;
  }

  private count(): u32 {
    return (this.states.length as u32) / STATE_WORDS;
  }

  /** Appends a state, as long as there is room. */
  state(kind: u32, x: u32, y: u32, cost: u32): void {
    if (this.error.length) return;
    this.cost += cost;
    if (this.cost > COST_MAX) {
      this.error = "too large: repeat less, or use fewer choices";
      return;
    }
    this.states.push(kind);
    this.states.push(x);
    this.states.push(y);
  }

  /** The code point that is `ahead` UTF-16 units away, or -1. */
  private peek(ahead: i32 = 0): i32 {
    return this.i + ahead < this.pattern.length ? this.pattern.codePointAt(this.i + ahead) : -1;
  }

  /** Steps over a code point and answers it; -1 at the end. */
  private take(): i32 {
    const c = this.peek();
    if (c >= 0) this.i += c > 0xffff ? 2 : 1;
    return c;
  }

  private accept(text: string): bool {
    if (!this.pattern.startsWith(text, this.i)) return false;
    this.i += text.length;
    return true;
  }

  /** Keeps the first thing that is wrong. */
  private fail(what: string, at: i32): Node | null {
    if (!this.error.length) this.error = `${what}, at character ${at + 1}`;
    return null;
  }
}

function isLetter(c: i32): bool {
  return (c | 32) >= 0x61 && (c | 32) <= 0x7a;
}

/** Adds a range. Ranges are u64, first code point above the last, so that they sort as numbers. */
function push(ranges: u64[], first: u32, last: u32): void {
  ranges.push(((first as u64) << 32) | (last as u64));
}

/** The same characters in ranges that are in order and apart. */
function normal(ranges: u64[]): u64[] {
  const merged: u64[] = [];
  ranges.sort();
  for (let k = 0; k < ranges.length; k++) {
    const first = (ranges[k] >> 32) as u32;
    const last = ranges[k] as u32;
    const top = merged.length - 1;
    if (top >= 0 && first <= (merged[top] as u32) + 1) {
      merged[top] = (merged[top] & 0xffffffff00000000) | (max<u32>(merged[top] as u32, last) as u64);
    } else {
      push(merged, first, last);
    }
  }
  return merged;
}

/** All other characters. */
function complement(ranges: u64[]): u64[] {
  const others: u64[] = [];
  const merged = normal(ranges);
  let from: u32 = 0;
  for (let k = 0; k < merged.length; k++) {
    const first = (merged[k] >> 32) as u32;
    if (first > from) push(others, from, first - 1);
    from = (merged[k] as u32) + 1;
  }
  if (from <= CODE_POINT_MAX) push(others, from, CODE_POINT_MAX);
  return others;
}
