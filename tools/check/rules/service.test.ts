import { describe, expect, it } from "vitest";
import type { MeshModel } from "../../istio/mesh.js";
import { ask, change, codes, goldens, goodWorld, objects, withIstio } from "../world.fixture.js";
import type { Found, Loose } from "../world.js";
import {
  addressAgrees,
  noOtherHttpPorts,
  notHeadless,
  portProtocols,
  portsExist,
  portsUnshared,
  selectorAgrees,
  serviceExists,
  targetPortsAgree,
} from "./service.js";

const [observe, route, bridge, loopback] = await goldens("observe", "route", "bridge", "bridge-loopback");

/** The good mesh with another Service. */
function serviceWith(model: MeshModel, spec: Loose): Found[] {
  return change(goodWorld(model), "Service", model.service.name, (service) => Object.assign(service.spec, spec));
}

describe("serviceExists", () => {
  it("misses the Service", () => {
    const world = change(goodWorld(observe), "Service", "greeter", ({ metadata }) => {
      metadata.name = "greetings";
    });
    expect(ask(serviceExists, observe, world)).toMatchObject([
      { severity: "error", code: "no_service", message: "there is no Service shop/greeter" },
    ]);
  });
  it("knows it by the name that istio.service gives", () => {
    const model = withIstio(observe, { service: "hello" });
    expect(codes(serviceExists, model, goodWorld(model))).toEqual([]);
    expect(codes(serviceExists, model, goodWorld(observe))).toEqual(["error no_service"]);
  });
  it("wants pods behind it", () => {
    const world = serviceWith(observe, { type: "ExternalName", externalName: "greeter.example" });
    expect(codes(serviceExists, observe, world)).toEqual(["error external_name"]);
  });
  it("says nothing where no Services are known", () => {
    expect(codes(serviceExists, observe, [])).toEqual([]);
  });
});

describe("portsExist", () => {
  it("finds all of them", () => expect(codes(portsExist, observe, goodWorld(observe))).toEqual([]));
  it("misses one", () => {
    const world = serviceWith(observe, { ports: [{ port: 80 }, { port: 443 }] });
    expect(ask(portsExist, observe, world)).toMatchObject([
      {
        severity: "error",
        code: "no_port",
        hint: "It has 80, 443: name one of these in istio.ports, or add the port.",
      },
    ]);
  });
  it("wants TCP", () => {
    const world = serviceWith(observe, { ports: [{ name: "tcp-dubbo", port: 20880, protocol: "UDP" }] });
    expect(codes(portsExist, observe, world)).toEqual(["error port_transport"]);
  });
});

describe("targetPortsAgree", () => {
  const to = (model: MeshModel, targetPort: unknown) => serviceWith(model, { ports: [{ port: 20880, targetPort }] });
  const called = (world: Found[], name: string, port: number) =>
    change(world, "Deployment", "server-1", ({ spec }) => {
      spec.template.spec.containers[0].ports = [{ name, containerPort: port }];
    });

  it("takes numbers as they are", () => {
    expect(codes(targetPortsAgree, observe, to(observe, 20881))).toEqual([]);
    expect(codes(targetPortsAgree, observe, to(observe, 9999))).toEqual(["warning target_port"]);
    expect(codes(targetPortsAgree, bridge, to(bridge, 9999))).toEqual(["error target_port"]);
  });
  it("takes the Service's port where it names no other", () => {
    expect(codes(targetPortsAgree, bridge, to(bridge, undefined))).toEqual([]);
  });
  it("looks names up in the pods", () => {
    expect(codes(targetPortsAgree, observe, called(to(observe, "rpc"), "rpc", 20881))).toEqual([]);
    expect(ask(targetPortsAgree, observe, called(to(observe, "rpc"), "rpc", 7))).toMatchObject([
      { hint: "Set targetPort: 7 beside port: 20880 in istio.ports." },
    ]);
    expect(codes(targetPortsAgree, observe, called(to(observe, "rpc"), "other", 7))).toEqual(["warning target_port"]);
  });
  it("says nothing of a name where no pods are known", () => {
    const world = to(observe, "rpc").filter(({ kind }) => kind !== "Deployment");
    expect(codes(targetPortsAgree, observe, world)).toEqual([]);
  });
});

