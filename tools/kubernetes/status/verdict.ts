import { name } from "../set.js";
import type { PluginStatus, ProxyState, ProxyStatus, Status } from "./status.js";
import { type Plugin, type Pod, portsOf, selectionOf } from "./workloads.js";

/** A sentence about what is not as it should be, and what to do. */
export interface Finding {
  text: string;
  hint?: string | undefined;
}

export interface Verdict {
  /** What is wrong: it is not, or not yet, rolled out. */
  problems: Finding[];
  /** What could not be seen, so that nobody can say. */
  unseen: Finding[];
  /** What else is worth knowing. */
  notes: Finding[];
}

export function judge(status: Status): Verdict {
  return {
    problems: [...objectProblems(status), ...syncProblems(status), ...status.plugins.flatMap(pluginProblems)],
    unseen: unseen(status),
    notes: [...istiodNotes(status), ...proxyNotes(status)],
  };
}

const OBJECTS = {
  missing: { text: "not applied", hint: "Apply it: meltemi apply" },
  differs: { text: "not as the configurations have it", hint: "What differs: meltemi diff" },
  extra: { text: "no longer in the configurations", hint: "meltemi apply takes it away" },
} as const;

function objectProblems({ services, objects, plugins }: Status): Finding[] {
  if (objects.length === 0) {
    const text = `nothing in the cluster carries the labels of ${services.join(", ")}`;
    return [{ text, hint: "Apply it: meltemi apply" }];
  }
  const problems: Finding[] = Object.entries(OBJECTS).flatMap(([state, { text, hint }]) => {
    const found = objects.filter((it) => it.state === state).map(({ object }) => name(object));
    return found.length > 0 ? [{ text: `${some(found)}: ${text}`, hint }] : [];
  });
  const refused = objects.flatMap(({ object }) =>
    conditions(object.status)
      .filter(({ status }) => status === "False")
      .map(({ type, reason, message }) => ({
        text: `${name(object)}: not ${type}: ${message || reason || "no reason"}`,
      })),
  );
  const digests = new Set(plugins.map(({ plugin }) => plugin.digest));
  const several: Finding = {
    text: `the plugins name ${digests.size} different images: ${[...digests].map(short).join(", ")}`,
    hint: "meltemi apply --image REF gives all of them the same.",
  };
  return [...problems, ...refused, ...(digests.size > 1 ? [several] : [])];
}

function pluginProblems({ plugin, proxies }: PluginStatus): Finding[] {
  if (proxies.length === 0) {
    const { namespace } = plugin.object.metadata;
    const text = `${name(plugin.object)}: no pod is selected (${selectionOf(plugin)} in ${namespace})`;
    return [{ text, hint: "Are the pods up? Which are meant is in meltemi.yaml: istio.servers, istio.clients." }];
  }
  return Object.entries(PROXIES).flatMap(([state, say]) => {
    const found = proxies.filter((proxy) => proxy.state === state);
    if (found.length === 0) return [];
    const { text, hint } = say({ plugin, proxies: found });
    return [{ text: `${podNames(found)}: ${text}`, hint }];
  });
}

/** What is wrong with the proxies in a state, and what to do. Those that are missing here are right, or not seen. */
const PROXIES: { [K in ProxyState]?: (of: PluginStatus) => Finding } = {
  "not up": ({ proxies }) => ({
    text: `not up (${[...new Set(proxies.map(({ pod }) => pod.phase))].join(", ")})`,
    hint: `Why: kubectl describe pod ${onePod(proxies)}`,
  }),
  "no sidecar": ({ plugin, proxies }) => ({
    text: `no sidecar, so that nothing runs ${plugin.name}`,
    hint: proxies.some(({ pod }) => pod.ambient)
      ? "In ambient mode there are none: name a waypoint by targetRefs in meltemi.yaml."
      : "Label their namespace istio-injection=enabled (or istio.io/rev=REVISION) and start the pods anew.",
  }),
  "no listener": ({ plugin }) => ({
    text: `no listener has ${plugin.name} (it is for port ${portsOf(plugin).join(", ")})`,
    hint:
      "Is there a Service with this port, whose name begins as `meltemi manifest` says? Does another Sidecar take the " +
      "place of ours?",
  }),
  loading: ({ plugin, proxies }) => ({
    text: `a listener waits for ${plugin.name}`,
    hint: `Its image is being fetched. Should it stay so: ${logs(proxies)}`,
  }),
  "denies all": ({ plugin, proxies }) => ({
    text: `the image of ${plugin.name} could not be fetched: all connections are closed`,
    hint: notFetched(plugin, proxies),
  }),
  "passes all": ({ plugin, proxies }) => ({
    text: `the image of ${plugin.name} could not be fetched: all connections pass without it`,
    hint: notFetched(plugin, proxies),
  }),
  rejected: ({ plugin, proxies }) => ({
    text: `${plugin.name} does not start with its configuration`,
    hint: `Why: ${logs(proxies)}`,
  }),
  "old image": ({ plugin, proxies }) => ({
    text: `${plugin.name} is still ${digests(proxies)} instead of ${short(plugin.digest)}`,
    hint: "The new one may still be on its way: --wait 60s",
  }),
  "old config": ({ plugin }) => ({
    text: `${plugin.name} still has an older configuration`,
    hint: "The new one may still be on its way: --wait 60s",
  }),
};

function notFetched({ object }: Plugin, proxies: readonly ProxyStatus[]): string {
  const { namespace, name } = object.metadata;
  return [
    `Why: ${logs(proxies)}`,
    `A private registry needs istio.pullSecret, a Secret in ${namespace}. Once the image can be fetched, Istio's agent ` +
      "tries again when the plugin changes, or the pod starts anew:",
    `kubectl annotate -n ${namespace} ${object.kind.toLowerCase()} ${name} --overwrite retry=$RANDOM`,
  ].join("\n");
}

