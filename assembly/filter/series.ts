import { Frame } from "../codec/frame";
import { protocolName } from "../codec/registry";
import { MetricKind, Metrics } from "../host/metrics";
import { Entry, Table } from "../memory/table";
import { Bytes } from "../wire/bytes";
import { Hash } from "../wire/hash";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";

/** Longer services and methods are cut, so that a label has a bound. */
const LABEL_MAX: u32 = 255;
/** More outcomes than any protocol has; past it they are `other`. */
const OUTCOMES_MAX: u32 = 64;
/** So many each series may have; what all have beyond that comes out of one pool, because each costs four metrics. */
const OUTCOMES_EACH: u32 = 8;
const OUTCOMES_POOL: u32 = 4096;

const UNKNOWN = Slice.of("unknown");
const OTHER = Slice.of("other");

const table = new Table(offsetof<Series>());
let firstDirty: usize = 0;
/** Outcomes out of the pool. */
let pooled: u32 = 0;
const name = new Sink(1 << 14);

/** What a frame counts under: never empty, and no longer than a label may be. */
@final
export class Names {
  static readonly service: Slice = Slice.make();
  static readonly method: Slice = Slice.make();

  /** `unnamed` stands for a service that the frame does not name. */
  static of(frame: Frame, unnamed: ArrayBuffer): void {
    const service = Names.service;
    const method = Names.method;
    if (frame.service.size) service.point(frame.service);
    else service.set(changetype<usize>(unnamed), unnamed.byteLength);
    method.point(frame.method.size ? frame.method : UNKNOWN);
    service.size = min<u32>(service.size, LABEL_MAX);
    method.size = min<u32>(method.size, LABEL_MAX);
  }
}

/** Durations that wait for a flush: for each the histogram's id and the milliseconds. */
const SAMPLES_MAX: u32 = 2048;
const samples: usize = memory.data(2048 * 8, 8);
let sampleCount: u32 = 0;

/** Requests of one service and method that ended alike. Counts are since the last flush. */
@unmanaged
@final
export class Outcome {
  next: usize;
  text: usize;
  textSize: u32;
  requestsId: u32;
  durationId: u32;
  requestBytesId: u32;
  responseBytesId: u32;
  requests: u32;
  requestBytes: u64;
  responseBytes: u64;
}

/** Requests of one service and method; `owner` is the protocol and direction, `key` the hash of the names. */
@unmanaged
@final
export class Series extends Entry {
  names: usize;
  serviceSize: u32;
  methodSize: u32;
  outcomes: usize;
  outcomeCount: u32;
  inFlightId: u32;
  /** What lift says of all requests with these names, made once; 0 while it is not made. */
  path: usize;
  pathSize: u32;
  /** Change since the last flush. */
  inFlight: i32;
  dirty: bool;
  nextDirty: usize;

  get service(): usize {
    return this.names;
  }

  get method(): usize {
    return this.names + this.serviceSize;
  }

  /** The outcome of that name, made when it is new. */
  outcome(status: Slice): Outcome {
    const text = status.ptr;
    const size = min<u32>(status.size, LABEL_MAX);
    let at = this.outcomes;
    while (at) {
      const outcome = changetype<Outcome>(at);
      if (outcome.textSize == size && Bytes.equal(outcome.text, text, size)) return outcome;
      at = outcome.next;
    }
    const count = this.outcomeCount;
    if (text != OTHER.ptr && count >= OUTCOMES_EACH) {
      if (count >= OUTCOMES_MAX || pooled >= OUTCOMES_POOL) return this.outcome(OTHER);
      pooled++;
    }
    return this.addOutcome(text, size);
  }

  private addOutcome(text: usize, size: u32): Outcome {
    const outcome = changetype<Outcome>(heap.alloc(offsetof<Outcome>()));
    memory.fill(changetype<usize>(outcome), 0, offsetof<Outcome>());
    outcome.text = heap.alloc(size);
    outcome.textSize = size;
    memory.copy(outcome.text, text, size);
    outcome.requestsId = this.metric(MetricKind.Counter, outcome, "meltemi_requests_total");
    outcome.durationId = this.metric(MetricKind.Histogram, outcome, "meltemi_request_duration_milliseconds");
    outcome.requestBytesId = this.metric(MetricKind.Counter, outcome, "meltemi_request_bytes_total");
    outcome.responseBytesId = this.metric(MetricKind.Counter, outcome, "meltemi_response_bytes_total");
    outcome.next = this.outcomes;
    this.outcomes = changetype<usize>(outcome);
    this.outcomeCount++;
    return outcome;
  }

  /** The id of a metric with this series' labels, and the status where there is an outcome. */
  private metric(kind: MetricKind, outcome: Outcome | null, name: string): u32 {
    Labels.start(this.owner as u32);
    Labels.add("service", this.service, this.serviceSize);
    Labels.add("method", this.method, this.methodSize);
    if (outcome) Labels.add("status", outcome.text, outcome.textSize);
    return Labels.metric(kind, name);
  }

  /** One more request (or, with -1, one less) in flight. */
  @inline
  change(inFlight: i32): void {
    this.inFlight += inFlight;
    this.touch();
  }

  /** Has flush() visit this series. */
  @inline
  touch(): void {
    if (this.dirty) return;
    this.dirty = true;
    this.nextDirty = firstDirty;
    firstDirty = changetype<usize>(this);
  }

