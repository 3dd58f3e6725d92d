/** One table: the first row is the heading, the first column is text, all others are figures. */
export type Table = readonly (readonly string[])[];

/** Aligned for a terminal, or as Markdown, which is aligned too. */
export function format(table: Table, markdown: boolean): string {
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((row) => (row[i] ?? "").length)));
  const lines = table.map((row) => {
    const cells = widths.map((width, i) => (i === 0 ? (row[i] ?? "").padEnd(width) : (row[i] ?? "").padStart(width)));
    return markdown ? `| ${cells.join(" | ")} |` : cells.join("  ").trimEnd();
  });
  const rule = widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  if (markdown) lines.splice(1, 0, `| ${rule.join(" | ")} |`);
  return `${lines.join("\n")}\n`;
}

/** Two significant digits below ten, one behind the point below a hundred, none above. */
export function figure(value: number): string {
  return value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en-US");
}

export const times = (value: number) => (Number.isNaN(value) ? "-" : `${figure(value)}x`);
