import { styleText } from "node:util";

/** Text of others, without what would command a terminal. */
export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]+/gu, " ");
}

/** Whether standard output shows colours. */
export function showsColour(): boolean {
  return process.stdout.isTTY === true && process.stdout.hasColors();
}

/** A line of the tool's own, beside what a command answers. */
export function say(line: string): void {
  process.stderr.write(`meltemi: ${printable(line)}\n`);
}

export type Style = Parameters<typeof styleText>[0];
export type Paint = (style: Style | undefined, text: string) => string;

/** Paints text, or leaves it: whether colours are wanted is the caller's business, wherever the text goes. */
export function painter(colour: boolean): Paint {
  return (style, text) => (colour && style ? styleText(style, text, { validateStream: false }) : text);
}

/** The size of a module or an image. */
export function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
