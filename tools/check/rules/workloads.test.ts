import { describe, expect, it } from "vitest";
import type { MeshModel } from "../../istio/mesh.js";
import { ask, change, codes, goldens, goodWorld, objects, withIstio } from "../world.fixture.js";
import type { Found, Loose } from "../world.js";
import {
  clientsAreNoGateways,
  gatewaysListen,
  namespacesExist,
  onlyTheseClients,
  podsExist,
  proxiesInjected,
  subsetsHavePods,
  targetsExist,
  trafficCaptured,
} from "./workloads.js";

const [observe, route, bridge, loopback, waypoint] = await goldens(
  "observe",
  "route",
  "bridge",
  "bridge-loopback",
  "observe-waypoint",
);

const template = (world: readonly Found[], name: string, body: (template: Loose) => void) =>
  change(world, "Deployment", name, ({ spec }) => body(spec.template));

describe("namespacesExist", () => {
  it("finds them", () => expect(codes(namespacesExist, observe, goodWorld(observe))).toEqual([]));
  it("misses that of a client", () => {
    const world = goodWorld(observe).filter(({ kind, metadata }) => kind !== "Namespace" || metadata.name === "shop");
    expect(ask(namespacesExist, observe, world)).toMatchObject([
      { severity: "error", code: "no_namespace", message: "there is no namespace backoffice" },
    ]);
  });
  it("says nothing where no namespaces are known", () => expect(codes(namespacesExist, observe, [])).toEqual([]));
});

describe("gatewaysListen", () => {
  const world = (listener: string) =>
    objects(
      `{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: edge, namespace: shop }, spec: { listeners: [${listener}] } }`,
    );
  const model = (mode: MeshModel) =>
    withIstio(mode, { clients: [{ namespace: "shop", targetRefs: [{ kind: "Gateway", name: "edge" }] }] });
  it("at the Service's port, or at a waypoint's", () => {
    expect(codes(gatewaysListen, model(observe), world("{ port: 80 }, { port: 20880 }"))).toEqual([]);
    expect(codes(gatewaysListen, model(observe), world("{ port: 15008, protocol: HBONE }"))).toEqual([]);
  });
  it("elsewhere", () => {
    expect(codes(gatewaysListen, model(observe), world("{ port: 31400 }"))).toEqual(["warning gateway_port"]);
    const { length } = route.istio.ports;
    expect(codes(gatewaysListen, model(route), world("{ port: 31400 }"))).toEqual(
      Array(length).fill("error gateway_port"),
    );
  });
  it("says nothing of those that it does not know", () => {
    expect(codes(gatewaysListen, model(observe), [])).toEqual([]);
    expect(codes(gatewaysListen, observe, world("{ port: 31400 }"))).toEqual([]);
  });
});

describe("clientsAreNoGateways", () => {
  const changed = (body: (template: Loose) => void) => template(goodWorld(bridge), "client-1", body);
  it("but programs", () => expect(codes(clientsAreNoGateways, bridge, goodWorld(bridge))).toEqual([]));
  it.each<[string, (template: Loose) => void]>([
    [
      "by Istio's template",
      ({ metadata }) => {
        metadata.annotations = { "inject.istio.io/templates": "gateway" };
      },
    ],
    [
      "by Kubernetes' label",
      ({ metadata }) => {
        metadata.labels["gateway.networking.k8s.io/gateway-name"] = "edge";
      },
    ],
    [
      "by a proxy alone",
      ({ spec }) => {
        spec.containers = [{ name: "istio-proxy" }];
      },
    ],
  ])("sees one %s", (_, body) => {
    expect(ask(clientsAreNoGateways, bridge, changed(body))).toMatchObject([
      { severity: "warning", code: "gateway_client", object: { kind: "Deployment", name: "client-1" } },
    ]);
  });
});

