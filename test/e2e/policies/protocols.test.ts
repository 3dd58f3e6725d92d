import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { describeModule } from "../../../tools/model/module.js";
import { defaultModule } from "../../../tools/paths.js";
import { ended, eventually, type Running, startProxy } from "../harness.js";
import { type PeerClient, peers } from "./peers.js";
import { many, tally } from "./support.js";

/* The same policies for every protocol: what Envoy does is not Dubbo's alone. */

/** A server of no protocol, that does the same with whatever comes. It ends with the test. */
async function startDeaf(onData: (socket: Socket) => void) {
  const sockets = new Set<Socket>();
  let heard = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", () => {
      heard++;
      onData(socket);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return {
    port: (server.address() as AddressInfo).port,
    /** How often bytes came. */
    get heard() {
      return heard;
    },
  };
}

/** Requests by direction and status, of everything that is not zero. */
async function counted(proxy: Running): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { direction, status, requests } of await proxy.requests()) {
    const name = `${direction} ${status}`;
    counts[name] = (counts[name] ?? 0) + requests;
  }
  return counts;
}

it("are proven for every protocol of the module", () => {
  const spoken = describeModule(defaultModule).protocols.map(({ name }) => name);
  expect([...new Set(peers.map(({ protocol }) => protocol))].sort()).toEqual(spoken.sort());
});

describe.each(peers.map((peer) => [peer.name, peer] as const))("%s", (_, peer) => {
  const { protocol, key, errors, refused } = peer;

  /** Who answers n calls with this value, or the errors; on a busy machine either of two timeouts may come first. */
  const ask = async (client: PeerClient, value: number, n: number) =>
    tally(
      (await many(n, () => client.call(value))).map((reply) =>
        String(reply)
          .replace(/^.* from .*(?=v\d$)/, "")
          .replace(/(upstream request|downstream duration) timeout$/, "timeout"),
      ),
    );

  it(`is routed by ${key}, request by request, and retried; faults and timeouts are errors of its own`, async () => {
    const [v1, v2] = [ended(await peer.startServer("v1")), ended(await peer.startServer("v2"))];
    const mute = await startDeaf(() => {});
    const breaking = await startDeaf((socket) => socket.destroy());
    const at = (value: number) => ({ match: { [key]: String(value) } });
    const proxy = await startProxy({
      mode: "bridge",
      protocol,
      subsets: { v1: v1.port, v2: v2.port, mute: mute.port, half: [breaking.port, v1.port] },
      routes: [
        { ...at(1), subset: "v1" },
        { match: { [key]: { oneOf: ["2", "3"] } }, subset: "v2" },
        { ...at(4), subset: "v1", fault: { abort: { httpStatus: 503 } } },
        { ...at(5), subset: "mute", timeout: "200ms" },
        { ...at(-7), subset: "v1", retries: { attempts: 2, retryOn: "5xx" } },
        { ...at(8), subset: "half", retries: { attempts: 1 } },
      ],
    });
    const client = await peer.connect(proxy.port);
    const n = 30;
    const values = [1, 2, 3, 4, 5, 6, ...(refused ? [-7] : [])];
    expect(await Promise.all(values.map((value) => ask(client, value, n)))).toEqual([
      { v1: n },
      { v2: n },
      { v2: n },
      { [errors.unavailable]: n },
      { [errors.timeout]: n },
      { [errors.noRoute]: n },
      ...(refused ? [{ [refused.error]: n }] : []),
    ]);
    expect(mute.heard).toBeGreaterThan(0);
    // The connection goes on, and one instance hides that the other breaks off.
    for (let i = 0; i < 10; i++) expect(await ask(client, 8, 1)).toEqual({ v1: 1 });
    expect(breaking.heard).toBeGreaterThan(4);
    await client.close();
    await eventually(async () => {
      expect(await counted(proxy)).toEqual({
        ...{ "outbound ok": 3 * n + 10, "inbound ok": 3 * n + 10, "inbound upstream_gone": breaking.heard },
        ...{ "outbound timeout": n, "inbound client_gone": n, "outbound unavailable": n, "outbound no_route": n },
        // Three tries each.
        ...(refused && { [`outbound ${refused.status}`]: n, [`inbound ${refused.status}`]: 3 * n }),
      });
    });
    expect(await proxy.metric("meltemi_in_flight")).toBe(0);
    await proxy.assertSound();
  });
});
