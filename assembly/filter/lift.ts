import { Reason } from "../codec/codec";
import { Frame, Kind, Side, Status } from "../codec/frame";
import { Clock } from "../host/clock";
import { DESTINATION, Property } from "../host/property";
import { Hpack } from "../http/hpack";
import { Breach, ErrorCode, Http2, Setting, WINDOW_MAX } from "../http/http2";
import { List } from "../memory/list";
import { Entry, Table } from "../memory/table";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Bridge, SHORT_FRAME } from "./bridge";
import { Connection } from "./connection";
import { HeaderRule } from "./headers";
import { reasonName, reasonOf } from "./reasons";
import { Requests } from "./requests";
import { hexDigit, Labels, Names, Series } from "./series";
import { Exchange, Http, Reply, Session } from "./session";

/** Streams that may be open before the peer's settings say how many it takes: what RFC 9113 recommends as the least. */
const FIRST_STREAMS: u32 = 100;
const LAST_STREAM_ID: u32 = i32.MAX_VALUE;
/**
 * Milliseconds before which no stream is reset that has no answer: Envoy takes many that are reset in their first two
 * seconds for an attack.
 */
const LEAST_LIFE: u32 = 3000;
/** Of the text of a reply that Envoy wrote. */
const TEXT_MAX: u32 = 256;

// Indexes of HPACK's static table.
const METHOD_POST: u32 = 3;
const SCHEME_HTTP: u32 = 6;
const AUTHORITY: u32 = 1;
const PATH: u32 = 4;
const CONTENT_TYPE: u32 = 31;

/** Bit c: whether that character of ASCII may stand in a path segment (pchar, without %). */
const PCHAR_LOW: u64 = 0x2fff7fd200000000;
const PCHAR_HIGH: u64 = 0x47fffffe87ffffff;

const UNKNOWN = Slice.of("unknown");
const CLIENT_GONE = Slice.of("client_gone");
const GRPC_TIMEOUT = Slice.of("grpc-timeout");
const STATUS_FIELD = Slice.of(":status");
const CONTENT_TYPE_FIELD = Slice.of("content-type");

/** Room for the few fields that all replies share, and not for more: each connection has a table of its own. */
const TABLE_BYTES: u32 = 512;

const SETTINGS: StaticArray<u32> = [Setting.HeaderTableSize, TABLE_BYTES, Setting.InitialWindowSize, SHORT_FRAME];

const text = Slice.make();

/** The stream of a client by the id that the client gave it; `owner` is the session. */
@unmanaged
@final
class ClientStream extends Entry {
  exchange: usize;
}

/**
 * In front of Envoy's HTTP connection manager: each request of the client becomes an HTTP/2 request, whose DATA is the
 * frame as it was. What the service answered comes back as the frame that it is; what Envoy answered in its place becomes
 * the protocol's own error reply.
 */
@final
export class Lift extends Bridge {
  private readonly clientStreams: Table = new Table(offsetof<ClientStream>());
  private readonly head: Sink = new Sink();
  private readonly message: Sink = new Sink();
  private readonly request: Frame = Frame.make();
  /** Exchanges that nobody waits for but Envoy, since all of the request is sent: by their turns, the oldest first. */
  private readonly unanswered: List = List.make();

  constructor() {
    super(Side.Client);
  }

  open(connection: Connection): void {
    super.open(connection);
    const session = changetype<Session>(connection.session);
    session.http = Http.Two;
    session.stream = 1;
    session.peerStreams = FIRST_STREAMS;
    session.table.limit = TABLE_BYTES;
  }

  protected start(): void {
    const session = this.session;
    if (session.settled) return;
    Http2.writePreface(this.httpOut);
    this.sendSettings(SETTINGS);
    this.writeLead(session);
  }

  /** Method, scheme and authority, which all requests of the connection have alike. */
  private writeLead(session: Session): void {
    const settings = this.settings;
    const configured = settings.authority;
    if (configured) text.set(changetype<usize>(configured), configured.byteLength);
    else Property.read(DESTINATION, text);
    // Where nobody knows.
    if (!text.ptr) text.set(changetype<usize>(settings.service), settings.service.byteLength);
    const block = this.block;
    block.clear();
    Hpack.indexed(block, METHOD_POST);
    Hpack.indexed(block, SCHEME_HTTP);
    Hpack.literalIndexed(block, AUTHORITY, text.ptr, text.size);
    session.setLead(block.ptr, block.size);
  }

  // From the client.