describe("portProtocols", () => {
  const called = (model: MeshModel, more: object) => serviceWith(model, { ports: [{ port: 20880, ...more }] });

  it.each<[string, object, string[]]>([
    ["tcp-dubbo", {}, []],
    ["mysql", {}, []],
    ["http-dubbo", {}, ["error port_protocol"]],
    ["http-dubbo", { appProtocol: "tcp" }, []],
    ["https-dubbo", {}, ["warning port_protocol"]],
    ["dubbo", {}, ["note port_protocol"]],
  ])("observe: %s %j", (name, more, expected) => {
    expect(codes(portProtocols, observe, called(observe, { name, ...more }))).toEqual(expected);
  });
  it.each<[string, object, string[]]>([
    ["http2-dubbo", {}, []],
    ["grpc-dubbo", {}, []],
    ["dubbo", { appProtocol: "kubernetes.io/h2c" }, []],
    ["http-dubbo", {}, ["warning port_protocol"]],
    ["dubbo", {}, ["warning port_protocol"]],
    ["tcp-dubbo", {}, ["error port_protocol"]],
  ])("bridge with heartbeats: %s %j", (name, more, expected) => {
    expect(codes(portProtocols, bridge, called(bridge, { name, ...more }))).toEqual(expected);
  });
  it.each<[string, string[]]>([
    ["http-cache", []],
    ["http2-cache", ["warning port_protocol"]],
    ["tcp-cache", ["error port_protocol"]],
  ])("bridge without heartbeats: %s", (name, expected) => {
    const world = serviceWith(loopback, { ports: [{ name, port: 7000 }] });
    expect(codes(portProtocols, loopback, world)).toEqual(expected);
  });
  it("says what to call it", () => {
    expect(ask(portProtocols, bridge, called(bridge, { name: "dubbo" }))).toMatchObject([
      { hint: "Let its name begin with http2-, or set appProtocol: http2." },
    ]);
  });
});

describe("notHeadless", () => {
  it("lets observe be", () => {
    expect(codes(notHeadless, observe, serviceWith(observe, { clusterIP: "None" }))).toEqual([]);
  });
  it("has nothing against a ClusterIP", () => {
    expect(codes(notHeadless, route, goodWorld(route))).toEqual([]);
    expect(codes(notHeadless, bridge, goodWorld(bridge))).toEqual([]);
  });
  it("warns where the choice would not count", () => {
    expect(codes(notHeadless, route, serviceWith(route, { clusterIP: "None" }))).toEqual(["error headless"]);
    expect(codes(notHeadless, loopback, serviceWith(loopback, { clusterIP: "None" }))).toEqual(["error headless"]);
  });
  it("knows how istiod can be told", () => {
    const world = change(serviceWith(loopback, { clusterIP: "None" }), "Deployment", "istiod", ({ spec }) => {
      spec.template.spec.containers[0].env = [{ name: "PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES", value: "true" }];
    });
    expect(codes(notHeadless, loopback, world)).toEqual([]);
  });
});

describe("addressAgrees", () => {
  it("is the ClusterIP, one of several, or loopback", () => {
    expect(codes(addressAgrees, bridge, goodWorld(bridge))).toEqual([]);
    const both = { clusterIP: "fd00::10", clusterIPs: ["fd00::10", "10.96.0.10"] };
    expect(ask(addressAgrees, bridge, serviceWith(bridge, both))).toMatchObject([
      { severity: "warning", code: "two_addresses", message: expect.stringContaining("the address fd00::10 too") },
    ]);
    expect(codes(addressAgrees, loopback, goodWorld(loopback))).toEqual([]);
  });
  it("is wrong", () => {
    const world = serviceWith(bridge, { clusterIP: "10.96.0.77", clusterIPs: ["10.96.0.77"] });
    expect(ask(addressAgrees, bridge, world)).toMatchObject([
      { severity: "error", code: "address", hint: "Set istio.address: 10.96.0.77" },
    ]);
  });
  it("is none of a headless Service", () => {
    const world = serviceWith(bridge, { clusterIP: "None", clusterIPs: ["None"] });
    expect(ask(addressAgrees, bridge, world)).toMatchObject([{ code: "address", hint: "Give it a ClusterIP." }]);
  });
  it("is what the module goes by in the other modes as well", () => {
    const model = withIstio(observe, { address: "10.96.0.10" });
    expect(codes(addressAgrees, model, goodWorld(observe))).toEqual([]);
    expect(codes(addressAgrees, withIstio(observe, { address: "127.0.0.1" }), goodWorld(observe))).toEqual([
      "warning address",
    ]);
    const world = serviceWith(route, { clusterIP: "None", clusterIPs: ["None"] });
    expect(ask(addressAgrees, withIstio(route, { address: "10.96.0.10" }), world)).toMatchObject([
      { severity: "error", code: "address", hint: "Leave it out." },
    ]);
  });
  it("is not known before the Service has been created", () => {
    expect(codes(addressAgrees, bridge, serviceWith(bridge, { clusterIP: null, clusterIPs: null }))).toEqual([]);
  });
});

