import { stringify } from "yaml";
import { API_VERSIONS } from "../istio/resource.js";

export interface Kind {
  apiVersion: string;
  kind: string;
}

/** All that this tool writes. What others refer to comes first. */
export const KINDS: readonly Kind[] = Object.entries(API_VERSIONS).map(([kind, apiVersion]) => ({ apiVersion, kind }));

/** A kind's name in URLs and in RBAC. */
export function plural(kind: string): string {
  return kind.toLowerCase().replace(/y$/, "ie").concat("s");
}

/** What `apply`, `diff` and `delete` do with each of KINDS. `create` belongs to an apply of what is not there yet. */
const VERBS = ["get", "list", "create", "patch", "delete"] as const;

export interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

/**
 * What `check` and `status` look at besides. Without these they say what they could not see, which goes for Secrets too:
 * those that images are pulled with are nobody's business but the agents'.
 */
const READS: readonly Rule[] = [
  { apiGroups: [""], resources: ["configmaps", "namespaces", "pods", "services"], verbs: ["get", "list"] },
  { apiGroups: ["apps"], resources: ["daemonsets", "deployments", "statefulsets"], verbs: ["list"] },
  { apiGroups: ["admissionregistration.k8s.io"], resources: ["mutatingwebhookconfigurations"], verbs: ["list"] },
  { apiGroups: ["apiextensions.k8s.io"], resources: ["customresourcedefinitions"], verbs: ["get"] },
  { apiGroups: [""], resources: ["pods/portforward"], verbs: ["create", "get"] },
];

/** What RBAC has to allow, cluster-wide, because a set is looked for in all namespaces. */
export function rules(): Rule[] {
  const groups = new Map<string, string[]>();
  for (const { apiVersion, kind } of KINDS) {
    const group = apiVersion.split("/")[0] as string;
    groups.set(group, [...(groups.get(group) ?? []), plural(kind)]);
  }
  return [...groups].map(([group, resources]) => ({ apiGroups: [group], resources, verbs: [...VERBS] }));
}

/** A ClusterRole with all that the commands ask for, as YAML. */
export function clusterRoleYaml(): string {
  return stringify({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: "meltemi" },
    rules: [...rules(), ...READS],
  });
}
