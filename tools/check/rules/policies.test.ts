import { describe, expect, it } from "vitest";
import { ask, codes, goldens, goodWorld, objects } from "../world.fixture.js";
import { mutualTlsAlone, noTcpRoutes, policiesSeeRequests, routesAlone, subsetsAlone } from "./policies.js";

const [observe, route, bridge, policies, loopback] = await goldens(
  "observe",
  "route",
  "bridge",
  "bridge-policies",
  "bridge-loopback",
);

const OURS = "{ app.kubernetes.io/managed-by: meltemi, app.kubernetes.io/instance: greeter.shop }";

const istio = (kind: string, spec: string, { namespace = "shop", labels = "{}" } = {}) =>
  objects(`
apiVersion: ${kind.endsWith("n") || kind.endsWith("y") ? "security" : "networking"}.istio.io/v1
kind: ${kind}
metadata: { name: other, namespace: ${namespace}, labels: ${labels} }
spec: ${spec}
`);
const virtualService = (spec: string, at = {}) => istio("VirtualService", spec, at);

describe("routesAlone", () => {
  it.each(["greeter", "greeter.shop.svc.cluster.local"])("sees another for %s", (host) => {
    expect(codes(routesAlone, bridge, virtualService(`{ hosts: [${host}] }`))).toEqual([
      "warning two_virtual_services",
    ]);
  });
  it.each([
    ["another host", "{ hosts: [web] }", {}],
    ["the same name elsewhere", "{ hosts: [greeter] }", { namespace: "elsewhere" }],
    ["a gateway", "{ hosts: [greeter], gateways: [edge] }", {}],
    ["ours", "{ hosts: [greeter] }", { labels: OURS }],
  ])("has nothing against %s", (_, spec, at) => {
    expect(codes(routesAlone, bridge, virtualService(spec, at))).toEqual([]);
  });
  it("does not matter where there are no routes of ours", () => {
    expect(codes(routesAlone, loopback, virtualService("{ hosts: [cache] }"))).toEqual([]);
  });
});

describe("noTcpRoutes", () => {
  const tcp = (routes: string) => virtualService(`{ hosts: [greeter], gateways: [mesh], tcp: [{ route: ${routes} }] }`);
  const one = "[{ destination: { host: greeter } }]";
  const two = "[{ destination: { host: a }, weight: 50 }, { destination: { host: b }, weight: 50 }]";

  it("refuses weights in mode route, and only mentions others", () => {
    expect(codes(noTcpRoutes, route, tcp(two))).toEqual(["error tcp_routes"]);
    expect(codes(noTcpRoutes, route, tcp(one))).toEqual(["note tcp_routes"]);
  });
  it("says that they do not count in a bridge, nor matter in mode observe", () => {
    expect(codes(noTcpRoutes, bridge, tcp(one))).toEqual(["warning tcp_routes"]);
    expect(codes(noTcpRoutes, observe, tcp(two))).toEqual([]);
  });
  it("has nothing against routes of HTTP", () => {
    expect(codes(noTcpRoutes, route, virtualService("{ hosts: [greeter], http: [{}] }"))).toEqual([]);
  });
});

describe("subsetsAlone", () => {
  const rule = (spec: string, namespace = "shop") => istio("DestinationRule", spec, { namespace });
  const full = "greeter.shop.svc.cluster.local";

  it("sees subsets of the same name", () => {
    expect(ask(subsetsAlone, route, rule("{ host: greeter, subsets: [{ name: v1 }, { name: x }] }"))).toMatchObject([
      { severity: "warning", code: "destination_rule", message: expect.stringContaining("has subset v1 too") },
    ]);
    expect(codes(subsetsAlone, route, rule("{ host: greeter, subsets: [{ name: x }], trafficPolicy: {} }"))).toEqual(
      [],
    );
    expect(codes(subsetsAlone, policies, rule("{ host: greeter, trafficPolicy: {} }"))).toEqual([
      "warning destination_rule",
    ]);
  });
  it("sees that one beside the clients hides ours", () => {
    for (const host of [full, '"*.local"', '"*"']) {
      expect(codes(subsetsAlone, policies, rule(`{ host: ${host} }`, "backoffice"))).toEqual([
        "error destination_rule",
      ]);
    }
    expect(codes(subsetsAlone, policies, rule("{ host: greeter }", "backoffice"))).toEqual([]);
  });
  it.each([
    ["elsewhere", full],
    ["istio-system", full],
    ["shop", "web"],
  ])("has nothing against one in %s for %s", (namespace, host) => {
    expect(codes(subsetsAlone, policies, rule(`{ host: ${host}, subsets: [{ name: v1 }] }`, namespace))).toEqual([]);
  });
  it("does not matter where we have none", () => {
    expect(codes(subsetsAlone, observe, rule(`{ host: ${full} }`, "backoffice"))).toEqual([]);
  });
});

