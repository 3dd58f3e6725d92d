import { readFileSync } from "node:fs";
import { isMap, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";
import { fileProblem } from "../errors.js";

/** Something in a file, whatever it is, and the line where it begins, from 1. */
export interface Entry {
  object: unknown;
  line: number;
}

/**
 * What the documents of a YAML (or JSON) file hold; of a list, as kubectl prints it, its kind and then its items.
 * @param refuse makes the error of a file, or of a line in it, and why it cannot be read
 */
export function readObjects(file: string, refuse: (where: string, why: string, cause: unknown) => Error): Entry[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw refuse(file, fileProblem(cause), cause);
  }
  const lines = new LineCounter();
  const lineAt = (offset = 0) => lines.linePos(offset).line;
  return parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, logLevel: "error" }).flatMap((document) => {
    const [mistake] = document.errors;
    if (mistake) throw refuse(`${file}:${lineAt(mistake.pos[0])}`, mistake.message, mistake);
    const { contents } = document;
    if (!contents) return [];
    const items = isMap(contents) ? contents.get("items") : undefined;
    const read = (node: Node): Entry => {
      const line = lineAt(node.range?.[0]);
      try {
        return { object: node.toJS(document), line };
      } catch (cause) {
        // Aliases that lead nowhere, or to far too much.
        throw refuse(`${file}:${line}`, (cause as Error).message, cause);
      }
    };
    if (!isMap(contents) || !isSeq<Node>(items)) return [read(contents)];
    return [{ object: { kind: contents.get("kind") }, line: lineAt(contents.range?.[0]) }, ...items.items.map(read)];
  });
}
