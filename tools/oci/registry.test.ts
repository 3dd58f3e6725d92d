import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client } from "./client.js";
import { blob, digestOf, type Image, layouts, MediaType, packImage } from "./image.js";
import { parseReference } from "./reference.js";
import { breakOff, FakeRegistry, FakeServer, type Fault } from "./registry.fixture.js";
import { pullImage, pushImage, resolveDigest, type Transfer } from "./registry.js";

const MIB = 2 ** 20;
let registry: FakeRegistry;
let others: FakeServer[];
let said: string[];
let image: Image;
beforeEach(async () => {
  registry = await new FakeRegistry().start();
  others = [];
  said = [];
  image = await packImage(randomBytes(2000), "compat", { build: "1" });
});
afterEach(async () => {
  vi.unstubAllGlobals();
  await Promise.all([registry, ...others].map((server) => server.stop()));
});

const nobody = { secret: undefined, from: "nobody" };
const me = { secret: { username: "me", password: "pä:ss" }, from: "the test" };
const basic = `Basic ${Buffer.from("me:pä:ss").toString("base64")}`;
const named = (rest = ":1.0") => parseReference(`${registry.address}/a/b${rest}`);
const options = (more: Transfer = {}): Transfer => ({
  credentials: nobody,
  patience: 1,
  say: (line) => said.push(line),
  ...more,
});
const push = (more?: Transfer) => pushImage(named(), image, options(more));
const pull = (more?: Transfer, rest?: string) => pullImage(named(rest), options(more));
/** Worked out anew; a difference between long blobs would be shown in full. */
const names = ({ manifest, blobs }: Image) =>
  [manifest, ...blobs].map(({ mediaType, bytes }) => [mediaType, digestOf(bytes)]);
const failure = (of: Promise<unknown>) =>
  of.then(
    () => expect.unreachable("it went well"),
    (thrown) => thrown,
  );
/** Answers the first so many requests that match. */
function times(count: number, of: RegExp, fault: Fault): void {
  let left = count;
  registry.fault = (seen, request, response) => {
    if (left === 0 || !of.test(`${seen.method} ${seen.path}`)) return false;
    left--;
    return fault(seen, request, response);
  };
}
const status =
  (code: number, headers: Record<string, string> = {}, body = ""): Fault =>
  (_, __, response) => {
    response.writeHead(code, headers).end(body);
    return true;
  };
async function other(...answer: ConstructorParameters<typeof FakeServer>): Promise<FakeServer> {
  const server = await new FakeServer(...answer).start();
  others.push(server);
  return server;
}

it.each(layouts)("pushes and pulls an image of layout %s", async (layout) => {
  image = await packImage(randomBytes(2000), layout, {});
  const total = image.blobs.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const progress = vi.fn();
  expect(await push({ progress })).toBe(total + image.manifest.bytes.length);
  expect(progress).toHaveBeenLastCalledWith(total, total);
  const upload = ["HEAD blobs/DIGEST", "POST blobs/uploads/", "PUT blobs/uploads/N"];
  expect(registry.log).toEqual([...upload, ...upload, "PUT manifests/1.0"]);
  expect(registry.manifests.get("1.0")?.type).toBe(image.manifest.mediaType);

  expect(names(await pull())).toEqual(names(image));
  expect(names(await pull({}, `@${image.manifest.digest}`))).toEqual(names(image));
  expect(await resolveDigest(named(), options())).toBe(image.manifest.digest);
  expect(said).toEqual([]);
});

it("does not send what is there, and changes the tag last", async () => {
  await push();
  registry.seen.length = 0;
  expect(await push()).toBe(image.manifest.bytes.length);
  expect(registry.log).toEqual(["HEAD blobs/DIGEST", "HEAD blobs/DIGEST", "PUT manifests/1.0"]);
});

it("pushes under the digest alone where there is no tag", async () => {
  await pushImage(named(`@${image.manifest.digest}`), image, options());
  expect([...registry.manifests.keys()]).toEqual([image.manifest.digest]);
});

it("looks a digest up with one request that has no body", async () => {
  await push();
  registry.seen.length = 0;
  await resolveDigest(named(), options());
  expect(registry.log).toEqual(["HEAD manifests/1.0"]);
  const error = await failure(resolveDigest(named(`@sha256:${"0".repeat(64)}`), options()));
  expect(error).toMatchObject({ code: "E_NOT_FOUND" });
});

