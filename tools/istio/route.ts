import { TYPE } from "../envoy/resources.js";
import { extension } from "./extension.js";
import { clients, type MeshModel, resource, type Target, targetRefsOf } from "./mesh.js";
import { observeServers } from "./observe.js";
import type { Resource } from "./resource.js";
import { destinationRule } from "./routing.js";

/** The proxies of clients choose a subset for each connection by its first frame. */
export function route(target: Target): Resource[] {
  const { model } = target;
  const { ports } = model.istio;
  return [
    ...destinationRule(model),
    observeServers(target),
    ...clients(model).flatMap((workloads) => [
      earlyData(model, workloads),
      // Each port has clusters of its own.
      ...ports.map(({ port }) =>
        extension(target, {
          name: `route-${port}${workloads.suffix}`,
          mode: "route",
          side: "client",
          workloads,
          ports: [port],
          why: `Reads the first frame of each connection to port ${port} and names the subset that it goes to.`,
        }),
      ),
    ]),
  ];
}

function earlyData(model: MeshModel, workloads: ReturnType<typeof clients>[number]): Resource {
  const { istio, limits } = model;
  const { namespace, labels, suffix } = workloads;
  const targetRefs = targetRefsOf(workloads);
  const why =
    "Has tcp_proxy wait for the first frame before it connects, for which Istio has no field of its own. " +
    "Other Services on the same port number are not changed by it.";
  return resource(
    model,
    {
      kind: "EnvoyFilter",
      name: `early-data${suffix}`,
      namespace,
      component: "route",
      why,
    },
    {
      ...(labels && { workloadSelector: { labels } }),
      ...(targetRefs && { targetRefs }),
      configPatches: istio.ports.map(({ port }) => ({
        applyTo: "NETWORK_FILTER",
        match: {
          context: targetRefs ? "GATEWAY" : "SIDECAR_OUTBOUND",
          listener: { portNumber: port, filterChain: { filter: { name: "envoy.filters.network.tcp_proxy" } } },
        },
        patch: {
          operation: "MERGE",
          value: {
            name: "envoy.filters.network.tcp_proxy",
            typed_config: {
              "@type": `${TYPE}.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
              max_early_data_bytes: limits.head,
            },
          },
        },
      })),
    },
  );
}
