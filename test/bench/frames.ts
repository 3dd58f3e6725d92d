import { encodeReply, encodeRequest } from "../peers/dubbo/codec.js";

export const service = "org.meltemi.bench.Echo";
export const method = "echo";

/** Bytes of the string that a request carries, and its reply too. */
export const payloads = [10, 50, 1024, 10 * 1024, 100 * 1024, 1024 * 1024] as const;
export type Payload = (typeof payloads)[number];

const headLength = 16;
const magic = 0xdabb;
/** Of a 64-bit id; those here stay in its lower half. */
const idOffset = 4;

export const requestFrame = (payload: Payload) => encodeRequest(0, service, method, ["x".repeat(payload)]);
export const replyFrame = (payload: Payload) => encodeReply(0, "y".repeat(payload));

/** Copies of a frame behind each other, one for each id: what is written at once costs one system call. */
export function batch(frame: Buffer, ids: readonly number[], reused?: Buffer): Buffer {
  const into = reused ?? Buffer.allocUnsafe(frame.length * ids.length);
  for (let i = 0; i < ids.length; i++) {
    frame.copy(into, i * frame.length);
    into.writeUInt32BE(ids[i] as number, i * frame.length + idOffset + 4);
  }
  return into;
}

/** Finds the frames in a stream of bytes without keeping their bodies. */
export class FrameReader {
  private readonly head = Buffer.alloc(headLength);
  private headBytes = 0;
  private bodyBytes = 0;
  private inBody = false;

  /** `onFrame` is called at the last byte of a frame: bytes 2 and 3 (flags, status), the id, the whole length. */
  constructor(private readonly onFrame: (flags: number, id: number, length: number) => void) {}

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (!this.inBody) {
        const n = Math.min(headLength - this.headBytes, chunk.length - at);
        chunk.copy(this.head, this.headBytes, at, at + n);
        this.headBytes += n;
        at += n;
        if (this.headBytes < headLength) return;
        if (this.head.readUInt16BE(0) !== magic || this.head.readUInt32BE(idOffset) !== 0) {
          throw new Error(`not a frame of this benchmark: ${this.head.toString("hex")}`);
        }
        this.bodyBytes = this.head.readUInt32BE(12);
        this.inBody = true;
      }
      const n = Math.min(this.bodyBytes, chunk.length - at);
      this.bodyBytes -= n;
      at += n;
      if (this.bodyBytes > 0) return;
      this.inBody = false;
      this.headBytes = 0;
      const { head } = this;
      this.onFrame(head.readUInt16BE(2), head.readUInt32BE(idOffset + 4), headLength + head.readUInt32BE(12));
    }
  }
}