describe("podsExist", () => {
  it("finds both sides", () => expect(codes(podsExist, observe, goodWorld(observe))).toEqual([]));
  it("misses servers and clients", () => {
    const renamed = (name: string) =>
      template(goodWorld(observe), name, ({ metadata }) => {
        metadata.labels = { app: "renamed" };
      });
    expect(ask(podsExist, observe, renamed("server-1"))).toMatchObject([
      { severity: "warning", code: "no_servers", hint: "Pods there have app=renamed, app=web." },
    ]);
    expect(codes(podsExist, observe, renamed("client-1"))).toEqual(["warning no_clients"]);
  });
  it("says nothing of a namespace where nothing is known", () => {
    expect(
      codes(
        podsExist,
        observe,
        goodWorld(observe).filter(({ kind }) => kind !== "Deployment"),
      ),
    ).toEqual([]);
  });
  it("takes no pod that has ended for one", () => {
    const ended = objects(`
apiVersion: v1
kind: Pod
metadata: { name: once, namespace: shop, labels: { app: web } }
status: { phase: Succeeded }
`);
    const world = goodWorld(observe).filter(({ metadata }) => metadata.name !== "client-1");
    expect(codes(podsExist, observe, [...world, ...ended])).toEqual(["warning no_clients"]);
  });
});

describe("subsetsHavePods", () => {
  it("finds the pods of each", () => expect(codes(subsetsHavePods, route, goodWorld(route))).toEqual([]));
  it("misses those of one", () => {
    const world = goodWorld(route).filter(({ metadata }) => metadata.name !== "server-2");
    expect(ask(subsetsHavePods, route, world)).toMatchObject([
      {
        severity: "warning",
        code: "empty_subset",
        message: "subset beta has no servers: none of the pods with app=greeter has version=v2,stage=beta",
      },
    ]);
  });
});

describe("targetsExist", () => {
  it("finds the gateway and the Service", () => expect(codes(targetsExist, waypoint, goodWorld(waypoint))).toEqual([]));
  it("misses the gateway", () => {
    const world = change(goodWorld(waypoint), "Gateway", "edge", ({ metadata }) => {
      metadata.name = "other";
    });
    expect(codes(targetsExist, waypoint, world)).toEqual(["error no_target"]);
  });
});

describe("proxiesInjected", () => {
  const labelled = (model: MeshModel, labels: object) =>
    change(goodWorld(model), "Namespace", "shop", ({ metadata }) => {
      metadata.labels = labels;
    });

  it.each([{ "istio-injection": "enabled" }, { "istio.io/rev": "canary" }])("is satisfied by %j", (labels) => {
    expect(codes(proxiesInjected, bridge, labelled(bridge, labels))).toEqual([]);
  });
  it.each([
    [{}, "warning"],
    [{ "istio-injection": "disabled" }, "error"],
    [{ "istio.io/dataplane-mode": "ambient" }, "error"],
  ])("sees that %j is no injection", (labels, severity) => {
    const found = ask(proxiesInjected, bridge, labelled(bridge, labels));
    expect(found.map((it) => `${it.severity} ${it.object?.name}`)).toEqual(
      ["server-1", "server-2", "client-1"].map((name) => `${severity} ${name}`),
    );
  });
  it("is less strict in mode observe", () => {
    const found = codes(proxiesInjected, observe, labelled(observe, { "istio-injection": "disabled" }));
    expect(new Set(found)).toEqual(new Set(["warning no_proxy"]));
  });
  it.each<[string, (template: Loose) => void]>([
    ["the label", ({ metadata }) => Object.assign(metadata.labels, { "sidecar.istio.io/inject": "false" })],
    ["the annotation", (it) => Object.assign(it.metadata, { annotations: { "sidecar.istio.io/inject": "false" } })],
    ["the node's network", ({ spec }) => Object.assign(spec, { hostNetwork: true })],
  ])("sees that %s keeps one pod out", (_, body) => {
    expect(codes(proxiesInjected, bridge, template(goodWorld(bridge), "client-1", body))).toEqual(["error no_proxy"]);
  });
  it("sees that a pod asks for it, or has it written into its manifest", () => {
    const asks = (world: readonly Found[], name: string) =>
      template(world, name, ({ metadata }) => Object.assign(metadata.labels, { "sidecar.istio.io/inject": "true" }));
    const world = asks(asks(labelled(bridge, {}), "server-1"), "server-2");
    expect(codes(proxiesInjected, bridge, world)).toEqual(["warning no_proxy"]);
    const written = template(world, "client-1", ({ spec }) => spec.containers.push({ name: "istio-proxy" }));
    expect(codes(proxiesInjected, bridge, written)).toEqual([]);
  });
  it("believes what runs, and names the controller", () => {
    const pod = (more: string) =>
      objects(`
apiVersion: v1
kind: Pod
metadata:
  name: client-1-7d4-x
  namespace: shop
  labels: { app: web, pod-template-hash: 7d4 }
  ownerReferences: [{ kind: ReplicaSet, name: client-1-7d4, controller: true }]
spec: { containers: [{ name: main }${more}] }
status: { phase: Running }
`);
    const other = template(goodWorld(bridge), "client-1", ({ metadata }) => {
      metadata.labels = { app: "web", "sidecar.istio.io/inject": "false" };
    });
    expect(codes(proxiesInjected, bridge, [...other, ...pod(", { name: istio-proxy }")])).toEqual([]);
    expect(ask(proxiesInjected, bridge, [...goodWorld(bridge), ...pod("")])).toMatchObject([
      { severity: "error", object: { kind: "Deployment", namespace: "shop", name: "client-1" } },
    ]);
  });
  it("sees what would become of pods that are not there yet", () => {
    const world = labelled(bridge, {}).filter(({ kind }) => kind !== "Deployment");
    const found = ask(proxiesInjected, bridge, world);
    expect(found.map(({ severity, code }) => `${severity} ${code}`)).toEqual(["warning no_proxy", "warning no_proxy"]);
    expect(found[0]?.message).toMatch(/^a pod of shop has no proxy/);
    expect(codes(proxiesInjected, bridge, [])).toEqual([]);
  });
});

