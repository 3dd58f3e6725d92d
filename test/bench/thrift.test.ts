import { PassThrough } from "node:stream";
import thrift from "thrift";
import { describe, expect, test } from "vitest";
import { batch, method, payloads } from "./frames.js";
import { ThriftEnd, thriftFrame, thriftLayout } from "./thrift.js";

/** What another implementation reads out of a frame. */
function read(frame: Buffer): unknown[] {
  expect(frame.readUInt32BE(0)).toBe(frame.length - 4);
  const protocol = new thrift.TBinaryProtocol(new thrift.TFramedTransport(frame.subarray(4)), true);
  const { fname, mtype, rseqid } = protocol.readMessageBegin();
  protocol.readStructBegin();
  const { ftype, fid } = protocol.readFieldBegin();
  const value = protocol.readString();
  protocol.readFieldEnd();
  expect(ftype).toBe(thrift.Thrift.Type.STRING);
  expect(protocol.readFieldBegin().ftype).toBe(thrift.Thrift.Type.STOP);
  return [fname, mtype, rseqid, fid, value];
}

describe("Thrift's frames of the benchmark", () => {
  test("are those that another implementation reads, with an id of their own", () => {
    expect(read(batch(thriftFrame(1, 1, 50), [7], thriftLayout))).toEqual([method, 1, 7, 1, "x".repeat(50)]);
    expect(read(batch(thriftFrame(2, 0, 10), [8], thriftLayout))).toEqual([method, 2, 8, 0, "x".repeat(10)]);
  });

  test("go from one end to the other, wherever the stream is cut", () => {
    const stream = new PassThrough();
    const client = new ThriftEnd("client", stream, () => {});
    const sent = payloads.slice(0, 3).flatMap((payload, i) => [[10 + i, payload] as const, [20 + i, payload] as const]);
    for (const [id, payload] of sent) client.queue(payload, id);
    client.flush();
    const bytes = stream.read() as Buffer;
    for (const size of [1, 3, 19, 20, 21, 100, bytes.length]) {
      const seen: unknown[] = [];
      const server = new ThriftEnd("server", new PassThrough(), (...message) => seen.push(message));
      for (let at = 0; at < bytes.length; at += size) server.push(bytes.subarray(at, at + size));
      expect(seen).toEqual(sent);
    }
  });

  test("are not anything else", () => {
    const server = new ThriftEnd("server", new PassThrough(), () => {});
    expect(() => server.push(thriftFrame(2, 0, 10))).toThrow("not a message of this benchmark: type 2");
    expect(() => server.push(Buffer.alloc(20))).toThrow("not a frame of this benchmark: 0000");
  });
});
