import type { Finding } from "./issue.js";
import { addressFindings } from "./rules/addresses.js";
import { keyFindings } from "./rules/keys.js";
import { modeFindings } from "./rules/modes.js";
import { nameFindings, routeFindings } from "./rules/routes.js";
import { map } from "./rules/tree.js";
import { nearest, oneOf } from "./words.js";

/** A protocol that the module speaks, as it describes itself. */
export interface Protocol {
  name: string;
  /** What routes can match besides service and method; `*` stands for keys that only the frames know. */
  keys: readonly { name: string }[];
  /** Default: false. */
  heartbeats?: boolean;
}

/** Answers what is wrong with a regular expression, or undefined. */
export type RegexCheck = (regex: string) => string | undefined;

/**
 * The mistakes that take more than one key to see. Reads what the user wrote, whatever it is, so that these show up
 * together with those of the schema and not one run later. Values of a wrong type are passed over: the schema names
 * them.
 */
export function crossChecks(input: unknown, protocols: readonly Protocol[], regexCheck: RegexCheck): Finding[] {
  const root = map(input);
  const protocol = protocols.find(({ name }) => name === root.protocol);
  return [
    ...(protocol ? [] : unknownProtocol(root.protocol, protocols)),
    ...modeFindings(root),
    ...nameFindings(root),
    ...routeFindings(root),
    ...keyFindings(root, protocol, regexCheck),
    ...addressFindings(root),
  ];
}

function unknownProtocol(name: unknown, protocols: readonly Protocol[]): Finding[] {
  if (typeof name !== "string") return [];
  const known = protocols.map((protocol) => protocol.name);
  const message = `unknown protocol "${name}"`;
  return [
    { code: "unknown_protocol", path: ["protocol"], message, expected: oneOf(known), suggestion: nearest(name, known) },
  ];
}
