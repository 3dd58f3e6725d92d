import { z } from "zod";
import { duration, endpoint, keys, name, percentage, reading } from "./fields.js";
import { match } from "./matcher.js";
import type { Parsed } from "./units.js";
import { oneOf } from "./words.js";

/*
 * The keys of meltemi.yaml that only mode bridge has. They are Istio's words, of VirtualService, DestinationRule and
 * AuthorizationPolicy, wherever Istio has one.
 */

/** When Envoy sends a request again. */
export interface RetryOn {
  /** Envoy's words. */
  conditions: string[];
  /** HTTP status codes that count as well. */
  codes: number[];
}

/** Envoy's conditions that can come true here: the others look at gRPC's trailers or at headers that nobody sends. */
const RETRY_CONDITIONS = [
  "connect-failure",
  "refused-stream",
  "reset",
  "reset-before-request",
  "gateway-error",
  "5xx",
  "retriable-4xx",
  "retriable-status-codes",
];

/** What a dead server looks like. A request may have reached it all the same, which is why nothing retries unasked. */
const RETRY_ON = "connect-failure,refused-stream,reset";

/** Reads Istio's list: Envoy's conditions and status codes, with commas between them. */
function parseRetryOn(text: string): Parsed<RetryOn> {
  const words = text.split(",").map((word) => word.trim());
  const isCode = (word: string) => /^[45]\d\d$/.test(word);
  const wrong = words.find((word) => !isCode(word) && !RETRY_CONDITIONS.includes(word));
  if (wrong !== undefined) return { wrong: wrong === "" ? "a word is missing" : `there is no condition "${wrong}"` };
  const codes = words.filter(isCode).map(Number);
  const conditions = words.filter((word) => !isCode(word));
  const byCode = "retriable-status-codes";
  if (conditions.includes(byCode) && codes.length === 0) return { wrong: `${byCode} without a status code` };
  if (codes.length > 0 && !conditions.includes(byCode)) conditions.push(byCode);
  return { value: { conditions, codes } };
}

const share = percentage.prefault(100).describe("Of how many requests in a hundred; fractions are allowed.");

const headerChanges = keys({
  set: z
    .record(z.string(), z.string())
    .optional()
    .describe(
      "Metadata keys and their new values. Envoy's command operators such as %DOWNSTREAM_REMOTE_ADDRESS% are filled " +
        "in; %% is a percent sign.",
    ),
  remove: z.array(z.string()).min(1).optional().describe("Metadata keys to take out."),
});

const destination = keys({
  subset: z.string().describe("The subset that requests go to."),
  weight: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional()
    .describe("Its share of the sum of all weights; may be left out where there is one destination."),
});

/** The keys of a route that only mode bridge has. */
export const bridgedRoute = {
  route: z.array(destination).min(1).optional().describe("Mode bridge: several subsets, each with its weight."),
  timeout: duration(1)
    .optional()
    .describe("Mode bridge: how long a request may take, with its retries. None unless asked for."),
  retries: keys({
    attempts: z.int().min(1).max(100).describe("How often a request is sent again at the most."),
    perTryTimeout: duration(1).optional().describe("How long each of them may take; default: only timeout counts."),
    retryOn: z
      .string()
      .transform(reading(parseRetryOn, oneOf([...RETRY_CONDITIONS, "a status code such as 503"])))
      .prefault(RETRY_ON)
      .describe(
        `Envoy's conditions and status codes, with commas. The default, ${RETRY_ON}, also sends a request again that ` +
          "the server may have begun before its connection broke.",
      ),
  })
    .optional()
    .describe("Mode bridge: sends failed requests again, to another server where there is one."),
  fault: keys({
    abort: keys({
      httpStatus: z.int().min(400).max(599).describe("Stands for the protocol's error: 503 unavailable, 429 ..."),
      percentage: share,
    })
      .optional()
      .describe("Answers with an error instead of asking a server."),
    delay: keys({ fixedDelay: duration(1).describe("How long a request is held."), percentage: share })
      .optional()
      .describe("Holds requests before they go on."),
  })
    .refine(({ abort, delay }) => abort !== undefined || delay !== undefined, {
      error: "abort, delay or both",
      params: { wrong: "there is no fault" },
    })
    .meta({ minProperties: 1 })
    .optional()
    .describe("Mode bridge: failures on purpose."),
  mirror: keys({ subset: z.string().describe("The subset that gets the copies."), percentage: share })
    .optional()
    .describe("Mode bridge: sends copies of requests to another subset and drops the replies."),
  headers: keys({
    request: headerChanges.optional().describe("Of requests."),
    response: headerChanges.optional().describe("Of replies."),
  })
    .optional()
    .describe("Mode bridge: changes metadata, where the protocol can carry the change."),
  rateLimit: keys({
    requests: z.int().min(1).max(1_000_000_000).describe("How many requests may pass ..."),
    per: duration(50).prefault("1s").describe("... in this time, over all connections and workers of this Envoy."),
    burst: z
      .int()
      .min(1)
      .max(1_000_000_000)
      .optional()
      .describe("How many may pass at once after a pause; default: requests."),
  })
    .optional()
    .describe("Mode bridge: answers what is too much with the protocol's error for an overload."),
};

