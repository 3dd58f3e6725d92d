import { Bad, badText } from "../codec/codec";
import { Kind, Side } from "../codec/frame";
import { Scanner } from "../codec/scanner";
import { BufferReader, BufferType } from "../host/buffer";
import { Clock } from "../host/clock";
import { FilterState } from "../host/filter-state";
import { Entry, Table } from "../memory/table";
import { Slice } from "../wire/slice";
import { Connection, Half, Phase } from "./connection";
import { Report } from "./report";
import { Labels, Names, Outcome, Series } from "./series";
import { Settings } from "./settings";

/** A request that waits for its reply; `owner` is its connection and side, `key` its id. */
@unmanaged
@final
class Request extends Entry {
  connection: usize;
  series: usize;
  /** Nanoseconds, when its head was seen. */
  started: u64;
  bytes: u64;
  /** Neighbours in the list of the connection. */
  nextOfConnection: usize;
  previousOfConnection: usize;
}

const ONEWAY = Slice.of("oneway");
const CLIENT_GONE = Slice.of("client_gone");
const UPSTREAM_GONE = Slice.of("upstream_gone");
const UNTRACKED = Slice.of("untracked");
const UNKNOWN = Slice.of("unknown");
const SERVICE_STATE = Slice.of("meltemi.service");
const METHOD_STATE = Slice.of("meltemi.method");

/** What a protocol's status is called when the codec gives it no name. */
const OK = Slice.of("ok");

/**
 * Counts every request of a connection and changes nothing: it reads copies of frame heads and lets all bytes pass.
 * There is one for all connections, because callbacks come one after the other.
 */
@final
export class Observe extends Scanner {
  private buffer: BufferReader = new BufferReader();
  private requests: Table = new Table(offsetof<Request>());
  /** Requests since the last one that was logged. */
  private unsampled: u32 = 0;

  // Of the chunk being scanned.
  private connection: Connection = changetype<Connection>(0);
  private half: Half = changetype<Half>(0);

  /** Reads `size` new bytes that `side` sent. */
  data(connection: Connection, side: Side, size: u32): void {
    if (connection.phase != Phase.Observing || !size) return;
    const settings = connection.settings;
    this.connection = connection;
    this.half = connection.half(side);
    this.frame.side = side;
    this.frameLimit = settings.frameLimit;
    this.headLimit = settings.headLimit;
    this.wantsMetadata = settings.logFrames;
    this.buffer.open(side == Side.Client ? BufferType.DownstreamData : BufferType.UpstreamData);
    this.scan(this.half, settings.codec, size);
  }

  /** The connection is over: what is still in flight gets no reply. */
  close(connection: Connection): void {
    this.abandon(connection, connection.ended && connection.endedBy == Side.Client ? CLIENT_GONE : UPSTREAM_GONE);
  }

  protected read(at: u32, size: u32): usize {
    return this.buffer.read(at, size);
  }

  protected onFrame(p: usize, n: u32): void {
    const frame = this.frame;
    const settings = this.connection.settings;
    if (settings.logFrames) {
      Report.frame(this.connection.key as u32, settings.codec.name, frame, this.frameOffset);
    }
    switch (frame.kind) {
      case Kind.Request:
        return this.onRequest(settings);
      case Kind.Response:
        return this.onResponse(settings);
      case Kind.OneWay:
        return this.onOneWay(settings);
      case Kind.Heartbeat:
      case Kind.HeartbeatReply:
        return Labels.count(settings.labels, "meltemi_heartbeats_total");
    }
  }

  protected onEnd(): void {
    const half = this.half;
    if (!half.request) return;
    const request = changetype<Request>(half.request);
    half.request = 0;
    this.settle(request, changetype<Outcome>(half.outcome), half.responseBytes);
  }

  protected onBad(bad: Bad): void {
    const connection = this.connection;
    Observe.reportBad(connection, this.frame.side, bad, this.frameOffset);
    connection.phase = Phase.Aside;
    this.abandon(connection, UNKNOWN);
    connection.half(Side.Client).release();
    connection.half(Side.Server).release();
  }

  /** Counts bytes that are not the protocol; they begin at `offset` of their side. */
  static reportBad(connection: Connection, side: Side, bad: Bad, offset: u64): void {
    const settings = connection.settings;
    const reason = badText(bad);
    Labels.count(settings.labels, "meltemi_decode_errors_total", "reason", String.UTF8.encode(reason));
    if (!settings.logFrames) return;
    Report.start("decode_error");
    Report.number("connection", connection.key);
    Report.from(side);
    Report.text("reason", reason);
    Report.number("offset", offset);
    Report.send();
  }

