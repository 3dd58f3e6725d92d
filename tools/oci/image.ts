import { createHash } from "node:crypto";
import { posix } from "node:path";
import { buffer } from "node:stream/consumers";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { gzipSync } from "fflate";
import { extract, pack } from "tar-stream";
import { z } from "zod";
import { Exit, UserError } from "../errors.js";
import { tooLarge } from "./problem.js";
import { isDigest } from "./reference.js";

/*
 * Images as Istio's agent takes them: a WebAssembly module in one of three layouts. The same module and words give the
 * same bytes on every machine and at any time, so that a digest says what is in an image.
 */

/** `compat`: OCI, the module in a layer as files have it. `docker`: the same for Docker. `artifact`: the module is a layer. */
export type Layout = "compat" | "docker" | "artifact";
export const layouts: readonly Layout[] = ["compat", "docker", "artifact"];

/** Bytes with the name that they have in a registry. */
export interface Blob {
  readonly mediaType: string;
  readonly digest: string;
  readonly bytes: Buffer;
}

export interface Image {
  readonly manifest: Blob;
  /** What the manifest refers to, each once. */
  readonly blobs: readonly Blob[];
}

/** Istio's limit for a module, and for the layer that it is in once unpacked. */
export const MAX_MODULE_BYTES = 256 * 2 ** 20;
export const MAX_MANIFEST_BYTES = 4 * 2 ** 20;
/** Of all that a manifest refers to: room for a module that does not get smaller by gzip, and for configurations. */
export const MAX_IMAGE_BYTES = MAX_MODULE_BYTES + 2 ** 20;

export const MediaType = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
  dockerLayer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  moduleConfig: "application/vnd.module.wasm.config.v1+json",
  module: "application/vnd.module.wasm.content.layer.v1+wasm",
} as const;

/** What a registry is asked for under a tag. */
export const manifestTypes: readonly string[] = [
  MediaType.manifest,
  MediaType.dockerManifest,
  MediaType.index,
  MediaType.dockerIndex,
];

/** The name that the agent looks for. */
const FILE = "plugin.wasm";
export const VERSION = "org.opencontainers.image.version";

const descriptor = z.object({
  mediaType: z.string(),
  digest: z.string().refine(isDigest),
  size: z.int().nonnegative(),
  annotations: z.record(z.string(), z.string()).optional(),
  platform: z.object({ architecture: z.string(), os: z.string() }).optional(),
});
export type Descriptor = z.output<typeof descriptor>;

const manifest = z.object({
  mediaType: z.string().optional(),
  config: descriptor,
  layers: z.array(descriptor),
  annotations: z.record(z.string(), z.string()).default({}),
});
const index = z.object({ manifests: z.array(descriptor) });
const config = z.object({ config: z.object({ Labels: z.record(z.string(), z.string()).nullish() }).optional() });

export function blob(mediaType: string, bytes: Uint8Array): Blob {
  return { mediaType, digest: digestOf(bytes), bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** `annotations` become those of the manifest, and labels of the configuration where the layout has one. */
export async function packImage(
  wasm: Uint8Array,
  layout: Layout,
  annotations: Readonly<Record<string, string>>,
): Promise<Image> {
  const sorted = Object.fromEntries(Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1)));
  if (layout === "artifact") {
    // The agent wants two layers; the other one says what the module is for.
    const purpose = json(MediaType.moduleConfig, { type: "envoy_proxy" });
    return image(MediaType.manifest, purpose, [purpose, blob(MediaType.module, wasm)], { annotations: sorted });
  }

  const tar = await tarOf(wasm);
  // Node's zlib compresses differently from machine to machine.
  const gzip = gzipSync(tar, { level: 9, mtime: 0 });
  const contents = {
    // What `docker build` writes. Nobody runs it, but those who copy images look for a platform.
    architecture: "amd64",
    os: "linux",
    config: { Labels: sorted },
    rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
  };
  if (layout === "docker") {
    const of = json(MediaType.dockerConfig, contents);
    return image(MediaType.dockerManifest, of, [blob(MediaType.dockerLayer, gzip)], {});
  }
  return image(MediaType.manifest, json(MediaType.config, contents), [blob(MediaType.layer, gzip)], {
    annotations: { "module.wasm.image/variant": "compat", ...sorted },
  });
}

function json(mediaType: string, value: unknown): Blob {
  return blob(mediaType, Buffer.from(JSON.stringify(value)));
}

function image(mediaType: string, config: Blob, layers: Blob[], more: object): Image {
  const refer = ({ mediaType, digest, bytes }: Blob) => ({ mediaType, digest, size: bytes.length });
  const manifest = { schemaVersion: 2, mediaType, config: refer(config), layers: layers.map(refer), ...more };
  return { manifest: json(mediaType, manifest), blobs: [...new Set([config, ...layers])] };
}

async function tarOf(wasm: Uint8Array): Promise<Buffer> {
  const tar = pack();
  tar.entry({ name: FILE, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) }, Buffer.from(wasm));
  tar.finalize();
  return buffer(tar);
}

