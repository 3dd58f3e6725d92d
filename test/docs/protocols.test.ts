import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { packageRoot } from "../../tools/paths.js";
import { protocolsMarkdown } from "./protocols.js";

it("docs/protocols.md says what the codecs do (else run: npm run docs)", { timeout: 60_000 }, async () => {
  expect(readFileSync(join(packageRoot, "docs", "protocols.md"), "utf8")).toBe(await protocolsMarkdown());
});
