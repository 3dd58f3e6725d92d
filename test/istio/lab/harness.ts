import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";
import { parseAllDocuments } from "yaml";
import { findEnvoy } from "../../../tools/envoy/find.js";
import { defaultModule, packageRoot } from "../../../tools/paths.js";
import { parseMetrics } from "../../../tools/view/prometheus.js";
import { bootstrapOf } from "../../e2e/harness.js";
import { type DubboServer, type ServerStats, startServer } from "../../peers/dubbo/server.js";
import type { KubernetesObject } from "./kubernetes.js";
import { Mesh, type Sidecar, type SidecarOptions } from "./mesh.js";

/** Where clients of the service `greeter` connect, in every manifest. */
export const GREETER = { host: "127.96.0.10", port: 20880 };

/** The objects of files in test/istio/manifests, with $MODULE and the given words filled in. */
export function manifests(names: readonly string[], words: Record<string, string> = {}): KubernetesObject[] {
  const values: Record<string, string> = { MODULE: defaultModule, ...words };
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

/** The pods of world.yaml, at work: a sidecar for each, and behind two of them a Dubbo server. */
export interface World {
  readonly mesh: Mesh;
  readonly app: Sidecar;
  readonly v1: Pod;
  readonly v2: Pod;
  /** What its sidecars were started with, for more of them. */
  readonly options: SidecarOptions;
  stop(): Promise<void>;
}

/** A sidecar, and the Dubbo server behind it, which may be down at times. */
export class Pod {
  private server: DubboServer | undefined;

  constructor(
    readonly sidecar: Sidecar,
    private readonly options: { version: string; port: number },
  ) {}

  /** Of the server that is up. */
  get stats(): ServerStats {
    if (!this.server) throw new Error(`the server of ${this.options.version} is down`);
    return this.server.stats;
  }

  async up(): Promise<void> {
    this.server ??= await startServer(this.options);
  }

  async down(): Promise<void> {
    await this.server?.stop();
    this.server = undefined;
  }

  async stop(): Promise<void> {
    await this.down();
    await this.sidecar.stop();
  }
}

export async function startWorld(objects: readonly KubernetesObject[]): Promise<World> {
  const found = inject("envoy");
  if ("missing" in found) throw new Error(found.missing);
  const envoy = await findEnvoy({ path: found.origin });
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
    // Labels as `meltemi run` has Envoy cut them out of the metrics' names; histograms and counters as they are now.
    const stats = { stats_config: bootstrapOf({ endpoints: [1] }).stats_config, stats_flush_interval: "0.1s" };
    const options = { envoy, files: [defaultModule], stats };
    const greeter = async (version: string, port: number) => {
      const pod = use(new Pod(await mesh.sidecar(`greeter-${version}`, options), { version, port }));
      await pod.up();
      return pod;
    };
    const [v1, v2] = [await greeter("v1", 20881), await greeter("v2", 20882)];
    return { mesh, v1, v2, app: use(await mesh.sidecar("app", options)), options, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What a sidecar's module has counted: requests by direction, service, method and status. */
export async function requests({ envoy }: Sidecar): Promise<Record<string, number>> {
  const counted = parseMetrics(await envoy.prometheus()).scalars.get("meltemi_requests_total") ?? [];
  return Object.fromEntries(
    counted
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => [[labels.direction, labels.service, labels.method, labels.status].join(" "), value]),
  );
}

/** Throws where Envoy, or a module in it, has complained. */
export function assertSound({ log }: Sidecar): void {
  const wrong = log.filter(({ level }) => level === "error" || level === "critical");
  if (wrong.length > 0) throw new Error(`Envoy complains:\n${wrong.map(({ text }) => text).join("\n")}`);
}
