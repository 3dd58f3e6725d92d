import { Slice } from "../wire/slice";
import { Frame, Status } from "./frame";

@unmanaged
@final
class Entry {
  code: i32;
  status: Status;
  private ptr: usize;
  private size: u32;

  get name(): Slice {
    return changetype<Slice>(changetype<usize>(this) + offsetof<Entry>("ptr"));
  }
}

/** The numbers of a protocol's replies: what they are called, and what they mean for all protocols alike. */
@final
export class Statuses {
  private entries: usize = 0;
  /** Entries that have a number, and those behind them. */
  private numbered: u32 = 0;
  count: u32 = 0;

  /** `others`: what numbers mean that have no name. */
  constructor(readonly others: Status) {}

  /** Adds a number and its name, which becomes a label. What most replies have comes first. */
  add(code: i32, status: Status, name: string): Statuses {
    this.append(code, status, Slice.of(name));
    this.numbered = this.count;
    return this;
  }

  /** Adds, behind all that have one, an outcome without a number: the codec finds it out in another way. */
  also(status: Status, name: Slice): Statuses {
    this.append(0, status, name);
    return this;
  }

  private append(code: i32, status: Status, name: Slice): void {
    const size = this.count * offsetof<Entry>();
    const entries = heap.alloc(size + offsetof<Entry>());
    if (this.entries) {
      memory.copy(entries, this.entries, size);
      heap.free(this.entries);
    }
    this.entries = entries;
    const entry = this.at(this.count++);
    entry.code = code;
    entry.status = status;
    entry.name.point(name);
  }

  @inline
  private at(i: u32): Entry {
    return changetype<Entry>(this.entries + i * offsetof<Entry>());
  }

  /** Sets code, status and outcome of a reply with that number. */
  @inline
  set(frame: Frame, code: i32): void {
    frame.code = code;
    const first = this.at(0);
    if (first.code == code) {
      frame.status = first.status;
      frame.outcome.point(first.name);
    } else {
      this.find(frame, code);
    }
  }

  private find(frame: Frame, code: i32): void {
    for (let i: u32 = 1; i < this.numbered; i++) {
      const entry = this.at(i);
      if (entry.code != code) continue;
      frame.status = entry.status;
      frame.outcome.point(entry.name);
      return;
    }
    frame.status = this.others;
    frame.decimal(frame.outcome, code);
  }

  /** Whether the entry has a number. */
  hasCode(i: u32): bool {
    return i < this.numbered;
  }

  code(i: u32): i32 {
    return this.at(i).code;
  }

  status(i: u32): Status {
    return this.at(i).status;
  }

  name(i: u32): Slice {
    return this.at(i).name;
  }
}
