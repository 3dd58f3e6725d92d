import { Changes } from "../codec/changes";
import { Bad, badText, Codec } from "../codec/codec";
import { Frame, Kind, Side } from "../codec/frame";
import { Cut, Scanner } from "../codec/scanner";
import { Buffer, BufferType } from "../host/buffer";
import { Clock } from "../host/clock";
import { Action, Stream } from "../host/stream";
import { Headers } from "../http/headers";
import { Hpack } from "../http/hpack";
import { Http1 } from "../http/http1";
import { Breach, breachText, ErrorCode, FIRST_WINDOW, Http2, Http2Reader, Setting, WINDOW_MAX } from "../http/http2";
import { Block } from "../memory/held";
import { Link, List } from "../memory/list";
import { Table } from "../memory/table";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Connection, Phase } from "./connection";
import { HeaderRule } from "./headers";
import { Observe } from "./observe";
import { Report } from "./report";
import { Requests } from "./requests";
import { Labels, Outcome, Series } from "./series";
import { Exchange, Http, Session } from "./session";
import { Settings } from "./settings";

/** The most that one callback writes: what is held, and what comes in one read. */
const OUT_MAX: u32 = 256 << 20;
/** What a sink keeps between two callbacks. */
const OUT_KEPT: u32 = 4 << 20;
/** The connection's window is opened again when so much of it is left. */
const CONNECTION_LOW: i64 = 1 << 30;
/** Bytes of control frames and of asides that may wait for an occasion; who provokes more means no good. */
const WAITING_MAX: u32 = 1 << 20;
/**
 * The longest frame that is held until it is whole, and the window of a stream: what waits for its turn is no longer.
 */
export const SHORT_FRAME: u32 = 256 << 10;
/** Bytes that wait for the HTTP peer, from which on a client is not read; and from which on it is cut off. */
const HELD_HIGH: u32 = 1 << 20;
const HELD_MAX: u32 = 32 << 20;
/** Header fields of one connection that are kept until frames come. A peer with HPACK needs few bytes to send many. */
const KEPT_MAX: u32 = 16 << 20;

const CLIENT_GONE = Slice.of("client_gone");
const UPSTREAM_GONE = Slice.of("upstream_gone");
const OK = Slice.of("ok");

/** The bytes of the private side, cut into frames. */
@final
class FromRpc extends Scanner {
  private base: usize = 0;
  private cut: Cut = changetype<Cut>(0);
  /** Set once, by the bridge itself. */
  bridge: Bridge = changetype<Bridge>(0);

  constructor() {
    super();
    this.window = u32.MAX_VALUE;
  }

  limit(settings: Settings): void {
    this.frameLimit = settings.frameLimit;
    this.headLimit = settings.headLimit;
  }

  run(cut: Cut, codec: Codec, p: usize, n: u32): void {
    this.base = p;
    this.cut = cut;
    this.scan(cut, codec, n);
  }

  get offset(): u64 {
    return this.frameOffset;
  }

  protected read(at: u32, _size: u32): usize {
    return this.base + at;
  }

  protected onFrame(p: usize, n: u32): void {
    this.bridge.rpcFrame(this.frame, p, n);
  }

  protected onBody(at: u32, size: u32): void {
    this.bridge.rpcBody(this.base + at, size, this.cut.rest == 0);
  }

  protected onEnd(): void {}

  protected onBad(bad: Bad): void {
    this.bridge.rpcBad(bad);
  }
}

/** The DATA of one HTTP stream, cut into frames. */
@final
class FromHttp extends Scanner {
  private base: usize = 0;
  private exchange: Exchange = changetype<Exchange>(0);
  /** Set once, by the bridge itself. */
  bridge: Bridge = changetype<Bridge>(0);

  constructor() {
    super();
    this.window = u32.MAX_VALUE;
  }

  limit(settings: Settings): void {
    this.frameLimit = settings.frameLimit;
    this.headLimit = settings.headLimit;
  }

  /** False where the bytes are not the protocol. */
  run(exchange: Exchange, codec: Codec, p: usize, n: u32): bool {
    this.base = p;
    this.exchange = exchange;
    return this.scan(exchange.cut, codec, n);
  }

  protected read(at: u32, _size: u32): usize {
    return this.base + at;
  }

  protected onFrame(p: usize, n: u32): void {
    this.bridge.httpFrame(this.exchange, this.frame, p, n);
  }

