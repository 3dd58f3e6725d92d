import { expect, it } from "vitest";
import { connect } from "../../peers/dubbo/client.js";
import { encodeReply } from "../../peers/dubbo/codec.js";
import { greeter } from "../../peers/dubbo/server.js";
import { buildJava, type Java } from "../../peers/dubbo-java.js";
import { ended, eventually, startProxy } from "../harness.js";
import { failure, startScripted } from "./peers.js";

const java: Java | null = await buildJava();

/** A bridge in which each method but `echo` fails in its own way. */
async function failing() {
  const server = await startScripted(({ id, method, args }, socket) => {
    if (method === "attachment") socket.resetAndDestroy();
    else if (method !== "slow") socket.write(encodeReply(id, args[0]));
  });
  return startProxy({
    mode: "bridge",
    endpoints: [server.port],
    authorization: [{ action: "DENY", match: { method: "sayHello" } }],
    routes: [
      { match: { method: "add" }, rateLimit: { requests: 1, per: "1h" } },
      { match: { method: "notified" }, fault: { abort: { httpStatus: 503, percentage: 100 } } },
      { match: { method: "slow" }, timeout: "200ms" },
      { match: { method: { oneOf: ["echo", "sayHello", "attachment"] } } },
    ],
  });
}

/** What each failure is to Dubbo, and what it says. */
const failures: { method: string; argument: string | number; status: number; kind: string; message: RegExp }[] = [
  { method: "sayHello", argument: "fig", status: 80, kind: "network", message: /HTTP 403: RBAC: access denied/ },
  { method: "add", argument: 1, status: 100, kind: "network", message: /HTTP 429: local_rate_limited/ },
  { method: "notified", argument: "fig", status: 80, kind: "network", message: /HTTP 503: fault filter abort/ },
  { method: "slow", argument: 60_000, status: 31, kind: "timeout", message: /HTTP 504: / },
  { method: "attachment", argument: "fig", status: 80, kind: "network", message: /HTTP 50[23]: / },
];

it("what Envoy refuses is an error to Node's client, at once, on a connection that stays", async () => {
  const proxy = await failing();
  const client = await connect({ port: proxy.port });
  expect(await client.call(greeter, "add", [1])).toBe(1);
  for (const { method, argument, status, message } of failures) {
    const error = await failure(client.call(greeter, method, [argument]));
    expect(error, method).toMatchObject({ name: "StatusError", status });
    expect(error.message).toMatch(message);
    expect(await client.call(greeter, "echo", ["fig"])).toBe("fig");
  }
  await client.close();
  await proxy.assertSound();
});

const missing = java ? "" : ": there is no Maven or no JDK here";

it.skipIf(!java)(
  `what Envoy refuses is an exception of Dubbo's own to Java's client, which keeps the connection alive${missing}`,
  async () => {
    const proxy = await failing();
    const caller = ended((java as Java).caller("127.0.0.1", proxy.port, 1000));
    expect(await caller.call("add", 1)).toMatchObject({ value: 1 });
    for (const { method, argument, kind, message } of failures) {
      const outcome = await caller.call(method, argument);
      expect(outcome, method).toMatchObject({ exception: "org.apache.dubbo.rpc.RpcException", kind });
      expect(outcome.message).toMatch(message);
      expect(outcome.ms).toBeLessThan(2000);
      expect(await caller.call("echo", "fig")).toMatchObject({ value: "fig" });
    }
    // Again at the same time, but for the reset, which ends the connection to the server for all that is on it.
    const refused = failures.filter(({ method }) => method !== "attachment");
    const all = refused.flatMap(({ method, argument, kind }) => [
      { method, argument, ends: kind },
      { method: "echo", argument: "fig", ends: "fig" },
    ]);
    const outcomes = await Promise.all(all.map(({ method, argument }) => caller.call(method, argument)));
    expect(outcomes.map(({ value, kind }) => value ?? kind)).toEqual(all.map(({ ends }) => ends));

    // Idle, it asks whether the other side is there; each time it is.
    const heartbeats = () => proxy.metric("meltemi_heartbeats_total", { direction: "outbound" });
    const before = await heartbeats();
    await eventually(async () => expect(await heartbeats()).toBeGreaterThanOrEqual(before + 3));
    expect(await caller.call("echo", "fig")).toMatchObject({ value: "fig" });
    expect((await proxy.envoy.stats())["http.meltemi.downstream_cx_total"]).toBe(1);
    await proxy.assertSound();
  },
);
