import type { TestProject } from "vitest/node";
import { findEnvoy } from "../../tools/envoy/find.js";
import { UserError } from "../../tools/errors.js";
import { describeModule } from "../../tools/model/module.js";
import { defaultModule } from "../../tools/paths.js";

declare module "vitest" {
  export interface ProvidedContext {
    /** Where the Envoy is that every test runs, or why there is none. */
    envoy: { origin: string } | { missing: string };
  }
}

/** Once for all files: the module has to be built (`npm test` does), and an Envoy that must be fetched is fetched here. */
export default async function setup(project: TestProject): Promise<void> {
  describeModule(defaultModule);
  try {
    const say = (line: string) => process.stderr.write(`${line}\n`);
    project.provide("envoy", { origin: (await findEnvoy({ say })).origin });
  } catch (error) {
    // The peers are tried without an Envoy too, so it is each test that needs one which fails.
    if (!(error instanceof UserError)) throw error;
    project.provide("envoy", { missing: [error.message, error.options.hint].filter(Boolean).join("\n") });
  }
}
