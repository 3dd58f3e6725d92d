import { Http1, Http1Cut, Http1Reader } from "../http/http1";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Guarded, hexOf, Random } from "./util";

const SAMPLE =
  "POST /a.Greeter/hi?x=%20 HTTP/1.1\r\nHost: greeter:80\r\nX-Trace-Id:  abc def \t\r\ncontent-length: 11\r\n" +
  "empty:\r\nx-note: \xe9\r\n\r\nhello world" +
  "POST /a HTTP/1.1\r\nhost: b\r\nTransfer-Encoding: Chunked\r\n\r\n" +
  '5\r\nhello\r\n0006;a="b c";d\r\n world\r\n0\r\nExpires: never\r\nx:\r\n\r\n' +
  "\r\nGET * HTTP/1.1\r\nhost:\r\n\r\n" +
  "GET http://c:81/x HTTP/1.1\r\nhost: d\r\ncontent-length: 0\r\n\r\n";

const SAMPLE_TAPE =
  ":method=POST :path=/a.Greeter/hi?x=%20 :authority=greeter:80 x-trace-id=abc def content-length=11 empty= x-note=\xe9\n" +
  "hello world.\n:method=POST :path=/a :authority=b transfer-encoding=Chunked\nhello world.\n" +
  ":method=GET :path=* :authority=\n.\n:method=GET :path=/x :authority=c:81 content-length=0\n.\n";

/** Writes down what it is told. */
@final
class Tape extends Http1Reader {
  text: string = "";
  /** Callbacks before it stops. */
  patience: i32 = i32.MAX_VALUE;
  /** Bodies are counted instead of written down. */
  counts: bool = false;
  counted: u64 = 0;

  protected onRequest(): void {
    const headers = this.headers;
    for (let i: u32 = 0; i < headers.count; i++) {
      this.text += `${i ? " " : ""}${textOf(headers.name(i))}=${textOf(headers.value(i))}`;
    }
    this.text += "\n";
    this.tick();
  }

  protected onBody(p: usize, n: u32): void {
    expect(n).toBeGreaterThan(0);
    if (this.counts) this.counted += n;
    else this.text += latin1(p, n);
    this.tick();
  }

  protected onEnd(): void {
    this.text += ".\n";
    this.tick();
  }

  protected onBad(): void {
    this.text += "bad";
  }

  private tick(): void {
    if (!--this.patience) this.stop();
  }
}

/** One byte, one character. */
function latin1(p: usize, size: u32): string {
  const text = new ArrayBuffer(size << 1);
  for (let i: u32 = 0; i < size; i++) store<u16>(changetype<usize>(text) + (i << 1), load<u8>(p + i));
  return String.UTF16.decode(text);
}

function textOf(slice: Slice): string {
  return latin1(slice.ptr, slice.size);
}

/** One character, one byte. */
function bytesOf(text: string): Guarded {
  const guarded = new Guarded(text.length as u32);
  for (let i = 0; i < text.length; i++) store<u8>(guarded.ptr + i, text.charCodeAt(i) as u8);
  return guarded;
}

const record = heap.alloc(offsetof<Http1Cut>());

/** Reads the input in pieces of at most `step` bytes, each with guards of its own; answers what was told. */
function play(tape: Tape, input: Guarded, step: u32, guard: u8 = 0): string {
  memory.fill(record, 0, offsetof<Http1Cut>());
  const cut = changetype<Http1Cut>(record);
  tape.text = "";
  for (let at: u32 = 0; at < input.size; at += step) {
    const piece = Guarded.copy(input.ptr + at, min<u32>(step, input.size - at));
    piece.guard(guard);
    const goesOn = tape.read(cut, piece.ptr, piece.size);
    piece.free();
    if (!goesOn) break;
  }
  cut.release();
  return tape.text;
}

function read(text: string): string {
  const input = bytesOf(text);
  const tape = new Tape();
  const whole = play(tape, input, input.size);
  // Byte by byte, where that does not take for ever.
  expect(play(tape, input, input.size < 10_000 ? 1 : 997)).toBe(whole);
  input.free();
  return whole;
}

function request(fields: string, rest: string = ""): string {
  return read(`POST / HTTP/1.1\r\nhost: a\r\n${fields}\r\n${rest}`);
}

