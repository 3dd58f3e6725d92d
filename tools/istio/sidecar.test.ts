import { describe, expect, it } from "vitest";
import { UserError } from "../errors.js";
import { INSTANCE, type IstioObject, MANAGED_BY, type Resource, servedBy } from "./resource.js";
import { mergeSidecars, rivals } from "./sidecar.js";

type Labels = Record<string, string>;

/** A Sidecar for pods of the namespace shop, or of the one that stands before the name with a slash. */
function sidecar(path: string, labels: Labels | undefined, spec: object, set?: string): IstioObject {
  const [name = "", namespace = "shop"] = path.split("/").reverse();
  return {
    apiVersion: "networking.istio.io/v1",
    kind: "Sidecar",
    metadata: { name, namespace, ...(set && { labels: { [MANAGED_BY]: "meltemi", [INSTANCE]: set } }) },
    spec: { ...(labels && { workloadSelector: { labels } }), ...spec },
  };
}

/** One of ours, of a service. */
function ours(name: string, labels: Labels | undefined, spec: object, set = "a.shop"): Resource {
  return { object: sidecar(name, labels, spec, set), why: `Why ${name}.` };
}

const rest = { hosts: ["*/*"] };
const egress = (number: number, bind = "10.0.0.1") => ({
  port: { number, protocol: "HTTP2", name: `http2-${number}` },
  bind,
  hosts: ["*/*"],
});
const ingress = (number: number, defaultEndpoint = `127.0.0.1:${number}`) => ({
  port: { number, protocol: "TCP", name: `tcp-${number}` },
  defaultEndpoint,
});
const web = { app: "web" };
const forWeb = (number = 80, set?: string) => ours("clients-web", web, { egress: [egress(number), rest] }, set);

/** What comes of them, by name. */
function merged(resources: Resource[], existing: IstioObject[] = []): Record<string, unknown> {
  return Object.fromEntries(
    mergeSidecars(resources, existing).map(({ object: { metadata, spec } }) => [
      `${metadata.namespace}/${metadata.name}`,
      spec,
    ]),
  );
}