  rpcFrame(frame: Frame, p: usize, n: u32): void {
    const session = this.session;
    session.passing = 0;
    if (this.closing.length) return;
    this.report(frame, this.fromRpc.offset);
    this.keepMetadata(frame);
    switch (frame.kind) {
      case Kind.Request:
      case Kind.OneWay:
      case Kind.StreamOpen:
        return this.onRequest(frame, p, n);
      case Kind.StreamData:
      case Kind.StreamClose:
        return this.onStreamFrame(frame, p, n);
      case Kind.Heartbeat:
        Labels.count(this.settings.labels, "meltemi_heartbeats_total");
        this.settings.codec.heartbeatReply(frame, this.asides);
        return;
      case Kind.HeartbeatReply:
        return Labels.count(this.settings.labels, "meltemi_heartbeats_total");
      default:
        // Servers ask nothing through the bridge, so that there is nothing to answer.
        Labels.count(this.settings.labels, "meltemi_unmatched_responses_total");
    }
  }

  rpcBody(p: usize, n: u32, last: bool): void {
    const passing = this.session.passing;
    if (passing) this.pass(changetype<Exchange>(passing), p, n, last);
  }

  private onRequest(frame: Frame, p: usize, n: u32): void {
    const session = this.session;
    const settings = this.settings;
    const series = Requests.series(this.connection, frame, settings.labels);
    const oneWay = frame.kind == Kind.OneWay;
    if (this.exchanges.count >= settings.inFlightLimit) return this.refuse(frame, series, Reason.RateLimited);
    if (session.leaving || session.stream > LAST_STREAM_ID) return this.refuse(frame, series, Reason.Unavailable);

    const exchange = this.add(session.stream);
    session.stream += 2;
    exchange.id = frame.id;
    exchange.token = frame.token;
    exchange.kind = frame.kind as u8;
    if (oneWay) Requests.pass(settings, series, frame);
    else Requests.begin(exchange, this.connection, series, frame);
    if (settings.codec.echoesMethod && !exchange.method.append(frame.method.ptr, frame.method.size)) {
      this.closing = "crowded";
      return;
    }
    if (frame.kind == Kind.StreamOpen) this.remember(exchange);
    this.writeHead(frame, series);
    if (session.slots.first || session.open >= session.peerStreams) {
      this.head.clear();
      this.beginStream(exchange, this.head);
      exchange.headBytes = this.head.size;
      if (!this.hold(exchange, this.head.ptr, this.head.size)) return;
      session.slots.append(exchange.wait);
    } else {
      this.opened(exchange);
      this.beginStream(exchange, this.httpOut);
    }
    session.passing = changetype<usize>(exchange);
    this.pass(exchange, p, n, frame.length == n);
  }

  /** Writes the HEADERS of a request, which stand in `block`. */
  private beginStream(exchange: Exchange, out: Sink): void {
    const stream = exchange.key as u32;
    Http2.headers(out, stream, this.block, false);
    if (exchange.kind != Kind.StreamOpen) return;
    Http2.window(out, stream, (WINDOW_MAX - exchange.receivable) as u32);
    exchange.receivable = WINDOW_MAX;
  }

  /** Envoy resets a stream whose reply ends before its request has, and with it what waits for a window: so nothing does. */
  protected windowFor(exchange: Exchange): i64 {
    return exchange.kind == Kind.StreamOpen ? WINDOW_MAX : SHORT_FRAME;
  }

  /** Bytes of a frame; `last` where it is whole now. */
  private pass(exchange: Exchange, p: usize, n: u32, last: bool): void {
    // A stream goes on until the server closes it: a client that has nothing more to say may still have to confirm.
    const ends = last && exchange.kind != Kind.StreamOpen;
    this.send(exchange, p, n, ends);
    if (last) this.session.passing = 0;
    if (exchange.sentEnd) this.onSent(exchange);
  }

