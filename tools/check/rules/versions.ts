import { LABELS } from "../../envoy/bootstrap.js";
import { manifest } from "../../istio/manifest.js";
import type { MeshModel } from "../../istio/mesh.js";
import { ROOT_NAMESPACE } from "../../istio/sidecar.js";
import { ISTIO_MINORS } from "../../model/istio/schema.js";
import { lacking } from "../../model/istio/versions.js";
import { error, type Finding, note, warning } from "../finding.js";
import { revisionOf } from "../injection.js";
import { namespacesOf, type Rule, type Subject } from "../rule.js";
import { type Found, list, placeOf, title } from "../world.js";

/** The version that meltemi.yaml names has all that it uses. */
export const versionSuffices: Rule = ({ model }) => {
  const { version } = model.istio;
  if (lacking(model, version).length === 0) return [];
  const hint = "Leave it out, or say which version runs: istio.version in meltemi.yaml, or --istio-version.";
  return [error("istio_version", whatLacks(model, version), hint)];
};

function whatLacks(model: MeshModel, version: number): string {
  const needs = lacking(model, version).map(({ what, first }) => `${what} (from 1.${first})`);
  return `Istio 1.${version} does not have ${needs.join(", ")}`;
}

/** The istiod that runs is of the version that is written for. */
export const istiodAgrees: Rule = ({ model, world }) =>
  istiods({ model, world }).flatMap((deployment): Finding[] => {
    const runs = versionOf(deployment);
    const { version } = model.istio;
    if (runs === undefined || runs === version) return [];
    const place = placeOf(deployment);
    if (runs < version) {
      const needed = lacking(model, runs).length > 0;
      const message = `the resources are written for Istio 1.${version}, and 1.${runs} runs`;
      const hint = needed
        ? `${whatLacks(model, runs)}: leave it out, or update Istio.`
        : `Set istio.version: "1.${runs}" in meltemi.yaml, or give --istio-version 1.${runs}.`;
      return [(needed ? error : warning)("istiod_version", message, hint, place)];
    }
    const known = runs > ISTIO_MINORS.last ? ", which this version of meltemi does not know yet" : "";
    const message = `the resources are written for Istio 1.${version}, and 1.${runs} runs${known}`;
    return [note("istiod_version", message, undefined, place)];
  });

/** Deployments of istiod; of the revision, where one is named. */
function istiods({ model, world }: Pick<Subject, "model" | "world">): Found[] {
  const { revision } = model.istio;
  return world
    .of("Deployment")
    .filter(({ metadata: { labels = {} } }) => labels.app === "istiod")
    .filter(({ metadata: { labels = {} } }) => revision === undefined || labels["istio.io/rev"] === revision);
}

/** The minor version by the tag of the image. */
function versionOf({ spec }: Found): number | undefined {
  const images = list(spec?.template?.spec?.containers).map(({ image }) => String(image));
  const tags = images.flatMap((image) => /:v?1\.(\d{1,3})(?![\d])/.exec(image)?.[1] ?? []);
  return tags[0] === undefined ? undefined : Number(tags[0]);
}

/** The custom resources of the cluster have what the extensions need. */
export const schemaSuffices: Rule = ({ model, world }) => {
  const { kind, version } = model.istio;
  const name = `${kind.toLowerCase()}s.extensions.istio.io`;
  const definition = world.find("CustomResourceDefinition", name);
  if (!definition) {
    if (!world.knows("CustomResourceDefinition")) return [];
    const hint = "Install Istio, or the custom resources of its version, first.";
    return [error("no_crd", `the cluster does not know the kind ${kind}`, hint)];
  }
  const spec = list(definition.spec?.versions)[0]?.schema?.openAPIV3Schema?.properties?.spec?.properties;
  const known = (kind === "WasmPlugin" ? spec : spec?.wasm?.properties)?.failStrategy?.enum;
  if (!known || lacking(model, version).length > 0) return [];
  const { resources } = manifest([model], { url: "oci://localhost/meltemi" });
  const used = resources
    .map(({ object }) => (object.kind === kind ? (kind === "WasmPlugin" ? object.spec : object.spec.wasm) : undefined))
    .map((wasm) => (wasm as { failStrategy?: string } | undefined)?.failStrategy)
    .find((strategy) => strategy !== undefined && !list(known).includes(strategy));
  if (used === undefined) return [];
  const message = `${title(definition)} has no failStrategy ${used}: it is of an Istio before 1.${version}`;
  return [error("old_crd", message, "Update Istio's custom resources, or set istio.version.", placeOf(definition))];
};

/** Only the istiod of a revision reads what is labelled with it. */
export const revisionRuns: Rule = ({ model, world }) => {
  const { revision } = model.istio;
  if (revision === undefined) return [];
  /** A tag stands for a revision. */
  const meant = (name: string) =>
    world
      .of("MutatingWebhookConfiguration")
      .map(({ metadata }) => metadata.labels ?? {})
      .find((labels) => labels["istio.io/tag"] === name)?.["istio.io/rev"] ?? name;
  return namespacesOf(model).flatMap((name): Finding[] => {
    const namespace = world.find("Namespace", name);
    const runs = revisionOf(namespace);
    if (!namespace || runs === undefined || meant(runs) === meant(revision)) return [];
    const message = `istio.revision is ${revision}, and the proxies of namespace ${name} belong to ${runs}, which does not read its resources`;
    const hint = `Leave istio.revision out, or set it to ${runs}.`;
    return [warning("revision", message, hint, placeOf(namespace))];
  });
};

/** Proxies are told which parts of the names of metrics are labels. */
export const labelsKnown: Rule = ({ model, world }) => {
  const map = world.meshConfigMap(model.istio.revision);
  if (!map) {
    world.knows("ConfigMap", ROOT_NAMESPACE);
    return [];
  }
  const tags = list(world.meshConfig(model.istio.revision).defaultConfig?.extraStatTags);
  const lacks = LABELS.filter((label) => !tags.includes(label));
  if (lacks.length === 0) return [];
  const message = `the mesh does not know these labels of metrics, which stay part of their names: ${lacks.join(", ")}`;
  const hint = `Add to MeshConfig: defaultConfig: { extraStatTags: [${lacks.join(", ")}] }`;
  return [note("stat_tags", message, hint, placeOf(map))];
};
