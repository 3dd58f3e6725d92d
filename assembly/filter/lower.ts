import { Bad, badText } from "../codec/codec";
import { Frame, Kind, Side, Status } from "../codec/frame";
import { Headers } from "../http/headers";
import { Hpack } from "../http/hpack";
import { Http1, Http1Reader } from "../http/http1";
import { Breach, ErrorCode, FIRST_WINDOW, Http2, PREFACE_SIZE, Setting } from "../http/http2";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Bridge, SHORT_FRAME } from "./bridge";
import { HeaderRule } from "./headers";
import { httpStatus } from "./reasons";
import { Requests } from "./requests";
import { Labels } from "./series";
import { Exchange, Http } from "./session";

/**
 * The most streams of one connection. With the window of each it bounds what waits for its turn to be written to the
 * server: 128 MiB, which is also what all connections together may hold.
 */
const STREAMS_MAX: u32 = 512;
/** Ids of our own heartbeats: even, because those of streams are odd. */
const PROBE_ID: u64 = 2;

const POST = Slice.of("POST");
const CONTENT_TYPE_INDEX: u32 = 31;
const CONTENT_TYPE = Slice.of("content-type");
const CONTENT_LENGTH = Slice.of("content-length");
const TRANSFER_ENCODING = Slice.of("transfer-encoding");
const CHUNKED = Slice.of("chunked");
const CONNECTION = Slice.of("connection");
const CLOSE = Slice.of("close");
const OUTCOME = Slice.of("meltemi-status");
const ZERO = Slice.of("0");
const REFUSED = Slice.of("refused");
const CLIENT_GONE = Slice.of("client_gone");

const SETTINGS: StaticArray<u32> = [Setting.MaxConcurrentStreams, STREAMS_MAX, Setting.InitialWindowSize, SHORT_FRAME];

/** Requests over HTTP/1.1. */
@final
class FromHttp1 extends Http1Reader {
  /** Set once, by the filter itself. */
  lower: Lower = changetype<Lower>(0);

  protected onRequest(): void {
    if (!this.lower.beginHttp1(this.headers)) this.stop();
  }

  protected onBody(p: usize, n: u32): void {
    this.lower.bodyHttp1(p, n);
  }

  protected onEnd(): void {
    this.lower.endHttp1();
  }

  protected onBad(): void {
    this.lower.badHttp1();
  }
}

/**
 * In front of tcp_proxy: HTTP requests that carry a frame each become frames on the connection to the server, and its
 * replies become HTTP responses. Over HTTP/2 many requests share that connection, so each gets the stream's id in place
 * of its own; over HTTP/1.1 there is one at a time.
 *
 * Nothing can be said to the HTTP side before the server has sent something. Where that cannot wait, a heartbeat makes
 * the server speak; protocols without one are better served over HTTP/1.1, where less has to be said.
 */
@final
export class Lower extends Bridge {
  private readonly number: Sink = new Sink(32);
  private readonly fromHttp1: FromHttp1 = new FromHttp1();

  constructor() {
    super(Side.Server);
    this.fromHttp1.lower = this;
  }

  protected start(): void {
    const session = this.session;
    if (session.settled || session.http != Http.Two) return;
    this.sendSettings(SETTINGS);
  }

  // From the router.

  protected takeHttp(p: usize, n: u32): void {
    const session = this.session;
    if (session.http == Http.Unknown) {
      const preface = Http2.preface(p, n);
      if (preface == 0) {
        session.unread = true;
        return;
      }
      session.http = preface > 0 ? Http.Two : Http.One;
      if (preface > 0) {
        p += PREFACE_SIZE;
        n -= PREFACE_SIZE;
      }
    }
    if (session.http == Http.One) {
      this.fromHttp1.read(session.http1Cut, p, n);
      return;
    }
    this.read(session.http2Cut, p, n);
    // Before our settings are out, all streams have one small window together.
    if (!session.settled && session.receivable < FIRST_WINDOW >> 1) session.urgent = true;
  }

  protected wasOpen(stream: u32): bool {
    return (stream & 1) == 1 && stream <= this.session.stream;
  }

