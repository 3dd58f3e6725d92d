import { UserError } from "../../errors.js";
import type { Manifest } from "../../istio/resource.js";
import type { Cluster, LiveObject } from "../client.js";
import { plan } from "../set.js";

export interface ObjectStatus {
  object: LiveObject;
  /** Beside what the configurations come to; `applied` where that is not known. */
  state: "applied" | "as written" | "differs" | "missing" | "extra";
}

/** @throws what plan() throws */
export async function compare(cluster: Cluster, manifest: Manifest): Promise<ObjectStatus[]> {
  const { steps, prune } = await plan(cluster, manifest, { prune: true }).catch((error) => {
    if (!(error instanceof UserError)) throw error;
    const message = `what apply would change is not known: ${error.message.replace(/^nothing was changed: /, "")}`;
    throw new UserError(error.code, message, error.options);
  });
  return [
    ...steps.map(({ object, live, change }): ObjectStatus => {
      const state = change === "created" ? "missing" : change === "unchanged" ? "as written" : "differs";
      return { object: live ?? object, state };
    }),
    ...prune.map((object): ObjectStatus => ({ object, state: "extra" })),
  ];
}
