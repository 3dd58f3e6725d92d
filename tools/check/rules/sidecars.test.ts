import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { manifest } from "../../istio/manifest.js";
import type { MeshModel } from "../../istio/mesh.js";
import type { IstioObject } from "../../istio/resource.js";
import { packageRoot } from "../../paths.js";
import { readManifests } from "../files.js";
import { ask, change, codes, goldens, goodWorld, objects, withIstio } from "../world.fixture.js";
import { type Found, placed } from "../world.js";
import { otherPortsListed, portsListed, serviceImported, sidecarCounts } from "./sidecars.js";

const url = `oci://registry.example/meltemi@sha256:${"0".repeat(64)}`;

const [observe, route, bridge, loopback] = await goldens("observe", "route", "bridge", "bridge-loopback");

/** A Sidecar in shop, unless it says otherwise. */
const sidecar = (name: string, spec: string, namespace = "shop") =>
  objects(`
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}
`);

/** What apply would make of a mesh. */
function applied(models: readonly MeshModel[], world: readonly Found[], existing: readonly Found[] = []): Found[] {
  const { resources } = manifest(models, { url, existing: existing as unknown as IstioObject[] });
  return [...world, ...resources.map(({ object }) => placed(object))];
}

describe("sidecarCounts", () => {
  const web = () => sidecar("web", '{ workloadSelector: { labels: { app: web } }, egress: [{ hosts: ["./*"] }] }');

  it("has nothing against Sidecars of other pods", () => {
    const others = [
      ...sidecar("other", "{ workloadSelector: { labels: { app: other } } }"),
      ...sidecar("web", "{ workloadSelector: { labels: { app: web } } }", "elsewhere"),
      ...sidecar("default", "{}", "elsewhere"),
    ];
    expect(codes(sidecarCounts, bridge, [...goodWorld(bridge), ...others])).toEqual([]);
  });
  it("says nothing in the modes that have none", () => {
    expect(codes(sidecarCounts, route, [...goodWorld(route), ...web()])).toEqual([]);
  });
  it("sees one for the very same pods, which can be joined", () => {
    expect(ask(sidecarCounts, bridge, [...goodWorld(bridge), ...web()])).toMatchObject([
      {
        severity: "error",
        code: "two_sidecars",
        hint: "meltemi apply --merge joins the two.",
        object: { name: "web" },
      },
    ]);
  });
  it("is content once they are joined", () => {
    const world = applied([bridge], goodWorld(bridge), web());
    expect(world.some(({ kind, metadata }) => kind === "Sidecar" && metadata.name === "web")).toBe(true);
    expect(codes(sidecarCounts, bridge, world)).toEqual([]);
  });
  it("sees one for some of the pods, which cannot be joined", () => {
    const some = sidecar("v2", "{ workloadSelector: { labels: { version: v2 } } }");
    expect(ask(sidecarCounts, bridge, [...goodWorld(bridge), ...some])).toMatchObject([
      { severity: "error", code: "two_sidecars", hint: expect.stringContaining("Select the same pods") },
    ]);
    const within = sidecar("beta", "{ workloadSelector: { labels: { app: web, stage: beta } } }");
    expect(codes(sidecarCounts, bridge, [...goodWorld(bridge), ...within])).toEqual(["error two_sidecars"]);
  });
  it("sees that pods of a whole namespace have one of their own", () => {
    expect(codes(sidecarCounts, loopback, [...goodWorld(loopback), ...web()])).toEqual(["error two_sidecars"]);
    const forAll = sidecar("default", '{ egress: [{ hosts: ["./*"] }] }');
    expect(codes(sidecarCounts, loopback, [...goodWorld(loopback), ...forAll])).toEqual([
      // Of the servers' pods and of the clients', which are all.
      "warning sidecar_replaced",
      "error two_sidecars",
    ]);
  });
  it.each(["shop", "istio-system"])("sees that one for all pods, in %s, is lost for these", (namespace) => {
    const forAll = sidecar("default", '{ egress: [{ hosts: ["./*", "istio-system/*"] }] }', namespace);
    const world = [...goodWorld(bridge), ...forAll];
    expect(codes(sidecarCounts, bridge, world)).toEqual(["warning sidecar_replaced", "warning sidecar_replaced"]);
    expect(codes(sidecarCounts, bridge, applied([bridge], world))).toContain("warning sidecar_replaced");
    expect(codes(sidecarCounts, bridge, applied([bridge], world, forAll))).toEqual([]);
  });
  it("leaves those of the same run to be joined, and not those of another", () => {
    const second = withIstio(
      { ...bridge, service: { ...bridge.service, name: "orders" } },
      { ports: [{ port: 9090 }] },
    );
    const servers = { ...second.istio.servers, labels: { app: "orders" } };
    const orders = withIstio(second, { address: "10.96.0.11", servers });
    const world = applied([bridge, orders], goodWorld(bridge));
    expect(codes(sidecarCounts, orders, world, [bridge, orders])).toEqual([]);
    expect(ask(sidecarCounts, orders, applied([bridge], goodWorld(bridge)))).toMatchObject([
      { code: "two_sidecars", hint: "Give this configuration and that of greeter.shop to one command." },
    ]);
    const clients = [{ labels: { app: "web", stage: "beta" } }];
    const apart = withIstio(orders, { clients });
    expect(codes(sidecarCounts, apart, goodWorld(bridge), [bridge, apart])).toEqual(["error two_sidecars"]);
  });
  it("takes the Sidecars of the golden file for what they are", () => {
    const existing = readManifests([join(packageRoot, "tools", "istio", "golden", "merge.existing.yaml")]);
    const found = ask(sidecarCounts, bridge, [...goodWorld(bridge), ...existing]);
    expect(found.map(({ code, object }) => `${code} ${object?.name}`)).toEqual([
      "sidecar_replaced default",
      "two_sidecars web",
      "sidecar_replaced default",
    ]);
  });
});