  /** Protocol and direction of a request that the current side sends: what a server asks goes the other way. */
  private labels(settings: Settings): u32 {
    return settings.labels ^ (this.frame.side as u32);
  }

  private series(settings: Settings): Series {
    const connection = this.connection;
    Names.of(this.frame, settings.service);
    if (!connection.named) {
      // After its first request, not after that one's series, which is `other` past the limit.
      connection.named = true;
      FilterState.setOwn(SERVICE_STATE, Names.service.ptr, Names.service.size);
      FilterState.setOwn(METHOD_STATE, Names.method.ptr, Names.method.size);
    }
    return Series.of(this.labels(settings), settings.seriesLimit);
  }

  private onRequest(settings: Settings): void {
    const frame = this.frame;
    const connection = this.connection;
    const series = this.series(settings);
    if (this.requests.count >= settings.inFlightLimit) {
      const outcome = series.outcome(UNTRACKED);
      return this.count(settings, series, outcome, frame.id, 0, frame.length, 0);
    }
    // The address of a connection is even, so its lowest bit is free for the side that asks.
    const owner = changetype<usize>(connection) | (frame.side as usize);
    const request = changetype<Request>(this.requests.add(owner, frame.id));
    request.connection = changetype<usize>(connection);
    request.series = changetype<usize>(series);
    request.started = Clock.now();
    request.bytes = frame.length;
    request.nextOfConnection = connection.requests;
    if (connection.requests) {
      changetype<Request>(connection.requests).previousOfConnection = changetype<usize>(request);
    }
    connection.requests = changetype<usize>(request);
    series.change(1);
  }

  private onResponse(settings: Settings): void {
    const frame = this.frame;
    const owner = changetype<usize>(this.connection) | ((frame.side ^ 1) as usize);
    const found = this.requests.find(owner, frame.id);
    if (!found) {
      // Its labels are those of the request that it would belong to.
      const labels = this.labels(settings) ^ 1;
      Labels.count(labels, "meltemi_unmatched_responses_total");
      return;
    }
    const request = changetype<Request>(found);
    const series = changetype<Series>(request.series);
    const half = this.half;
    half.request = found;
    const text = frame.outcome;
    half.outcome = changetype<usize>(series.outcome(text.size ? text : OK));
    half.responseBytes = frame.length;
  }

  private onOneWay(settings: Settings): void {
    const series = this.series(settings);
    const outcome = series.outcome(ONEWAY);
    this.count(settings, series, outcome, this.frame.id, 0, this.frame.length, 0);
  }

  /** Ends a request whose reply has passed, or never will. */
  private settle(request: Request, outcome: Outcome, responseBytes: u64): void {
    const connection = changetype<Connection>(request.connection);
    const series = changetype<Series>(request.series);
    const duration = Clock.millisecondsSince(request.started);
    Series.sample(outcome, duration);
    series.change(-1);
    this.count(connection.settings, series, outcome, request.key, duration, request.bytes, responseBytes);

    const next = request.nextOfConnection;
    const previous = request.previousOfConnection;
    if (next) changetype<Request>(next).previousOfConnection = previous;
    if (previous) changetype<Request>(previous).nextOfConnection = next;
    else connection.requests = next;
    this.requests.remove(changetype<usize>(request));
  }

  /** Ends every request of a connection with the same outcome. */
  private abandon(connection: Connection, status: Slice): void {
    connection.half(Side.Client).request = 0;
    connection.half(Side.Server).request = 0;
    while (connection.requests) {
      const request = changetype<Request>(connection.requests);
      const series = changetype<Series>(request.series);
      this.settle(request, series.outcome(status), 0);
    }
  }

  private count(
    settings: Settings,
    series: Series,
    outcome: Outcome,
    id: u64,
    duration: u64,
    requestBytes: u64,
    responseBytes: u64,
  ): void {
    outcome.requests++;
    outcome.requestBytes += requestBytes;
    outcome.responseBytes += responseBytes;
    series.touch();
    if (!settings.logRequests || ++this.unsampled < settings.logRequests) return;
    this.unsampled = 0;
    Report.start("request");
    Report.text("protocol", settings.codec.name);
    Report.text("direction", series.owner & 1 ? "inbound" : "outbound");
    Report.string("service", series.service, series.serviceSize);
    Report.string("method", series.method, series.methodSize);
    Report.string("status", outcome.text, outcome.textSize);
    Report.id(id);
    Report.number("duration_ms", duration);
    Report.number("request_bytes", requestBytes);
    Report.number("response_bytes", responseBytes);
    Report.send();
  }
}
