import { isLoopback, lowerPortOf } from "../model/istio/schema.js";
import { authorizationPolicies } from "./authorization.js";
import { extension } from "./extension.js";
import { rateLimits } from "./limits.js";
import { clients, type MeshModel, portPrefix, resource, servers, type Target } from "./mesh.js";
import type { Resource } from "./resource.js";
import { destinationRule, virtualService } from "./routing.js";

/** Requests are those of HTTP between the proxies of clients and servers. The servers' side comes first. */
export function bridge(target: Target): Resource[] {
  const { model } = target;
  return [...serverSide(target), ...destinationRule(model), ...virtualService(model), ...clientSide(target)];
}

/** Whether Istio's HTTP filters stand before lower. */
export function seesRequests({ istio, authorization }: MeshModel): boolean {
  return istio.servers.http ?? authorization !== undefined;
}

/** The numbers of one port: at the pods, at lower, and where the server listens. */
function portsOf(model: MeshModel) {
  return model.istio.ports.map(({ port, targetPort = port, serverPort = targetPort, lowerPort }) => ({
    port,
    targetPort,
    lower: seesRequests(model) ? (lowerPort ?? lowerPortOf(targetPort)) : targetPort,
    serverPort,
  }));
}

function serverSide(target: Target): Resource[] {
  const { model } = target;
  const { namespace, labels = {} } = servers(model);
  return [
    extension(target, {
      name: "lower",
      mode: "lower",
      side: "server",
      workloads: { namespace, labels },
      ports: portsOf(model).map(({ lower }) => lower),
      why: "Makes frames of requests again, in the proxies of the servers.",
    }),
    ...(seesRequests(model) ? [withinPod(model, labels)] : []),
    serverSidecar(model, labels),
    ...authorizationPolicies(
      model,
      labels,
      portsOf(model).map(({ targetPort }) => targetPort),
    ),
  ];
}

function serverSidecar(model: MeshModel, labels: Record<string, string>): Resource {
  const { istio, protocol } = model;
  const http = seesRequests(model);
  const here = istio.servers.address === "pod" ? "0.0.0.0" : "127.0.0.1";
  const prefix = portPrefix(model);
  const entry = (number: number, type: string, name: string) => ({ number, protocol: type, name: `${name}-${number}` });
  const tcp = (number: number, serverPort: number, more: object = {}) => ({
    port: entry(number, "TCP", `tcp-${protocol}`),
    ...more,
    defaultEndpoint: `${here}:${serverPort}`,
  });
  const inside = { bind: "127.0.0.1", captureMode: "NONE" };
  const ingress = portsOf(model).flatMap(({ targetPort, lower, serverPort }) =>
    http
      ? [
          {
            port: entry(targetPort, prefix.toUpperCase(), `${prefix}-${protocol}`),
            defaultEndpoint: `127.0.0.1:${lower}`,
          },
          tcp(lower, serverPort, inside),
        ]
      : [tcp(targetPort, serverPort)],
  );
  const others = (istio.servers.otherPorts ?? []).map(({ port, protocol: type }) => ({
    port: entry(port, type, type.toLowerCase()),
    defaultEndpoint: `${here}:${port}`,
  }));
  const why = http
    ? "Gives requests to Istio's HTTP filters first, and then by loopback to lower; Istio takes the ports from here and " +
      "no longer from the Services, so that every port of these pods has to be listed."
    : "Has Istio leave what comes to the servers to lower, whatever the port is called; Istio takes the ports from here " +
      "and no longer from the Services, so that every port of these pods has to be listed.";
  return sidecar(model, "servers", { namespace: istio.namespace, labels }, { ingress: [...ingress, ...others] }, why);
}

/** Between two filter chains of one pod there are no certificates. */
function withinPod(model: MeshModel, labels: Record<string, string>): Resource {
  const { namespace } = model.istio;
  const why = "Mutual TLS ends before the hop over loopback, whatever the mesh demands elsewhere.";
  const ports = portsOf(model).map(({ lower }) => [lower, { mode: "DISABLE" }]);
  return resource(
    model,
    {
      kind: "PeerAuthentication",
      name: "lower",
      namespace,
      component: "lower",
      why,
    },
    { selector: { matchLabels: labels }, portLevelMtls: Object.fromEntries(ports) },
  );
}

function clientSide(target: Target): Resource[] {
  const { model } = target;
  return clients(model).flatMap((workloads) => [
    extension(target, {
      name: `lift${workloads.suffix}`,
      mode: "lift",
      side: "client",
      workloads,
      ports: model.istio.ports.map(({ port }) => port),
      why: "Makes a request of HTTP of each frame, in the proxies of the clients.",
    }),
    ...rateLimits(model, workloads),
    clientSidecar(model, workloads),
  ]);
}

function clientSidecar(model: MeshModel, { namespace, labels, suffix }: ReturnType<typeof clients>[number]): Resource {
  const { istio, protocol } = model;
  const { address = "127.0.0.1" } = istio;
  const prefix = portPrefix(model);
  const egress = istio.ports.map(({ port }) => ({
    port: { number: port, protocol: prefix.toUpperCase(), name: `${prefix}-${protocol}-${port}` },
    bind: address,
    ...(isLoopback(address) && { captureMode: "NONE" }),
    // Istio finds the routes of all other listeners on this port number here as well.
    hosts: ["*/*"],
  }));
  const why =
    "Gives the clients a listener of its own for this address. On the one that Istio makes by itself, it looks for HTTP " +
    "before the module has seen a byte. The last entry keeps everything else as it is.";
  return sidecar(model, `clients${suffix}`, { namespace, labels }, { egress: [...egress, { hosts: ["*/*"] }] }, why);
}

function sidecar(
  model: MeshModel,
  name: string,
  { namespace, labels }: { namespace: string; labels: Record<string, string> | undefined },
  spec: Record<string, unknown>,
  why: string,
): Resource {
  return resource(
    model,
    { kind: "Sidecar", name, namespace, component: "sidecar", why },
    { ...(labels && { workloadSelector: { labels } }), ...spec },
  );
}