describe("portsListed", () => {
  const listing = (port: number) =>
    sidecar("greeter", `{ workloadSelector: { labels: { app: greeter } }, ingress: [{ port: { number: ${port} } }] }`);

  it("has nothing against Sidecars without ports", () => {
    const world = [...goodWorld(observe), ...sidecar("default", '{ egress: [{ hosts: ["*/*"] }] }')];
    expect(codes(portsListed, observe, world)).toEqual([]);
  });
  it("looks for the pods' port", () => {
    expect(codes(portsListed, observe, [...goodWorld(observe), ...listing(20881)])).toEqual([]);
    expect(codes(portsListed, observe, [...goodWorld(observe), ...listing(20880)])).toEqual([
      "warning port_not_listed",
    ]);
  });
});

describe("otherPortsListed", () => {
  const admin = () =>
    objects(`
apiVersion: v1
kind: Service
metadata: { name: admin, namespace: shop }
spec: { selector: { app: greeter }, ports: [{ port: 80, targetPort: 8080 }, { port: 53, protocol: UDP }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 8888 }] }
`);

  it("has nothing against the ports of the bridge", () => {
    expect(codes(otherPortsListed, bridge, goodWorld(bridge))).toEqual([]);
  });
  it("finds those of other Services with the same pods", () => {
    expect(ask(otherPortsListed, bridge, [...goodWorld(bridge), ...admin()])).toMatchObject([
      {
        severity: "warning",
        code: "other_port",
        hint: "Add it to istio.servers.otherPorts, such as { port: 8080, protocol: HTTP }.",
        object: { kind: "Service", name: "admin" },
      },
    ]);
  });
  it("finds those of the Service itself, by their names", () => {
    const world = change(goodWorld(bridge), "Service", "greeter", ({ spec }) =>
      spec.ports.push({ name: "http-admin", port: 80, targetPort: "admin" }),
    );
    expect(codes(otherPortsListed, bridge, world)).toEqual([]);
    const named = change(world, "Deployment", "server-1", ({ spec }) =>
      spec.template.spec.containers[0].ports.push({ name: "admin", containerPort: 8080 }),
    );
    expect(codes(otherPortsListed, bridge, named)).toEqual(["warning other_port"]);
  });
  it("is content once they are listed", () => {
    const otherPorts = [{ port: 8080, protocol: "HTTP" as const }];
    const model = withIstio(bridge, { servers: { ...bridge.istio.servers, otherPorts } });
    expect(codes(otherPortsListed, model, [...goodWorld(bridge), ...admin()])).toEqual([]);
    const theirs = sidecar(
      "greeter",
      "{ workloadSelector: { labels: { app: greeter } }, ingress: [{ port: { number: 8080 } }] }",
    );
    expect(codes(otherPortsListed, bridge, [...goodWorld(bridge), ...admin(), ...theirs])).toEqual([]);
  });
  it("does not matter without a bridge", () => {
    expect(codes(otherPortsListed, observe, [...goodWorld(observe), ...admin()])).toEqual([]);
  });
});

describe("serviceImported", () => {
  const importing = (egress: string) => [...goodWorld(route), ...sidecar("default", `{ egress: ${egress} }`)];

  it.each([
    '[{ hosts: ["*/*"] }]',
    '[{ hosts: ["./*"] }]',
    '[{ hosts: ["shop/*"] }]',
    '[{ hosts: ["shop/greeter.shop.svc.cluster.local"] }]',
    '[{ hosts: ["*/*.shop.svc.cluster.local"] }]',
    '[{ hosts: ["istio-system/*", "shop/*"] }]',
    '[{ port: { number: 20880 }, hosts: ["shop/*"] }, { hosts: ["istio-system/*"] }]',
  ])("is by %s", (egress) => {
    expect(codes(serviceImported, route, importing(egress))).toEqual([]);
  });
  it.each([
    '[{ hosts: ["istio-system/*"] }]',
    '[{ hosts: ["~/*"] }]',
    '[{ hosts: ["shop/web.shop.svc.cluster.local"] }]',
    '[{ port: { number: 80 }, hosts: ["shop/*"] }, { hosts: ["istio-system/*"] }]',
  ])("is not by %s", (egress) => {
    expect(codes(serviceImported, route, importing(egress))).toEqual(["error not_imported"]);
  });
  it("goes by the Sidecar that counts", () => {
    const own = sidecar("web", '{ workloadSelector: { labels: { app: web } }, egress: [{ hosts: ["*/*"] }] }');
    expect(codes(serviceImported, route, [...importing('[{ hosts: ["~/*"] }]'), ...own])).toEqual([]);
    const root = sidecar("default", '{ egress: [{ hosts: ["./*"] }] }', "istio-system");
    expect(codes(serviceImported, route, [...goodWorld(route), ...root])).toEqual([]);
  });
  it("is not by a dot, in another namespace", () => {
    const there = sidecar("default", '{ egress: [{ hosts: ["./*"] }] }', "backoffice");
    expect(codes(serviceImported, observe, [...goodWorld(observe), ...there])).toEqual(["warning not_imported"]);
  });
});