  protected onBody(at: u32, size: u32): void {
    if (this.bridge.wrong) return;
    this.bridge.continueFrame(this.exchange, this.base + at, size, this.exchange.cut.rest);
  }

  protected onEnd(): void {}
  protected onBad(_bad: Bad): void {}
}

/**
 * What lift and lower share. Each stands between a connection that carries frames of the private protocol and HTTP
 * streams that carry one request each. On one of the two sides it can write whenever it wants (towards the next filter);
 * on the other only in answer to bytes that come from there, so that now and then somebody must be made to speak.
 *
 * Frames of different streams never mix on the private side. A frame that is short enough is held until it is whole; a
 * longer one is written as it comes, and until it is whole its exchange owns the private side. The others wait inside
 * of their flow-control windows, which are no larger than what a short frame has.
 *
 * There is one of each kind for all connections, because callbacks come one after the other.
 */
export abstract class Bridge extends Http2Reader {
  protected readonly exchanges: Table = new Table(offsetof<Exchange>() + offsetof<Cut>());
  protected readonly httpOut: Sink = new Sink(OUT_MAX);
  protected readonly rpcOut: Sink = new Sink(OUT_MAX);
  /** Whole frames for the private side that belong to no exchange. */
  protected readonly asides: Sink = new Sink(OUT_MAX);
  /** A frame that is written anew. */
  protected readonly encoded: Sink = new Sink(OUT_MAX);
  /** A header block. */
  protected readonly block: Sink = new Sink(OUT_MAX);
  protected readonly headers: Headers = new Headers();
  protected readonly changes: Changes = new Changes();
  protected readonly fromRpc: FromRpc = new FromRpc();
  protected readonly fromHttp: FromHttp = new FromHttp();
  /** The exchange whose header fields stand in `headers` and whose frame has not come; 0 where none is. */
  protected fresh: usize = 0;
  /** What is being read of an exchange's DATA is a frame that has no place there. */
  wrong: bool = false;
  /** Sessions that the next tick goes on with. */
  private readonly due: List = List.make();
  /** Sessions with an owner. */
  private readonly owned: List = List.make();

  // Of the current callback.
  protected connection: Connection = changetype<Connection>(0);
  protected session: Session = changetype<Session>(0);
  protected settings: Settings = changetype<Settings>(0);
  /** Bytes go from the client towards the server. */
  protected down: bool = false;
  /** Why the connection is to be closed; empty while it is not. */
  protected closing: string = "";

  constructor(
    /** Who speaks the private protocol on the near side: lift has clients there, lower servers. */
    protected readonly rpcSide: Side,
  ) {
    super();
    this.fromRpc.bridge = this;
    this.fromHttp.bridge = this;
    this.fromRpc.frame.side = rpcSide;
    this.fromHttp.frame.side = rpcSide == Side.Client ? Side.Server : Side.Client;
  }

  // What differs between the two.

  /** A frame on the private side begins: as Scanner.onFrame(). */
  abstract rpcFrame(frame: Frame, p: usize, n: u32): void;
  /** More of it; `last` where it is whole now. */
  abstract rpcBody(p: usize, n: u32, last: bool): void;
  /** A frame begins in the DATA of an exchange: as Scanner.onFrame(). */
  abstract httpFrame(exchange: Exchange, frame: Frame, p: usize, n: u32): void;
  /** Bytes from the HTTP side. */
  protected abstract takeHttp(p: usize, n: u32): void;
  /** Header fields of a stream: `headers` has them. */
  protected abstract onFields(stream: u32, exchange: usize, end: bool): void;
  /** DATA of a stream. */
  protected abstract onBytes(exchange: Exchange, p: usize, n: u32): void;
  /** The HTTP side has ended the stream. */
  protected abstract onHttpEnd(exchange: Exchange): void;
  /** The HTTP side has broken the stream off. */
  protected abstract onBroken(exchange: Exchange, code: u32): void;
  /** Whether the stream may have been there and is over; false where it never was. */
  protected abstract wasOpen(stream: u32): bool;
  /** Has those speak who can only be answered. */
  protected abstract askForVoice(): void;
  /** Whether a long frame may be begun, because its stream's window is, or is being, opened for all of it. */
  protected abstract mayOwn(exchange: Exchange): bool;

  // A connection.

  open(connection: Connection): void {
    connection.session = changetype<usize>(Session.make(changetype<usize>(connection)));
  }

