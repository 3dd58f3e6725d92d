import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { manifest } from "../istio/manifest.js";
import type { MeshModel } from "../istio/mesh.js";
import { check, RULES } from "./check.js";
import { golden, goodWorld } from "./world.fixture.js";
import { type Found, type Loose, placed, World } from "./world.js";

const NAMES = ["observe", "observe-waypoint", "route", "bridge", "bridge-policies", "bridge-loopback", "merge"];
const models = new Map<string, MeshModel>();
beforeAll(async () => {
  for (const name of NAMES) models.set(name, await golden(name));
});
const model = (name: string) => models.get(name) as MeshModel;

describe("in a mesh where everything is as it should be", () => {
  it.each(NAMES)("nothing but notes is said of %s", (name) => {
    const { services, unknown } = check([model(name)], World.ofFiles(goodWorld(model(name))));
    const worse = services.flatMap(({ findings }) => findings).filter(({ severity }) => severity !== "note");
    expect(worse).toEqual([]);
    expect(unknown).toEqual([]);
  });

  it.each(NAMES)("nor once the resources of %s are there", (name) => {
    const url = `oci://registry.example/meltemi@sha256:${"0".repeat(64)}`;
    const ours = manifest([model(name)], { url }).resources.map(({ object }) => placed(object));
    const { counts } = check([model(name)], World.ofFiles([...goodWorld(model(name)), ...ours]));
    expect([counts.error, counts.warning]).toEqual([0, 0]);
  });
});

it("says nothing of what is not among the manifests, but that it is not", () => {
  const { services, unknown } = check([model("bridge-policies")], World.ofFiles([]));
  expect(services.flatMap(({ findings }) => findings.map(({ code }) => code))).toEqual(["other_clients"]);
  expect(unknown).toEqual(["ConfigMap", "CustomResourceDefinition", "Namespace", "Pod", "Service"]);
});

it("puts the worst first, and says the same thing once", () => {
  const world = goodWorld(model("observe")).filter(({ kind }) => kind !== "Namespace");
  const twice = { ...(world[0] as Found), kind: "Namespace", apiVersion: "v1", metadata: { name: "elsewhere" } };
  const { services, counts } = check([model("observe")], World.ofFiles([...world, twice]));
  expect(services[0]?.findings.map(({ severity, message }) => `${severity} ${message}`)).toEqual([
    "error there is no namespace shop",
    "error there is no namespace backoffice",
  ]);
  expect(counts).toEqual({ error: 2, warning: 0, note: 0 });
});

it("takes anything for a manifest", () => {
  const url = "oci://registry.example/meltemi";
  fc.assert(
    fc.property(
      fc.constantFrom(...NAMES),
      fc.nat(),
      fc.constantFrom<unknown>(null, 7, "", "text", true, [], {}, [null], [7], [[]], { a: null }),
      (name, place, value) => {
        const ours = manifest([model(name)], { url }).resources.map(({ object }) => placed(object));
        const world = structuredClone([...goodWorld(model(name)), ...EXTRA, ...ours]) as Loose[];
        const spots = world.flatMap((object) => below(object, ["apiVersion", "kind", "metadata"]));
        const [parent, key] = spots[place % spots.length] as [Loose, string];
        parent[key] = value;
        check([model(name)], World.ofFiles(world.map((object) => placed(object))));
      },
    ),
    { numRuns: 300 },
  );
});

/** What the good mesh does not have, of kinds that rules look into. */
const EXTRA: Found[] = [
  {
    apiVersion: "networking.istio.io/v1",
    kind: "Sidecar",
    metadata: { name: "s", namespace: "shop" },
    spec: {
      workloadSelector: { labels: { app: "web" } },
      ingress: [{ port: { number: 1, protocol: "TCP" }, defaultEndpoint: "127.0.0.1:1" }],
      egress: [{ port: { number: 20880 }, hosts: ["./*"] }, { hosts: ["shop/*"] }],
    },
  },
  {
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: "v", namespace: "shop" },
    spec: { hosts: ["greeter"], gateways: ["mesh"], tcp: [{ route: [{ weight: 1 }, { weight: 2 }] }] },
  },
  {
    apiVersion: "networking.istio.io/v1",
    kind: "DestinationRule",
    metadata: { name: "d", namespace: "shop" },
    spec: { host: "greeter", subsets: [{ name: "v1", labels: { version: "v1" } }] },
  },
  {
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata: { name: "p", namespace: "shop" },
    spec: { selector: { matchLabels: { app: "greeter" } }, portLevelMtls: { "9000": { mode: "STRICT" } } },
  },
  {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "a", namespace: "shop" },
    spec: {
      rules: [
        {
          from: [{ source: { requestPrincipals: ["*"] } }],
          to: [{ operation: { paths: ["/x"], ports: ["20880"] } }],
          when: [{ key: "request.headers[x]", values: ["y"] }],
        },
      ],
    },
  },
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: "w-1",
      namespace: "shop",
      labels: { app: "web", "pod-template-hash": "1" },
      annotations: { "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8" },
      ownerReferences: [{ kind: "ReplicaSet", name: "w-1", controller: true }],
    } as Found["metadata"],
    spec: { containers: [{ name: "istio-proxy" }] },
  },
  {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "wasmplugins.extensions.istio.io" },
    spec: {
      versions: [
        {
          schema: {
            openAPIV3Schema: { properties: { spec: { properties: { failStrategy: { enum: ["FAIL_RELOAD"] } } } } },
          },
        },
      ],
    },
  },
];

/** Every place in an object but those by which it is known. */
function below(node: Loose, not: readonly string[] = []): [Loose, string][] {
  if (typeof node !== "object" || node === null) return [];
  return Object.keys(node)
    .filter((key) => !not.includes(key))
    .flatMap((key): [Loose, string][] => [[node, key], ...below(node[key])]);
}

it("has its rules, and nothing else, from the files of rules", () => {
  expect(RULES.every((rule) => typeof rule === "function")).toBe(true);
  expect(RULES.length).toBeGreaterThan(30);
});
