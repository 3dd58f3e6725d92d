import { Changes } from "../codec/changes";
import { Frame } from "../codec/frame";
import { HeaderRule } from "../filter/headers";
import { Headers } from "../http/headers";
import { Slice } from "../wire/slice";
import { same } from "./tape";
import { Guarded, Random } from "./util";

const frame = Frame.make();
const headers = new Headers();
const changes = new Changes();

/** A frame with those keys and values, and no headers. */
function metadata(pairs: string[]): void {
  frame.reset();
  headers.clear();
  for (let i = 0; i < pairs.length; i += 2) frame.add(Slice.of(pairs[i]), Slice.of(pairs[i + 1]));
}

/** Adds a header. Like a decoder, without an address where there is no value. */
function header(name: string, value: string): void {
  const key = Slice.of(name);
  const text = Slice.of(value);
  headers.add(key.ptr, key.size, text.size ? text.ptr : 0, text.size);
}

/** Copies what header() names, since it is good until the next call only. */
function copied(slice: Slice): Guarded {
  return Guarded.copy(slice.ptr, slice.size);
}

/** Turns the frame's metadata into headers, as they come out behind Envoy. */
function lift(): void {
  for (let i: u32 = 0; i < frame.metadataCount; i++) {
    const name = HeaderRule.header(frame, i);
    if (!name.ptr) continue;
    const value = frame.value(i);
    const copy = copied(name);
    headers.add(copy.ptr, copy.size, value.size ? value.ptr : 0, value.size);
  }
}

/** What Envoy adds to every request and reply. */
function envoys(): void {
  header("host", "example");
  header("content-type", "application/vnd.meltemi.dubbo");
  header("grpc-timeout", "100m");
  header("te", "trailers");
  header("x-forwarded-proto", "http");
  header("x-request-id", "8f0e2b9c");
  header("tracestate", "");
  header("x-envoy-expected-rq-timeout-ms", "15000");
  header("date", "Sat, 01 Jan 2000 00:00:00 GMT");
  header("server", "envoy");
  header("via", "1.1 envoy");
  header("transfer-encoding", "chunked");
  header("content-length", "7");
  header("meltemi-status", "exception");
}

/** All changes in one line: `key=value` or `-key`. */
function changed(): string {
  const any = HeaderRule.changes(frame, headers, changes);
  same(any, changes.count > 0, "whether there are any");
  let text = "";
  for (let i: u32 = 0; i < changes.count; i++) {
    const value = changes.value(i);
    const key = changes.key(i).text();
    text += (i ? " " : "") + (value.ptr ? `${key}=${value.text()}` : `-${key}`);
  }
  return text;
}

function nameOf(key: string): string {
  const name = HeaderRule.name(Slice.of(key));
  return name.ptr ? name.text() : "none";
}

function fits(value: string): bool {
  return HeaderRule.fits(Slice.of(value));
}

describe("names of headers", () => {
  it("are keys in lower case", () => {
    expect(nameOf("dubbo.tag")).toBe("dubbo.tag");
    expect(nameOf("EagleEye-TraceID")).toBe("eagleeye-traceid");
    expect(nameOf("_a!#$%&'*+.^`|~9")).toBe("_a!#$%&'*+.^`|~9");
    const trace: string[] = ["traceparent", "tracestate", "b3", "x-b3-traceid", "x-request-id"];
    for (let i = 0; i < trace.length; i++) expect(nameOf(trace[i])).toBe(trace[i]);
  });

  it("have a prefix where HTTP or Envoy would understand them", () => {
    const reserved: string[] = [
      "host,connection,content-length,content-type,transfer-encoding,upgrade,keep-alive,proxy-connection,te,trailer",
      "expect,date,server,via,cookie,grpc-timeout,x-envoy-,x-envoy-retry-on,x-forwarded-for,meltemi-,meltemi-status",
    ]
      .join(",")
      .split(",");
    for (let i = 0; i < reserved.length; i++) {
      expect(nameOf(reserved[i])).toBe("meltemi-" + reserved[i]);
      expect(nameOf(reserved[i].toUpperCase())).toBe("meltemi-" + reserved[i]);
    }
    const free: string[] = ["hos", "hostx", "x-envoy", "x-forwarded", "x-envo-y", "meltemi", "tea", "t", "x"];
    for (let i = 0; i < free.length; i++) expect(nameOf(free[i])).toBe(free[i]);
  });

  it("are tokens, and not too long", () => {
    const none: string[] = ["", ":path", "a b", "a\r", "a\n", "a\0", "é", "a,b", "a/b", 'a"', "a(", "a\x7f"];
    for (let i = 0; i < none.length; i++) expect(nameOf(none[i])).toBe("none", none[i]);
    expect(nameOf("x".repeat(248))).toBe("x".repeat(248));
    expect(nameOf("x".repeat(249))).toBe("none");
    expect(nameOf("x-envoy-" + "x".repeat(240)).length).toBe(256);
  });
});