/** What a request with these fields is told as, its `:` and the method aside. */
function fieldsOf(fields: string): string {
  const text = request(fields);
  const start = ":method=POST :path=/ :authority=a";
  return text.startsWith(start) ? text.substring(start.length) : text;
}

function chunks(body: string): string {
  const text = request("transfer-encoding: chunked\r\n", body);
  const start = ":method=POST :path=/ :authority=a transfer-encoding=chunked\n";
  expect(text.startsWith(start)).toBe(true);
  return text.substring(start.length);
}

function firstLine(line: string): string {
  return read(`${line}\r\nhost: a\r\n\r\n`);
}

describe("Http1Reader", () => {
  it("reads requests, one after the other", () => {
    expect(read(SAMPLE)).toBe(SAMPLE_TAPE);
  });

  it("reads the same however the bytes arrive", () => {
    const input = bytesOf(SAMPLE);
    const tape = new Tape();
    for (let step: u32 = 1; step < input.size; step += 1 + step / 8) {
      expect(play(tape, input, step, 10)).toBe(SAMPLE_TAPE);
      expect(play(tape, input, step, 13)).toBe(SAMPLE_TAPE);
    }
    input.free();
  });

  it("reads request lines", () => {
    expect(firstLine("M-SEARCH / HTTP/1.1")).toBe(":method=M-SEARCH :path=/ :authority=a\n.\n");
    expect(firstLine("GET HTTP://b HTTP/1.1")).toBe(":method=GET :path=/ :authority=b\n.\n");
    expect(firstLine("GET https://b:1/c HTTP/1.1")).toBe(":method=GET :path=/c :authority=b:1\n.\n");
    const wrong: string[] = [
      "GET / HTTP/1.0",
      "GET / HTTP/2.0",
      "GET / http/1.1",
      "GET / HTTP/1.1 ",
      "GET /  HTTP/1.1",
      "GET  / HTTP/1.1",
      " GET / HTTP/1.1",
      "GET\t/ HTTP/1.1",
      "GET /",
      "GET",
      "GET ",
      "GET  HTTP/1.1",
      "G@T / HTTP/1.1",
      "GET a HTTP/1.1",
      "GET ** HTTP/1.1",
      "GET http:// HTTP/1.1",
      "GET http:///x HTTP/1.1",
      "GET ftp://a/ HTTP/1.1",
      "CONNECT a:80 HTTP/1.1",
      "GET /\x00 HTTP/1.1",
      "GET /\x7f HTTP/1.1",
      "GET /\xe9 HTTP/1.1",
      "GET /\r HTTP/1.1",
      "PRI * HTTP/2.0",
      "a",
      ":",
    ];
    for (let i = 0; i < wrong.length; i++) expect(firstLine(wrong[i])).toBe("bad", wrong[i]);
  });

  it("reads fields", () => {
    expect(fieldsOf("A-b!#$%&'*+.^_`|~9: c\r\n")).toBe(" a-b!#$%&'*+.^_`|~9=c\n.\n");
    expect(fieldsOf("a:b:c\r\n")).toBe(" a=b:c\n.\n");
    expect(fieldsOf("a: \t \r\n")).toBe(" a=\n.\n");
    expect(fieldsOf("a: b\tc\r\nA: d\r\n")).toBe(" a=b\tc a=d\n.\n");
    expect(fieldsOf("a: 0123456\x8089\xff1234567\t9\r\n")).toBe(" a=0123456\x8089\xff1234567\t9\n.\n");
    expect(fieldsOf("expect: 100-continue\r\n")).toBe(" expect=100-continue\n.\n");
    const wrong: string[] = [
      ": b\r\n",
      "a\r\n",
      "a b\r\n",
      "a : b\r\n",
      " a: b\r\n",
      "a: b\r\n c\r\n",
      "a: b\r\n\tc\r\n",
      "a@: b\r\n",
      "\xe9: b\r\n",
      "a\x00: b\r\n",
      "a: b\x00\r\n",
      "a: b\rc\r\n",
      "a: b\r\r\n",
      "a: b\nc: d\r\n",
      "a: b\n\r\n",
      "a: \x01\r\n",
      "a: \x1f\r\n",
      "a: 012345\x7f789\r\n",
      "a: 0123456789\x0b\r\n",
    ];
    for (let i = 0; i < wrong.length; i++) expect(fieldsOf(wrong[i])).toBe("bad", wrong[i]);
  });

  it("does not wait for the end of a head that is none", () => {
    expect(read("\xda\xbb\xc2\x00")).toBe("bad");
    expect(read("GET /\x7f")).toBe("bad");
    expect(read("GET / HTTP/1.1\r\nhost: a\r\nx: \x00")).toBe("bad");
  });

  it("needs a host, and one only", () => {
    expect(read("GET / HTTP/1.1\r\n\r\n")).toBe("bad");
    expect(read("GET http://a/ HTTP/1.1\r\n\r\n")).toBe("bad");
    expect(fieldsOf("host: a\r\n")).toBe("bad");
    expect(read("GET / HTTP/1.1\r\nhost: a b\r\n\r\n")).toBe("bad");
    expect(read("GET / HTTP/1.1\r\nhost: \xe9\r\n\r\n")).toBe("bad");
  });

  it("leaves no doubt about where a body ends", () => {
    expect(request("content-length: 1\r\n", "x")).toBe(":method=POST :path=/ :authority=a content-length=1\nx.\n");
    const wrong: string[] = [
      "content-length: 1\r\ntransfer-encoding: chunked\r\n",
      "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
      "content-length: 1\r\ncontent-length: 2\r\n",
      "content-length: 1\r\ncontent-length: 1\r\n",
      "content-length: 1, 1\r\n",
      "content-length:\r\n",
      "content-length: +1\r\n",
      "content-length: -1\r\n",
      "content-length: 1 1\r\n",
      "content-length: 0x1\r\n",
      "content-length: 18446744073709551617\r\n",
      "content-length: 1000000000000000000\r\n",
      "transfer-encoding: identity\r\n",
      "transfer-encoding: gzip, chunked\r\n",
      "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
      "transfer-encoding: chunked, chunked\r\n",
      "transfer-encoding: xchunked\r\n",
      "transfer-encoding:\r\n",
      "content-length : 1\r\n",
      "transfer-encoding : chunked\r\n",
    ];
    for (let i = 0; i < wrong.length; i++) expect(request(wrong[i], "x")).toBe("bad", wrong[i]);
  });

  it("reads chunks strictly", () => {
    expect(chunks("0\r\n\r\n")).toBe(".\n");
    expect(chunks("aB\r\n" + "x".repeat(171) + "\r\n00\r\n\r\n")).toBe("x".repeat(171) + ".\n");
    expect(chunks("1;\r\nx\r\n0;e\r\na: b\r\nc\r\n\r\n")).toBe("x.\n");
    const wrong: string[] = [
      "\r\n",
      ";\r\n",
      "g\r\n",
      " 1\r\n",
      "1 \r\n",
      "0x1\r\n",
      "-1\r\n",
      "1\n",
      "1\rx",
      "1;\n",
      "1;\x00\r\n",
      "1;a\rb",
      "0000000000000001\r\n",
      "ffffffffffffffff\r\n",
      "0\r\nx\n",
      "0\r\n x: y\r\n\r\n",
      "0\r\n: y\r\n\r\n",
      "0\r\nx: y\rz",
      "0\r\nx: \x00\r\n\r\n",
      "0\r\n\n",
      "0\r\n\rx",
    ];
    for (let i = 0; i < wrong.length; i++) expect(chunks(wrong[i])).toBe("bad", wrong[i]);
    expect(chunks("1\r\nxy")).toBe("xbad");
    expect(chunks("1\r\nx\n")).toBe("xbad");
    expect(chunks("1\r\nx\rx")).toBe("xbad");
  });

  it("bounds heads, fields, and what is around chunks", () => {
    const fits = "a".repeat(65536 - "POST / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".length);
    expect(request(`x: ${fits}\r\n`).endsWith("a\n.\n")).toBe(true);
    expect(request(`x: a${fits}\r\n`)).toBe("bad");
    expect(request(`x: ${"a".repeat(70_000)}`)).toBe("bad");
    expect(request("a: b\r\n".repeat(125)).endsWith("a=b\n.\n")).toBe(true);
    expect(request("a: b\r\n".repeat(126))).toBe("bad");
    expect(chunks("1;" + "a".repeat(70_000))).toBe("bad");
    expect(chunks("1;aaaaaaa\r\nx\r\n".repeat(10_000)).endsWith("xbad")).toBe(true);
    expect(chunks("0\r\n" + "a".repeat(70_000))).toBe("bad");
    expect(chunks("0\r\n" + "a\r\n".repeat(70_000))).toBe("bad");
    expect(chunks("0\r\n" + "a\r\n".repeat(60_000) + "\r\n")).toBe(".\n");
  });

  it("reads a body longer than 32 bits", () => {
    memory.fill(record, 0, offsetof<Http1Cut>());
    const cut = changetype<Http1Cut>(record);
    const tape = new Tape();
    tape.counts = true;
    const head = bytesOf("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 4294967297\r\n\r\n");
    const body = new Guarded(1 << 20);
    tape.read(cut, head.ptr, head.size);
    for (let i = 0; i < 4096; i++) expect(tape.read(cut, body.ptr, body.size)).toBe(true);
    expect(tape.counted).toBe(4294967296);
    expect(tape.text.endsWith(".\n")).toBe(false);
    expect(tape.read(cut, body.ptr, 1)).toBe(true);
    expect(tape.text.endsWith(".\n")).toBe(true);
    head.free();
    body.free();
  });

  it("stops when a callback says so, wherever it stands", () => {
    const input = bytesOf(SAMPLE);
    for (let patience = 1; patience < 11; patience++) {
      const tape = new Tape();
      tape.patience = patience;
      const told = play(tape, input, input.size);
      expect(SAMPLE_TAPE.startsWith(told)).toBe(true);
      expect(tape.patience).toBe(0, "not one callback more");
      tape.patience = patience;
      play(tape, input, 5);
      expect(tape.patience).toBe(0);
    }
    input.free();
  });

  it("reads nothing outside of the input, whatever the input, and says the same however it arrives", () => {
    const random = new Random(11);
    const sample = bytesOf(SAMPLE);
    const tape = new Tape();
    let bad = 0;
    for (let round = 0; round < 1500; round++) {
      const input = Guarded.copy(sample.ptr, random.below(sample.size + 1));
      for (let changes = random.below(3); changes > 0 && input.size > 0; changes--) {
        store<u8>(input.ptr + random.below(input.size), random.below(256) as u8);
      }
      const first = play(tape, input, max<u32>(1, input.size), 10);
      expect(play(tape, input, 1 + random.below(40), 13)).toBe(first, hexOf(input.ptr, input.size));
      if (first.endsWith("bad")) bad++;
      input.free();
    }
    expect(bad).toBeGreaterThan(300);
    expect(bad).toBeLessThan(1400);
    sample.free();
  });
});

