import { readFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../tools/paths.js";
import { type Guest, loadGuest } from "../guest.js";

/** assembly/__bench__/protocols.ts */
interface ProtocolsGuest extends Guest {
  output(): number;
  describe(index: number): number;
  changeable(index: number, side: number, key: number, size: number): number;
}

interface Meaning {
  readonly status: string;
  readonly http: number;
}

interface Protocol {
  readonly name: string;
  readonly magic: string;
  readonly heartbeats: boolean;
  /** Kinds of frames. */
  readonly client: readonly string[];
  readonly server: readonly string[];
  /** What a request is counted under; an empty service is the configured one. */
  readonly example: { readonly service: string; readonly method: string };
  readonly keys: readonly { readonly name: string; readonly about: string; readonly changeable: readonly string[] }[];
  readonly statuses: readonly { readonly code: number | null; readonly name: string; readonly means: Meaning }[];
  /** What a status without a name means. */
  readonly others: Meaning;
  readonly errors: readonly { readonly reason: string; readonly code: number; readonly name: string }[];
}

const sides = ["requests", "replies"];

/** Every protocol of the registry, in its order. */
async function protocols(): Promise<Protocol[]> {
  const guest = await loadGuest<ProtocolsGuest>("protocols.ts");
  const changeable = (index: number, key: string) => {
    const name = Buffer.from(key);
    const at = guest.allocate(name.length);
    Buffer.from(guest.memory.buffer).set(name, at);
    return sides.filter((_, side) => guest.changeable(index, side, at, name.length));
  };
  const all: Protocol[] = [];
  for (let index = 0; ; index++) {
    const size = guest.describe(index);
    if (size === 0) return all;
    const protocol = JSON.parse(Buffer.from(guest.memory.buffer, guest.output(), size).toString()) as Protocol;
    const keys = protocol.keys.map((key) => ({ ...key, changeable: changeable(index, key.name) }));
    all.push({ ...protocol, keys });
  }
}

/** What the codec's source says of the format, which is Markdown. */
function format(name: string): string {
  const source = readFileSync(join(packageRoot, "assembly", "codec", `${name}.ts`), "utf8");
  const comment = /\/\*\*\n((?: \*.*\n)+?) \*\/\n@final\nexport class \w+ extends Codec /.exec(source)?.[1];
  if (!comment) throw new Error(`the codec of ${name} does not say what it is`);
  return comment.replace(/^ \* ?/gm, "");
}

const table = (rows: readonly (readonly unknown[])[]): string => {
  const [head = [], ...rest] = rows;
  return [head, head.map(() => "---"), ...rest].map((cells) => `| ${cells.join(" | ")} |\n`).join("");
};

const code = (text: string) => `\`${text}\``;
const codes = (texts: readonly string[]) => texts.map(code).join(", ") || "-";
const has = ({ client, server }: Protocol, kind: string) =>
  client.includes(kind) || server.includes(kind) ? "yes" : "-";

function section(protocol: Protocol): string {
  const { name, magic, heartbeats, client, server, example, keys, statuses, others, errors } = protocol;
  return [
    `## ${name}\n`,
    format(name),
    table([
      ["", ""],
      ["frames of clients", codes(client)],
      ["frames of servers", codes(server)],
      ["service", example.service === "" ? "the configured one" : `such as ${code(example.service)}`],
      ["method", `such as ${code(example.method)}`],
      ["magic", magic === "" ? "none: `protocol: auto` never guesses it" : codes(magic.split(" "))],
      ["between both ends of a bridge", heartbeats ? "HTTP/2" : "HTTP/1.1"],
    ]),
    table([
      ["metadata key", "what it is", "can be changed in"],
      ...keys.map((key) => [code(key.name), key.about, key.changeable.join(", ") || "-"]),
    ]),
    table([
      ["number", "label `status`", "means", "HTTP status"],
      ...statuses.map(({ code: number, name, means }) => [number ?? "-", code(name), means.status, means.http]),
      ["any other", "the number", others.status, others.http],
    ]),
    table([
      ["error reply for", "number", "label `status`"],
      ...errors.map((e) => [code(e.reason), e.code, code(e.name)]),
    ]),
  ].join("\n");
}

/** docs/protocols.md */
export async function protocolsMarkdown(): Promise<string> {
  const all = await protocols();
  return `# Protocols

Written by \`npm run docs\`: what each codec says of its format, and what its samples show when they are read and written.

${table([
  ["protocol", "found by `auto`", "one-way", "heartbeats", "streams", "metadata can be changed"],
  ...all.map((protocol) => [
    `[${protocol.name}](#${protocol.name})`,
    protocol.magic ? "yes" : "-",
    has(protocol, "oneway"),
    has(protocol, "heartbeat"),
    has(protocol, "stream_open"),
    protocol.keys.some(({ changeable }) => changeable.length > 0) ? "yes" : "-",
  ]),
])}
- **Frames** have one of the kinds that the log lines name. What is one-way is answered by nobody; streams are counted from the
  frame that opens them to the server's end.
- **Service and method** are what requests are counted under, and two keys of routes. Where a frame names no service, it is the
  configured one; where it names no method, the method is \`unknown\`.
- **Magic** is how frames begin: hexadecimal digits, a dot for each that may be any. \`protocol: auto\` and \`inspect\` go by it.
- **Metadata keys** are what routes match besides \`service\` and \`method\`, and what a bridge makes headers of. \`*\` stands for keys
  that only the frames know. Changes are written into frames where the format has a place for them, for these keys and within
  what the field can hold; elsewhere they are counted (\`meltemi_unwritten_changes_total\`) and the frame passes as it was.
- **Status** is the protocol's own name of an outcome, a label of the metrics. In a bridge the reply has the HTTP status beside it,
  which retries and outlier detection look at.
- **Error replies** are what a client gets where the bridge or Envoy answers in a server's place: 404 is \`no_route\`, 502 and 503
  \`unavailable\`, 408 and 504 \`timeout\`, 429 \`rate_limited\`, 401 and 403 \`denied\`, 413 \`too_large\`, other 4xx \`bad_request\`, the rest
  \`internal\`. Their text says what happened, where the format has room for text.
- **Limits** are the same for all: a frame of up to 2 GiB and \`limits.frame\`, a head of up to \`limits.head\`, 64 metadata entries, labels
  of 255 bytes.

${all.map(section).join("\n")}`;
}
