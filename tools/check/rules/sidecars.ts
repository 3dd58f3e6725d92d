import { isDeepStrictEqual } from "node:util";
import { manifest } from "../../istio/manifest.js";
import { host, type MeshModel } from "../../istio/mesh.js";
import { INSTANCE, type IstioObject, MANAGED_BY } from "../../istio/resource.js";
import { ISTIO_MINORS, selects } from "../../model/istio/schema.js";
import { error, type Finding, warning } from "../finding.js";
import { clientPods, failure, others, type Rule, serverPods, serviceOf } from "../rule.js";
import {
  type Found,
  labelsText,
  list,
  placed,
  placeOf,
  type Selection,
  title,
  type Workload,
  type World,
} from "../world.js";

/** Sidecars that this configuration comes to, before they are joined with any other. */
function wanted(model: MeshModel): IstioObject[] {
  const istio = { ...model.istio, version: ISTIO_MINORS.last };
  const { resources } = manifest([{ ...model, istio }], { url: "oci://localhost/meltemi" });
  return resources.map(({ object }) => object).filter(({ kind }) => kind === "Sidecar");
}

/** Ours is the one that counts for its pods. */
export const sidecarCounts: Rule = (subject) => {
  const { model, models, world } = subject;
  const inThisRun = models.filter((it) => it !== model).flatMap((it) => wanted(it).map((object) => placed(object)));
  return wanted(model).flatMap((ours) => {
    const pods = selection(ours);
    const whose = `pods with ${labelsText(pods.labels)} in ${pods.namespace}`;
    const applied = world.find("Sidecar", ours.metadata.name, pods.namespace);
    // Those of one run are joined where they are for the same pods.
    const apart = inThisRun.filter((it) => !isDeepStrictEqual(selection(it), pods));
    const rivals = [...others(subject, "Sidecar"), ...apart].filter((it) => !holds(it, ours));
    return rivals.flatMap((rival): Finding[] => {
      const theirs = selection(rival);
      const samePlace = theirs.namespace === pods.namespace;
      if (samePlace && (theirs.labels ? meets(world, pods, theirs) : !pods.labels)) {
        const message = `${title(rival)} is for ${whose} too, and only one Sidecar counts for a pod`;
        return [error("two_sidecars", message, joining(rival, isDeepStrictEqual(theirs, pods)), placeOf(rival))];
      }
      const forAll = !theirs.labels && (samePlace || theirs.namespace === world.rootNamespace);
      if (!forAll || (applied && holds(applied, rival))) return [];
      const message = `${title(rival)} would no longer count for ${whose}, because Meltemi's Sidecar does`;
      return [warning("sidecar_replaced", message, "meltemi apply --merge keeps what it says.", placeOf(rival))];
    });
  });
};

function joining({ metadata }: Found, samePods: boolean): string {
  const { [MANAGED_BY]: by, [INSTANCE]: set } = metadata.labels ?? {};
  if (!samePods) return "Select the same pods in both, so that they can be joined.";
  if (by === "meltemi") return `Give this configuration and that of ${set} to one command.`;
  return "meltemi apply --merge joins the two.";
}

/** Whether both select some pod, known or not. */
function meets(world: World, a: Selection, b: Selection): boolean {
  return (
    selects(b.labels, a.labels) ||
    selects(a.labels, b.labels) ||
    world.selected(a).some((pod) => selects(b.labels, pod.labels))
  );
}

function selection({ metadata, spec }: Pick<Found, "metadata" | "spec">): Selection {
  const { labels } = (spec?.workloadSelector ?? {}) as { labels?: Record<string, string> };
  const { namespace = "default" } = metadata;
  return { namespace, ...(labels && Object.keys(labels).length > 0 && { labels }) };
}

/** Whether one has all listeners of the other: the two were joined. */
function holds({ spec }: Pick<Found, "spec">, part: Pick<Found, "spec">): boolean {
  return (["ingress", "egress"] as const).every((side) =>
    list(part.spec?.[side]).every((entry) =>
      entry.port === undefined && side === "egress" && isDeepStrictEqual(entry.hosts, ["*/*"])
        ? list(spec?.[side]).some(({ port }) => port === undefined)
        : list(spec?.[side]).some((it) => isDeepStrictEqual(it, entry)),
    ),
  );
}

/** The Sidecar that counts for a pod. Where several select it, Istio takes one of them. */
function countsFor(world: World, { namespace, labels }: Workload): Found | undefined {
  const here = world.of("Sidecar", namespace).map((object) => ({ object, pods: selection(object) }));
  return (
    here.find(({ pods }) => pods.labels && selects(pods.labels, labels)) ??
    here.find(({ pods }) => !pods.labels) ??
    world
      .of("Sidecar", world.rootNamespace)
      .map((object) => ({ object, pods: selection(object) }))
      .find(({ pods }) => !pods.labels)
  )?.object;
}

