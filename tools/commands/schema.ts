import { Command } from "commander";
import { jsonSchema } from "../model/schema.js";

export function schema(): Command {
  return new Command("schema")
    .description("Print the JSON Schema of meltemi.yaml, for editors.")
    .addHelpText(
      "after",
      "\nExample:\n  $ meltemi schema > meltemi.schema.json\n" +
        "\nEditors with the YAML language server read it where meltemi.yaml starts with\n" +
        "  # yaml-language-server: $schema=meltemi.schema.json",
    )
    .action(() => void process.stdout.write(schemaText()));
}

/** The text of schema/meltemi.schema.json. */
function schemaText(): string {
  return `${JSON.stringify(jsonSchema(), undefined, 2)}\n`;
}
