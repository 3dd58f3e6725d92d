import type { Parsed } from "./units.js";

/**
 * Checks a regular expression against what the module understands, all of which it matches in linear time: literals,
 * `.`, `[...]`, `(...)`, `|`, `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`, `\d \w \s` (and `\D \W \S`), `\t \r \n`, and `\`
 * before punctuation.
 */
export function parseRegex(source: string): Parsed<string> {
  const chars = [...source];
  let at = 0;

  const mistake = (what: string, where = at) => new Mistake(`${what} at character ${where + 1}`);

  function alternatives(depth: number): void {
    if (depth > MAX_DEPTH) throw mistake(`more than ${MAX_DEPTH} groups inside each other`);
    sequence(depth);
    while (chars[at] === "|") {
      at++;
      sequence(depth);
    }
  }

  function sequence(depth: number): void {
    while (at < chars.length && chars[at] !== "|" && chars[at] !== ")") {
      atom(depth);
      quantifier();
    }
  }

  function atom(depth: number): void {
    const start = at;
    const char = chars[at++];
    if (char === "(") {
      if (chars[at] === "?") throw mistake("groups with (? are not supported", start);
      alternatives(depth + 1);
      if (chars[at] !== ")") throw mistake("the group is not closed, it opens", start);
      at++;
    } else if (char === "[") {
      set(start);
    } else if (char === "\\") {
      escaped(start);
    } else if (char === "^" || char === "$") {
      throw mistake(`the whole value is matched anyway, leave out "${char}"`, start);
    } else if (char === "*" || char === "+" || char === "?" || char === "{") {
      throw mistake(`nothing to repeat before "${char}"`, start);
    }
  }

  /** The escaped character, or undefined for a class such as \d. */
  function escaped(start: number): string | undefined {
    const char = chars[at++];
    if (char === undefined) throw mistake("nothing follows the \\", start);
    if ("dDwWsS".includes(char)) return undefined;
    if (/[1-9]/.test(char)) throw mistake("back references are not supported", start);
    if (/[A-Za-z0-9]/.test(char) && !"trn".includes(char)) throw mistake(`\\${char} is not supported`, start);
    return char;
  }

  function set(start: number): void {
    if (chars[at] === "^") at++;
    if (chars[at] === "]") throw mistake("the set is empty", start);
    while (chars[at] !== "]") {
      const from = member(start);
      if (chars[at] !== "-" || chars[at + 1] === "]") continue;
      const dash = at++;
      const to = member(start);
      if (from === undefined || to === undefined) throw mistake("a class cannot be the end of a range", dash);
      else if ((from.codePointAt(0) ?? 0) > (to.codePointAt(0) ?? 0))
        throw mistake(`the range ${from}-${to} is empty`, dash);
    }
    at++;
  }

  function member(start: number): string | undefined {
    const here = at;
    const char = chars[at++];
    if (char === undefined) throw mistake("the set is not closed, it opens", start);
    return char === "\\" ? escaped(here) : char;
  }

  function quantifier(): void {
    const start = at;
    const char = chars[at];
    if (char === "*" || char === "+" || char === "?") {
      at++;
    } else if (char === "{") {
      const match = /^\{(\d+)(,(\d*))?\}/.exec(chars.slice(at).join(""));
      if (!match) throw mistake("a repetition is written {3}, {3,} or {3,5}", start);
      const least = Number(match[1]);
      const most = match[3] ? Number(match[3]) : least;
      if (most < least) throw mistake(`{${least},${most}} has its bounds the wrong way round`, start);
      if (most > MAX_REPEAT) throw mistake(`more than ${MAX_REPEAT} repetitions`, start);
      at += match[0].length;
    } else {
      return;
    }
    const next = chars[at];
    if (next === "?" || next === "+" || next === "*" || next === "{")
      throw mistake(`"${next}" cannot follow a repetition`);
  }

  try {
    alternatives(0);
    if (at < chars.length) throw mistake('")" closes nothing');
    return { value: source };
  } catch (error) {
    if (error instanceof Mistake) return { wrong: error.message };
    throw error;
  }
}

const MAX_DEPTH = 32;
const MAX_REPEAT = 1000;

class Mistake extends Error {}
