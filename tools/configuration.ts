import { readFileSync } from "node:fs";
import { ConfigurationError, Host } from "./host/host.js";
import { load } from "./model/load.js";
import { describeModule } from "./model/module.js";
import type { RegexCheck } from "./model/protocol.js";
import type { Model } from "./model/schema.js";

/**
 * Reads a meltemi.yaml for one module: the protocols and regular expressions that it may use are those of that module.
 * @throws what load() and describeModule() throw
 */
export async function loadFor(wasm: string, file: string): Promise<Model> {
  const { protocols } = describeModule(wasm);
  return load(file, protocols, await regexCheck(readFileSync(wasm), protocols[0]?.name));
}

/** Asks the module itself, so that there is one opinion on what a regular expression may look like. */
export async function regexCheck(wasm: Uint8Array, protocol: string | undefined): Promise<RegexCheck> {
  const host = await Host.load(wasm);
  return (regex) => {
    try {
      host.configure({ protocol, mode: "route", routes: [{ match: { method: { regex } }, cluster: "any" }] });
      return undefined;
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error;
      return error.message.replace(/^.*\.regex: expected a regular expression: /, "");
    }
  };
}
