import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { describeModule, descriptionFile } from "../model/module.js";
import { layouts } from "../oci/image.js";
import { FakeRegistry } from "../oci/registry.fixture.js";
import { defaultModule, version } from "../paths.js";
import { pull } from "./pull.js";
import { push } from "./push.js";

let folder: string;
let registry: FakeRegistry;
let out: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
  registry = await new FakeRegistry().start();
  out = "";
  vi.stubEnv("DOCKER_CONFIG", folder);
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    out += text;
    return true;
  });
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  await registry.stop();
  rmSync(folder, { recursive: true });
});

const named = (rest = ":1.0") => `${registry.address}/a/b${rest}`;
const at = (name: string) => join(folder, name);
/** What the command prints, or the error that it ends with. */
async function run(command: typeof push, ...args: string[]): Promise<string> {
  out = "";
  await command().exitOverride().parseAsync(args, { from: "user" });
  return out;
}
const failure = (of: Promise<unknown>) =>
  of.then(
    () => expect.unreachable("it went well"),
    (thrown) => thrown,
  );
const digest = async (...args: string[]) => (await run(push, named(), ...args)).trim().replace(/^.*@/, "");

it.each(layouts)("prints what to pin; pull takes it, and gives the module as it was built: %s", async (layout) => {
  const pinned = await run(push, named(), "--layout", layout);
  expect(pinned).toMatch(/^127\.0\.0\.1:\d+\/a\/b:1\.0@sha256:[0-9a-f]{64}\n$/);
  const file = at("deep/mine.wasm");
  expect(await run(pull, pinned.trim(), "--output", file)).toBe(pinned);
  expect(readFileSync(file).equals(readFileSync(defaultModule))).toBe(true);
  expect(describeModule(file)).toEqual(describeModule(defaultModule));
  expect(readFileSync(at("deep/mine.json"), "utf8")).toBe(readFileSync(descriptionFile(defaultModule), "utf8"));
  expect(readdirSync(at("deep")).sort()).toEqual(["mine.json", "mine.wasm"]);
  // A pulled module gives the same image again.
  expect(await run(push, named(), "--layout", layout, "--module", file)).toBe(pinned);
});

it("says in the image what is in it", async () => {
  await run(push, named(), "--annotation", "org.opencontainers.image.source=https://x/?a=b", "--annotation", "k=");
  const { annotations } = JSON.parse(`${registry.manifests.get("1.0")?.bytes}`);
  expect(annotations).toMatchObject({
    "module.wasm.image/variant": "compat",
    "org.opencontainers.image.title": "meltemi",
    "org.opencontainers.image.licenses": "Apache-2.0",
    "org.opencontainers.image.version": version,
    "org.opencontainers.image.source": "https://x/?a=b",
    k: "",
  });
  expect(annotations["org.opencontainers.image.description"]).toMatch(/Envoy/);
  expect(annotations["meltemi.protocols"].split(",")).toContain("dubbo");
});

it("goes by way of a folder with the same digest", async () => {
  const direct = await digest();
  registry.blobs.clear();
  registry.manifests.clear();
  expect(await digest("--oci-dir", at("image"))).toBe(direct);
  expect(registry.manifests.size).toBe(0);
  expect(await digest("--from", at("image"))).toBe(direct);
  expect(await run(pull, named(), "--oci-dir", at("again"))).toContain(direct);
  expect(await digest("--from", at("again"))).toBe(direct);
  expect(existsSync("meltemi.wasm")).toBe(false);
});

it("says what was done as JSON", async () => {
  const pushed = JSON.parse(await run(push, named(), "--json"));
  expect(pushed).toMatchObject({ reference: named(`:1.0@${pushed.digest}`), version });
  expect(pushed.sentBytes).toBe(pushed.bytes);
  expect(pushed.protocols).toContain("dubbo");
  const pulled = JSON.parse(await run(pull, named(), "--json", "--output", at("mine.wasm")));
  expect(pulled).toMatchObject({ reference: pushed.reference, module: at("mine.wasm"), version });
  expect(pulled.bytes).toBe(readFileSync(defaultModule).length);
});

it("does not push what Envoy would not load, from wherever it comes", async () => {
  const module = at("bad.wasm");
  writeFileSync(module, Buffer.from("0061736d01000000", "hex"));
  copyFileSync(descriptionFile(defaultModule), at("bad.json"));
  expect(await failure(run(push, named(), "--module", module))).toMatchObject({ code: "E_MODULE", exit: 1 });
  rmSync(at("bad.json"));
  expect(await failure(run(push, named(), "--module", module))).toMatchObject({ code: "E_NOT_BUILT", exit: 3 });
  expect(registry.seen).toEqual([]);
});

it("does not push under a digest that is another", async () => {
  const error = await failure(run(push, named(`:1.0@sha256:${"0".repeat(64)}`)));
  expect(error).toMatchObject({ code: "E_DIGEST", exit: 4 });
  expect(registry.seen).toEqual([]);
});

it("does not pull what is not what was pinned, and leaves the old file", async () => {
  const file = at("mine.wasm");
  writeFileSync(file, "old");
  const [, sha = ""] = (await run(push, named())).trim().split("@");
  registry.manifests.set(sha, { type: "application/vnd.oci.image.manifest.v1+json", bytes: Buffer.from("{}") });
  const error = await failure(run(pull, named(`@${sha}`), "--output", file));
  expect(error).toMatchObject({ code: "E_DIGEST", exit: 4 });
  expect(readFileSync(file, "utf8")).toBe("old");
  expect(readdirSync(folder)).toEqual(["mine.wasm"]);
});

it("puts nothing in the place of a device", async () => {
  await run(push, named());
  symlinkSync("/dev/null", at("null.wasm"));
  const error = await failure(run(pull, named(), "--output", at("null.wasm")));
  expect(error).toMatchObject({ code: "E_WRITE", message: `${at("null.wasm")} cannot be written: it is no file` });
  expect(readdirSync(folder)).toEqual(["null.wasm"]);
});

it("says where it cannot write, and leaves nothing behind", async () => {
  await run(push, named());
  writeFileSync(at("file"), "");
  const error = await failure(run(pull, named(), "--output", at("file/mine.wasm")));
  expect(error).toMatchObject({ code: "E_WRITE", exit: 1 });
  expect(error.message).toContain("cannot be written");
  expect(readdirSync(folder)).toEqual(["file"]);
  registry.seen.length = 0;
  expect(await failure(run(pull, named(), "--oci-dir", folder))).toMatchObject({ code: "E_WRITE" });
  expect(registry.seen).toEqual([]);
});

it.each([
  [["--layout", "zip"]],
  [["--annotation", "nothing"]],
  [["--from", "x", "--layout", "docker"]],
  [["--from", "x", "--oci-dir", "y"]],
  [["--username", "me"]],
  [["--password-stdin"]],
])("refuses %j", async (args) => {
  const error = await failure(run(push, named(), ...args));
  expect(error).toMatchObject({ code: expect.stringMatching(/^(commander\.|E_CREDENTIALS)/) });
  expect(registry.seen).toEqual([]);
});
