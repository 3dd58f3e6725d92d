// A picture of what a terminal shows, for the README:
//   tmux new -d -s demo -x 110 -y 34 'npm start'
//   tmux capture-pane -p -e -t demo | node dist/test/demo/picture.js > docs/live-view.svg
import { text as readAll } from "node:stream/consumers";

interface Style {
  readonly colour: string;
  readonly bold: boolean;
}

const theme = { background: "#0d1117", plain: "#e6edf3", dim: "#7d8590" };
/** By SGR number. */
const colours: Readonly<Record<number, string>> = {
  31: "#ff7b72",
  32: "#7ee787",
  33: "#e3b341",
  34: "#79c0ff",
  35: "#d2a8ff",
  36: "#56d4dd",
};

const size = 14;
const cell = { width: size * 0.6, height: Math.round(size * 1.4) };
const padding = 20;

/** Pieces of one style of a line; `at` is the column of the first character. */
interface Piece {
  readonly at: number;
  readonly text: string;
  readonly style: Style;
}

function pieces(line: string, sgr: Set<number>): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are what this reads
  for (const [, codes, text] of line.matchAll(/\x1b\[([\d;]*)m|([^\x1b]+)/g)) {
    for (const code of codes === undefined ? [] : codes.split(";").map(Number)) apply(sgr, code);
    if (text === undefined) continue;
    const colour = [...sgr].map((code) => colours[code]).find((known) => known !== undefined);
    const style = { colour: colour ?? (sgr.has(2) ? theme.dim : theme.plain), bold: sgr.has(1) };
    found.push({ at, text, style });
    at += text.length;
  }
  return found;
}

/** Select graphic rendition: what is set stays until it is taken back, across lines. */
function apply(sgr: Set<number>, code: number): void {
  if (code === 0) sgr.clear();
  else if (code === 22) for (const weight of [1, 2]) sgr.delete(weight);
  else if (code === 39) for (const colour of Object.keys(colours)) sgr.delete(Number(colour));
  else sgr.add(code);
}

/** Words as text, each held to its column whatever the font; bars and rules as shapes, which fonts draw unevenly. */
function draw({ at, text, style: { colour, bold } }: Piece, line: number): string {
  const top = padding + line * cell.height;
  const x = (column: number) => (padding + column * cell.width).toFixed(1);
  const parts = text.matchAll(/[▁▂▃▄▅▆▇█]|─+|[^▁▂▃▄▅▆▇█─\s]+(?: [^▁▂▃▄▅▆▇█─\s]+)*/g);
  return [...parts]
    .map(({ 0: part, index }) => {
      const left = x(at + index);
      const eighths = "▁▂▃▄▅▆▇█".indexOf(part) + 1;
      if (eighths > 0) {
        const height = (eighths * (size - 1)) / 8;
        const y = (top + size - height).toFixed(1);
        return `<rect x="${left}" y="${y}" width="${cell.width - 1.4}" height="${height.toFixed(1)}" fill="${colour}"/>`;
      }
      const width = (part.length * cell.width).toFixed(1);
      if (part.startsWith("─")) {
        return `<rect x="${left}" y="${top + size / 2}" width="${width}" height="1" fill="${colour}"/>`;
      }
      const weight = bold ? ' font-weight="bold"' : "";
      const place = `x="${left}" y="${top + size - 2}" textLength="${width}" lengthAdjust="spacingAndGlyphs"`;
      return `<text ${place} fill="${colour}"${weight}>${escaped(part)}</text>`;
    })
    .join("");
}

const escaped = (text: string) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

const sgr = new Set<number>();
const lines = (await readAll(process.stdin))
  .trimEnd()
  .split("\n")
  .map((line) => pieces(line, sgr));
const columns = Math.max(...lines.flat().map(({ at, text }) => at + text.trimEnd().length));
const width = Math.ceil(2 * padding + columns * cell.width);
const height = 2 * padding + lines.length * cell.height;
process.stdout.write(
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"` +
      ` font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${size}">`,
    "<title>What meltemi shows in a terminal</title>",
    `<rect width="${width}" height="${height}" rx="10" fill="${theme.background}"/>`,
    ...lines.map((line, i) => line.map((piece) => draw(piece, i)).join("")).filter((line) => line !== ""),
    "</svg>\n",
  ].join("\n"),
);
