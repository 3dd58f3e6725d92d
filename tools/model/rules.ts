import type { Finding } from "./issue.js";
import type { Protocol, RegexCheck } from "./protocol.js";
import { addressFindings } from "./rules/addresses.js";
import { istioFindings } from "./rules/istio.js";
import { keyFindings } from "./rules/keys.js";
import { modeFindings } from "./rules/modes.js";
import { nameFindings, routeFindings } from "./rules/routes.js";
import { map, type Tree } from "./rules/tree.js";
import { AUTO } from "./schema.js";
import { nearest, oneOf } from "./words.js";

/**
 * The mistakes that take more than one key to see. Reads what the user wrote, whatever it is, so that these show up
 * together with those of the schema and not one run later. Values of a wrong type are passed over: the schema names
 * them.
 */
export function crossChecks(input: unknown, protocols: readonly Protocol[], regexCheck: RegexCheck): Finding[] {
  const root = map(input);
  const protocol = protocols.find(({ name }) => name === root.protocol);
  return [
    ...(protocol ? [] : unknownProtocol(root, protocols)),
    ...modeFindings(root),
    ...nameFindings(root),
    ...routeFindings(root),
    ...keyFindings(root, protocol, regexCheck),
    ...addressFindings(root),
    ...istioFindings(root),
  ];
}

function unknownProtocol({ protocol, mode = "observe" }: Tree, protocols: readonly Protocol[]): Finding[] {
  if (typeof protocol !== "string") return [];
  const known = protocols.map(({ name }) => name);
  const path = ["protocol"];
  if (protocol !== AUTO) {
    const all = [...known, AUTO];
    const message = `unknown protocol "${protocol}"`;
    return [{ code: "unknown_protocol", path, message, expected: oneOf(all), suggestion: nearest(protocol, all) }];
  }
  if (mode === "observe") return [];
  return [{ code: "conflict", path, message: `protocol "${AUTO}" is for mode observe only`, expected: oneOf(known) }];
}
