import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { blob, digestOf, type Image, layouts, MediaType, packImage } from "./image.js";
import { readLayout, writeLayout } from "./layout.js";

let folder: string;
let image: Image;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
  image = await packImage(Buffer.from("module"), "compat", {});
});
afterEach(() => rmSync(folder, { recursive: true }));

const failure = (of: Promise<unknown>) =>
  of.then(
    () => expect.unreachable("it went well"),
    (thrown) => thrown,
  );
const pathOf = (digest: string) => join(folder, "blobs", "sha256", digest.replace("sha256:", ""));

it.each(layouts)("an image of layout %s comes back as it was", async (layout) => {
  image = await packImage(Buffer.from("module"), layout, { a: "b" });
  await writeLayout(folder, image, "1.0");
  expect(readdirSync(folder).sort()).toEqual(["blobs", "index.json", "oci-layout"]);
  expect(await readLayout(folder, "1.0")).toEqual(image);
  // The only one that is there may be pushed under any name.
  expect(await readLayout(folder, "other")).toEqual(image);
});

it("leaves alone what is there", async () => {
  writeFileSync(join(folder, "mine"), "");
  const error = await failure(writeLayout(folder, image, "1.0"));
  expect(error).toMatchObject({ code: "E_WRITE", exit: 1, message: `${folder} is not empty` });
  expect(readdirSync(folder)).toEqual(["mine"]);
});

it("says where it cannot write", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  expect(await failure(writeLayout(file, image, "1.0"))).toMatchObject({ code: "E_WRITE" });
  expect(await failure(writeLayout(join(file, "deeper"), image, "1.0"))).toMatchObject({ code: "E_WRITE" });
});

/** Changes index.json, or a file of which it says the digest. */
function index(change: (manifests: { digest: string; annotations?: object }[]) => unknown[]): void {
  const file = join(folder, "index.json");
  const list = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(file, JSON.stringify({ ...list, manifests: change(list.manifests) }));
}

it("takes of several images the one with the tag", async () => {
  await writeLayout(folder, image, "1.0");
  const tag = (name: string) => ({ annotations: { "org.opencontainers.image.ref.name": name } });
  index(([first]) => [{ ...first, ...tag("0.9"), digest: `sha256:${"0".repeat(64)}` }, first]);
  expect(await readLayout(folder, "1.0")).toEqual(image);
  const error = await failure(readLayout(folder, "2.0"));
  expect(error).toMatchObject({ code: "E_IMAGE" });
  expect(error.message).toContain("it has 2 images (0.9, 1.0), and not exactly one of them has the tag 2.0");
});

it("follows a list to its image", async () => {
  await writeLayout(folder, image, "1.0");
  const list = readFileSync(join(folder, "index.json"));
  writeFileSync(pathOf(digestOf(list)), list);
  index(() => [{ mediaType: MediaType.index, digest: digestOf(list), size: list.length }]);
  expect(await readLayout(folder, "1.0")).toEqual(image);
});

it("believes nothing but bytes", async () => {
  await writeLayout(folder, image, "1.0");
  for (const { digest, bytes } of [image.manifest, ...image.blobs]) {
    writeFileSync(pathOf(digest), `${bytes} `);
    const error = await failure(readLayout(folder, "1.0"));
    expect(error).toMatchObject({ code: "E_DIGEST", exit: 4 });
    expect(error.message).toContain(`${pathOf(digest)} has the digest`);
    writeFileSync(pathOf(digest), bytes);
  }
});

it("holds sizes against those of the manifest", async () => {
  const layer = image.blobs[1] as Image["manifest"];
  const manifest = JSON.parse(`${image.manifest.bytes}`);
  manifest.layers[0].size = 1;
  await writeLayout(
    folder,
    { ...image, manifest: blob(MediaType.manifest, Buffer.from(JSON.stringify(manifest))) },
    "1",
  );
  const error = await failure(readLayout(folder, "1"));
  expect(error).toMatchObject({ code: "E_DIGEST" });
  expect(error.message).toBe(`blob ${layer.digest} does not have the 1 bytes that its manifest says`);
});

it("reads nothing that may have no end", async () => {
  symlinkSync("/dev/zero", join(folder, "index.json"));
  expect((await failure(readLayout(folder, "1.0"))).message).toContain("index.json cannot be read: it is no file");
});

it("says what is missing", async () => {
  expect(await failure(readLayout(folder, "1.0"))).toMatchObject({
    code: "E_IMAGE",
    message: `${join(folder, "index.json")} cannot be read: there is no such file`,
  });
  await writeLayout(folder, image, "1.0");
  const { digest } = image.blobs[0] as Image["manifest"];
  rmSync(pathOf(digest));
  expect((await failure(readLayout(folder, "1.0"))).message).toContain(`${pathOf(digest)} cannot be read`);
  mkdirSync(pathOf(digest));
  expect((await failure(readLayout(folder, "1.0"))).message).toContain("it is no file");
  writeFileSync(join(folder, "index.json"), "{}");
  expect((await failure(readLayout(folder, "1.0"))).message).toContain("its manifest is not one of OCI or Docker");
});