  /** Takes what came from the client's side, all that is in the host's buffer. */
  downstream(connection: Connection, size: u32, end: bool): Action {
    const session = changetype<Session>(connection.session);
    if (this.rpcSide == Side.Client && session.heldForHttp > HELD_HIGH) {
      // What stays in the host's buffer stops the client, until windows open and the tick reads on.
      session.unread = true;
      return Action.StopIteration;
    }
    this.enter(connection, true);
    this.receive(size);
    this.leave(size, end);
    return Action.StopIteration;
  }

  /** Takes what the next filter sends back. All of it: the host has no way to keep it. */
  upstream(connection: Connection, size: u32): void {
    this.enter(connection, false);
    this.receive(size);
    this.leave(size);
  }

  /** The connection is over. */
  close(connection: Connection): void {
    const session = changetype<Session>(connection.session);
    this.connection = connection;
    this.session = session;
    const gone = connection.ended && connection.endedBy == Side.Client ? CLIENT_GONE : UPSTREAM_GONE;
    while (session.all.first) {
      const exchange = Exchange.ofLink(session.all.first);
      this.settle(exchange, gone);
      this.forget(exchange);
    }
    session.free();
    connection.session = 0;
  }

  /** Whether ticks are needed. */
  get waiting(): bool {
    return this.due.first != 0 || this.owned.first != 0;
  }

  /** Whether the next one should come at once. */
  get hurry(): bool {
    return this.due.first != 0;
  }

  tick(): void {
    while (this.due.first) {
      const session = Session.ofDue(this.due.first);
      session.due.leave();
      this.resume(changetype<Connection>(session.connection), "");
    }
    let at = this.owned.first;
    while (at) {
      const session = Session.ofOwned(at);
      at = session.owned.next;
      if (!session.turns.first && !session.asides.size) {
        // Nobody minds: the time counts from when somebody does.
        session.progress = Clock.now();
        session.moved = 0;
        continue;
      }
      const connection = changetype<Connection>(session.connection);
      if (Clock.millisecondsSince(session.progress) < (connection.settings.waitMilliseconds as u64)) continue;
      session.owned.leave();
      this.resume(connection, "stalled");
      // Closing one connection may end others, the next one of the list among them.
      at = this.owned.first;
    }
  }

  /** Goes on with a connection outside of its own callbacks. */
  protected resume(connection: Connection, closing: string): void {
    Stream.enter(connection.key as u32);
    this.enter(connection, true);
    this.closing = closing;
    // What the client sent meanwhile would otherwise pass to the next filter as it is.
    const size = Buffer.length(BufferType.DownstreamData);
    if (!closing.length) this.receive(size);
    this.onResumed();
    this.leave(size);
  }

  protected onResumed(): void {}

  private enter(connection: Connection, down: bool): void {
    const session = changetype<Session>(connection.session);
    const settings = connection.settings;
    this.connection = connection;
    this.session = session;
    this.down = down;
    this.closing = "";
    this.breach = Breach.None;
    this.fresh = 0;
    this.httpOut.clear();
    this.rpcOut.clear();
    this.asides.clear();
    if (settings == this.settings) return;
    this.settings = settings;
    this.fromRpc.limit(settings);
    this.fromHttp.limit(settings);
    // Lift reads deadlines out of it, whatever becomes a header.
    this.fromRpc.wantsMetadata = this.rpcSide == Side.Client || settings.makesHeaders;
  }

  /** Whether what is written for the HTTP side in this callback goes out with it. What is for the other side waits. */
  @inline
  protected get toHttpNow(): bool {
    return this.down == (this.rpcSide == Side.Client);
  }

  private receive(size: u32): void {
    const session = this.session;
    // What has waited for this occasion goes first.
    if (this.toHttpNow) {
      session.urgent = false;
      this.start();
      flush(session.httpBlock, this.httpOut);
    } else {
      flush(session.rpcBlock, this.rpcOut);
    }
    if (this.down) session.unread = false;
    if (!size) return;
    const p = Buffer.read(this.down ? BufferType.DownstreamData : BufferType.UpstreamData, 0, size);
    if (!p || Buffer.size != size) this.closing = "buffer";
    else if (this.toHttpNow) this.takeRpc(p, size);
    else this.takeHttp(p, size);
  }

  /** What stands before everything else that is sent as HTTP on a connection. */
  protected abstract start(): void;

  private takeRpc(p: usize, n: u32): void {
    this.fromRpc.run(this.connection.half(this.rpcSide), this.settings.codec, p, n);
  }

