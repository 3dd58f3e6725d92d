import { accessSync, readFileSync } from "node:fs";
import { z } from "zod";
import { Exit, UserError } from "../errors.js";
import { defaultModule } from "../paths.js";
import type { Matcher, Model } from "./schema.js";
import type { Address } from "./units.js";

/** What the module takes as its configuration (docs/architecture.md): sizes in bytes, durations in milliseconds. */
export interface ModuleConfig {
  protocol: string;
  mode: "observe" | "route";
  direction: "outbound" | "inbound";
  service: string;
  /** Only in mode route. */
  routes?: { name?: string; match?: Record<string, Matcher>; cluster: string }[];
  limits: { frameBytes: number; headBytes: number; inFlight: number; series: number; waitMilliseconds: number };
  log: { requests: number; frames: boolean };
}

/** The configuration with every key written out and always in the same order, so that equal models give equal text. */
export function moduleConfig(model: Model): ModuleConfig {
  const { protocol, mode, direction, service, routes, limits, log } = model;
  return {
    protocol,
    mode,
    direction,
    service: service.name,
    ...(routes && {
      routes: routes.map(({ name, match, subset }) => ({
        ...(name !== undefined && { name }),
        ...(match && { match }),
        cluster: clusterName(model, subset),
      })),
    }),
    limits: {
      frameBytes: limits.frame,
      headBytes: limits.head,
      inFlight: limits.inFlight,
      series: limits.series,
      waitMilliseconds: limits.wait,
    },
    log: { requests: log.requests, frames: false },
  };
}

export interface Cluster {
  /** `SERVICE`, in mode route `SERVICE|SUBSET`. */
  name: string;
  endpoints: Address[];
}

/** Where connections can go; never empty. In mode route one for each subset, in the order of the file. */
export function clusters(model: Model): [Cluster, ...Cluster[]] {
  const { name, endpoints = [], subsets = [] } = model.service;
  const [first, ...rest] = subsets.map((subset) => ({
    name: clusterName(model, subset.name),
    endpoints: subset.endpoints,
  }));
  return first ? [first, ...rest] : [{ name, endpoints }];
}

function clusterName(model: Model, subset: string): string {
  return `${model.service.name}|${subset}`;
}

const description = z.object({
  protocols: z.array(z.object({ name: z.string(), keys: z.array(z.object({ name: z.string(), about: z.string() })) })),
});

/** What a module says of itself. A key named `*` stands for keys that only the frames know. */
export type ModuleDescription = z.output<typeof description>;

/**
 * Reads the description that `meltemi build` writes beside the module, under the module's name with `.json`.
 * @throws UserError `E_NOT_BUILT` where there is none
 */
export function describeModule(wasm: string): ModuleDescription {
  const file = wasm.replace(/(\.wasm)?$/, ".json");
  const hint = `Run: meltemi build${wasm === defaultModule ? "" : ` --out ${wasm}`}`;
  let text: string;
  try {
    accessSync(wasm);
    text = readFileSync(file, "utf8");
  } catch (cause) {
    throw new UserError("E_NOT_BUILT", `the module is not built: ${(cause as Error).message}`, {
      exit: Exit.missing,
      hint,
      cause,
    });
  }
  try {
    return description.parse(JSON.parse(text));
  } catch (cause) {
    const message = `${file} is not the description of a module`;
    throw new UserError("E_NOT_BUILT", message, { exit: Exit.missing, hint, cause });
  }
}
