import { Document, type DocumentOptions, type SchemaOptions, type ToStringOptions } from "yaml";
import { LABELS } from "../envoy/bootstrap.js";
import { UserError } from "../errors.js";
import { isLoopback } from "../model/istio/schema.js";
import { lacking } from "../model/istio/versions.js";
import { wrapped } from "../model/words.js";
import { bridge } from "./bridge.js";
import { clients, type MeshModel, portPrefix, serviceName, type Target } from "./mesh.js";
import { observe } from "./observe.js";
import type { IstioObject, Manifest, Resource } from "./resource.js";
import { route } from "./route.js";
import { mergeSidecars } from "./sidecar.js";

export interface ManifestOptions {
  /** `oci://HOST/REPOSITORY@sha256:DIGEST` */
  url: string;
  /** Sidecars that are there already. */
  existing?: readonly IstioObject[];
}

const MODES: Record<MeshModel["mode"], (target: Target) => Resource[]> = { observe, route, bridge };

/**
 * The resources of Istio for some meltemi.yaml. Equal configurations give equal objects in the same order,
 * whatever the order of the configurations, which are of different services.
 * @throws UserError `E_SIDECAR`, `E_ISTIO_VERSION`
 */
export function manifest(models: readonly MeshModel[], { url, existing }: ManifestOptions): Manifest {
  const ordered = models.toSorted((a, b) => (serviceName(a) < serviceName(b) ? -1 : 1));
  const names = ordered.map(serviceName);
  for (const model of ordered) checkVersion(model);
  const resources = ordered.flatMap((model) => MODES[model.mode]({ model, url }));
  return {
    names,
    image: url,
    resources: mergeSidecars(resources, existing),
    needs: ordered.flatMap(needs),
    notes: ordered.flatMap(notes),
  };
}

/** @throws UserError `E_ISTIO_VERSION` where the mesh is too old */
function checkVersion(model: MeshModel): void {
  const { version } = model.istio;
  const needs = lacking(model, version);
  if (needs.length === 0) return;
  const what = needs.map((need) => `${need.what} (from 1.${need.first})`).join(", ");
  const message = `${serviceName(model)}: Istio 1.${version} does not have ${what}`;
  const hint = "Leave it out, or say which version runs: istio.version in meltemi.yaml, or --istio-version.";
  throw new UserError("E_ISTIO_VERSION", message, { hint });
}

function needs(model: MeshModel): string[] {
  const { istio, mode } = model;
  const prefix = portPrefix(model);
  const ports = istio.ports.map(({ port, targetPort = port }) => {
    const name = `${prefix}-${model.protocol}${istio.ports.length > 1 ? `-${port}` : ""}`;
    return `{ name: ${name}, port: ${port}, targetPort: ${targetPort} }`;
  });
  return [
    `Service ${istio.namespace}/${istio.service ?? model.service.name}, whose ports have names that begin with ` +
      `${prefix}-, such as ${ports.join(", ")}.`,
    ...(mode === "bridge" && isLoopback(istio.address)
      ? [`Clients that connect to ${istio.address} instead of the Service.`]
      : []),
  ];
}

function notes(model: MeshModel): string[] {
  const { tracing, accessLog, istio } = model;
  const name = serviceName(model);
  const ports = istio.ports.map(({ port }) => port).join(" or ");
  return [
    ...(tracing
      ? [`${name}: tracing is left out. In Istio it is the mesh's: MeshConfig.extensionProviders, Telemetry.`]
      : []),
    ...(accessLog
      ? [`${name}: accessLog is left out. In Istio it is the mesh's: MeshConfig.accessLogFile, Telemetry.`]
      : []),
    ...(model.mode === "observe" && clients(model).length === 0
      ? [`${name}: only the servers' proxies count requests, since istio.clients names nobody.`]
      : []),
    ...(clients(model).some(({ targetRefs }) => !targetRefs) && istio.address === undefined
      ? [
          `${name}: clients' proxies take all that goes to port ${ports} for it, other Services' connections too. ` +
            "Say the Service's ClusterIP as istio.address where there are such.",
        ]
      : []),
  ];
}

const YAML: ToStringOptions = { lineWidth: 0 };
/** Kubernetes reads YAML 1.1, where `on` and `no` are no texts. */
const READER: DocumentOptions & SchemaOptions = { compat: "yaml-1.1" };

/** The manifest as YAML, a document for each object with a comment that says why it is there. */
export function manifestYaml({ resources, needs, notes }: Manifest, header: string): string {
  const top = [
    header,
    "",
    "Needed besides:",
    ...needs.map((line) => `- ${line}`),
    "- Once for the mesh, so that labels of metrics are labels, in MeshConfig:",
    `    defaultConfig: { extraStatTags: [${LABELS.join(", ")}] }`,
    ...(notes.length > 0 ? ["", "Note:", ...notes.map((line) => `- ${line}`)] : []),
  ];
  const documents = resources.map(({ object, why }) => {
    const document = new Document(object, { aliasDuplicateObjects: false, ...READER });
    return `${comment(wrapped(why, 100))}\n${document.toString(YAML)}`;
  });
  return `${comment(top)}\n---\n${documents.join("---\n")}`;
}

function comment(lines: readonly string[]): string {
  return lines.map((line) => (line === "" ? "#" : `# ${line}`)).join("\n");
}
