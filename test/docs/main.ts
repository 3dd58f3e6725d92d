// `npm run docs`: writes what of the documentation follows from the code.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../tools/paths.js";
import { protocolsMarkdown } from "./protocols.js";

writeFileSync(join(packageRoot, "docs", "protocols.md"), await protocolsMarkdown());
