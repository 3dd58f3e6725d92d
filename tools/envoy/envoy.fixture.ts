import { UserError } from "../errors.js";
import { type Envoy, findEnvoy } from "./find.js";

/** A real Envoy for tests; undefined where there is none to be had, and tests that need it are then skipped. */
export const envoy: Envoy | undefined = await findEnvoy().catch((error) => {
  if (error instanceof UserError && error.code === "E_NO_ENVOY") return undefined;
  throw error;
});
