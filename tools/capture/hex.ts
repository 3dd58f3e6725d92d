import { UserError } from "../errors.js";

/**
 * Reads bytes out of hex text as people paste it: digits with or without spaces, commas, colons, `0x` or `\x`, lines
 * starting with `#` skipped; and dumps with offsets as xxd, hexdump -C, Wireshark and tcpdump -x write them, with or
 * without a text column. Throws UserError `E_HEX` with line and column.
 */
export function readHex(text: string): Buffer {
  const lines = text.split(/\r?\n/).map((line) => (line.startsWith("#") ? "" : line));
  return readDump(lines) ?? readDigits(lines);
}

/** Whether a file is meant to be hex, and not the bytes themselves. */
export function isHex(file: Buffer): boolean {
  const start = file.subarray(0, 4096).toString("latin1");
  return /^[\t\n\r -~]*$/.test(start) && /^\s*(#|\\x|(0x)?[0-9a-f]{2})/i.test(start);
}

const refuse = (line: number, column: number, why: string) =>
  new UserError("E_HEX", `line ${line}, column ${column}: ${why}`);

/** A dump, where every line starts with the number of bytes before it: undefined where the text is none. */
function readDump(lines: string[]): Buffer | undefined {
  const rows: { line: number; offset: number; colon: boolean; rest: string }[] = [];
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    // One space alone could as well separate two words of data. hexdump ends with a line that has an offset only.
    const row = /^\s*(?:0x)?([0-9a-f]{4,16})(?:(:\s*|\t+|\s{2,})(.*))?$/i.exec(line);
    if (!row) return undefined;
    const [, offset = "", separator = "", rest = ""] = row;
    rows.push({ line: i + 1, offset: Number.parseInt(offset, 16), colon: separator.startsWith(":"), rest });
  }
  if (rows[0]?.offset !== 0 || rows[0].rest === "") return undefined;
  const parts: Buffer[] = [];
  for (const [i, { line, offset, colon, rest }] of rows.entries()) {
    const next = rows[i + 1]?.offset;
    // The next offset says how many bytes this line has; on the last line they end where the text column starts.
    const digits = next === undefined ? lastRow(rest) : takeDigits(rest, (next - offset) * 2);
    if (digits === undefined || digits.length % 2) {
      if (!colon) return undefined;
      const why = digits
        ? "has an odd number of digits"
        : `has not the ${(next as number) - offset} bytes up to the next`;
      throw refuse(line, 1, `the line at offset ${offset} ${why}`);
    }
    parts.push(Buffer.from(digits, "hex"));
  }
  return Buffer.concat(parts);
}

function takeDigits(text: string, count: number): string | undefined {
  if (count <= 0) return undefined;
  const digits = text.replace(/\s+/g, "").slice(0, count);
  return digits.length === count && /^[0-9a-f]*$/i.test(digits) ? digits : undefined;
}

function lastRow(text: string): string {
  const bar = text.search(/\s\|/);
  // hexdump -C has two spaces in the middle and bars around the text; the others have two only before the text.
  const columns = bar >= 0 ? text.slice(0, bar) : (/^(?:[0-9a-f]{2,}(?: |$))*/i.exec(text)?.[0] ?? "");
  return columns.replace(/\s+/g, "");
}

function readDigits(lines: string[]): Buffer {
  const parts: Buffer[] = [];
  lines.forEach((line, i) => {
    for (const { 0: word, index } of line.matchAll(/[^\s,;:]+/g)) {
      const prefixes = word.replace(/0x|\\x/gi, (prefix) => " ".repeat(prefix.length));
      const wrong = prefixes.search(/[^0-9a-f ]/i);
      if (wrong >= 0) throw refuse(i + 1, index + wrong + 1, `"${word[wrong]}" is not a hex digit`);
      for (const { 0: digits, index: at } of prefixes.matchAll(/\S+/g)) {
        if (digits.length % 2) {
          throw refuse(i + 1, index + at + 1, `"${shorten(digits)}" has an odd number of digits (${digits.length})`);
        }
        parts.push(Buffer.from(digits, "hex"));
      }
    }
  });
  const bytes = Buffer.concat(parts);
  if (bytes.length === 0) throw new UserError("E_HEX", "there are no hex digits in the input");
  return bytes;
}

function shorten(digits: string): string {
  return digits.length > 20 ? `${digits.slice(0, 8)}...${digits.slice(-8)}` : digits;
}
