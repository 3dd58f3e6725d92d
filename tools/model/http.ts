/*
 * What a frame becomes in HTTP, as far as rules have to know: the module writes requests by the same rules.
 */

/** Names that HTTP or Envoy give a meaning, which a frame's metadata must not have. */
const RESERVED = new Set(
  (
    "host connection content-length content-type transfer-encoding upgrade keep-alive proxy-connection te trailer expect " +
    "date server via cookie grpc-timeout"
  ).split(" "),
);
const RESERVED_PREFIXES = ["x-envoy-", "x-forwarded-", "meltemi-"];

/** RFC 9110, token. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

export function isReserved(key: string): boolean {
  const lower = key.toLowerCase();
  return RESERVED.has(lower) || RESERVED_PREFIXES.some((prefix) => lower.startsWith(prefix));
}

/** The header that carries a metadata key; undefined where none can. */
export function headerName(key: string): string | undefined {
  if (!TOKEN.test(key)) return undefined;
  return (isReserved(key) ? "meltemi-" : "") + key.toLowerCase();
}

/** Whether a header can have this value: what HTTP would cut off or refuse is no value. */
export function isHeaderValue(value: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what HTTP refuses
  return !/[\x00-\x08\x0a-\x1f\x7f]|^[ \t]|[ \t]$/.test(value);
}

/** RFC 3986, the characters of a path segment that stand for themselves. */
const PCHAR = /[A-Za-z0-9._~!$&'()*+,;=:@-]/;

/** A service or method as it stands in `:path`: all bytes that are no pchar are percent-encoded, `%` and `/` too. */
export function pathSegment(text: string): string {
  return Array.from(Buffer.from(text), (byte) => {
    const character = String.fromCharCode(byte);
    return PCHAR.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");
}
