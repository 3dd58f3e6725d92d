import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Exit, UserError } from "../errors.js";
import { interrupted } from "../interrupt.js";
import {
  API_VERSIONS,
  INSTANCE,
  type IstioObject,
  MANAGED_BY,
  type Manifest,
  servedBy,
  setOf,
} from "../istio/resource.js";
import { type Cluster, FIELD_MANAGER, type ListOptions, type LiveObject, type Reference } from "./client.js";
import { KINDS, type Kind } from "./kinds.js";
import { nameOf } from "./problem.js";

/*
 * A set: the objects of some services. In a cluster they are known by their labels, whoever applied them.
 */

/** What becomes of one object of a set. */
export interface Step {
  object: LiveObject;
  /** As the cluster has it; nothing where it is new. */
  live: LiveObject | undefined;
  /** As it would be once all of `object` has been applied, if need be by force. */
  result: LiveObject;
  change: Change;
  /** Why only force would do it: others have set some of its fields, or it is not of these services. */
  conflict?: UserError;
}

export type Change = "created" | "configured" | "unchanged";

export interface Plan {
  steps: Step[];
  /** What carries the services' labels and is not wanted any more. */
  prune: LiveObject[];
  /** Why only force would prune some of it. */
  conflicts: UserError[];
}

/** `WasmPlugin shop/greeter` */
export function name({ kind, metadata }: Reference): string {
  return nameOf({ kind, ...metadata });
}

/**
 * Asks the API server what would become of the whole set, without changing anything: schemas, admission webhooks,
 * permissions and other managers' fields included.
 *
 * @throws UserError as the cluster does; where it refuses objects the error tells of all of them, with the code of the first
 */
export async function plan(cluster: Cluster, manifest: Manifest, { prune }: { prune: boolean }): Promise<Plan> {
  const refused: UserError[] = [];
  const unlessRefused = async <T>(asked: Promise<T>): Promise<T[]> => {
    try {
      return [await asked];
    } catch (error) {
      if (!(error instanceof UserError) || GLOBAL.includes(error.code)) throw error;
      refused.push(error);
      return [];
    }
  };
  const steps: Step[] = [];
  // One after the other: the first of a dead server's errors is enough.
  for (const { object } of manifest.resources)
    steps.push(...(await unlessRefused(step(cluster, object, manifest.names))));
  const [found = []] = prune ? await unlessRefused(members(cluster, manifest.names)) : [];
  if (refused.length > 0) throw together("refused", refused, prune);
  const kept = new Set(manifest.resources.map(({ object }) => key(object)));
  const unwanted = found.filter((object) => !kept.has(key(object)));
  return { steps, prune: unwanted, conflicts: unwanted.flatMap((object) => shared(object, manifest.names) ?? []) };
}

/** What is no fault of an object, and the same for all others. */
export const GLOBAL: readonly string[] = [
  "E_UNREACHABLE",
  "E_ANSWER",
  "E_CERTIFICATE",
  "E_UNAUTHORIZED",
  "E_KUBECONFIG",
  "E_INTERRUPTED",
];

async function step(cluster: Cluster, wanted: IstioObject, services: readonly string[]): Promise<Step> {
  const live = await cluster.read(wanted);
  // An object that somebody has read from a cluster brings what only the server may say.
  const object = content(wanted);
  const to = (result: LiveObject): Step => ({ object, live, result, change: changeOf(live, result) });
  const foreign = live && setOf(object) !== undefined && !services.includes(setOf(live) ?? "");
  const conflict = live && (foreign ? notOurs(live) : shared(live, services));
  if (conflict) {
    return { ...to(await cluster.apply(object, { dryRun: true, force: true })), conflict };
  }
  try {
    return to(await cluster.apply(object, { dryRun: true }));
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== "E_CONFLICT") throw error;
    return { ...to(await cluster.apply(object, { dryRun: true, force: true })), conflict: error };
  }
}

