import type { Payload } from "./frames.js";
import { isThrift, type Variant, variants } from "./proxies.js";

export interface Scenario {
  readonly name: string;
  readonly connections: number;
  /** So many of them send. */
  readonly active: number;
  /** On each active connection. */
  readonly inFlight: number;
  readonly payload: Payload;
  readonly variants: readonly Variant[];
}

/** Without those that leave something out, which are for taking a cost apart, and with one private protocol. */
const whole = variants.filter((variant) => variant !== "bridge, client leg" && !isThrift(variant));

export const pipelining: readonly Scenario[] = [1, 16].flatMap((inFlight) =>
  [1, 16].map((connections) => ({
    name: `${connections} connection${connections > 1 ? "s" : ""} x ${inFlight}`,
    ...({ connections, active: connections, inFlight, payload: 50, variants } as const),
  })),
);

/** What the other scenarios of a bridge are held against. */
export const busiest = pipelining[3] as Scenario;

const sizes: [string, Payload][] = [
  ["10 B", 10],
  ["1 KiB", 1024],
  ["10 KiB", 10 * 1024],
  ["100 KiB", 100 * 1024],
  ["1 MiB", 1024 * 1024],
  ["16 MiB", 16 * 1024 * 1024],
];

export const bodies: readonly Scenario[] = sizes.map(([size, payload]) => {
  // Of the longest a few are more than sockets and windows hold.
  const connections = size === "16 MiB" ? 4 : 16;
  return { name: `bodies of ${size}`, connections, active: connections, inFlight: 1, payload, variants: whole };
});

/** `most`: the connections that the limit of open files allows. */
export function crowds(most: number): readonly Scenario[] {
  return [10, 100, 1000, most].map((n) => {
    const active = Math.min(10, n);
    const name = `${n.toLocaleString("en-US")} connections, ${active} busy`;
    return { name, connections: n, active, inFlight: 1, payload: 50, variants: whole };
  });
}