  /** The header block of a request, in `block`. */
  private writeHead(frame: Frame, series: Series): void {
    const settings = this.settings;
    const block = this.startBlock();
    const lead = this.session.lead;
    block.bytes(lead.ptr, lead.size);
    // The names of most requests are those of their series, whole.
    const own =
      Names.service.ptr == frame.service.ptr &&
      Names.method.ptr == frame.method.ptr &&
      series.serviceSize == frame.service.size &&
      series.methodSize == frame.method.size;
    if (own && series.path) {
      block.bytes(series.path, series.pathSize);
    } else {
      const from = block.size;
      this.writePath(frame);
      Hpack.literalIndexed(block, PATH, this.head.ptr, this.head.size);
      const type = settings.contentType;
      Hpack.literalIndexed(block, CONTENT_TYPE, changetype<usize>(type), type.byteLength);
      if (own) series.keepPath(block.ptr + from, block.size - from);
    }
    if (frame.deadline) {
      this.head.clear();
      // A number of at most eight digits and its unit.
      const seconds = frame.deadline > 99_999_999;
      this.head.unsigned(seconds ? frame.deadline / 1000 : frame.deadline);
      this.head.u8(seconds ? 0x53 : 0x6d);
      Hpack.literal(block, GRPC_TIMEOUT.ptr, GRPC_TIMEOUT.size, this.head.ptr, this.head.size);
    }
    for (let i: u32 = 0; i < frame.metadataCount; i++) {
      const name = HeaderRule.header(frame, i);
      const value = frame.value(i);
      if (name.ptr) Hpack.literal(block, name.ptr, name.size, value.ptr, value.size);
    }
  }

  /** `/SERVICE/METHOD` in `head`. */
  private writePath(frame: Frame): void {
    const head = this.head;
    const unnamed = this.settings.service;
    head.clear();
    head.u8(0x2f);
    text.set(changetype<usize>(unnamed), unnamed.byteLength);
    segment(head, frame.service.size ? frame.service : text);
    head.u8(0x2f);
    segment(head, frame.method.size ? frame.method : UNKNOWN);
  }

  /** A request that never becomes one of HTTP. */
  private refuse(frame: Frame, series: Series, reason: Reason): void {
    Requests.pass(this.settings, series, frame, reasonName(reason));
    if (frame.kind == Kind.OneWay) return;
    this.message.clear();
    this.message.text(reason == Reason.RateLimited ? "too many requests in flight" : "the proxy is leaving");
    this.settings.codec.error(frame, reason, this.message.ptr, this.message.size, this.asides);
  }

  // Streams of the client.

  private remember(exchange: Exchange): void {
    const record = changetype<ClientStream>(this.clientStreams.add(changetype<usize>(this.session), exchange.id));
    record.exchange = changetype<usize>(exchange);
  }

  private onStreamFrame(frame: Frame, p: usize, n: u32): void {
    const found = this.clientStreams.find(changetype<usize>(this.session), frame.id);
    // The server, or Envoy, has ended the stream, and the client does not know it yet.
    if (!found) return;
    const exchange = changetype<Exchange>(changetype<ClientStream>(found).exchange);
    if (frame.kind == Kind.StreamClose && frame.status != Status.Ok) {
      // The client has given the stream up: nobody waits for a reply any more.
      this.settle(exchange, CLIENT_GONE);
      this.unremember(exchange);
      exchange.kind = Kind.OneWay as u8;
      exchange.toRpc.release();
      exchange.turn.leave();
    }
    this.session.passing = changetype<usize>(exchange);
    this.pass(exchange, p, n, frame.length == n);
  }

  private unremember(exchange: Exchange): void {
    if (exchange.kind != Kind.StreamOpen) return;
    let at = this.clientStreams.find(changetype<usize>(this.session), exchange.id);
    while (at && changetype<ClientStream>(at).exchange != changetype<usize>(exchange)) {
      at = this.clientStreams.nextSame(at);
    }
    if (at) this.clientStreams.remove(at);
  }

  protected finish(exchange: Exchange): void {
    this.unremember(exchange);
    super.finish(exchange);
  }

  protected forget(exchange: Exchange): void {
    this.unremember(exchange);
    super.forget(exchange);
  }

  // From the HTTP connection manager.

  protected takeHttp(p: usize, n: u32): void {
    this.read(this.session.http2Cut, p, n);
  }

  protected wasOpen(stream: u32): bool {
    return (stream & 1) == 1 && stream < this.session.stream;
  }

  protected onFields(stream: u32, found: usize, end: bool): void {
    if (!found) {
      if (!this.wasOpen(stream)) this.fail(Breach.Stream);
      return;
    }
    const exchange = changetype<Exchange>(found);
    if (exchange.sawEnd) return this.fail(Breach.Stream);
    if (exchange.done) {
      exchange.sawEnd = end;
      return;
    }
    if (exchange.reply == Reply.None) {
      const status = statusOf(this.headers.find(STATUS_FIELD));
      if (status < 100) return this.fail(Breach.Headers);
      if (status < 200) {
        // Others follow.
        if (end) this.fail(Breach.Headers);
        return;
      }
      const type = this.settings.contentType;
      const framed = this.headers.find(CONTENT_TYPE_FIELD).is(changetype<usize>(type), type.byteLength);
      exchange.reply = framed ? Reply.Frames : Reply.Text;
      exchange.status = status as u16;
      if (framed) this.noteFields(exchange);
    } else if (!end) {
      // Trailers end a message.
      return this.fail(Breach.Headers);
    }
    if (!end) return;
    exchange.sawEnd = true;
    this.onHttpEnd(exchange);
  }

