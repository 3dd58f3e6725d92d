import { UserError } from "../errors.js";
import { clients, type MeshModel, servers } from "../istio/mesh.js";
import { API_VERSIONS } from "../istio/resource.js";
import { ROOT_NAMESPACE } from "../istio/sidecar.js";
import type { Cluster, Reference } from "../kubernetes/client.js";
import { namespacesOf } from "./rule.js";
import { type Found, type Kind, placed } from "./world.js";

/** What was read of a cluster, and of what all is known. */
export interface Live {
  objects: Found[];
  complete: (kind: Kind, namespace: string | undefined) => boolean;
}

/** What stands beside, or in the way of, what this tool writes. */
const MESH = ["Sidecar", "VirtualService", "DestinationRule", "PeerAuthentication", "AuthorizationPolicy"] as const;
/** What extensions can be attached to instead of pods. */
const TARGETS = {
  Gateway: "gateway.networking.k8s.io/v1",
  GatewayClass: "gateway.networking.k8s.io/v1",
  Service: "v1",
  ServiceEntry: "networking.istio.io/v1",
} as const;
type TargetKind = keyof typeof TARGETS;

/**
 * Reads what the rules look at, and no more: of Secrets only those that are named, of pods only
 * those of the namespaces where the module runs. What may not be read, or is of no kind that the cluster has, is left out.
 * @throws UserError whatever else Cluster throws
 */
export async function readCluster(
  cluster: Pick<Cluster, "list" | "read">,
  models: readonly MeshModel[],
): Promise<Live> {
  const objects: Found[] = [];
  const known = new Set<string>();
  const attempt = async (kind: string, namespace: string | undefined, body: () => Promise<Found[]>) => {
    try {
      objects.push(...(await body()));
      known.add(`${kind}/${namespace ?? ""}`);
    } catch (error) {
      if (!(error instanceof UserError && ["E_FORBIDDEN", "E_NO_KIND"].includes(error.code))) throw error;
    }
  };
  const list = (apiVersion: string, kind: Kind, namespace?: string) =>
    attempt(kind, namespace, async () =>
      (await cluster.list(apiVersion, kind, namespace === undefined ? {} : { namespace })).map((it) => placed(it)),
    );
  const read = (apiVersion: string, kind: Kind, name: string, namespace?: string) =>
    attempt(kind, namespace, async () => {
      const reference: Reference = {
        apiVersion,
        kind,
        metadata: { name, ...(namespace !== undefined && { namespace }) },
      };
      const object = await cluster.read(reference);
      return object ? [placed({ ...object, apiVersion, kind })] : [];
    });

  const namespaces = new Set(models.flatMap((model) => namespacesOf(model)));
  await list("v1", "Namespace");
  await list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration");
  for (const namespace of namespaces) {
    await list("v1", "Pod", namespace);
    for (const kind of ["Deployment", "StatefulSet", "DaemonSet"] as const) await list("apps/v1", kind, namespace);
  }
  await list("v1", "Service");
  await list("apps/v1", "Deployment", ROOT_NAMESPACE);
  for (const kind of MESH) await list(API_VERSIONS[kind], kind);
  for (const kind of new Set(models.map(({ istio }) => istio.kind))) {
    await list(API_VERSIONS[kind], kind);
    const name = `${kind.toLowerCase()}s.extensions.istio.io`;
    await read("apiextensions.k8s.io/v1", "CustomResourceDefinition", name);
  }
  const revisions = new Set(models.map(({ istio }) => istio.revision ?? "default"));
  for (const revision of revisions) {
    await read("v1", "ConfigMap", revision === "default" ? "istio" : `istio-${revision}`, ROOT_NAMESPACE);
  }
  for (const model of models) {
    const { pullSecret } = model.istio;
    if (pullSecret !== undefined) {
      for (const namespace of namespacesOf(model)) await read("v1", "Secret", pullSecret, namespace);
    }
    for (const { namespace, targetRefs = [] } of [servers(model), ...clients(model)]) {
      for (const { kind, name } of targetRefs as { kind: TargetKind; name: string }[]) {
        await read(TARGETS[kind], kind, name, kind === "GatewayClass" ? undefined : namespace);
      }
    }
  }
  return {
    objects,
    complete: (kind, namespace) => known.has(`${kind}/`) || known.has(`${kind}/${namespace ?? ""}`),
  };
}
