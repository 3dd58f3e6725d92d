import { readFileSync } from "node:fs";
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from "yaml";
import { fileProblem, UserError } from "../errors.js";
import { findingsOf } from "./explain.js";
import { type Finding, type Issue, ModelError, pathText } from "./issue.js";
import type { Protocol, RegexCheck } from "./protocol.js";
import { crossChecks } from "./rules.js";
import { type Model, schema } from "./schema.js";

/** Of a protocol of which only the name is known. */
const ANY_KEY = [{ name: "*" }];

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
    const hint = "To start from: meltemi.yaml in envoy/observe, envoy/route or envoy/bridge of the package.";
    throw new UserError("E_NO_FILE", `${path}: ${fileProblem(cause)}`, { hint, cause });
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
    Pair(_, { key }) {
      // To JavaScript it is no key like others: a condition of this name would be lost without a word.
      if (isScalar(key) && key.value === "__proto__")
        addYaml("bad_value", '"__proto__" cannot be a key', [key.range?.[0] ?? 0, key.range?.[1] ?? 0]);
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
  const known = protocols.map((protocol) =>
    typeof protocol === "string" ? { name: protocol, keys: ANY_KEY } : protocol,
  );
  const findings = [...(result.error?.issues ?? []).flatMap(findingsOf), ...crossChecks(input, known, regexCheck)];
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
  const heartbeats = known.some((protocol) => protocol.name === result.data.protocol && protocol.heartbeats);
  return { ...result.data, heartbeats };
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
