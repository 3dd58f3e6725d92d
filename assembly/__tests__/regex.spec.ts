import { Regex } from "../wire/regex";
import { Guarded, Random } from "./util";

/** The pattern, which must be right. */
function compile(pattern: string): Regex {
  const regex = Regex.compile(pattern);
  expect(Regex.error).toBe("", pattern);
  return regex === null ? Regex.compile("")! : regex;
}

/** With one guard and with another: bytes outside of the value must not matter. */
function matchesBytes(regex: Regex, value: Guarded): bool {
  value.guard(0x61);
  const first = regex.matches(value.ptr, value.size);
  value.guard(0x80);
  const same = regex.matches(value.ptr, value.size) == first;
  // Only then, because a comparison costs more than the rest.
  if (!same) expect(same).toBe(true, "bytes outside of the value were read");
  return first;
}

function matches(pattern: string, value: string): bool {
  const bytes = Guarded.text(value);
  const result = matchesBytes(compile(pattern), bytes);
  bytes.free();
  return result;
}

function matchesHex(pattern: string, hex: string): bool {
  const bytes = Guarded.hex(hex);
  const result = matchesBytes(compile(pattern), bytes);
  bytes.free();
  return result;
}

/** Every value of the first list matches, none of the second does. */
function check(pattern: string, yes: string[], no: string[]): void {
  for (let i = 0; i < yes.length; i++) expect(matches(pattern, yes[i])).toBe(true, `${pattern} on '${yes[i]}'`);
  for (let i = 0; i < no.length; i++) expect(matches(pattern, no[i])).toBe(false, `${pattern} on '${no[i]}'`);
}

function wrong(pattern: string): string {
  const regex = Regex.compile(pattern);
  expect(regex === null).toBe(Regex.error.length > 0, "a regular expression, or an error");
  return Regex.error;
}