it("works out the digest where the registry does not say it", async () => {
  await push();
  registry.digests = false;
  expect(await resolveDigest(named(), options())).toBe(image.manifest.digest);
});

it("takes of a list the image for linux/amd64", async () => {
  await push();
  const entry = { mediaType: MediaType.manifest, digest: image.manifest.digest, size: image.manifest.bytes.length };
  const list = { manifests: [{ ...entry, platform: { os: "linux", architecture: "amd64" } }] };
  registry.manifests.set("list", { type: MediaType.index, bytes: Buffer.from(JSON.stringify(list)) });
  expect(await resolveDigest(named(":list"), options())).toBe(image.manifest.digest);
  expect(names(await pull({}, ":list"))).toEqual(names(image));
});

it("survives a registry that is in trouble for a while", async () => {
  times(5, /PUT .*uploads/, status(503));
  await push();
  expect(said).toHaveLength(5);
  expect(said[0]).toMatch(/answered 503 to PUT .*: Service Unavailable; trying again in 0\.0 s$/);
  expect(names(await pull())).toEqual(names(image));
});

it("waits as long as the registry asks for", async () => {
  times(1, /HEAD/, status(429, { "retry-after": "1" }));
  const started = performance.now();
  await push();
  expect(performance.now() - started).toBeGreaterThan(990);
  expect(said).toEqual([expect.stringMatching(/answered 429 .*trying again in 1\.0 s$/)]);
});

it.each([["3600"], [new Date(Date.now() + 3_600_000).toUTCString()]])(
  "does not wait for an hour (%s)",
  async (after) => {
    times(1, /HEAD/, status(429, { "retry-after": after }));
    expect(await failure(push())).toMatchObject({ code: "E_REGISTRY", exit: 4 });
    expect(registry.seen).toHaveLength(1);
  },
);

it("gives up in the end", async () => {
  times(100, /PUT .*manifests/, status(500, {}, '{"errors":[{"code":"UNKNOWN","message":"the disk is full"}]}'));
  const error = await failure(push());
  expect(error).toMatchObject({ code: "E_REGISTRY", exit: 4 });
  expect(error.message).toMatch(/answered 500 to PUT \/v2\/a\/b\/manifests\/1\.0: the disk is full$/);
  expect(said).toHaveLength(5);
});

it("goes on with an upload where the connection broke off", async () => {
  image = await packImage(randomBytes(20 * MIB), "artifact", {});
  let parts = 0;
  registry.fault = (seen, request) =>
    seen.method === "PATCH" && ++parts === 2 ? breakOff(registry, seen, request, 3 * MIB) : false;
  const progress: number[] = [];
  await push({ progress: (done) => progress.push(done) });
  const at = (from: number, to: number) => `${from}-${to - 1}`;
  expect(registry.log.slice(3)).toEqual([
    "HEAD blobs/DIGEST",
    "POST blobs/uploads/",
    `PATCH blobs/uploads/N ${at(0, 8 * MIB)}`,
    `PATCH blobs/uploads/N ${at(8 * MIB, 16 * MIB)}`,
    "GET blobs/uploads/N",
    `PATCH blobs/uploads/N ${at(11 * MIB, 19 * MIB)}`,
    `PUT blobs/uploads/N ${at(19 * MIB, 20 * MIB)}`,
    "PUT manifests/1.0",
  ]);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  expect(names(await pull())).toEqual(names(image));
});

it("begins again where the registry has forgotten the upload", async () => {
  image = await packImage(randomBytes(9 * MIB), "artifact", {});
  let parts = 0;
  registry.fault = (seen, request, response) => {
    if (seen.method !== "PATCH" || ++parts > 1) return false;
    registry.uploads.clear();
    request.resume();
    response.writeHead(404).end();
    return true;
  };
  await push();
  expect(registry.log.filter((line) => /POST|GET/.test(line))).toEqual([
    "POST blobs/uploads/",
    "POST blobs/uploads/",
    "GET blobs/uploads/N",
    "POST blobs/uploads/",
  ]);
  expect(names(await pull())).toEqual(names(image));
});

