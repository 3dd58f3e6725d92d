import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { expect, it } from "vitest";
import { blob, choose, contentsOf, type Image, layouts, MediaType, packImage, unpackImage, VERSION } from "./image.js";

/** Bytes that compress somewhat, so that it matters how. */
const wasm = Buffer.from(Uint8Array.from({ length: 100_000 }, (_, at) => (at * at) >> (at % 13)));
const annotations = { [VERSION]: "1.2.3", "meltemi.protocols": "dubbo" };
const read = (of: { bytes: Buffer }) => JSON.parse(of.bytes.toString());

// Whoever pins a digest must find the same one with every later version of this program.
it.each([
  ["compat", "sha256:e38ca2174ef486658f2068c60e20fb33b3984692da666f6d542488cf0fedc2bd"],
  ["docker", "sha256:31b0a216edeb32dac7ce667a47a1bd933abe3fc4f25b20848612049e7040b8fa"],
  ["artifact", "sha256:1fe98ec65582fc35b9807974cc7747ca1d00c8b30690dde7dd552dd01e82ecaa"],
] as const)("the digest of %s does not change", async (layout, digest) => {
  expect((await packImage(wasm, layout, annotations)).manifest.digest).toBe(digest);
  const reversed = Object.fromEntries(Object.entries(annotations).reverse());
  expect((await packImage(wasm, layout, reversed)).manifest.digest).toBe(digest);
});

it.each(layouts)("%s gives back the module and its version", async (layout) => {
  const image = await packImage(wasm, layout, annotations);
  const unpacked = await unpackImage(image, "x");
  expect(unpacked.wasm.equals(wasm)).toBe(true);
  expect(unpacked.version).toBe("1.2.3");
  const contents = contentsOf(image.manifest.bytes, "x");
  expect(contents.map(({ digest }) => digest)).toEqual(image.blobs.map(({ digest }) => digest));
});

it("says what is in it where each layout has a place for that", async () => {
  const [compat, docker, artifact] = await Promise.all(layouts.map((layout) => packImage(wasm, layout, annotations)));
  expect(read((compat as Image).manifest).annotations).toEqual({
    "module.wasm.image/variant": "compat",
    ...annotations,
  });
  expect(read((docker as Image).manifest)).not.toHaveProperty("annotations");
  expect(read((docker as Image).blobs[0] as Image["manifest"]).config.Labels).toEqual(annotations);
  expect(read((artifact as Image).manifest).annotations).toEqual(annotations);
  expect(read((artifact as Image).manifest).layers).toHaveLength(2);
});

it("writes nothing of this machine and this day into the layer", async () => {
  const layer = (await packImage(wasm, "compat", {})).blobs[1]?.bytes as Uint8Array;
  // No time, and the same system everywhere.
  expect(Buffer.from(layer.subarray(4, 8)).toString("hex")).toBe("00000000");
  expect(layer[9]).toBe(3);
});

/** An image with one layer, as other tools might have made it. */
function made(layer: Uint8Array, type: string = MediaType.layer, manifestType: string = MediaType.manifest): Image {
  const config = blob(MediaType.config, Buffer.from("{}"));
  const content = blob(type, layer);
  const refer = ({ mediaType, digest, bytes }: typeof config) => ({ mediaType, digest, size: bytes.length });
  const manifest = { schemaVersion: 2, config: refer(config), layers: [refer(content)] };
  return { manifest: blob(manifestType, Buffer.from(JSON.stringify(manifest))), blobs: [config, content] };
}

async function tar(files: Record<string, string>): Promise<Buffer> {
  const archive = pack();
  for (const [name, text] of Object.entries(files)) archive.entry({ name }, text);
  archive.finalize();
  return gzipSync(await buffer(archive));
}

it("finds the module among other files, and where the version is not said", async () => {
  const layer = await tar({ "etc/passwd": "x".repeat(5000), "./opt/plugin.wasm": "module", "plugin.wasm.txt": "y" });
  const { wasm, version } = await unpackImage(made(layer), "x");
  expect([String(wasm), version]).toEqual(["module", undefined]);
});

it.each(["", "no JSON", "null", '{"config":{"Labels":7}}'])("does not mind the configuration %j", async (text) => {
  const image = made(await tar({ "plugin.wasm": "module" }));
  const config = blob(MediaType.config, Buffer.from(text));
  const content = JSON.parse(`${image.manifest.bytes}`);
  content.config.digest = config.digest;
  const manifest = blob(MediaType.manifest, Buffer.from(JSON.stringify(content)));
  const { wasm, version } = await unpackImage({ manifest, blobs: [config, ...image.blobs] }, "x");
  expect([String(wasm), version]).toEqual(["module", undefined]);
});

it.each([
  ["one raw layer", () => made(wasm, "application/wasm"), "its layers (application/wasm) are not what Istio takes"],
  ["one layer of an artifact", () => made(wasm, MediaType.module), "are not what Istio takes"],
  ["a Docker image with a layer of OCI", () => made(wasm, MediaType.layer, MediaType.dockerManifest), "are not what"],
  ["no gzip", () => made(wasm), "its last layer is no gzip"],
  ["no tar", () => made(gzipSync(Buffer.alloc(2048, "x"))), "its last layer is no tar"],
  ["half a tar", async () => made(gzipSync(Buffer.alloc(700, "x"))), "its last layer is no tar"],
  ["no plugin.wasm", async () => made(await tar({ "other.wasm": "" })), "there is no plugin.wasm"],
  [
    "no manifest",
    () => ({ ...made(wasm), manifest: blob(MediaType.manifest, Buffer.from("[]")) }),
    "its manifest is not",
  ],
])("refuses %s", async (_, image, why) => {
  const error = await Promise.resolve(image())
    .then((given: Image) => unpackImage(given, "ghcr.io/a/b"))
    .catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "E_IMAGE", exit: 1 });
  expect(error.message).toMatch(/^ghcr\.io\/a\/b is no image of a WebAssembly module: /);
  expect(error.message).toContain(why);
});

it("unpacks no more than Istio does", async () => {
  const bomb = gzipSync(Buffer.alloc(257 * 2 ** 20), { level: 1 });
  expect(bomb.length).toBeLessThan(2 ** 21);
  await expect(unpackImage(made(bomb), "x")).rejects.toMatchObject({ code: "E_TOO_LARGE", exit: 1 });
}, 30_000);

it("refuses sizes that nobody should fetch", () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const layer = { mediaType: MediaType.layer, digest, size: 2 ** 40 };
  const bytes = Buffer.from(JSON.stringify({ config: layer, layers: [layer] }));
  expect(() => contentsOf(bytes, "x")).toThrow(expect.objectContaining({ code: "E_TOO_LARGE" }));
});

it("takes of a list what Istio's agent takes", () => {
  const entry = (digit: string, platform?: object) => ({
    mediaType: MediaType.manifest,
    digest: `sha256:${digit.repeat(64)}`,
    size: 1,
    ...(platform && { platform }),
  });
  const list = (...manifests: object[]) => Buffer.from(JSON.stringify({ manifests }));
  const arm = entry("1", { architecture: "arm64", os: "linux" });
  const amd = entry("2", { architecture: "amd64", os: "linux" });
  expect(choose(list(arm, amd), "x")).toEqual(amd);
  expect(choose(list(arm, entry("3")), "x").digest).toContain("3");
  expect(() => choose(list(arm), "x")).toThrow(expect.objectContaining({ code: "E_IMAGE" }));
});