describe("Regex.matches", () => {
  it("matches the whole value", () => {
    check("abc", ["abc"], ["", "ab", "abcd", "xabc", "abd", "ABC"]);
    check("", [""], ["a", "\n"]);
    check("^abc$", ["abc"], ["xabc", "abcx", "^abc$"]);
    check("^", [""], ["a"]);
    check("$", [""], ["a"]);
    check("^a|b$", ["a", "b"], ["ab", "ax", "xb"]);
  });

  it("repeats", () => {
    check("a*", ["", "a", "aaaa"], ["b", "aab"]);
    check("a+b", ["ab", "aaab"], ["b", "a", "aabb"]);
    check("colou?r", ["color", "colour"], ["colouur"]);
    check("a{3}", ["aaa"], ["", "aa", "aaaa"]);
    check("a{2,}", ["aa", "aaaaaa"], ["", "a"]);
    check("a{2,4}", ["aa", "aaa", "aaaa"], ["a", "aaaaa"]);
    check("a{0}b", ["b"], ["ab"]);
    check("a{0,}", ["", "aaa"], ["b"]);
    check("a{0,1}", ["", "a"], ["aa"]);
    check("(ab){2}c", ["ababc"], ["abc", "abababc"]);
    check("(a|b{2}){1,2}", ["a", "bb", "abb", "bba", "bbbb"], ["b", "", "aaa"]);
    check("a{1000}", ["a".repeat(1000)], ["a".repeat(999), "a".repeat(1001)]);
  });

  it("chooses", () => {
    check("1|2", ["1", "2"], ["", "12", "3", "|"]);
    check("cat|dog|", ["cat", "dog", ""], ["catdog", "c"]);
    check("|a", ["", "a"], ["b"]);
    check("a(b|c)*d", ["ad", "abd", "acbcd"], ["abc", "aed"]);
    check("(?:get|list)[A-Z].*", ["getUser", "listAll"], ["get", "getuser", "putUser"]);
    check("((a))|(b(c|d(e)))", ["a", "bc", "bde"], ["b", "bd"]);
  });

  it("ends for repetitions of what may be empty", () => {
    check("(a*)*", ["", "aaa"], ["b"]);
    check("(a*)+b", ["b", "aab"], ["a"]);
    check("(|a)+", ["", "aa"], ["b"]);
    check("()*", [""], ["a"]);
    check("(()){1000}", [""], ["a"]);
    check("((((){1000}){1000}){1000}){1000}a", ["a"], ["", "aa"]);
    check("(a{0}){1000}", [""], ["a"]);
    check("(a?){50}a{50}", ["a".repeat(50), "a".repeat(100)], ["a".repeat(49), "a".repeat(101)]);
  });

  it("knows sets", () => {
    check("[abc]", ["a", "b", "c"], ["", "d", "ab"]);
    check("[a-cx-z]+", ["abcxyz"], ["d", "w", "-"]);
    check("[^a-c]", ["d", "\n", "^", "漢"], ["a", "b", "c", ""]);
    check("[a-]+", ["a-"], ["b"]);
    check("[-a]+", ["a-"], ["b"]);
    check("[a^]+", ["a^"], ["b"]);
    check("[.*+?(){}|$]+", [".*+?(){}|$"], ["a"]);
    check("[\\]\\\\\\-]+", ["]\\-"], ["a"]);
    check("[\\d.]+", ["1.25"], ["a"]);
    check("[^\\d\\s]+", ["ab"], ["a1", "a b"]);
    check("[\\D]", ["a"], ["1"]);
    check("[\\w\\W]", ["a", " ", "\n"], [""]);
    check("[^\\w\\W]", [], ["a", " ", "\n", ""]);
    check("[b-da-c]+", ["abcd"], ["e"]);
    check("[\\x41-\\x43]+", ["ABC"], ["D"]);
    check("[\\t-\\r]", ["\n"], ["t", "r"]);
    check("]}", ["]}"], ["]"]);
  });

  it("knows the usual escapes", () => {
    check("\\d+", ["0123456789"], ["a", "", "٣"]);
    check("\\D+", ["a/:é"], ["1", "0", "9", ""]);
    check("\\w+", ["azAZ09_"], ["-", "é", "`", "@", "[", "{"]);
    check("\\W+", ["-é`@[{ "], ["a", "Z", "_", "5"]);
    check("\\s+", [" \t\n\v\f\r"], ["a", "\b"]);
    check("\\S+", ["a\b"], [" ", "\t", "\r"]);
    check("\\t\\n\\v\\f\\r", ["\t\n\v\f\r"], ["tnvfr"]);
    check("\\x41\\x7a\\x7A", ["Azz"], ["x41"]);
    check("\\.\\*\\+\\?\\(\\)\\[\\]\\{\\}\\|\\^\\$\\\\\\/\\-", [".*+?()[]{}|^$\\/-"], [""]);
  });

  it("counts code points", () => {
    check(".", ["a", "é", "漢", "😀"], ["", "ab", "\n"]);
    check("é+", ["éé"], ["e", "è"]);
    check("[à-ÿ]", ["é"], ["z", "漢"]);
    check("[^a]", ["é", "😀"], ["a"]);
    check("😀{2}", ["😀😀"], ["😀", "😀😀😀"]);
    check("[😀-😂]", ["😀", "😁"], ["😃", "漢"]);
  });

  it("takes a byte that is not UTF-8 as one character", () => {
    expect(matchesHex(".", "ff")).toBe(true);
    expect(matchesHex("..", "c328")).toBe(true);
    expect(matchesHex("...", "eda080")).toBe(true);
    expect(matchesHex("a.", "61e6")).toBe(true);
    expect(matchesHex("[^x]{2}", "e6bc")).toBe(true);
    expect(matchesHex("\uFFFD", "80")).toBe(true);
    expect(matchesHex("[a-z]", "80")).toBe(false);
  });

  it("matches what people write into routes", () => {
    check(
      "com\\.acme\\.(user|order)\\..*Service",
      ["com.acme.user.v1.LoginService", "com.acme.order.Service"],
      ["com.acme.UserService"],
    );
    check("v[0-9]+(\\.[0-9]+){0,2}", ["v1", "v1.2", "v1.2.3"], ["v", "v1.", "v1.2.3.4"]);
    check(
      "(25[0-5]|2[0-4]\\d|1?\\d?\\d)(\\.(25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}",
      ["10.1.255.0"],
      ["10.1.256.0", "1.2.3"],
    );
  });

  it("takes a time proportional to the value, where backtracking would never end", () => {
    const value = Guarded.text("a".repeat(20_000) + "!");
    expect(matchesBytes(compile("(a*)*b"), value)).toBe(false);
    expect(matchesBytes(compile("(a|a)*"), value)).toBe(false);
    expect(matchesBytes(compile("(.*)(.*)(.*)(.*)x"), value)).toBe(false);
    expect(matchesBytes(compile("(a|aa)+!"), value)).toBe(true);
    value.free();
  });
});

