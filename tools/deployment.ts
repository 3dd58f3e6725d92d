import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { loadFor } from "./configuration.js";
import { Exit, UserError } from "./errors.js";
import { manifest } from "./istio/manifest.js";
import { instanceName, type MeshModel, serviceName } from "./istio/mesh.js";
import { API_VERSIONS, type IstioObject, type Manifest } from "./istio/resource.js";
import { rivals } from "./istio/sidecar.js";
import { Cluster } from "./kubernetes/client.js";
import { readObjects } from "./kubernetes/files.js";
import type { ClusterOptions } from "./kubernetes/kubeconfig.js";
import { pathText } from "./model/issue.js";
import { EXTENSION_KINDS, ISTIO_MINORS, parseIstioVersion } from "./model/istio/schema.js";
import type { Model } from "./model/schema.js";
import { formatReference, parseReference } from "./oci/reference.js";
import { resolveDigest } from "./oci/registry.js";
import { defaultModule } from "./paths.js";
import { say } from "./terminal.js";

/*
 * From some meltemi.yaml and a command line to what is in a cluster: what all commands about that have in common.
 */

export interface ModelOptions {
  istioVersion?: number;
  kind?: (typeof EXTENSION_KINDS)[number];
  module: string;
}

export interface DeploymentOptions extends ModelOptions, ClusterOptions {
  image?: string;
  plainHttp?: true;
  merge?: string | boolean;
}

/** Adds the configurations, and the options that take the place of what these say. */
export function modelOptions(command: Command): Command {
  return command
    .argument("[files...]", "the configurations (default: meltemi.yaml)")
    .option("--istio-version <version>", "the version of Istio that runs (default: istio.version)", istioVersion)
    .addOption(
      new Option("--kind <kind>", "what installs the module (default: istio.kind)").choices([...EXTENSION_KINDS]),
    )
    .option("--module <file>", "the WebAssembly module that the image holds", defaultModule);
}

/** Adds the options that say what is shipped. Those that name a cluster are clusterOptions(). */
export function deploymentOptions(command: Command): Command {
  return modelOptions(command)
    .option("--image <ref>", "the module's image; one without a digest is looked up (default: istio.image)")
    .option("--plain-http", "speak to the registry without TLS, as is done with localhost in any case")
    .option("--merge [file]", "join Sidecars with those of a file, or of the cluster where none is named");
}

/** Adds what may stand in the place of configurations where only the names of services matter. */
export function serviceOption(command: Command): Command {
  return command.option("--service <name...>", "instead of files: the services, as in greeter.shop", serviceNames);
}

function serviceNames(text: string, earlier: string[] = []): string[] {
  // It becomes part of a label selector, where a comma or a bracket would have a meaning.
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text))
    throw new InvalidArgumentError("expected SERVICE.NAMESPACE, as in greeter.shop.");
  return [...earlier, instanceName(text)];
}

/** The services that a command line names, one way or the other. @throws what loadModels() throws */
export async function servicesOf(
  files: readonly string[],
  options: ModelOptions & { service?: string[] },
  command: Command,
): Promise<string[]> {
  const { service } = options;
  if (service && files.length > 0) command.error("error: name either files or --service, not both");
  return service ?? (await loadModels(files, options)).map(serviceName);
}

/** The files of a command line. */
export function filesOf(files: readonly string[]): readonly string[] {
  return files.length > 0 ? files : ["meltemi.yaml"];
}

/**
 * Reads the configurations; what the command line says takes the place of what they say.
 * @throws ModelError, UserError `E_NO_ISTIO` where one does not say where in a mesh it belongs, `E_TWICE` where two are of
 *   the same service
 */
export async function loadModels(files: readonly string[], options: ModelOptions): Promise<MeshModel[]> {
  const models = new Map<string, { file: string; model: MeshModel }>();
  for (const file of filesOf(files)) {
    const model = inMesh(await loadFor(options.module, file), file, options);
    const service = serviceName(model);
    const other = models.get(service);
    if (other) {
      const hint = "Ports that speak different protocols are Services of their own.";
      throw new UserError("E_TWICE", `${other.file} and ${file} are of the same service, ${service}`, { hint });
    }
    models.set(service, { file, model });
  }
  return [...models.values()].map(({ model }) => model);
}

interface At {
  signal?: AbortSignal;
  /** The one that the options name, where a command talks to it anyway. */
  cluster?: Cluster;
}

/**
 * All objects that some meltemi.yaml come to.
 * @throws what loadModels(), manifest(), resolveDigest() and Cluster throw, UserError `E_NO_IMAGE`, `E_MERGE`
 */
export async function loadDeployment(
  files: readonly string[],
  options: DeploymentOptions,
  at: At = {},
): Promise<Manifest> {
  const models = await loadModels(files, options);
  const existing = await toJoin(options, at);
  return manifest(models, { url: await imageUrl(models, options, at.signal), existing });
}

/**
 * Whether the image is there. A proxy whose plugin names one that is not lets no more connections through, even where an
 * older module works in it. Only says so where the registry does not answer us: it may answer the cluster.
 * @throws UserError `E_NOT_FOUND`
 */
export async function assertImage(
  { image }: Manifest,
  options: DeploymentOptions,
  signal?: AbortSignal,
): Promise<void> {
  try {
    // A registry that is out of reach from here need not be waited for.
    await resolveDigest(parseReference(image), { plainHttp: options.plainHttp, signal, attempts: 1 });
  } catch (error) {
    if (!(error instanceof UserError) || error.exit === Exit.interrupted) throw error;
    if (error.code === "E_NOT_FOUND") throw error;
    say(`whether the image is there cannot be known from here: ${error.message}`);
  }
}

