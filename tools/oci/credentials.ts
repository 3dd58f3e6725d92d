import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { Exit, fileProblem, UserError } from "../errors.js";

/** What a registry is shown. A registry token is taken as it is; an identity token buys such tokens. */
export type Secret =
  | { readonly username: string; readonly password: string }
  | { readonly identityToken: string }
  | { readonly registryToken: string };

export interface Credentials {
  /** Undefined: there is none, and the registry is asked without. */
  readonly secret: Secret | undefined;
  /** For sentences: whose they are and where they come from, or where there is none. Never the secret itself. */
  readonly from: string;
}

const entry = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
  identitytoken: z.string().optional(),
  registrytoken: z.string().optional(),
});

/** As much of docker's config.json as says who we are. */
const config = z.object({
  auths: z.record(z.string(), entry).default({}),
  credHelpers: z.record(z.string(), z.string()).default({}),
  credsStore: z.string().optional(),
});

/** Docker Hub's registry goes by the address that it had in Docker's first days. */
const DOCKER_HUB = "https://index.docker.io/v1/";
const HELPER_MILLISECONDS = 60_000;

/**
 * The credentials for a registry in docker's `$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`: what
 * `docker login` and `skopeo login --authfile` keep there, or the helper that is named there.
 * @throws UserError `E_CREDENTIALS` where they cannot be read, or the helper is missing or fails
 */
export async function findCredentials(registry: string, env: NodeJS.ProcessEnv = process.env): Promise<Credentials> {
  const file = join(env.DOCKER_CONFIG || join(homedir(), ".docker"), "config.json");
  const { auths, credHelpers, credsStore } = await readConfig(file);
  const server = registry === "docker.io" ? DOCKER_HUB : registry;

  const key = (of: object) => Object.keys(of).find((name) => hostOf(name) === hostOf(server));
  const helperKey = key(credHelpers);
  const helper = helperKey === undefined ? credsStore : credHelpers[helperKey];
  const helped = helper && (await askHelper(helper, server, file, env));
  if (helped) return helped;

  const authKey = key(auths);
  const secret = authKey === undefined ? undefined : readEntry(auths[authKey] as z.output<typeof entry>, authKey, file);
  if (!secret) return { secret, from: `${file} has none for ${registry}` };
  return { secret, from: `${whose(secret)} from ${file}` };
}

/** The host of a key: people and programs write `ghcr.io`, `https://ghcr.io` and `https://ghcr.io/v2/` alike. */
function hostOf(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/.*/s, "");
}

export function whose(secret: Secret): string {
  return "username" in secret ? `the credentials of ${JSON.stringify(secret.username)}` : "the token";
}

async function readConfig(file: string): Promise<z.output<typeof config>> {
  const hint = "Mend it, or log in again: docker login REGISTRY";
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return config.parse({});
    throw new UserError("E_CREDENTIALS", `${file} cannot be read: ${fileProblem(cause)}`, { hint, cause });
  }
  try {
    return config.parse(JSON.parse(text));
  } catch (cause) {
    throw new UserError("E_CREDENTIALS", `${file} is not a configuration of docker`, { hint, cause });
  }
}

function readEntry(of: z.output<typeof entry>, key: string, file: string): Secret | undefined {
  if (of.identitytoken) return { identityToken: of.identitytoken };
  if (of.registrytoken) return { registryToken: of.registrytoken };
  if (!of.auth) return of.username ? { username: of.username, password: of.password ?? "" } : undefined;
  const text = Buffer.from(of.auth, "base64").toString();
  const colon = text.indexOf(":");
  if (colon > 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  throw new UserError("E_CREDENTIALS", `${file}: the "auth" of ${key} is not the base64 of USER:PASSWORD`, {
    hint: `Log in again: docker login ${hostOf(key)}`,
  });
}

const helperAnswer = z.object({ Username: z.string(), Secret: z.string() });

/** `docker-credential-NAME get`; undefined where it has nothing for this registry. */
async function askHelper(
  name: string,
  server: string,
  file: string,
  env: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  const fail = (why: string, exit: Exit, cause?: unknown) =>
    new UserError("E_CREDENTIALS", `${program}, which ${file} names for ${server}, ${why}`, {
      exit,
      hint: `Mend or install it, take it out of ${file}, or give --username and --password-stdin.`,
      cause,
    });
  // It becomes the name of a program.
  if (!/^[\w.-]+$/.test(name)) throw fail("is no name of a program", Exit.input);

  const { error, stdout, stderr } = await new Promise<{ error: Error | null; stdout: string; stderr: string }>(
    (done) => {
      const child = execFile(program, ["get"], { env, timeout: HELPER_MILLISECONDS }, (error, stdout, stderr) =>
        done({ error, stdout, stderr }),
      );
      // A helper that ends without reading has said why in other ways.
      child.stdin?.on("error", () => {});
      child.stdin?.end(server);
    },
  );
  if (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw fail("is not on the PATH", Exit.missing, error);
    // The protocol has no code for it, only this sentence.
    if (/credentials not found/i.test(stdout)) return undefined;
    const [said = ""] = (stdout.trim() || stderr.trim() || error.message).split("\n");
    throw fail(`failed: ${said}`, Exit.missing, error);
  }
  let answer: z.output<typeof helperAnswer>;
  try {
    answer = helperAnswer.parse(JSON.parse(stdout));
  } catch (cause) {
    // The cause may quote the secret.
    throw fail(`answered something else than credentials (${(cause as Error).name})`, Exit.failed);
  }
  const { Username, Secret: password } = answer;
  const secret = Username === "<token>" ? { identityToken: password } : { username: Username, password };
  return { secret, from: `${whose(secret)} from ${program}` };
}