  protected onBytes(exchange: Exchange, p: usize, n: u32): void {
    if (exchange.kind == Kind.OneWay) {
      // Nobody waits for it, but the frame whose start was written needs its end.
      if (this.session.owner == changetype<usize>(exchange)) this.readFrames(exchange, p, n);
      return;
    }
    if (exchange.reply == Reply.Frames) {
      if (this.readFrames(exchange, p, n)) return;
      this.reset(exchange, ErrorCode.Cancel);
      this.answer(exchange, Reason.Internal, "the upstream answered with what is not a reply of the protocol");
    } else if (exchange.reply == Reply.Text) {
      const room = TEXT_MAX - min<u32>(TEXT_MAX, exchange.fields.size);
      this.keep(exchange, p, min<u32>(n, room));
    } else {
      this.fail(Breach.Stream);
    }
  }

  httpFrame(exchange: Exchange, frame: Frame, p: usize, n: u32): void {
    const kind = frame.kind;
    const streams = exchange.kind == Kind.StreamOpen;
    const fits = kind == Kind.Response || (streams && kind >= Kind.StreamOpen);
    // One reply to one request, and to that one.
    if (!fits || frame.id != exchange.id || this.wrong || exchange.replied) {
      this.wrong = true;
      return;
    }
    exchange.replied = kind == Kind.Response || kind == Kind.StreamClose;
    this.report(frame, exchange.cut.offset);
    this.keepMetadata(frame);
    const rest = exchange.cut.rest;
    this.noteOutcome(exchange, frame);
    if (!exchange.begun) {
      exchange.begun = true;
      if (this.findChanges(exchange, frame)) {
        this.encoded.clear();
        if (this.settings.codec.encode(p, n, frame, frame.id, this.changes, this.encoded)) {
          return this.beginFrame(exchange, this.encoded.ptr, this.encoded.size, rest);
        }
        Labels.count(this.settings.labels, "meltemi_unwritten_changes_total");
      }
    }
    this.beginFrame(exchange, p, n, rest);
  }

  protected onHttpEnd(exchange: Exchange): void {
    // Envoy has answered before it had all of the request.
    if (!exchange.sentEnd) this.reset(exchange, ErrorCode.NoError);
    if (exchange.kind == Kind.OneWay) return this.drop(exchange);
    if (exchange.reply == Reply.Text) {
      const said = exchange.fields;
      const reason = reasonOf(exchange.status);
      this.message.clear();
      this.message.text("HTTP ");
      this.message.unsigned(exchange.status);
      this.message.text(": ");
      if (said.size) this.message.bytes(said.ptr, said.size);
      else words(this.message, reasonName(reason));
      return this.answerWith(exchange, reason);
    }
    this.answer(exchange, Reason.Unavailable, "the upstream ended its reply before it was whole");
  }

  protected onBroken(exchange: Exchange, code: u32): void {
    if (exchange.kind == Kind.OneWay) return this.drop(exchange);
    this.message.clear();
    this.message.text("the request was reset (HTTP/2 error ");
    this.message.unsigned(code);
    this.message.u8(0x29);
    exchange.sawEnd = true;
    this.answerWith(exchange, Reason.Unavailable);
  }

  protected onPingAck(): void {
    this.session.voicing = false;
  }

  protected onGoAway(lastStream: u32, _code: u32): void {
    const session = this.session;
    // The first one may only announce that another follows.
    if (lastStream == LAST_STREAM_ID) return;
    session.leaving = true;
    let link = session.all.first;
    while (link) {
      const exchange = Exchange.ofLink(link);
      link = exchange.link.next;
      if (exchange.key <= (lastStream as u64)) continue;
      if (exchange.kind == Kind.OneWay) this.drop(exchange);
      else this.answer(exchange, Reason.Unavailable, "the proxy is leaving");
    }
  }

  protected onSent(exchange: Exchange): void {
    if (exchange.kind != Kind.OneWay) return;
    exchange.started = Clock.now();
    this.unanswered.append(exchange.turn);
  }

