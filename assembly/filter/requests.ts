import { Frame, Side } from "../codec/frame";
import { protocolName } from "../codec/registry";
import { Clock } from "../host/clock";
import { FilterState } from "../host/filter-state";
import { Entry } from "../memory/table";
import { Slice } from "../wire/slice";
import { Connection } from "./connection";
import { Report } from "./report";
import { Names, Outcome, Series } from "./series";
import { Settings } from "./settings";

/** A request in flight: what is counted when it ends. */
@unmanaged
export class Request extends Entry {
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
const SERVICE_STATE = Slice.of("meltemi.service");
const METHOD_STATE = Slice.of("meltemi.method");

/** Requests since the last one that was logged. */
let unsampled: u32 = 0;

/** Counts requests, whatever mode handles them. */
@final
export class Requests {
  /** Where a request counts whose head was just read; `labels` are those of Labels.start(). */
  static series(connection: Connection, frame: Frame, labels: u32): Series {
    const settings = connection.settings;
    Names.of(frame, settings.service);
    if (!connection.named) {
      // After its first request, not after that one's series, which is `other` past the limit.
      connection.named = true;
      FilterState.setOwn(SERVICE_STATE, Names.service.ptr, Names.service.size);
      FilterState.setOwn(METHOD_STATE, Names.method.ptr, Names.method.size);
    }
    return Series.of(labels, settings.seriesLimit);
  }

  /** Protocol and direction of a request that `side` sends: what a server asks goes the other way. */
  @inline
  static labels(connection: Connection, side: Side): u32 {
    return connection.labels ^ (side as u32);
  }

  /** A request whose head was just read is in flight from now on. */
  static begin(request: Request, connection: Connection, series: Series, frame: Frame): void {
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

  /** Ends a request whose reply has passed, or never will. Its record is still to be removed from its table. */
  static settle(request: Request, id: u64, outcome: Outcome, responseBytes: u64): void {
    const connection = changetype<Connection>(request.connection);
    const series = changetype<Series>(request.series);
    const duration = Clock.millisecondsSince(request.started);
    Series.sample(outcome, duration);
    series.change(-1);
    Requests.count(connection.settings, series, outcome, id, duration, request.bytes, responseBytes);
    const next = request.nextOfConnection;
    const previous = request.previousOfConnection;
    if (next) changetype<Request>(next).previousOfConnection = previous;
    if (previous) changetype<Request>(previous).nextOfConnection = next;
    else connection.requests = next;
  }

  /** A request that nobody answers, or that is not followed: it counts and is forgotten. */
  static pass(settings: Settings, series: Series, frame: Frame, outcome: Slice = ONEWAY): void {
    Requests.count(settings, series, series.outcome(outcome), frame.id, 0, frame.length, 0);
  }

  private static count(
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
    if (!settings.logRequests || ++unsampled < settings.logRequests) return;
    unsampled = 0;
    Report.start("request");
    Report.text("protocol", protocolName((series.owner as u32) >> 1));
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
