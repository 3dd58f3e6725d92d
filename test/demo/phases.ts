import { greeter, orders } from "../peers/dubbo/server.js";

/** What came of a phase's calls so far. */
export class Seen {
  calls = 0;
  errors = 0;
  /** Right replies by the version that wrote them. */
  readonly by = { v1: 0, v2: 0 };
  /** Calls that took 75 ms or longer: Envoy's timer of 100 ms now and then fires early. */
  slow = 0;
  /** What it ran, in all its rounds. */
  seconds = 0;
  rounds = 0;

  get ok(): number {
    return this.by.v1 + this.by.v2;
  }
}

export type Version = keyof Seen["by"];

/** One rule of meltemi.yaml, calls that it is for, and what it makes of them. */
export interface Phase {
  /** Of the rule as well. */
  readonly name: string;
  /** What the rule says, in a few words. */
  readonly rule: string;
  readonly service: string;
  readonly method: string;
  readonly args: unknown[];
  readonly attachments?: Readonly<Record<string, string>>;
  /** Calls of one round; about five seconds of them. */
  readonly calls: number;
  /** Which version wrote the reply; undefined where none of them writes that. */
  readonly writtenBy: (reply: unknown) => Version | undefined;
  /** The one error that calls may end in. */
  readonly error?: {
    /** What the client reads. */
    readonly text: string;
    /** What the module calls the outcome, and what the view calls what Envoy did. */
    readonly status: string;
    readonly intervention: string;
    /** Whether the server has got the request all the same. */
    readonly served?: true;
  };
  /** What came of it, in numbers. */
  readonly told: (seen: Seen, envoy: Figures) => string;
  /** Claims that do not hold, in words. What all phases claim is in story.ts. */
  readonly broken: (seen: Seen, envoy: Figures) => readonly string[];
  /** The second server of v1 is down meanwhile. */
  readonly serverDown?: true;
}

/** What Envoy has counted so far, by the view's words: `retried`, `delayed` ... */
export type Figures = (name: string) => number;

/** A meltemi.yaml with a rule for each phase, by its name. Ports: two servers of v1, one of v2. */
export const yaml = (
  v1: readonly number[],
  v2: number,
) => `# Every Dubbo request goes its own way. Written anew at each start, because ports change.
protocol: dubbo
mode: bridge
service:
  name: greeter
  bind: 127.0.0.1:0
  subsets:
    - { name: v1, endpoints: [${v1.map((port) => `127.0.0.1:${port}`).join(", ")}] }
    - { name: v2, endpoints: [127.0.0.1:${v2}] }
routes:
  - { name: metadata, match: { dubbo.tag: gray }, subset: v2 }
  - { name: retries, match: { method: get }, subset: v1, retries: { attempts: 3 } }
  - { name: timeout, match: { method: slow }, subset: v1, timeout: 100ms }
  - { name: limit, match: { method: create }, subset: v1, rateLimit: { requests: 10, per: 1s } }
  - { name: faults, match: { method: add }, subset: v1,
      fault: { abort: { httpStatus: 503, percentage: 20 }, delay: { fixedDelay: 100ms, percentage: 50 } } }
  - { name: weights, route: [{ subset: v1, weight: 90 }, { subset: v2, weight: 10 }] }
authorization:
  - { name: denied, action: DENY, match: { method: crash } }
admin: 127.0.0.1:0
`;

const hello = { service: greeter, method: "sayHello", args: ["fig"] };
const versions: readonly Version[] = ["v1", "v2"];
const helloFrom = (reply: unknown) => versions.find((version) => reply === `Hello fig from ${version}`);

