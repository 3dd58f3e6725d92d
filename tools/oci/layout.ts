import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileProblem, UserError } from "../errors.js";
import {
  type Blob,
  blob,
  choose,
  contentsOf,
  type Descriptor,
  type Image,
  isIndex,
  MAX_IMAGE_BYTES,
  MediaType,
  manifestsOf,
  notModule,
  wrongDigest,
  wrongSize,
} from "./image.js";
import { tooLarge } from "./problem.js";

/*
 * OCI image layout: an image as a folder, for where no registry can be reached. Other tools write and read it too
 * (skopeo: oci:FOLDER).
 */

const TAG = "org.opencontainers.image.ref.name";

/**
 * Writes an image to a folder that is new or empty. index.json comes last: without it a folder is no layout.
 * @throws UserError `E_WRITE`
 */
export async function writeLayout(folder: string, { manifest, blobs }: Image, tag: string | undefined): Promise<void> {
  await assertEmpty(folder);
  const { mediaType, digest, bytes } = manifest;
  const annotations = tag === undefined ? {} : { annotations: { [TAG]: tag } };
  const index = {
    schemaVersion: 2,
    mediaType: MediaType.index,
    manifests: [{ mediaType, digest, size: bytes.length, ...annotations }],
  };
  try {
    await mkdir(join(folder, "blobs", "sha256"), { recursive: true });
    for (const blob of [...blobs, manifest]) await writeFile(join(folder, pathOf(blob)), blob.bytes);
    await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
    await writeFile(join(folder, "index.json"), JSON.stringify(index));
  } catch (cause) {
    throw cannotWrite(
      folder,
      cause,
      "The folder now has a part of the image: remove it, and make room or name another.",
    );
  }
}

/**
 * Whether writeLayout() may write to a folder; asked before an image is fetched for it.
 * @throws UserError `E_WRITE`
 */
export async function assertEmpty(folder: string): Promise<void> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw cannotWrite(folder, cause, "Name another folder.");
  });
  if (names.length === 0) return;
  throw new UserError("E_WRITE", `${folder} is not empty`, {
    hint: "An image wants a folder of its own: name another.",
  });
}

/**
 * Reads the image of a folder: the only one, or the one with this tag. Every digest is verified.
 * @throws UserError `E_IMAGE`, `E_DIGEST`, `E_TOO_LARGE`
 */
export async function readLayout(folder: string, tag: string | undefined): Promise<Image> {
  const list = await read(folder, "index.json");
  const all = manifestsOf(list, folder);
  const tagged = all.filter(({ annotations }) => annotations?.[TAG] === tag);
  const [found, ...more] = all.length === 1 ? all : tagged;
  if (!found || more.length > 0) {
    const tags = all.map(({ annotations }) => annotations?.[TAG] ?? "(no tag)").join(", ");
    throw notModule(folder, `it has ${all.length} images (${tags}), and not exactly one of them has the tag ${tag}`);
  }
  let manifest = await readBlob(folder, found);
  if (isIndex(manifest.mediaType)) {
    manifest = await readBlob(folder, choose(manifest.bytes, folder));
  }
  const blobs: Blob[] = [];
  for (const of of contentsOf(manifest.bytes, folder)) blobs.push(await readBlob(folder, of));
  return { manifest, blobs };
}

async function readBlob(folder: string, of: Descriptor): Promise<Blob> {
  const found = blob(of.mediaType, await read(folder, pathOf(of)));
  if (found.digest !== of.digest) throw wrongDigest(join(folder, pathOf(of)), of.digest, found.digest);
  if (found.bytes.length !== of.size) throw wrongSize(of.digest, of.size);
  return found;
}

function pathOf({ digest }: { digest: string }): string {
  return join("blobs", ...digest.split(":"));
}

async function read(folder: string, name: string): Promise<Buffer> {
  const path = join(folder, name);
  try {
    const found = await stat(path);
    // A device or a pipe might have no end.
    if (!found.isFile()) throw new Error("it is no file");
    if (found.size <= MAX_IMAGE_BYTES) return await readFile(path);
  } catch (cause) {
    const hint = "It should be an OCI image layout: what meltemi push --oci-dir and skopeo copy write.";
    throw new UserError("E_IMAGE", `${path} cannot be read: ${fileProblem(cause)}`, { hint, cause });
  }
  throw tooLarge(path, MAX_IMAGE_BYTES);
}

export function cannotWrite(path: string, cause: unknown, hint: string): UserError {
  return new UserError("E_WRITE", `${path} cannot be written: ${fileProblem(cause)}`, { hint, cause });
}