  /** Writes what came of the callback, and sees to it that the rest finds its occasion. */
  private leave(size: u32, end: bool = false): void {
    const session = this.session;
    if (!this.closing.length) {
      this.keepFields();
      this.takeTurns();
      if (this.toHttpNow) {
        this.pump();
        session.urgent = false;
      }
      this.findOccasion();
      this.keepRest();
    }
    if (this.breach) this.closing = breachText(this.breach);
    if (this.httpOut.full || this.rpcOut.full || this.asides.full) this.closing = badText(Bad.Crowded);
    if (this.closing.length) return this.shut(size);
    const out = this.toHttpNow ? this.httpOut : this.rpcOut;
    if (!this.down) {
      Buffer.replace(BufferType.UpstreamData, size, out);
    } else if (!session.unread) {
      if (size || out.size) Buffer.replace(BufferType.DownstreamData, size, out);
      if (out.size || end) Stream.proceed();
    }
    this.httpOut.shrink(OUT_KEPT);
    this.rpcOut.shrink(OUT_KEPT);
  }

  /** Where something waits for the other direction: has it come soon. */
  private findOccasion(): void {
    const session = this.session;
    // Lower: nothing can be written to the server before the router has said its first words.
    if (session.http == Http.Unknown) return;
    const canRead = session.unread && session.heldForHttp <= HELD_HIGH;
    const waits = this.toHttpNow ? this.rpcOut.size != 0 || session.rpcBlock.size != 0 : session.urgent || canRead;
    if (!waits) return;
    if (!this.down) {
      if (!session.due.list) this.due.append(session.due);
    } else if (!session.voicing) {
      this.askForVoice();
      this.flushAsides();
    }
  }

  /** What this callback cannot write waits in the session. */
  private keepRest(): void {
    const session = this.session;
    const forRpc = this.toHttpNow || session.http == Http.Unknown;
    const rest = forRpc ? this.rpcOut : this.httpOut;
    const block = forRpc ? session.rpcBlock : session.httpBlock;
    const asides = this.asides;
    if (asides.size && !session.asides.size) this.watchOwner();
    if (
      (rest.size && !block.append(rest.ptr, rest.size)) ||
      (asides.size && !session.asides.append(asides.ptr, asides.size)) ||
      session.httpBlock.size > WAITING_MAX ||
      (session.http == Http.Unknown && session.rpcBlock.size > WAITING_MAX) ||
      session.asides.size > WAITING_MAX ||
      (this.rpcSide == Side.Client && session.heldForHttp > HELD_MAX)
    ) {
      this.closing = badText(Bad.Crowded);
    }
  }

  private shut(size: u32): void {
    const reason = String.UTF8.encode(this.closing);
    Labels.count(this.settings.labels, "meltemi_closed_connections_total", "reason", reason);
    this.connection.phase = Phase.Closed;
    this.session.due.leave();
    this.session.owned.leave();
    this.rpcOut.clear();
    Buffer.replace(this.down ? BufferType.DownstreamData : BufferType.UpstreamData, size, this.rpcOut);
    // From here on the connection may be gone.
    Stream.close();
  }

  // The private side: what is read there.

  rpcBad(bad: Bad): void {
    Observe.reportBad(this.connection, this.rpcSide, bad, this.fromRpc.offset);
    this.closing = badText(bad);
  }

  protected report(frame: Frame, offset: u64): void {
    if (this.settings.logFrames) Report.frame(this.connection.key as u32, this.settings.codec.name, frame, offset);
  }

  /** Of the frame's metadata only those become headers, or are compared with headers, that may. */
  protected keepMetadata(frame: Frame): void {
    const keys = this.settings.metadata;
    if (keys) frame.keep(keys);
  }

  // The private side: what is written there.

  /** A frame of an exchange begins with the n bytes at p; `rest` more follow. */
  protected beginFrame(exchange: Exchange, p: usize, n: u32, rest: u64): void {
    exchange.large = n + rest > (SHORT_FRAME as u64) || this.session.http == Http.One;
    this.continueFrame(exchange, p, n, rest);
  }