  keepPath(from: usize, size: u32): void {
    this.path = heap.alloc(size);
    this.pathSize = size;
    memory.copy(this.path, from, size);
  }

  private flush(): void {
    this.dirty = false;
    if (this.inFlight) {
      if (!this.inFlightId) this.inFlightId = this.metric(MetricKind.Gauge, null, "meltemi_in_flight");
      Metrics.add(this.inFlightId, this.inFlight);
      this.inFlight = 0;
    }
    let at = this.outcomes;
    while (at) {
      const outcome = changetype<Outcome>(at);
      if (outcome.requests) {
        Metrics.add(outcome.requestsId, outcome.requests);
        Metrics.add(outcome.requestBytesId, outcome.requestBytes);
        Metrics.add(outcome.responseBytesId, outcome.responseBytes);
        outcome.requests = 0;
        outcome.requestBytes = 0;
        outcome.responseBytes = 0;
      }
      at = outcome.next;
    }
  }

  /** The series of what Names.of() read last; `other` once there are `limit` series. */
  static of(labels: u32, limit: u32): Series {
    const service = Names.service;
    const method = Names.method;
    const hash = Hash.bytes(method.ptr, method.size, Hash.bytes(service.ptr, service.size, 0));
    let at = table.find(labels, hash);
    while (at) {
      const series = changetype<Series>(at);
      if (
        series.serviceSize == service.size &&
        series.methodSize == method.size &&
        Bytes.equal(series.service, service.ptr, service.size) &&
        Bytes.equal(series.method, method.ptr, method.size)
      ) {
        return series;
      }
      at = table.nextSame(at);
    }
    if (table.count < limit || service.ptr == OTHER.ptr) return Series.add(labels, hash);
    service.point(OTHER);
    method.point(OTHER);
    return Series.of(labels, limit);
  }

  private static add(labels: u32, hash: u64): Series {
    const service = Names.service;
    const method = Names.method;
    const series = changetype<Series>(table.add(labels, hash));
    series.names = heap.alloc(service.size + method.size);
    series.serviceSize = service.size;
    series.methodSize = method.size;
    memory.copy(series.service, service.ptr, service.size);
    memory.copy(series.method, method.ptr, method.size);
    return series;
  }

  /** Whether there is something to flush. */
  static get pending(): bool {
    return firstDirty != 0;
  }

  /** Adds a duration in milliseconds to the outcome's histogram, with the next flush. */
  static sample(outcome: Outcome, duration: u64): void {
    if (sampleCount == SAMPLES_MAX) Series.flushSamples();
    const at = samples + (sampleCount++ << 3);
    store<u32>(at, outcome.durationId);
    store<u32>(at, min<u64>(duration, u32.MAX_VALUE as u64) as u32, 4);
  }

  private static flushSamples(): void {
    const end = samples + (sampleCount << 3);
    for (let at = samples; at < end; at += 8) Metrics.record(load<u32>(at), load<u32>(at, 4));
    sampleCount = 0;
  }

  /**
   * Tells the host what was counted since the last time. Counters and gauges are added up, so they cost no host call for
   * each request. A histogram wants every sample, but many in a row cost much less than one in the middle of a request.
   */
  static flush(): void {
    Series.flushSamples();
    while (firstDirty) {
      const series = changetype<Series>(firstDirty);
      firstDirty = series.nextDirty;
      series.flush();
    }
  }
}

/** Builds metric names in Istio's form: `label=.=value;.;label=.=value;.;name`. */
@final
export class Labels {
  /** `labels`: position of the protocol in the registry (see protocolName()) times two, plus one for inbound. */
  static start(labels: u32): void {
    name.clear();
    name.text("protocol=.=");
    name.text(protocolName(labels >> 1));
    name.text(";.;");
    name.text(labels & 1 ? "direction=.=inbound;.;" : "direction=.=outbound;.;");
  }

  static add(label: string, value: usize, size: u32): void {
    name.text(label);
    name.text("=.=");
    for (let i: u32 = 0; i < size; i++) {
      const byte = load<u8>(value + i) as u32;
      // What could end the value, or begin another label inside of it, or is not printable, is written as %XX.
      if (byte - 0x21 > 0x7e - 0x21 || byte == 0x25 || byte == 0x3b || byte == 0x3d) {
        name.u8(0x25);
        name.u8(hexDigit(byte >> 4));
        name.u8(hexDigit(byte & 15));
      } else {
        name.u8(byte);
      }
    }
    name.text(";.;");
  }

  static metric(kind: MetricKind, metric: string): u32 {
    name.text(metric);
    return Metrics.id(kind, name);
  }

  /** Adds one to a counter with no more labels than protocol, direction and, unless empty, one more. */
  static count(labels: u32, metric: string, label: string = "", value: ArrayBuffer | null = null): void {
    Labels.start(labels);
    if (value) Labels.add(label, changetype<usize>(value), value.byteLength);
    Metrics.add(Labels.metric(MetricKind.Counter, metric), 1);
  }
}

/** An upper-case hexadecimal digit, as percent-encoding has it. */
export function hexDigit(value: u32): u32 {
  return value < 10 ? 48 + value : 55 + value;
}