  protected onFields(stream: u32, found: usize, end: bool): void {
    const session = this.session;
    if (found) {
      // Trailers.
      const exchange = changetype<Exchange>(found);
      if (!end || exchange.sawEnd) return this.fail(Breach.Stream);
      exchange.sawEnd = true;
      return this.onHttpEnd(exchange);
    }
    if (!(stream & 1) || stream <= session.stream) return this.fail(Breach.Stream);
    session.stream = stream;
    // Until our settings are known there may be more: the connection's first window is then the bound of their bodies.
    const most = session.acknowledged ? STREAMS_MAX : u32.MAX_VALUE;
    if (session.open >= most || this.exchanges.count >= this.settings.inFlightLimit) {
      Http2.reset(this.httpOut, stream, ErrorCode.RefusedStream);
      session.urgent = true;
      return;
    }
    const exchange = this.add(stream);
    this.opened(exchange);
    exchange.sawEnd = end;
    if (Hpack.tooLarge) return this.reject(exchange, 431);
    this.noteFields(exchange);
    if (end) this.onHttpEnd(exchange);
  }

  protected onBytes(exchange: Exchange, p: usize, n: u32): void {
    if (!this.readFrames(exchange, p, n)) this.reject(exchange, 400);
  }

  httpFrame(exchange: Exchange, frame: Frame, p: usize, n: u32): void {
    const first = !exchange.begun;
    const kind = frame.kind;
    const opens = kind == Kind.Request || kind == Kind.OneWay || kind == Kind.StreamOpen;
    const goesOn = exchange.kind == Kind.StreamOpen && (kind == Kind.StreamData || kind == Kind.StreamClose);
    // One request in one message, or the frames of one stream.
    if (this.wrong || (first ? !opens : !goesOn || frame.id != exchange.id)) {
      this.wrong = true;
      return;
    }
    this.report(frame, exchange.cut.offset);
    this.keepMetadata(frame);
    const rest = exchange.cut.rest;
    const codec = this.settings.codec;
    const id = this.session.http == Http.One ? frame.id : exchange.key;
    let changed = false;
    if (kind == Kind.StreamClose && frame.status != Status.Ok) {
      // Given up: the server has nothing to answer.
      this.settle(exchange, CLIENT_GONE);
      exchange.kind = Kind.OneWay as u8;
    }
    if (first) {
      exchange.begun = true;
      exchange.id = frame.id;
      exchange.token = frame.token;
      exchange.kind = kind as u8;
      exchange.streamed = kind == Kind.StreamOpen;
      const series = Requests.series(this.connection, frame, this.settings.labels);
      if (kind == Kind.OneWay) Requests.pass(this.settings, series, frame);
      else Requests.begin(exchange, this.connection, series, frame);
      changed = this.findChanges(exchange, frame);
    }
    this.encoded.clear();
    if (changed) {
      if (codec.encode(p, n, frame, id, this.changes, this.encoded)) {
        return this.beginFrame(exchange, this.encoded.ptr, this.encoded.size, rest);
      }
      Labels.count(this.settings.labels, "meltemi_unwritten_changes_total");
    }
    if (codec.setId(p, id)) return this.beginFrame(exchange, p, n, rest);
    this.changes.clear();
    if (codec.encode(p, n, frame, id, this.changes, this.encoded)) {
      return this.beginFrame(exchange, this.encoded.ptr, this.encoded.size, rest);
    }
    this.wrong = true;
  }

  protected onHttpEnd(exchange: Exchange): void {
    const cut = exchange.cut;
    if (!exchange.begun || cut.rest || cut.heldSize) return this.reject(exchange, 400);
    // Nobody answers it but we, when its frame is on its way.
    if (exchange.kind == Kind.OneWay) this.answer(exchange, 200);
  }

  /** The router has given up: nobody waits for the reply any more. */
  protected onBroken(exchange: Exchange, _code: u32): void {
    this.settle(exchange, CLIENT_GONE);
    if (exchange.begun && !exchange.cut.rest && exchange.toRpc.size) this.finish(exchange);
    else this.drop(exchange);
  }

  protected onPingAck(): void {}
  protected onGoAway(_lastStream: u32, _code: u32): void {}

  // Responses that no server wrote.

  /** What came as a request is none, or none that can be handled. */
  private reject(exchange: Exchange, status: u32): void {
    this.settle(exchange, REFUSED);
    // A part of it is with the server already.
    if (this.session.owner == changetype<usize>(exchange)) return this.drop(exchange);
    exchange.toRpc.release();
    exchange.turn.leave();
    if (this.session.http == Http.One) {
      this.closing = "bad_request";
      return;
    }
    if (exchange.status) {
      // It is being answered already.
      this.reset(exchange, ErrorCode.Protocol);
      return this.finish(exchange);
    }
    this.answer(exchange, status);
  }

