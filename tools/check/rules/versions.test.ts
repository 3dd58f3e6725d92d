import { describe, expect, it } from "vitest";
import type { MeshModel } from "../../istio/mesh.js";
import { ask, change, codes, goldens, goodWorld, objects, withIstio } from "../world.fixture.js";
import { istiodAgrees, labelsKnown, revisionRuns, schemaSuffices, versionSuffices } from "./versions.js";

const [observe, route, bridge, waypoint] = await goldens("observe", "route", "bridge", "observe-waypoint");

describe("versionSuffices", () => {
  it("does", () => expect(codes(versionSuffices, route, [])).toEqual([]));
  it("does not", () => {
    expect(codes(versionSuffices, withIstio(route, { version: 28 }), [])).toEqual(["error istio_version"]);
    expect(codes(versionSuffices, withIstio(bridge, { version: 28 }), [])).toEqual([]);
  });
});

describe("istiodAgrees", () => {
  const running = (model: MeshModel, image: string) =>
    change(goodWorld(model), "Deployment", "istiod", ({ spec }) => {
      spec.template.spec.containers[0].image = image;
    });

  it.each([
    "docker.io/istio/pilot:1.31.0",
    "registry:5000/pilot:1.31.2-distroless",
    "pilot:latest",
    `pilot@sha256:${"1".repeat(64)}`,
  ])("has nothing against %s", (image) => expect(codes(istiodAgrees, bridge, running(bridge, image))).toEqual([]));
  it("sees an older one", () => {
    expect(ask(istiodAgrees, bridge, running(bridge, "istio/pilot:1.29.3"))).toMatchObject([
      { severity: "warning", code: "istiod_version", hint: expect.stringContaining('istio.version: "1.29"') },
    ]);
  });
  it("sees one that lacks what is used", () => {
    expect(codes(istiodAgrees, route, running(route, "istio/pilot:1.28.0"))).toEqual(["error istiod_version"]);
  });
  it("mentions a newer one", () => {
    expect(ask(istiodAgrees, bridge, running(bridge, "istio/pilot:1.99.0"))).toMatchObject([
      { severity: "note", code: "istiod_version", message: expect.stringContaining("does not know yet") },
    ]);
  });
  it("looks at the revision that counts", () => {
    const old = objects(`
apiVersion: apps/v1
kind: Deployment
metadata: { name: istiod-old, namespace: istio-system, labels: { app: istiod, istio.io/rev: old } }
spec: { template: { spec: { containers: [{ image: "istio/pilot:1.24.0" }] } } }
`);
    expect(codes(istiodAgrees, waypoint, [...goodWorld(waypoint), ...old])).toEqual([]);
    expect(codes(istiodAgrees, observe, [...goodWorld(observe), ...old])).toEqual(["warning istiod_version"]);
  });
});

describe("schemaSuffices", () => {
  const definition = (strategies: string) =>
    objects(`
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: wasmplugins.extensions.istio.io }
spec:
  versions:
    - schema: { openAPIV3Schema: { properties: { spec: { properties: { failStrategy: { enum: ${strategies} } } } } } }
`);

  it("has what is used", () => {
    expect(codes(schemaSuffices, bridge, definition("[FAIL_CLOSE, FAIL_OPEN, FAIL_RELOAD]"))).toEqual([]);
    expect(codes(schemaSuffices, observe, definition("[FAIL_CLOSE, FAIL_OPEN]"))).toEqual([]);
    expect(codes(schemaSuffices, withIstio(bridge, { version: 26 }), definition("[FAIL_CLOSE, FAIL_OPEN]"))).toEqual(
      [],
    );
  });
  it("lacks a failStrategy", () => {
    expect(codes(schemaSuffices, bridge, definition("[FAIL_CLOSE, FAIL_OPEN]"))).toEqual(["error old_crd"]);
  });
  it("lacks the kind", () => {
    expect(codes(schemaSuffices, waypoint, definition("[]"))).toEqual(["error no_crd"]);
    expect(codes(schemaSuffices, waypoint, [])).toEqual([]);
  });
});

describe("revisionRuns", () => {
  const tag = (name: string, revision: string) =>
    objects(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: { name: tag-${name}, labels: { istio.io/tag: ${name}, istio.io/rev: ${revision} } }
`);

  it("is that of the namespaces", () => expect(codes(revisionRuns, waypoint, goodWorld(waypoint))).toEqual([]));
  it("is not", () => {
    const world = change(goodWorld(waypoint), "Namespace", "shop", ({ metadata }) => {
      metadata.labels = { "istio-injection": "enabled" };
    });
    expect(ask(revisionRuns, waypoint, world)).toMatchObject([
      { severity: "warning", code: "revision", hint: "Leave istio.revision out, or set it to default." },
    ]);
    expect(codes(revisionRuns, waypoint, [...world, ...tag("default", "canary")])).toEqual([]);
  });
  it("may be a tag", () => {
    const world = change(goodWorld(waypoint), "Namespace", "shop", ({ metadata }) => {
      metadata.labels = { "istio.io/rev": "stable" };
    });
    expect(codes(revisionRuns, waypoint, world)).toEqual(["warning revision"]);
    expect(codes(revisionRuns, waypoint, [...world, ...tag("stable", "canary")])).toEqual([]);
  });
  it("does not matter where none is named", () => expect(codes(revisionRuns, bridge, goodWorld(bridge))).toEqual([]));
});

describe("labelsKnown", () => {
  const told = (mesh: string) =>
    change(goodWorld(bridge), "ConfigMap", "istio", ({ data }) => {
      data.mesh = mesh;
    });

  it("are", () => expect(codes(labelsKnown, bridge, goodWorld(bridge))).toEqual([]));
  it("are not all", () => {
    expect(
      ask(labelsKnown, bridge, told("defaultConfig:\n  extraStatTags: [protocol, direction, service]\n")),
    ).toMatchObject([
      {
        severity: "note",
        code: "stat_tags",
        hint: "Add to MeshConfig: defaultConfig: { extraStatTags: [method, status, reason, cluster] }",
      },
    ]);
  });
  it.each(["", "[", "text", "defaultConfig: 7"])("are not by %j", (mesh) => {
    expect(codes(labelsKnown, bridge, told(mesh))).toEqual(["note stat_tags"]);
  });
});
