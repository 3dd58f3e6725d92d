import { closest, distance } from "fastest-levenshtein";

/** The word that was probably meant: at most two letters away, and less than half of it. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  if (words.length === 0) return undefined;
  const best = closest(word, words);
  return distance(word, best) <= Math.min(2, (best.length - 1) / 2) ? best : undefined;
}

const PREFIX = "one of ";

/** What was expected, in words. */
export function oneOf(words: readonly string[]): string {
  return PREFIX + words.join(", ");
}

/** The words of a text that oneOf() wrote. */
export function choices(text: string): string[] {
  return text.slice(PREFIX.length).split(", ");
}

/** In lines of at most `width` characters, at blanks; a word that is longer stays whole, so that it can be copied. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