describe("Regex.compile", () => {
  it("says what is wrong and where", () => {
    expect(wrong("a(b")).toBe("'(' without ')', at character 2");
    expect(wrong("ab)")).toBe("')' without '(', at character 3");
    expect(wrong("a[b")).toBe("'[' without ']', at character 2");
    expect(wrong("a[b-")).toBe("'[' without ']', at character 2");
    expect(wrong("[]a]")).toBe("expected a character; write \\] for a ']', at character 2");
    expect(wrong("[^]")).toBe("expected a character; write \\] for a ']', at character 3");
    expect(wrong("[z-a]")).toBe("a range whose end is before its beginning, at character 2");
    expect(wrong("[\\d-z]")).toBe("a range between more than two characters, at character 2");
    expect(wrong("[a-\\w]")).toBe("a range between more than two characters, at character 2");
    expect(wrong("a|*")).toBe(
      "nothing to repeat; write a backslash before a character that means itself, at character 3",
    );
    expect(wrong("(+)")).toBe(
      "nothing to repeat; write a backslash before a character that means itself, at character 2",
    );
    expect(wrong("^?")).toBe(
      "nothing to repeat; write a backslash before a character that means itself, at character 2",
    );
    expect(wrong("{2}")).toBe(
      "nothing to repeat; write a backslash before a character that means itself, at character 1",
    );
    expect(wrong("a{")).toBe("expected {m}, {m,} or {m,n}, at character 2");
    expect(wrong("a{,2}")).toBe("expected {m}, {m,} or {m,n}, at character 2");
    expect(wrong("a{2,x}")).toBe("expected {m}, {m,} or {m,n}, at character 2");
    expect(wrong("a{2")).toBe("expected {m}, {m,} or {m,n}, at character 2");
    expect(wrong("a{3,2}")).toBe("the larger number first, at character 2");
    expect(wrong("a\\")).toBe("nothing behind the backslash, at character 2");
    expect(wrong("\\x4")).toBe("expected two hexadecimal digits, at character 1");
    expect(wrong("\\xg0")).toBe("expected two hexadecimal digits, at character 1");
    expect(wrong("a^")).toBe("'^' is only for the beginning of the pattern, at character 2");
    expect(wrong("(^a)")).toBe("'^' is only for the beginning of the pattern, at character 2");
    expect(wrong("$a")).toBe("'$' is only for the end of the pattern, at character 1");
    expect(wrong("(a$)")).toBe("'$' is only for the end of the pattern, at character 3");
    expect(wrong("a$|b")).toBe("'$' is only for the end of the pattern, at character 2");
  });

  it("refuses what it does not support", () => {
    expect(wrong("(a)\\1")).toBe("references to groups are not supported, at character 4");
    expect(wrong("a(?=b)")).toBe("looking ahead or behind is not supported, at character 2");
    expect(wrong("(?!b)")).toBe("looking ahead or behind is not supported, at character 1");
    expect(wrong("(?<=b)a")).toBe("looking ahead or behind is not supported, at character 1");
    expect(wrong("(?<!b)a")).toBe("looking ahead or behind is not supported, at character 1");
    expect(wrong("(?<n>a)")).toBe("names of groups are not supported, at character 1");
    expect(wrong("(?P<n>a)")).toBe("names of groups are not supported, at character 1");
    expect(wrong("(?i)a")).toBe("flags and other kinds of groups are not supported, at character 1");
    expect(wrong("a*?")).toBe(
      "lazy repetition is not supported; a whole value matches or not without it, at character 3",
    );
    expect(wrong("a{2}?")).toBe(
      "lazy repetition is not supported; a whole value matches or not without it, at character 5",
    );
    expect(wrong("a++")).toBe("possessive repetition is not supported, at character 3");
    expect(wrong("a**")).toBe("a repetition of a repetition; put the first one in a group, at character 3");
    expect(wrong("a?{2}")).toBe("a repetition of a repetition; put the first one in a group, at character 3");
    expect(wrong("\\bfoo")).toBe("an escape that is not supported, at character 1");
    expect(wrong("\\p{L}")).toBe("an escape that is not supported, at character 1");
    expect(wrong("\\0")).toBe("an escape that is not supported, at character 1");
    expect(wrong("\\é")).toBe("an escape that is not supported, at character 1");
    expect(wrong("[[:alpha:]]")).toBe("names of sets are not supported; write \\[ for a '[', at character 2");
  });

  it("has limits", () => {
    const large = "too large: repeat less, or use fewer choices";
    expect(wrong("a{1000}a{999}")).toBe("");
    expect(wrong("a{1000}a{1000}")).toBe(large);
    expect(wrong("(a{1000}){1000}")).toBe(large);
    expect(wrong("((((a{1000}){1000}){1000}){1000}){1000}")).toBe(large);
    expect(wrong("(((a?){0,1000}){0,1000}){0,1000}")).toBe(large);
    expect(wrong("((){0,1000}){0,1000}")).toBe(large);
    expect(wrong("[acegikmoqsuwy]{200}")).toBe(large);
    expect(wrong("a{1001}")).toBe("more than 1000 repetitions, at character 2");
    expect(wrong("a{0,99999999999999999999}")).toBe("more than 1000 repetitions, at character 2");
    expect(wrong("(".repeat(50) + "a" + ")".repeat(50))).toBe("");
    expect(wrong("(".repeat(51) + "a" + ")".repeat(51))).toBe("more than 50 groups inside each other, at character 51");
    expect(wrong("(".repeat(4096))).toBe("more than 50 groups inside each other, at character 51");
    expect(wrong("a".repeat(4097))).toBe("longer than 4096 characters, at character 1");
    expect(wrong("|".repeat(999))).toBe("");
    expect(wrong("|".repeat(1000))).toBe(large);
  });

  it("answers for any pattern and any value", () => {
    const random = new Random();
    const alphabet = "ab01.|*+?(){}[]^$\\-,dDwWsSx漢";
    const value = new Guarded(12);
    let good = 0;
    for (let round = 0; round < 20_000; round++) {
      let pattern = "";
      for (let n = random.below(12); n > 0; n--)
        pattern += alphabet.charAt(random.below(alphabet.length as u32) as i32);
      const regex = Regex.compile(pattern);
      const consistent = (regex === null) == Regex.error.length > 0;
      if (!consistent) expect(consistent).toBe(true, pattern);
      if (regex === null) continue;
      good++;
      for (let i: u32 = 0; i < value.size; i++) {
        store<u8>(value.ptr + i, random.below(4) ? ((random.below(2) + 0x61) as u8) : (random.below(256) as u8));
      }
      matchesBytes(regex, value);
    }
    value.free();
    expect(good).toBeGreaterThan(1000, "too few of the patterns were right");
  });
});
