import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { readManifests } from "./files.js";
import { placeOf, title } from "./world.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-check-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  return path;
}

it("reads documents, lists of kubectl and JSON, each object with its line", () => {
  const path = file(
    "all.yaml",
    `# a comment
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: { name: greeter, namespace: shop }
  -
    apiVersion: v1
    kind: Pod
    metadata: { name: p }
---
---
just: values
`,
  );
  const found = readManifests([
    path,
    file("more.json", '{ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" } }'),
  ]);
  expect(found.map((object) => `${title(object)} ${placeOf(object).line}`)).toEqual([
    "Namespace shop 2",
    "Service shop/greeter 9",
    "Pod default/p 13",
    "Secret default/s 1",
  ]);
  expect(placeOf(found[0] as (typeof found)[number]).file).toBe(path);
});

it("reads folders with all below, and nothing but manifests", () => {
  const namespace = (name: string) => `apiVersion: v1\nkind: Namespace\nmetadata: { name: ${name} }\n`;
  file("a/b/one.yaml", namespace("one"));
  file("two.yml", namespace("two"));
  file("README.md", "# not YAML: {");
  expect(readManifests([folder]).map(({ metadata }) => metadata.name)).toEqual(["one", "two"]);
});

it("takes what is null for missing, as Kubernetes does", () => {
  const path = file(
    "null.yaml",
    "apiVersion: v1\nkind: Service\nmetadata: { name: s, labels: null }\nspec: { ports: [null, { port: 1 }] }\n",
  );
  expect(readManifests([path])).toMatchObject([{ metadata: { name: "s" }, spec: { ports: [{ port: 1 }] } }]);
});

/** Each line has ten times what the one before has. */
const bomb = ["x: &a0 [x]", ...Array.from({ length: 9 }, (_, i) => `y${i}: &a${i + 1} [${`*a${i},`.repeat(10)}]`)].join(
  "\n",
);

it.each([
  ["missing.yaml", undefined, /missing\.yaml: there is no such file$/],
  ["wrong.yaml", "a: 1\nb: [", /wrong\.yaml:2: /],
  ["alias.yaml", "---\nkind: *none", /alias\.yaml:2: Unresolved alias/],
  ["bomb.yaml", bomb, /bomb\.yaml:1: Excessive alias count/],
])("refuses %s", (name, text, message) => {
  const path = text === undefined ? join(folder, name) : file(name, text);
  let problem: unknown;
  try {
    readManifests([path]);
  } catch (error) {
    problem = error;
  }
  expect(problem).toBeInstanceOf(UserError);
  expect(problem).toMatchObject({ code: "E_MANIFESTS", message: expect.stringMatching(message) });
});
