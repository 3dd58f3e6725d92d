import { UserError } from "../errors.js";

/** Of a long source line, the part around the mistake is shown. */
const LINE_MAX = 120;

/** A mistake before it is located in the file. */
export interface Finding {
  code: string;
  path: readonly PropertyKey[];
  /** Whether the place is the key itself and not its value. */
  atKey?: boolean;
  message: string;
  expected?: string | undefined;
  /** What the user probably meant. */
  suggestion?: string | undefined;
}

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

/** `file:line:column: message`, then the source line and carets below it. */
function renderIssue(issue: Issue, source: string): string {
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

/** `routes[0].match["dubbo.tag"]` */
export function pathText(path: readonly PropertyKey[]): string {
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