  /** The next n bytes of an exchange's frame, of which `rest` are still to come. */
  continueFrame(exchange: Exchange, p: usize, n: u32, rest: u64): void {
    const session = this.session;
    if (!rest) exchange.framed = true;
    if (session.owner == changetype<usize>(exchange)) {
      this.rpcOut.bytes(p, n);
      session.moved += n;
      // A few bytes now and then are none: others wait.
      if (session.moved >= SHORT_FRAME) this.watchOwner();
      if (!rest) this.disown();
      return;
    }
    if (!session.owner && !exchange.toRpc.size && (!rest || (exchange.large && this.mayOwn(exchange)))) {
      this.rpcOut.bytes(p, n);
      if (rest) this.own(exchange);
      return;
    }
    if (!exchange.toRpc.append(p, n)) {
      this.closing = badText(Bad.Crowded);
      return;
    }
    if (!rest) exchange.wholeBytes = exchange.toRpc.size;
    if (!rest || exchange.large) {
      if (!exchange.turn.list) {
        if (!session.turns.first) this.watchOwner();
        session.turns.append(exchange.turn);
      }
      if (!session.owner) this.takeTurns();
    }
  }

  private own(exchange: Exchange): void {
    const session = this.session;
    session.owner = changetype<usize>(exchange);
    this.watchOwner();
    this.owned.append(session.owned);
  }

  /** From now on the owner has to go on, if others wait. */
  private watchOwner(): void {
    this.session.moved = 0;
    this.session.progress = Clock.now();
  }

  private disown(): void {
    this.session.owner = 0;
    this.session.owned.leave();
    this.takeTurns();
  }

  private flushAsides(): void {
    if (this.session.owner) return;
    flush(this.session.asides, this.rpcOut);
    if (this.asides.size) this.rpcOut.bytes(this.asides.ptr, this.asides.size);
    this.asides.clear();
  }

  /** While nobody owns the private side: writes what waits for it, in order. */
  private takeTurns(): void {
    const session = this.session;
    this.flushAsides();
    let at = session.turns.first;
    while (at && !session.owner) {
      const exchange = Exchange.ofTurn(at);
      at = exchange.turn.next;
      const rest = exchange.cut.rest;
      if (rest && (!exchange.large || !this.mayOwn(exchange))) {
        // Not whole, or its window is still to be opened: neither those before it nor those behind need wait for that.
        this.flushWhole(exchange);
        continue;
      }
      exchange.turn.leave();
      exchange.wholeBytes = 0;
      flush(exchange.toRpc, this.rpcOut);
      if (rest) this.own(exchange);
      if (exchange.done) this.forget(exchange);
      else this.openWindow(exchange);
    }
  }

  /** Writes the frames of an exchange that are whole, but not the one behind them. */
  private flushWhole(exchange: Exchange): void {
    const size = exchange.wholeBytes;
    this.rpcOut.bytes(exchange.toRpc.ptr, size);
    exchange.toRpc.drop(size);
    exchange.wholeBytes = 0;
    if (exchange.large) return;
    // It takes its turn when it is whole.
    exchange.turn.leave();
    this.openWindow(exchange);
  }

  // The HTTP side: what is written there.

  /** Begins a header block, in `block`. */
  protected startBlock(): Sink {
    const session = this.session;
    const block = this.block;
    block.clear();
    // The first one says that no dynamic table will be used, whatever size the peer's settings ask for.
    if (!session.stateless) Hpack.noTable(block);
    session.stateless = true;
    return block;
  }

  /** n bytes of an exchange's message; with `end` its last. */
  protected send(exchange: Exchange, p: usize, n: u32, end: bool): void {
    const session = this.session;
    if (session.http == Http.One) {
      if (!exchange.streamed) this.httpOut.bytes(p, n);
      else if (n) Http1.chunk(this.httpOut, p, n);
      if (exchange.streamed && end) Http1.lastChunk(this.httpOut);
      exchange.sentEnd = end;
      return;
    }
    let sent: u32 = 0;
    if (!exchange.wait.list && this.toHttpNow) {
      sent = this.sendable(exchange, n);
      if (sent || !n) Http2.data(this.httpOut, exchange.key as u32, p, sent, end && sent == n);
      exchange.window -= sent;
      session.window -= sent;
      if (sent == n) {
        exchange.sentEnd = end;
        return;
      }
    }
    exchange.endsHttp = end;
    if (!this.hold(exchange, p + sent, n - sent)) return;
    if (!exchange.wait.list) session.windows.append(exchange.wait);
  }

  /** How many of n bytes windows let through. */
  private sendable(exchange: Exchange, n: u32): u32 {
    const session = this.session;
    const window = min<i64>(exchange.window + session.peerWindow, session.window);
    return min<i64>(n, max<i64>(0, window)) as u32;
  }

