import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import type { UserError } from "../errors.js";
import { interrupted } from "../interrupt.js";
import { version } from "../paths.js";
import { type Credentials, findCredentials, type Secret } from "./credentials.js";
import { broken, isLocal, refused, Transient, tooLarge, unreachable } from "./problem.js";
import type { Reference } from "./reference.js";

/*
 * HTTP as registries speak it: who we are, and what is tried again. Of the libraries
 * on npm those that are kept up cannot pull, continue an upload or ask credential helpers, so this stands on fetch alone.
 */

export interface RegistryOptions {
  /** Default: those of docker's configuration. */
  credentials?: Credentials | undefined;
  /** HTTP without TLS. Registries of this machine are spoken to like that in any case. */
  plainHttp?: boolean | undefined;
  /** Aborted by Ctrl-C: what is under way ends with `E_INTERRUPTED`. */
  signal?: AbortSignal | undefined;
  /** Told what is waited for, a line each. */
  say?: ((line: string) => void) | undefined;
  /** Before the first repetition, milliseconds; the next ones wait longer. Default 500. */
  patience?: number | undefined;
  /** How often something is tried that may well work a moment later. Default 6. */
  attempts?: number | undefined;
}

export interface Request {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Statuses beside 2xx that the caller understands. */
  readonly expected?: readonly number[];
}

const ATTEMPTS = 6;
const LONGEST_PAUSE = 8000;
/** A registry that asks for more does not want us today. */
const LONGEST_WAIT = 60_000;
/** From a request's first byte to its answer's: a chunk of an upload lies between. */
const SILENCE_MILLISECONDS = 120_000;
const REDIRECTS = 5;
const TEXT_BYTES = 64 * 1024;

/** Talks about one repository to its registry. */
export class Client {
  readonly #origin: string;
  /** For sentences, and the key of the credentials. */
  readonly #registry: string;
  readonly #options: RegistryOptions;
  #credentials: Credentials | undefined;
  #authorization: string | undefined;
  /** One that never answered is rather a wrong address than a busy registry. */
  #answered = false;

  constructor(
    readonly reference: Reference,
    readonly actions: "pull" | "pull,push",
    options: RegistryOptions = {},
  ) {
    const { registry } = reference;
    this.#registry = registry;
    this.#options = options;
    this.#credentials = options.credentials;
    const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
    this.#origin = new URL(`${options.plainHttp || isLocal(registry) ? "http" : "https"}://${host}`).origin;
  }

