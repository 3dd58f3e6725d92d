import { z } from "zod";
import { Exit, UserError } from "../errors.js";
import { plural } from "./kinds.js";

/** What was asked of the server, in the words of RBAC. */
export interface Action {
  verb: "get" | "list" | "patch" | "delete";
  apiVersion: string;
  kind: string;
  namespace?: string | undefined;
  name?: string;
}

const text = z.string().optional().catch(undefined);
const cause = z.object({ reason: text, message: text, field: text });

/** A Kubernetes `Status`, as far as it is used; nothing of it where somebody else answers. */
const status = z
  .object({
    message: text,
    details: z
      .object({ kind: text, name: text, causes: z.array(cause).catch([]) })
      .optional()
      .catch(undefined),
  })
  .catch({ message: undefined });
type Status = z.output<typeof status>;
type Cause = z.output<typeof cause>;

/** An answer that no API server would give. */
export class NoAnswer extends Error {}

/** `WasmPlugin shop/greeter`; for a list, its kind and namespace. */
export function nameOf({ kind, namespace, name }: Pick<Action, "kind" | "namespace" | "name">): string {
  if (name === undefined) return namespace === undefined ? kind : `${kind} in ${namespace}`;
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

/** How many milliseconds to wait at least before another try; nothing where that would not help. */
export function mayPass(error: unknown): number | undefined {
  const answer = asAnswer(error);
  if (answer) {
    const later = Number(answer.headers?.["retry-after"] ?? 0) * 1000;
    return BUSY.includes(answer.code) ? later || 0 : undefined;
  }
  return RESTARTING.includes((error as NodeJS.ErrnoException)?.code ?? "") ? 0 : undefined;
}

const BUSY = [429, 502, 503, 504];
const RESTARTING = ["ECONNREFUSED", "ECONNRESET", "EPIPE", "ERR_STREAM_PREMATURE_CLOSE", "EAI_AGAIN"];

/** Says in the user's words why the server, or the way to it, did not do what was asked. Defects come back as they are. */
export function explain(error: unknown, action: Action, server: string): unknown {
  const answer = asAnswer(error);
  if (answer) return refused(answer.code, statusOf(answer.body), action, server, error);
  if (!(error instanceof Error) || error instanceof TypeError || error instanceof UserError) return error;
  if (error.message.startsWith("Unrecognized API version and kind")) return noKind(action, error);
  const { code = "", name, message } = error as NodeJS.ErrnoException;
  const missing = (id: `E_${string}`, text: string, hint: string) =>
    new UserError(id, text, { exit: Exit.missing, hint, cause: error });
  if (error instanceof NoAnswer)
    return missing(
      "E_ANSWER",
      `${server} does not answer as an API server does: ${message}`,
      "Is it one, or does something stand in front of it that wants a login?",
    );
  if (name === "AbortError")
    return missing(
      "E_UNREACHABLE",
      `${server} did not answer in time`,
      "Is the cluster up, and its network reachable from here?",
    );
  if (/CERT|SIGNATURE|ISSUER|TLS|SSL|EPROTO/.test(code) && name === "FetchError") {
    const hint =
      code === "EPROTO" || code.startsWith("ERR_SSL")
        ? "Does the server speak TLS at this address, and does it take the kubeconfig's client certificate?"
        : "certificate-authority-data in the kubeconfig must be of the authority that signed the server's certificate.";
    return missing("E_CERTIFICATE", `no TLS with ${server}: ${reasonOf(message)}`, hint);
  }
  if (name === "FetchError")
    return missing(
      "E_UNREACHABLE",
      `${server} cannot be reached: ${reasonOf(message)}`,
      "Is the cluster up, and is it the one that is meant (--kubeconfig, --context)?",
    );
  return missing(
    "E_KUBECONFIG",
    `the credentials of the kubeconfig cannot be used: ${message.trim() || code}`,
    "Log in to the cluster again, or name another kubeconfig or context.",
  );
}

/** The library says `request to URL failed, reason: WHY`. */
function reasonOf(message: string): string {
  return message.replace(/^.*?reason: /s, "").trim();
}

function refused(code: number, status: Status, action: Action, server: string, cause: unknown): UserError {
  const what = nameOf(action);
  const said = status.message ?? `HTTP ${code}`;
  const causes = status.details?.causes ?? [];
  switch (code) {
    case 401:
      return new UserError("E_UNAUTHORIZED", `${server} does not accept the credentials of the kubeconfig`, {
        exit: Exit.missing,
        hint: "Log in to the cluster again, or name another kubeconfig or context.",
        cause,
      });
    case 403:
      // Webhooks and quotas answer with 403 too; what RBAC forbids always says that a user cannot.
      if (!/ cannot /.test(said)) return invalid(what, faults(causes, said), cause);
      return new UserError("E_FORBIDDEN", `${what}: ${said}`, {
        exit: Exit.missing,
        hint: `It takes this rule, or all that \`meltemi apply --print-rbac\` prints:\n  ${rule(action, said)}`,
        cause,
      });
    case 404:
      if (status.details?.kind === "namespaces")
        return new UserError("E_NO_NAMESPACE", `${what}: there is no namespace ${action.namespace}`, {
          hint: `Make it first: kubectl create namespace ${action.namespace}`,
          cause,
        });
      // An object's absence names the object; that of its kind, or of the kind's group, names nothing.
      if (status.details?.name) return new UserError("E_NOT_FOUND", `${what}: there is no such object`, { cause });
      return noKind(action, cause);
    case 409:
      if (causes.some(({ reason }) => reason === "FieldManagerConflict"))
        return new UserError("E_CONFLICT", `${what}: others have set these fields\n${conflicts(causes).join("\n")}`, {
          exit: Exit.failed,
          hint: "Settle with whoever manages them, or take these fields over with --force-conflicts.",
          cause,
        });
      return new UserError("E_CHANGED", `${what}: it has changed meanwhile`, {
        exit: Exit.missing,
        hint: "Run it again.",
        cause,
      });
    case 504:
      return new UserError("E_UNREACHABLE", `${what}: ${server} did not come to an end in time: ${said}`, {
        exit: Exit.missing,
        cause,
      });
    case 400:
    case 422:
      return invalid(what, faults(causes, said), cause);
    default:
      // What is not in the schema at all comes as an error of the server's own.
      if (/^failed to create typed patch object/.test(said)) return invalid(what, undeclared(said), cause);
  }
  return new UserError("E_API", `${what}: the API server answered ${code}: ${said}`, { exit: Exit.missing, cause });
}

function invalid(what: string, faults: string[], cause: unknown): UserError {
  const hint = "The cluster's Istio may be of another version than the one that is written for.";
  return new UserError("E_INVALID", `${what} is refused\n${faults.map((fault) => `  ${fault}`).join("\n")}`, {
    hint,
    cause,
  });
}

/** What a schema finds, a line for each field; what a webhook says, as it says it. */
function faults(causes: readonly Cause[], said: string): string[] {
  // Rules that could not be checked name no field.
  const lines = causes
    .filter(({ field }) => field !== "<nil>")
    .map(({ field, message = "" }) =>
      field ? `${path(field)}: ${message.replace(`${field} in body `, "")}` : message,
    );
  return lines.length > 0 ? lines : [said];
}

/** `failed to create typed patch object (...): errors:\n  .spec.a: field not declared in schema` */
function undeclared(said: string): string[] {
  const reasons = said.replace(/^failed to create typed patch object \([^)]*\): (errors:)?/, "");
  return reasons
    .trim()
    .split(/\n\s*/)
    .map((reason) => path(reason).replace(/, got &value.*\{Value:(.*)\}$/, ", found $1"));
}

