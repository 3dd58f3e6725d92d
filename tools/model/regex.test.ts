import { expect, it } from "vitest";
import { parseRegex } from "./regex.js";

it.each([
  "",
  "a|b|",
  "login",
  "(get|set)[A-Z]\\w*",
  "com\\.acme\\..*",
  "a{3}b{3,}c{3,5}",
  "[^a-z\\d-]+",
  "[-a]",
  "[a-]",
  "[.*+?(){}|^$]",
  "\\(\\)\\[\\]\\{\\}\\\\\\^\\$\\.\\*\\+\\?\\|\\/\\-",
  "\\d\\D\\w\\W\\s\\S\\t\\r\\n",
  "((a)(b|(c)))?",
  "größe.🙂",
  "}",
  "]",
])("takes %s", (regex) => {
  expect(parseRegex(regex)).toEqual({ value: regex });
});

it.each([
  ["(a", "the group is not closed, it opens at character 1"],
  ["a)", '")" closes nothing at character 2'],
  ["a(?=b)", "groups with (? are not supported at character 2"],
  ["(?:a)", "groups with (? are not supported at character 1"],
  ["^a", 'the whole value is matched anyway, leave out "^" at character 1'],
  ["a$", 'the whole value is matched anyway, leave out "$" at character 2'],
  ["*", 'nothing to repeat before "*" at character 1'],
  ["a|+", 'nothing to repeat before "+" at character 3'],
  ["({2})", 'nothing to repeat before "{" at character 2'],
  ["a**", '"*" cannot follow a repetition at character 3'],
  ["a+?", '"?" cannot follow a repetition at character 3'],
  ["a{", "a repetition is written {3}, {3,} or {3,5} at character 2"],
  ["a{,3}", "a repetition is written {3}, {3,} or {3,5} at character 2"],
  ["a{3,2}", "{3,2} has its bounds the wrong way round at character 2"],
  ["a{1001}", "more than 1000 repetitions at character 2"],
  ["[a", "the set is not closed, it opens at character 1"],
  ["[]", "the set is empty at character 1"],
  ["[^]", "the set is empty at character 1"],
  ["[z-a]", "the range z-a is empty at character 3"],
  ["[a-\\d]", "a class cannot be the end of a range at character 3"],
  ["\\", "nothing follows the \\ at character 1"],
  ["(a)\\1", "back references are not supported at character 4"],
  ["\\bword\\b", "\\b is not supported at character 1"],
  ["🙂(", "the group is not closed, it opens at character 2"],
  [`${"(".repeat(40)}${")".repeat(40)}`, "more than 32 groups inside each other at character 34"],
])("refuses %s", (regex, wrong) => {
  expect(parseRegex(regex)).toEqual({ wrong });
});
