import { type Guest, loadGuest } from "./guest.js";

/** assembly/__bench__/encode.ts */
interface EncodeGuest extends Guest {
  change(key: number, keySize: number, value: number, valueSize: number): void;
  encode(protocol: number, side: number, at: number, size: number, id: bigint): number;
  error(protocol: number, at: number, size: number, reason: number, message: number, messageSize: number): number;
  output(): number;
  readonly sofabolt: { readonly value: number };
}

/** As assembly/codec/codec.ts numbers them. */
export const reasons = [
  "no_route",
  "unavailable",
  "timeout",
  "rate_limited",
  "denied",
  "too_large",
  "bad_request",
  "internal",
] as const;
export type Reason = (typeof reasons)[number];

/** What a codec writes, without a host. */
export interface Encoding {
  /** The frame with another id and changed metadata, null takes a key out; undefined where it has no place for that. */
  encode(
    frame: Buffer,
    side: "client" | "server",
    id: number,
    changes?: Record<string, string | null>,
  ): Buffer | undefined;
  /** The reply to a request that no server answered. */
  error(request: Buffer, reason: Reason, message: string): Buffer;
}

export async function loadEncoding(protocol: "sofabolt"): Promise<Encoding> {
  const guest = await loadGuest<EncodeGuest>("encode.ts");
  const number = guest[protocol].value;
  const room = 4 << 20;
  const input = guest.allocate(room);
  let used = 0;
  const put = (bytes: Buffer): number => {
    if (used + bytes.length > room) throw new Error("there is no room for so many bytes");
    const at = input + used;
    new Uint8Array(guest.memory.buffer).set(bytes, at);
    used += bytes.length;
    return at;
  };
  const output = (size: number) => Buffer.from(Buffer.from(guest.memory.buffer, guest.output(), size));
  return {
    encode(frame, side, id, changes = {}) {
      used = 0;
      for (const [key, value] of Object.entries(changes)) {
        const [name, text] = [Buffer.from(key), Buffer.from(value ?? "")];
        guest.change(put(name), name.length, value === null ? 0 : put(text), text.length);
      }
      const size = guest.encode(number, side === "client" ? 0 : 1, put(frame), frame.length, BigInt(id));
      return size > 0 ? output(size) : undefined;
    },
    error(request, reason, message) {
      used = 0;
      const text = Buffer.from(message);
      const [at, behind] = [put(request), put(text)];
      return output(guest.error(number, at, request.length, reasons.indexOf(reason), behind, text.length));
    },
  };
}