describe("Http1", () => {
  it("writes the head of a response", () => {
    const sink = new Sink();
    const name = Slice.of("content-length");
    const value = Slice.of("12");
    Http1.status(sink, 503);
    Http1.header(sink, name.ptr, name.size, value.ptr, value.size);
    Http1.header(sink, value.ptr, 1, value.ptr, 0);
    Http1.end(sink);
    expect(String.UTF8.decodeUnsafe(sink.ptr, sink.size)).toBe("HTTP/1.1 503 \r\ncontent-length: 12\r\n1: \r\n\r\n");
  });

  it("writes chunks, which its reader reads", () => {
    const sizes: u32[] = [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 0xabcde, 0x100000];
    const body = new Guarded(0x100000);
    const sink = new Sink(4 << 20);
    const head = Slice.of("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    sink.bytes(head.ptr, head.size);
    let all: u64 = 0;
    for (let i = 0; i < sizes.length; i++) {
      const from = sink.size;
      Http1.chunk(sink, body.ptr, sizes[i]);
      const size = sizes[i].toString(16) + "\r\n";
      expect(latin1(sink.ptr + from, size.length)).toBe(size);
      all += sizes[i];
    }
    Http1.lastChunk(sink);
    const written = Guarded.copy(sink.ptr, sink.size);
    const tape = new Tape();
    tape.counts = true;
    expect(play(tape, written, written.size).endsWith("\n.\n")).toBe(true);
    expect(tape.counted).toBe(all);
    written.free();
    body.free();
  });
});
