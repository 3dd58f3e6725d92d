import { BlockList, isIP } from "node:net";
import { clients, serverLabels, servers } from "../../istio/mesh.js";
import { isLoopback, selects } from "../../model/istio/schema.js";
import { error, type Finding, note, warning } from "../finding.js";
import { injection } from "../injection.js";
import { clientPods, failure, namespacesOf, type Rule, type Side, serverPods, serviceOf, sides } from "../rule.js";
import { labelsText, list, placeOf, type Selection, title, type Workload } from "../world.js";

/** Where the module runs there is a namespace. */
export const namespacesExist: Rule = ({ model, world }) =>
  namespacesOf(model).flatMap((name): Finding[] => {
    if (world.find("Namespace", name) || !world.knows("Namespace")) return [];
    return [error("no_namespace", `there is no namespace ${name}`, "Create it, or correct its name in meltemi.yaml.")];
  });

/** Labels in meltemi.yaml are those of somebody. */
export const podsExist: Rule = ({ model, world }) =>
  sides(model).flatMap(({ side, ...pods }): Finding[] => {
    if (world.selected(pods).length > 0 || !world.knowsWorkloads(pods.namespace)) return [];
    const message = `istio.${side} selects no pod: none in ${pods.namespace} has ${labelsText(pods.labels)}`;
    const others = labelsOf(world.workloads.filter(({ namespace }) => namespace === pods.namespace));
    const hint = others ? `Pods there have ${others}.` : "There are no pods in this namespace.";
    return [warning(`no_${side}`, message, hint)];
  });

/** The values of the label that most people select by. */
function labelsOf(workloads: readonly Workload[]): string {
  const seen = new Set(workloads.flatMap(({ labels }) => (labels.app === undefined ? [] : [`app=${labels.app}`])));
  return [...seen].sort().slice(0, 5).join(", ");
}

/** Each subset has servers. */
export const subsetsHavePods: Rule = ({ model, world }) =>
  serverPods(model).flatMap((pods) => {
    const all = world.selected(pods);
    if (all.length === 0) return [];
    return (model.service.subsets ?? []).flatMap(({ name, labels = { version: name } }): Finding[] => {
      if (all.some((pod) => selects(labels, pod.labels))) return [];
      const message = `subset ${name} has no servers: none of the pods with ${labelsText(serverLabels(model))} has ${labelsText(labels)}`;
      const hint = "Give the pods these labels, or the subset those of its pods: service.subsets[].labels.";
      return [warning("empty_subset", message, hint)];
    });
  });

/** What the module is attached to instead of pods is there. */
export const targetsExist: Rule = ({ model, world }) =>
  [servers(model), ...clients(model)].flatMap(({ namespace, targetRefs = [] }) =>
    targetRefs.flatMap(({ kind, name }): Finding[] => {
      const known = kind as "Gateway" | "GatewayClass" | "Service" | "ServiceEntry";
      const at = known === "GatewayClass" ? undefined : namespace;
      if (world.find(known, name, at) || !world.knows(known, at)) return [];
      const message = `there is no ${kind} ${at === undefined ? name : `${at}/${name}`}, to which targetRefs attaches the module`;
      return [error("no_target", message, "Create it, or correct targetRefs in meltemi.yaml.")];
    }),
  );

/** Gateways are named by targetRefs, and listen at the Service's port: by that number Istio finds the module's place. */
export const gatewaysListen: Rule = ({ model, world }) =>
  clients(model).flatMap(({ namespace, targetRefs = [] }) =>
    targetRefs.flatMap(({ kind, name }): Finding[] => {
      const gateway = kind === "Gateway" ? world.find("Gateway", name, namespace) : undefined;
      const listeners = list(gateway?.spec?.listeners);
      // A waypoint has one for all.
      if (!gateway || listeners.length === 0 || listeners.some(({ protocol }) => protocol === "HBONE")) return [];
      return model.istio.ports
        .filter(({ port }) => !listeners.some((listener) => listener.port === port))
        .map(({ port }) => {
          const message = `${title(gateway)} has no listener at port ${port}, by which Istio would find the module's place`;
          const hint = `Give it a listener at port ${port}, as the Service has it.`;
          return failure(model)("gateway_port", message, hint, placeOf(gateway));
        });
    }),
  );

const GATEWAY = "gateway.networking.k8s.io/gateway-name";

/** To a gateway clients connect by its own address, and no Sidecar counts for it. */
export const clientsAreNoGateways: Rule = ({ model, world }) =>
  clientPods(model).flatMap((pods) =>
    world.selected(pods).flatMap(({ labels, annotations, spec, place }): Finding[] => {
      const alone = list(spec.containers).length > 0 && list(spec.containers).every((it) => it.name === "istio-proxy");
      const injected = String(annotations["inject.istio.io/templates"]).split(",").includes("gateway");
      if (!alone && !injected && labels[GATEWAY] === undefined) return [];
      const message = `${title(place)} is a gateway, in which connections are not to the Service's address`;
      const hint =
        model.mode === "bridge"
          ? "Gateways cannot be clients in mode bridge: select other pods."
          : "Select other pods, and name a Gateway of Kubernetes' Gateway API by istio.clients[].targetRefs.";
      return [warning("gateway_client", message, hint, place)];
    }),
  );