function path(field: string): string {
  return field.replace(/^\./, "");
}

function conflicts(causes: readonly Cause[]): string[] {
  return causes.map(({ field, message = "" }) => {
    const manager = /conflict with ("(?:[^"\\]|\\.)*")/.exec(message)?.[1];
    return `  ${path(field ?? "?")}: ${manager ? `set by ${manager}` : message}`;
  });
}

/** The kinds that came with a version of Istio, by `group/version Kind`. */
const SINCE: Record<string, string> = {
  "extensions.istio.io/v1alpha1 TrafficExtension":
    "TrafficExtension came with Istio 1.30; for an older one write WasmPlugin (--kind WasmPlugin).",
  "networking.istio.io/v1 *": "networking.istio.io/v1 came with Istio 1.22. An older one is not supported.",
  "security.istio.io/v1 *": "security.istio.io/v1 came with Istio 1.22. An older one is not supported.",
};

function noKind({ apiVersion, kind }: Action, cause: unknown): UserError {
  const since = SINCE[`${apiVersion} ${kind}`] ?? SINCE[`${apiVersion} *`];
  const hint = [
    "Is Istio installed in this cluster? Its custom resource definitions come with `istioctl install` or its Helm chart `base`.",
    ...(since ? [since] : []),
  ].join("\n");
  return new UserError("E_NO_KIND", `the cluster knows no ${kind} (${apiVersion})`, {
    exit: Exit.missing,
    hint,
    cause,
  });
}

/** The rule that allows an action, as YAML on one line. */
function rule({ apiVersion, kind, verb }: Action, said: string): string {
  const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
  // Applying what is not there yet is forbidden by another verb than the one that was asked for.
  const denied = / cannot (\w+) resource/.exec(said)?.[1] ?? verb;
  return `{ apiGroups: ["${group}"], resources: [${plural(kind)}], verbs: [${denied}] }`;
}

interface Answer {
  code: number;
  body?: unknown;
  headers?: Record<string, string>;
}

function asAnswer(error: unknown): Answer | undefined {
  return error instanceof Error && typeof (error as Partial<Answer>).code === "number"
    ? (error as unknown as Answer)
    : undefined;
}

function statusOf(body: unknown): Status {
  try {
    return status.parse(typeof body === "string" ? JSON.parse(body) : body);
  } catch {
    return { message: String(body).trim().slice(0, 500) || undefined };
  }
}
