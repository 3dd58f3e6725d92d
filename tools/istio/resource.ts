/** The kinds that this tool writes, and their API versions. What others refer to comes first. */
export const API_VERSIONS = {
  WasmPlugin: "extensions.istio.io/v1alpha1",
  TrafficExtension: "extensions.istio.io/v1alpha1",
  DestinationRule: "networking.istio.io/v1",
  VirtualService: "networking.istio.io/v1",
  Sidecar: "networking.istio.io/v1",
  EnvoyFilter: "networking.istio.io/v1alpha3",
  AuthorizationPolicy: "security.istio.io/v1",
  PeerAuthentication: "security.istio.io/v1",
} as const;
export type WrittenKind = keyof typeof API_VERSIONS;

/** A Kubernetes object of one of Istio's kinds, as it is applied. */
export interface IstioObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: Record<string, unknown>;
}

/** An object, and why it is there: a sentence or two, in plain text. */
export interface Resource {
  object: IstioObject;
  why: string;
}

/** All that is shipped together: what one or several meltemi.yaml come to. */
export interface Manifest {
  /** The services, as in `greeter.shop`: each object that is wholly ours carries one of them as INSTANCE. */
  names: string[];
  /** `oci://HOST/REPOSITORY@sha256:DIGEST` */
  image: string;
  /** In the order in which they should be applied: what others refer to comes first. */
  resources: Resource[];
  /** What has to be in the cluster besides, a sentence each. */
  needs: string[];
  /** What the configurations ask for and Istio's resources cannot say, a sentence each. */
  notes: string[];
}

export const MANAGED_BY = "app.kubernetes.io/managed-by";
export const INSTANCE = "app.kubernetes.io/instance";
export const COMPONENT = "app.kubernetes.io/component";

/** The service that an object of this tool belongs to, as in `greeter.shop`; nothing where it is somebody else's. */
export function setOf({ metadata }: { metadata: { labels?: Record<string, string> } }): string | undefined {
  const { labels = {} } = metadata;
  return labels[MANAGED_BY] === "meltemi" ? labels[INSTANCE] : undefined;
}

/** On an object that several services share: all of them, with blanks between. */
export const SERVES = "meltemi-services";

/** The services that would miss an object of this tool; none where it is somebody else's. */
export function servedBy(object: {
  metadata: { labels?: Record<string, string>; annotations?: Record<string, string> };
}): string[] {
  const { annotations = {} } = object.metadata;
  const own = setOf(object);
  return own === undefined ? [] : (annotations[SERVES]?.split(" ") ?? [own]);
}
