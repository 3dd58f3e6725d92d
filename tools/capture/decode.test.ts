import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { describeModule } from "../model/module.js";
import { defaultModule, packageRoot } from "../paths.js";
import { decode, type Frame, route } from "./decode.js";
import { readCapture } from "./pcap.js";
import { type Piece, reassemble, type Side } from "./reassembly.js";
import { type Segment, segmentOf } from "./segment.js";

const wasm = readFileSync(defaultModule);
const known = describeModule(defaultModule).protocols.map(({ name }) => name);
const folder = join(packageRoot, "test", "fixtures", "captures");
const captures = readdirSync(folder).filter((name) => name.startsWith("dubbo") && name.endsWith(".pcap"));

function piecesOf(name: string): Piece[] {
  const segments = readCapture(readFileSync(join(folder, name))).packets.map(segmentOf);
  return [...reassemble(segments.filter((segment): segment is Segment => typeof segment !== "string"))];
}

/** Everything that one side of a capture sent. */
function sent(pieces: Piece[], side: Side): Buffer {
  return Buffer.concat(pieces.filter(({ from }) => from === side).map(({ bytes }) => bytes));
}

/** Connection `id`, one side of which sends these chunks. */
function chunks(id: number, from: Side, parts: Uint8Array[]): Piece[] {
  const connection = { id, client: "c", server: "s" };
  return parts.map((part, i) => {
    const offset = parts.slice(0, i).reduce((sum, { length }) => sum + length, 0);
    return { connection, from, time: undefined, offset, bytes: Buffer.from(part), gap: 0, whole: true };
  });
}

const content = ({ connection: _, time: __, ...rest }: Frame) => rest;

describe.each(captures)("%s", (name) => {
  const pieces = piecesOf(name);

  it("reads as the other dissector read it", async () => {
    const { frames, errors, explained } = await decode(wasm, "dubbo", pieces);
    const lines = readFileSync(join(folder, name.replace(".pcap", ".result")), "utf8")
      .trim()
      .split("\n");
    const field = (line: string, key: string) => new RegExp(`\\b${key}: (?:Some\\()?"?([^",) ]*)`).exec(line)?.[1];
    expect(errors).toEqual([]);
    expect(frames.length).toBe(lines.length);
    lines.forEach((line, i) => {
      const { kind, id, service, method, code, length, metadata } = frames[i] as Frame;
      const request = field(line, "msg_type") === "Request";
      expect(kind).toBe(request ? "request" : "response");
      expect(id).toBe(field(line, "request_id"));
      expect(length).toBe(Number(field(line, request ? "captured_request_byte" : "captured_response_byte")));
      expect(length - 16).toBe(Number(field(line, request ? "req_msg_size" : "resp_msg_size")));
      if (request) {
        expect(`${service}/${method}`).toBe(`${field(line, "service_name")}/${field(line, "method_name")}`);
        expect(metadata.version).toBe(field(line, "service_version"));
      } else {
        expect(code).toBe(Number(field(line, "status_code")));
      }
      // Trace and span ids are attachments of whatever name.
      for (const [, text] of line.matchAll(/\bfield: "([^"]+)"/g)) expect(Object.values(metadata)).toContain(text);
    });
    expect(explained).toBe(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0));
  });

  it.each(["client", "server"] as const)("cut at every byte or glued, %s's frames are the same", async (side) => {
    const bytes = sent(pieces, side);
    const whole = (await decode(wasm, "dubbo", chunks(1, side, [bytes]))).frames.map(content);
    const cut = Array.from({ length: bytes.length }, (_, i) =>
      chunks(i, side, [bytes.subarray(0, i), bytes.subarray(i)]),
    );
    cut.push(
      chunks(
        bytes.length,
        side,
        [...bytes].map((byte) => Uint8Array.of(byte)),
      ),
    );
    const { frames, errors } = await decode(wasm, "dubbo", cut.flat());
    expect(errors).toEqual([]);
    for (let id = 0; id < cut.length; id++) {
      expect(frames.filter(({ connection }) => connection.id === id).map(content)).toEqual(whole);
    }

    const glued = await decode(wasm, "dubbo", chunks(1, side, [Buffer.concat([bytes, bytes, bytes])]));
    const again = [0, 1, 2].flatMap((i) =>
      whole.map((frame) => ({ ...frame, offset: frame.offset + i * bytes.length })),
    );
    expect(glued.frames.map(content)).toEqual(again);
  });
});

it("reads bRPC as the other dissector read it", async () => {
  const pieces = piecesOf("brpc-echo.pcap");
  const { frames, errors, explained } = await decode(wasm, "brpc", pieces);
  const lines = readFileSync(join(folder, "brpc-echo.result"), "utf8").trim().split("\n");
  expect(errors).toEqual([]);
  expect(frames.length).toBe(lines.length);
  lines.forEach((line, i) => {
    const { kind, id, service, method, status, code, length, metadata } = frames[i] as Frame;
    // The ids have fewer than 54 bits.
    const read = JSON.parse(line);
    const asks = read.msg_type === "Request";
    expect(kind).toBe(read.msg_type.toLowerCase());
    expect(id).toBe(String(read.correlation_id));
    expect(length).toBe(asks ? read.req_len : read.resp_len);
    expect(length).toBe(read.captured_request_byte + read.captured_response_byte);
    expect([service, method]).toEqual([read.req_service_name ?? "", read.req_method_name ?? ""]);
    expect(metadata).toEqual(asks ? { log_id: String(read.req_log_id) } : {});
    if (!asks) expect([status, code]).toEqual([read.resp_status, read.resp_code]);
  });
  expect(explained).toBe(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0));
});