/** A Sidecar that lists ports of its pods lists ours; elsewhere Istio has no chain for the module. */
export const portsListed: Rule = ({ model, world }) => {
  if (model.mode === "bridge") return [];
  return serverPods(model).flatMap((pods) =>
    world.selected(pods).flatMap((workload) => {
      const sidecar = countsFor(world, workload);
      const listed = list(sidecar?.spec?.ingress).map(({ port }) => port?.number);
      if (!sidecar || listed.length === 0) return [];
      return model.istio.ports.flatMap(({ port, targetPort = port }): Finding[] => {
        if (listed.includes(targetPort)) return [];
        const message = `${title(sidecar)} lists the ports of ${title(workload.place)} without ${targetPort}, which then has no place for the module`;
        const hint = `Add an ingress entry for port ${targetPort} with protocol TCP.`;
        return [warning("port_not_listed", message, hint, placeOf(sidecar))];
      });
    }),
  );
};

/** What else the servers' pods serve is in istio.servers.otherPorts: the Sidecar of a bridge lists all ports or loses them. */
export const otherPortsListed: Rule = (subject) => {
  const { model, world } = subject;
  if (model.mode !== "bridge") return [];
  const { ports, servers } = model.istio;
  return serverPods(model).flatMap((pods) => {
    const workloads = world.selected(pods);
    const listed = new Set([
      ...ports.map(({ port, targetPort = port }) => targetPort),
      ...(servers.otherPorts ?? []).map(({ port }) => port),
      ...workloads.flatMap((workload) =>
        list(countsFor(world, workload)?.spec?.ingress).map(({ port }) => port?.number),
      ),
    ]);
    return world.of("Service", pods.namespace).flatMap((service) => {
      const selector = service.spec?.selector;
      const own = selector && workloads.find(({ labels }) => selects(selector, labels));
      if (!own) return [];
      const others = list(service.spec.ports).filter(
        ({ port }) => service !== serviceOf(subject) || !ports.some((it) => it.port === port),
      );
      return others.flatMap(({ port, targetPort = port, protocol = "TCP" }): Finding[] => {
        const number = typeof targetPort === "number" ? targetPort : numberOf(own, targetPort);
        if (protocol !== "TCP" || number === undefined || listed.has(number)) return [];
        const message = `port ${number} of ${title(own.place)} (port ${port} of ${title(service)}) is not in istio.servers.otherPorts, so that Istio would send it past its filters`;
        const hint = `Add it to istio.servers.otherPorts, such as { port: ${number}, protocol: HTTP }.`;
        return [warning("other_port", message, hint, placeOf(service))];
      });
    });
  });
};

function numberOf({ spec }: Workload, name: string): number | undefined {
  return list(spec.containers)
    .flatMap((container) => list(container?.ports))
    .find((port) => port.name === name)?.containerPort;
}

/** A Sidecar that names what its pods may call names the service: else their proxies do not know it. */
export const serviceImported: Rule = ({ model, world }) => {
  if (model.mode === "bridge") return [];
  return clientPods(model).flatMap((pods) =>
    world.selected(pods).flatMap((workload): Finding[] => {
      const sidecar = countsFor(world, workload);
      const egress = list(sidecar?.spec?.egress);
      if (!sidecar || egress.length === 0) return [];
      const { ports } = model.istio;
      const listeners = egress.filter((entry) => !entry.port || ports.some(({ port }) => port === entry.port.number));
      const imported = (entry: unknown) => imports(String(entry), model, workload.namespace);
      if (listeners.some(({ hosts }) => list(hosts).some(imported))) return [];
      const message = `${title(sidecar)} does not let ${title(workload.place)} know ${host(model)}`;
      const hint = `Add "${model.istio.namespace}/${host(model)}" to the hosts of its egress.`;
      return [failure(model)("not_imported", message, hint, placeOf(sidecar))];
    }),
  );
};

/** `NAMESPACE/HOST`, where each may be `*`, the namespace `.` for that of the pod, and the host begin with `*`. */
function imports(entry: string, model: MeshModel, here: string): boolean {
  const [namespace = "", name = ""] = entry.split("/");
  const at = namespace === "." ? here : namespace;
  if (at !== "*" && at !== model.istio.namespace) return false;
  return name === host(model) || (name.startsWith("*") && host(model).endsWith(name.slice(1)));
}
