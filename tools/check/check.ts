import type { MeshModel } from "../istio/mesh.js";
import { serviceName } from "../istio/mesh.js";
import { type Finding, SEVERITIES, type Severity } from "./finding.js";
import type { Rule } from "./rule.js";
import * as extensions from "./rules/extensions.js";
import * as policies from "./rules/policies.js";
import * as service from "./rules/service.js";
import * as sidecars from "./rules/sidecars.js";
import * as versions from "./rules/versions.js";
import * as workloads from "./rules/workloads.js";
import { title, type World } from "./world.js";

/** Every rule is exported by one of these files, and nothing else is. */
export const RULES: readonly Rule[] = [service, workloads, sidecars, extensions, versions, policies].flatMap((file) =>
  Object.values<Rule>(file),
);

export interface Report {
  /** For each configuration, the worst first. */
  services: { service: string; findings: Finding[] }[];
  /** How many there are of each. */
  counts: Record<Severity, number>;
  /** How many objects of each kind were looked at. */
  objects: Record<string, number>;
  /** Kinds that a rule would have needed, and of which nothing is known. */
  unknown: string[];
}

/** Holds configurations against a mesh. */
export function check(models: readonly MeshModel[], world: World): Report {
  const services = models.map((model) => {
    const all = RULES.flatMap((rule) => rule({ model, models, world }));
    const once = new Map(all.map((finding) => [`${finding.code} ${finding.message} ${place(finding)}`, finding]));
    const rank = ({ severity }: Finding) => SEVERITIES.indexOf(severity);
    return { service: serviceName(model), findings: [...once.values()].sort((a, b) => rank(a) - rank(b)) };
  });
  const findings = services.flatMap((each) => each.findings);
  const counts = Object.fromEntries(
    SEVERITIES.map((severity) => [severity, findings.filter((finding) => finding.severity === severity).length]),
  ) as Report["counts"];
  const objects: Report["objects"] = {};
  for (const { kind } of world.objects) objects[kind] = (objects[kind] ?? 0) + 1;
  return { services, counts, objects, unknown: world.missed };
}

function place({ object }: Finding): string {
  return object ? title(object) : "";
}