  protected hold(exchange: Exchange, p: usize, n: u32): bool {
    this.session.heldForHttp += n;
    if (exchange.toHttp.append(p, n)) return true;
    this.session.heldForHttp -= n;
    this.closing = badText(Bad.Crowded);
    return false;
  }

  protected unhold(exchange: Exchange, n: u32): void {
    this.session.heldForHttp -= n;
    exchange.toHttp.drop(n);
  }

  /** Sends what waits for the peer, as far as it takes more now. */
  private pump(): void {
    const session = this.session;
    while (session.slots.first && session.open < session.peerStreams) {
      const exchange = Exchange.ofWait(session.slots.first);
      exchange.wait.leave();
      this.opened(exchange);
      this.httpOut.bytes(exchange.toHttp.ptr, exchange.headBytes);
      this.unhold(exchange, exchange.headBytes);
      this.pumpBytes(exchange);
    }
    // Once round: those whose own windows are closed go to the end again.
    const last = session.windows.last;
    while (session.windows.first && session.window > 0) {
      const at = session.windows.first;
      const exchange = Exchange.ofWait(at);
      exchange.wait.leave();
      this.pumpBytes(exchange);
      if (at == last) break;
    }
  }

  private pumpBytes(exchange: Exchange): void {
    const session = this.session;
    const toHttp = exchange.toHttp;
    const n = toHttp.size;
    const part = this.sendable(exchange, n);
    const all = part == n;
    if (part || (all && exchange.endsHttp)) {
      Http2.data(this.httpOut, exchange.key as u32, toHttp.ptr, part, all && exchange.endsHttp);
    }
    exchange.window -= part;
    session.window -= part;
    this.unhold(exchange, part);
    if (!all) {
      session.windows.append(exchange.wait);
      return;
    }
    exchange.sentEnd = exchange.endsHttp;
    if (exchange.sentEnd) this.onSent(exchange);
  }

  /** All of an exchange's message that had to wait is sent. */
  protected abstract onSent(exchange: Exchange): void;

  /** Opens the exchange's window for what it may send without waiting for its turn. */
  protected openWindow(exchange: Exchange): void {
    if (exchange.sawEnd || exchange.turn.list || this.session.http != Http.Two) return;
    const rest = exchange.cut.rest as i64;
    const least = this.windowFor(exchange);
    const open = this.windowOf(exchange);
    if (open >= max<i64>(least >> 1, rest)) return;
    const wanted = min<i64>(rest + least, WINDOW_MAX);
    Http2.window(this.httpOut, exchange.key as u32, (wanted - open) as u32);
    exchange.receivable += wanted - open;
    this.session.urgent = true;
  }

  /** The window that the exchange's stream has between two frames. */
  protected windowFor(_exchange: Exchange): i64 {
    return SHORT_FRAME;
  }

  /** Bytes that the HTTP peer may still send for the exchange. */
  protected windowOf(exchange: Exchange): i64 {
    return exchange.receivable - this.session.http2Cut.passingOf(exchange.key as u32);
  }

  // The HTTP side: what is read there.

  protected find(stream: u32): usize {
    return this.exchanges.find(changetype<usize>(this.session), stream);
  }

  protected add(stream: u32): Exchange {
    const session = this.session;
    const exchange = changetype<Exchange>(this.exchanges.add(changetype<usize>(session), stream));
    exchange.receivable = session.settled ? SHORT_FRAME : FIRST_WINDOW;
    session.all.append(exchange.link);
    return exchange;
  }

  /** The exchange has a stream of the peer from now on. */
  protected opened(exchange: Exchange): void {
    exchange.open = true;
    this.session.open++;
  }

  protected onHeaders(stream: u32, p: usize, n: u32, end: bool): void {
    this.keepFields();
    if (!Hpack.decode(this.session.table, p, n, this.headers) && !Hpack.tooLarge) {
      return this.fail(Breach.Headers);
    }
    this.onFields(stream, this.find(stream), end);
  }

  protected onHeadersGone(): void {
    this.keepFields();
  }

  /** Keeps the header fields of the exchange whose frame has not come, because `headers` is needed for others. */
  protected keepFields(): void {
    if (!this.fresh) return;
    const exchange = changetype<Exchange>(this.fresh);
    this.fresh = 0;
    const headers = this.headers;
    const block = this.block;
    block.clear();
    for (let i: u32 = 0; i < headers.count; i++) {
      block.u32(headers.name(i).size);
      block.u32(headers.value(i).size);
      block.bytes(headers.name(i).ptr, headers.name(i).size);
      block.bytes(headers.value(i).ptr, headers.value(i).size);
    }
    this.keep(exchange, block.ptr, block.size);
  }