describe("values of headers", () => {
  it("are visible, with blanks inside only", () => {
    const good: string[] = ["", "gray", "a b\tc", "é漢🍵", "x".repeat(10_000), "a=b; c", '"'];
    for (let i = 0; i < good.length; i++) expect(fits(good[i])).toBe(true, good[i]);
    const bad: string[] = [
      " a",
      "a ",
      "\ta",
      "a\t",
      " ",
      "a\nb",
      "a\rb",
      "a\0b",
      "a\x7fb",
      "a\x1fb",
      "x".repeat(40_000),
    ];
    for (let i = 0; i < bad.length; i++) expect(fits(bad[i])).toBe(false, bad[i]);
    const broken: string[] = ["ff", "61c3", "eda0bcedbdb5", "c0af"];
    for (let i = 0; i < broken.length; i++) {
      const bytes = Guarded.hex(broken[i]);
      const slice = Slice.make();
      slice.set(bytes.ptr, bytes.size);
      expect(HeaderRule.fits(slice)).toBe(false, broken[i]);
    }
    expect(HeaderRule.fits(Slice.make())).toBe(false, "no value at all");
  });

  it("are left out where they would be more than Envoy takes", () => {
    metadata(["a", "x".repeat(20_000), "b", "y".repeat(20_000), "c", "z".repeat(10_000), "d", "last"]);
    lift();
    let names = "";
    for (let i: u32 = 0; i < headers.count; i++) names += headers.name(i).text();
    expect(names).toBe("acd");
    expect(changed()).toBe("");
  });
});

describe("changes", () => {
  it("are what routes did to the headers", () => {
    metadata(["interface", "a.B", "Tag", "gray", "timeout", "3000", "host", "h1", "old", "1"]);
    header(":method", "POST");
    header(":path", "/a.B/m");
    envoys();
    header("interface", "a.B");
    header("tag", "blue");
    header("meltemi-host", "h2");
    header("timeout", "3000");
    header("traceparent", "00-0af7-b7ad-01");
    header("x-b3-sampled", "1");
    header("new", "");
    header("meltemi-via", "x");
    header("meltemi-meltemi-status", "y");
    header("meltemi-unknown", "z");
    expect(changed()).toBe(
      "Tag=blue host=h2 -old traceparent=00-0af7-b7ad-01 x-b3-sampled=1 new= via=x meltemi-status=y",
    );
  });

  it("are none where Envoy only added its own", () => {
    metadata(["interface", "a.B", "sw8", "", "x-request-id", "8f0e2b9c"]);
    lift();
    headers.count--;
    envoys();
    expect(changed()).toBe("");
  });

  it("follow Envoy's request id only where the frame has one", () => {
    metadata(["x-request-id", "mine"]);
    envoys();
    expect(changed()).toBe("x-request-id=8f0e2b9c");
    metadata(["x-request-id", "no\nheader"]);
    envoys();
    expect(changed()).toBe("");
  });

  it("keep what could not be a header, unless there is one now", () => {
    metadata(["a", "two\nlines", "b c", "1", "d", " blank"]);
    expect(changed()).toBe("");
    header("d", "set");
    expect(changed()).toBe("d=set");
    metadata(["D", " blank", "d", "1"]);
    header("d", "2");
    expect(changed()).toBe("d=2", "the key that was the header");
  });

  it("never take away what may be there unseen", () => {
    metadata(["a", "1", "b", "2"]);
    frame.metadataDropped = true;
    header("b", "3");
    expect(changed()).toBe("b=3");
  });

  it("are none for keys that differ in case, however HTTP hands their values on", () => {
    metadata(["A", "1", "a", "2", "b", "3", "B", ""]);
    header("a", "1");
    header("b", "3");
    header("a", "2");
    header("b", "");
    expect(changed()).toBe("");
    headers.clear();
    header("a", "1,2");
    header("b", "3");
    expect(changed()).toBe("");
    headers.clear();
    header("a", "5");
    expect(changed()).toBe("A=5 -a -b -B");
  });

  it("join several values of one name", () => {
    metadata(["a", "1", "b", "1"]);
    header("a", "1");
    header("new", "x");
    header("a", "2");
    header("b", "1");
    header("new", "");
    header("a", "");
    header("new", "y");
    header("a", "3");
    expect(changed()).toBe("a=1,2,3 new=x,y");
  });

  it("leave alone what headers say that metadata cannot", () => {
    metadata(["a", "1", "b", "2"]);
    const broken = Guarded.hex("ff");
    headers.add(Slice.of("a").ptr, 1, broken.ptr, 1);
    headers.add(Slice.of("c").ptr, 1, broken.ptr, 1);
    header("b", "2");
    expect(changed()).toBe("");
  });

  it("are no more than are noted", () => {
    metadata([]);
    for (let i = 0; i < 128; i++) header("k" + i.toString(), "v");
    expect(changed().split(" ").length).toBe(64);
  });
});

