import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { findCredentials } from "./credentials.js";

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-"));
  file = join(folder, "config.json");
});
afterEach(() => rmSync(folder, { recursive: true }));

const env = () => ({ DOCKER_CONFIG: folder, PATH: `${folder}:${process.env.PATH}` });
const find = (registry: string) => findCredentials(registry, env());
const configure = (config: unknown) => writeFileSync(file, JSON.stringify(config));
const base64 = (text: string) => Buffer.from(text).toString("base64");

/** A program as docker runs it for credentials; what it reads from standard input it keeps in a file. */
function helper(name: string, script: string): void {
  const program = join(folder, `docker-credential-${name}`);
  writeFileSync(program, `#!/bin/sh\nread server; printf '%s' "$1 $server" > ${folder}/asked\n${script}\n`);
  chmodSync(program, 0o755);
}

it("has none where there is no configuration", async () => {
  expect(await find("ghcr.io")).toEqual({ secret: undefined, from: `${file} has none for ghcr.io` });
});

it("looks in the home folder by default", async () => {
  const home = process.env.HOME;
  try {
    process.env.HOME = folder;
    mkdirSync(join(folder, ".docker"));
    writeFileSync(join(folder, ".docker", "config.json"), JSON.stringify({ auths: { a: { registrytoken: "t" } } }));
    expect((await findCredentials("a", {})).secret).toEqual({ registryToken: "t" });
  } finally {
    process.env.HOME = home;
  }
});

it.each(["ghcr.io", "https://ghcr.io", "https://ghcr.io/v2/", "ghcr.io/"])("takes the key %s", async (key) => {
  configure({ auths: { "ghcr.io.example": { auth: base64("x:y") }, [key]: { auth: base64("me:a:b") } } });
  expect(await find("ghcr.io")).toEqual({
    secret: { username: "me", password: "a:b" },
    from: `the credentials of "me" from ${file}`,
  });
});

it("knows by which name docker keeps those for docker.io, and keeps ports apart", async () => {
  configure({
    auths: {
      "https://index.docker.io/v1/": { username: "u", password: "p" },
      "localhost:5000": { identitytoken: "t" },
    },
  });
  expect((await find("docker.io")).secret).toEqual({ username: "u", password: "p" });
  expect((await find("localhost:5000")).secret).toEqual({ identityToken: "t" });
  expect((await find("localhost:5001")).secret).toBeUndefined();
});

it("asks a helper for its registry, before all others", async () => {
  helper("one", `echo '{"ServerURL":"x","Username":"me","Secret":"pw"}'`);
  helper("all", "exit 1");
  configure({ credsStore: "all", credHelpers: { "ghcr.io": "one" }, auths: { "ghcr.io": { auth: base64("a:b") } } });
  expect(await find("ghcr.io")).toEqual({
    secret: { username: "me", password: "pw" },
    from: 'the credentials of "me" from docker-credential-one',
  });
});

it("asks the store for everything else, which may have an identity token", async () => {
  helper(
    "all",
    `grep -q "^get https://index.docker.io/v1/$" ${folder}/asked && echo '{"Username":"<token>","Secret":"t"}'`,
  );
  configure({ credsStore: "all", credHelpers: { "ghcr.io": "one" } });
  expect((await find("docker.io")).secret).toEqual({ identityToken: "t" });
});

it("takes what the file has where the store has nothing", async () => {
  helper("all", "echo credentials not found in native keychain; exit 1");
  configure({ credsStore: "all", auths: { "ghcr.io": { auth: base64("a:b") }, empty: {} } });
  expect((await find("ghcr.io")).secret).toEqual({ username: "a", password: "b" });
  expect((await find("empty")).secret).toBeUndefined();
});

it.each([
  ["not JSON", "{", "is not a configuration of docker", 1],
  ["another shape", '{"auths":[1]}', "is not a configuration of docker", 1],
  ["no base64 of a pair", '{"auths":{"ghcr.io":{"auth":"bm9wZQ=="}}}', 'the "auth" of ghcr.io is not the base64', 1],
  [
    "a helper that is missing",
    '{"credsStore":"none"}',
    "docker-credential-none, which FILE names for ghcr.io, is not on the PATH",
    3,
  ],
  ["a helper elsewhere", '{"credsStore":"../x"}', "is no name of a program", 1],
  ["a helper that fails", '{"credsStore":"fails"}', "failed: the keychain is locked", 3],
  ["a helper that talks", '{"credsStore":"talks"}', "answered something else than credentials", 4],
])("says what is wrong: %s", async (_, text, message, exit) => {
  helper("fails", "echo the keychain is locked >&2; exit 1");
  helper("talks", "echo secret");
  writeFileSync(file, text);
  const error = await find("ghcr.io").catch((thrown) => thrown);
  expect(error).toMatchObject({ code: "E_CREDENTIALS", exit });
  expect(error.message).toContain(message.replace("FILE", file));
  expect(error.message).not.toContain("secret");
  expect(error.options.hint).toBeTruthy();
});