/** Every pod of both sides has a proxy for the module to run in. */
export const proxiesInjected: Rule = ({ model, world }) =>
  sides(model).flatMap(({ side, ...pods }) =>
    known(world.selected(pods), pods).flatMap((workload): Finding[] => {
      const found = injection(workload, world);
      if (found.proxy !== false) return [];
      const who = workload.place.kind === "Namespace" ? `a pod of ${workload.place.name}` : title(workload.place);
      const message = `${who} has no proxy for the module to run in: ${found.why}`;
      const hint = `${consequence(model.mode, side)} Label the namespace istio-injection=enabled (or istio.io/rev), and start the pods again.`;
      const report = found.certain ? failure(model) : warning;
      return [report("no_proxy", message, hint, workload.place)];
    }),
  );

/** Where no pod is known, what would become of one. */
function known(workloads: Workload[], { namespace, labels = {} }: Selection): Workload[] {
  if (workloads.length > 0) return workloads;
  const place = { kind: "Namespace", name: namespace };
  return [{ place, namespace, labels, annotations: {}, spec: {}, running: false }];
}

function consequence(mode: string, side: Side): string {
  if (mode === "observe") return "Its requests are not counted.";
  if (side === "servers") return mode === "bridge" ? "It would get HTTP." : "Its requests are not counted.";
  return mode === "bridge"
    ? "Its bytes would meet a server's proxy that expects HTTP."
    : "Its connections go anywhere.";
}

const TRAFFIC = "traffic.sidecar.istio.io";

/** Nothing keeps the connections away from the proxies. */
export const trafficCaptured: Rule = (subject) => {
  const { model, world } = subject;
  const { ports, address: given } = model.istio;
  const clusterIP = serviceOf(subject)?.spec?.clusterIP;
  const address = given ?? (isIP(String(clusterIP)) ? String(clusterIP) : undefined);
  // On loopback a proxy listens itself.
  const direct = model.mode === "bridge" && isLoopback(address);
  const inbound = serverPods(model).flatMap((pods) =>
    world.selected(pods).flatMap((workload) => {
      return ports.map(({ port, targetPort = port }) => ({
        workload,
        port: targetPort,
        why: notInbound(workload, targetPort),
      }));
    }),
  );
  const outbound = (direct ? [] : clientPods(model)).flatMap((pods) =>
    world.selected(pods).flatMap((workload) => {
      return ports.map(({ port }) => ({ workload, port, why: notOutbound(workload, port, address) }));
    }),
  );
  return [...inbound, ...outbound].flatMap(({ workload, port, why }): Finding[] => {
    if (why === undefined) return [];
    const message = `connections of ${title(workload.place)} with port ${port} go past its proxy: ${why}`;
    return [
      failure(model)("not_captured", message, "Take the port (or address) out of that annotation.", workload.place),
    ];
  });
};

/** The annotation that keeps connections to a port of the pod away from its proxy. */
function notInbound({ annotations }: Workload, port: number): string | undefined {
  const { included, excluded } = portLists(annotations, "Inbound");
  if (annotations["sidecar.istio.io/interceptionMode"] === "NONE") return "sidecar.istio.io/interceptionMode is NONE";
  if (included && !included.includes("*")) {
    return included.includes(String(port)) ? undefined : `${TRAFFIC}/includeInboundPorts has not ${port}`;
  }
  return excluded?.includes(String(port)) ? `${TRAFFIC}/excludeInboundPorts has ${port}` : undefined;
}

/** The same for connections to a port elsewhere. */
function notOutbound({ annotations }: Workload, port: number, address: string | undefined): string | undefined {
  const { included, excluded } = portLists(annotations, "Outbound");
  if (annotations["sidecar.istio.io/interceptionMode"] === "NONE") return "sidecar.istio.io/interceptionMode is NONE";
  if (excluded?.includes(String(port))) return `${TRAFFIC}/excludeOutboundPorts has ${port}`;
  const [outside, inside] = ["excludeOutboundIPRanges", "includeOutboundIPRanges"].map((name) =>
    words(annotations[`${TRAFFIC}/${name}`]),
  );
  if (address === undefined) return undefined;
  if (outside && within(address, outside)) return `${TRAFFIC}/excludeOutboundIPRanges has ${address}`;
  if (!inside || included?.includes(String(port)) || within(address, inside)) return undefined;
  return `${TRAFFIC}/includeOutboundIPRanges has not ${address}`;
}

function portLists(annotations: Record<string, string>, direction: "Inbound" | "Outbound") {
  return {
    included: words(annotations[`${TRAFFIC}/include${direction}Ports`]),
    excluded: words(annotations[`${TRAFFIC}/exclude${direction}Ports`]),
  };
}

function words(text: string | undefined): string[] | undefined {
  return text === undefined
    ? undefined
    : String(text)
        .split(",")
        .map((word) => word.trim());
}

function within(address: string, ranges: readonly string[]): boolean {
  if (ranges.includes("*")) return true;
  const block = new BlockList();
  for (const range of ranges) {
    const [net = "", bits] = range.split("/");
    const family = isIP(net) === 6 ? "ipv6" : "ipv4";
    const most = family === "ipv6" ? 128 : 32;
    if (isIP(net) !== 0 && Number(bits ?? most) <= most) block.addSubnet(net, Number(bits ?? most), family);
  }
  return block.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Who else may call cannot be seen from the objects of a cluster. */
export const onlyTheseClients: Rule = ({ model }) => {
  if (model.mode !== "bridge") return [];
  const message =
    "callers that istio.clients does not name would speak the private protocol to servers that now expect HTTP";
  return [note("other_clients", message, "Name all callers in istio.clients.")];
};