const trafficPolicy = keys({
  loadBalancer: keys({
    simple: z.enum(["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"]).optional().describe("How the next server is chosen."),
    consistentHash: keys({ key: z.string().describe("service, method or a metadata key.") })
      .optional()
      .describe("Requests that are alike in this key go to the same server; those without it to any."),
  })
    .refine(({ simple, consistentHash }) => (simple === undefined) !== (consistentHash === undefined), {
      error: "one of simple, consistentHash",
      params: { wrong: "a load balancer has exactly one key" },
      when: ({ issues }) => issues.length === 0,
    })
    .meta({ minProperties: 1, maxProperties: 1 })
    .optional()
    .describe("Which server of a subset a request goes to; default: each in turn."),
  outlierDetection: keys({
    consecutiveGatewayErrors: z
      .int()
      .min(1)
      .optional()
      .describe(
        "Takes a server out after so many failures in a row that no service wrote: no connection, a timeout, 502 to 504. " +
          "Default 5 where consecutive5xxErrors is not given.",
      ),
    consecutive5xxErrors: z
      .int()
      .min(1)
      .optional()
      .describe("The same, where exceptions of the service count as well."),
    interval: duration(1).prefault("10s").describe("How often servers are looked at for a way back."),
    baseEjectionTime: duration(1).prefault("30s").describe("How long a server stays out, times how often it was."),
    maxEjectionPercent: z.int().min(0).max(100).prefault(10).describe("How many servers may be out; one always may."),
  })
    .optional()
    .describe("Takes servers that keep failing out for a while."),
  retryBudget: keys({
    percent: percentage.prefault(20).describe("Retries under way, of a hundred requests under way."),
    minRetryConcurrency: z.int().min(0).prefault(3).describe("Retries that may always be under way."),
  })
    .optional()
    .describe("Bounds retries while many requests fail; default: no bound."),
})
  .optional()
  .describe("Mode bridge: how requests are spread over servers.");

const authorizationRule = keys({
  name: z.string().min(1).max(128).optional().describe("Shown in Envoy's statistics and logs."),
  action: z.enum(["ALLOW", "DENY"]).describe("DENY counts before ALLOW. Once there is an ALLOW, one must match."),
  match: match.optional().describe("As in routes; without it every request."),
});

/** Keys of the whole file that only mode bridge has. */
export const bridgedFile = {
  leg: z
    .enum(["both", "client", "server"])
    .optional()
    .describe(
      "Mode bridge: both (default): from client to server in one Envoy. client: endpoints are other Envoys, with the " +
        "server's leg. server: takes HTTP from Envoys with the client's leg.",
    ),
  trafficPolicy,
  authorization: z
    .array(authorizationRule)
    .min(1)
    .optional()
    .describe("Mode bridge: who may call what. Requests that may not get the protocol's error."),
  rateLimitService: keys({
    address: endpoint.describe("host:port of a server of Envoy's rate limit API (gRPC)."),
    domain: name.prefault("meltemi").describe("What its configuration calls these limits."),
    descriptors: z
      .array(z.array(z.string()).min(1))
      .min(1)
      .describe("Each a list of keys: service, method, metadata keys. A request that lacks one skips that descriptor."),
    timeout: duration(1).prefault("20ms").describe("How long a request waits for its answer."),
    failOpen: z.boolean().prefault(true).describe("Whether requests pass while it does not answer."),
  })
    .optional()
    .describe("Mode bridge: asks a server that counts for all proxies whether a request may pass."),
  tracing: keys({
    openTelemetry: endpoint.describe("host:port of a collector (OTLP over gRPC)."),
    sampling: percentage.prefault(100).describe("Of how many requests in a hundred a trace is begun."),
  })
    .optional()
    .describe("Mode bridge: a span for each request; a traceparent that a frame carries is continued."),
};

/** A key of the service that only mode bridge has. */
export const authority = z
  .string()
  .max(253)
  .regex(/^[A-Za-z0-9._~-]+(:\d{1,5})?$/, 'a host name such as "greeter.default.svc"')
  .optional()
  .describe("Mode bridge: :authority of every request; default: the address that the client connected to.");