  /** Of something in the repository: `blobs/DIGEST`, `manifests/TAG`. */
  url(path: string): URL {
    return new URL(`/v2/${this.reference.repository}/${path}`, this.#origin);
  }

  /**
   * Repeats what fails with `Transient`, each time after a longer pause, as long as it gets anywhere: `progressed` says that
   * it did. Throws the problem of the last attempt where it does not.
   */
  async retry<T>(attempt: (progressed: () => void) => Promise<T>): Promise<T> {
    const { say, signal, patience = 500, attempts = ATTEMPTS } = this.#options;
    let failures = 0;
    for (;;) {
      try {
        return await attempt(() => {
          failures = 0;
        });
      } catch (error) {
        if (signal?.aborted) throw interrupted(error);
        if (!(error instanceof Transient)) throw error;
        const { problem, wait } = error;
        if (++failures >= attempts || wait > LONGEST_WAIT) throw problem;
        // Not all that wait for the same registry should come back at the same moment.
        const milliseconds = Math.max(
          wait,
          Math.min(patience * 2 ** (failures - 1), LONGEST_PAUSE) * (0.5 + Math.random()),
        );
        say?.(`${problem.message}; trying again in ${(milliseconds / 1000).toFixed(1)} s`);
        await pause(milliseconds, undefined, { signal }).catch((error) => {
          throw interrupted(error);
        });
      }
    }
  }

  /** A request that is repeated where that may help. The answer's body is the caller's to read or cancel. */
  request(method: string, url: URL, request: Request = {}): Promise<Response> {
    return this.retry(() => this.send(method, url, request));
  }

  /**
   * One request, with what it takes to be let in, and through redirections. Answers 2xx and what is expected.
   * @throws Transient, or a UserError where trying again is of no use
   */
  async send(method: string, url: URL, { headers = {}, body, expected = [] }: Request = {}): Promise<Response> {
    let to = url;
    let asked = false;
    for (let redirects = 0; ; ) {
      // Nobody but the registry itself may see who we are.
      const ours = to.origin === this.#origin;
      const authorization = ours && this.#authorization !== undefined ? { authorization: this.#authorization } : {};
      const response = await this.#fetch(to, { method, headers: { ...headers, ...authorization }, body: body ?? null });
      if (response.ok || expected.includes(response.status)) return response;
      if (response.status === 401 && ours && !asked) {
        asked = true;
        await response.body?.cancel();
        if (await this.#authorize(response)) continue;
      }
      const location = [301, 302, 303, 307, 308].includes(response.status) && response.headers.get("location");
      if (!location) throw await this.#refused(method, to, response);
      await response.body?.cancel();
      if (++redirects > REDIRECTS) throw this.#broken(`redirects ${url} for ever`);
      to = this.resolve(location, to);
    }
  }

  /** What a Location header says. Never from TLS to none, which could be somebody else's doing. */
  resolve(location: string, base: URL): URL {
    const url = URL.canParse(location, base.href) ? new URL(location, base) : undefined;
    if (url?.protocol === "https:" || (url?.protocol === "http:" && base.protocol === "http:")) return url;
    throw this.#broken(
      `sends us from ${base.origin} to ${location.replace(/\?.*/s, "")}, which has no TLS`,
      "A proxy in front of a registry has to tell it that clients come over TLS (X-Forwarded-Proto).",
    );
  }

  /** Goes the way that the registry names in its 401. False where that changes nothing. */
  async #authorize(response: Response): Promise<boolean> {
    this.#credentials ??= await findCredentials(this.#registry);
    const { secret } = this.#credentials;
    const challenge = readChallenge(response.headers.get("www-authenticate") ?? "");
    if (challenge.scheme === "bearer") {
      this.#authorization = `Bearer ${await this.#token(challenge.parameters, secret)}`;
      return true;
    }
    if (challenge.scheme !== "basic" || !secret || !("username" in secret)) return false;
    const authorization = basic(secret);
    if (authorization === this.#authorization) return false;
    this.#authorization = authorization;
    return true;
  }

  /** A token for this repository, from the service that the registry trusts with that. */
  async #token(parameters: Map<string, string>, secret: Secret | undefined): Promise<string> {
    if (secret && "registryToken" in secret) return secret.registryToken;
    const realm = parameters.get("realm") ?? "";
    const url = URL.canParse(realm) ? new URL(realm) : undefined;
    if (!url || !/^https?:$/.test(url.protocol)) throw this.#broken(`names no address to get a token from: "${realm}"`);
    // Only for this machine is there no need to ask the user.
    const mayBeClear = this.#options.plainHttp || (this.#origin.startsWith("http:") && isLocal(url.host));
    if (secret && url.protocol === "http:" && !mayBeClear)
      throw this.#broken(`wants ${this.#credentials?.from} sent to ${url.origin}, which has no TLS`);

    const service = parameters.get("service");
    const scope = `repository:${this.reference.repository}:${this.actions}`;
    const wanted = { ...(service !== undefined && { service }), scope };
    let request: RequestInit;
    if (secret && "identityToken" in secret) {
      const form = {
        grant_type: "refresh_token",
        client_id: "meltemi",
        refresh_token: secret.identityToken,
        ...wanted,
      };
      request = { method: "POST", body: new URLSearchParams(form) };
    } else {
      for (const [name, value] of Object.entries(wanted)) url.searchParams.append(name, value);
      request = { method: "GET", headers: secret ? { authorization: basic(secret) } : {} };
    }
    return await this.retry(async () => {
      const response = await this.#fetch(url, request);
      if (!response.ok) throw await this.#refused("GET", url, response);
      const answer = tokenAnswer.safeParse(parseJson(String(await this.read(response, TEXT_BYTES))));
      const token = answer.data?.token ?? answer.data?.access_token;
      if (token) return token;
      throw this.#broken(`lets ${url.origin} hand out tokens, whose answer has none`);
    });
  }

