import { isIP } from "node:net";
import { z } from "zod";
import { type Address, type Parsed, parseAddress, parseDuration, parseSize } from "./units.js";
import { oneOf } from "./words.js";

/**
 * What meltemi.yaml may hold: the one source of the loader, of the types and of schema/meltemi.schema.json. What takes
 * more than one key to judge stands in rules.ts.
 *
 * A message here finishes the sentence "expected ...": the loader says what it found and where.
 */

/** Envoy's own customary port. */
export const ADMIN = "127.0.0.1:9901";
/** Tcp_proxy keeps at most this many early bytes, so that no head can be longer. */
const HEAD_MAX = 2 ** 20;
/** The module counts bytes of one frame in 32 bits. */
const FRAME_MAX = 2 ** 32 - 1;

/** An object that takes no other keys; the list of those it takes travels in the message of the issue. */
function keys<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? oneOf(Object.keys(shape)) : undefined),
  });
}

/** Turns a parser of tools/model/units.ts into a transformation; `check` answers what else is wrong. */
function reading<In, Out>(
  parse: (input: In) => Parsed<Out>,
  expected: string,
  check: (value: Out) => string | undefined = () => undefined,
) {
  return (input: In, context: z.RefinementCtx<In>): Out => {
    const parsed = parse(input);
    const wrong = "wrong" in parsed ? parsed.wrong : check(parsed.value);
    if (wrong === undefined && "value" in parsed) return parsed.value;
    context.issues.push({ code: "custom", message: expected, input, params: { wrong } });
    return z.NEVER;
  };
}

/** `pattern` is for editors; the transformation behind it says in words what is wrong. */
const textOrNumber = (pattern: RegExp) => z.union([z.string().meta({ pattern: pattern.source }), z.int().min(0)]);

const hostAndPort = textOrNumber(/^(.+:)?\d{1,5}$/);

const listenAddress = hostAndPort.transform(
  reading(parseAddress, 'an IP address and a port such as "127.0.0.1:20880"', ({ host }: Address) =>
    isIP(host) ? undefined : "Envoy listens on an IP address, not on a name",
  ),
);

const endpoint = hostAndPort.transform(
  reading(parseAddress, 'host:port such as "127.0.0.1:20881"', ({ port }: Address) =>
    port === 0 ? "nobody can connect to port 0" : undefined,
  ),
);

const between = (min: number, max: number, unit: string) => (value: number) =>
  value < min ? `less than ${min} ${unit}` : value > max ? `more than ${max} ${unit}` : undefined;

const size = (min: number, max: number) =>
  textOrNumber(/^\d+ *(B|KiB|MiB|GiB)?$/).transform(
    reading(parseSize, 'a size such as "64KiB" or "16MiB"', between(min, max, "bytes")),
  );

const duration = z
  .string('a duration such as "10s" or "500ms"')
  .meta({ pattern: "^\\d+ *(ms|s|m|h)$" })
  .transform(reading(parseDuration, 'a duration such as "10s" or "500ms"', between(10, 3_600_000, "ms")));

// Names become part of Envoy's cluster names, where `|` divides, and of metric labels.
const name = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "letters, digits, dots, dashes and underscores");

const endpoints = z.array(endpoint).min(1);

/** Exactly one key is set. */
export interface Matcher {
  exact?: string;
  prefix?: string;
  suffix?: string;
  regex?: string;
  oneOf?: string[];
  range?: { min?: number; max?: number };
  present?: boolean;
  not?: Matcher;
}

