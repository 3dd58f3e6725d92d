import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { loadFor } from "../configuration.js";
import type { Model } from "../model/schema.js";
import { defaultModule, packageRoot } from "../paths.js";
import { manifest, manifestYaml } from "./manifest.js";
import type { MeshModel } from "./mesh.js";
import type { IstioObject } from "./resource.js";

const golden = join(packageRoot, "tools", "istio", "golden");
const url = `oci://registry.example/mesh/meltemi@sha256:${"0123456789abcdef".repeat(4)}`;

async function read(name: string): Promise<MeshModel> {
  const model: Model = await loadFor(defaultModule, join(golden, `${name}.meltemi.yaml`));
  if (!model.istio) throw new Error(`${name} has no istio`);
  return { ...model, istio: model.istio };
}

function existing(name: string): IstioObject[] {
  const text = readFileSync(join(golden, `${name}.existing.yaml`), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as IstioObject);
}

describe("what is written for", () => {
  it.each([
    ["observe", []],
    ["observe-waypoint", []],
    ["route", []],
    ["bridge", []],
    ["bridge-policies", []],
    ["bridge-loopback", []],
    ["merge", existing("merge")],
  ])("%s", async (name, sidecars) => {
    const text = manifestYaml(
      manifest([await read(name)], { url, existing: sidecars }),
      `Written for ${name}.meltemi.yaml`,
    );
    await expect(text).toMatchFileSnapshot(join(golden, `${name}.yaml`));
  });
});
