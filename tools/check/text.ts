import { type Paint, painter, type Style } from "../terminal.js";
import type { Report } from "./check.js";
import type { Finding, Severity } from "./finding.js";

const STYLES: Record<Severity, Style> = { error: "red", warning: "yellow", note: "cyan" };

/** A report as a terminal shows it. `from` says where the mesh was read. */
export function reportText({ services, counts, objects, unknown }: Report, from: string, colour: boolean): string {
  const paint = painter(colour);
  const lines = services
    .filter(({ findings }) => findings.length > 0)
    .flatMap(({ service, findings }) => [
      paint("bold", service),
      ...findings.flatMap((it) => findingLines(it, paint)),
      "",
    ]);
  const found = (["error", "warning", "note"] as const)
    .filter((severity) => counts[severity] > 0)
    .map((severity) => `${counts[severity]} ${severity}${counts[severity] === 1 ? "" : "s"}`);
  const names = services.map(({ service }) => service).join(", ");
  const total = Object.values(objects).reduce((sum, count) => sum + count, 0);
  const kinds = Object.entries(objects)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([kind, count]) => `${kind} ${count}`);
  lines.push(
    `${names}: ${found.join(", ") || "nothing found"}, in ${from}: ${total} object${total === 1 ? "" : "s"} (${kinds.join(", ") || "none that count"})`,
  );
  if (unknown.length > 0) lines.push(`Not known there, so that nothing is said of it: ${unknown.join(", ")}.`);
  return `${lines.join("\n")}\n`;
}

function findingLines({ code, severity, message, hint, object }: Finding, paint: Paint) {
  return [
    `  ${paint(STYLES[severity], `${severity}:`)} ${message} [${code}]`,
    ...(object?.file === undefined ? [] : [`    ${paint("dim", `${object.file}:${object.line}`)}`]),
    ...(hint === undefined ? [] : [`    ${hint}`]),
  ];
}
