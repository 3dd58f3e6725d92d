import { seesRequests } from "../../istio/bridge.js";
import { clients, host, type MeshModel } from "../../istio/mesh.js";
import { lowerPortOf, selects } from "../../model/istio/schema.js";
import { error, type Finding, note, warning } from "../finding.js";
import { isHost, others, type Rule, type Subject, serverPods } from "../rule.js";
import { type Found, type Loose, list, placeOf, type Selection, title } from "../world.js";

/** Nobody else says where requests of a bridge go: of two VirtualServices only the older counts. */
export const routesAlone: Rule = (subject) => {
  const { model } = subject;
  if (model.mode !== "bridge" || !model.routes) return [];
  return virtualServices(subject).map((other) => {
    const message = `${title(other)} is for ${host(model)} too, and only the older of two VirtualServices counts`;
    return warning(
      "two_virtual_services",
      message,
      "Write its routes into meltemi.yaml, or delete it.",
      placeOf(other),
    );
  });
};

/** Routes for TCP neither take the choice of mode route away nor expect to count. */
export const noTcpRoutes: Rule = (subject) => {
  const { model } = subject;
  if (model.mode === "observe") return [];
  return virtualServices(subject).flatMap((other): Finding[] => {
    const routes = list(other.spec?.tcp);
    if (routes.length === 0) return [];
    const place = placeOf(other);
    if (model.mode === "bridge") {
      const message = `${title(other)} has tcp routes for ${host(model)}, which do not count for requests`;
      return [warning("tcp_routes", message, "Write them into meltemi.yaml, as routes.", place)];
    }
    if (routes.every(({ route }) => list(route).length < 2)) {
      const message = `${title(other)} has tcp routes for ${host(model)}, in whose place the module chooses`;
      return [note("tcp_routes", message, undefined, place)];
    }
    const message = `${title(other)} spreads connections to ${host(model)} by weights, and then Envoy does not ask the module`;
    return [error("tcp_routes", message, "Take the weights out of its tcp routes.", place)];
  });
};

/** Of others, for the sidecars of clients. */
function virtualServices(subject: Subject): Found[] {
  return others(subject, "VirtualService").filter(({ metadata: { namespace = "" }, spec }) => {
    const gateways = list(spec?.gateways);
    const inMesh = gateways.length === 0 || gateways.includes("mesh");
    return inMesh && list(spec?.hosts).some((name) => isHost(subject.model, name, namespace));
  });
}

/** Nobody else says what the subsets are. */
export const subsetsAlone: Rule = (subject) => {
  const { model, world } = subject;
  const { service, trafficPolicy, istio } = model;
  if (!service.subsets && !trafficPolicy) return [];
  const nearer = new Set(clients(model).map(({ namespace }) => namespace));
  return others(subject, "DestinationRule").flatMap((other): Finding[] => {
    const { namespace = "" } = other.metadata;
    const place = placeOf(other);
    if (namespace === istio.namespace) return isHost(model, other.spec?.host, namespace) ? merged(model, other) : [];
    const hides =
      nearer.has(namespace) &&
      namespace !== world.rootNamespace &&
      isHost(model, other.spec?.host, namespace, { wildcards: true });
    if (!hides) return [];
    const what = service.subsets ? "subsets" : "trafficPolicy";
    const message = `${title(other)} hides the ${what} of ${host(model)} from clients in ${namespace}: that of their own namespace counts first`;
    const hint = `Move it to namespace ${istio.namespace}, or delete it.`;
    return [(service.subsets ? error : warning)("destination_rule", message, hint, place)];
  });
};

/** In one namespace Istio joins rules for the same host: of what both say, the older counts. */
function merged({ service, trafficPolicy }: MeshModel, other: Found): Finding[] {
  const names = list(other.spec?.subsets).map(({ name }) => name);
  const both = [
    ...(service.subsets ?? []).filter(({ name }) => names.includes(name)).map(({ name }) => `subset ${name}`),
    ...(trafficPolicy && other.spec?.trafficPolicy ? ["trafficPolicy"] : []),
  ];
  if (both.length === 0) return [];
  const message = `${title(other)} has ${both.join(", ")} too, and of two DestinationRules the older counts`;
  return [warning("destination_rule", message, "Keep these in meltemi.yaml only.", placeOf(other))];
}