describe("mutualTlsAlone", () => {
  const peer = (spec: string, at = {}) => [...goodWorld(policies), ...istio("PeerAuthentication", spec, at)];
  const pods = "selector: { matchLabels: { app: greeter } }";

  it("sees another for the servers' pods", () => {
    expect(ask(mutualTlsAlone, policies, peer(`{ ${pods}, mtls: { mode: STRICT } }`))).toMatchObject([
      {
        severity: "warning",
        code: "peer_authentication",
        hint: "Add to it portLevelMtls: { 30881: { mode: DISABLE }, 9000: { mode: DISABLE } }",
      },
    ]);
  });
  it.each([
    ["all pods", "{ mtls: { mode: STRICT } }", {}],
    ["other pods", "{ selector: { matchLabels: { app: web } } }", {}],
    ["another namespace", `{ ${pods} }`, { namespace: "elsewhere" }],
    ["ours", `{ ${pods} }`, { labels: OURS }],
    ["the same", `{ ${pods}, portLevelMtls: { 30881: { mode: DISABLE }, 9000: { mode: DISABLE } } }`, {}],
  ])("has nothing against one for %s", (_, spec, at) => {
    expect(codes(mutualTlsAlone, policies, peer(spec, at))).toEqual([]);
  });
  it("does not matter without servers.http", () => {
    expect(codes(mutualTlsAlone, bridge, peer(`{ ${pods} }`))).toEqual([]);
  });
});

describe("policiesSeeRequests", () => {
  const policy = (spec: string, at = {}) => [...goodWorld(bridge), ...istio("AuthorizationPolicy", spec, at)];

  it.each([
    '{ rules: [{ to: [{ operation: { paths: ["/x/*"] } }] }] }',
    '{ action: DENY, selector: { matchLabels: { app: greeter } }, rules: [{ when: [{ key: "request.headers[user]" }] }] }',
    '{ rules: [{ from: [{ source: { requestPrincipals: ["*"] } }] }] }',
    '{ rules: [{ to: [{ operation: { methods: [POST], ports: ["20880"] } }] }] }',
  ])("sees %s", (spec) => {
    expect(codes(policiesSeeRequests, bridge, policy(spec))).toEqual(["warning requests_unseen"]);
  });
  it("sees one of the whole mesh", () => {
    const world = policy('{ rules: [{ to: [{ operation: { paths: ["/x"] } }] }] }', { namespace: "istio-system" });
    expect(codes(policiesSeeRequests, bridge, world)).toEqual(["warning requests_unseen"]);
  });
  it("says what comes of it", () => {
    const conditions = 'rules: [{ to: [{ operation: { paths: ["/x"] } }] }]';
    const [allow] = ask(policiesSeeRequests, bridge, policy(`{ ${conditions} }`));
    const [deny] = ask(policiesSeeRequests, bridge, policy(`{ action: DENY, ${conditions} }`));
    expect(allow?.message).toContain("(ALLOW)");
    expect(allow?.message).toContain("lets nothing pass");
    expect(deny?.message).toContain("leaves these conditions out");
  });
  it.each([
    [
      "connections",
      '{ rules: [{ from: [{ source: { principals: ["*"] } }], to: [{ operation: { ports: ["1"] } }] }] }',
      {},
    ],
    ["other ports", '{ rules: [{ to: [{ operation: { paths: ["/x"], ports: ["80"] } }] }] }', {}],
    ["all but these ports", '{ rules: [{ to: [{ operation: { paths: ["/x"], notPorts: ["20880"] } }] }] }', {}],
    [
      "other pods",
      '{ selector: { matchLabels: { app: web } }, rules: [{ to: [{ operation: { paths: ["/"] } }] }] }',
      {},
    ],
    ["a waypoint", '{ targetRefs: [{ name: w }], rules: [{ to: [{ operation: { paths: ["/"] } }] }] }', {}],
    ["another namespace", '{ rules: [{ to: [{ operation: { paths: ["/"] } }] }] }', { namespace: "elsewhere" }],
  ])("has nothing against one for %s", (_, spec, at) => {
    expect(codes(policiesSeeRequests, bridge, policy(spec, at))).toEqual([]);
  });
  it("is what servers.http is for", () => {
    const world = policy('{ rules: [{ to: [{ operation: { paths: ["/x"] } }] }] }');
    expect(codes(policiesSeeRequests, policies, world)).toEqual([]);
    expect(codes(policiesSeeRequests, observe, world)).toEqual([]);
  });
});
