import { PbfReader } from "pbf";
import { describe, expect, it, onTestFinished } from "vitest";
import { startGrpc } from "../../../tools/envoy/grpc.fixture.js";
import { connect } from "../../peers/dubbo/client.js";
import { encodeException, encodeReply, encodeRequest } from "../../peers/dubbo/codec.js";
import { greeter, orders } from "../../peers/dubbo/server.js";
import { eventually, startProxy } from "../harness.js";
import { type Answer, many, nobody, outcome, startInstance } from "./support.js";

/* What Envoy tells of each request: access log, spans, metrics. */

const speaks: Answer = async ({ id, method, args: [wait] }) => {
  if (typeof wait === "number") await new Promise((done) => setTimeout(done, wait).unref());
  return method === "fail" ? encodeException(id, "no figs") : encodeReply(id, method);
};

describe("the access log", () => {
  it("has a line for each request: who asked whom for what by which route, and how it went", async () => {
    const [v1, v2] = [await startInstance("v1", speaks), await startInstance("v2", speaks)];
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, v2: v2.port, half: [await nobody(), v2.port] },
      routes: [
        { name: "orders", match: { service: orders }, subset: "v2" },
        { name: "again", match: { method: "again" }, subset: "half", retries: { attempts: 3 } },
        { name: "late", match: { method: "late" }, subset: "v1", timeout: "150ms" },
        { name: "rest", match: { method: { not: { exact: "lost" } } }, subset: "v1" },
      ],
    });
    const client = await connect({ port: proxy.port });
    const slow = client.call(greeter, "slow", [300]);
    await Promise.all([
      ...Array.from({ length: 30 }, () => client.call(orders, "get", ["fig"])),
      ...Array.from({ length: 10 }, () => client.call(greeter, "again")),
      ...["sayHello", "fail", "lost", "γειά σου/%"].map((method) => outcome(client.call(greeter, method))),
      outcome(client.call(greeter, "late", [3_600_000])),
      client.oneway(greeter, "tell", ["fig"]),
      slow,
    ]);
    await client.close();
    await eventually(() => expect(proxy.accessLog()).toHaveLength(47));
    const lines = proxy.accessLog();
    const at = (port: number) => `127.0.0.1:${port}`;
    const of = (method: string) => lines.filter((line) => line.method === method);
    const line = (service: string, method: string, route: string, subset: string, port: number, more: object) => ({
      ...{
        service,
        method,
        route,
        cluster: `greeter|${subset}`,
        server: at(port),
        attempts: 1,
        code: 200,
        status: null,
      },
      ...{
        flags: "-",
        start: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        client: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      },
      ...more,
    });
    const [request, reply] = [encodeRequest(9, orders, "get", ["fig"]), encodeReply(9, "get")];
    const sizes = { received_bytes: request.length, sent_bytes: reply.length };
    expect(of("get")).toEqual(
      Array(30).fill(expect.objectContaining(line(orders, "get", "orders", "v2", v2.port, sizes))),
    );
    expect(of("sayHello")).toMatchObject([line(greeter, "sayHello", "rest", "v1", v1.port, {})]);
    expect(of("fail")).toMatchObject([
      line(greeter, "fail", "rest", "v1", v1.port, { code: 500, status: "exception" }),
    ]);
    expect(of("tell")).toMatchObject([line(greeter, "tell", "rest", "v1", v1.port, {})]);
    const written = encodeURIComponent("γειά σου/%");
    expect(of(written)).toMatchObject([line(greeter, written, "rest", "v1", v1.port, {})]);
    expect(of("slow")).toMatchObject([line(greeter, "slow", "rest", "v1", v1.port, {})]);
    expect(of("slow")[0]?.duration_ms).toBeGreaterThanOrEqual(295);
    expect(of("late")).toMatchObject([
      line(greeter, "late", "late", "v1", v1.port, { code: 504, flags: "UT", details: "upstream_per_try_timeout" }),
    ]);
    expect(of("lost")).toMatchObject([
      { service: greeter, route: null, cluster: null, server: null, attempts: 0, code: 404, flags: "NR" },
    ]);
    const again = of("again");
    expect(again).toEqual(Array(10).fill(expect.objectContaining({ route: "again", server: at(v2.port), code: 200 })));
    // Half of them met the dead instance first.
    expect(again.map(({ attempts }) => attempts).sort()).toEqual([...Array(5).fill(1), ...Array(5).fill(2)]);
    expect(new Set(lines.map(({ client }) => client)).size).toBe(1);
    await proxy.assertSound();
  });
});

