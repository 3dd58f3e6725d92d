import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { Exit } from "../errors.js";
import { packageRoot } from "../paths.js";

const cli = join(packageRoot, "dist", "tools", "cli.js");
const golden = (name: string) => join(packageRoot, "tools", "istio", "golden", `${name}.yaml`);
const image = `registry.example/mesh/meltemi@sha256:${"0123456789abcdef".repeat(4)}`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "meltemi-manifest-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Where no cluster is known. */
function manifest(...args: string[]) {
  const env = { PATH: process.env.PATH, HOME: folder };
  return spawnSync(process.execPath, [cli, "manifest", ...args], { cwd: folder, env, encoding: "utf8" });
}

describe("meltemi manifest", () => {
  it("prints objects, says what it is about, and the same each time", () => {
    const args = [golden("bridge-policies.meltemi"), "--image", image];
    const { status, stdout, stderr } = manifest(...args);
    expect(status).toBe(Exit.ok);
    expect(stderr).toBe(
      "meltemi: greeter.shop: tracing is left out. In Istio it is the mesh's: MeshConfig.extensionProviders, Telemetry.\n",
    );
    expect(stdout).toMatch(/^# Written by: meltemi manifest .*\/bridge-policies\.meltemi\.yaml \(meltemi \d/);
    expect(parseAllDocuments(stdout).map((document) => document.toJS())).toEqual(
      parseAllDocuments(readFileSync(golden("bridge-policies"), "utf8")).map((document) => document.toJS()),
    );
    expect(manifest(...args).stdout).toBe(stdout);
  });

  it("takes several configurations, and Sidecars of a file", () => {
    const files = [golden("observe-waypoint.meltemi"), golden("merge.meltemi")];
    const { status, stdout } = manifest(...files, "--image", image, "--merge", golden("merge.existing"));
    expect(status).toBe(Exit.ok);
    const objects = parseAllDocuments(stdout).map((document) => document.toJS());
    const found = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace}/${metadata.name}`);
    expect(found).toContain("Sidecar shop/web");
    expect(found).toContain("TrafficExtension ingress/observe-clients-edge.orders.shop");
  });

  it.each<[string, string[], number, string]>([
    ["a file that is not there", [], Exit.input, "meltemi: meltemi.yaml: there is no such file [E_NO_FILE]"],
    [
      "no image",
      [golden("observe.meltemi")],
      Exit.input,
      "meltemi: which image holds the module is not said [E_NO_IMAGE]\nPush the module (meltemi push REF)",
    ],
    [
      "an unknown version",
      [golden("observe.meltemi"), "--istio-version", "2.0"],
      Exit.usage,
      "error: option '--istio-version <version>' argument '2.0' is invalid. not a version of Istio; known are 1.22 to 1.31.",
    ],
    [
      "a kind that the version lacks",
      [golden("observe.meltemi"), "--image", image, "--kind", "TrafficExtension", "--istio-version", "1.29.4"],
      Exit.input,
      "meltemi: greeter.shop: Istio 1.29 does not have kind TrafficExtension (from 1.30) [E_ISTIO_VERSION]\nLeave it out",
    ],
    ["an unknown kind", ["--kind", "Foo"], Exit.usage, "error: option '--kind <kind>' argument 'Foo' is invalid."],
    [
      "a cluster where none is known",
      [golden("bridge.meltemi"), "--image", image, "--merge"],
      Exit.missing,
      "meltemi: there is no kubeconfig, so no cluster is known [E_KUBECONFIG]",
    ],
    [
      "one service twice",
      [golden("observe.meltemi"), golden("route.meltemi"), "--image", image],
      Exit.input,
      `meltemi: ${golden("observe.meltemi")} and ${golden("route.meltemi")} are of the same service, greeter.shop [E_TWICE]\n`,
    ],
  ])("refuses %s, and prints nothing", (_, args, status, words) => {
    const result = manifest(...args);
    expect(result.stderr.slice(0, words.length)).toBe(words);
    expect([result.status, result.stdout]).toEqual([status, ""]);
  });
});