it("gives up where an upload never gets further", async () => {
  image = await packImage(randomBytes(9 * MIB), "artifact", {});
  times(100, /PATCH/, (seen, request, response) => {
    request.resume();
    response.writeHead(202, { location: seen.path, range: "0-0" }).end();
    return true;
  });
  const error = await failure(push());
  expect(error).toMatchObject({ code: "E_REGISTRY" });
  expect(error.message).toContain("took bytes up to 8388608 and says that it has 0");
});

it("does not repeat what the registry does not want", async () => {
  times(100, /PUT .*uploads/, status(400, {}, '{"errors":[{"code":"DIGEST_INVALID","message":"no such algorithm"}]}'));
  expect((await failure(push())).message).toContain("no such algorithm");
  times(100, /PUT .*manifests/, status(400, {}, '{"errors":[{"code":"MANIFEST_INVALID","message":"no OCI here"}]}'));
  expect((await failure(push())).message).toContain("no OCI here");
  expect(said).toEqual([]);
});

it("goes on with a download where the connection broke off", async () => {
  await push();
  const layer = image.blobs[1] as Image["manifest"];
  times(1, new RegExp(layer.digest), (_, __, response) => {
    response.writeHead(200, { "content-length": layer.bytes.length });
    response.write(layer.bytes.subarray(0, 1000), () => response.destroy());
    return true;
  });
  expect(names(await pull())).toEqual(names(image));
  expect(registry.log.at(-1)).toBe("GET blobs/DIGEST bytes=1000-");
  expect(said).toHaveLength(1);
});

it("takes a download from the start where the registry cannot go on", async () => {
  await push();
  const { digest, bytes } = image.blobs[1] as Image["manifest"];
  let asked = 0;
  registry.fault = (seen, _, response) => {
    if (!seen.path.includes(digest)) return false;
    response.writeHead(200, { "content-length": bytes.length });
    if (++asked === 1) response.write(bytes.subarray(0, 1000), () => response.destroy());
    else response.end(bytes);
    return true;
  };
  expect(names(await pull())).toEqual(names(image));
});

it("gives up where a download never gets further", async () => {
  await push();
  const { digest, bytes } = image.blobs[1] as Image["manifest"];
  let asked = 0;
  registry.fault = (seen, _, response) => {
    if (!seen.path.includes(digest)) return false;
    asked++;
    response.writeHead(200, { "content-length": bytes.length });
    response.write(bytes.subarray(0, 1000), () => response.destroy());
    return true;
  };
  expect(await failure(pull())).toMatchObject({ code: "E_UNREACHABLE" });
  expect(asked).toBe(6);
});

it("works out a digest that the registry says in other words", async () => {
  await push();
  for (const digest of ["sha512:00", `"\u00e9`, `${image.manifest.digest}x`]) {
    const { bytes } = image.manifest;
    times(1, /HEAD .*manifests/, status(200, { "content-type": MediaType.manifest, "docker-content-digest": digest }));
    expect(await resolveDigest(named(), options())).toBe(digestOf(bytes));
  }
});

it("fetches a manifest again that broke off", async () => {
  await push();
  times(1, /GET .*manifests/, (_, __, response) => {
    response.writeHead(200, { "content-type": MediaType.manifest, "content-length": 500 });
    response.write("{", () => response.destroy());
    return true;
  });
  expect(names(await pull())).toEqual(names(image));
});