function refusal(resources: Resource[], existing: IstioObject[] = []): string {
  try {
    mergeSidecars(resources, existing);
  } catch (error) {
    if (error instanceof UserError && error.code === "E_SIDECAR") return `${error.message}. ${error.options.hint}`;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("Sidecars of one command", () => {
  it("stay apart, and all else where it is, where they are for different pods", () => {
    const plugin: Resource = { object: { ...sidecar("plugin", web, {}), kind: "WasmPlugin" }, why: "" };
    const all = [forWeb(), plugin, ours("other/clients-web", web, { egress: [rest] }), ours("x", { app: "x" }, {})];
    expect(mergeSidecars(all)).toEqual(all);
  });

  it("are joined where they are for the same pods: a client of two services, which serves as well", () => {
    const resources = [
      forWeb(80),
      ours("clients-web.b", { ...web }, { egress: [egress(81), rest] }, "b.shop"),
      ours("servers.c", web, { ingress: [ingress(90)] }, "c.shop"),
    ];
    const [only, ...more] = mergeSidecars(resources);
    expect(more).toEqual([]);
    expect(only?.why).toBe(
      "Why clients-web. Why clients-web.b. It is of a.shop and serves b.shop too: delete both, or apply b.shop again. " +
        "Why servers.c. It is of a.shop and serves c.shop too: delete both, or apply c.shop again.",
    );
    expect(only?.object).toMatchObject(
      sidecar("clients-web", web, { ingress: [ingress(90)], egress: [egress(80), egress(81), rest] }, "a.shop"),
    );
  });

  it("cannot have two services on the same port, of which Istio would take the first", () => {
    expect(refusal([forWeb(), ours("b", web, { egress: [egress(80, "10.0.0.2"), rest] })])).toBe(
      "the Sidecars shop/clients-web and shop/b are for the same pods, and have port 80 for different things (HTTP2 " +
        "10.0.0.1; HTTP2 10.0.0.2). A Sidecar has each port number only once: give one of the Services another port.",
    );
    // Listeners at the same address of loopback look alike, and are for two services all the same.
    expect(refusal([forWeb(), ours("b", web, { egress: [egress(80), rest] })])).toContain("port 80");
    expect(
      refusal([ours("a", web, { ingress: [ingress(80)] }), ours("b", web, { ingress: [ingress(80, "127.0.0.1:81")] })]),
    ).toContain("(TCP to 127.0.0.1:80; TCP to 127.0.0.1:81)");
  });

  it("may both list a port of the pods, by whatever name", () => {
    const other = { ...ingress(80), port: { number: 80, protocol: "TCP", name: "tcp-dubbo-80" } };
    const resources = [ours("a", web, { ingress: [ingress(80), ingress(81)] }), ours("b", web, { ingress: [other] })];
    expect(merged(resources)["shop/a"]).toMatchObject({ ingress: [ingress(81), other] });
  });

  it("for all pods of a namespace stand in those for some of them, too, wherever they come", () => {
    const all = ours("clients", undefined, { egress: [egress(80), rest] });
    const servers = ours("servers", { app: "x" }, { ingress: [ingress(90)] });
    const elsewhere = ours("other/clients-web", web, { egress: [egress(81), rest] });
    const expected = {
      "shop/clients": { egress: [egress(80), rest] },
      "shop/servers": {
        workloadSelector: { labels: { app: "x" } },
        ingress: [ingress(90)],
        egress: [egress(80), rest],
      },
      "other/clients-web": elsewhere.object.spec,
    };
    expect(merged([all, servers, elsewhere])).toEqual(expected);
    expect(merged([elsewhere, servers, all])).toEqual(expected);
  });

  it("must not select some of the same pods", () => {
    expect(refusal([forWeb(), ours("b", { ...web, tier: "front" }, { egress: [rest] })])).toBe(
      'the Sidecars shop/clients-web ({"app":"web"}) and shop/b ({"app":"web","tier":"front"}) select some of the same ' +
        "pods. Istio heeds only one Sidecar for each pod. Use the same labels in both, so that they can be joined.",
    );
  });
});

describe("with Sidecars that are there already", () => {
  const theirs = (path: string, labels: Labels | undefined, spec: object) => sidecar(path, labels, spec);
  const narrow = { hosts: ["./*"] };

  it("those for other pods change nothing", () => {
    const existing = [theirs("x", { app: "x" }, { egress: [narrow] }), theirs("other/web", web, { egress: [narrow] })];
    expect(mergeSidecars([forWeb()], existing)).toEqual([forWeb()]);
  });

  it("one for the same pods gets our entries, and stays whose it is", () => {
    const existing = theirs("web", web, {
      outboundTrafficPolicy: { mode: "REGISTRY_ONLY" },
      egress: [{ port: { number: 6379, protocol: "TCP", name: "redis" }, hosts: ["./redis"] }, narrow],
    });
    Object.assign(existing.metadata, { uid: "1", resourceVersion: "2", generation: 3, labels: { team: "web" } });
    Object.assign(existing, { status: {} });
    existing.metadata.annotations = { "kubectl.kubernetes.io/last-applied-configuration": "{}", owner: "web" };
    const [resource] = mergeSidecars([forWeb()], [existing]);
    expect(resource?.why).toBe("Your Sidecar web, with what is needed here. Why clients-web.");
    expect(resource?.object).toEqual({
      apiVersion: "networking.istio.io/v1",
      kind: "Sidecar",
      metadata: { name: "web", namespace: "shop", labels: { team: "web" }, annotations: { owner: "web" } },
      spec: {
        workloadSelector: { labels: web },
        egress: [{ port: { number: 6379, protocol: "TCP", name: "redis" }, hosts: ["./redis"] }, egress(80), narrow],
        outboundTrafficPolicy: { mode: "REGISTRY_ONLY" },
      },
    });
    // And so it is the next time, with what was added then.
    const again = resource as Resource;
    expect(mergeSidecars([forWeb()], [again.object])).toEqual([again]);
  });

  it("an entry for the same port gives way, unless it is for another address", () => {
    const old = { port: { number: 80, protocol: "TCP", name: "old" }, hosts: ["./a"] };
    expect(merged([forWeb()], [theirs("web", web, { egress: [old, narrow] })])["shop/web"]).toMatchObject({
      egress: [egress(80), narrow],
    });
    const elsewhere = theirs("web", web, { egress: [{ ...old, bind: "10.0.0.9" }, narrow] });
    expect(refusal([forWeb()], [elsewhere])).toContain("(TCP 10.0.0.9; HTTP2 10.0.0.1)");
  });

  it("one for all pods of the namespace, else of the root namespace, is what ours starts from", () => {
    const root = theirs("istio-system/default", undefined, { egress: [{ hosts: ["istio-system/*"] }] });
    const own = theirs("default", undefined, { workloadSelector: { labels: {} }, egress: [narrow] });
    const spec = (last: object) => ({ workloadSelector: { labels: web }, egress: [egress(80), last] });
    expect(merged([forWeb()], [root])).toEqual({ "shop/clients-web": spec({ hosts: ["istio-system/*"] }) });
    const [resource] = mergeSidecars([forWeb()], [root, own]);
    expect(resource?.object).toEqual({ ...forWeb().object, spec: spec(narrow) });
    expect(resource?.why).toBe(
      "Why clients-web. Everything else is as in shop/default, which no longer counts for these pods.",
    );
  });

  it("ours for all pods is joined with theirs for all, and with each of theirs for some", () => {
    const all = ours("clients", undefined, { egress: [egress(80), rest] });
    const existing = [
      theirs("default", undefined, { egress: [narrow] }),
      theirs("x", { app: "x" }, { egress: [narrow] }),
    ];
    expect(merged([all], existing)).toEqual({
      "shop/default": { egress: [egress(80), narrow] },
      "shop/x": { workloadSelector: { labels: { app: "x" } }, egress: [egress(80), narrow] },
    });
  });

  it("ours of an earlier time are none of them", () => {
    const earlier = sidecar("clients-web", web, { egress: [egress(79), rest] }, "a.shop");
    expect(mergeSidecars([forWeb()], [earlier])).toEqual([forWeb()]);
  });

  it("one of another service cannot be joined, but both can be written together", () => {
    const other = sidecar("clients-web.b", web, { egress: [egress(81), rest] }, "b.shop");
    expect(refusal([forWeb()], [other])).toBe(
      "the Sidecar shop/clients-web.b for the same pods belongs to b.shop, which was applied by this tool as well. Give " +
        "both files to one command, so that they share a Sidecar: meltemi apply ONE.yaml OTHER.yaml",
    );
    expect(Object.keys(merged([forWeb(), { object: other, why: "" }], [other]))).toEqual(["shop/clients-web"]);
  });

  it("one for some of the same pods is in the way", () => {
    expect(refusal([forWeb()], [theirs("front", { ...web, tier: "front" }, { egress: [narrow] })])).toContain(
      'the Sidecars shop/front ({"app":"web","tier":"front"}) and shop/clients-web ({"app":"web"}) select some of the same',
    );
  });
});

describe("services that share a Sidecar", () => {
  const first = ours("servers.a.shop", web, { ingress: [ingress(80)] }, "a.shop");
  const second = forWeb(90, "b.shop");

  it("are named on it, in whatever order they come", () => {
    const named = (...resources: Resource[]) => mergeSidecars(resources).map(({ object }) => servedBy(object));
    expect(named(first, second)).toEqual([["a.shop", "b.shop"]]);
    expect(named(second, first)).toEqual([["a.shop", "b.shop"]]);
    expect(named(first)).toEqual([["a.shop"]]);
    expect(servedBy(sidecar("theirs", web, {}))).toEqual([]);
  });

  it("have rivals in those of others for the same pods, and not in their own", () => {
    const theirs = sidecar("theirs", web, { egress: [rest] });
    const forAll = sidecar("default", undefined, { egress: [rest] });
    const elsewhere = sidecar("else/where", web, { egress: [rest] });
    expect(rivals([first], [theirs, elsewhere, first.object])).toEqual(["shop/theirs"]);
    expect(rivals([first], [forAll])).toEqual(["shop/default"]);
    expect(() => rivals([first], [second.object])).toThrow(expect.objectContaining({ code: "E_SIDECAR" }));
  });
});