/** What a manifest refers to, each once, all of it bounded in size. */
export function contentsOf(bytes: Buffer, what: string): Descriptor[] {
  const { config, layers } = parse(manifest, bytes, what);
  const all = new Map([config, ...layers].map((of) => [of.digest, of]));
  if ([...all.values()].reduce((sum, { size }) => sum + size, 0) > MAX_IMAGE_BYTES)
    throw tooLarge(what, MAX_IMAGE_BYTES);
  return [...all.values()];
}

/** Whether a manifest is a list of manifests, one for each platform. */
export function isIndex(mediaType: string): boolean {
  return mediaType === MediaType.index || mediaType === MediaType.dockerIndex;
}

/** The image of a list that Istio's agent would take: that for linux/amd64, or one for no platform in particular. */
export function choose(list: Buffer, what: string): Descriptor {
  const found = manifestsOf(list, what).find(
    ({ platform }) => !platform || (platform.os === "linux" && platform.architecture === "amd64"),
  );
  if (found) return found;
  throw notModule(what, "it is a list of images, and none of them is for linux/amd64");
}

export function manifestsOf(list: Buffer, what: string): Descriptor[] {
  return parse(index, list, what).manifests;
}

/** The module, and the version that the image says it has. Takes what Istio's agent takes. */
export async function unpackImage(
  { manifest: { bytes, mediaType }, blobs }: Image,
  what: string,
): Promise<{ wasm: Buffer; version: string | undefined }> {
  const content = parse(manifest, bytes, what);
  const bytesOf = ({ digest }: Descriptor) => {
    const found = blobs.find((blob) => blob.digest === digest);
    if (!found) throw new Error(`${digest} was not fetched`);
    return found.bytes;
  };

  const { annotations, layers } = content;
  const docker = (content.mediaType ?? mediaType) === MediaType.dockerManifest;
  const last = layers.at(-1);
  const raw = layers.length === 2 && !docker ? layers.find((layer) => layer.mediaType === MediaType.module) : undefined;
  let wasm: Buffer;
  if (raw) wasm = bytesOf(raw);
  else if (last && last.mediaType === (docker ? MediaType.dockerLayer : MediaType.layer)) {
    wasm = await moduleIn(bytesOf(last), what);
  } else {
    const types = layers.map((layer) => layer.mediaType).join(", ") || "none";
    throw notModule(what, `its layers (${types}) are not what Istio takes for one`);
  }
  if (wasm.length > MAX_MODULE_BYTES) throw tooLarge(`the module in ${what}`, MAX_MODULE_BYTES);

  const version = annotations[VERSION] ?? (raw ? undefined : labelsIn(bytesOf(content.config))?.[VERSION]);
  return { wasm, version };
}

/** Istio's agent does not look at the configuration, so it may be anything. */
function labelsIn(bytes: Buffer): Record<string, string> | null | undefined {
  try {
    return config.safeParse(JSON.parse(bytes.toString())).data?.config?.Labels;
  } catch {
    return undefined;
  }
}

async function moduleIn(layer: Buffer, what: string): Promise<Buffer> {
  let tar: Buffer;
  try {
    tar = await promisify(gunzip)(layer, { maxOutputLength: MAX_MODULE_BYTES });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE")
      throw tooLarge(`the last layer of ${what}, unpacked,`, MAX_MODULE_BYTES);
    throw notModule(what, `its last layer is no gzip: ${(error as Error).message}`, error);
  }
  const files = extract();
  files.end(tar);
  try {
    for await (const entry of files) {
      if (posix.basename(entry.header.name) === FILE) return await buffer(entry);
      entry.resume();
    }
  } catch (error) {
    throw notModule(what, `its last layer is no tar: ${(error as Error).message}`, error);
  }
  throw notModule(what, `there is no ${FILE} in its last layer`);
}

export function notModule(what: string, why: string, cause?: unknown): UserError {
  const hint = "Is it the right image? meltemi push writes such as Istio's agent reads.";
  return new UserError("E_IMAGE", `${what} is no image of a WebAssembly module: ${why}`, { hint, cause });
}

/** A digest that is not what was promised: what came is not used. */
export function wrongDigest(what: string, expected: string, found: string): UserError {
  return new UserError("E_DIGEST", `${what} has the digest ${found}, expected was ${expected}`, {
    exit: Exit.failed,
    hint: "It is not what was pinned, or it was damaged or replaced on its way: nothing was done with it.",
  });
}

export function wrongSize(digest: string, size: number): UserError {
  return new UserError("E_DIGEST", `blob ${digest} does not have the ${size} bytes that its manifest says`, {
    exit: Exit.failed,
  });
}

function parse<T>(schema: z.ZodType<T>, bytes: Buffer, what: string): T {
  try {
    return schema.parse(JSON.parse(bytes.toString()));
  } catch (cause) {
    throw notModule(what, "its manifest is not one of OCI or Docker", cause);
  }
}
