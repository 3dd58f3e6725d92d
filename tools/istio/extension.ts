import { lacking } from "../model/istio/versions.js";
import { type ModuleMode, moduleConfig } from "../model/module.js";
import { formatAddress } from "../model/units.js";
import { host, type MeshModel, outboundCluster, resource, type Target, targetRefsOf, type Workloads } from "./mesh.js";
import type { Resource } from "./resource.js";

interface Extension {
  name: string;
  mode: ModuleMode;
  /** At which end of a connection. */
  side: "client" | "server";
  workloads: Workloads;
  ports: number[];
  why: string;
}

/** The module in the proxies of some workloads, before what Istio does with connections on these ports. */
export function extension({ model, url }: Target, { name, mode, side, workloads, ports, why }: Extension): Resource {
  const { istio } = model;
  const wasm = {
    url,
    ...(istio.pullSecret !== undefined && { imagePullSecret: istio.pullSecret }),
    type: "NETWORK",
    failStrategy: failStrategy(model, mode),
    pluginName: mode,
    pluginConfig: moduleConfig(model, mode, {
      direction: side === "client" ? "outbound" : "inbound",
      // Istio knows only port numbers, which Services share.
      destinations: side === "client" ? destinations(model, workloads, ports) : undefined,
      authority: host(model),
      // A mesh has rules that meltemi.yaml knows nothing of.
      open: true,
      cluster: (subset) => outboundCluster({ host: host(model), port: ports[0] as number }, subset),
    }),
  };
  const common = {
    ...selection(workloads),
    ...(istio.priority !== undefined && { priority: istio.priority }),
    match: [{ mode: side.toUpperCase(), ports: ports.map((number) => ({ number })) }],
  };
  const at = { name, namespace: workloads.namespace, component: mode, why };
  const { kind } = istio;
  return resource(model, { ...at, kind }, kind === "WasmPlugin" ? { ...common, ...wasm } : { ...common, wasm });
}

function selection(workloads: Workloads) {
  const targetRefs = targetRefsOf(workloads);
  if (targetRefs) return { targetRefs };
  return workloads.labels ? { selector: { matchLabels: workloads.labels } } : {};
}

/** To a gateway clients connect by its own address. */
function destinations({ istio }: MeshModel, { targetRefs }: Workloads, ports: readonly number[]): string[] | undefined {
  const { address } = istio;
  return address === undefined || targetRefs ? undefined : ports.map((port) => formatAddress({ host: address, port }));
}

/** What only measures must not stop traffic; elsewhere bytes that nobody has read would go astray. */
function failStrategy({ istio }: MeshModel, mode: ModuleMode): string {
  if (istio.failStrategy !== undefined) return istio.failStrategy;
  if (mode === "observe") return "FAIL_OPEN";
  const reload = "FAIL_RELOAD";
  return lacking({ istio: { failStrategy: reload } }, istio.version).length === 0 ? reload : "FAIL_CLOSE";
}
