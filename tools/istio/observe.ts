import { extension } from "./extension.js";
import { clients, servers, type Target } from "./mesh.js";
import type { Resource } from "./resource.js";

/** Requests are counted in the proxies of the servers and of the clients that are named. */
export function observe(target: Target): Resource[] {
  const { model } = target;
  return [
    observeServers(target),
    ...clients(model).map((workloads) =>
      extension(target, {
        name: `observe-clients${workloads.suffix}`,
        mode: "observe",
        side: "client",
        workloads,
        ports: model.istio.ports.map(({ port }) => port),
        why: "Counts requests in the proxies of the clients. Bytes pass as they are.",
      }),
    ),
  ];
}

export function observeServers(target: Target): Resource {
  const { model } = target;
  // Chains that Istio makes of a Service go by its port, those of HTTP and of a Sidecar by the pod's.
  const ports = model.istio.ports.flatMap(({ port, targetPort = port }) => [port, targetPort]);
  return extension(target, {
    name: "observe-servers",
    mode: "observe",
    side: "server",
    workloads: servers(model),
    ports: [...new Set(ports)],
    why: "Counts requests in the proxies of the servers. Bytes pass as they are.",
  });
}
