import { type MeshModel, portPrefix } from "../../istio/mesh.js";
import { isLoopback, selects } from "../../model/istio/schema.js";
import { error, type Finding, note, warning } from "../finding.js";
import { type Protocol, protocolOf, type ServicePort } from "../protocol.js";
import { clientPods, failure, type Rule, type Subject, serverPods, serviceOf } from "../rule.js";
import { type Found, labelsText, list, placeOf, title, type Workload } from "../world.js";

/** The Service is there, and its pods are in this cluster. */
export const serviceExists: Rule = (subject) => {
  const { model, world } = subject;
  const { namespace, service = model.service.name } = model.istio;
  const found = serviceOf(subject);
  if (!found) {
    if (!world.knows("Service", namespace)) return [];
    const hint = "Create it, or say what it is called: istio.service and istio.namespace in meltemi.yaml.";
    return [error("no_service", `there is no Service ${namespace}/${service}`, hint)];
  }
  if (found.spec?.type !== "ExternalName") return [];
  const hint = "Name the Service that has the pods: istio.service.";
  return [
    error("external_name", `${title(found)} is another name for ${found.spec.externalName}`, hint, placeOf(found)),
  ];
};

/** Each port of istio.ports is one of the Service's, and carries TCP. */
export const portsExist: Rule = (subject) => {
  const service = serviceOf(subject);
  if (!service) return [];
  const ports: ServicePort[] = list(service.spec?.ports);
  return subject.model.istio.ports.flatMap(({ port }): Finding[] => {
    const found = ports.find((it) => it.port === port);
    if (!found) {
      const has = ports.map((it) => it.port).join(", ") || "none";
      const hint = `It has ${has}: name one of these in istio.ports, or add the port.`;
      return [error("no_port", `${title(service)} has no port ${port}`, hint, placeOf(service))];
    }
    const { protocol = "TCP" } = found;
    if (protocol === "TCP") return [];
    const hint = "The module reads connections of TCP.";
    return [error("port_transport", `port ${port} of ${title(service)} is ${protocol}`, hint, placeOf(service))];
  });
};

/** The ports of the pods are the ones that the Service leads to. */
export const targetPortsAgree: Rule = (subject) => {
  const service = serviceOf(subject);
  if (!service) return [];
  return configured(subject, service).flatMap(({ port, targetPort = port, found }): Finding[] => {
    const { targetPort: actual = port } = found;
    const numbers = typeof actual === "number" ? [actual] : named(actual, podsOf(subject, service));
    if (numbers === undefined || numbers.includes(targetPort)) return [];
    const place = placeOf(service);
    if (numbers.length === 0) {
      const message = `port ${port} of ${title(service)} leads to "${actual}", and no container of its pods has such a port`;
      return [failure(subject.model)("target_port", message, "Name the port in the pods, or give its number.", place)];
    }
    const message = `port ${port} of ${title(service)} leads to port ${numbers.join(" or ")} of the pods, not ${targetPort}`;
    const hint = `Set targetPort: ${numbers[0]} beside port: ${port} in istio.ports.`;
    return [failure(subject.model)("target_port", message, hint, place)];
  });
};

/** Istio takes the ports for what the mode needs: TCP, or in mode bridge HTTP. */
export const portProtocols: Rule = (subject) => {
  const service = serviceOf(subject);
  if (!service) return [];
  const { model } = subject;
  return configured(subject, service).flatMap(({ port, found }): Finding[] => {
    const is = protocolOf(found);
    const what = `port ${port} of ${title(service)}${found.name ? ` ("${found.name}")` : ""}`;
    const hint = `Let its name begin with ${portPrefix(model)}-, or set appProtocol: ${portPrefix(model)}.`;
    const place = placeOf(service);
    if (model.mode !== "bridge") return asTcp(is, what, hint, place);
    return asHttp(is, what, hint, place, model.heartbeats);
  });
};

type Place = ReturnType<typeof placeOf>;

