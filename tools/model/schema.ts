import { z } from "zod";
import { authority, bridgedFile, bridgedRoute } from "./bridge.js";
import { duration, endpoints, keys, listenAddress, name, size } from "./fields.js";
import { istio, podLabels } from "./istio/schema.js";
import { match } from "./matcher.js";

/**
 * What meltemi.yaml may hold: the one source of the loader, of the types and of schema/meltemi.schema.json. What takes
 * more than one key to judge stands in rules.ts.
 */

/** In the place of a protocol's name: the module guesses the one of each connection. */
export const AUTO = "auto";
/** Envoy's own customary port. */
export const ADMIN = "127.0.0.1:9901";
/** Tcp_proxy keeps at most this many early bytes, so that no head can be longer. */
const HEAD_MAX = 2 ** 20;
/** The module counts bytes of one frame in 32 bits. */
const FRAME_MAX = 2 ** 32 - 1;

const subset = keys({
  name: name.describe("What routes call it; its cluster in Envoy is SERVICE|NAME."),
  endpoints: endpoints.describe("host:port of each server; new connections go to them in turn."),
  labels: podLabels.optional().describe("In Istio: labels of these servers' pods; default: version: NAME."),
});

const route = keys({
  name: z.string().min(1).max(128).optional().describe("Shown in logs and as filter state wasm.meltemi.route."),
  match: match
    .optional()
    .describe(
      "What a request (mode route: the first of a connection) must have: service, method or a metadata key, each with " +
        "a matcher. All must hold. Without match the route always applies.",
    ),
  subset: z.string().optional().describe("The subset that the request (mode route: the connection) goes to."),
  ...bridgedRoute,
});

export const schema = keys({
  protocol: z
    .string()
    .describe(
      "One of the protocols that the module speaks, such as dubbo. Mode observe: auto guesses the one of each connection " +
        "by its first bytes.",
    ),
  mode: z
    .enum(["observe", "route", "bridge"])
    .prefault("observe")
    .describe(
      "observe: measure every request, change nothing. route: also choose a subset for each connection. bridge: make " +
        "every request an HTTP request, for all that Envoy can do with these.",
    ),
  direction: z
    .enum(["outbound", "inbound"])
    .prefault("outbound")
    .describe("A label of the metrics: whose side this proxy stands on, the client's (outbound) or the server's."),
  service: keys({
    name: name.describe("Names the clusters, and labels the metrics where the protocol names no service."),
    bind: listenAddress.describe("Where Envoy listens, IP:port; a bare port means 127.0.0.1, port 0 any free one."),
    endpoints: endpoints.optional().describe("host:port of each server, where there are no subsets."),
    subsets: z.array(subset).min(1).optional().describe("Modes route and bridge: named groups of servers."),
    authority,
  }).describe("Where clients connect to and where the servers are."),
  routes: z
    .array(route)
    .min(1)
    .optional()
    .describe(
      "Modes route and bridge: the first that matches wins. What no route matches is counted, and closed (a " +
        "connection) or answered with the protocol's error (a request).",
    ),
  ...bridgedFile,
  limits: keys({
    frame: size(64, FRAME_MAX).prefault("64MiB").describe("Longest frame; what is longer counts as a decode error."),
    head: size(64, HEAD_MAX).prefault("64KiB").describe("Most bytes of one frame that are read to understand it."),
    inFlight: z
      .int()
      .min(1)
      .max(2 ** 20)
      .prefault(65536)
      .describe("Most requests tracked at once in one worker."),
    series: z
      .int()
      .min(1)
      .max(10_000)
      .prefault(1000)
      .describe("Most pairs of service and method with metrics of their own; later ones count as other."),
    wait: duration(10)
      .prefault("10s")
      .describe("Mode route: how long a connection may take to send the head of its first request."),
  })
    .prefault({})
    .describe("Bounds that keep memory in check."),
  log: keys({
    requests: z
      .int()
      .min(0)
      .max(2 ** 31 - 1)
      .prefault(0)
      .describe("0: none. N: a JSON line in Envoy's log for one in N requests."),
  })
    .prefault({})
    .describe("What Envoy's log says of requests."),
  accessLog: keys({
    path: z.string().min(1).describe("A file, or /dev/stdout."),
    format: z
      .union([z.string(), z.record(z.string(), z.string())])
      .optional()
      .describe("Envoy's command operators as a line of text, or by the keys of a JSON object."),
  })
    .optional()
    .describe("A line for each request (mode bridge) or each connection that ends (the others)."),
  istio: istio.optional().describe("Where in an Istio mesh the service and its clients are."),
  admin: listenAddress.prefault(ADMIN).describe("Envoy's admin address."),
});

type File = z.output<typeof schema>;

/** meltemi.yaml with its defaults filled in; sizes in bytes, durations in milliseconds. */
export interface Model extends File {
  /** Whether the protocol has heartbeats, as the module says: a bridge of one without them speaks HTTP/1.1 inside. */
  heartbeats: boolean;
}

export type Route = NonNullable<Model["routes"]>[number];

/** The schema for editors: what a user may write, before defaults are filled in. */
export function jsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input" });
  const only = (mode: string) => ({ properties: { mode: { const: mode } }, required: ["mode"] });
  const none = (names: string[]) => Object.fromEntries(names.map((name) => [name, false]));
  const notBridged = none(Object.keys(bridgedFile));
  const known = { not: { const: AUTO } };
  // What rules.ts checks of the modes, as far as JSON Schema can say it.
  return {
    $schema,
    title: "meltemi.yaml",
    ...rest,
    // biome-ignore-start lint/suspicious/noThenProperty: a keyword of JSON Schema
    if: only("bridge"),
    then: { properties: { protocol: known, direction: false } },
    else: {
      if: only("route"),
      then: {
        required: ["routes"],
        properties: {
          ...notBridged,
          protocol: known,
          routes: { items: { required: ["subset"], properties: none(Object.keys(bridgedRoute)) } },
          service: { required: ["subsets"], properties: none(["endpoints", "authority"]) },
        },
      },
      else: {
        properties: {
          ...notBridged,
          routes: false,
          service: { required: ["endpoints"], properties: none(["subsets", "authority"]) },
        },
      },
    },
    // biome-ignore-end lint/suspicious/noThenProperty: a keyword of JSON Schema
  };
}