  /** Ends the exchange with a response that is nothing but a status, or the response that has begun. */
  private answer(exchange: Exchange, status: u32): void {
    const session = this.session;
    if (session.http == Http.One) {
      if (exchange.status) {
        Http1.lastChunk(this.httpOut);
      } else {
        Http1.status(this.httpOut, status);
        Http1.header(this.httpOut, CONTENT_LENGTH.ptr, CONTENT_LENGTH.size, ZERO.ptr, ZERO.size);
        if (exchange.streamed) Http1.header(this.httpOut, CONNECTION.ptr, CONNECTION.size, CLOSE.ptr, CLOSE.size);
        Http1.end(this.httpOut);
      }
    } else {
      if (exchange.status) {
        Http2.data(this.httpOut, exchange.key as u32, 0, 0, true);
      } else {
        Hpack.status(this.startBlock(), status);
        Http2.headers(this.httpOut, exchange.key as u32, this.block, true);
      }
      if (!exchange.sawEnd) Http2.reset(this.httpOut, exchange.key as u32, ErrorCode.NoError);
    }
    session.urgent = true;
    this.finish(exchange);
  }

  // Over HTTP/1.1.

  /** False where the connection ends. */
  beginHttp1(headers: Headers): bool {
    const session = this.session;
    // Behind a response to HEAD comes no body: what came would be read as the next response.
    if (!headers.value(0).is(POST.ptr, POST.size)) {
      this.closing = "bad_request";
      return false;
    }
    // The next request may come only after the response, or one of them would be answered for the other.
    if (session.all.first) {
      this.fail(Breach.Stream);
      return false;
    }
    const exchange = this.add(++session.stream);
    this.opened(exchange);
    this.headers.clear();
    for (let i: u32 = 0; i < headers.count; i++) {
      const name = headers.name(i);
      const value = headers.value(i);
      this.headers.add(name.ptr, name.size, value.ptr, value.size);
    }
    this.noteFields(exchange);
    this.keepFields();
    return true;
  }

  bodyHttp1(p: usize, n: u32): void {
    const first = this.session.all.first;
    if (first && !this.closing.length) this.onBytes(Exchange.ofLink(first), p, n);
  }

  endHttp1(): void {
    const first = this.session.all.first;
    if (!first || this.closing.length) return;
    const exchange = Exchange.ofLink(first);
    exchange.sawEnd = true;
    this.onHttpEnd(exchange);
  }

  badHttp1(): void {
    this.fail(Breach.Preface);
  }

  // From the server.

  rpcFrame(frame: Frame, p: usize, n: u32): void {
    const session = this.session;
    session.passing = 0;
    if (this.closing.length) return;
    this.report(frame, this.fromRpc.offset);
    this.keepMetadata(frame);
    switch (frame.kind) {
      case Kind.Heartbeat:
        Labels.count(this.settings.labels, "meltemi_heartbeats_total");
        this.settings.codec.heartbeatReply(frame, this.asides);
        return;
      case Kind.HeartbeatReply:
        session.voicing = false;
        return Labels.count(this.settings.labels, "meltemi_heartbeats_total");
    }
    const found = this.session.http == Http.One ? this.onlyOne(frame.id) : this.byId(frame.id);
    if (!found || !isReply(changetype<Exchange>(found), frame.kind)) {
      return Labels.count(this.settings.labels, "meltemi_unmatched_responses_total");
    }
    this.onReply(changetype<Exchange>(found), frame, p, n);
  }

  /** The exchange with that stream, if its request is with the server. */
  private byId(id: u64): usize {
    const found = id <= (u32.MAX_VALUE as u64) ? this.find(id as u32) : 0;
    return found && changetype<Exchange>(found).begun && !changetype<Exchange>(found).done ? found : 0;
  }

  private onlyOne(id: u64): usize {
    const first = this.session.all.first;
    if (!first) return 0;
    const exchange = Exchange.ofLink(first);
    return exchange.begun && exchange.id == id ? changetype<usize>(exchange) : 0;
  }