  async #fetch(url: URL, init: RequestInit): Promise<Response> {
    const { signal } = this.#options;
    const silent = new AbortController();
    const timer = setTimeout(() => silent.abort(), SILENCE_MILLISECONDS);
    try {
      const response = await fetch(url, {
        ...init,
        // Digests are of the bytes as they are stored.
        headers: { "user-agent": `meltemi/${version}`, "accept-encoding": "identity", ...init.headers },
        redirect: "manual",
        signal: signal ? AbortSignal.any([signal, silent.signal]) : silent.signal,
      });
      this.#answered ||= url.origin === this.#origin;
      return response;
    } catch (error) {
      const cause = silent.signal.aborted ? new Error(`no answer in ${SILENCE_MILLISECONDS / 1000} s`) : error;
      throw this.#failure(cause, url);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What comes of an answer's body, as it comes. */
  async *chunks(response: Response): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of response.body ?? []) yield chunk;
    } catch (error) {
      throw this.#failure(error, new URL(response.url));
    }
  }

  /** An answer's body. Throws UserError `E_TOO_LARGE` where it has more than `limit` bytes. */
  async read(response: Response, limit: number): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of this.chunks(response)) {
      size += chunk.length;
      // What stands behind a "?" may be as good as a password.
      if (size > limit) throw tooLarge(`what ${response.url.replace(/\?.*/s, "")} answers`, limit);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** What an answer says went wrong: the registry's own code, and words for a person. */
  async complaint(response: Response): Promise<{ code: string; words: string }> {
    // Of a page of some proxy the status says enough.
    const text = await this.read(response, TEXT_BYTES).then(String, () => "");
    const { code = "", message = "" } = complaint.safeParse(parseJson(text)).data?.errors[0] ?? {};
    const plain = /^\s*</.test(text) ? "" : text.trim();
    const words = message || code || plain || response.statusText;
    return { code, words: words.replace(/\p{Cc}+/gu, " ").slice(0, 300) };
  }

  async #refused(method: string, url: URL, response: Response): Promise<Transient | UserError> {
    const { words } = await this.complaint(response);
    return refused(this, this.#credentials, { method, url, response, words, ours: url.origin === this.#origin });
  }

  /** Why there was no answer, or not all of it. */
  #failure(error: unknown, url: URL): Error {
    return this.#options.signal?.aborted ? interrupted(error) : unreachable(error, url, this.#answered);
  }

  #broken(why: string, hint?: string): UserError {
    return broken(this.#registry, why, hint);
  }
}

const tokenAnswer = z.object({ token: z.string().optional(), access_token: z.string().optional() });
const complaint = z.object({
  errors: z.array(z.object({ code: z.string().optional(), message: z.string().optional() })),
});

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

/** The way in that a WWW-Authenticate header offers; tokens where there is a choice. */
function readChallenge(header: string) {
  const [, scheme = "", rest = ""] = /\b(bearer)\b(.*)/is.exec(header) ?? /\b(basic)\b(.*)/is.exec(header) ?? [];
  const parameters = new Map<string, string>();
  for (const [, name = "", quoted, bare = ""] of rest.matchAll(/(\w+)=(?:"([^"]*)"|([^\s",]+))/g)) {
    const key = name.toLowerCase();
    if (!parameters.has(key)) parameters.set(key, quoted ?? bare);
  }
  return { scheme: scheme.toLowerCase(), parameters };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
