/** A regular expression for one of these texts. */
export function anyOf(texts: readonly string[]): string {
  return texts.map(literal).join("|");
}

/** A regular expression for this text. */
export function literal(of: string): string {
  return of.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** Anchors mean nothing at the ends of a pattern, but would in the middle of another. */
export function inside(regex: string): string {
  return regex.replace(/^\^/, "").replace(/(?<!\\)((?:\\\\)*)\$$/, "$1");
}
