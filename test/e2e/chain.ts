import { expect } from "vitest";
import { eventually, type Row, type Rules, type Running, startProxy } from "./harness.js";
import { digests, startTap, type Tap } from "./tap.js";

/** An Envoy between peers that speak one protocol, with a tap on both sides of it. */
export interface Chain {
  readonly behind: Tap;
  readonly before: Tap;
  readonly proxy: Running;
  /** Waits until all has passed and is counted: `SERVICE METHOD STATUS` and how often. Throws where anything is wrong. */
  counted(options?: Counted): Promise<Record<string, number>>;
}

interface Counted {
  /** Bytes of each side that belong to no request and no reply: heartbeats. `any` where that is for the peers to say. */
  others?: { client: number; server: number } | "any";
}

/** Rules with `routes` have the server as subset `right`, and nobody as `wrong`. */
export async function startChain(server: number, protocol: string, rules: Pick<Rules, "routes"> = {}): Promise<Chain> {
  const behind = await startTap(server, { dubbo: false });
  const servers: Rules = rules.routes
    ? { mode: "route", subsets: { right: behind.port, wrong: 1 } }
    : { endpoints: [behind.port] };
  const proxy = await startProxy({ protocol, ...servers, ...rules });
  const before = await startTap(proxy.port, { dubbo: false });
  return {
    behind,
    before,
    proxy,
    async counted({ others = { client: 0, server: 0 } } = {}) {
      await eventually(() => expect(digests(before)).toEqual(digests(behind)));
      const bytes = (side: "fromClient" | "fromServer") =>
        before.connections.reduce((sum, it) => sum + it[side].bytes, 0);
      // What a server asks goes the other way.
      const sum = (rows: Row[], asked: "requestBytes" | "responseBytes", back: typeof asked) =>
        rows.reduce((sum, row) => sum + (row.direction === "outbound" ? row[asked] : row[back]), 0);
      await eventually(async () => {
        const rows = await proxy.requests();
        const heartbeats = {
          client: bytes("fromClient") - sum(rows, "requestBytes", "responseBytes"),
          server: bytes("fromServer") - sum(rows, "responseBytes", "requestBytes"),
        };
        if (others === "any") expect(Math.min(heartbeats.client, heartbeats.server)).toBeGreaterThanOrEqual(0);
        else expect(heartbeats).toEqual(others);
        expect(await proxy.metric("meltemi_in_flight")).toBe(0);
      });
      expect(await proxy.metric("meltemi_decode_errors_total")).toBe(0);
      expect(await proxy.metric("meltemi_unmatched_responses_total")).toBe(0);
      await proxy.assertSound();
      const name = ({ direction, service, method, status }: Row) =>
        `${direction === "inbound" ? "from the server: " : ""}${service} ${method} ${status}`;
      return Object.fromEntries((await proxy.requests()).map((row) => [name(row), row.requests]));
    },
  };
}
