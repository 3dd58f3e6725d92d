import { describe, expect, test } from "vitest";
import { decode } from "../peers/dubbo/codec.js";
import { batch, dubboLayout, FrameReader, method, payloads, replyFrame, requestFrame, service } from "./frames.js";
import { format } from "./report.js";
import { median, spread } from "./stats.js";

describe("frames of the benchmark", () => {
  test("are those of a real client and server, with an id of their own", () => {
    const request = requestFrame(50);
    const [, second] = [0, 1].map((i) => batch(request, [7, 8]).subarray(i * request.length, (i + 1) * request.length));
    expect(decode(second as Buffer)).toMatchObject({ kind: "request", id: 8, service, method, args: ["x".repeat(50)] });
    expect(decode(batch(replyFrame(10), [9]))).toMatchObject({
      kind: "reply",
      id: 9,
      status: 20,
      value: "y".repeat(10),
    });
  });

  test("can be told apart by their lengths", () => {
    expect(new Set(payloads.map((payload) => requestFrame(payload).length)).size).toBe(payloads.length);
  });

  test("are found wherever the stream is cut", () => {
    const stream = Buffer.concat([batch(requestFrame(10), [1, 2]), batch(requestFrame(50), [3])]);
    for (let size = 1; size <= stream.length; size++) {
      const seen: number[][] = [];
      const reader = new FrameReader(dubboLayout, (head, length) =>
        seen.push([head.readUInt16BE(2), head.readUInt32BE(8), length]),
      );
      for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size));
      expect(seen).toEqual([
        [0xc200, 1, requestFrame(10).length],
        [0xc200, 2, requestFrame(10).length],
        [0xc200, 3, requestFrame(50).length],
      ]);
    }
  });

  test("are not anything else", () => {
    const reader = new FrameReader(dubboLayout, () => {});
    expect(() => reader.push(Buffer.alloc(16))).toThrow(/^not a frame of this benchmark: 0000/);
  });
});

test("a median is the middle, its spread half of what the middle half covers", () => {
  expect(median([5, 1, 3])).toBe(3);
  expect(median([1, 2, 3, 4])).toBe(2.5);
  expect(spread([1, 2, 3, 4, 100])).toBe(1);
});

test("tables are aligned, and Markdown on demand", () => {
  const table = [
    ["what", "us"],
    ["a", "10.5"],
  ];
  expect(format(table, false)).toBe("what    us\na     10.5\n");
  expect(format(table, true)).toBe("| what |   us |\n| ---- | ---: |\n| a    | 10.5 |\n");
});