it("believes nothing but bytes", async () => {
  await push();
  const pinned = `@${image.manifest.digest}`;
  const { digest, bytes } = image.blobs[1] as Image["manifest"];
  const wrong = Buffer.from(bytes).fill(0, 100, 101);
  wrong[100] = (bytes[100] as number) ^ 1;

  registry.blobs.set(digest, wrong);
  const error = await failure(pull());
  expect(error).toMatchObject({ code: "E_DIGEST", exit: 4 });
  expect(error.message).toBe(`blob ${digest} has the digest ${digestOf(wrong)}, expected was ${digest}`);
  registry.blobs.set(digest, Buffer.concat([bytes, bytes]));
  expect(await failure(pull())).toMatchObject({ code: "E_DIGEST" });
  registry.blobs.set(digest, Buffer.from(bytes.subarray(1)));
  expect(await failure(pull())).toMatchObject({ code: expect.stringMatching("E_DIGEST") });

  const bytesOf = Buffer.from(`${image.manifest.bytes} `);
  registry.manifests.set(image.manifest.digest, { type: MediaType.manifest, bytes: bytesOf });
  expect(await failure(pull({}, pinned))).toMatchObject({ code: "E_DIGEST" });
  expect(await failure(resolveDigest(named(pinned), options()))).toMatchObject({ code: "E_DIGEST" });
  times(1, /GET .*manifests/, (_, __, response) => {
    response.writeHead(200, { "content-type": MediaType.manifest, "docker-content-digest": image.manifest.digest });
    response.end("{}");
    return true;
  });
  expect(await failure(pull())).toMatchObject({ code: "E_DIGEST" });
  times(1, /PUT .*manifests/, status(201, { "docker-content-digest": digest }));
  expect((await failure(push())).message).toMatch(/^what 127\.0\.0\.1:\d+ stored has the digest/);
});

it("takes no more than a manifest may have", async () => {
  registry.manifests.set("1.0", { type: MediaType.manifest, bytes: Buffer.alloc(4 * MIB + 1, " ") });
  expect(await failure(pull())).toMatchObject({ code: "E_TOO_LARGE", exit: 1 });
  const long = await other((_, __, response) => void response.end(Buffer.alloc(4 * MIB + 1)));
  times(1, /GET/, status(307, { location: `http://${long.address}/x?signature=secret` }));
  const message = `what http://${long.address}/x answers has more than 4 MiB`;
  expect(await failure(pull())).toMatchObject({ code: "E_TOO_LARGE", message });
  const layer = { mediaType: MediaType.layer, digest: digestOf(Buffer.from("")), size: 2 ** 40 };
  const bytes = Buffer.from(JSON.stringify({ config: layer, layers: [layer] }));
  registry.manifests.set("1.0", { type: MediaType.manifest, bytes });
  expect(await failure(pull())).toMatchObject({ code: "E_TOO_LARGE" });
  expect(registry.log).toEqual(["GET manifests/1.0", "GET manifests/1.0", "GET manifests/1.0"]);
});

/** Wants tokens, which a service of another address hands out for `given`. */
async function tokens(answer: (count: number) => object = (count) => ({ token: `t${count}` })): Promise<FakeServer> {
  const valid = new Set<string>();
  let count = 0;
  const service = await other(async (seen, request, response) => {
    for await (const chunk of request) seen.body = Buffer.concat([seen.body, chunk]);
    valid.clear();
    valid.add(`Bearer t${++count}`);
    response.end(JSON.stringify(answer(count)));
  });
  const challenge = `Bearer realm="http://${service.address}/token?x=1",service="reg, the",scope="ignored"`;
  registry.fault = (seen, _, response) => {
    if (valid.has(seen.authorization ?? "")) return false;
    response.writeHead(401, { "www-authenticate": challenge }).end();
    return true;
  };
  return service;
}

it("gets a token for what it is going to do", async () => {
  const service = await tokens();
  await push({ credentials: me });
  expect(service.seen).toHaveLength(1);
  const [{ method, path, authorization }] = service.seen as [FakeServer["seen"][0]];
  expect([method, authorization]).toEqual(["GET", basic]);
  const url = new URL(path, "http://x");
  expect(Object.fromEntries(url.searchParams)).toEqual({
    x: "1",
    service: "reg, the",
    scope: "repository:a/b:pull,push",
  });
  // The password is the service's business alone.
  expect(registry.seen.every((seen) => !seen.authorization?.startsWith("Basic"))).toBe(true);

  await pull();
  expect(service.seen[1]?.authorization).toBeUndefined();
  expect(service.seen[1]?.path).toContain("scope=repository%3Aa%2Fb%3Apull");
});

it("gets another token when one is no longer good", async () => {
  const service = await tokens((count) => ({ access_token: `t${count}` }));
  const { fault } = registry;
  let before = 3;
  registry.fault = (seen, request, response) => {
    if (--before === 0) seen = { ...seen, authorization: "Bearer old" };
    return fault(seen, request, response);
  };
  await push({ credentials: me });
  expect(service.seen).toHaveLength(2);
});

