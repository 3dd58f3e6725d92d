import type { z } from "zod";
import { type Finding, pathText } from "./issue.js";
import { choices, nearest } from "./words.js";

/** The schema's issue in the user's words. */
export function findingsOf(issue: z.core.$ZodIssue): Finding[] {
  const { path } = issue;
  const last = path.at(-1);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        code: "unknown_key",
        path: [...path, key],
        atKey: true,
        message: `unknown key "${key}"${path.length > 0 ? ` in ${pathText(path)}` : ""}`,
        expected: issue.message,
        suggestion: nearest(key, choices(issue.message)),
      }));
    case "invalid_type": {
      if (issue.input === undefined && typeof last === "string") {
        return [{ code: "missing_key", path, message: `missing key "${pathText(path)}"` }];
      }
      // Where the schema has words of its own they say more than the type.
      const own = issue.message.startsWith("Invalid input") ? undefined : issue.message;
      return [wrongType(path, issue.input, own ?? TYPES[issue.expected] ?? issue.expected)];
    }
    case "invalid_value": {
      const words = issue.values.map(String);
      if (typeof issue.input !== "string") return [wrongType(path, issue.input, words.join(" or "))];
      return [
        {
          code: "unknown_value",
          path,
          message: `unknown ${pathText(path)} "${issue.input}"`,
          expected: words.join(" or "),
          suggestion: nearest(issue.input, words),
        },
      ];
    }
    case "invalid_union": {
      // The branch that the user meant is the one whose type is right at the top; its own issues say more.
      const meant = issue.errors.filter(
        (errors) => !errors.some((e) => e.path.length === 0 && e.code === "invalid_type"),
      );
      const inner = meant.flat().map((e) => ({ ...e, path: [...path, ...e.path] }));
      if (inner.length > 0) return inner.flatMap(findingsOf);
      if (issue.input === undefined) return [{ code: "missing_key", path, message: `missing key "${pathText(path)}"` }];
      const types = issue.errors
        .flat()
        .map((e) => (e.code === "invalid_type" ? (TYPES[e.expected] ?? e.expected) : ""));
      return [wrongType(path, issue.input, types.join(" or "))];
    }
    case "too_small":
    case "too_big": {
      const few = issue.code === "too_small";
      if (few && issue.origin === "array") {
        return [
          { code: "out_of_range", path, message: `${pathText(path)} is an empty list`, expected: "at least one entry" },
        ];
      }
      const bound = `${few ? issue.minimum : issue.maximum}${issue.origin === "string" ? " characters" : ""}`;
      const message = `${pathText(path)} is ${few ? "too small" : "too large"}`;
      return [{ code: "out_of_range", path, message, expected: `${few ? "at least" : "at most"} ${bound}` }];
    }
    case "invalid_key": {
      const expected = issue.issues.map(({ message }) => message).join(", ");
      return [{ code: "bad_key", path, atKey: true, message: `the key "${String(last)}" is not usable`, expected }];
    }
    case "custom": {
      const found = typeof issue.input === "object" ? "" : ` "${issue.input}"`;
      const message = `${pathText(path)}${found}: ${issue.params?.wrong}`;
      return [{ code: "bad_value", path, message, expected: issue.message }];
    }
    default:
      return [
        {
          code: "bad_value",
          path,
          message: `${pathText(path)} "${issue.input}" is not usable`,
          expected: issue.message,
        },
      ];
  }
}

const TYPES: Record<string, string> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a map",
  record: "a map",
};

function wrongType(path: readonly PropertyKey[], input: unknown, expected: string): Finding {
  const found =
    input === null || input === undefined
      ? "nothing"
      : Array.isArray(input)
        ? "a list"
        : typeof input === "object"
          ? "a map"
          : typeof input === "string"
            ? `the text "${input}"`
            : `the ${typeof input} ${input}`;
  // What is text to a person may be a number to YAML, such as version 1.0.
  const quote = expected.includes("text") && (typeof input === "number" || typeof input === "boolean");
  const place = path.length === 0 ? "the file" : pathText(path);
  return {
    code: "wrong_type",
    path,
    message: `${place} is ${found}`,
    expected: expected + (quote ? ": put it in quotes" : ""),
  };
}