const matcherKeys = {
  exact: z.string().optional().describe("The value is this text."),
  prefix: z.string().optional().describe("The value starts with this text."),
  suffix: z.string().optional().describe("The value ends with this text."),
  regex: z
    .string()
    .optional()
    .describe("The whole value matches this regular expression: no anchors, look-around or back references."),
  oneOf: z.array(z.string()).min(1).optional().describe("The value is one of these texts."),
  range: keys({ min: z.int().optional().describe("The least."), max: z.int().optional().describe("The greatest.") })
    .refine(({ min, max }) => min !== undefined || max !== undefined, {
      error: "min, max or both",
      params: { wrong: "there is no bound" },
    })
    .refine(({ min, max }) => min === undefined || max === undefined || min <= max, {
      error: "the smaller number as min",
      params: { wrong: "min is above max" },
    })
    .meta({ minProperties: 1 })
    .optional()
    .describe("The value is a whole number between min and max, both included; one of them may be missing."),
  present: z.boolean().optional().describe("Whether the frame has the key at all."),
  get not(): z.ZodOptional<z.ZodType<Matcher, unknown>> {
    return matcher.optional().describe("The other matcher does not match.");
  },
};

const matcherObject = keys(matcherKeys)
  .refine((value) => Object.keys(value).length === 1, {
    error: oneOf(Object.keys(matcherKeys)),
    params: { wrong: "a matcher has exactly one key" },
    // An unknown key has been named already.
    when: ({ issues }) => issues.length === 0,
  })
  .meta({ id: "matcherObject", minProperties: 1, maxProperties: 1 });

const matcher: z.ZodType<Matcher, unknown> = z
  .union([
    z
      .string()
      .transform((exact) => ({ exact }))
      .describe("Short for { exact: text }."),
    matcherObject as z.ZodType<Matcher, unknown>,
  ])
  .meta({ id: "matcher" });

const subset = keys({
  name: name.describe("What routes call it; its cluster in Envoy is SERVICE|NAME."),
  endpoints: endpoints.describe("host:port of each server; new connections go to them in turn."),
});

const route = keys({
  name: z.string().min(1).max(128).optional().describe("Shown in logs and as filter state wasm.meltemi.route."),
  match: z
    .record(z.string(), matcher)
    .optional()
    .describe(
      "What the first request of a connection must have: service, method or a metadata key, each with a matcher. " +
        "All must hold. Without match the route always applies.",
    ),
  subset: z.string().describe("The subset that the connection goes to."),
});

export const schema = keys({
  protocol: z.string().describe("One of the protocols that the module speaks, such as dubbo."),
  mode: z
    .enum(["observe", "route"])
    .prefault("observe")
    .describe("observe: measure every request, change nothing. route: also choose a subset for each connection."),
  direction: z
    .enum(["outbound", "inbound"])
    .prefault("outbound")
    .describe("A label of the metrics: whose side this proxy stands on, the client's (outbound) or the server's."),
  service: keys({
    name: name.describe("Names the clusters, and labels the metrics where the protocol names no service."),
    bind: listenAddress.describe("Where Envoy listens, IP:port; a bare port means 127.0.0.1, port 0 any free one."),
    endpoints: endpoints.optional().describe("Mode observe: host:port of each server that connections go to."),
    subsets: z.array(subset).min(1).optional().describe("Mode route: named groups of servers."),
  }).describe("Where clients connect to and where the servers are."),
  routes: z
    .array(route)
    .min(1)
    .optional()
    .describe("Mode route: the first that matches wins. A connection that no route matches is closed and counted."),
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
    wait: duration
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
  admin: listenAddress.prefault(ADMIN).describe("Envoy's admin address."),
});

/** meltemi.yaml with its defaults filled in; sizes in bytes, durations in milliseconds. */
export type Model = z.output<typeof schema>;

/** The schema for editors: what a user may write, before defaults are filled in. */
export function jsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input" });
  return {
    $schema,
    title: "meltemi.yaml",
    ...rest,
    // What rules.ts checks of the modes, as far as JSON Schema can say it.
    if: { properties: { mode: { const: "route" } }, required: ["mode"] },
    // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
    then: {
      required: ["routes"],
      properties: { service: { required: ["subsets"], properties: { endpoints: false } } },
    },
    else: { properties: { routes: false, service: { required: ["endpoints"], properties: { subsets: false } } } },
  };
}