function notOurs(live: LiveObject): UserError {
  const service = setOf(live);
  const why = service ? `it belongs to another service, ${service}` : "it is there already, and not made by meltemi";
  return new UserError("E_CONFLICT", `${name(live)}: ${why}`, {
    exit: Exit.failed,
    hint: "Rename one of the two, or take the object over with --force-conflicts.",
  });
}

/** Why an object cannot be changed or deleted for some of the services that share it. */
function shared(object: LiveObject, services: readonly string[]): UserError | undefined {
  const others = servedBy(object).filter((service) => !services.includes(service));
  if (others.length === 0) return undefined;
  const message = `${name(object)} serves ${others.join(" and ")} too, which would go without it`;
  const hint =
    "Name all services that share it in one command, or insist with --force-conflicts and apply the others again.";
  return new UserError("E_CONFLICT", message, { exit: Exit.failed, hint });
}

/** @throws UserError `E_CONFLICT` where only force would carry a plan out */
export function refuseConflicts({ steps, conflicts }: Pick<Plan, "steps" | "conflicts">): void {
  const all = [...steps.flatMap(({ conflict }) => conflict ?? []), ...conflicts];
  if (all.length > 0) throw together("in conflict", all);
}

/** @throws UserError `E_CONFLICT` where other services would miss some of these objects */
export function refuseShared(objects: readonly LiveObject[], services: readonly string[]): void {
  const conflicts = objects.flatMap((object) => shared(object, services) ?? []);
  if (conflicts.length > 0) throw together("in conflict", conflicts);
}

/** Applies a plan in its order, then prunes. `done` hears of each object after the server has it. */
export async function apply(
  cluster: Cluster,
  { steps, prune, conflicts }: Plan,
  options: { force: boolean; signal?: AbortSignal; done: (object: Reference, what: Change | "pruned") => void },
): Promise<void> {
  const { force, signal, done } = options;
  if (!force) refuseConflicts({ steps, conflicts });
  await each(
    [
      ...steps.map(({ object, live }) => ({
        object,
        act: async () => done(object, changeOf(live, await cluster.apply(object, { force }))),
      })),
      ...prune.map((object) => ({
        object,
        act: async () => {
          await cluster.delete(object);
          done(object, "pruned");
        },
      })),
    ],
    signal,
  );
}

/** Deletes objects in this order. `done` hears of each after the server has taken the order. */
export async function remove(
  cluster: Cluster,
  objects: readonly LiveObject[],
  { signal, done }: { signal?: AbortSignal; done: (object: LiveObject) => void },
): Promise<void> {
  await each(
    objects.map((object) => ({
      object,
      act: async () => {
        await cluster.delete(object);
        done(object);
      },
    })),
    signal,
  );
}

/**
 * Waits until objects are gone: finalizers can take their time. One of the same name that somebody made meanwhile counts as
 * gone.
 * @throws UserError `E_NOT_GONE`
 */
export async function gone(
  cluster: Cluster,
  objects: readonly LiveObject[],
  { signal, timeoutMs }: { signal?: AbortSignal; timeoutMs: number },
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (const object of objects) {
    for (;;) {
      const live = await cluster.read(object);
      if (live?.metadata.uid !== object.metadata.uid) break;
      if (Date.now() > deadline) {
        const { finalizers = [] } = live?.metadata ?? {};
        const hint = finalizers.length > 0 ? `What has to let go of it first: ${finalizers.join(", ")}` : "";
        const message = `${name(object)} is being deleted, but still there after ${timeoutMs / 1000} s`;
        throw new UserError("E_NOT_GONE", message, { exit: Exit.failed, hint });
      }
      await sleep(POLL_MS, undefined, signal && { signal }).catch(() => {
        throw interrupted();
      });
    }
  }
}

const POLL_MS = 250;

/**
 * All that carries the labels of some services, in any namespace, in the order in which it should be deleted: what refers to
 * others comes first.
 */
