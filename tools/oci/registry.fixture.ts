import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { digestOf } from "./image.js";

/** A request as it came, with as much of its body as came. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
  body: Buffer;
}

/** Answers a request in place of the registry, or breaks it off; false leaves it to the registry. */
export type Fault = (seen: Seen, request: IncomingMessage, response: ServerResponse) => boolean | Promise<boolean>;

/** A server on a free port of 127.0.0.1 that remembers what it was asked. */
export class FakeServer {
  readonly seen: Seen[] = [];
  readonly #server: Server;

  constructor(answer: (seen: Seen, request: IncomingMessage, response: ServerResponse) => void | Promise<void>) {
    this.#server = createServer((request, response) => {
      const { method = "", url = "", headers } = request;
      const { authorization } = headers;
      const range = headers["content-range"] ?? headers.range;
      const seen: Seen = { method, path: url, authorization, range, body: Buffer.alloc(0) };
      this.seen.push(seen);
      Promise.resolve(answer(seen, request, response)).catch(() => response.destroy());
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A registry in memory, in this process, that fails as it is told. */
export class FakeRegistry extends FakeServer {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, { type: string; bytes: Buffer }>();
  /** Uploads that have begun, by their number. */
  readonly uploads = new Map<string, Buffer>();
  #begun = 0;
  fault: Fault = () => false;
  /** Whether answers name the digest. */
  digests = true;

  constructor() {
    super(async (seen, request, response) => {
      if (!(await this.fault(seen, request, response))) await this.#answer(seen, request, response);
    });
  }

  /** `PUT manifests/1.0` of everything that was asked, without what differs from run to run. */
  get log(): string[] {
    return this.seen.map(({ method, path, range }) => {
      const short = path
        .replace(/^\/v2\/a\/b\//, "")
        .replace(/\?.*/, "")
        .replace(/sha256:[0-9a-f]{64}/, "DIGEST")
        .replace(/uploads\/\d+/, "uploads/N");
      return [method, short, ...(range ? [range] : [])].join(" ");
    });
  }

  async #answer(seen: Seen, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = "", query] = seen.path.split("?");
    const [, kind = "", name = ""] = /^\/v2\/a\/b\/(manifests|blobs\/uploads|blobs)\/(.*)$/.exec(path) ?? [];
    const answer = (status: number, headers: Record<string, string> = {}, body: Uint8Array = Buffer.alloc(0)) => {
      response.writeHead(status, { "content-length": body.length, ...headers });
      response.end(seen.method === "HEAD" ? undefined : body);
    };
    const refuse = (status: number, code: string) =>
      answer(status, {}, Buffer.from(JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] })));
    const digestHeader = (digest: string): Record<string, string> =>
      this.digests ? { "docker-content-digest": digest } : {};

    if (kind === "blobs/uploads") return this.#upload(name, query, seen, request, answer, refuse);
    if (seen.method === "PUT") {
      for await (const chunk of request) seen.body = Buffer.concat([seen.body, chunk]);
      const digest = digestOf(seen.body);
      const stored = { type: request.headers["content-type"] ?? "", bytes: seen.body };
      this.manifests.set(name, stored).set(digest, stored);
      return answer(201, digestHeader(digest));
    }
    const manifest = kind === "manifests" && this.manifests.get(name);
    if (manifest)
      return answer(200, { "content-type": manifest.type, ...digestHeader(digestOf(manifest.bytes)) }, manifest.bytes);
    const blob = kind === "blobs" && this.blobs.get(name);
    if (!blob) return refuse(404, kind === "blobs" ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN");
    const from = Number(/^bytes=(\d+)-$/.exec(seen.range ?? "")?.[1] ?? 0);
    answer(from > 0 ? 206 : 200, {}, blob.subarray(from));
  }

  async #upload(
    name: string,
    query: string | undefined,
    seen: Seen,
    request: IncomingMessage,
    answer: (status: number, headers?: Record<string, string>) => void,
    refuse: (status: number, code: string) => void,
  ): Promise<void> {
    if (seen.method === "POST") {
      const id = String(++this.#begun);
      this.uploads.set(id, Buffer.alloc(0));
      return answer(202, { location: `/v2/a/b/blobs/uploads/${id}?state=a%2Bb`, range: "0-0" });
    }
    const before = this.uploads.get(name);
    if (!before || !query?.startsWith("state=a%2Bb")) return refuse(404, "BLOB_UPLOAD_UNKNOWN");
    const where = () => {
      const { length } = this.uploads.get(name) as Buffer;
      return { location: seen.path, range: `0-${Math.max(length - 1, 0)}` };
    };
    if (seen.method === "GET") return answer(204, where());
    const from = Number(/^(\d+)-\d+$/.exec(seen.range ?? "")?.[1] ?? 0);
    if (from !== before.length) return refuse(416, "RANGE_INVALID");
    try {
      for await (const chunk of request) seen.body = Buffer.concat([seen.body, chunk]);
    } finally {
      // What came is kept, also where the connection broke off.
      this.uploads.set(name, Buffer.concat([before, seen.body]));
    }
    if (seen.method === "PATCH") return answer(202, where());
    const bytes = this.uploads.get(name) as Buffer;
    const digest = /digest=(sha256:[0-9a-f]+)$/.exec(query)?.[1];
    this.uploads.delete(name);
    if (digest !== digestOf(bytes)) return refuse(400, "DIGEST_INVALID");
    this.blobs.set(digest, bytes);
    answer(201, { "docker-content-digest": digest });
  }
}

/** Ends the connection once so many bytes of a request's body have come, and keeps them as an upload's. */
export function breakOff(registry: FakeRegistry, seen: Seen, request: IncomingMessage, bytes: number): Promise<true> {
  const id = /uploads\/(\d+)/.exec(seen.path)?.[1] ?? "";
  const before = registry.uploads.get(id) as Buffer;
  return new Promise((done) => {
    request.on("data", (chunk: Buffer) => {
      seen.body = Buffer.concat([seen.body, chunk]);
      if (seen.body.length < bytes) return;
      registry.uploads.set(id, Buffer.concat([before, seen.body.subarray(0, bytes)]));
      request.socket.destroy();
      void turn().then(() => done(true));
    });
  });
}
