import { Bad, badText } from "../codec/codec";
import { Kind, Side } from "../codec/frame";
import { GUESS_BYTES, guess, STRANGE, UNDECIDED } from "../codec/guess";
import { codecs, protocolName } from "../codec/registry";
import { Scanner } from "../codec/scanner";
import { BufferReader, BufferType } from "../host/buffer";
import { FilterState } from "../host/filter-state";
import { Held } from "../memory/held";
import { Table } from "../memory/table";
import { Slice } from "../wire/slice";
import { Connection, Half, Phase } from "./connection";
import { Report } from "./report";
import { Request, Requests } from "./requests";
import { Labels, Outcome, Series } from "./series";
import { Settings } from "./settings";

const CLIENT_GONE = Slice.of("client_gone");
const UPSTREAM_GONE = Slice.of("upstream_gone");
const UNTRACKED = Slice.of("untracked");
const UNKNOWN = Slice.of("unknown");

const PROTOCOL_STATE = Slice.of("meltemi.protocol");
/** The first bytes of a client whose protocol is to be guessed. */
const beginning: usize = heap.alloc(GUESS_BYTES);

/** What a protocol's status is called when the codec gives it no name. */
const OK = Slice.of("ok");

/**
 * Counts every request of a connection and changes nothing: it reads copies of frame heads and lets all bytes pass.
 * There is one for all connections, because callbacks come one after the other.
 */
@final
export class Observe extends Scanner {
  private buffer: BufferReader = new BufferReader();
  /** Those that wait for their replies; `owner` is their connection and side, `key` their id. */
  private requests: Table = new Table(offsetof<Request>());

  // Of the chunk being scanned.
  private connection: Connection = changetype<Connection>(0);
  private half: Half = changetype<Half>(0);
  /** Where the bytes being scanned stand that came before the chunk; 0 where it is the chunk that is scanned. */
  private early: usize = 0;

  /** Reads `size` new bytes that `side` sent. */
  data(connection: Connection, side: Side, size: u32): void {
    if (!size || (connection.phase != Phase.Observing && connection.phase != Phase.Guessing)) return;
    const settings = connection.settings;
    this.connection = connection;
    this.half = connection.half(side);
    this.frame.side = side;
    this.frameLimit = settings.frameLimit;
    this.headLimit = settings.headLimit;
    this.wantsMetadata = settings.logFrames;
    this.buffer.open(side == Side.Client ? BufferType.DownstreamData : BufferType.UpstreamData);
    if (connection.phase == Phase.Guessing && !this.guess(connection, side, size)) return;
    this.scan(this.half, codecs[connection.protocol], size);
  }

  /**
   * Finds the protocol out of the client's first bytes, of which these are the next; false while there are too few, and
   * where there is none. What came before is held, and scanned once it is known how.
   */
  private guess(connection: Connection, side: Side, size: u32): bool {
    const cut = this.half;
    const held = cut.heldSize;
    const more = side == Side.Client ? min<u32>(size, GUESS_BYTES - held) : 0;
    const p = more ? this.buffer.read(0, more) : 0;
    if (p) {
      memory.copy(beginning, cut.held, held);
      memory.copy(beginning + held, p, more);
    }
    const settings = connection.settings;
    const found = p ? guess(beginning, held + more, settings.frameLimit, settings.headLimit) : STRANGE;
    if (found == UNDECIDED) {
      if (this.keep(cut, held + more)) return false;
      this.onBad(Bad.Crowded);
      return false;
    }
    cut.release();
    if (found == STRANGE) {
      this.frameOffset = 0;
      this.onBad(Bad.Magic);
      return false;
    }
    connection.phase = Phase.Observing;
    connection.protocol = found;
    const name = String.UTF8.encode(codecs[found].name);
    FilterState.setOwn(PROTOCOL_STATE, changetype<usize>(name), name.byteLength);
    if (!held) return true;
    this.early = beginning;
    const goesOn = this.scan(cut, codecs[found], held);
    this.early = 0;
    return goesOn;
  }

  /** Holds the first bytes of a client, which stand in `beginning`; false where no more may be held. */
  private keep(cut: Half, size: u32): bool {
    if (!cut.held) {
      if (!Held.take(GUESS_BYTES)) return false;
      cut.held = heap.alloc(GUESS_BYTES);
      cut.heldCapacity = GUESS_BYTES;
    }
    memory.copy(cut.held, beginning, size);
    cut.heldSize = size;
    return true;
  }

  /** The connection is over: what is still in flight gets no reply. */
  close(connection: Connection): void {
    this.abandon(connection, connection.ended && connection.endedBy == Side.Client ? CLIENT_GONE : UPSTREAM_GONE);
  }

  protected read(at: u32, size: u32): usize {
    return this.early ? this.early + at : this.buffer.read(at, size);
  }

  protected onFrame(_p: usize, _n: u32): void {
    const frame = this.frame;
    const settings = this.connection.settings;
    if (settings.logFrames) {
      const protocol = protocolName(this.connection.protocol);
      Report.frame(this.connection.key as u32, protocol, frame, this.frameOffset);
    }
    switch (frame.kind) {
      case Kind.Request:
      case Kind.StreamOpen:
        return this.onRequest(settings);
      case Kind.Response:
        return this.onResponse();
      case Kind.StreamClose:
        // A client that has nothing more to send still waits for the server's end.
        if (frame.side == Side.Server) this.onResponse();
        return;
      case Kind.OneWay:
        return Requests.pass(settings, this.series(), frame);
      case Kind.Heartbeat:
      case Kind.HeartbeatReply:
        return Labels.count(this.connection.labels, "meltemi_heartbeats_total");
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
    Labels.count(connection.labels, "meltemi_decode_errors_total", "reason", String.UTF8.encode(reason));
    if (!settings.logFrames) return;
    Report.start("decode_error");
    Report.number("connection", connection.key);
    Report.from(side);
    Report.text("reason", reason);
    Report.number("offset", offset);
    Report.send();
  }

  private series(): Series {
    return Requests.series(this.connection, this.frame, Requests.labels(this.connection, this.frame.side));
  }

  private onRequest(settings: Settings): void {
    const frame = this.frame;
    const connection = this.connection;
    const series = this.series();
    if (this.requests.count >= settings.inFlightLimit) return Requests.pass(settings, series, frame, UNTRACKED);
    // The address of a connection is even, so its lowest bit is free for the side that asks.
    const owner = changetype<usize>(connection) | (frame.side as usize);
    Requests.begin(changetype<Request>(this.requests.add(owner, frame.id)), connection, series, frame);
  }

  private onResponse(): void {
    const frame = this.frame;
    const owner = changetype<usize>(this.connection) | ((frame.side ^ 1) as usize);
    const found = this.requests.find(owner, frame.id);
    if (!found) {
      // Its labels are those of the request that it would belong to.
      const labels = Requests.labels(this.connection, frame.side) ^ 1;
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

  private settle(request: Request, outcome: Outcome, responseBytes: u64): void {
    Requests.settle(request, request.key, outcome, responseBytes);
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
}