function asTcp(is: Protocol, what: string, hint: string, place: Place): Finding[] {
  if (is === "HTTP" || is === "HTTP2") {
    const message = `${what} is HTTP to Istio, which ends connections that do not speak it`;
    return [error("port_protocol", message, hint, place)];
  }
  if (is === "TLS") {
    return [warning("port_protocol", `${what} is TLS to Istio, and the module reads no encrypted bytes`, hint, place)];
  }
  if (is !== "unknown") return [];
  return [
    note("port_protocol", `${what} does not say what it is, so that Istio looks for HTTP in it first`, hint, place),
  ];
}

function asHttp(is: Protocol, what: string, hint: string, place: Place, heartbeats: boolean): Finding[] {
  if (is === "TCP" || is === "TLS") {
    const message = `${what} is ${is} to Istio, and the requests of a bridge are HTTP between the proxies`;
    return [error("port_protocol", message, hint, place)];
  }
  if (is === "unknown") {
    const message = `${what} does not say that it is HTTP, so that Istio has to guess`;
    return [warning("port_protocol", message, hint, place)];
  }
  if (is === "HTTP" && heartbeats) {
    const message = `${what} is HTTP/1.1 to Istio, so that each request in flight takes a connection to the server`;
    return [warning("port_protocol", message, hint, place)];
  }
  if (is === "HTTP2" && !heartbeats) {
    const message = `${what} is HTTP/2 to Istio, and without heartbeats in the protocol a long first request may wait for ever`;
    return [warning("port_protocol", message, hint, place)];
  }
  return [];
}

/** What istiod is told so that clients of headless Services are balanced as those of others. */
const HEADLESS = "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES";

/** Istio sends what is for a headless Service to the address that the client wanted, whatever was decided. */
export const notHeadless: Rule = (subject) => {
  const service = serviceOf(subject);
  const { model, world } = subject;
  if (service?.spec?.clusterIP !== "None" || model.mode === "observe") return [];
  const told = world
    .of("Deployment")
    .flatMap(({ spec }) => list(spec?.template?.spec?.containers))
    .some(({ env }) => list(env).some(({ name, value }) => name === HEADLESS && value === "true"));
  if (told) return [];
  const message = `${title(service)} is headless, and there Istio keeps to the address that a client has connected to`;
  const hint = `Give it a ClusterIP, or set ${HEADLESS}=true for istiod.`;
  return [error("headless", message, hint, placeOf(service))];
};

/** Clients connect to the address by which the module knows their connections, and in a bridge has a listener. */
export const addressAgrees: Rule = (subject) => {
  const service = serviceOf(subject);
  const { model } = subject;
  const { address } = model.istio;
  const bridged = model.mode === "bridge";
  if (!service || address === undefined || (bridged && isLoopback(address))) return [];
  const { clusterIP, clusterIPs = clusterIP === undefined ? [] : [clusterIP] } = service.spec ?? {};
  if (list(clusterIPs).length === 0) return [];
  if (list(clusterIPs).includes(address)) return otherFamily(model, service, list(clusterIPs));
  const none = clusterIP === "None";
  const actual = none
    ? `${title(service)} is headless: it has none`
    : `the address of ${title(service)} is ${clusterIP}`;
  const hint = !none ? `Set istio.address: ${clusterIP}` : bridged ? "Give it a ClusterIP." : "Leave it out.";
  const message = `istio.address is ${address}, and ${actual}`;
  return [failure(model)("address", message, hint, placeOf(service))];
};

/** A name stands for all addresses of a Service, and clients take the one that they like. */
function otherFamily(model: MeshModel, service: Found, addresses: readonly unknown[]): Finding[] {
  const others = addresses.filter((it) => it !== model.istio.address);
  if (others.length === 0) return [];
  const become = model.mode === "bridge" ? "are not bridged" : "pass unread";
  const message = `${title(service)} has the address ${others.join(", ")} too: connections to that one ${become}`;
  const hint = "Point the clients at istio.address, or give the Service ipFamilyPolicy: SingleStack.";
  return [warning("two_addresses", message, hint, placeOf(service))];
}

