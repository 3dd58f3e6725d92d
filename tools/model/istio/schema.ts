import { isIP, isIPv4 } from "node:net";
import { z } from "zod";
import { endpoint, keys, reading } from "../fields.js";
import type { Parsed } from "../units.js";

/*
 * The part of meltemi.yaml that says where in a mesh the service and its clients are. A local run does not look at it.
 */

/** The minor versions of Istio 1 whose resources this tool writes: networking.istio.io/v1 came with the first. */
export const ISTIO_MINORS = { first: 22, last: 31 } as const;
const VERSIONS = `a version from "1.${ISTIO_MINORS.first}" to "1.${ISTIO_MINORS.last}"`;

/** Reads `1.30` or `1.30.2` into the 30. */
export function parseIstioVersion(text: string): Parsed<number> {
  const minor = Number(/^v?1\.(\d{1,3})(?:[.-].*)?$/.exec(text)?.[1] ?? Number.NaN);
  if (Number.isNaN(minor)) return { wrong: "not a version of Istio" };
  if (minor < ISTIO_MINORS.first) return { wrong: `Istio 1.${minor} is too old` };
  if (minor > ISTIO_MINORS.last) return { wrong: `Istio 1.${minor} is not known yet` };
  return { value: minor };
}

/** Reads an address as Envoy and Kubernetes write it: there the same one is always the same text. */
export function parseIp(text: string): Parsed<string> {
  if (isIP(text) === 0 || text.includes("%")) return { wrong: "not an address" };
  const value = isIPv4(text) ? text : new URL(`http://[${text}]`).hostname.slice(1, -1);
  // Istio's own listener for all of them would look for HTTP before the module sees a byte.
  if (value === "0.0.0.0" || value === "::") return { wrong: "every address" };
  return value.startsWith("::ffff:") ? { wrong: "an IPv4 address in the clothes of IPv6" } : { value };
}

/** A version of Istio, as its minor number. */
export const istioVersion = z.string().transform(reading(parseIstioVersion, VERSIONS));
export const EXTENSION_KINDS = ["WasmPlugin", "TrafficExtension"] as const;

const LABEL = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;
const LABEL_KEY = new RegExp(
  `^(${DNS_LABEL.source.slice(1, -1)}(\\.${DNS_LABEL.source.slice(1, -1)})*/)?${LABEL.source.slice(1)}`,
);

const dnsLabel = z.string().max(63).regex(DNS_LABEL, "lower case letters, digits and dashes");
const port = z.int().min(1).max(65535);

/** Labels of pods. */
export const podLabels = z
  .record(
    z.string().max(317).regex(LABEL_KEY, "a label's name such as app"),
    z.string().max(63).regex(LABEL, "a label's value: letters, digits, dots, dashes and underscores"),
  )
  .refine((labels) => Object.keys(labels).length > 0, {
    error: "at least one label, such as app: greeter",
    params: { wrong: "no label selects everything" },
  })
  .meta({ minProperties: 1 });

/** Whether what asks for the labels `wanted` is for something that has `labels`. */
export function selects(wanted: Record<string, unknown> = {}, labels: Record<string, unknown> = {}): boolean {
  return Object.entries(wanted).every(([name, value]) => labels[name] === value);
}

const targetRefs = z
  .array(
    keys({
      kind: z.enum(["Gateway", "Service", "GatewayClass", "ServiceEntry"]).describe("Of the object that is meant."),
      name: z.string().min(1).max(253).describe("Its name."),
    }),
  )
  .min(1)
  .max(16)
  .optional();

const clients = keys({
  namespace: dnsLabel.optional().describe("Where these clients run; default: the service's."),
  labels: podLabels.optional().describe("Of their pods; default: all pods of the namespace."),
  targetRefs: targetRefs.describe(
    "Instead of labels: gateways and waypoints, which Istio knows by reference. Not in mode bridge.",
  ),
});

const otherPort = keys({
  port: port.describe("What the pods listen at."),
  protocol: z.enum(["HTTP", "HTTP2", "GRPC", "HTTPS", "TLS", "TCP", "MONGO"]).describe("As Istio calls it."),
});