function logs(proxies: readonly ProxyStatus[]): string {
  return `kubectl logs ${onePod(proxies)} -c istio-proxy | grep -i wasm`;
}

function onePod([first]: readonly ProxyStatus[]): string {
  return first ? `-n ${first.pod.namespace} ${first.pod.name}` : "";
}

function digests(proxies: readonly ProxyStatus[]): string {
  return [...new Set(proxies.map(({ digest }) => short(digest)))].join(", ");
}

/** About the proxies themselves, whatever plugins they have. */
function syncProblems({ plugins }: Status): Finding[] {
  const proxies = unique(plugins.flatMap(({ proxies }) => proxies)).filter(({ state }) => !ABSENT.includes(state));
  const about = (found: readonly ProxyStatus[], text: string, hint: string): Finding[] =>
    found.length > 0 ? [{ text: `${podNames(found)}: ${text}`, hint }] : [];
  const unknown = proxies.filter(({ sync }) => sync === "unknown");
  const pending = proxies.filter(({ sync }) => typeof sync === "object" && sync.state === "pending");
  const rejected = proxies.flatMap((proxy) => {
    const { sync, refused, state } = proxy;
    // What istiod was told says it all; without istiod there is what Envoy shows of its listeners.
    const told = typeof sync === "object" && sync.state === "rejected" ? sync.errors.map(({ details }) => details) : [];
    const details = told.length > 0 ? told : refused.map(({ listener, details }) => `${listener}: ${details}`);
    return details.length > 0 && state !== "rejected" ? [{ proxy, details: details.join("\n") }] : [];
  });
  return [
    ...about(
      unknown,
      "istiod knows no such proxy",
      "Has it just started? What its agent says: kubectl logs -c istio-proxy",
    ),
    ...about(pending, "has not answered what istiod has sent", "It may be on its way: --wait 60s"),
    ...rejected.flatMap(({ proxy, details }) =>
      about(
        [proxy],
        "Envoy does not take its configuration, and stays with the one before",
        `${details}\nIt is not tried again before something in it changes, or the pod starts anew.`,
      ),
    ),
  ];
}

const ABSENT: readonly ProxyState[] = ["no sidecar", "not up"];

function unseen({ unseen, plugins }: Status): Finding[] {
  const proxies = unique(plugins.flatMap(({ proxies }) => proxies)).filter((proxy) => proxy.unseen);
  const forbidden = proxies.filter(({ unseen }) => unseen?.code === "E_FORBIDDEN");
  const others = proxies.flatMap(({ unseen }) => (unseen && unseen.code !== "E_FORBIDDEN" ? [unseen] : []));
  const one = forbidden[0]?.unseen;
  return [
    ...new Map([...unseen, ...others].map((error) => [error.message, error])).values(),
    // For one pod as for all.
    ...(one
      ? [{ message: `${podNames(forbidden)}: port-forwarding is forbidden`, options: { hint: one.options.hint } }]
      : []),
  ].map(({ message, options }) => ({ text: message, hint: options.hint }));
}

function proxyNotes({ plugins }: Status): Finding[] {
  const reloaded = plugins.flatMap(({ plugin, proxies }) =>
    proxies
      .filter(({ counts }) => counts && counts.reloads > 0)
      .map(({ pod, counts }) => ({
        text: `${podName(pod)}: ${plugin.name} has failed and was started anew, ${counts?.reloads} times since the pod's start`,
        hint: `A defect of the module; please report it with: kubectl logs -n ${pod.namespace} ${pod.name} -c istio-proxy`,
      })),
  );
  const unlabelled = plugins.flatMap(({ proxies }) =>
    proxies.filter(({ counts }) => counts && counts.requests === undefined),
  );
  const labels: Finding = {
    text: "labels of the metrics are no labels, so that nobody can tell requests apart",
    hint: "What to put into MeshConfig is at the top of what `meltemi manifest` prints. Pods take it from their start.",
  };
  return [...reloaded, ...(unlabelled.length > 0 ? [labels] : [])];
}

interface Condition {
  type?: string;
  status?: string;
  reason?: string;
  message?: string;
}

function conditions(status: unknown): Condition[] {
  return (status as { conditions?: Condition[] } | undefined)?.conditions ?? [];
}

/** What istiod notes down on objects, where it is told to. */
function istiodNotes({ objects }: Status): Finding[] {
  return objects.flatMap(({ object }) => {
    const { validationMessages = [] } = (object.status ?? {}) as {
      validationMessages?: { type?: { name?: string; code?: string }; documentationUrl?: string }[];
    };
    return validationMessages.map(({ type, documentationUrl }) => ({
      text: `${name(object)}: Istio's analysis says ${type?.name ?? "something"} (${type?.code ?? "no code"})`,
      hint: documentationUrl,
    }));
  });
}

function unique(proxies: readonly ProxyStatus[]): ProxyStatus[] {
  return [...new Map(proxies.map((proxy) => [podName(proxy.pod), proxy])).values()];
}

function podNames(proxies: readonly ProxyStatus[]): string {
  return some(proxies.map(({ pod }) => podName(pod)));
}

export function podName({ namespace, name }: Pod): string {
  return `${namespace}/${name}`;
}

/** As much of a digest as people compare. */
export function short(digest: string | undefined): string {
  return digest?.slice(0, 12) ?? "unpinned";
}

const FEW = 3;

function some(names: readonly string[]): string {
  if (names.length <= FEW + 1) return names.join(", ");
  return `${names.slice(0, FEW).join(", ")} and ${names.length - FEW} others`;
}