/** Istio knows the connections of clients by port numbers: without an address, those of all Services that share one. */
export const portsUnshared: Rule = (subject) => {
  const { model, world } = subject;
  const { ports, address } = model.istio;
  const own = serviceOf(subject);
  if (!own || model.mode === "bridge" || address !== undefined || clientPods(model).length === 0) return [];
  return ports.flatMap(({ port }): Finding[] => {
    const others = world.of("Service").filter((other) => other !== own && hasPort(other, port));
    const [first] = others;
    if (!first) return [];
    const more = others.length === 1 ? " has" : ` and ${others.length - 1} more have`;
    const message = `${title(first)}${more} port ${port} too, and the clients' connections to it are taken for those to ${title(own)}`;
    return [warning("shared_port", message, "Set istio.address to the Service's ClusterIP.", placeOf(first))];
  });
};

/** The pods behind the Service are those that istio.servers selects. */
export const selectorAgrees: Rule = (subject) => {
  const service = serviceOf(subject);
  const { model } = subject;
  const [servers] = serverPods(model);
  const selector = service?.spec?.selector as Record<string, string> | undefined;
  if (!service || !servers || !selector) return [];
  const pods = podsOf(subject, service);
  const left = pods.filter(({ labels }) => !selects(servers.labels, labels));
  const hint = "Set istio.servers.labels to labels that all pods of the Service have.";
  const wants = labelsText(servers.labels);
  if (left[0]) {
    const message = `${title(left[0].place)} is behind ${title(service)}, and istio.servers does not select it (${wants})`;
    return [failure(model)("service_selector", message, hint, left[0].place)];
  }
  const differs = Object.entries(servers.labels ?? {}).some(([key, value]) => (selector[key] ?? value) !== value);
  if (pods.length > 0 || !differs) return [];
  const message = `${title(service)} selects pods with ${labelsText(selector)}, and istio.servers those with ${wants}`;
  return [failure(model)("service_selector", message, hint, placeOf(service))];
};

/** Routes of Istio are those of a host: of all its ports that carry HTTP. */
export const noOtherHttpPorts: Rule = (subject) => {
  const service = serviceOf(subject);
  const { mode, routes, istio } = subject.model;
  if (!service || mode !== "bridge" || !routes) return [];
  return list(service.spec?.ports).flatMap((other: ServicePort): Finding[] => {
    const is = protocolOf(other);
    if (istio.ports.some(({ port }) => port === other.port) || !/^(HTTP2?|unknown)$/.test(is)) return [];
    const message = `the routes count for port ${other.port} of ${title(service)} as well, which carries other HTTP`;
    const hint = "Give that port a Service of its own.";
    return [warning("routes_elsewhere", message, hint, placeOf(service))];
  });
};

function hasPort({ spec }: Found, number: number): boolean {
  return list(spec?.ports).some(({ port, protocol = "TCP" }) => port === number && protocol === "TCP");
}

/** Entries of istio.ports beside those of the Service. */
function configured({ model }: Subject, service: Found) {
  const ports: ServicePort[] = list(service.spec?.ports);
  return model.istio.ports.flatMap((entry) => {
    const found = ports.find(({ port }) => port === entry.port);
    return found ? [{ ...entry, found }] : [];
  });
}

function podsOf({ world }: Subject, service: Found): Workload[] {
  const selector = service.spec?.selector;
  return selector ? world.selected({ namespace: service.metadata.namespace ?? "", labels: selector }) : [];
}

/** Numbers that containers call so; undefined where no pod is known. */
function named(name: string, pods: readonly Workload[]): number[] | undefined {
  if (pods.length === 0) return undefined;
  const ports = pods.flatMap(({ spec }) =>
    [...list(spec.containers), ...list(spec.initContainers)].flatMap((container) => list(container?.ports)),
  );
  return [...new Set<number>(ports.filter((it) => it.name === name).map((it) => it.containerPort))];
}
