enum Colour { RED = 1, GREEN = 2 }

struct Item {
  1: string name,
  2: double price,
  3: Colour colour,
}

/** A field of every type. */
struct Order {
  1: bool paid,
  2: byte kind,
  3: i16 shop,
  4: i32 count,
  5: i64 number,
  6: double total,
  7: string note,
  8: binary picture,
  9: list<Item> items,
  10: set<i32> tags,
  11: map<string, i64> stock,
  12: map<i32, list<Item>> shelves,
  13: list<bool> flags,
  14: list<list<i64>> table,
  15: optional Order previous,
  40: string last,
}

exception Refused {
  1: string why,
}

service Greeter {
  string hello(1: string name) throws (1: Refused refused),
  i32 add(1: i32 a, 2: i32 b),
  void ping(),
  oneway void note(1: string what),
  void fail(),
  Order order(1: Order order),
}

/** What clients call; servers do not have all of it. */
service Wider extends Greeter {
  void missing(),
}