  /** Appends to the fields of the exchange. */
  protected keep(exchange: Exchange, p: usize, n: u32): void {
    const session = this.session;
    session.kept += n;
    if (session.kept > KEPT_MAX || !exchange.fields.append(p, n)) this.closing = badText(Bad.Crowded);
  }

  /** Header fields of the exchange's message came, in `headers`; they are needed once its frame comes. */
  protected noteFields(exchange: Exchange): void {
    exchange.plain = !HeaderRule.any(this.headers);
    if (!exchange.plain) this.fresh = changetype<usize>(exchange);
  }

  /** Fills `changes` with what the header fields of a message say that its frame does not; false where that is nothing. */
  protected findChanges(exchange: Exchange, frame: Frame): bool {
    if (exchange.plain && !frame.metadataCount) return false;
    this.recallFields(exchange);
    return HeaderRule.changes(frame, this.headers, this.changes);
  }

  /** Has `headers` hold the header fields of the exchange again. */
  private recallFields(exchange: Exchange): void {
    if (this.fresh == changetype<usize>(exchange)) {
      this.fresh = 0;
      return;
    }
    this.keepFields();
    const headers = this.headers;
    const fields = exchange.fields;
    headers.clear();
    let at = fields.ptr;
    const end = at + fields.size;
    while (at < end) {
      const name = bswap<u32>(load<u32>(at));
      const value = bswap<u32>(load<u32>(at, 4));
      at += 8;
      headers.add(at, name, at + name, value);
      at += name + value;
    }
  }

  protected onData(stream: u32, p: usize, n: u32): void {
    const found = this.find(stream);
    if (!found || this.closing.length) return;
    const exchange = changetype<Exchange>(found);
    if (!exchange.done) this.onBytes(exchange, p, n);
  }

  /** Reads DATA of an exchange; false where it is not what may stand there: then it ends there. */
  protected readFrames(exchange: Exchange, p: usize, n: u32): bool {
    const cut = exchange.cut;
    this.wrong = false;
    this.fromHttp.wantsMetadata = !exchange.plain || this.settings.makesHeaders;
    if (this.fromHttp.run(exchange, this.settings.codec, p, n) && !this.wrong) return true;
    cut.release();
    // Of the frame that is wrong, none of which is passed on.
    cut.rest = 0;
    return false;
  }

  protected onDataEnd(stream: u32, flow: u32, end: bool): void {
    const session = this.session;
    session.receivable -= flow;
    if (session.receivable < 0) return this.fail(Breach.Flow);
    if (session.receivable < CONNECTION_LOW && session.settled) {
      Http2.window(this.httpOut, 0, (WINDOW_MAX - session.receivable) as u32);
      session.receivable = WINDOW_MAX;
      session.urgent = true;
    }
    const found = this.find(stream);
    if (!found) {
      if (!this.wasOpen(stream)) this.fail(Breach.Stream);
      return;
    }
    const exchange = changetype<Exchange>(found);
    exchange.receivable -= flow;
    if (exchange.receivable < 0) return this.fail(Breach.Flow);
    if (exchange.sawEnd) return this.fail(Breach.Stream);
    exchange.sawEnd = end;
    if (exchange.done) return;
    if (end) this.onHttpEnd(exchange);
    else this.openWindow(exchange);
  }

  protected onReset(stream: u32, code: u32): void {
    const found = this.find(stream);
    if (!found) {
      if (!this.wasOpen(stream)) this.fail(Breach.Stream);
    } else if (!changetype<Exchange>(found).done) {
      this.onBroken(changetype<Exchange>(found), code);
    }
  }

  protected onSettings(p: usize, n: u32): void {
    const session = this.session;
    for (let at = p; at < p + n; at += 6) {
      const value = bswap<u32>(load<u32>(at, 2));
      switch (bswap<u16>(load<u16>(at)) as i32) {
        case Setting.MaxConcurrentStreams:
          session.peerStreams = value;
          break;
        case Setting.InitialWindowSize: {
          if (value > (i32.MAX_VALUE as u32)) return this.fail(Breach.Flow);
          // Without a look at each stream: a peer may open many and say this often.
          if (session.windowGrowth + value > WINDOW_MAX) return this.fail(Breach.Flow);
          session.peerWindow = value as i32;
          break;
        }
      }
    }
    Http2.settingsAck(this.httpOut);
    this.wakeSenders();
  }

