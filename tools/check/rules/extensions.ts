import { serviceName } from "../../istio/mesh.js";
import { error, type Finding, warning } from "../finding.js";
import { namespacesOf, type Rule, type Subject } from "../rule.js";
import { type Found, isOurs, placeOf, title } from "../world.js";

/** Bytes that nobody has read do not pass where a decision was to be made. */
export const failsClosed: Rule = ({ model }) => {
  if (model.mode === "observe" || model.istio.failStrategy !== "FAIL_OPEN") return [];
  const means =
    model.mode === "route"
      ? "connections go to any server while the module cannot be loaded"
      : "private bytes meet HTTP while the module cannot be loaded";
  const hint = "Leave istio.failStrategy out: then nothing passes in the meantime.";
  return [warning("fail_open", `with FAIL_OPEN ${means}`, hint)];
};

/** Images of manifests are pinned: what proxies run does not change by itself. */
export const imagesPinned: Rule = (subject) =>
  extensions(subject).flatMap(({ object, url, sha256 }): Finding[] => {
    if (!/^oci:\/\/|^[^:/]+(:\d+)?\//.test(url) || url.includes("@sha256:") || sha256) return [];
    const hint = "meltemi manifest writes the digest.";
    return [warning("no_digest", `${title(object)} names its image without a digest: ${url}`, hint, placeOf(object))];
  });

/** Without one, Istio takes a URL for that of an image, whatever was meant. */
export const urlsHaveSchemes: Rule = (subject) =>
  extensions(subject).flatMap(({ object, url }): Finding[] => {
    if (/^(oci|https?|file):\/\//.test(url)) return [];
    const hint = "Begin it with oci:// (or https://, file://).";
    return [warning("no_scheme", `${title(object)} has a URL without a scheme: ${url}`, hint, placeOf(object))];
  });

/** What was written for this service and applied, or is about to be. */
function extensions({ model, world }: Subject): { object: Found; url: string; sha256?: string }[] {
  return [...world.of("WasmPlugin"), ...world.of("TrafficExtension")]
    .filter((object) => isOurs(object, [serviceName(model)]))
    .map((object) => {
      const { url = "", sha256 } = (object.kind === "WasmPlugin" ? object.spec : object.spec?.wasm) ?? {};
      return { object, url: String(url), sha256 };
    });
}

const DOCKER = "kubernetes.io/dockerconfigjson";

/** The Secret is where proxies look for it: beside each extension. */
export const pullSecretExists: Rule = ({ model, world }) => {
  const { pullSecret } = model.istio;
  if (pullSecret === undefined) return [];
  return namespacesOf(model).flatMap((namespace): Finding[] => {
    const secret = world.find("Secret", pullSecret, namespace);
    if (!secret) {
      if (!world.knows("Secret", namespace)) return [];
      const message = `there is no Secret ${namespace}/${pullSecret}, with which the image is to be pulled`;
      const hint = `Create it: kubectl create secret docker-registry ${pullSecret} -n ${namespace} ...`;
      return [error("pull_secret", message, hint)];
    }
    if (secret.type === DOCKER) return [];
    const message = `${title(secret)} is of type ${secret.type ?? "Opaque"}, and a pull secret is of type ${DOCKER}`;
    return [error("pull_secret", message, "Create it anew: kubectl create secret docker-registry", placeOf(secret))];
  });
};
