import { describe, expect, it } from "vitest";
import { encodeCall } from "../peers/brpc.js";
import { encodeHeartbeat } from "../peers/dubbo/codec.js";
import { awesome, connect, lines, load, reply, request, samples, sum } from "./support.js";

/** A root that guesses the protocol of each connection. */
async function guessing(more: object = {}) {
  const { host } = await load();
  const root = host.configure({ protocol: "auto", service: "shop", ...more });
  return { host, root, open: () => connect(root) };
}

const echo = (id: number) => encodeCall({ id, method: "Echo", body: "hi" });
const errors = "meltemi_decode_errors_total";

describe("protocol auto", () => {
  it("counts each connection under the protocol that its client speaks", async () => {
    const { host, open } = await guessing({ log: { requests: 1, frames: true } });
    const [dubbo, brpc] = [open(), open()];
    dubbo.connection.downstream(Buffer.concat([request(1, "a.B", "x"), request(2, "a.B", "y")]));
    brpc.connection.downstream(echo(1));
    dubbo.connection.upstream(Buffer.concat([reply(1), reply(2)]));
    dubbo.connection.downstream(encodeHeartbeat(3));
    brpc.connection.close("client");

    const counted = samples(host, "meltemi_requests_total").map(({ labels, value }) => ({ ...labels, value }));
    expect(counted).toMatchObject([
      { protocol: "dubbo", service: "a.B", method: "x", status: "ok", value: 1 },
      { protocol: "dubbo", service: "a.B", method: "y", status: "ok", value: 1 },
      { protocol: "brpc", method: "Echo", status: "client_gone", value: 1 },
    ]);
    expect(sum(host, "meltemi_heartbeats_total", { protocol: "dubbo" })).toBe(1);
    expect(lines(host, "request").map(({ protocol }) => protocol)).toEqual(["dubbo", "dubbo", "brpc"]);
    expect(new Set(lines(host, "frame").map(({ protocol }) => protocol))).toEqual(new Set(["dubbo", "brpc"]));
    expect(dubbo.connection.filterState.get("wasm.meltemi.protocol")).toBe("dubbo");
    expect(brpc.connection.filterState.get("wasm.meltemi.protocol")).toBe("brpc");
    expect(sum(host, errors)).toBe(0);
  });

  it.each([
    ["what is something else", Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n")],
    ["a protocol without a magic", awesome(1, 7, { body: 100 })],
    ["a reply where a request should be", reply(1)],
  ])("lets %s pass untouched, and counts it as unknown", async (_, bytes) => {
    const { host, open } = await guessing({ direction: "inbound" });
    const seen = open();
    seen.connection.downstream(bytes);
    seen.connection.upstream(reply(1));
    seen.connection.downstream(request(1));
    expect(seen.toServer).toEqual(Buffer.concat([bytes, request(1)]));
    expect(seen.toClient).toEqual(reply(1));
    expect(samples(host, errors)).toEqual([
      { labels: { protocol: "unknown", direction: "inbound", reason: "magic" }, value: 1 },
    ]);
    expect(samples(host, "meltemi_requests_total")).toEqual([]);
    expect(seen.connection.filterState.size).toBe(0);
  });

  it("guesses nothing where the server speaks first, or before the client has said enough", async () => {
    const { host, open } = await guessing({ log: { frames: true } });
    open().connection.upstream(request(1));
    const late = open();
    late.connection.downstream(request(1).subarray(0, 15));
    expect(sum(host, errors)).toBe(1);
    late.connection.upstream(reply(1));
    late.connection.downstream(request(1).subarray(15));
    expect(sum(host, errors, { protocol: "unknown" })).toBe(2);
    expect(late.toServer).toEqual(request(1));
    expect(lines(host, "decode_error")).toMatchObject([
      { from: "server", reason: "magic", offset: 0 },
      { from: "server", reason: "magic", offset: 0 },
    ]);
    expect(lines(host, "frame")).toEqual([]);
  });

  it("says nothing of a client that leaves before it has said enough", async () => {
    const { host, open } = await guessing();
    const { connection } = open();
    connection.downstream(request(1).subarray(0, 3));
    connection.close("client");
    open().connection.close("client");
    expect(sum(host, errors)).toBe(0);
  });

  it("reads the same, however the bytes arrive", async () => {
    const frames = [encodeHeartbeat(7), request(1), request(2)];
    const all = Buffer.concat(frames);
    const linesOf = async (pieces: Buffer[]) => {
      const { host, open } = await guessing({ log: { requests: 1, frames: true } });
      const { connection } = open();
      for (const piece of pieces) connection.downstream(piece);
      connection.upstream(Buffer.concat([reply(2), reply(1)]));
      return host.logs.map(({ message }) => message);
    };
    const whole = await linesOf([all]);
    expect(whole).toHaveLength(7);
    for (const size of [1, 2, 3, 5, 7, 11, 15, 16, 17, 18, 23, 40]) {
      const pieces = Array.from({ length: Math.ceil(all.length / size) }, (_, i) =>
        all.subarray(i * size, (i + 1) * size),
      );
      expect(await linesOf(pieces)).toEqual(whole);
    }
  });

  it("counts what stops being the protocol that it was under that one", async () => {
    const { host, open } = await guessing();
    open().connection.downstream(Buffer.concat([request(1), Buffer.alloc(16)]));
    expect(sum(host, errors, { protocol: "dubbo", reason: "magic" })).toBe(1);
    expect(sum(host, "meltemi_requests_total", { protocol: "dubbo", status: "unknown" })).toBe(1);
  });

  it("is for observing only", async () => {
    const { host } = await load();
    expect(() => host.configure({ protocol: "auto", mode: "route", routes: [{ cluster: "x" }] })).toThrow(
      /^configuration: \$\.protocol: expected one of dubbo, .*, because mode is "route"$/,
    );
  });
});