describe("portsUnshared", () => {
  const other = (port: number, name = "orders", more = "") =>
    objects(
      `{ apiVersion: v1, kind: Service, metadata: { name: ${name} }, spec: { ports: [{ port: ${port} ${more} }] } }`,
    );
  const others = (port: number) => [...goodWorld(observe), ...other(port)];
  it("has nothing against other ports", () => expect(codes(portsUnshared, observe, others(20881))).toEqual([]));
  it("sees one that another Service has too", () => {
    expect(ask(portsUnshared, observe, others(20880))).toMatchObject([
      { severity: "warning", code: "shared_port", object: { kind: "Service", name: "orders" } },
    ]);
  });
  it("says it once of many", () => {
    expect(ask(portsUnshared, observe, [...others(20880), ...other(20880, "a"), ...other(20880, "b")])).toMatchObject([
      { message: expect.stringMatching(/^Service default\/orders and 2 more have port 20880 too/) },
    ]);
  });
  it("has nothing against one of UDP", () => {
    expect(codes(portsUnshared, observe, [...goodWorld(observe), ...other(20880, "dns", ", protocol: UDP")])).toEqual(
      [],
    );
  });
  it("does not matter where the address is known, or there are no clients", () => {
    expect(codes(portsUnshared, withIstio(observe, { address: "10.96.0.10" }), others(20880))).toEqual([]);
    expect(codes(portsUnshared, withIstio(observe, { clients: undefined }), others(20880))).toEqual([]);
    expect(codes(portsUnshared, bridge, others(20880))).toEqual([]);
  });
});

describe("selectorAgrees", () => {
  it("selects the same pods", () => expect(codes(selectorAgrees, bridge, goodWorld(bridge))).toEqual([]));
  it("leaves out pods of the Service", () => {
    const model = withIstio(bridge, { servers: { ...bridge.istio.servers, labels: { version: "v1" } } });
    expect(ask(selectorAgrees, model, goodWorld(bridge))).toMatchObject([
      { severity: "error", code: "service_selector", object: { kind: "Deployment", name: "server-2" } },
    ]);
  });
  it("compares labels where no pods are known", () => {
    const known = ({ kind }: Found) => kind !== "Deployment";
    expect(codes(selectorAgrees, observe, goodWorld(observe).filter(known))).toEqual([]);
    const world = serviceWith(observe, { selector: { app: "other" } }).filter(known);
    expect(codes(selectorAgrees, observe, world)).toEqual(["warning service_selector"]);
  });
});

describe("noOtherHttpPorts", () => {
  const beside = (name: string) => (model: MeshModel) =>
    change(goodWorld(model), "Service", model.service.name, ({ spec }) => spec.ports.push({ name, port: 8080 }));

  it("lets other protocols be", () => {
    expect(codes(noOtherHttpPorts, bridge, beside("tcp-other")(bridge))).toEqual([]);
  });
  it("sees that routes of a bridge would count for it", () => {
    expect(codes(noOtherHttpPorts, bridge, beside("http-admin")(bridge))).toEqual(["warning routes_elsewhere"]);
    expect(codes(noOtherHttpPorts, bridge, beside("admin")(bridge))).toEqual(["warning routes_elsewhere"]);
  });
  it("says nothing where there are no such routes", () => {
    expect(codes(noOtherHttpPorts, loopback, beside("http-admin")(loopback))).toEqual([]);
    expect(codes(noOtherHttpPorts, route, beside("http-admin")(route))).toEqual([]);
  });
});
