import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadFor, regexCheck } from "./configuration.js";
import { ModelError } from "./model/issue.js";
import { defaultModule } from "./paths.js";

it("takes the regular expressions that the module takes, and repeats its words on others", async () => {
  const check = await regexCheck(readFileSync(defaultModule), "dubbo");
  expect(check("(get|set)[A-Z]\\w{2,}")).toBeUndefined();
  expect(check("a(b")).toMatch(/^'\(' without '\)'.* 2$/);
  expect(check("(a)\\1")).toMatch(/references/);
  expect(check("ok")).toBeUndefined();
});

it("places them in the file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "meltemi-"));
  try {
    const file = join(folder, "meltemi.yaml");
    const text = `protocol: awesomerpc
mode: route
service: { name: a, bind: 1, subsets: [{ name: b, endpoints: [2] }] }
routes:
  - match: { cmd: { regex: "a**" }, dubbo.tag: x }
    subset: b
`;
    writeFileSync(file, text);
    const error = await loadFor(defaultModule, file).then(
      () => expect.unreachable("it was taken"),
      (error) => (error instanceof ModelError ? error : Promise.reject(error)),
    );
    expect(error.issues.map(({ code, path, line, column }) => [code, path, line, column])).toEqual([
      ["bad_value", "routes[0].match.cmd.regex", 5, 28],
      ["unknown_key", 'routes[0].match["dubbo.tag"]', 5, 37],
    ]);
    writeFileSync(file, text.replace("a**", "a*").replace(", dubbo.tag: x", ""));
    expect((await loadFor(defaultModule, file)).routes).toHaveLength(1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