describe("trafficCaptured", () => {
  const annotated = (model: MeshModel, name: string, key: string, value: unknown) =>
    template(goodWorld(model), name, (it) => {
      it.metadata.annotations = { [key.includes("/") ? key : `traffic.sidecar.istio.io/${key}`]: value };
    });

  it("has nothing against pods without annotations", () => {
    expect(codes(trafficCaptured, bridge, goodWorld(bridge))).toEqual([]);
  });
  it.each([
    ["server-1", "excludeInboundPorts", "8080, 20880"],
    ["server-1", "includeInboundPorts", "8080"],
    ["server-1", "includeInboundPorts", ""],
    ["server-1", "sidecar.istio.io/interceptionMode", "NONE"],
    ["client-1", "excludeOutboundPorts", "20880"],
    ["client-1", "excludeOutboundIPRanges", "10.96.0.0/16"],
    ["client-1", "includeOutboundIPRanges", "10.97.0.0/16,10.98.0.1"],
    ["client-1", "sidecar.istio.io/interceptionMode", "NONE"],
  ])("%s: %s: %s", (name, key, value) => {
    expect(codes(trafficCaptured, bridge, annotated(bridge, name, key, value))).toEqual(["error not_captured"]);
  });
  it.each([
    ["server-1", "includeInboundPorts", "*"],
    ["server-1", "excludeInboundPorts", "2088"],
    ["client-1", "excludeInboundPorts", "20880"],
    ["client-1", "includeOutboundIPRanges", "*"],
    ["client-1", "includeOutboundIPRanges", "10.96.0.10"],
    ["client-1", "excludeOutboundIPRanges", "10.97.0.0/16, nonsense"],
  ])("not %s: %s: %s", (name, key, value) => {
    expect(codes(trafficCaptured, bridge, annotated(bridge, name, key, value))).toEqual([]);
  });
  it("goes by the pods' port at servers", () => {
    expect(codes(trafficCaptured, observe, annotated(observe, "server-1", "excludeInboundPorts", "20880"))).toEqual([]);
    const world = annotated(observe, "server-1", "excludeInboundPorts", "20881");
    expect(codes(trafficCaptured, observe, world)).toEqual(["warning not_captured"]);
  });
  it("does not matter where clients connect to loopback", () => {
    const world = annotated(loopback, "client-1", "excludeOutboundPorts", "7000");
    expect(codes(trafficCaptured, loopback, world)).toEqual([]);
  });
});

describe("onlyTheseClients", () => {
  it("is said of a bridge, and of nothing else", () => {
    expect(codes(onlyTheseClients, bridge, [])).toEqual(["note other_clients"]);
    expect(codes(onlyTheseClients, withIstio(observe, {}), [])).toEqual([]);
  });
});