interface Span {
  trace: string;
  id: string;
  parent: string;
  tags: Record<string, string>;
}

/** The spans of a request to an OpenTelemetry collector, which lie three messages deep. */
function spansOf(request: Buffer): Span[] {
  return new PbfReader(request).readFields(readResource, []);
}

function readResource(tag: number, spans: Span[], message: PbfReader): void {
  if (tag === 1) message.readMessage(readScope, spans);
}

function readScope(tag: number, spans: Span[], message: PbfReader): void {
  if (tag === 2) message.readMessage(readSpans, spans);
}

function readSpans(tag: number, spans: Span[], message: PbfReader): void {
  if (tag === 2) spans.push(message.readMessage(readSpan, { trace: "", id: "", parent: "", tags: {} }));
}

function readSpan(tag: number, span: Span, message: PbfReader): void {
  const hex = () => Buffer.from(message.readBytes()).toString("hex");
  if (tag === 1) span.trace = hex();
  if (tag === 2) span.id = hex();
  if (tag === 4) span.parent = hex();
  if (tag !== 9) return;
  const { key, value } = message.readMessage(readAttribute, { key: "", value: "" });
  span.tags[key] = value;
}

function readAttribute(tag: number, attribute: { key: string; value: string }, message: PbfReader): void {
  if (tag === 1) attribute.key = message.readString();
  if (tag === 2)
    message.readMessage((tag, it, value) => {
      if (tag === 1) it.value = value.readString();
    }, attribute);
}

describe("tracing", () => {
  it("adds a span to the trace that a frame carries, begins one where it has none, and tells the server", async () => {
    const v1 = await startInstance("v1", speaks);
    const spans: Span[] = [];
    const collector = await startGrpc((request) => {
      spans.push(...spansOf(request));
      return Buffer.alloc(0);
    });
    onTestFinished(collector.stop);
    const tracing = { openTelemetry: `127.0.0.1:${collector.port}` };
    const proxy = await startProxy(
      { mode: "bridge", endpoints: [v1.port], tracing },
      {
        // Otherwise spans wait for four more, or for five seconds.
        change: (made) => ({
          ...made,
          layered_runtime: {
            layers: [{ name: "tests", static_layer: { "tracing.opentelemetry.min_flush_spans": 1 } }],
          },
        }),
      },
    );
    const client = await connect({ port: proxy.port });
    const traces = Array.from({ length: 20 }, (_, i) => ({
      trace: `4bf92f3577b34da6a3ce929d0e0e47${i + 10}`,
      parent: `00f067aa0ba902${i + 10}`,
    }));
    await Promise.all(
      traces.map(({ trace, parent }, i) => {
        const attachments = { traceparent: `00-${trace}-${parent}-01`, tracestate: "figs=1", number: `${i}` };
        return client.call(orders, "get", [], { attachments });
      }),
    );
    await client.call(greeter, "sayHello");
    await client.call(greeter, "quiet", [], {
      attachments: { traceparent: `00-${traces[0]?.trace}-00f067aa0ba902b7-00` },
    });
    await outcome(client.call(greeter, "fail"));
    await eventually(() => expect(spans).toHaveLength(22));

    for (const [i, { trace, parent }] of traces.entries()) {
      const span = spans.find((span) => span.trace === trace);
      expect(span).toMatchObject({
        parent,
        tags: { "rpc.service": orders, "rpc.method": "get", "http.status_code": "200" },
      });
      const { attachments } = v1.requests.find((request) => request.attachments.number === `${i}`) ?? {};
      expect(attachments).toMatchObject({ traceparent: `00-${trace}-${span?.id}-01`, tracestate: "figs=1" });
    }
    const begun = spans.find(({ tags }) => tags["rpc.method"] === "sayHello");
    const hello = v1.requests.find(({ method }) => method === "sayHello")?.attachments;
    expect(begun).toMatchObject({ trace: expect.stringMatching(/^[0-9a-f]{32}$/), parent: "" });
    expect(hello?.traceparent).toBe(`00-${begun?.trace}-${begun?.id}-01`);
    expect(spans.find(({ tags }) => tags["rpc.method"] === "fail")?.tags).toMatchObject({ "http.status_code": "500" });
    // Who began this trace did not want to see it.
    const quiet = v1.requests.find(({ method }) => method === "quiet")?.attachments.traceparent;
    expect(quiet).toMatch(new RegExp(`^00-${traces[0]?.trace}-[0-9a-f]{16}-00$`));
    // Nothing else of Envoy's own reaches the frame.
    const keys = new Set(v1.requests.flatMap(({ attachments }) => Object.keys(attachments)));
    expect([...keys].sort()).toEqual(["dubbo", "interface", "number", "traceparent", "tracestate"]);
    expect(hello).not.toHaveProperty("tracestate");
    await client.close();
    await proxy.assertSound();
  });
});

