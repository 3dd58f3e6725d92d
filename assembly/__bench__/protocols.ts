import { wires } from "../__tests__/samples";
import { KINDS, Sample } from "../__tests__/samples/sample";
import { Guarded } from "../__tests__/util";
import { Changes } from "../codec/changes";
import { Codec, READY, Reason } from "../codec/codec";
import { Frame, Kind, Side, Status } from "../codec/frame";
import { codecIndex, codecs } from "../codec/registry";
import { httpStatus, reasonName } from "../filter/reasons";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";

/*
 * What docs/protocols.md says of each protocol, found out by trying: its codec is asked to read and write the samples.
 */

const frame = Frame.make();
const changes = new Changes();
const sink = new Sink();
const json = new Sink();
const VALUE = Slice.of("7");
const ADDED = Slice.of("meltemi-added");

const STATUSES: StaticArray<string> = [
  "ok",
  "exception",
  "bad request",
  "not found",
  "denied",
  "timeout",
  "overload",
  "unavailable",
  "internal",
];

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

export function output(): usize {
  return json.ptr;
}

/** Writes what is known of the protocol at that place of the registry as JSON; its size, 0 where there is none. */
export function describe(index: i32): u32 {
  json.clear();
  if (index >= codecs.length) return 0;
  const codec = codecs[index];
  const samples = samplesOf(index);
  json.text(
    `{"name":"${codec.name}","magic":"${codec.magic}","heartbeats":${codec.heartbeat(0, new Sink())},"client":`,
  );
  kinds(codec, samples, Side.Client);
  json.text(',"server":');
  kinds(codec, samples, Side.Server);
  json.text(`,"keys":${codec.keys()},"others":${meaning(codec.statuses.others)},"statuses":[`);
  const statuses = codec.statuses;
  for (let i: u32 = 0; i < statuses.count; i++) {
    if (i) json.u8(0x2c);
    const code = statuses.hasCode(i) ? statuses.code(i).toString() : "null";
    json.text(`{"code":${code},"name":"${statuses.name(i).text()}","means":${meaning(statuses.status(i))}}`);
  }
  json.text("],");
  example(codec, samples);
  json.text('"errors":[');
  for (let reason = Reason.NoRoute; reason <= Reason.Internal; reason++) {
    if (reason) json.u8(0x2c);
    error(codec, samples, reason);
  }
  json.text("]}");
  return json.size;
}

/** Whether some sample of that side takes another value for a key; `*` stands for one that it does not have. */
export function changeable(index: i32, side: Side, key: usize, size: u32): bool {
  const codec = codecs[index];
  const samples = samplesOf(index);
  const any = size == 1 && load<u8>(key) == 0x2a;
  const name = any ? ADDED.ptr : key;
  const nameSize = any ? ADDED.size : size;
  for (let i = 0; i < samples.length; i++) {
    if (samples[i].side != side) continue;
    const input = Guarded.hex(samples[i].hex);
    let done = false;
    if (read(codec, side, input, true) && (any || frame.find(key, size).ptr)) {
      changes.clear();
      changes.set(name, nameSize, VALUE.ptr, VALUE.size);
      sink.clear();
      done = codec.encode(input.ptr, input.size, frame, frame.id, changes, sink);
    }
    input.free();
    if (done) return true;
  }
  return false;
}

function samplesOf(index: i32): Sample[] {
  let all: Sample[] = [];
  for (let i = 0; i < wires.length; i++) if (codecIndex(wires[i].protocol) == index) all = all.concat(wires[i].samples);
  return all;
}

function read(codec: Codec, side: Side, input: Guarded, metadata: bool): bool {
  frame.side = side;
  frame.reset();
  if (codec.head(input.ptr, input.size, frame) != READY) return false;
  return !metadata || codec.metadata(input.ptr, input.size, frame) == READY;
}

/** Writes which kinds of frames that side sends. */
function kinds(codec: Codec, samples: Sample[], side: Side): void {
  json.u8(0x5b);
  let some = false;
  for (let kind = 0; kind < KINDS.length; kind++) {
    for (let i = 0; i < samples.length; i++) {
      if (samples[i].side != side) continue;
      const input = Guarded.hex(samples[i].hex);
      const found = read(codec, side, input, false) && (frame.kind as i32) == kind;
      input.free();
      if (!found) continue;
      json.text(`${some ? "," : ""}"${KINDS[kind]}"`);
      some = true;
      break;
    }
  }
  json.u8(0x5d);
}

function meaning(status: Status): string {
  return `{"status":"${STATUSES[status]}","http":${httpStatus(status)}}`;
}

/** The first sample of a request, read into `frame`; where `named`, the first that names its service. */
function request(codec: Codec, samples: Sample[], named: bool): Guarded | null {
  for (let i = 0; i < samples.length; i++) {
    if (samples[i].side != Side.Client) continue;
    const input = Guarded.hex(samples[i].hex);
    const wanted = read(codec, Side.Client, input, true) && frame.kind == Kind.Request;
    if (wanted && (!named || frame.service.size)) return input;
    input.free();
  }
  return null;
}

/** Writes service and method of a request. */
function example(codec: Codec, samples: Sample[]): void {
  const input = request(codec, samples, true) || request(codec, samples, false);
  if (!input) return;
  json.text(`"example":{"service":"${frame.service.text()}","method":"${frame.method.text()}"},`);
  input.free();
}

/** Writes what the error reply to a request says. */
function error(codec: Codec, samples: Sample[], reason: Reason): void {
  const input = request(codec, samples, false);
  if (!input) return;
  sink.clear();
  codec.error(frame, reason, VALUE.ptr, VALUE.size, sink);
  input.free();
  const reply = Guarded.copy(sink.ptr, sink.size);
  read(codec, Side.Server, reply, false);
  json.text(`{"reason":"${reasonName(reason).text()}","code":${frame.code},"name":"${frame.outcome.text()}"}`);
  reply.free();
}