it("buys tokens with an identity token, and takes a registry token as it is", async () => {
  const service = await tokens();
  await push({ credentials: { secret: { identityToken: "id" }, from: "the test" } });
  const [{ method, body, authorization }] = service.seen as [FakeServer["seen"][0]];
  expect([method, authorization]).toEqual(["POST", undefined]);
  expect(Object.fromEntries(new URLSearchParams(`${body}`))).toEqual({
    grant_type: "refresh_token",
    client_id: "meltemi",
    refresh_token: "id",
    service: "reg, the",
    scope: "repository:a/b:pull,push",
  });
  await pull({ credentials: { secret: { registryToken: "t1" }, from: "the test" } });
  expect(service.seen).toHaveLength(1);
});

it("says when a token service is none", async () => {
  await tokens(() => ({}));
  expect((await failure(push())).message).toContain("whose answer has none");
  times(1, /./, status(401, { "www-authenticate": 'Bearer realm="gopher://x"' }));
  expect((await failure(push())).message).toContain('names no address to get a token from: "gopher://x"');
});

it("tells no service of another machine the password in the clear", async () => {
  const challenge = 'Bearer realm="http://token.example/"';
  times(1, /./, status(401, { "www-authenticate": challenge }));
  const error = await failure(push({ credentials: me }));
  expect(error).toMatchObject({ code: "E_REGISTRY" });
  expect(error.message).toMatch(/wants the test sent to http:\/\/token\.example, which has no TLS$/);
  const asked = vi.fn(async (to: string | URL | Request) => {
    const local = String(to).includes(registry.address);
    return local ? new Response(null, { status: 401, headers: { "www-authenticate": challenge } }) : Response.json({});
  });
  vi.stubGlobal("fetch", asked);
  // The user may know better.
  expect((await failure(push({ credentials: me, plainHttp: true }))).message).toContain("whose answer has none");
  expect(asked).toHaveBeenCalledTimes(2);
});

/** Wants the password. */
function basicAuth(): void {
  registry.fault = (seen, request, response) =>
    seen.authorization === basic
      ? false
      : status(401, { "www-authenticate": 'Basic realm="x"' }, '{"errors":[{"code":"UNAUTHORIZED"}]}')(
          seen,
          request,
          response,
        );
}

it("shows who it is when it is asked, and not before", async () => {
  basicAuth();
  await push({ credentials: me });
  expect(registry.seen[0]?.authorization).toBeUndefined();
  expect(registry.seen.slice(1).every(({ authorization }) => authorization === basic)).toBe(true);
});

it("says whose credentials are refused, and where it looked for some", async () => {
  basicAuth();
  expect((await failure(push())).message).toMatch(/^127\.0\.0\.1:\d+ asks for credentials, and nobody$/);
  const error = await failure(
    push({ credentials: { secret: { username: "you", password: "hunter2" }, from: "those of you" } }),
  );
  expect(error).toMatchObject({ code: "E_UNAUTHORIZED", exit: 3 });
  expect(error.message).toMatch(/does not accept those of you: Unauthorized$/);
  expect(JSON.stringify(error)).not.toContain("hunter2");
  expect(error.options.hint).toMatch(/docker login 127\.0\.0\.1:\d+/);
});

it("says who may not do what", async () => {
  times(1, /POST/, status(403, {}, '{"errors":[{"code":"DENIED","message":"read only"}]}'));
  const error = await failure(push());
  expect(error).toMatchObject({ code: "E_FORBIDDEN", exit: 4 });
  expect(error.message).toMatch(/does not let someone without credentials push to a\/b: read only$/);
});

it("says what is not there", async () => {
  expect(await failure(pull())).toMatchObject({
    code: "E_NOT_FOUND",
    message: `there is no ${registry.address}/a/b:1.0`,
  });
  times(1, /POST/, status(404, { "content-type": "text/html" }, "<html>"));
  const error = await failure(push());
  expect(error).toMatchObject({ code: "E_NOT_FOUND", exit: 1 });
  expect(error.message).toBe(`${registry.address} has no a/b/blobs/uploads/: Not Found`);
});

