import { Frame } from "../codec/frame";
import { Condition, Exact, Matcher, Not, OneOf, Pattern, Prefix, Present, Range, Rule, Suffix } from "../filter/match";
import { Regex } from "../wire/regex";
import { Slice } from "../wire/slice";
import { Guarded } from "./util";

function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

function matches(matcher: Matcher, text: string): bool {
  const input = Guarded.text(text);
  const slice = Slice.make();
  slice.set(input.ptr, input.size);
  input.guard(0x61);
  const first = matcher.matches(slice);
  input.guard(0x39);
  const second = matcher.matches(slice);
  expect(second).toBe(first, "bytes outside of the value were read");
  input.free();
  return second;
}

function matchesAbsent(matcher: Matcher): bool {
  return matcher.matches(Slice.make());
}

describe("matchers", () => {
  it("exact", () => {
    const matcher = new Exact(utf8("aé"));
    expect(matches(matcher, "aé")).toBe(true);
    expect(matches(matcher, "a")).toBe(false);
    expect(matches(matcher, "aéb")).toBe(false);
    expect(matches(matcher, "Aé")).toBe(false);
    expect(matches(matcher, "")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
    expect(matches(new Exact(utf8("")), "")).toBe(true);
    expect(matches(new Exact(utf8("")), "a")).toBe(false);
    expect(matchesAbsent(new Exact(utf8("")))).toBe(false, "absent is not empty");
  });

  it("prefix", () => {
    const matcher = new Prefix(utf8("gray"));
    expect(matches(matcher, "gray")).toBe(true);
    expect(matches(matcher, "gray-1")).toBe(true);
    expect(matches(matcher, "gra")).toBe(false);
    expect(matches(matcher, "agray")).toBe(false);
    expect(matches(matcher, "")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
    expect(matches(new Prefix(utf8("aaa")), "aa")).toBe(false, "even where an a stands behind the value");
    expect(matches(new Prefix(utf8("")), "")).toBe(true);
    expect(matchesAbsent(new Prefix(utf8("")))).toBe(false);
  });

  it("suffix", () => {
    const matcher = new Suffix(utf8(".v2"));
    expect(matches(matcher, ".v2")).toBe(true);
    expect(matches(matcher, "a.v2")).toBe(true);
    expect(matches(matcher, "v2")).toBe(false);
    expect(matches(matcher, ".v2a")).toBe(false);
    expect(matches(matcher, "")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
    expect(matches(new Suffix(utf8("aaa")), "aa")).toBe(false, "even where an a stands before the value");
    expect(matches(new Suffix(utf8("")), "x")).toBe(true);
  });

  it("one of", () => {
    const matcher = new OneOf([new Exact(utf8("a")), new Exact(utf8("")), new Exact(utf8("bc"))]);
    expect(matches(matcher, "a")).toBe(true);
    expect(matches(matcher, "bc")).toBe(true);
    expect(matches(matcher, "")).toBe(true);
    expect(matches(matcher, "b")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
    expect(matches(new OneOf([]), "")).toBe(false);
  });

  it("present", () => {
    expect(matches(new Present(true), "a")).toBe(true);
    expect(matches(new Present(true), "")).toBe(true);
    expect(matchesAbsent(new Present(true))).toBe(false);
    expect(matches(new Present(false), "a")).toBe(false);
    expect(matches(new Present(false), "")).toBe(false);
    expect(matchesAbsent(new Present(false))).toBe(true);
  });

  it("not, in any depth", () => {
    const exact = new Exact(utf8("a"));
    expect(matches(new Not(exact), "a")).toBe(false);
    expect(matches(new Not(exact), "b")).toBe(true);
    expect(matchesAbsent(new Not(exact))).toBe(true);
    expect(matches(new Not(new Not(exact)), "a")).toBe(true);
    expect(matchesAbsent(new Not(new Not(exact)))).toBe(false);
    expect(matches(new Not(new Not(new Not(exact))), "a")).toBe(false);
    expect(matchesAbsent(new Not(new Present(true)))).toBe(true);
  });

  it("regex, the whole value", () => {
    const matcher = new Pattern(Regex.compile("a+b?")!);
    expect(matches(matcher, "aab")).toBe(true);
    expect(matches(matcher, "aabb")).toBe(false);
    expect(matches(matcher, "xa")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
    expect(matchesAbsent(new Pattern(Regex.compile(".*")!))).toBe(false);
  });

  it("range, both ends included", () => {
    const matcher = new Range(-5, 10);
    expect(matches(matcher, "-5")).toBe(true);
    expect(matches(matcher, "10")).toBe(true);
    expect(matches(matcher, "0")).toBe(true);
    expect(matches(matcher, "-0")).toBe(true);
    expect(matches(matcher, "007")).toBe(true);
    expect(matches(matcher, "-6")).toBe(false);
    expect(matches(matcher, "11")).toBe(false);
    expect(matchesAbsent(matcher)).toBe(false);
  });

  it("range, as far as 64 bits go", () => {
    const all = new Range(i64.MIN_VALUE, i64.MAX_VALUE);
    expect(matches(all, "9223372036854775807")).toBe(true);
    expect(matches(all, "-9223372036854775808")).toBe(true);
    expect(matches(all, "-9223372036854775807")).toBe(true);
    expect(matches(all, "9223372036854775808")).toBe(false);
    expect(matches(all, "-9223372036854775809")).toBe(false);
    expect(matches(all, "9999999999999999999")).toBe(false);
    expect(matches(all, "18446744073709551617")).toBe(false);
    expect(matches(all, "100000000000000000000000000000000000001")).toBe(false);
    const least = new Range(i64.MIN_VALUE, i64.MIN_VALUE);
    expect(matches(least, "-9223372036854775808")).toBe(true);
    expect(matches(least, "-9223372036854775807")).toBe(false);
    const most = new Range(i64.MAX_VALUE, i64.MAX_VALUE);
    expect(matches(most, "9223372036854775807")).toBe(true);
    expect(matches(most, "9223372036854775806")).toBe(false);
  });

  it("range, of nothing but decimal digits", () => {
    const all = new Range(i64.MIN_VALUE, i64.MAX_VALUE);
    const garbage: string[] = [
      "",
      "-",
      "--1",
      "+1",
      " 1",
      "1 ",
      "1.0",
      "1e3",
      "0x10",
      "1,000",
      "-1-",
      "a",
      "é",
      "１",
      "1/",
      "1:",
    ];
    for (let i = 0; i < garbage.length; i++) expect(matches(all, garbage[i])).toBe(false, garbage[i]);
  });
});

describe("rules", () => {
  it("hold when all conditions do, on service, method and metadata", () => {
    const frame = Frame.make();
    const key = Slice.of("tag");
    const value = Slice.of("gray");
    frame.method.point(Slice.of("login"));
    frame.add(key, value);

    const rule = new Rule(utf8("logins"), utf8("greeter|v2"));
    expect(rule.matches(frame)).toBe(true, "no conditions at all");
    rule.conditions.push(new Condition("method", new Exact(utf8("login"))));
    expect(rule.matches(frame)).toBe(true);
    rule.conditions.push(new Condition("service", new Present(false)));
    expect(rule.matches(frame)).toBe(true);
    expect(rule.needsMetadata).toBe(false);
    rule.conditions.push(new Condition("tag", new Prefix(utf8("gr"))));
    expect(rule.matches(frame)).toBe(true);
    expect(rule.needsMetadata).toBe(true);
    rule.conditions.push(new Condition("ta", new Present(false)));
    expect(rule.matches(frame)).toBe(true);
    frame.service.point(Slice.of(""));
    expect(rule.matches(frame)).toBe(false, "an empty service is there");
  });

  it("take the first of two values of a key", () => {
    const frame = Frame.make();
    frame.add(Slice.of("tag"), Slice.of("first"));
    frame.add(Slice.of("tag"), Slice.of("second"));
    expect(new Condition("tag", new Exact(utf8("first"))).matches(frame)).toBe(true);
    expect(new Condition("tag", new Exact(utf8("second"))).matches(frame)).toBe(false);
  });

  it("read service and method of the frame, not metadata of the same name", () => {
    const frame = Frame.make();
    frame.method.point(Slice.of("real"));
    frame.add(Slice.of("method"), Slice.of("fake"));
    frame.add(Slice.of("service"), Slice.of("fake"));
    expect(new Condition("method", new Exact(utf8("real"))).matches(frame)).toBe(true);
    expect(new Condition("service", new Present(true)).matches(frame)).toBe(false);
  });
});

describe("Frame", () => {
  it("writes numbers in decimal, as far as 64 bits go", () => {
    const frame = Frame.make();
    const slice = Slice.make();
    const numbers: StaticArray<i64> = [0, 1, -1, 9, 10, -10, 1234567890123, i64.MAX_VALUE, i64.MIN_VALUE];
    for (let i = 0; i < numbers.length; i++) {
      frame.decimal(slice, numbers[i]);
      expect(slice.text()).toBe(numbers[i].toString());
    }
    expect(frame.metadataDropped).toBe(false);
  });

  it("keeps what was written until it is full, says so then, and starts again with reset()", () => {
    const frame = Frame.make();
    const slices: Slice[] = [];
    let room = 0;
    while (!frame.metadataDropped && room < 1000) {
      const slice = Slice.make();
      frame.decimal(slice, i64.MIN_VALUE + room++);
      if (!frame.metadataDropped) slices.push(slice);
      else expect(slice.ptr).toBe(0);
    }
    expect(slices.length).toBeGreaterThan(20);
    expect(room).toBe(slices.length + 1);
    for (let i = 0; i < slices.length; i++) expect(slices[i].text()).toBe((i64.MIN_VALUE + i).toString());
    frame.reset();
    expect(frame.metadataDropped).toBe(false);
    frame.decimal(slices[0], 7);
    expect(slices[0].text()).toBe("7");
  });

  it("keeps 64 entries of metadata and says when there are more", () => {
    const frame = Frame.make();
    const value = Slice.of("v");
    for (let i = 0; i < 64; i++) frame.add(Slice.of(i.toString()), value);
    expect(frame.metadataDropped).toBe(false);
    expect(frame.metadataCount).toBe(64);
    frame.add(Slice.of("one more"), value);
    expect(frame.metadataDropped).toBe(true);
    expect(frame.metadataCount).toBe(64);
    const last = Slice.of("63");
    expect(frame.find(last.ptr, last.size).text()).toBe("v");
    const none = Slice.of("one more");
    expect(frame.find(none.ptr, none.size).ptr).toBe(0);
  });

  it("forgets everything but its side", () => {
    const frame = Frame.make();
    frame.side = 1;
    frame.kind = 5;
    frame.id = u64.MAX_VALUE;
    frame.length = u64.MAX_VALUE;
    frame.status = 8;
    frame.code = -1;
    frame.deadline = 9;
    frame.token = 3;
    frame.service.point(Slice.of("s"));
    frame.method.point(Slice.of("m"));
    frame.outcome.point(Slice.of("o"));
    frame.metadataDropped = true;
    frame.add(Slice.of("k"), Slice.of("v"));
    frame.reset();
    expect(frame.side).toBe(1);
    expect(frame.kind).toBe(0);
    expect(frame.id).toBe(0);
    expect(frame.length).toBe(0);
    expect(frame.status).toBe(0);
    expect(frame.code).toBe(0);
    expect(frame.deadline).toBe(0);
    expect(frame.token).toBe(0);
    expect(frame.service.ptr | frame.method.ptr | frame.outcome.ptr).toBe(0);
    expect(frame.service.size | frame.method.size | frame.outcome.size).toBe(0);
    expect(frame.metadataCount).toBe(0);
    expect(frame.metadataDropped).toBe(false);
  });
});
