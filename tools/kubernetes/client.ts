import { setTimeout as sleep } from "node:timers/promises";
import type {
  KubeConfig,
  KubernetesObject,
  KubernetesObjectApi,
  RequestContext,
  ResponseContext,
} from "@kubernetes/client-node";
import { UserError } from "../errors.js";
import { interrupted } from "../interrupt.js";
import { type ClusterOptions, load } from "./kubeconfig.js";
import { type Action, explain, mayPass, NoAnswer } from "./problem.js";

/** Whose fields are whose is what the API server knows by this name. */
export const FIELD_MANAGER = "meltemi";

const TIMEOUT_MS = 20_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 5_000;

type ResponseBody = ResponseContext["body"];

/** What names an object. */
export interface Reference {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
}

/** An object as a cluster has it. */
export interface LiveObject extends Reference {
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    creationTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    deletionTimestamp?: string;
    finalizers?: string[];
    managedFields?: { manager?: string; operation?: string }[];
  };
  spec?: unknown;
  status?: unknown;
}

export interface ListOptions {
  /** All namespaces where it is missing. */
  namespace?: string;
  /** All of these labels, each with one of its values. */
  labels?: Record<string, readonly string[]>;
}

export interface ConnectOptions extends ClusterOptions {
  /** Ends what only reads. A write that has begun is never broken off, because nobody could say what came of it. */
  signal?: AbortSignal;
  /** A sentence that the server says beside its answers, such as a deprecation or what Istio's webhook thinks. */
  onWarning?: (text: string) => void;
  /** For each request: 20 seconds where it is missing. */
  timeoutMs?: number;
}

/**
 * A Kubernetes API server: all that this tool asks of one. Every method throws UserErrors: `E_KUBECONFIG`,
 * `E_UNREACHABLE`, `E_CERTIFICATE`, `E_UNAUTHORIZED`, `E_FORBIDDEN`, `E_NO_KIND`, `E_API`, `E_ANSWER`, `E_INTERRUPTED`.
 * What changes nothing is tried again a few times where the server may only be busy; what changes something is not.
 */
export class Cluster {
  private constructor(
    /** For what a list of objects is not enough: port-forwarding, commands in a pod. */
    readonly kubeconfig: KubeConfig,
    private readonly api: KubernetesObjectApi,
    private readonly signal: AbortSignal | undefined,
  ) {}

  /** Reads the kubeconfig. Asks the server nothing yet. @throws UserError `E_KUBECONFIG`, `E_CONTEXT` */
  static async connect(options: ConnectOptions = {}): Promise<Cluster> {
    const library = await loadLibrary();
    const kubeconfig = load(new library.KubeConfig(), options);
    const cluster = kubeconfig.getCurrentCluster() as NonNullable<ReturnType<KubeConfig["getCurrentCluster"]>>;
    const { signal, onWarning, timeoutMs = TIMEOUT_MS } = options;
    const configuration = library.createConfiguration({
      baseServer: new library.ServerConfiguration(cluster.server, {}),
      authMethods: { default: kubeconfig },
      promiseMiddleware: [
        {
          pre: async (request) => {
            const timeout = AbortSignal.timeout(timeoutMs);
            request.setSignal(signal && onlyReads(request) ? AbortSignal.any([signal, timeout]) : timeout);
            return request;
          },
          post: async (response) => {
            for (const text of warnings(response.headers.warning)) onWarning?.(text);
            const { httpStatusCode: code, body } = response;
            if (code >= 200 && code < 300) response.body = answer(await body.text());
            return response;
          },
        },
      ],
    });
    return new Cluster(kubeconfig, new library.KubernetesObjectApi(configuration), signal);
  }

  /** The API server's URL, without a password that may stand in it. */
  get server(): string {
    return this.kubeconfig.getCurrentCluster()?.server.replace(/\/\/[^/]*@/, "//") ?? "";
  }

  get context(): string {
    return this.kubeconfig.getCurrentContext();
  }

  /** @throws UserError `E_NO_KIND` where the cluster does not know the kind */
  async list(apiVersion: string, kind: string, { namespace, labels }: ListOptions = {}): Promise<LiveObject[]> {
    const selector = labels && Object.entries(labels).map(([key, values]) => `${key} in (${values.join(",")})`);
    const none = undefined;
    return this.reading({ verb: "list", apiVersion, kind, namespace }, async () => {
      const { items } = await this.api.list(apiVersion, kind, namespace, none, none, none, none, selector?.join(","));
      // An empty list in Go may be null.
      if (items === null) return [];
      if (!Array.isArray(items)) throw new NoAnswer("there is no list in it");
      // The items of a list of Kubernetes' own kinds do not say what they are.
      return items.map((item) => ({ ...plain(item), apiVersion, kind }));
    });
  }

