import { UserError } from "../errors.js";
import { Client, type RegistryOptions } from "./client.js";
import {
  type Blob,
  blob,
  choose,
  contentsOf,
  type Descriptor,
  digestOf,
  type Image,
  isIndex,
  MAX_MANIFEST_BYTES,
  manifestTypes,
  wrongDigest,
  wrongSize,
} from "./image.js";
import { broken, Transient } from "./problem.js";
import { formatReference, isDigest, type Reference } from "./reference.js";

/** Bytes of an image that have passed, and how many there are. */
export type Progress = (done: number, total: number) => void;

export interface Transfer extends RegistryOptions {
  progress?: Progress | undefined;
}

const CHUNK_BYTES = 8 * 2 ** 20;
const DIGEST_HEADER = "docker-content-digest";
const accept = manifestTypes.join(", ");

/**
 * The digest of the image that a reference stands for now, to pin it by: of a list of images that of the one which Istio's
 * agent would take. Fetches no more than it has to.
 * @throws UserError: those of Client, `E_NOT_FOUND`, `E_DIGEST`, `E_IMAGE`
 */
export async function resolveDigest(reference: Reference, options: RegistryOptions = {}): Promise<string> {
  const client = new Client(reference, "pull", options);
  const response = await client.request("HEAD", manifestUrl(client), { headers: { accept }, expected: [404] });
  if (response.status === 404) throw notThere(reference);
  const digest = response.headers.get(DIGEST_HEADER) ?? "";
  // Old registries do not say the digest, some may say it by another algorithm, and of a list another one counts.
  if (!isDigest(digest) || isIndex(typeOf(response))) return (await pullManifest(client)).manifest.digest;
  if (reference.digest !== undefined && digest !== reference.digest) {
    throw wrongDigest(formatReference(reference), reference.digest, digest);
  }
  return digest;
}

/**
 * Fetches an image: into memory, every digest verified.
 * @throws UserError: those of Client, `E_NOT_FOUND`, `E_DIGEST`, `E_TOO_LARGE`, `E_IMAGE`
 */
export async function pullImage(reference: Reference, options: Transfer = {}): Promise<Image> {
  const client = new Client(reference, "pull", options);
  const { manifest, contents } = await pullManifest(client);
  const total = contents.reduce((sum, { size }) => sum + size, 0);
  const blobs: Blob[] = [];
  let before = 0;
  for (const of of contents) {
    blobs.push(await pullBlob(client, of, (done) => options.progress?.(before + done, total)));
    before += of.size;
  }
  return { manifest, blobs };
}

/**
 * Stores an image under the tag of the reference, or without one under its digest alone. What the registry has already is
 * not sent again, and the manifest comes last: whoever pulls meanwhile gets all of the old image or all of the new one.
 * Answers how many bytes were sent.
 * @throws UserError: those of Client, `E_DIGEST`
 */
export async function pushImage(reference: Reference, image: Image, options: Transfer = {}): Promise<number> {
  const { manifest, blobs } = image;
  const client = new Client(reference, "pull,push", options);
  const total = blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  let before = 0;
  let sent = 0;
  for (const blob of blobs) {
    if (await pushBlob(client, blob, (done) => options.progress?.(before + done, total))) sent += blob.bytes.length;
    before += blob.bytes.length;
  }
  const url = client.url(`manifests/${reference.tag ?? manifest.digest}`);
  const response = await client.request("PUT", url, {
    headers: { "content-type": manifest.mediaType },
    body: manifest.bytes,
  });
  await response.body?.cancel();
  // Some web servers say yes to everything.
  if (response.status === 200)
    throw broken(client.reference.registry, "is no registry: it has not stored the manifest");
  const digest = response.headers.get(DIGEST_HEADER) ?? manifest.digest;
  if (digest !== manifest.digest) throw wrongDigest(`what ${reference.registry} stored`, manifest.digest, digest);
  return sent + manifest.bytes.length;
}

function manifestUrl(client: Client, { digest, tag } = client.reference): URL {
  return client.url(`manifests/${digest ?? tag}`);
}

/** The manifest of one image, and what it refers to. */
async function pullManifest(client: Client): Promise<{ manifest: Blob; contents: Descriptor[] }> {
  const { reference } = client;
  const name = formatReference(reference);
  let manifest = await getManifest(client, reference);
  if (isIndex(manifest.mediaType)) {
    const { digest } = choose(manifest.bytes, name);
    manifest = await getManifest(client, { ...reference, tag: undefined, digest });
  }
  return { manifest, contents: contentsOf(manifest.bytes, name) };
}

async function getManifest(client: Client, reference: Reference): Promise<Blob> {
  return client.retry(async () => {
    const request = { headers: { accept }, expected: [404] };
    const response = await client.send("GET", manifestUrl(client, reference), request);
    if (response.status === 404) throw notThere(reference);
    const manifest = blob(typeOf(response), await client.read(response, MAX_MANIFEST_BYTES));
    const expected = reference.digest ?? response.headers.get(DIGEST_HEADER) ?? manifest.digest;
    if (manifest.digest !== expected) throw wrongDigest(formatReference(reference), expected, manifest.digest);
    return manifest;
  });
}

