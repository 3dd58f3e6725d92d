import { Headers } from "../http/headers";
import { Hpack, HpackTable } from "../http/hpack";
import { HUFFMAN_INVALID, HUFFMAN_SLACK, HUFFMAN_TOO_LONG, Huffman } from "../http/huffman";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Guarded, hexOf, Random } from "./util";

/** Blocks of RFC 7541, appendix C: one connection each in C.3 and C.4, with plain text and with Huffman code. */
const REQUESTS: string[] = [
  "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "8286 84be 5808 6e6f 2d63 6163 6865",
  "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];
const HUFFMAN_REQUESTS: string[] = [
  "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
  "8286 84be 5886 a8eb 1064 9cbf",
  "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];
const REQUEST_FIELDS: string[] = [
  ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n",
  ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\ncache-control: no-cache\n",
  ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value\n",
];

/** C.5 and C.6: a table of 256 bytes, so that entries are evicted. */
const RESPONSES: string[] = [
  "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 54" +
    "6e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
  "4803 3330 37c1 c0bf",
  "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d" +
    "4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076" +
    "6572 7369 6f6e 3d31",
];
const HUFFMAN_RESPONSES: string[] = [
  "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7" +
    "8f0b 97c8 e9ae 82ae 43d3",
  "4883 640e ffc1 c0bf",
  "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335" +
    "dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
];
const RESPONSE_FIELDS: string[] = [
  ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n",
  ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com\n",
  ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\n" +
    "content-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1\n",
];
const SIZE_256 = "3fe101";

/** As many bytes as a header list may have, and a name of one byte and the overhead. */
const LONGEST_VALUE: u32 = 65536 - 33;

const A = Guarded.text("a");

/**
 * One direction of a connection. It is decoded twice, side by side, with different bytes around the input: both must
 * answer the same.
 */
@final
class Connection {
  readonly headers: Headers = new Headers();
  private readonly table: HpackTable = newTable();
  private readonly twin: HpackTable = newTable();

  limit(bytes: u32): Connection {
    this.table.limit = bytes;
    this.twin.limit = bytes;
    return this;
  }

  /** The fields, one a line; `refused`, or `too large`. */
  decode(input: Guarded): string {
    input.guard(0x82);
    const first = this.run(this.table, input);
    input.guard(0xff);
    const second = this.run(this.twin, input);
    expect(second).toBe(first, "bytes outside of the input were read");
    return second;
  }

  hex(block: string): string {
    const input = Guarded.hex(block);
    const answer = this.decode(input);
    input.free();
    return answer;
  }

  sink(sink: Sink): string {
    const input = Guarded.copy(sink.ptr, sink.size);
    const answer = this.decode(input);
    input.free();
    return answer;
  }

  free(): void {
    this.table.release();
    this.twin.release();
  }

  private run(table: HpackTable, input: Guarded): string {
    const headers = this.headers;
    if (!Hpack.decode(table, input.ptr, input.size, headers)) {
      expect(headers.count).toBe(0);
      return Hpack.tooLarge ? "too large" : "refused";
    }
    expect(Hpack.tooLarge).toBe(false);
    let text = "";
    for (let i: u32 = 0; i < headers.count; i++)
      text += `${readable(headers.name(i))}: ${readable(headers.value(i))}\n`;
    return text;
  }
}

function newTable(): HpackTable {
  const record = heap.alloc(offsetof<HpackTable>());
  memory.fill(record, 0, offsetof<HpackTable>());
  return changetype<HpackTable>(record);
}

/** As text where that is short ASCII; otherwise in digits, or only the length. */
function readable(slice: Slice): string {
  if (slice.size > 1000) return `(${slice.size} bytes)`;
  for (let i: u32 = 0; i < slice.size; i++) if (load<u8>(slice.ptr + i) > 0x7e) return hexOf(slice.ptr, slice.size);
  return slice.text();
}

function textOf(bytes: Guarded): string {
  return String.UTF8.decodeUnsafe(bytes.ptr, bytes.size);
}

/** What one block decodes to on a connection of its own. */
function once(block: string): string {
  const connection = new Connection();
  const answer = connection.hex(block);
  connection.free();
  return answer;
}

/** What a Huffman coded string decodes to, with that much room. */
function huffman(code: string, room: u32 = 1000): string {
  const input = Guarded.hex(code);
  const output = new Guarded(room + HUFFMAN_SLACK);
  input.guard(0x00);
  const first = Huffman.decode(input.ptr, input.size, output.ptr, room);
  input.guard(0xff);
  const size = Huffman.decode(input.ptr, input.size, output.ptr, room);
  expect(size).toBe(first, "bytes outside of the input were read");
  for (let i: u32 = 0; i < 8; i++) {
    expect(load<u8>(output.ptr + output.size + i)).toBe(0xa5, "written behind the room");
    expect(load<u8>(output.ptr - i - 1)).toBe(0xa5, "written before the room");
  }
  let text = "";
  if (size == HUFFMAN_INVALID) text = "invalid";
  else if (size == HUFFMAN_TOO_LONG) text = "too long";
  else text = String.UTF8.decodeUnsafe(output.ptr, size);
  input.free();
  output.free();
  return text;
}

const NEVER_KEPT: u32 = 0x00;
const INSERTED: u32 = 0x40;
const HUFFMAN: u32 = 0x80;

/** A field with a literal name. */
function field(sink: Sink, first: u32, name: Guarded, value: Guarded, valueFlag: u32 = 0): void {
  sink.u8(first);
  text(sink, name, 0);
  text(sink, value, valueFlag);
}

function text(sink: Sink, bytes: Guarded, flag: u32): void {
  if (bytes.size < 127) {
    sink.u8(flag | bytes.size);
  } else {
    sink.u8(flag | 127);
    sink.varint(bytes.size - 127);
  }
  sink.bytes(bytes.ptr, bytes.size);
}

function filled(size: u32, byte: u32 = 0x78): Guarded {
  const guarded = new Guarded(size);
  memory.fill(guarded.ptr, byte as u8, size);
  return guarded;
}

describe("Huffman", () => {
  it("decodes", () => {
    expect(huffman("")).toBe("");
    expect(huffman("f1e3c2e5f23a6ba0ab90f4ff")).toBe("www.example.com");
    expect(huffman("6402")).toBe("302");
    expect(huffman("1f")).toBe("a");
    expect(huffman("fff7")).toBe("}", "14 bits");
  });

  it("refuses wrong padding", () => {
    expect(huffman("18")).toBe("invalid", "zeros");
    expect(huffman("1e")).toBe("invalid");
    expect(huffman("1fff")).toBe("invalid", "more than seven bits");
    expect(huffman("ff")).toBe("invalid");
    expect(huffman("f1e3c2e5f23a6ba0ab90f4fe")).toBe("invalid");
    expect(huffman("f1e3c2e5f23a6ba0ab90f4ffff")).toBe("invalid");
  });

  it("refuses the end of string symbol", () => {
    const codes: string[] = ["ffffffff", "fffffffc", "ffffffffffffffffffff", "1fffffffffffffffffff", "1fffffffff"];
    for (let i = 0; i < codes.length; i++) expect(huffman(codes[i])).toBe("invalid", codes[i]);
  });

  it("stops where the room ends", () => {
    expect(huffman("f1e3c2e5f23a6ba0ab90f4ff", 15)).toBe("www.example.com");
    for (let room: u32 = 0; room < 15; room++) {
      expect(huffman("f1e3c2e5f23a6ba0ab90f4ff", room)).toBe("too long");
      expect(huffman("00".repeat(200), room)).toBe("too long");
    }
    expect(huffman("00".repeat(5), 8)).toBe("00000000");
  });
});

describe("Hpack.decode", () => {
  it("reads the examples of RFC 7541", () => {
    expect(once("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572")).toBe(
      "custom-key: custom-header\n",
    );
    expect(once("040c 2f73 616d 706c 652f 7061 7468")).toBe(":path: /sample/path\n");
    expect(once("1008 7061 7373 776f 7264 0673 6563 7265 74")).toBe("password: secret\n");
    expect(once("82")).toBe(":method: GET\n");
    const plain = new Connection();
    const coded = new Connection();
    const small = new Connection().limit(256);
    const codedSmall = new Connection().limit(256);
    for (let i = 0; i < 3; i++) {
      expect(plain.hex(REQUESTS[i])).toBe(REQUEST_FIELDS[i]);
      expect(coded.hex(HUFFMAN_REQUESTS[i])).toBe(REQUEST_FIELDS[i]);
      const update = i ? "" : SIZE_256;
      expect(small.hex(update + RESPONSES[i])).toBe(RESPONSE_FIELDS[i]);
      expect(codedSmall.hex(update + HUFFMAN_RESPONSES[i])).toBe(RESPONSE_FIELDS[i]);
    }
    plain.free();
    coded.free();
    small.free();
    codedSmall.free();
  });

  it("knows the whole static table", () => {
    const connection = new Connection();
    let block = "";
    for (let index = 1; index <= 61; index++) block += (0x80 | index).toString(16);
    const lines = connection.hex(block).split("\n");
    expect(lines.length).toBe(62);
    expect(lines[0]).toBe(":authority: ");
    expect(lines[6]).toBe(":scheme: https");
    expect(lines[13]).toBe(":status: 500");
    expect(lines[15]).toBe("accept-encoding: gzip, deflate");
    expect(lines[30]).toBe("content-type: ");
    expect(lines[32]).toBe("date: ");
    expect(lines[53]).toBe("server: ");
    expect(lines[60]).toBe("www-authenticate: ");
    connection.free();
  });

  it("refuses an index that is none", () => {
    expect(once("80")).toBe("refused", "0");
    expect(once("be")).toBe("refused", "62 of an empty table");
    expect(once("ff8001")).toBe("refused", "far beyond");
    expect(once("7f8001 0161")).toBe("refused", "as a name");
    const connection = new Connection();
    expect(connection.hex(REQUESTS[0] + "be")).toBe(REQUEST_FIELDS[0] + ":authority: www.example.com\n");
    expect(connection.hex("bf")).toBe("refused");
    connection.free();
  });

  it("bounds integers", () => {
    expect(once("ff80808000")).toBe("refused", "127: no such index");
    expect(once("ff8080808000")).toBe("refused", "five bytes");
    expect(once("ffffffffff0f")).toBe("refused");
    expect(once("ffffffffffffffffffffff01")).toBe("refused");
    expect(once("0f f1ffffff 7f 0161")).toBe("refused");
    expect(once("00 7fffffffff0f 61 0161")).toBe("refused", "a length");
    // One that is longer than it need be is one.
    expect(once("0f808080 00 0161")).toBe("accept-charset: a\n");
  });

  it("takes size updates at the start of a block only, up to the limit", () => {
    expect(once("20")).toBe("");
    expect(once("3fe11f 82")).toBe(":method: GET\n", "4096");
    expect(once("3fe21f 82")).toBe("refused", "4097");
    expect(once("20 3fe11f 82")).toBe(":method: GET\n");
    expect(once("82 20")).toBe("refused");
    expect(once("3fffffffff0f")).toBe("refused");
    const connection = new Connection();
    expect(connection.hex(REQUESTS[0])).toBe(REQUEST_FIELDS[0]);
    expect(connection.hex("20 3fe11f")).toBe("");
    expect(connection.hex("be")).toBe("refused", "a table that was emptied");
    connection.free();
  });

  it("expects an update where the limit was lowered", () => {
    const lowered = new Connection();
    expect(lowered.hex(REQUESTS[0])).toBe(REQUEST_FIELDS[0]);
    lowered.limit(0);
    expect(lowered.hex("82")).toBe("refused");
    expect(lowered.hex("20 82")).toBe(":method: GET\n");
    expect(lowered.hex("be")).toBe("refused");
    expect(lowered.hex("4001610162")).toBe("a: b\n");
    expect(lowered.hex("be")).toBe("refused", "nothing fits");
    lowered.limit(4096);
    expect(lowered.hex("4001610162")).toBe("a: b\n");
    expect(lowered.hex("be")).toBe("refused", "the encoder still means 0");
    expect(lowered.hex("3fe11f 4001610162 be")).toBe("a: b\na: b\n");
    lowered.free();
  });

  it("lets an entry make room for one that takes its name", () => {
    const connection = new Connection();
    // 32 + 1 + 1 of 34 bytes.
    expect(connection.hex("3f03 4001610162")).toBe("a: b\n");
    expect(connection.hex("be 7e0163 be")).toBe("a: b\na: c\na: c\n");
    expect(connection.hex("be bf")).toBe("refused");
    connection.free();
  });

  it("empties the table for an entry that is bigger than it", () => {
    const connection = new Connection();
    expect(connection.hex("3f03 4001610162 be")).toBe("a: b\na: b\n");
    expect(connection.hex("4001610263 63")).toBe("a: cc\n");
    expect(connection.hex("be")).toBe("refused");
    connection.free();
  });

  it("keeps what stands in `headers` while entries go", () => {
    const connection = new Connection();
    const sink = new Sink();
    let expected = "";
    // Three fields for each, two of them entries of 182 and 92 bytes: the table holds a third of all.
    for (let i: u32 = 0; i < 40; i++) {
      const name = filled(50, 0x30 + i);
      const value = filled(100, 0x31 + i);
      const other = filled(10, 0x32 + i);
      field(sink, INSERTED, name, value);
      sink.u8(0xbe);
      sink.u8(0x7e);
      text(sink, other, 0);
      expected += `${textOf(name)}: ${textOf(value)}\n`.repeat(2) + `${textOf(name)}: ${textOf(other)}\n`;
      name.free();
      value.free();
      other.free();
    }
    expect(connection.sink(sink)).toBe(expected);
    connection.free();
  });

  it("accepts 128 fields and stays in step behind more", () => {
    const connection = new Connection();
    const block = "4001610162" + "be".repeat(127);
    expect(connection.hex(block)).toBe("a: b\n".repeat(128));
    expect(connection.hex(block + "4001630164")).toBe("too large");
    expect(connection.hex("be bf c0")).toBe("c: d\na: b\na: b\n");
    expect(connection.hex("be".repeat(129) + "80")).toBe("refused");
    connection.free();
  });

  it("accepts 64 KiB and stays in step behind more", () => {
    const connection = new Connection();
    const sink = new Sink();
    const longest = filled(LONGEST_VALUE);
    field(sink, NEVER_KEPT, A, longest);
    expect(connection.sink(sink)).toBe(`a: (${LONGEST_VALUE} bytes)\n`);
    sink.u8(0x82);
    expect(connection.sink(sink)).toBe("too large");
    sink.clear();
    const more = filled(LONGEST_VALUE + 1);
    field(sink, NEVER_KEPT, A, more);
    field(sink, INSERTED, A, A);
    expect(connection.sink(sink)).toBe("too large");
    expect(connection.hex("be")).toBe("a: a\n");
    longest.free();
    more.free();
    connection.free();
  });

  it("bounds a bomb of references", () => {
    const connection = new Connection();
    const sink = new Sink();
    const long = filled(4000);
    field(sink, INSERTED, A, long);
    expect(connection.sink(sink)).toBe("a: (4000 bytes)\n");
    expect(connection.hex("be".repeat(16))).toBe("a: (4000 bytes)\n".repeat(16));
    expect(connection.hex("be".repeat(17))).toBe("too large");
    expect(connection.hex("be".repeat(200))).toBe("too large");
    expect(connection.hex("be".repeat(300))).toBe("refused", "more than 1 MiB of work");
    // A long name that is inserted again each time.
    sink.clear();
    field(sink, INSERTED, long, A);
    expect(connection.sink(sink)).toBe("(4000 bytes): a\n");
    expect(connection.hex("7e00".repeat(16))).toBe("(4000 bytes): \n".repeat(16));
    expect(connection.hex("7e00".repeat(17))).toBe("too large");
    expect(connection.hex("7e00".repeat(300))).toBe("refused");
    long.free();
    connection.free();
  });

  it("bounds Huffman code that decodes to too much", () => {
    const connection = new Connection();
    const sink = new Sink();
    // The code of 83,200 zeros.
    const code = filled(52_000, 0);
    for (let i = 0; i < 4; i++) field(sink, INSERTED, A, code, HUFFMAN);
    field(sink, INSERTED, A, A);
    expect(connection.sink(sink)).toBe("too large");
    expect(connection.hex("be")).toBe("a: a\n");
    expect(connection.hex("bf")).toBe("refused");
    code.free();
    connection.free();
  });

  it("refuses every block that is cut within a field", () => {
    const whole = Guarded.hex(HUFFMAN_RESPONSES[0]);
    const fields = RESPONSE_FIELDS[0].split("\n");
    let read = 0;
    for (let size: u32 = 0; size <= whole.size; size++) {
      const connection = new Connection();
      const part = Guarded.copy(whole.ptr, size);
      const answer = connection.decode(part);
      if (answer != "refused") {
        let expected = "";
        for (let i = 0; i < read; i++) expected += fields[i] + "\n";
        expect(answer).toBe(expected);
        read++;
      }
      part.free();
      connection.free();
    }
    expect(read).toBe(5);
    whole.free();
  });

  it("reads nothing outside of the input, whatever the input", () => {
    const random = new Random();
    const samples: Guarded[] = [];
    for (let i = 0; i < 3; i++) {
      samples.push(Guarded.hex(REQUESTS[i]));
      samples.push(Guarded.hex(HUFFMAN_REQUESTS[i]));
      samples.push(Guarded.hex(RESPONSES[i]));
      samples.push(Guarded.hex(HUFFMAN_RESPONSES[i]));
    }
    let connection = new Connection();
    let refused = 0;
    let blocks = 0;
    for (let round = 0; round < 5000; round++) {
      const sample = samples[random.below(samples.length)];
      const input = Guarded.copy(sample.ptr, random.below(8) ? sample.size : random.below(sample.size + 1));
      for (let changes = random.below(4); changes > 0 && input.size > 0; changes--) {
        store<u8>(input.ptr + random.below(input.size), random.below(256) as u8);
      }
      blocks++;
      if (connection.decode(input) == "refused") {
        refused++;
        connection.free();
        connection = new Connection();
      }
      input.free();
    }
    expect(refused).toBeGreaterThan(1000);
    expect(blocks - refused).toBeGreaterThan(1000);
    connection.free();
    for (let i = 0; i < samples.length; i++) samples[i].free();
  });

  it("does not need more memory the longer a connection lives", () => {
    const connection = new Connection();
    const random = new Random(3);
    const sink = new Sink();
    const input = filled(4000);
    let pages = 0;
    for (let round = 0; round < 3000; round++) {
      sink.clear();
      const value = Guarded.copy(input.ptr, random.below(round % 7 ? 60 : 4000));
      field(sink, INSERTED, A, value);
      expect(connection.sink(sink)).not.toBe("refused");
      value.free();
      if (round % 1000 == 0) __collect();
      if (round == 1500) pages = memory.size();
    }
    expect(memory.size()).toBe(pages);
    input.free();
    connection.free();
  });
});

describe("Hpack encoders", () => {
  it("write what decodes to the same", () => {
    const sink = new Sink();
    const connection = new Connection();
    const name = Guarded.text("x-name");
    Hpack.indexed(sink, 3);
    Hpack.literal(sink, name.ptr, name.size, name.ptr, 0);
    Hpack.literalIndexed(sink, 4, name.ptr, name.size);
    Hpack.literalIndexed(sink, 31, name.ptr, 1);
    expect(connection.sink(sink)).toBe(":method: POST\nx-name: \n:path: x-name\ncontent-type: x\n");
    const long = filled(5000);
    sink.clear();
    Hpack.literal(sink, long.ptr, 127, long.ptr, 128);
    Hpack.literalIndexed(sink, 15, long.ptr, 126);
    Hpack.literal(sink, name.ptr, 1, long.ptr, 5000);
    const x = "x";
    expect(connection.sink(sink)).toBe(
      `${x.repeat(127)}: ${x.repeat(128)}\naccept-charset: ${x.repeat(126)}\nx: (5000 bytes)\n`,
    );
    name.free();
    long.free();
    connection.free();
  });

  it("write every status", () => {
    const sink = new Sink();
    const connection = new Connection();
    for (let status = 100; status < 600; status++) {
      sink.clear();
      Hpack.status(sink, status);
      expect(connection.sink(sink)).toBe(`:status: ${status}\n`);
    }
    connection.free();
  });
});
