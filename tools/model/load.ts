import { readFileSync } from "node:fs";
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from "yaml";
import type { z } from "zod";
import { Exit, UserError } from "../errors.js";
import { crossChecks, type Finding, type Protocol, type RegexCheck } from "./rules.js";
import { type Model, schema } from "./schema.js";
import { choices, nearest } from "./words.js";

/** Of a long source line, the part around the mistake is shown. */
const LINE_MAX = 120;
const ANY_KEY = [{ name: "*" }];

/** One mistake in a file, as data. */
export interface Issue {
  /** Stable, for scripts: `unknown_key`, `missing_key`, `wrong_type` ... */
  code: string;
  message: string;
  /** Such as `routes[0].match.method`; empty for the file as a whole. */
  path: string;
  file: string;
  /** From 1. */
  line: number;
  /** From 1, in UTF-16 units. */
  column: number;
  /** Characters of that line which the mistake covers, at least 1. */
  length: number;
  expected?: string | undefined;
  suggestion?: string | undefined;
}

/** meltemi.yaml cannot be used. `issues` has every mistake, `hint` all of them as text with source line and caret. */
export class ModelError extends UserError {
  constructor(
    readonly issues: readonly Issue[],
    file: string,
    source: string,
  ) {
    const count = issues.length === 1 ? "one mistake" : `${issues.length} mistakes`;
    super("E_CONFIG", `${count} in ${file}`, { hint: issues.map((issue) => renderIssue(issue, source)).join("\n") });
  }
}

/**
 * Reads a meltemi.yaml.
 * @param protocols what the module speaks, see describeModule(); a name alone stands for a protocol whose keys are free
 * @param regexCheck the module's opinion; the module itself has the last word when it is configured
 * @throws ModelError with all mistakes, UserError `E_NO_FILE`
 */
export function load(path: string, protocols: readonly (Protocol | string)[], regexCheck?: RegexCheck): Model {
  let source: string;
  try {
    source = readFileSync(path, "utf8");
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : String(cause);
    throw new UserError("E_NO_FILE", `${path}: ${reason}`, { exit: Exit.input, cause });
  }
  return parse(source, protocols, path, regexCheck);
}

/**
 * Reads the text of a meltemi.yaml; `file` is what messages call it.
 * @throws ModelError with all mistakes
 */
export function parse(
  source: string,
  protocols: readonly (Protocol | string)[],
  file = "meltemi.yaml",
  regexCheck: RegexCheck = () => undefined,
): Model {
  const lines = new LineCounter();
  const document = parseDocument(source, { lineCounter: lines, prettyErrors: false, logLevel: "error" });
  const issues: Issue[] = [];
  const add = (finding: Finding, [from, to]: [number, number]) => {
    const { line, col: column } = lines.linePos(from);
    const lineEnd = lines.lineStarts[line] ?? source.length;
    const length = Math.max(1, source.slice(from, Math.min(to, lineEnd)).trimEnd().length);
    const { code, message, expected, suggestion } = finding;
    const path = pathText(finding.path);
    issues.push({ code, message, path, file, line, column, length, expected, suggestion });
  };

  const addYaml = (code: string, message: string, at: [number, number]) => add({ code, path: [], message }, at);
  for (const { code, message, pos } of [...document.errors, ...document.warnings]) {
    if (code === "DUPLICATE_KEY") addYaml("duplicate_key", "there is this key already", pos);
    else if (code === "MULTIPLE_DOCS") addYaml("yaml", "a second document starts here", pos);
    else addYaml("yaml", message, pos);
  }
  visit(document, {
    Alias(_, alias, ancestors) {
      const target = alias.resolve(document);
      const at: [number, number] = [alias.range?.[0] ?? 0, alias.range?.[1] ?? 0];
      if (!target) addYaml("yaml", `there is no &${alias.source} before *${alias.source}`, at);
      else if (ancestors.includes(target)) addYaml("yaml", `*${alias.source} stands inside &${alias.source}`, at);
    },
  });
  if (issues.length === 0 && document.contents === null) {
    const expected = "at least protocol, service.name, service.bind and service.endpoints";
    add({ code: "empty", path: [], message: "there is nothing in this file", expected }, [0, 0]);
  }
  // What follows would only repeat, in other words, that the text is not what it was meant to be.
  if (issues.length > 0) throw new ModelError(issues, file, source);

  let input: unknown;
  try {
    input = document.toJS();
  } catch (error) {
    addYaml("yaml", (error as Error).message, [0, 0]);
    throw new ModelError(issues, file, source);
  }
  const result = schema.safeParse(input, { reportInput: true });
  const findings = [
    ...(result.error?.issues ?? []).flatMap(findingsOf),
    ...crossChecks(
      input,
      protocols.map((protocol) => (typeof protocol === "string" ? { name: protocol, keys: ANY_KEY } : protocol)),
      regexCheck,
    ),
  ];
  // A key that is only misspelled is not missing as well.
  const meant = new Set(
    findings.filter((f) => f.atKey && f.suggestion).map((f) => pathText([...f.path.slice(0, -1), f.suggestion ?? ""])),
  );
  for (const finding of findings) {
    if (finding.code !== "missing_key" || !meant.has(pathText(finding.path))) add(finding, locate(document, finding));
  }
  if (issues.length > 0 || !result.success) {
    issues.sort((a, b) => a.line - b.line || a.column - b.column);
    throw new ModelError(issues, file, source);
  }
  return result.data;
}

