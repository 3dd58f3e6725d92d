import { describe, expect, it } from "vitest";
import { ask, change, codes, goldens, goodWorld, objects, withIstio } from "../world.fixture.js";
import type { Found } from "../world.js";
import { failsClosed, imagesPinned, pullSecretExists, urlsHaveSchemes } from "./extensions.js";

const [observe, route, bridge, waypoint] = await goldens("observe", "route", "bridge", "observe-waypoint");

describe("failsClosed", () => {
  it("is content with the defaults, and with FAIL_OPEN in mode observe", () => {
    expect(codes(failsClosed, route, [])).toEqual([]);
    expect(codes(failsClosed, bridge, [])).toEqual([]);
    expect(codes(failsClosed, withIstio(observe, { failStrategy: "FAIL_OPEN" }), [])).toEqual([]);
  });
  it("warns elsewhere", () => {
    expect(codes(failsClosed, withIstio(route, { failStrategy: "FAIL_OPEN" }), [])).toEqual(["warning fail_open"]);
    expect(codes(failsClosed, withIstio(bridge, { failStrategy: "FAIL_OPEN" }), [])).toEqual(["warning fail_open"]);
  });
});

const plugin = (spec: string, instance = "greeter.shop", kind = "WasmPlugin") =>
  objects(`
apiVersion: extensions.istio.io/v1alpha1
kind: ${kind}
metadata:
  name: lift.greeter.shop
  namespace: shop
  labels: { app.kubernetes.io/managed-by: meltemi, app.kubernetes.io/instance: ${instance} }
spec: ${spec}
`);

describe("imagesPinned", () => {
  it.each([
    `{ url: "oci://ghcr.io/acme/meltemi@sha256:${"0".repeat(64)}" }`,
    `{ url: "oci://ghcr.io/acme/meltemi:1.0", sha256: "${"0".repeat(64)}" }`,
    '{ url: "https://example.org/meltemi.wasm" }',
    '{ url: "file:///meltemi.wasm" }',
  ])("%s", (spec) => expect(codes(imagesPinned, bridge, plugin(spec))).toEqual([]));
  it.each(['{ url: "oci://ghcr.io/acme/meltemi:1.0" }', '{ url: "ghcr.io/acme/meltemi" }'])("not %s", (spec) => {
    expect(codes(imagesPinned, bridge, plugin(spec))).toEqual(["warning no_digest"]);
  });
  it("looks into the other kind, and not at those of other services", () => {
    const spec = '{ wasm: { url: "oci://ghcr.io/acme/meltemi:1.0" } }';
    expect(codes(imagesPinned, bridge, plugin(spec, "greeter.shop", "TrafficExtension"))).toEqual([
      "warning no_digest",
    ]);
    expect(codes(imagesPinned, bridge, plugin('{ url: "oci://a/b" }', "orders.shop"))).toEqual([]);
  });
});

describe("urlsHaveSchemes", () => {
  it.each(["oci://a/b", "https://a/b", "http://a/b", "file:///b"])("%s", (url) => {
    expect(codes(urlsHaveSchemes, bridge, plugin(`{ url: "${url}" }`))).toEqual([]);
  });
  it("misses one", () => {
    const digest = `ghcr.io/acme/meltemi@sha256:${"0".repeat(64)}`;
    expect(codes(urlsHaveSchemes, bridge, plugin(`{ url: "${digest}" }`))).toEqual(["warning no_scheme"]);
  });
});

describe("pullSecretExists", () => {
  it("finds it in each namespace", () => expect(codes(pullSecretExists, waypoint, goodWorld(waypoint))).toEqual([]));
  it("is not asked for", () => expect(codes(pullSecretExists, bridge, goodWorld(bridge))).toEqual([]));
  it("misses it in one", () => {
    const elsewhere = ({ kind, metadata }: Found) => kind !== "Secret" || metadata.namespace !== "ingress";
    const other = objects("{ apiVersion: v1, kind: Secret, metadata: { name: other, namespace: ingress } }");
    const world = goodWorld(waypoint).filter(elsewhere);
    expect(ask(pullSecretExists, waypoint, [...world, ...other])).toMatchObject([
      { severity: "error", code: "pull_secret", hint: expect.stringContaining("docker-registry registry -n ingress") },
    ]);
    expect(codes(pullSecretExists, waypoint, world)).toEqual([]);
  });
  it("wants the type that Istio reads", () => {
    const world = change(goodWorld(waypoint), "Secret", "registry", (secret) => {
      delete secret.type;
    });
    const found = ask(pullSecretExists, waypoint, world);
    expect(found.map(({ message }) => message)).toContain(
      "Secret shop/registry is of type Opaque, and a pull secret is of type kubernetes.io/dockerconfigjson",
    );
  });
});
