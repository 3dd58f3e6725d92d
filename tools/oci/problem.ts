import { Exit, UserError } from "../errors.js";
import type { Credentials } from "./credentials.js";
import type { Reference } from "./reference.js";

/*
 * What the answers of registries mean to a person, and that there is none.
 */

/** Something that may well work a moment later. */
export class Transient extends Error {
  constructor(
    /** What a person is told where it never does. */
    readonly problem: UserError,
    /** Milliseconds that the registry asks for. */
    readonly wait = 0,
  ) {
    super(problem.message);
  }
}

const TEMPORARY = [408, 425, 429, 500, 502, 503, 504];

interface Answer {
  method: string;
  url: URL;
  response: Response;
  /** What it says went wrong. */
  words: string;
  /** Whether the registry itself has answered, and not somebody whom it has named. */
  ours: boolean;
}

/** Why a request came to nothing. */
export function refused(
  { reference: { registry, repository }, actions }: { reference: Reference; actions: "pull" | "pull,push" },
  credentials: Credentials | undefined,
  { method, url, response, words, ours }: Answer,
): Transient | UserError {
  const { status } = response;
  const host = ours ? registry : url.host;
  const { secret, from } = credentials ?? { secret: undefined, from: "it was sent none" };
  const login = `Log in (docker login ${registry}), or give --username and --password-stdin.`;
  if (status === 401) {
    const message = secret ? `${host} does not accept ${from}: ${words}` : `${host} asks for credentials, and ${from}`;
    return new UserError("E_UNAUTHORIZED", message, { exit: Exit.missing, hint: login });
  }
  if (status === 403) {
    const who = secret ? from : "someone without credentials";
    const what = actions === "pull" ? "pull from" : "push to";
    const hint = secret ? "Ask the owner of the repository for the right to do so." : login;
    return new UserError("E_FORBIDDEN", `${host} does not let ${who} ${what} ${repository}: ${words}`, {
      exit: Exit.failed,
      hint,
    });
  }
  if (status === 404) {
    return new UserError("E_NOT_FOUND", `${host} has no ${url.pathname.replace(/^\/v2\//, "")}: ${words}`, {
      hint: "Check the registry, the repository and the tag or digest. Some registries want a repository to be made first.",
    });
  }
  // Servers that expect TLS say so in the body, if there is one.
  if (status === 400 && url.protocol === "http:" && (method === "HEAD" || /HTTPS/.test(words))) {
    return new UserError("E_CERTIFICATE", `${host} wants TLS, as it seems: ${words}`, {
      exit: Exit.missing,
      hint: isLocal(registry)
        ? "Registries of this machine are expected without TLS: use the machine's name in place of its local address."
        : "Leave out --plain-http.",
    });
  }
  const message = `${host} answered ${status} to ${method} ${url.pathname}: ${words}`;
  const problem = new UserError("E_REGISTRY", message, {
    exit: Exit.failed,
    hint: TEMPORARY.includes(status) ? "Try again later." : "Is it a container registry, and does it take OCI images?",
  });
  return TEMPORARY.includes(status) ? new Transient(problem, retryAfter(response)) : problem;
}

/** Why there was no answer, or not all of it. `answered`: whether the registry has ever done so. */
export function unreachable(error: unknown, { host, protocol }: URL, answered: boolean): Transient | UserError {
  const cause = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  const code = cause.code ?? "";
  // undici's own errors say little, OpenSSL's say too much.
  const words = /^[^:]*:error:\w+:[^:]*:[^:]*:([^:]*)/.exec(cause.message)?.[1] ?? (cause.message || code);
  const no = (name: `E_${string}`, message: string, hint: string) =>
    new UserError(name, message, { exit: Exit.missing, hint, cause: error });
  if (/wrong version number|packet length too long|http request/.test(words)) {
    return no("E_CERTIFICATE", `${host} does not speak TLS`, "Where plain HTTP is meant: --plain-http");
  }
  if (/CERT|ISSUER|VERIFY_LEAF/.test(code) || /^ERR_(SSL|TLS)_/.test(code) || code === "EPROTO") {
    const hint = "An authority of your own: NODE_EXTRA_CA_CERTS=FILE. A registry without TLS: --plain-http";
    return no("E_CERTIFICATE", `no TLS with ${host}: ${words}`, hint);
  }
  const hint = `Is it the right registry, does it run, and can it be reached from here by ${protocol.slice(0, -1)}?`;
  const problem = no("E_UNREACHABLE", `${host} cannot be reached: ${words}`, hint);
  const hopeless = code === "ENOTFOUND" || (code === "ECONNREFUSED" && !answered);
  return hopeless ? problem : new Transient(problem);
}

/** A registry that does not do as registries do. */
export function broken(
  registry: string,
  why: string,
  hint = "Is it a container registry, and in good order?",
): UserError {
  return new UserError("E_REGISTRY", `${registry} ${why}`, { exit: Exit.failed, hint });
}

/** Limits are whole MiB. */
export function tooLarge(what: string, limit: number): UserError {
  return new UserError("E_TOO_LARGE", `${what} has more than ${limit / 2 ** 20} MiB`, {
    hint: "Istio takes modules of up to 256 MiB.",
  });
}

/** Registries of this machine have no certificate that anybody could check. */
export function isLocal(registry: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(registry);
}

/** Milliseconds; the header has seconds or a date. */
function retryAfter(response: Response): number {
  const text = response.headers.get("retry-after") ?? "";
  const milliseconds = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.max(0, milliseconds || 0);
}
