import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { jsonSchema } from "./schema.js";

it("is the one in schema/ (else run: node dist/tools/cli.js schema > schema/meltemi.schema.json)", () => {
  const file = new URL("../../schema/meltemi.schema.json", import.meta.url);
  expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(jsonSchema());
});

it("describes every key", () => {
  const undescribed: string[] = [];
  const walk = (value: unknown, path: string) => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, child] of Object.entries(value)) walk(child, `${path}/${key}`);
    const { properties, required, additionalProperties } = value as Record<
      string,
      Record<string, { description?: string }>
    >;
    // Without additionalProperties it is one of the conditions on modes, which repeat keys.
    if (!properties || additionalProperties === undefined || !Array.isArray(required ?? [])) return;
    for (const [key, property] of Object.entries(properties)) {
      if (!property.description) undescribed.push(`${path}/${key}`);
    }
  };
  walk(jsonSchema(), "");
  expect(undescribed).toEqual([]);
});