/** Where the connection breaks off, the rest is fetched over another one. */
async function pullBlob(
  client: Client,
  { mediaType, digest, size }: Descriptor,
  progress: (done: number) => void,
): Promise<Blob> {
  const bytes = Buffer.alloc(size);
  let at = 0;
  let furthest = 0;
  await client.retry(async (progressed) => {
    const headers = at > 0 ? { range: `bytes=${at}-` } : {};
    const response = await client.send("GET", client.url(`blobs/${digest}`), { headers });
    if (response.status !== 206) at = 0;
    for await (const chunk of client.chunks(response)) {
      if (at + chunk.length > size) throw wrongSize(digest, size);
      bytes.set(chunk, at);
      at += chunk.length;
      // What has come before is no progress: it could come for ever.
      if (at <= furthest) continue;
      furthest = at;
      progressed();
      progress(at);
    }
    if (at < size) throw new Transient(wrongSize(digest, size));
  });
  if (digestOf(bytes) !== digest) throw wrongDigest(`blob ${digest}`, digest, digestOf(bytes));
  return { mediaType, digest, bytes };
}

/** Where an upload is, and how many bytes of it the registry has. */
interface Session {
  readonly url: URL;
  readonly offset: number;
}

/**
 * False where the registry had the blob. After a failure the upload goes on where the registry says that it is, and from
 * the start where it does not say.
 */
async function pushBlob(client: Client, { digest, bytes }: Blob, progress: (done: number) => void): Promise<boolean> {
  const there = await client.request("HEAD", client.url(`blobs/${digest}`), { expected: [404] });
  progress(there.ok ? bytes.length : 0);
  if (there.ok) return false;

  let session: Session | undefined;
  let furthest = 0;
  await client.retry(async (progressed) => {
    let at: Session = (session && (await askSession(client, session))) ?? (await beginSession(client));
    session = at;
    while (at.offset + CHUNK_BYTES < bytes.length) {
      const end = at.offset + CHUNK_BYTES;
      const response = await sendPart(client, "PATCH", at, bytes.subarray(at.offset, end));
      const next = await sessionOf(client, response, at.url);
      if (next.offset <= at.offset || next.offset > end) {
        throw new Transient(
          broken(client.reference.registry, `took bytes up to ${end} and says that it has ${next.offset}`),
        );
      }
      session = at = next;
      if (at.offset > furthest) {
        furthest = at.offset;
        progressed();
        progress(furthest);
      }
    }
    // What is left goes with the request that ends the upload: of a small blob, all of it.
    const url = new URL(at.url);
    url.search += `${url.search ? "&" : "?"}digest=${digest}`;
    const response = await sendPart(client, "PUT", { url, offset: at.offset }, bytes.subarray(at.offset));
    await response.body?.cancel();
  });
  progress(bytes.length);
  return true;
}

async function beginSession(client: Client): Promise<Session> {
  const response = await client.send("POST", client.url("blobs/uploads/"));
  if (!response.headers.has("location"))
    throw broken(client.reference.registry, "is no registry: it does not say where uploads go");
  return { ...(await sessionOf(client, response)), offset: 0 };
}

/** Where an upload is that broke off; undefined where the registry has given it up. */
async function askSession(client: Client, { url }: Session): Promise<Session | undefined> {
  const response = await client.send("GET", url, { expected: [400, 404, 405, 416] });
  if (response.ok) return sessionOf(client, response, url);
  await response.body?.cancel();
  return undefined;
}

async function sendPart(client: Client, method: "PATCH" | "PUT", at: Session, body: Uint8Array): Promise<Response> {
  const range = `${at.offset}-${at.offset + body.length - 1}`;
  const whole = method === "PUT" && at.offset === 0;
  const response = await client.send(method, at.url, {
    headers: {
      "content-type": "application/octet-stream",
      ...(!whole && body.length > 0 && { "content-range": range }),
    },
    body,
    expected: [400, 404, 416],
  });
  if (response.ok) return response;
  const { code, words } = await client.complaint(response);
  const problem = broken(client.reference.registry, `does not go on with an upload: ${words}`);
  const lost = response.status !== 400 || /^(BLOB_UPLOAD|RANGE|SIZE)_/.test(code);
  throw lost ? new Transient(problem) : problem;
}

/** The registry says after each part how far it is, and where the next one goes. */
async function sessionOf(client: Client, response: Response, base = new URL(response.url)): Promise<Session> {
  await response.body?.cancel();
  const location = response.headers.get("location");
  const [, last = "0"] = /^(?:bytes=)?0-(\d+)$/.exec(response.headers.get("range") ?? "") ?? [];
  // "0-0" is what registries say of none.
  const offset = last === "0" ? 0 : Number(last) + 1;
  return { url: location === null ? base : client.resolve(location, base), offset };
}

function typeOf(response: Response): string {
  return (response.headers.get("content-type") ?? "").replace(/;.*/s, "").trim();
}

function notThere(reference: Reference): UserError {
  return new UserError("E_NOT_FOUND", `there is no ${formatReference(reference)}`, {
    hint: "Check the repository and the tag or digest, and that these credentials may see it.",
  });
}