  /** Sends our settings, in pairs of key and value, and opens the window of the connection: those of streams are the bound. */
  protected sendSettings(pairs: StaticArray<u32>): void {
    const session = this.session;
    session.settled = true;
    Http2.settings(this.httpOut, pairs);
    Http2.window(this.httpOut, 0, (WINDOW_MAX - session.receivable) as u32);
    session.receivable = WINDOW_MAX;
    for (let link = session.all.first; link; link = changetype<Link>(link).next) {
      Exchange.ofLink(link).receivable += SHORT_FRAME - FIRST_WINDOW;
    }
  }

  protected onSettingsAck(): void {
    this.session.acknowledged = true;
  }

  protected onPing(p: usize): void {
    Http2.pingAck(this.httpOut, p);
    this.session.urgent = true;
  }

  protected onWindow(stream: u32, increment: u32): void {
    const session = this.session;
    if (!stream) {
      session.window += increment;
      if (!increment || session.window > WINDOW_MAX) this.fail(Breach.Flow);
    } else {
      const found = this.find(stream);
      if (!found) {
        if (!this.wasOpen(stream)) this.fail(Breach.Stream);
        return;
      }
      const exchange = changetype<Exchange>(found);
      exchange.window += increment;
      session.windowGrowth = max<i64>(session.windowGrowth, exchange.window);
      if (!increment || exchange.window + session.peerWindow > WINDOW_MAX) this.fail(Breach.Flow);
    }
    this.wakeSenders();
  }

  /** Something that waits for the peer may go on. */
  protected wakeSenders(): void {
    const session = this.session;
    if (session.windows.first || session.slots.first) session.urgent = true;
  }

  // The end of an exchange.

  /** Counts a request that ended like this, unless it was counted already. */
  protected settle(exchange: Exchange, outcome: Slice): void {
    if (!exchange.series) return;
    const series = changetype<Series>(exchange.series);
    Requests.settle(exchange, exchange.id, series.outcome(outcome), exchange.responseBytes);
    exchange.series = 0;
  }

  /** What a reply says of how it went, where it is the one that ends the exchange. */
  protected noteOutcome(exchange: Exchange, frame: Frame): void {
    exchange.responseBytes += frame.length;
    if (!exchange.series || (frame.kind != Kind.Response && frame.kind != Kind.StreamClose)) return;
    const outcome = frame.outcome;
    exchange.outcome = changetype<usize>(changetype<Series>(exchange.series).outcome(outcome.size ? outcome : OK));
  }

  /** Counts a request whose reply is whole. */
  protected settleReply(exchange: Exchange): void {
    if (!exchange.outcome) return this.settle(exchange, OK);
    if (!exchange.series) return;
    Requests.settle(exchange, exchange.id, changetype<Outcome>(exchange.outcome), exchange.responseBytes);
    exchange.series = 0;
  }

  /** Breaks the HTTP stream off. */
  protected reset(exchange: Exchange, code: ErrorCode): void {
    Http2.reset(this.httpOut, exchange.key as u32, code);
    this.session.urgent = true;
  }

  /** Nothing more comes of the exchange. Where a part of its frame is on the private side, that one cannot go on. */
  protected drop(exchange: Exchange): void {
    if (this.session.owner == changetype<usize>(exchange)) this.closing = "incomplete";
    else this.forget(exchange);
  }

  /** The exchange is done; its record goes once its frames are written. */
  protected finish(exchange: Exchange): void {
    if (!exchange.toRpc.size) return this.forget(exchange);
    exchange.done = true;
    if (this.session.passing == changetype<usize>(exchange)) this.session.passing = 0;
    exchange.wait.leave();
    this.unhold(exchange, exchange.toHttp.size);
  }

  protected forget(exchange: Exchange): void {
    const session = this.session;
    const at = changetype<usize>(exchange);
    if (session.passing == at) session.passing = 0;
    if (session.owner == at) {
      session.owner = 0;
      session.owned.leave();
    }
    if (this.fresh == at) this.fresh = 0;
    if (exchange.open) session.open--;
    session.heldForHttp -= exchange.toHttp.size;
    session.kept -= exchange.fields.size;
    exchange.release();
    this.exchanges.remove(at);
    if (session.slots.first) session.urgent = true;
  }
}

/** Moves all bytes of a block on. */
function flush(block: Block, sink: Sink): void {
  if (!block.size) return;
  sink.bytes(block.ptr, block.size);
  block.release();
}
