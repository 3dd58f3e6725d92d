import { condition } from "../model/istio/authorization.js";
import { type MeshModel, resource } from "./mesh.js";
import type { Resource } from "./resource.js";

/** Who may call what, decided at the servers. One object for DENY and one for ALLOW, as far as there are such rules. */
export function authorizationPolicies(model: MeshModel, labels: Record<string, string>, ports: number[]): Resource[] {
  return (["DENY", "ALLOW"] as const).flatMap((action) => {
    const rules = (model.authorization ?? [])
      .filter((rule) => rule.action === action)
      .map(({ match = {} }) => {
        const said = condition(match);
        if (Array.isArray(said)) throw new Error("a rule that Istio has no words for has passed the loader");
        const { when, ...operation } = said;
        return { to: [{ operation: { ports: ports.map(String), ...operation } }], ...(when && { when }) };
      });
    if (rules.length === 0) return [];
    // Where something is allowed Istio refuses all the rest, on every port of the pod.
    const others = action === "ALLOW" ? [{ to: [{ operation: { notPorts: ports.map(String) } }] }] : [];
    const why =
      action === "DENY"
        ? "Refuses these requests at the servers, before any that is allowed."
        : "Lets only these requests pass at the servers. The last rule leaves their other ports alone.";
    const at = {
      kind: "AuthorizationPolicy" as const,
      name: action.toLowerCase(),
      namespace: model.istio.namespace,
      component: "authorization",
      why,
    };
    return [resource(model, at, { selector: { matchLabels: labels }, action, rules: [...rules, ...others] })];
  });
}
