import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../tools/paths.js";
import { greetings, type Lane, purchases } from "./workload.js";

/** What the demo shows of one mode: a meltemi.yaml, and the calls that go through it. */
export interface Mode {
  /** Where the two versions of the service listen come in; a meltemi.yaml goes out. */
  yaml(v1: number, v2: number): string;
  /** The calls, but for the port, which is not known before the proxy runs. */
  lanes: readonly Omit<Lane, "port" | "through">[];
}

export const modes = {
  observe: {
    yaml: (v1) => `# Counts what passes to one server. Written anew at each start, because ports change.
protocol: dubbo
mode: observe
direction: inbound
service:
  name: greeter
  bind: 127.0.0.1:0
  endpoints: [127.0.0.1:${v1}]
admin: 127.0.0.1:0
`,
    lanes: [{ version: "v1", kinds: [...greetings, ...purchases] }],
  },
  route: {
    yaml: (
      v1,
      v2,
    ) => `# Chooses a server by the first request of each connection. Written anew at each start, because ports change.
protocol: dubbo
mode: route
direction: outbound
service:
  name: greeter
  bind: 127.0.0.1:0
  subsets:
    - { name: v1, endpoints: [127.0.0.1:${v1}] }
    - { name: v2, endpoints: [127.0.0.1:${v2}] }
routes:
  - name: gray
    match: { dubbo.tag: gray }
    subset: v2
  - name: purchases
    match: { method: { oneOf: [create, get] } }
    subset: v2
  - subset: v1
admin: 127.0.0.1:0
`,
    lanes: [
      { version: "v1", kinds: greetings },
      { version: "v2", kinds: greetings, attachments: { "dubbo.tag": "gray" } },
      { version: "v2", kinds: purchases },
    ],
  },
} satisfies Record<string, Mode>;

export type ModeName = keyof typeof modes;

/** Writes a meltemi.yaml below output/demo and answers its path. */
export function writeYaml(name: string, text: string): string {
  const folder = join(packageRoot, "output", "demo");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.yaml`);
  writeFileSync(file, text);
  return file;
}