  /** Answers nothing where there is no such object. */
  async read({ apiVersion, kind, metadata }: Reference): Promise<LiveObject | undefined> {
    const { name, namespace } = metadata;
    const action: Action = { verb: "get", apiVersion, kind, namespace, name };
    try {
      return await this.reading(action, async () =>
        plain(
          await this.api.read({
            apiVersion,
            kind,
            metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
          }),
        ),
      );
    } catch (error) {
      if (error instanceof UserError && error.code === "E_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /**
   * Server-side apply: the fields of `object` become what it says, all others stay. Answers the whole object.
   *
   * @param dryRun all of it, admission webhooks as well, but nothing is stored
   * @param force fields that other managers set differently are taken from them
   * @throws UserError besides those of every method: `E_CONFLICT` (a line for each field that is another manager's),
   *   `E_INVALID` (a line for each field that the schema or a webhook refuses), `E_NO_NAMESPACE`
   */
  async apply(object: Reference, { dryRun = false, force = false } = {}): Promise<LiveObject> {
    const { apiVersion, kind, metadata } = object;
    const action: Action = { verb: "patch", apiVersion, kind, namespace: metadata.namespace, name: metadata.name };
    const patch = async () =>
      plain(
        await this.api.patch(
          // The library adds to the object that it is given.
          structuredClone(object) as KubernetesObject,
          undefined,
          dryRun ? "All" : undefined,
          FIELD_MANAGER,
          force,
          "application/apply-patch+yaml",
        ),
      );
    return dryRun ? this.reading(action, patch) : this.asking(action, patch);
  }

  /** Nothing happens where the object is gone already, or is another by now (its uid differs from the one that is given). */
  async delete({ apiVersion, kind, metadata }: LiveObject): Promise<void> {
    const { name, namespace, uid } = metadata;
    const action: Action = { verb: "delete", apiVersion, kind, namespace, name };
    const none = undefined;
    const remove = () =>
      this.api.delete(
        { apiVersion, kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } },
        none,
        none,
        none,
        none,
        none,
        uid === undefined ? none : { preconditions: { uid } },
      );
    try {
      await this.asking(action, remove);
    } catch (error) {
      if (!(error instanceof UserError) || !["E_NOT_FOUND", "E_CHANGED"].includes(error.code)) throw error;
    }
  }

  /** Tries again what may pass by itself. */
  private async reading<T>(action: Action, body: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        this.signal?.throwIfAborted();
        return await body();
      } catch (error) {
        const pause = attempt < ATTEMPTS && !this.signal?.aborted ? mayPass(error) : undefined;
        if (pause === undefined) throw this.problem(error, action);
        const wait = Math.min(Math.max(pause, FIRST_PAUSE_MS * 2 ** (attempt - 1)), LONGEST_PAUSE_MS);
        await sleep(wait, undefined, this.signal && { signal: this.signal }).catch((cause) => {
          throw this.problem(cause, action);
        });
      }
    }
  }

  private async asking<T>(action: Action, body: () => Promise<T>): Promise<T> {
    try {
      return await body();
    } catch (error) {
      throw this.problem(error, action, false);
    }
  }

  private problem(error: unknown, action: Action, interruptible = true): unknown {
    if (interruptible && this.signal?.aborted) return interrupted();
    return explain(error, action, this.server);
  }
}

/** It takes a third of a second to load, and most commands talk to no cluster. */
async function loadLibrary(): Promise<typeof import("@kubernetes/client-node")> {
  const { noDeprecation = false } = process;
  // One of its dependencies uses a module of Node that newer ones warn of, which is nothing that a user could mend.
  process.noDeprecation = true;
  try {
    return await import("@kubernetes/client-node");
  } finally {
    process.noDeprecation = noDeprecation;
  }
}

function onlyReads(request: RequestContext): boolean {
  return request.getHttpMethod().toString() === "GET" || new URL(request.getUrl()).searchParams.has("dryRun");
}

/** `299 - "text"`, several of them with commas between (RFC 9111, 5.5). */
function warnings(header: string | undefined): string[] {
  return [...(header ?? "").matchAll(/\d{3} \S+ ("(?:[^"\\]|\\.)*")/g)].map(([, text]) =>
    (text as string).slice(1, -1).replace(/\\(.)/g, "$1"),
  );
}

/** The library takes for granted what it is answered; a page of some proxy in between would count as done. */
function answer(text: string): ResponseBody {
  let kind: unknown;
  try {
    kind = JSON.parse(text)?.kind;
  } catch {
    throw new NoAnswer("it is no JSON");
  }
  if (typeof kind !== "string") throw new NoAnswer("it is none of Kubernetes' objects");
  return { text: async () => text, binary: async () => Buffer.from(text) };
}

/** The library's objects are of its own classes, with dates in them. */
function plain(object: KubernetesObject): LiveObject {
  if (typeof object?.metadata?.name !== "string") throw new NoAnswer("an object in it has no name");
  return JSON.parse(JSON.stringify(object)) as LiveObject;
}