describe("sofa-new.pcap", () => {
  const pieces = piecesOf("sofa-new.pcap");

  it("reads as the other dissector reads it, by its own tests", async () => {
    const { frames, errors, explained } = await decode(wasm, "sofabolt", pieces);
    expect(errors).toEqual([]);
    expect(explained).toBe(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0));
    const service = "com.mycompany.app.common.ServInterface:1.0";
    expect(frames).toMatchObject([
      // Without the header, as it counts, 730 and 210 bytes.
      { kind: "request", id: "2", service, method: "testSuccess", length: 22 + 730 },
      { kind: "response", id: "2", status: "ok", code: 0, length: 20 + 210 },
    ]);
    const { class: name, ...header } = (frames[0] as Frame).metadata;
    expect(name).toBe("com.alipay.sofa.rpc.core.request.SofaRequest");
    expect(header).toEqual({
      sofa_head_target_service: service,
      sofa_head_method_name: "testSuccess",
      service,
      protocol: "bolt",
      new_rpc_trace_context: "tcid=0a2200ce1670900283956100813525&spid=0&pspid=&sample=true&",
    });
  });
});

const request = sent(piecesOf("dubbo_hessian2.pcap"), "client");
const limits = { frameBytes: 1 << 26, headBytes: 1 << 16, inFlight: 1024, series: 100, waitMilliseconds: 1000 };

it("never traps, whatever the bytes are", async () => {
  const side = fc.constantFrom<Side>("client", "server");
  const noise = fc.uint8Array({ maxLength: 300 });
  const mutant = fc.array(fc.tuple(fc.nat(request.length - 1), fc.nat(255)), { maxLength: 5 }).map((changes) => {
    const bytes = Uint8Array.from(request);
    for (const [at, byte] of changes) bytes[at] = byte;
    return bytes;
  });
  const traffic = fc.array(fc.tuple(side, fc.array(fc.oneof(noise, mutant), { maxLength: 4 })), { maxLength: 50 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...known), traffic, async (protocol, connections) => {
      const pieces = connections.flatMap(([from, parts], id) => chunks(id, from, parts));
      const total = pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
      const { explained, frames } = await decode(wasm, protocol, pieces);
      expect(explained).toBeLessThanOrEqual(total);
      for (const { protocol: name } of frames) expect(name).toBe(protocol);
      const match = { method: { exact: "login" } };
      await route(wasm, { protocol, mode: "route", routes: [{ match, cluster: "a" }], limits }, pieces);
    }),
    { numRuns: 300 },
  );
}, 60_000);

it("stops at bytes that are not the protocol, and says where", async () => {
  const bytes = Buffer.concat([request, Buffer.from("GET / HTTP/1.1\r\n\r\n")]);
  const { frames, errors, explained } = await decode(wasm, "dubbo", chunks(1, "client", [bytes]));
  expect(frames.length).toBe(1);
  expect(errors).toEqual([
    { connection: { id: 1, client: "c", server: "s" }, from: "client", reason: "magic", offset: request.length },
  ]);
  expect(explained).toBe(request.length);
});

it("goes on behind a gap, and where a capture starts inside of a frame", async () => {
  const [first, second] = chunks(1, "client", [request, request]) as [Piece, Piece];
  const gap = { ...first, offset: 400, bytes: Buffer.alloc(0), gap: 5000 };
  const after = await decode(wasm, "dubbo", [
    { ...first, bytes: request.subarray(0, 400) },
    gap,
    { ...second, offset: 5400 },
  ]);
  expect(after.frames.map(({ offset }) => offset)).toEqual([0, 5400]);
  expect(after.errors).toEqual([]);

  const middle = { ...first, bytes: request.subarray(50), whole: false };
  const tail = { ...second, offset: middle.bytes.length, whole: false };
  const late = await decode(wasm, "dubbo", [middle, tail]);
  expect(late.frames.map(({ offset }) => offset)).toEqual([tail.offset]);
  expect(late.errors).toEqual([]);
  expect(
    (
      await decode(wasm, "dubbo", [
        { ...middle, whole: true },
        { ...tail, whole: true },
      ])
    ).frames,
  ).toEqual([]);
});

it("stops after as many frames as were asked for", async () => {
  const pieces = chunks(1, "client", [request, Buffer.concat([request, request]), request]);
  expect((await decode(wasm, "dubbo", pieces, 2)).frames.length).toBe(2);
  expect((await decode(wasm, "dubbo", pieces)).frames.length).toBe(4);
});

it("chooses the route of every connection whose first request is there", async () => {
  const config = {
    protocol: "dubbo",
    mode: "route",
    routes: [{ name: "logins", match: { method: { exact: "login" } }, cluster: "greeter|v2" }],
    log: { requests: 0, frames: true },
  };
  const other = Buffer.from(request);
  other.write("logon", other.indexOf("login"));
  const pieces = [
    ...chunks(1, "client", [request.subarray(0, 30), request.subarray(30)]),
    ...chunks(2, "client", [other]),
    ...chunks(3, "client", [request.subarray(0, 30)]),
    ...chunks(4, "server", [request]),
  ];
  const routes = await route(wasm, config, pieces);
  expect([...routes].map(([{ id }, chosen]) => [id, chosen])).toEqual([
    [1, { route: "logins", cluster: "greeter|v2" }],
    [2, "closed"],
  ]);
});