export async function members(cluster: Cluster, services: readonly string[]): Promise<LiveObject[]> {
  const labels = { [MANAGED_BY]: ["meltemi"], [INSTANCE]: services };
  const found: LiveObject[] = [];
  for (const kind of KINDS.toReversed()) found.push(...(await all(cluster, kind, { labels })));
  return found;
}

/** Sidecars that somebody else owns and that this tool has added entries to. */
export async function addedTo(cluster: Cluster): Promise<LiveObject[]> {
  const sidecars = await all(cluster, { apiVersion: API_VERSIONS.Sidecar, kind: "Sidecar" });
  return sidecars.filter(
    (object) =>
      setOf(object) === undefined &&
      object.metadata.managedFields?.some(({ manager }) => manager === FIELD_MANAGER) === true,
  );
}

/** A version of Istio without a kind has none of it. */
async function all(cluster: Cluster, { apiVersion, kind }: Kind, options?: ListOptions): Promise<LiveObject[]> {
  try {
    return await cluster.list(apiVersion, kind, options);
  } catch (error) {
    if (error instanceof UserError && error.code === "E_NO_KIND") return [];
    throw error;
  }
}

/**
 * Does one thing after the other, and says exactly how far it came where one fails or the user has enough.
 * @throws UserError `E_INCOMPLETE`
 */
async function each(
  tasks: readonly { object: Reference; act: () => Promise<void> }[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const [index, { object, act }] of tasks.entries()) {
    try {
      if (signal?.aborted) throw interrupted();
      await act();
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const unknown = ["E_UNREACHABLE", "E_ANSWER"].includes(error.code);
      const rest = tasks.slice(unknown ? index + 1 : index).map((task) => `  ${name(task.object)}`);
      const hint = [
        ...(unknown ? [`Nobody answered for this one, so it may be done or not:\n  ${name(object)}`] : []),
        ...(rest.length > 0 ? [`Not done:\n${rest.join("\n")}`] : []),
        ...(error.options.hint ? [error.options.hint] : []),
        "The same command again does what is left.",
      ].join("\n");
      const message = `${index} of ${tasks.length} done, then: ${error.message}`;
      const exit = error.code === "E_INTERRUPTED" ? Exit.interrupted : Exit.failed;
      throw new UserError("E_INCOMPLETE", message, { exit, hint, cause: error });
    }
  }
}

/** One error for several, each said once. */
function together(what: string, problems: readonly UserError[], pruning = false): UserError {
  const first = problems[0] as UserError;
  const unique = [...new Set(problems.map(({ message }) => message))];
  const hints = [...new Set(problems.flatMap(({ options }) => options.hint ?? []))];
  if (pruning && problems.some(({ code, message }) => code === "E_FORBIDDEN" && message.includes("cannot list")))
    hints.push("Without the right to list them in all namespaces: --no-prune");
  const count = problems.length === 1 ? "one object is" : `${problems.length} objects are`;
  return new UserError(first.code, `nothing was changed: ${count} ${what}`, {
    exit: first.exit,
    hint: [...unique, "", ...hints].join("\n"),
    cause: first,
  });
}

function key({ apiVersion, kind, metadata }: Reference): string {
  return [apiVersion.split("/")[0], kind, metadata.namespace, metadata.name].join("/");
}

function changeOf(live: LiveObject | undefined, result: LiveObject): Change {
  if (!live) return "created";
  return isDeepStrictEqual(content(live), content(result)) ? "unchanged" : "configured";
}

/** What somebody wants of an object, without what the server and Istio note down on it. */
export function content(object: LiveObject): LiveObject {
  const { status: _, metadata, ...rest } = object;
  const { name, namespace, labels, annotations } = metadata;
  const { "kubectl.kubernetes.io/last-applied-configuration": __, ...notes } = annotations ?? {};
  const kept = { name, namespace, labels, annotations: Object.keys(notes).length > 0 ? notes : undefined };
  // As JSON, so that what is undefined is not there.
  return JSON.parse(JSON.stringify({ ...rest, metadata: kept }));
}