  get waiting(): bool {
    return this.unanswered.first != 0 || super.waiting;
  }

  tick(): void {
    super.tick();
    for (;;) {
      const turn = this.unanswered.first;
      if (!turn || !isOverdue(Exchange.ofTurn(turn))) return;
      const session = changetype<Session>(Exchange.ofTurn(turn).owner);
      this.resume(changetype<Connection>(session.connection), "");
    }
  }

  /**
   * Ends the streams of requests without a reply that have waited for long enough: where the server's leg has no occasion
   * to answer, each would keep a connection to the server.
   */
  protected onResumed(): void {
    let turn = this.unanswered.first;
    while (turn) {
      const exchange = Exchange.ofTurn(turn);
      if (!isOverdue(exchange)) return;
      turn = exchange.turn.next;
      if (exchange.owner != changetype<usize>(this.session)) continue;
      this.reset(exchange, ErrorCode.Cancel);
      this.forget(exchange);
    }
  }

  /** Ends an exchange with the protocol's own error reply, unless its reply is whole. */
  private answer(exchange: Exchange, reason: Reason, message: string): void {
    this.message.clear();
    this.message.text(message);
    this.answerWith(exchange, reason);
  }

  private answerWith(exchange: Exchange, reason: Reason): void {
    if (this.session.owner == changetype<usize>(exchange)) return this.drop(exchange);
    if (exchange.replied && !exchange.cut.rest) {
      this.settleReply(exchange);
      return this.finish(exchange);
    }
    if (exchange.cut.rest) {
      // What was held of a frame that is none any more, but not of those before it.
      exchange.toRpc.truncate(exchange.wholeBytes);
      if (!exchange.toRpc.size) exchange.turn.leave();
    }
    exchange.cut.release();
    exchange.cut.rest = 0;
    const frame = this.request;
    frame.reset();
    frame.side = Side.Client;
    // Of a stream that the client knows to be open, or is about to.
    const isOpen = exchange.framed && exchange.kind == Kind.StreamOpen;
    frame.kind = isOpen ? Kind.StreamData : (exchange.kind as Kind);
    frame.id = exchange.id;
    frame.token = exchange.token;
    frame.method.set(exchange.method.ptr, exchange.method.size);
    this.encoded.clear();
    this.settings.codec.error(frame, reason, this.message.ptr, this.message.size, this.encoded);
    exchange.responseBytes = this.encoded.size;
    this.settle(exchange, reasonName(reason));
    this.beginFrame(exchange, this.encoded.ptr, this.encoded.size, 0);
    this.finish(exchange);
  }

  protected askForVoice(): void {
    // Its answer is an occasion to write to the client.
    Http2.ping(this.httpOut);
    this.session.voicing = true;
  }

  protected mayOwn(_exchange: Exchange): bool {
    return true;
  }
}

/** Whether all of it was sent so long ago that it has arrived, or never will. */
function isOverdue(exchange: Exchange): bool {
  const connection = changetype<Connection>(changetype<Session>(exchange.owner).connection);
  return Clock.millisecondsSince(exchange.started) >= (max(connection.settings.waitMilliseconds, LEAST_LIFE) as u64);
}

/** Appends text as one segment of a path: what RFC 3986 does not allow there is written as %XX. */
function segment(sink: Sink, text: Slice): void {
  for (let i: u32 = 0; i < text.size; i++) {
    const byte = load<u8>(text.ptr + i) as u32;
    if (byte < 0x80 && (byte < 64 ? PCHAR_LOW >> byte : PCHAR_HIGH >> (byte - 64)) & 1) {
      sink.u8(byte);
    } else {
      sink.u8(0x25);
      sink.u8(hexDigit(byte >> 4));
      sink.u8(hexDigit(byte & 15));
    }
  }
}

/** Appends a name with blanks in place of underscores. */
function words(sink: Sink, name: Slice): void {
  for (let i: u32 = 0; i < name.size; i++) {
    const byte = load<u8>(name.ptr + i) as u32;
    sink.u8(byte == 0x5f ? 0x20 : byte);
  }
}

/** The three digits of `:status`; 0 where they are none. */
function statusOf(value: Slice): u32 {
  if (value.size != 3) return 0;
  let number: u32 = 0;
  for (let i: u32 = 0; i < 3; i++) {
    const digit = (load<u8>(value.ptr + i) as u32) - 48;
    if (digit > 9) return 0;
    number = number * 10 + digit;
  }
  return number;
}
