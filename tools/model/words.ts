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