describe("the metrics", () => {
  it("count each request where it is lifted and each attempt where it is lowered, bytes included", async () => {
    const [v1, dead] = [await startInstance("v1", speaks), await nobody()];
    const proxy = await startProxy({
      mode: "bridge",
      subsets: { v1: v1.port, both: [v1.port, dead] },
      routes: [
        { match: { method: "again" }, subset: "both", retries: { attempts: 2 } },
        { match: { method: "fail" }, subset: "v1", retries: { attempts: 2, retryOn: "500" } },
        { match: { method: "late" }, subset: "v1", timeout: "100ms" },
        { subset: "v1" },
      ],
    });
    const client = await connect({ port: proxy.port });
    const held = many(7, () => client.call(greeter, "held", [1_000_000]));
    await many(100, () => client.call(greeter, "hi", ["fig"]));
    await many(10, () => client.call(orders, "again"));
    await many(10, () => client.call(greeter, "fail"));
    await many(10, () => client.call(greeter, "late", [400]));
    for (let i = 0; i < 5; i++) await client.oneway(greeter, "tell");
    const row = (direction: string, service: string, method: string, status: string, requests: number) => ({
      ...{ direction, service, method, status, requests },
    });
    await eventually(async () => {
      const rows = await proxy.requests();
      expect(
        rows.map(({ direction, service, method, status, requests }) =>
          row(direction, service, method, status, requests),
        ),
      ).toEqual([
        row("inbound", greeter, "fail", "exception", 30),
        row("inbound", greeter, "hi", "ok", 100),
        row("inbound", greeter, "late", "client_gone", 10),
        row("inbound", greeter, "tell", "oneway", 5),
        row("inbound", orders, "again", "ok", 10),
        row("outbound", greeter, "fail", "exception", 10),
        row("outbound", greeter, "hi", "ok", 100),
        row("outbound", greeter, "late", "timeout", 10),
        row("outbound", greeter, "tell", "oneway", 5),
        row("outbound", orders, "again", "ok", 10),
      ]);
      const request = encodeRequest(9, greeter, "hi", ["fig"]).length;
      const reply = encodeReply(9, "hi").length;
      for (const it of rows.filter(({ method }) => method === "hi")) {
        expect(it).toMatchObject({ requestBytes: 100 * request, responseBytes: 100 * reply, durations: 100 });
      }
      for (const direction of ["outbound", "inbound"]) {
        expect(await proxy.metric("meltemi_in_flight", { direction }), direction).toBe(7);
        expect(await proxy.metric("meltemi_in_flight", { direction, method: "held" }), direction).toBe(7);
      }
    });
    // The servers' late replies to `late` belong to nobody.
    const unmatched = () => proxy.metric("meltemi_unmatched_responses_total", { direction: "inbound" });
    await eventually(async () => expect(await unmatched()).toBe(10));
    await client.heartbeat();
    await eventually(async () =>
      expect(await proxy.metric("meltemi_heartbeats_total", { direction: "outbound" })).toBe(1),
    );
    await client.close();
    expect((await held).map(String)).toEqual(Array(7).fill(expect.stringMatching(/^ConnectionLost/)));
    await eventually(async () => {
      for (const direction of ["outbound", "inbound"]) {
        const gone = { direction, method: "held", status: "client_gone" };
        expect(await proxy.metric("meltemi_requests_total", gone), direction).toBe(7);
      }
      expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    });
    expect(client.unexpected).toBe(0);
    await proxy.assertSound();
  });
});
