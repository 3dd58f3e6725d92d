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
