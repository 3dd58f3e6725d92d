import { Entry, Table } from "../memory/table";
import { same } from "./tape";
import { Random } from "./util";

@unmanaged
class Record extends Entry {
  serial: u32;
  /** Makes the size odd, as that of any class may be. */
  last: bool;
}

/** What a table should hold: live records in the order in which they were added. */
@final
class Model {
  readonly owners: usize[] = [];
  readonly keys: u64[] = [];
  readonly serials: u32[] = [];
  readonly records: usize[] = [];

  add(owner: usize, key: u64, serial: u32, record: usize): void {
    this.owners.push(owner);
    this.keys.push(key);
    this.serials.push(serial);
    this.records.push(record);
  }

  removeAt(i: i32): void {
    this.owners.splice(i, 1);
    this.keys.splice(i, 1);
    this.serials.splice(i, 1);
    this.records.splice(i, 1);
  }

  /** The oldest from `from` on; -1 where there is none. */
  find(owner: usize, key: u64, from: i32): i32 {
    for (let i = from; i < this.keys.length; i++) {
      if (this.keys[i] == key && this.owners[i] == owner) return i;
    }
    return -1;
  }

  recordAt(i: i32): usize {
    return i < 0 ? 0 : this.records[i];
  }
}

function put(table: Table, owner: usize, key: u64, serial: u32): usize {
  const record = table.add(owner, key);
  changetype<Record>(record).serial = serial;
  changetype<Record>(record).last = true;
  return record;
}

/** Every record is found, in the order of its adding, and none is that is not there. */
function check(table: Table, model: Model): void {
  same(table.count, model.keys.length, "count");
  for (let i = 0; i < model.keys.length; i++) {
    const owner = model.owners[i];
    const key = model.keys[i];
    const entry = changetype<Record>(model.records[i]);
    same(
      entry.owner == owner && entry.key == key && entry.serial == model.serials[i],
      true,
      "a record keeps its fields",
    );
    same(table.find(owner, key), model.recordAt(model.find(owner, key, 0)), "the oldest is found");
    same(table.nextSame(model.records[i]), model.recordAt(model.find(owner, key, i + 1)), "then the next younger");
  }
}

describe("Table", () => {
  it("does what a list in the order of adding would do", () => {
    for (let round = 0; round < 20; round++) {
      const random = new Random(round + 1);
      const table = new Table(offsetof<Record>());
      const model = new Model();
      // Few keys make many duplicates, many make it grow.
      const keys = 1 + random.below(300);
      for (let step: u32 = 0; step < 600; step++) {
        const owner: usize = random.below(3);
        const key: u64 =
          ((random.below(keys) as u64) << (random.below(2) * 40)) ^ (random.below(2) ? 0 : u64.MAX_VALUE);
        if (random.below(5) < 3 || !model.keys.length) {
          model.add(owner, key, step, put(table, owner, key, step));
        } else {
          const i = random.below(model.keys.length) as i32;
          const record = model.recordAt(i);
          table.remove(record);
          model.removeAt(i);
        }
        const at = model.find(owner, key, 0);
        same(table.find(owner, key), model.recordAt(at), "find");
        if (step % 100 == 99) check(table, model);
      }
      check(table, model);
      while (model.keys.length) {
        table.remove(model.recordAt(0));
        model.removeAt(0);
      }
      check(table, model);
    }
    expect(true).toBe(true, "same() would have said");
  });

  it("keeps duplicates in the order of adding while it grows", () => {
    const table = new Table(offsetof<Record>());
    for (let i: u32 = 0; i < 5000; i++) put(table, 1, (i % 7) as u64, i);
    for (let key: u32 = 0; key < 7; key++) {
      let serial = key;
      for (let at = table.find(1, key); at; at = table.nextSame(at)) {
        same(changetype<Record>(at).serial, serial, "the next older");
        serial += 7;
      }
      expect(serial).toBeGreaterThan(4999);
    }
  });

  it("gives records that are zero but for owner and key, at multiples of eight", () => {
    const table = new Table(offsetof<Record>());
    for (let i: u32 = 0; i < 200; i++) {
      const record = table.add(3, i);
      same<usize>(record & 7, 0, "aligned");
      same(changetype<Record>(record).serial, 0, "zero");
      same(changetype<Record>(record).last, false, "zero");
      changetype<Record>(record).serial = u32.MAX_VALUE;
      changetype<Record>(record).last = true;
      if (i % 3) table.remove(record);
    }
    expect(table.count).toBe(67);
  });

  it("takes no more memory for what comes and goes", () => {
    const table = new Table(offsetof<Record>());
    for (let i: u64 = 0; i < 1000; i++) table.add(1, i);
    for (let i: u64 = 0; i < 1000; i++) table.remove(table.find(1, i));
    const pages = memory.size();
    for (let round: u64 = 0; round < 200; round++) {
      for (let i: u64 = 0; i < 1000; i++) table.add(2, round * 1000 + i);
      for (let i: u64 = 0; i < 1000; i++) table.remove(table.find(2, round * 1000 + i));
    }
    expect(memory.size()).toBe(pages);
    expect(table.count).toBe(0);
  });

  it("does not walk past records with the same key when one is added or taken out", () => {
    const table = new Table(offsetof<Record>());
    // A walk each would be five billion steps here.
    const records = new StaticArray<usize>(100_000);
    for (let i = 0; i < records.length; i++) records[i] = put(table, 1, 1, i);
    expect(table.find(1, 1)).toBe(records[0]);
    for (let i = records.length - 1; i >= 0; i--) table.remove(records[i]);
    expect(table.count).toBe(0);
  });
});