/** In the order in which they are shown. */
export const phases: readonly Phase[] = [
  {
    name: "weights",
    rule: "90 % to v1, 10 % to v2",
    ...hello,
    calls: 400,
    writtenBy: helloFrom,
    told: ({ ok, by }) => `v1 ${by.v1}, v2 ${by.v2} (${percent(by.v2, ok)} of ${ok})`,
    broken: ({ ok, by }) => unless(plausible(by.v2, ok, 0.1), `v2 got ${by.v2} of ${ok}`),
  },
  {
    name: "metadata",
    rule: "dubbo.tag: gray goes to v2",
    ...hello,
    attachments: { "dubbo.tag": "gray" },
    calls: 300,
    writtenBy: helloFrom,
    told: ({ calls, by }) => `v2 ${by.v2} of ${calls}`,
    broken: ({ by }) => unless(by.v1 === 0, `v1 got ${by.v1}`),
  },
  {
    name: "retries",
    rule: "one of v1's two servers is down",
    service: orders,
    method: "get",
    args: [-1],
    calls: 400,
    writtenBy: (reply) => (reply === null ? "v1" : undefined),
    told: ({ calls, errors }, envoy) => `${envoy("retried")} retries, ${errors} errors in ${calls} calls`,
    // The server's turn comes with every other attempt, but for what was under way when it went down.
    broken: ({ calls }, envoy) => unless(envoy("retried") >= Math.floor(calls / 4), `${envoy("retried")} retries`),
    serverDown: true,
  },
  {
    name: "faults",
    rule: "20 % aborted, 50 % delayed by 100 ms",
    service: greeter,
    method: "add",
    args: [20, 22],
    calls: 300,
    writtenBy: (reply) => (reply === 42 ? "v1" : undefined),
    error: { text: "HTTP 503: fault filter abort", status: "unavailable", intervention: "aborted" },
    told: ({ calls, errors }, envoy) => `${errors} aborted, ${envoy("delayed")} delayed of ${calls}`,
    broken: ({ calls, errors, slow }, envoy) => [
      ...unless(plausible(errors, calls, 0.2), `${errors} of ${calls} were aborted`),
      ...unless(plausible(envoy("delayed"), calls, 0.5), `${envoy("delayed")} of ${calls} were delayed`),
      ...unless(slow >= envoy("delayed"), `${slow} took their time, although ${envoy("delayed")} were delayed`),
    ],
  },
  {
    name: "timeout",
    rule: "100 ms for what takes 300 ms",
    service: greeter,
    method: "slow",
    args: [300],
    calls: 150,
    writtenBy: () => undefined,
    error: { text: "HTTP 504: upstream request timeout", status: "timeout", intervention: "timed out", served: true },
    told: ({ calls, errors }) => `${errors} of ${calls} timed out`,
    broken: () => [],
  },
  {
    name: "limit",
    rule: "10 a second",
    service: orders,
    method: "create",
    args: ["fig", 1],
    calls: 400,
    writtenBy: (reply) => versions.find((version) => (reply as { version?: string } | null)?.version === version),
    error: { text: "HTTP 429: local_rate_limited", status: "rate_limited", intervention: "rate limited" },
    told: ({ ok, errors }) => `${ok} passed, ${errors} limited`,
    broken: ({ calls, ok, seconds, rounds }) =>
      unless(ok >= Math.min(10, calls) && ok <= 10 * (Math.ceil(seconds) + 2 * rounds), `${ok} of ${calls} passed`),
  },
  {
    name: "denied",
    rule: "nobody may call crash",
    service: greeter,
    method: "crash",
    args: [],
    calls: 250,
    writtenBy: () => undefined,
    error: { text: "HTTP 403: RBAC: access denied", status: "denied", intervention: "denied" },
    told: ({ calls, errors }) => `${errors} of ${calls} denied`,
    broken: () => [],
  },
];

const unless = (holds: boolean, claim: string) => (holds ? [] : [claim]);

const percent = (part: number, of: number) => `${of === 0 ? "-" : ((100 * part) / of).toFixed(1)} %`;

/** Whether so many of `n` may well have been picked by chance: within five standard deviations, and one. */
function plausible(picked: number, n: number, share: number): boolean {
  return Math.abs(picked - n * share) <= 1 + 5 * Math.sqrt(n * share * (1 - share));
}
