import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { change, golden, goodWorld } from "../check/world.fixture.js";
import type { Found } from "../check/world.js";
import { packageRoot } from "../paths.js";

const cli = join(packageRoot, "dist", "tools", "cli.js");
const configuration = join("tools", "istio", "golden", "observe.meltemi.yaml");
let folder: string;
let good: Found[];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-check-"));
  good = goodWorld(await golden("observe"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function manifests(objects: readonly Found[], name = "world.json"): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }));
  return path;
}

function check(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [cli, "check", ...args], {
    cwd: packageRoot,
    encoding: "utf8",
    env: { ...process.env, HOME: folder, KUBECONFIG: join(folder, "none") },
  });
  return { status, stdout, stderr };
}

const withoutPods = () => good.filter(({ metadata }) => metadata.name !== "server-1");
const withPort = (name: string) =>
  change(good, "Service", "greeter", ({ spec }) => {
    spec.ports[0].name = name;
  });

it("finds nothing, and says in what", () => {
  const path = manifests(good);
  expect(check(configuration, "--manifests", path)).toEqual({
    status: 0,
    stdout: `greeter.shop: nothing found, in ${path}: ${good.length} objects (ConfigMap 1, CustomResourceDefinition 1, Deployment 4, Namespace 2, Service 1)\n`,
    stderr: "",
  });
});

it("ends with 4 where something would not work", () => {
  const { status, stdout, stderr } = check(configuration, "--manifests", manifests(withPort("http-dubbo")));
  expect([status, stderr]).toEqual([4, ""]);
  expect(stdout).toContain('error: port 20880 of Service shop/greeter ("http-dubbo") is HTTP to Istio');
  expect(stdout).toContain("world.json:1\n");
});

it("ends with 4 for warnings only where it is told to", () => {
  const path = manifests(withoutPods());
  expect(check(configuration, "--manifests", path)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("1 warning"),
  });
  expect(check(configuration, "--manifests", path, "--strict").status).toBe(4);
  expect(check(configuration, "--manifests", manifests(withPort("dubbo")), "--strict")).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("1 note"),
  });
});

it("is data with --json", () => {
  const { status, stdout } = check(configuration, "--manifests", manifests(withPort("http-dubbo")), "--json");
  expect(status).toBe(4);
  expect(JSON.parse(stdout)).toMatchObject({
    services: [
      {
        service: "greeter.shop",
        findings: [
          {
            code: "port_protocol",
            severity: "error",
            hint: "Let its name begin with tcp-, or set appProtocol: tcp.",
            object: { kind: "Service", namespace: "shop", name: "greeter", file: join(folder, "world.json"), line: 1 },
          },
        ],
      },
    ],
    counts: { error: 1, warning: 0, note: 0 },
    unknown: [],
  });
});

it("takes several files; what comes later takes the place of what came before", () => {
  const args = ["--manifests", manifests(withPort("http-dubbo"), "a.json"), "--manifests", manifests(good, "b.json")];
  expect(check(configuration, ...args).status).toBe(0);
});

it("looks at a cluster unless it is told otherwise", () => {
  const { status, stderr } = check(configuration);
  expect(status).toBe(3);
  expect(stderr).toContain("[E_KUBECONFIG]");
  expect(check(configuration, "--manifests", manifests(good), "--cluster").status).toBe(3);
});

it("says what it cannot read", () => {
  const { status, stderr } = check(configuration, "--manifests", join(folder, "nowhere"));
  expect(status).toBe(1);
  expect(stderr).toContain("nowhere: there is no such file [E_MANIFESTS]");
});
