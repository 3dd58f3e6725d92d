import { Exit, UserError } from "../errors.js";

/** Where an image is: in a repository of a registry, under a tag or a digest. At least one of the two is there. */
export interface Reference {
  /** `HOST` or `HOST:PORT`; `docker.io` where none is named. */
  readonly registry: string;
  /** Of docker.io's own images with the `library/` that people leave out. */
  readonly repository: string;
  readonly tag: string | undefined;
  /** Of the manifest: `sha256:` and 64 hexadecimal digits. */
  readonly digest: string | undefined;
}

const HOST = /^(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::\d{1,5})?$/;
const PART = /^[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const EXAMPLE = "Write it as REGISTRY/REPOSITORY:TAG, e.g. ghcr.io/acme/meltemi:1.0";

/**
 * Reads `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]` by Docker's rules: the first part is a registry where it has a dot or a port
 * or is `localhost`, otherwise the registry is docker.io; without a tag and a digest the tag is `latest`. An `oci://` in
 * front, as WasmPlugins have it, does no harm.
 * @throws UserError `E_REFERENCE`
 */
export function parseReference(text: string): Reference {
  const refuse = (why: string, hint = EXAMPLE) =>
    new UserError("E_REFERENCE", `${JSON.stringify(text)} does not name an image: ${why}`, { exit: Exit.usage, hint });

  const [scheme] = /^[a-z]+:\/\//i.exec(text) ?? [];
  if (scheme && scheme !== "oci://") throw refuse(`it begins with ${scheme}`, `Leave out the ${scheme}`);
  const [named = "", digest, ...more] = text.slice(scheme?.length ?? 0).split("@");
  if (more.length > 0) throw refuse("it has more than one @");
  if (digest !== undefined && !isDigest(digest))
    throw refuse(
      `${JSON.stringify(digest)} is no digest`,
      'A digest is "sha256:" and 64 hexadecimal digits in lower case.',
    );

  const slash = named.indexOf("/");
  const first = named.slice(0, Math.max(slash, 0));
  const hasRegistry = /[.:[]/.test(first) || first === "localhost";
  const path = hasRegistry ? named.slice(slash + 1) : named;
  const colon = path.indexOf(":");
  const name = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? undefined : path.slice(colon + 1);
  const registry = hasRegistry && !/^(registry-1\.|index\.)?docker\.io$/.test(first) ? first : "docker.io";
  if (!HOST.test(registry)) throw refuse(`${JSON.stringify(registry)} is neither a host nor host:port`);
  if (name === "") throw refuse("it has no repository");
  if (!name.split("/").every((part) => PART.test(part))) {
    const why = /[A-Z]/.test(name)
      ? "is not all in lower case"
      : 'has more than lower case letters, digits and ".", "_", "-" between them';
    throw refuse(`the repository ${JSON.stringify(name)} ${why}`);
  }
  if (registry.length + 1 + name.length > 255) throw refuse("its name has more than 255 characters");
  if (tag !== undefined && !TAG.test(tag))
    throw refuse(`${JSON.stringify(tag)} is no tag`, 'A tag has up to 128 letters, digits, "_", "." and "-".');
  return {
    registry,
    repository: registry === "docker.io" && !name.includes("/") ? `library/${name}` : name,
    tag: tag ?? (digest === undefined ? "latest" : undefined),
    digest,
  };
}

export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** The whole of it, with nothing left out: `REGISTRY/REPOSITORY[:TAG][@DIGEST]`. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
