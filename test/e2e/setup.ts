import { findEnvoy } from "../../tools/envoy/find.js";

/** Fetches Envoy where the machine has none, once and before the clock of any test runs. */
export default async function setup(): Promise<void> {
  await findEnvoy({ say: (line) => process.stderr.write(`${line}\n`) });
}
