import { readFileSync } from "node:fs";
import { bootstrap } from "../../tools/envoy/bootstrap.js";
import { type Envoy, findEnvoy } from "../../tools/envoy/find.js";
import { EnvoyProcess } from "../../tools/envoy/process.js";
import { UserError } from "../../tools/errors.js";
import { startProxy as startInNode } from "../../tools/host/proxy.js";
import { clusters, moduleConfig } from "../../tools/model/module.js";
import type { Model } from "../../tools/model/schema.js";
import { formatAddress } from "../../tools/model/units.js";
import { defaultModule } from "../../tools/paths.js";

/** Something with the module in it that stands between client and servers. */
export interface RunningProxy {
  /** Where clients connect. */
  port: number;
  /** Where else to look, such as a URL; empty where there is nothing to look at. */
  admin: string;
  /** All metrics in the Prometheus text format. */
  metrics(): Promise<string>;
  /** Rejects when it ends by itself. */
  failed: Promise<never>;
  stop(): Promise<unknown>;
}

/**
 * The Envoy to run, or why there is none: then the module runs in this process. `MELTEMI_ENVOY=none` wants no Envoy.
 * @throws UserError where MELTEMI_ENVOY names something that is no Envoy
 */
export async function chooseEnvoy(say: (line: string) => void): Promise<Envoy | { missing: string }> {
  if (process.env.MELTEMI_ENVOY === "none") return { missing: "MELTEMI_ENVOY=none asks for none" };
  try {
    return await findEnvoy({ say });
  } catch (error) {
    if (!(error instanceof UserError && error.code === "E_NO_ENVOY")) throw error;
    return { missing: error.options.hint ?? error.message };
  }
}

/** Starts one proxy for one meltemi.yaml. */
export async function startProxy(model: Model, envoy: Envoy | undefined, signal: AbortSignal): Promise<RunningProxy> {
  if (envoy === undefined) {
    const proxy = await startInNode({
      config: moduleConfig(model),
      wasm: readFileSync(defaultModule),
      bind: model.service.bind,
      clusters: clusters(model),
    });
    const failed = new Promise<never>(() => {});
    return { port: proxy.port, admin: "", metrics: async () => proxy.metrics(), failed, stop: () => proxy.close() };
  }
  const running = await EnvoyProcess.start({
    envoy,
    bootstrap: bootstrap(model, { module: defaultModule }),
    files: [defaultModule],
    concurrency: 1,
    signal,
  });
  const failed = running.ended.then((how) => Promise.reject(running.whyEnded(how)));
  // It also ends when it is told to, and then nobody has to ask.
  failed.catch(() => {});
  return {
    port: (await running.listener()).port,
    admin: `http://${formatAddress(running.admin)}`,
    metrics: () => running.prometheus(),
    failed,
    stop: () => running.stop(),
  };
}