const servers = keys({
  labels: podLabels.optional().describe("Of their pods; default: app: SERVICE."),
  targetRefs: targetRefs.describe("Instead of labels: a waypoint in front of them. Not in mode bridge."),
  address: z
    .enum(["loopback", "pod"])
    .prefault("loopback")
    .describe(
      "Mode bridge: where servers listen: loopback (default; all addresses too), or only the pod's own address.",
    ),
  http: z
    .boolean()
    .optional()
    .describe(
      "Mode bridge: whether Istio sees requests at the servers too, for AuthorizationPolicy, RequestAuthentication and " +
        "server spans, at the price of a hop over loopback. Default: where there is authorization.",
    ),
  otherPorts: z
    .array(otherPort)
    .min(1)
    .optional()
    .describe("Mode bridge: what else these pods serve; Istio would send it past their filters otherwise."),
}).prefault({});

const servicePort = keys({
  port: port.describe("The Service's port, to which clients connect."),
  targetPort: port.optional().describe("The Service's targetPort, at the pods; default: the same."),
  serverPort: port.optional().describe("Mode bridge: what the servers listen at, where that is not the targetPort."),
  lowerPort: port
    .optional()
    .describe(
      "Mode bridge with servers.http: a port of loopback between Istio's filters; default: targetPort + 10000.",
    ),
});

export const istio = keys({
  version: istioVersion.prefault(`1.${ISTIO_MINORS.last}`).describe(`Istio's version: ${VERSIONS}. Default: the last.`),
  kind: z
    .enum(EXTENSION_KINDS)
    .prefault("WasmPlugin")
    .describe("What installs the module: WasmPlugin (default), or TrafficExtension from Istio 1.30."),
  revision: z.string().max(63).regex(LABEL, "a label's value").optional().describe("Istio's revision: istio.io/rev."),
  image: z
    .string()
    .min(1)
    .optional()
    .describe("The module as pushed by meltemi push: HOST/REPOSITORY[:TAG]@sha256:DIGEST. --image takes its place."),
  pullSecret: z
    .string()
    .max(253)
    .min(1)
    .optional()
    .describe("A Secret of type kubernetes.io/dockerconfigjson in each namespace where the module runs."),
  namespace: dnsLabel.prefault("default").describe("Of the Service and its pods."),
  service: dnsLabel.optional().describe("The Service's name; default: service.name."),
  domain: z
    .string()
    .max(128)
    .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, "a domain such as cluster.local")
    .prefault("cluster.local")
    .describe("The cluster's domain."),
  ports: z.array(servicePort).min(1).describe("Those of the Service's ports that speak the protocol."),
  address: z
    .string()
    .transform(reading(parseIp, "one IP address"))
    .optional()
    .describe(
      "The address that clients connect to: the Service's ClusterIP. Mode bridge: or one of loopback such as 127.0.0.1, to " +
        "which the clients have to be pointed then; the Service needs a ClusterIP all the same. Other modes: without it, " +
        "connections of these clients to other Services with the same port number are taken for this one's.",
    ),
  clients: z.array(clients).min(1).optional().describe("The workloads that call the service."),
  servers: servers.describe("The pods of the service."),
  rateLimitService: endpoint
    .optional()
    .describe("host:port of the Service that rateLimitService asks here, by its full name in the cluster."),
  failStrategy: z
    .enum(["FAIL_OPEN", "FAIL_CLOSE", "FAIL_RELOAD"])
    .optional()
    .describe(
      "What connections get where the module cannot be loaded or has failed. FAIL_OPEN: they pass without it (default in " +
        "mode observe). FAIL_CLOSE: nothing passes. FAIL_RELOAD: a failed one is loaded again (default elsewhere, from 1.27).",
    ),
  priority: z
    .int()
    .min(-(2 ** 31))
    .max(2 ** 31 - 1)
    .optional()
    .describe("Among other extensions: higher comes first."),
});

/** The port between Istio's two filter chains at a server, unless it is given. */
export function lowerPortOf(targetPort: number): number {
  const above = targetPort + 10_000;
  if (isOfIstio(above)) return above + 10_000;
  return above <= 65_535 ? above : targetPort - 10_000;
}

/** Ports at which Istio's own programs listen in every pod. */
export function isOfIstio(port: number): boolean {
  return port >= 15_000 && port < 15_100;
}

export function isLoopback(address: string | undefined): boolean {
  return address === "::1" || (address?.startsWith("127.") ?? false);
}

export type Istio = z.output<typeof istio>;