/** `file:line:column: message`, then the source line and carets below it. */
export function renderIssue(issue: Issue, source: string): string {
  const { file, line, column, length, message, expected, suggestion } = issue;
  const tail = suggestion !== undefined ? `, did you mean "${suggestion}"?` : expected ? `, expected ${expected}` : "";
  const head = `${file}:${line}:${column}: ${message}${tail}`;
  const whole = (source.split("\n")[line - 1] ?? "").trimEnd();
  if (whole === "") return head;
  const start = Math.max(0, Math.min(column - 1 - LINE_MAX / 2, whole.length - LINE_MAX));
  const text = whole.slice(start, start + LINE_MAX);
  const before = text.slice(0, column - 1 - start);
  const carets = "^".repeat(Math.max(1, Math.min(length, text.length - before.length)));
  const number = String(line);
  // Tabs stay tabs, so that the caret stands below its place however wide they are shown.
  return `${head}\n  ${number} | ${text}\n  ${" ".repeat(number.length)} | ${before.replace(/[^\t]/g, " ")}${carets}`;
}

/** The schema's issue in the user's words. */
function findingsOf(issue: z.core.$ZodIssue): Finding[] {
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
  // YAML reads 1.0 as a number and yes as text: what looks like text to a person needs quotes.
  const quote = expected.includes("text") && (typeof input === "number" || typeof input === "boolean");
  const place = path.length === 0 ? "the file" : pathText(path);
  return {
    code: "wrong_type",
    path,
    message: `${place} is ${found}`,
    expected: expected + (quote ? ": put it in quotes" : ""),
  };
}

/** `routes[0].match["dubbo.tag"]` */
function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((key) =>
      typeof key === "number"
        ? `[${key}]`
        : /^[A-Za-z_]\w*$/.test(String(key))
          ? `.${String(key)}`
          : `[${JSON.stringify(key)}]`,
    )
    .join("")
    .replace(/^\./, "");
}

/** Offsets of the place that a finding speaks of; where the key is missing, the map that lacks it. */
function locate(document: Document.Parsed, { path, atKey }: Finding): [number, number] {
  let node: Node | null | undefined = document.contents;
  let place = node;
  for (const [i, key] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    const last = i === path.length - 1;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
      if (!pair) break;
      node = pair.value as Node | null;
      // A key without a value has no node of its own to point at.
      place = (last && atKey) || !node?.range || node.range[0] === node.range[1] ? (pair.key as Node) : node;
      // A whole map or list is named by its key: its own start is only its first entry.
      if (!last && (isMap(node) || isSeq(node))) place = pair.key as Node;
    } else if (isSeq(node)) {
      const item = node.items[Number(key)] as Node | undefined;
      if (!item) break;
      node = place = item;
    } else {
      break;
    }
  }
  const range = place?.range;
  return range ? [range[0], range[1]] : [0, 0];
}
