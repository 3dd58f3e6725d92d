import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { cacheFolder } from "../../../tools/envoy/install.js";
import { Exit, UserError } from "../../../tools/errors.js";

/** The state of Istio's 1.31 line that is run; its releases have no version that Go knows. */
export const MODULE = "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad";
const FOLDER = "istio-1.31-eed52ebb66ad";

/** The packages that Go builds, each with its module's version. */
const PACKAGES = {
  /** istiod. */
  "pilot-discovery": inModule(MODULE, "pilot/cmd/pilot-discovery"),
  istioctl: inModule(MODULE, "istioctl/cmd/istioctl"),
  /** Runs in each sidecar: starts Envoy, stands between it and istiod, and fetches modules. */
  "pilot-agent": inModule(MODULE, "pilot/cmd/pilot-agent"),
  /** The part of Kubernetes' API server that serves custom resources. */
  "apiextensions-apiserver": "k8s.io/apiextensions-apiserver@v0.37.2",
};
export type Program = keyof typeof PACKAGES;
const PROGRAMS = Object.keys(PACKAGES) as Program[];

/** Files of Istio's module that its programs, and the API server, need to run. */
const FILES = {
  /** The template of the configuration that an agent starts Envoy with. */
  "envoy_bootstrap.json": "tools/packaging/common/envoy_bootstrap.json",
  /** Its custom resource definitions. */
  "crds.yaml": "manifests/charts/base/files/crd-all.gen.yaml",
};
export type IstioFile = keyof typeof FILES;

/** Where Istio's programs are: the folder that `$MELTEMI_ISTIO_BIN` names, or else in the cache. */
export function programFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.MELTEMI_ISTIO_BIN || join(cacheFolder(env), FOLDER);
}

/** The path of one of Istio's programs. It is there once `buildPrograms` has run. */
export function program(name: Program): string {
  return join(programFolder(), name);
}

/** The path of a file that came with the programs. It is there once `buildPrograms` has run. */
export function istioFile(name: IstioFile): string {
  return join(programFolder(), name);
}

/**
 * Builds those programs that are missing, from the modules that their projects publish, and takes Istio's files out of its own.
 * @throws UserError `E_NO_GO`, `E_BUILD`; `E_ISTIO` where the folder that the user names lacks one
 */
export async function buildPrograms(say: (line: string) => void): Promise<void> {
  const folder = programFolder();
  const isMissing = (name: string) => !existsSync(join(folder, name));
  const missing = PROGRAMS.filter(isMissing);
  const files = (Object.keys(FILES) as IstioFile[]).filter(isMissing);
  if (missing.length + files.length === 0) return;
  if (process.env.MELTEMI_ISTIO_BIN) {
    const names = [...missing, ...files].join(" and no ");
    throw new UserError("E_ISTIO", `MELTEMI_ISTIO_BIN: there is no ${names} in ${folder}`, { exit: Exit.missing });
  }
  if (missing.length > 0)
    say(`building ${missing.join(" and ")} into ${folder} (about eight minutes on two cores, only this time)`);
  // Go puts a program in its place while it is still being written; what counts is moved there whole.
  const partial = join(folder, "partial");
  await mkdir(partial, { recursive: true });
  for (const name of missing) {
    await go(["install", "-v", "-ldflags=-s -w", PACKAGES[name]], partial, (compiled) =>
      say(`${name}: ${compiled} packages compiled`),
    );
    await rename(join(partial, name), join(folder, name));
  }
  if (files.length === 0) return;
  const { Dir } = JSON.parse(await go(["mod", "download", "-json", MODULE], partial)) as { Dir: string };
  for (const name of files) {
    await writeFile(join(partial, name), await readFile(join(Dir, FILES[name])));
    await rename(join(partial, name), join(folder, name));
  }
}

/** A package as Go installs it: `MODULE/PATH@VERSION`. */
function inModule(module: string, path: string): string {
  return module.replace("@", `/${path}@`);
}

/** Runs Go and gives what it prints, with a line of progress for every hundredth package. */
function go(args: string[], target: string, progress: (compiled: number) => void = () => {}): Promise<string> {
  const env = { ...process.env, GOBIN: target, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };
  const child = spawn("go", args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const other: string[] = [];
  let compiled = 0;
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (/^[\w./-]+$/.test(line)) {
      if (++compiled % 100 === 0) progress(compiled);
    } else if (!line.startsWith("go: downloading")) other.push(line);
  });
  const printed = text(child.stdout);
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => {
      const hint = "Install it from https://go.dev/dl, or name a folder with istiod's programs: MELTEMI_ISTIO_BIN.";
      reject(new UserError("E_NO_GO", "Go is missing, which builds istiod", { exit: Exit.missing, hint, cause }));
    });
    child.once("close", (code) => {
      if (code === 0) return resolve(printed);
      const hint = other.slice(-20).join("\n");
      reject(new UserError("E_BUILD", `go ${args.join(" ")} ended with ${code}`, { exit: Exit.missing, hint }));
    });
  });
}