/**
 * For each pod only one Sidecar counts, so that those in the cluster have to be joined with ours, or be left aside by the
 * user's word.
 * @throws UserError `E_SIDECAR`
 */
export async function assertNoRivals(
  cluster: Cluster,
  { resources }: Manifest,
  { merge }: DeploymentOptions,
): Promise<void> {
  if (merge !== undefined) return;
  const found = rivals(resources, await sidecarsOf(cluster));
  if (found.length === 0) return;
  const message = `there are Sidecars for these pods already: ${found.join(", ")}`;
  const hint =
    "Istio heeds one for each pod. --merge joins them with what is needed here, --no-merge leaves them aside.";
  throw new UserError("E_SIDECAR", message, { exit: Exit.failed, hint });
}

function inMesh(model: Model, file: string, { istioVersion: version, kind }: ModelOptions): MeshModel {
  if (!model.istio) {
    const hint =
      "Add at least\n  istio:\n    namespace: NAMESPACE\n    ports: [{ port: PORT }]\n    clients: [{ labels: { app: CLIENT } }]";
    throw new UserError("E_NO_ISTIO", `${file} does not say where in a mesh it belongs: there is no "istio"`, { hint });
  }
  const istio = { ...model.istio, ...(version !== undefined && { version }), ...(kind && { kind }) };
  return { ...model, istio };
}

/** One image for all of them, pinned. */
async function imageUrl(
  models: readonly MeshModel[],
  options: DeploymentOptions,
  signal?: AbortSignal,
): Promise<string> {
  const named = options.image === undefined ? models.map(({ istio }) => istio.image) : [options.image];
  const [image, ...others] = [...new Set(named.filter((it) => it !== undefined))];
  if (image === undefined) {
    const hint = "Push the module (meltemi push REF) and name it: --image REF, or istio.image in meltemi.yaml.";
    throw new UserError("E_NO_IMAGE", "which image holds the module is not said", { hint });
  }
  if (others.length > 0) {
    const message = `the configurations name different images: ${[image, ...others].join(", ")}`;
    throw new UserError("E_NO_IMAGE", message, { hint: "Name one for all of them: --image REF" });
  }
  const reference = parseReference(image);
  const { plainHttp } = options;
  const digest = reference.digest ?? (await resolveDigest(reference, { plainHttp, signal, say }).catch(orByDigest));
  return `oci://${formatReference({ ...reference, tag: undefined, digest })}`;
}

/** Who cannot reach the registry may still know the digest. */
function orByDigest(error: unknown): never {
  if (!(error instanceof UserError) || error.code !== "E_UNREACHABLE") throw error;
  const hint = [error.options.hint, "No registry is asked for an image with its digest: REPOSITORY@sha256:DIGEST."];
  throw new UserError(error.code, error.message, { ...error.options, hint: hint.filter(Boolean).join("\n") });
}

/** Sidecars that ours are to be joined with: of a file, or of the cluster. */
async function toJoin(
  { merge = false, ...options }: DeploymentOptions,
  { signal, cluster }: At,
): Promise<IstioObject[]> {
  if (typeof merge === "string") return readSidecars(merge);
  if (!merge) return [];
  return sidecarsOf(cluster ?? (await Cluster.connect({ ...options, ...(signal && { signal }) })));
}

async function sidecarsOf(cluster: Cluster): Promise<IstioObject[]> {
  return (await cluster.list(API_VERSIONS.Sidecar, "Sidecar")) as IstioObject[];
}

/** The Sidecars among the objects of a YAML file, lists of kubectl included. */
function readSidecars(file: string): IstioObject[] {
  const refuse = (where: string, why: string) =>
    new UserError("E_MERGE", `${where}: ${why}`, { hint: "Write it with: kubectl get sidecars -A -o yaml > FILE" });
  const found = readObjects(file, refuse).map(({ object, line }) => {
    return { object, line, kind: (object as { kind?: unknown } | null)?.kind };
  });
  if (!found.some(({ kind }) => kind === "Sidecar" || kind === "List" || kind === "SidecarList")) {
    throw refuse(file, "there is no Sidecar in it");
  }
  return found
    .filter(({ kind }) => kind === "Sidecar")
    .map(({ object, line }) => {
      const { data, error } = sidecar.safeParse(object);
      if (data) return data;
      const { path = [], message } = error.issues[0] ?? {};
      throw refuse(`${file}:${line}`, `this Sidecar cannot be read: ${pathText(path)}: ${message}`);
    });
}

const listeners = z.array(z.looseObject({ port: z.looseObject({ number: z.number() }).optional() })).optional();

/** As far as it is looked into. */
const sidecar = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal("Sidecar"),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().prefault("default") }),
  spec: z
    .looseObject({
      workloadSelector: z.looseObject({ labels: z.record(z.string(), z.string()).optional() }).optional(),
      ingress: listeners,
      egress: listeners,
    })
    .prefault({}),
});

function istioVersion(text: string): number {
  const parsed = parseIstioVersion(text);
  if ("value" in parsed) return parsed.value;
  throw new InvalidArgumentError(`${parsed.wrong}; known are 1.${ISTIO_MINORS.first} to 1.${ISTIO_MINORS.last}.`);
}
