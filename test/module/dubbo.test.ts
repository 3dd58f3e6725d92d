import Response from "dubbo-remoting/lib/protocol/response.js";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { type Guest, loadGuest } from "../guest.js";
import { type Attachments, decode, encodeReply, encodeRequest } from "../peers/dubbo/codec.js";

/** assembly/__bench__/encode.ts */
interface EncodeGuest extends Guest {
  change(key: number, keySize: number, value: number, valueSize: number): void;
  encode(protocol: number, side: number, at: number, size: number, id: bigint): number;
  output(): number;
}

/** Keys with their new values; null takes one out. */
type Changes = ReadonlyMap<string, string | null>;

const dubbo = 0;
const room = 1 << 20;

let guest: EncodeGuest;
let input: number;

beforeAll(async () => {
  guest = await loadGuest<EncodeGuest>("encode.ts");
  input = guest.allocate(room);
}, 60_000);

/** The frame with another id and changed metadata, as the guest writes it. */
function written(frame: Buffer, side: "client" | "server", id: bigint, changes: Changes): Buffer {
  let used = 0;
  const put = (bytes: Buffer): number => {
    const at = input + used;
    new Uint8Array(guest.memory.buffer).set(bytes, at);
    used += bytes.length;
    return at;
  };
  for (const [key, value] of changes) {
    const [name, text] = [Buffer.from(key), Buffer.from(value ?? "")];
    guest.change(put(name), name.length, value === null ? 0 : put(text), text.length);
  }
  const size = guest.encode(dubbo, side === "client" ? 0 : 1, put(frame), frame.length, id);
  return Buffer.from(Buffer.from(guest.memory.buffer, guest.output(), size));
}

function applied(attachments: Attachments, changes: Changes): Attachments {
  const result = new Map(Object.entries(attachments));
  for (const [key, value] of changes) {
    if (value === null) result.delete(key);
    else result.set(key, value);
  }
  return Object.fromEntries(result);
}

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const key = fc.oneof(fc.constantFrom("tag", "trace", "a", "ключ"), text).map((name) => `k-${name}`);
const attachments = fc.dictionary(key, text, { maxKeys: 8, noNullPrototype: true });
const changes = fc
  .array(fc.tuple(key, fc.option(text)), { maxLength: 8, minLength: 1 })
  .map((pairs) => new Map(pairs) as Changes);
const value = fc.oneof(text, fc.integer(), fc.double({ noNaN: true }), fc.boolean(), fc.array(text, { minLength: 1 }));

describe("frames with other metadata are read by another implementation", () => {
  it("requests", () => {
    fc.assert(
      fc.property(attachments, changes, value, fc.boolean(), (before, asked, argument, twoWay) => {
        const options = { attachments: before, twoWay };
        const frame = encodeRequest(7, "a.Greeter", "hello", [argument, "x"], options);
        const { id, ...rest } = decode(written(frame, "client", 9n, asked));
        const expected = decode(encodeRequest(9, "a.Greeter", "hello", [argument, "x"], options));
        if (expected.kind !== "request") throw new Error("not a request");
        expect(Number(id)).toBe(9);
        expect({ ...rest, id: expected.id }).toEqual({
          ...expected,
          attachments: applied(expected.attachments, asked),
        });
      }),
    );
  });

  it("replies without attachments, and with them", () => {
    fc.assert(
      fc.property(value, changes, changes, (result, first, second) => {
        let frame = encodeReply(7, result);
        let expected = {};
        for (const asked of [first, second]) {
          frame = written(frame, "server", 8n, asked);
          expected = applied(expected, asked);
          const { packetId, data } = Response.decode(frame);
          expect(Number(packetId)).toBe(8);
          expect(data.appResponse).toEqual(Response.decode(encodeReply(8, result)).data.appResponse);
          expect({ ...data.responseProps }).toEqual(expected);
        }
      }),
    );
  });
});
