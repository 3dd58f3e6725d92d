import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import { parseAllDocuments } from "yaml";
import { findEnvoy } from "../../../tools/envoy/find.js";
import { defaultModule, packageRoot } from "../../../tools/paths.js";
import { parseMetrics } from "../../../tools/view/prometheus.js";
import type { KubernetesObject } from "./kubernetes.js";
import { Mesh, type Sidecar, type SidecarOptions } from "./mesh.js";

/** Where clients of the service `greeter` connect, unless a test gives it another port. */
export const GREETER = { host: "10.96.0.10", port: 20880 };

/** What stands for $WORD in manifests unless a test says otherwise. */
const WORDS: Record<string, string> = {
  MODULE: `file://${defaultModule}`,
  /** The name and number of the Service's port, and the port of its pods. */
  NAME: "tcp-dubbo",
  PORT: String(GREETER.port),
  TARGET: String(GREETER.port),
};

/** The objects of files in test/istio/manifests, with words filled in: $MODULE (a URL), $NAME, $PORT, $TARGET and those given. */
export function manifests(names: readonly string[], words: Record<string, string> = {}): KubernetesObject[] {
  const values = { ...WORDS, ...words };
  return names.flatMap((name) => {
    const text = readFileSync(join(packageRoot, "test", "istio", "manifests", `${name}.yaml`), "utf8");
    const filled = text.replace(/\$([A-Z]+)/g, (_, word: string) => {
      const value = values[word];
      if (value === undefined) throw new Error(`${name}.yaml: nothing to put in place of $${word}`);
      return value;
    });
    return parseAllDocuments(filled, { strict: true }).map((document) => {
      if (document.errors[0]) throw document.errors[0];
      return document.toJS() as KubernetesObject;
    });
  });
}

/** A server of some protocol, behind the sidecar of a pod. */
export interface Server {
  stop(): Promise<void>;
}

export interface WorldOptions<S extends Server> {
  /** All that the cluster holds at first, the pods of world.yaml among it. */
  objects: readonly KubernetesObject[];
  /** Starts the server of a pod, which is to listen at host and port; `version` is that of the pod. */
  serve(at: { host: string; port: number; version: string }): Promise<S>;
  /** Where the servers listen at their pods' addresses: where the sidecars' `defaultEndpoint` leads. Default 20881. */
  port?: number;
}

/** The pods of world.yaml, at work: a sidecar for each, and behind two of them a server. */
export interface World<S extends Server> {
  readonly mesh: Mesh;
  readonly app: Sidecar;
  readonly v1: Pod<S>;
  readonly v2: Pod<S>;
  /** What its sidecars were started with, for more of them. */
  readonly options: SidecarOptions;
  stop(): Promise<void>;
}

/** A sidecar, and the server behind it, which may be down at times. */
export class Pod<S extends Server> {
  private running: S | undefined;

  constructor(
    readonly name: string,
    readonly sidecar: Sidecar,
    private readonly serve: () => Promise<S>,
  ) {}

  get server(): S {
    if (!this.running) throw new Error(`the server of ${this.name} is down`);
    return this.running;
  }

  async up(): Promise<void> {
    this.running ??= await this.serve();
  }

  async down(): Promise<void> {
    await this.running?.stop();
    this.running = undefined;
  }

  async stop(): Promise<void> {
    await this.down();
    await this.sidecar.stop();
  }
}

export async function startWorld<S extends Server>({
  objects,
  serve,
  port = 20881,
}: WorldOptions<S>): Promise<World<S>> {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  const options = { envoy: await findEnvoy({ path: found.origin }) };
  const started: { stop(): Promise<unknown> }[] = [];
  const stop = async () => {
    for (const part of started.splice(0).reverse()) await part.stop();
  };
  const use = <T extends { stop(): Promise<unknown> }>(part: T): T => {
    started.push(part);
    return part;
  };
  try {
    const mesh = use(await Mesh.start(objects));
    const greeter = async (version: string, host: string) => {
      const name = `greeter-${version}`;
      const sidecar = await mesh.sidecar(name, options);
      const pod = use(new Pod(name, sidecar, () => serve({ host, port, version })));
      await pod.up();
      return pod;
    };
    const [v1, v2] = [await greeter("v1", "10.9.0.11"), await greeter("v2", "10.9.0.12")];
    return { mesh, v1, v2, app: use(await mesh.sidecar("app", options)), options, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a sidecar's module has counted: requests by direction, service, method and status. */
export async function requests(sidecar: Sidecar): Promise<Record<string, number>> {
  const counted = parseMetrics(await sidecar.get("/stats/prometheus")).scalars.get("meltemi_requests_total") ?? [];
  return Object.fromEntries(
    counted
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => [[labels.direction, labels.service, labels.method, labels.status].join(" "), value]),
  );
}

/** Throws where an agent, its Envoy, or a module in it, has complained. */
export function assertSound({ log }: Sidecar): void {
  const wrong = log.filter(({ level }) => level === "error" || level === "critical");
  if (wrong.length > 0) throw new Error(`a sidecar complains:\n${wrong.map(({ text }) => text).join("\n")}`);
}