const random = new Random(42);
const KEYS: string[] =
  "a,A,b,B,tag,Tag,TAG,host,Host,via,meltemi-host,meltemi-meltemi-host,x-request-id,b3,x-b3-traceid,x-envoy-a,te,:path,a b,é,".split(
    ",",
  );
const VALUES: string[] = ["", "1", "2", "gray", "1,2", ",", " x", "x ", "a\nb", "é漢", "\0", "x".repeat(300), "\x7f"];

function randomMetadata(most: u32): void {
  const pairs: string[] = [];
  for (let count = random.below(most); count > 0; count--) {
    pairs.push(KEYS[random.below(KEYS.length)]);
    pairs.push(VALUES[random.below(VALUES.length)]);
  }
  metadata(pairs);
}

/** Joins the values of some names, as Envoy does with names that it knows. */
function joinSome(): void {
  const all = headers.count;
  const names: string[] = [];
  const values: string[] = [];
  for (let i: u32 = 0; i < all; i++) {
    const name = headers.name(i).text();
    const value = headers.value(i).size ? headers.value(i).text() : "";
    const at = name.charCodeAt(0) & 1 ? names.indexOf(name) : -1;
    if (at < 0) {
      names.push(name);
      values.push(value);
    } else if (value.length) {
      values[at] = values[at].length ? values[at] + "," + value : value;
    }
  }
  headers.clear();
  for (let i = 0; i < names.length; i++) header(names[i], values[i]);
}

/** The frame as it is once the changes are written into it. */
function apply(): void {
  const before: string[] = [];
  const done: string[] = [];
  for (let i: u32 = 0; i < frame.metadataCount; i++) {
    const key = frame.key(i).text();
    const at = changes.find(frame.key(i));
    if (at >= 0 && (!changes.value(at).ptr || done.includes(key))) continue;
    if (at >= 0) done.push(key);
    before.push(key);
    before.push(at < 0 ? frame.value(i).text() : changes.value(at).text());
  }
  for (let i: u32 = 0; i < changes.count; i++) {
    const key = changes.key(i).text();
    if (!changes.value(i).ptr || done.includes(key)) continue;
    before.push(key);
    before.push(changes.value(i).text());
  }
  frame.reset();
  for (let i = 0; i < before.length; i += 2) frame.add(Slice.of(before[i]), Slice.of(before[i + 1]));
}

describe("whatever the metadata", () => {
  it("a frame that nobody changed has no changes", () => {
    for (let round = 0; round < 4000; round++) {
      randomMetadata(round % 100 ? 10 : 64);
      lift();
      if (random.below(2)) joinSome();
      // A header of the frame's own comes before Envoy's.
      if (frame.find(Slice.of("x-request-id").ptr, 12).ptr == 0) envoys();
      const text = changed();
      if (text.length) same(text, "", "round " + round.toString());
    }
  });

  it("the same holds for random bytes", () => {
    for (let round = 0; round < 2000; round++) {
      frame.reset();
      headers.clear();
      for (let count = random.below(12); count > 0; count--) {
        const key = Slice.make();
        const value = Slice.make();
        const bytes = new Guarded(40);
        for (let i: u32 = 0; i < 40; i++) store<u8>(bytes.ptr + i, random.below(random.below(8) ? 128 : 256) as u8);
        key.set(bytes.ptr, random.below(4));
        value.set(bytes.ptr + 8, random.below(10));
        frame.add(key, value);
      }
      lift();
      same(changed(), "", "round " + round.toString());
    }
  });

  it("a frame that was changed says what the headers say", () => {
    let any = 0;
    for (let round = 0; round < 3000; round++) {
      randomMetadata(10);
      lift();
      for (let edits = random.below(4); edits > 0; edits--) {
        const i = headers.count ? random.below(headers.count) : 0;
        const what = headers.count ? random.below(3) : 2;
        const value = Slice.of(VALUES[random.below(VALUES.length)]);
        if (what == 0) headers.value(i).point(value);
        else if (what == 1) headers.name(i).point(Slice.of("x-envoy-was-there"));
        else if (headers.count < 100) header(["tag", "new", "x-b3-new", "meltemi-host"][random.below(4)], "new");
      }
      if (changed().length) any++;
      apply();
      const text = changed();
      if (text.length) same(text, "", "round " + round.toString());
    }
    expect(any).toBeGreaterThan(1000);
  });

  it("nothing is allocated", () => {
    randomMetadata(64);
    lift();
    header("new", "1");
    HeaderRule.changes(frame, headers, changes);
    const pages = memory.size();
    for (let i = 0; i < 5000; i++) HeaderRule.changes(frame, headers, changes);
    expect(memory.size()).toBe(pages);
  });
});