  private onReply(exchange: Exchange, frame: Frame, p: usize, n: u32): void {
    const codec = this.settings.codec;
    const rest = this.connection.half(Side.Server).rest;
    let size = n;
    let at = p;
    this.noteOutcome(exchange, frame);
    if (!codec.setId(p, exchange.id)) {
      this.changes.clear();
      this.encoded.clear();
      if (!codec.encode(p, n, frame, exchange.id, this.changes, this.encoded)) {
        this.closing = badText(Bad.Encoding);
        return;
      }
      at = this.encoded.ptr;
      size = this.encoded.size;
    }
    if (!exchange.status) {
      exchange.status = httpStatus(frame.status) as u16;
      if (this.session.http == Http.One) this.writeHead1(exchange, frame, rest + size);
      else this.writeHead(exchange, frame);
    }
    if (frame.kind == Kind.StreamClose || frame.kind == Kind.Response) exchange.replied = true;
    this.session.passing = changetype<usize>(exchange);
    this.reply(exchange, at, size, rest == 0);
  }

  rpcBody(p: usize, n: u32, last: bool): void {
    const passing = this.session.passing;
    if (passing) this.reply(changetype<Exchange>(passing), p, n, last);
  }

  private reply(exchange: Exchange, p: usize, n: u32, last: bool): void {
    if (last) this.session.passing = 0;
    const ends = last && exchange.replied;
    this.send(exchange, p, n, ends);
    if (!ends) return;
    this.settleReply(exchange);
    if (exchange.sentEnd) this.onSent(exchange);
  }

  protected onSent(exchange: Exchange): void {
    if (!exchange.sawEnd && this.session.http == Http.Two) this.reset(exchange, ErrorCode.NoError);
    this.drop(exchange);
  }

  private writeHead(exchange: Exchange, frame: Frame): void {
    const block = this.startBlock();
    const type = this.settings.contentType;
    Hpack.status(block, exchange.status);
    Hpack.literalIndexed(block, CONTENT_TYPE_INDEX, changetype<usize>(type), type.byteLength);
    if (frame.status && HeaderRule.fits(frame.outcome)) {
      Hpack.literal(block, OUTCOME.ptr, OUTCOME.size, frame.outcome.ptr, frame.outcome.size);
    }
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      const name = HeaderRule.header(frame, i);
      const value = frame.value(i);
      if (name.ptr) Hpack.literal(block, name.ptr, name.size, value.ptr, value.size);
    }
    Http2.headers(this.httpOut, exchange.key as u32, block, false);
  }

  private writeHead1(exchange: Exchange, frame: Frame, length: u64): void {
    const out = this.httpOut;
    const type = this.settings.contentType;
    Http1.status(out, exchange.status);
    Http1.header(out, CONTENT_TYPE.ptr, CONTENT_TYPE.size, changetype<usize>(type), type.byteLength);
    if (exchange.streamed) {
      Http1.header(out, TRANSFER_ENCODING.ptr, TRANSFER_ENCODING.size, CHUNKED.ptr, CHUNKED.size);
      // What comes late of this stream would otherwise be taken for another's with the same id.
      Http1.header(out, CONNECTION.ptr, CONNECTION.size, CLOSE.ptr, CLOSE.size);
    } else {
      this.number.clear();
      this.number.unsigned(length);
      Http1.header(out, CONTENT_LENGTH.ptr, CONTENT_LENGTH.size, this.number.ptr, this.number.size);
    }
    if (frame.status && HeaderRule.fits(frame.outcome)) {
      Http1.header(out, OUTCOME.ptr, OUTCOME.size, frame.outcome.ptr, frame.outcome.size);
    }
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      const name = HeaderRule.header(frame, i);
      const value = frame.value(i);
      if (name.ptr) Http1.header(out, name.ptr, name.size, value.ptr, value.size);
    }
    Http1.end(out);
  }

  protected askForVoice(): void {
    this.session.voicing = this.settings.codec.heartbeat(PROBE_ID, this.asides);
  }

  protected mayOwn(exchange: Exchange): bool {
    if (this.session.http == Http.One || this.windowOf(exchange) >= (exchange.cut.rest as i64)) return true;
    // While the server's bytes pass, the window is opened together with the turn.
    if (this.toHttpNow) return true;
    this.session.urgent = true;
    return false;
  }
}

/** Whether a frame of that kind may answer the exchange: one reply to one request, or the frames of a stream. */
function isReply(exchange: Exchange, kind: Kind): bool {
  return !exchange.replied && (kind == Kind.Response || (exchange.streamed && kind >= Kind.StreamOpen));
}