it("shows nobody but the registry who it is", async () => {
  basicAuth();
  await push({ credentials: me });
  const storage = await other((seen, _, response) => {
    response.end(registry.blobs.get(seen.path.replace(/^.*\//, "")));
  });
  const { fault } = registry;
  registry.fault = async (seen, request, response) => {
    if (await fault(seen, request, response)) return true;
    if (!/GET .*blobs/.test(`${seen.method} ${seen.path}`)) return false;
    const location = `http://${storage.address}/${seen.path.replace(/^.*\//, "")}`;
    return status(307, { location })(seen, request, response);
  };
  expect(names(await pull({ credentials: me }))).toEqual(names(image));
  expect(storage.seen).toHaveLength(2);
  expect(storage.seen.every(({ authorization }) => authorization === undefined)).toBe(true);
});

it("does not answer somebody else's question who it is", async () => {
  const storage = await other((_, __, response) => {
    response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
  });
  times(1, /HEAD/, status(307, { location: `http://${storage.address}/` }));
  expect(await failure(push({ credentials: me }))).toMatchObject({ code: "E_UNAUTHORIZED" });
  expect(storage.seen.map(({ authorization }) => authorization)).toEqual([undefined]);
  times(1, /HEAD/, status(307, { location: `http://${storage.address}/` }));
  const error = await failure(pushImage(named(), image, { patience: 1 }));
  expect(error.message).toBe(`${storage.address} asks for credentials, and it was sent none`);
});

it("notices a web server that is no registry", async () => {
  const server = await other((_, request, response) => {
    request.resume();
    response.end("<html>");
  });
  const reference = parseReference(`${server.address}/a/b`);
  expect(await failure(pushImage(reference, image, options()))).toMatchObject({ code: "E_REGISTRY", exit: 4 });
  expect(await failure(pullImage(reference, options()))).toMatchObject({ code: "E_IMAGE" });
  expect(await failure(resolveDigest(reference, options()))).toMatchObject({ code: "E_IMAGE" });
  times(1, /POST/, status(202));
  expect((await failure(push())).message).toMatch(/is no registry: it does not say where uploads go$/);
});

const openssl = spawnSync("openssl", ["version"]).error === undefined;
it.skipIf(!openssl)(
  `does not believe who has no certificate${openssl ? "" : ": there is no openssl here"}`,
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
    const [key, cert] = [join(folder, "key"), join(folder, "cert")];
    const args = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"];
    execFileSync("openssl", ["req", ...args, "-keyout", key, "-out", cert], { stdio: "pipe" });
    const server = createServer({ key: readFileSync(key), cert: readFileSync(cert) });
    try {
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      const { port } = server.address() as AddressInfo;
      const error = await failure(resolveDigest(parseReference(`0.0.0.0:${port}/a/b`), options()));
      expect(error).toMatchObject({ code: "E_CERTIFICATE", exit: 3 });
      expect(error.message).toBe(`no TLS with 0.0.0.0:${port}: self-signed certificate`);
      expect(error.options.hint).toContain("NODE_EXTRA_CA_CERTS");
      expect(said).toEqual([]);
    } finally {
      await new Promise((done) => server.close(done));
      rmSync(folder, { recursive: true });
    }
  },
);

it("does not go in circles", async () => {
  times(100, /HEAD/, (seen, request, response) => status(307, { location: seen.path })(seen, request, response));
  expect((await failure(push())).message).toContain("redirects");
  expect(registry.seen.length).toBeLessThan(10);
});

it("stops when it is told to, in a request and between two", async () => {
  const inRequest = new AbortController();
  times(1, /PUT/, () => {
    inRequest.abort();
    return true;
  });
  expect(await failure(push({ signal: inRequest.signal }))).toMatchObject({ code: "E_INTERRUPTED", exit: 130 });
  const between = new AbortController();
  times(1, /HEAD/, status(503));
  const error = failure(push({ signal: between.signal, patience: 1e6, say: () => between.abort() }));
  expect(await error).toMatchObject({ code: "E_INTERRUPTED" });
  expect(await failure(push({ signal: between.signal }))).toMatchObject({ code: "E_INTERRUPTED" });
  expect(registry.manifests.size).toBe(0);
});

it("says at once that nobody is there, and waits for one who was", async () => {
  const { address } = registry;
  await registry.stop();
  const error = await failure(pushImage(parseReference(`${address}/a/b`), image, options()));
  expect(error).toMatchObject({ code: "E_UNREACHABLE", exit: 3 });
  expect(error.message).toBe(`${address} cannot be reached: connect ECONNREFUSED ${address}`);
  expect(said).toEqual([]);

  registry = await new FakeRegistry().start();
  times(1, /HEAD/, async (_, request, response) => {
    response.writeHead(503).end();
    await new Promise((done) => response.once("close", done));
    request.socket.destroy();
    void registry.stop();
    return true;
  });
  expect(await failure(push())).toMatchObject({ code: "E_UNREACHABLE" });
  expect(said).toHaveLength(5);
  registry = await new FakeRegistry().start();
});

it("says that a registry has no TLS, or that it has", async () => {
  // An address of this machine that is none of those which are spoken to without TLS.
  const reference = parseReference(`${registry.address.replace("127.0.0.1", "0.0.0.0")}/a/b`);
  const error = await failure(pushImage(reference, image, options()));
  expect(error).toMatchObject({ code: "E_CERTIFICATE", exit: 3 });
  expect(error.message).toMatch(/^0\.0\.0\.0:\d+ does not speak TLS$/);
  expect(error.options.hint).toContain("--plain-http");
  await pushImage(reference, image, options({ plainHttp: true }));

  // What Go's servers answer, whatever the method.
  const answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
  times(2, /./, (_, request) => {
    request.socket.end(answer);
    return true;
  });
  for (const speak of [push(), pull()]) {
    const refused = await failure(speak);
    expect(refused).toMatchObject({ code: "E_CERTIFICATE", exit: 3 });
    expect(refused.message).toMatch(/^127\.0\.0\.1:\d+ wants TLS, as it seems: /);
  }
});

it("knows docker.io by its other name, and sends it nothing in the clear", async () => {
  const asked: [string, string | null][] = [];
  let realm = "https://auth.docker.io/token";
  vi.stubGlobal("fetch", async (url: URL, init: RequestInit) => {
    const authorization = new Headers(init.headers).get("authorization");
    asked.push([`${url}`, authorization]);
    if (`${url}`.startsWith(realm)) return Response.json({ token: "t" });
    if (authorization === "Bearer t")
      return new Response(null, { headers: { "docker-content-digest": image.manifest.digest } });
    return new Response(null, { status: 401, headers: { "www-authenticate": `Bearer realm="${realm}",service="s"` } });
  });
  const find = () => resolveDigest(parseReference("meltemi"), options({ credentials: me }));
  expect(await find()).toBe(image.manifest.digest);
  const manifest = "https://registry-1.docker.io/v2/library/meltemi/manifests/latest";
  expect(asked).toEqual([
    [manifest, null],
    ["https://auth.docker.io/token?service=s&scope=repository%3Alibrary%2Fmeltemi%3Apull", basic],
    [manifest, "Bearer t"],
  ]);
  realm = "http://auth.example/token";
  expect((await failure(find())).message).toContain("sent to http://auth.example, which has no TLS");
  expect(asked).toHaveLength(4);
});

it("does not follow a registry out of TLS", () => {
  const client = new Client(parseReference("ghcr.io/a/b"), "pull", options());
  const base = new URL("https://ghcr.io/v2/");
  expect(`${client.resolve("/x?y=a%2Bb", base)}`).toBe("https://ghcr.io/x?y=a%2Bb");
  expect(`${client.resolve("https://s3.example/x", base)}`).toBe("https://s3.example/x");
  for (const location of ["http://ghcr.io/x", "file:///etc/passwd", "http://"])
    expect(() => client.resolve(location, base)).toThrow(expect.objectContaining({ code: "E_REGISTRY" }));
});

it("sends a blob only once that stands in two places", async () => {
  const twice = blob(MediaType.config, Buffer.from("{}"));
  expect((await packImage(randomBytes(10), "artifact", {})).blobs).toHaveLength(2);
  image = { manifest: image.manifest, blobs: [twice] };
  await push();
  expect(registry.log.filter((line) => line.startsWith("POST"))).toHaveLength(1);
});