/** Nobody else says how mutual TLS is for single ports of the servers. */
export const mutualTlsAlone: Rule = (subject) => {
  const { model } = subject;
  if (model.mode !== "bridge" || !seesRequests(model)) return [];
  const lower = model.istio.ports.map(({ port, targetPort = port, lowerPort = lowerPortOf(targetPort) }) => lowerPort);
  return others(subject, "PeerAuthentication", model.istio.namespace).flatMap((other): Finding[] => {
    const { selector, portLevelMtls = {} } = other.spec ?? {};
    if (!Object.keys(selector?.matchLabels ?? {}).length || !concerns(subject, selector.matchLabels)) return [];
    if (lower.every((port) => portLevelMtls[port]?.mode === "DISABLE")) return [];
    const message = `${title(other)} is for the servers' pods too, and only the oldest PeerAuthentication of a pod counts`;
    const hint = `Add to it portLevelMtls: { ${lower.map((port) => `${port}: { mode: DISABLE }`).join(", ")} }`;
    return [warning("peer_authentication", message, hint, placeOf(other))];
  });
};

/** Conditions on requests are not asked of connections: without servers.http the servers' proxies see TCP. */
export const policiesSeeRequests: Rule = (subject) => {
  const { model, world } = subject;
  const { namespace } = model.istio;
  if (model.mode !== "bridge" || seesRequests(model)) return [];
  const there = new Set([namespace, world.rootNamespace]);
  return [...there]
    .flatMap((at) => others(subject, "AuthorizationPolicy", at))
    .flatMap((policy): Finding[] => {
      const { action = "ALLOW", rules, selector, targetRef, targetRefs } = policy.spec ?? {};
      if (targetRef || targetRefs || !concerns(subject, selector?.matchLabels)) return [];
      if (!list(rules).some((rule) => asksForRequests(rule) && concernsPorts(rule, model))) return [];
      const effect =
        action === "ALLOW"
          ? "Istio lets nothing pass by such a rule"
          : "Istio leaves these conditions out, so that the rule is for more than it says";
      const message = `${title(policy)} (${action}) has conditions on requests, and the servers' proxies see connections: ${effect}`;
      return [warning("requests_unseen", message, "Set istio.servers.http: true in meltemi.yaml.", placeOf(policy))];
    });
};

/** Whether labels of a selector, perhaps none, are those of servers. */
function concerns({ model, world }: Subject, labels: Record<string, string> | undefined): boolean {
  return serverPods(model).some((pods: Selection) => {
    const known = world.selected(pods);
    return known.length > 0 ? known.some((pod) => selects(labels, pod.labels)) : selects(labels, pods.labels);
  });
}

const OPERATIONS = ["hosts", "notHosts", "methods", "notMethods", "paths", "notPaths"];
const SOURCES = ["requestPrincipals", "notRequestPrincipals"];

function asksForRequests({ from, to, when }: Loose): boolean {
  return (
    list(to).some(({ operation }) => OPERATIONS.some((key) => operation?.[key] !== undefined)) ||
    list(from).some(({ source }) => SOURCES.some((key) => source?.[key] !== undefined)) ||
    list(when).some(({ key }) => String(key).startsWith("request."))
  );
}

function concernsPorts({ to }: Loose, { istio }: MeshModel): boolean {
  const ours = istio.ports.map(({ port, targetPort = port }) => String(targetPort));
  const operations = list(to).map(({ operation }) => operation ?? {});
  return (
    operations.length === 0 ||
    operations.some(({ ports, notPorts }) => {
      const meant = ports === undefined || list(ports).some((port) => ours.includes(String(port)));
      return meant && !ours.every((port) => list(notPorts).map(String).includes(port));
    })
  );
}
