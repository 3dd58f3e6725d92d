import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { stringify } from "yaml";
import { UserError } from "../errors.js";
import { KINDS, plural } from "./kinds.js";

/** One request, with the answer still to be given. */
export interface Asked {
  method: string;
  path: string;
  query: URLSearchParams;
  body: string;
  answer(status: number, body: unknown, headers?: Record<string, string>): void;
  /** Closes the connection without an answer. */
  hangUp(): void;
}

/**
 * Stands in for an API server where a fault is wanted that a real one does not show on demand. It says itself which kinds
 * it serves; all else is the test's.
 */
export class FaultyServer {
  /** What was asked, besides which kinds there are: `PATCH /apis/...`. */
  readonly asked: string[] = [];
  private readonly server;

  private constructor(handle: (asked: Asked) => void) {
    this.server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
      const url = new URL(request.url ?? "/", "http://localhost");
      const answer: Asked["answer"] = (status, body, headers) => {
        response.writeHead(status, { "content-type": "application/json", ...headers });
        response.end(typeof body === "string" ? body : JSON.stringify(body));
      };
      const [, api, group, version, ...rest] = url.pathname.split("/");
      if (api === "apis" && rest.length === 0) return answer(200, resources(`${group}/${version}`));
      const method = request.method ?? "";
      this.asked.push(`${method} ${url.pathname}`);
      handle({
        method,
        path: url.pathname,
        query: url.searchParams,
        body: await text(request),
        answer,
        hangUp: () => request.socket.destroy(),
      });
    });
  }

  static async start(handle: (asked: Asked) => void): Promise<FaultyServer> {
    const faulty = new FaultyServer(handle);
    faulty.server.listen(0, "127.0.0.1");
    await once(faulty.server, "listening");
    return faulty;
  }

  /** A kubeconfig's text. */
  get kubeconfig(): string {
    const { port } = this.server.address() as AddressInfo;
    return stringify({
      clusters: [{ name: "faulty", cluster: { server: `http://127.0.0.1:${port}` } }],
      users: [{ name: "tester", user: { token: "secret" } }],
      contexts: [{ name: "faulty", context: { cluster: "faulty", user: "tester" } }],
      "current-context": "faulty",
    });
  }

  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

function resources(groupVersion: string): unknown {
  const kinds = KINDS.filter(({ apiVersion }) => apiVersion === groupVersion);
  return {
    apiVersion: "v1",
    kind: "APIResourceList",
    groupVersion,
    resources: kinds.map(({ kind }) => ({ name: plural(kind), kind, namespaced: true, verbs: [] })),
  };
}

/** An error as API servers word it. */
export function status(code: number, message: string, details: object = {}): unknown {
  return { apiVersion: "v1", kind: "Status", status: "Failure", code, message, details };
}

/** What something is refused with. */
export async function refusal(action: Promise<unknown>): Promise<UserError> {
  const error = await action.then(
    () => new Error("nothing was refused"),
    (reason: unknown) => reason,
  );
  if (!(error instanceof UserError)) throw error;
  return error;
}
