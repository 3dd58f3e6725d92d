import { Frame } from "../codec/frame";
import { Bytes } from "../wire/bytes";
import { Regex } from "../wire/regex";
import { Slice } from "../wire/slice";

/** A condition on one value. A value that a frame does not have is a slice whose ptr is 0. */
export abstract class Matcher {
  abstract matches(value: Slice): bool;
}

@final
export class Exact extends Matcher {
  constructor(private text: ArrayBuffer) {
    super();
  }

  matches(value: Slice): bool {
    return value.ptr != 0 && value.is(changetype<usize>(this.text), this.text.byteLength);
  }
}

@final
export class Prefix extends Matcher {
  constructor(private text: ArrayBuffer) {
    super();
  }

  matches(value: Slice): bool {
    const size = this.text.byteLength as u32;
    return value.ptr != 0 && value.size >= size && Bytes.equal(value.ptr, changetype<usize>(this.text), size);
  }
}

@final
export class Suffix extends Matcher {
  constructor(private text: ArrayBuffer) {
    super();
  }

  matches(value: Slice): bool {
    const size = this.text.byteLength as u32;
    if (value.ptr == 0 || value.size < size) return false;
    return Bytes.equal(value.ptr + value.size - size, changetype<usize>(this.text), size);
  }
}

@final
export class OneOf extends Matcher {
  constructor(private matchers: Exact[]) {
    super();
  }

  matches(value: Slice): bool {
    for (let i = 0; i < this.matchers.length; i++) {
      if (this.matchers[i].matches(value)) return true;
    }
    return false;
  }
}

/** Decimal whole numbers from `least` to `most`, both included. */
@final
export class Range extends Matcher {
  constructor(
    private least: i64,
    private most: i64,
  ) {
    super();
  }

  matches(value: Slice): bool {
    const size = value.size;
    if (value.ptr == 0 || size == 0) return false;
    const negative = load<u8>(value.ptr) == 45;
    let i: u32 = negative ? 1 : 0;
    // 19 digits are what a u64 holds for sure without overflow; an i64 needs no more.
    if (size == i || size - i > 19) return false;
    let digits: u64 = 0;
    for (; i < size; i++) {
      const digit = (load<u8>(value.ptr + i) as u32) - 48;
      if (digit > 9) return false;
      digits = digits * 10 + digit;
    }
    if (digits > (i64.MAX_VALUE as u64) + (negative as u64)) return false;
    const number = (negative ? 0 - digits : digits) as i64;
    return number >= this.least && number <= this.most;
  }
}

@final
export class Pattern extends Matcher {
  constructor(private regex: Regex) {
    super();
  }

  matches(value: Slice): bool {
    return value.ptr != 0 && this.regex.matches(value.ptr, value.size);
  }
}

@final
export class Present extends Matcher {
  constructor(private wanted: bool) {
    super();
  }

  matches(value: Slice): bool {
    return (value.ptr != 0) == this.wanted;
  }
}

@final
export class Not extends Matcher {
  constructor(private matcher: Matcher) {
    super();
  }

  matches(value: Slice): bool {
    return !this.matcher.matches(value);
  }
}

/** A matcher on the value of one key of a frame. */
@final
export class Condition {
  private key: ArrayBuffer;

  constructor(
    readonly name: string,
    private matcher: Matcher,
  ) {
    this.key = String.UTF8.encode(name);
  }

  /** Whether the value stands in the frame's metadata, not in what every head tells. */
  get needsMetadata(): bool {
    return this.name != "service" && this.name != "method";
  }

  matches(frame: Frame): bool {
    if (this.name == "service") return this.matcher.matches(frame.service);
    if (this.name == "method") return this.matcher.matches(frame.method);
    return this.matcher.matches(frame.find(changetype<usize>(this.key), this.key.byteLength));
  }
}

/** Where a connection goes when all conditions hold. */
@final
export class Rule {
  readonly conditions: Condition[] = [];

  constructor(
    readonly name: ArrayBuffer,
    readonly cluster: ArrayBuffer,
  ) {}

  matches(frame: Frame): bool {
    for (let i = 0; i < this.conditions.length; i++) {
      if (!this.conditions[i].matches(frame)) return false;
    }
    return true;
  }

  get needsMetadata(): bool {
    for (let i = 0; i < this.conditions.length; i++) {
      if (this.conditions[i].needsMetadata) return true;
    }
    return false;
  }
}
