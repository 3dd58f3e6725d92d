import { Cut } from "../codec/scanner";
import { HpackTable } from "../http/hpack";
import { Http1Cut } from "../http/http1";
import { FIRST_WINDOW, Http2Cut } from "../http/http2";
import { Block } from "../memory/held";
import { Link, List } from "../memory/list";
import { Slice } from "../wire/slice";
import { Request } from "./requests";

/** What came of the HTTP stream of an exchange so far. */
export const enum Reply {
  /** No header. */
  None = 0,
  /** Frames of the protocol. */
  Frames = 1,
  /** Text for people, because Envoy wrote it. */
  Text = 2,
}

/**
 * One request and the HTTP stream that it is on the other side: `owner` is the connection, `key` the stream's id (over
 * HTTP/1.1 the number of the request). The rest of a record is a Cut, of the frames inside the stream's DATA.
 */
@unmanaged
@final
export class Exchange extends Request {
  /** Request id as the client wrote it. */
  id: u64;
  /** See Frame.token. */
  token: u64;
  responseBytes: u64;
  outcome: usize;
  /** Bytes of DATA that the HTTP peer may still be sent, beside `peerWindow` of the session; and may still send. */
  window: i64;
  receivable: i64;
  // Three links, in place.
  private linkNext: usize;
  private linkPrevious: usize;
  private linkList: usize;
  private turnNext: usize;
  private turnPrevious: usize;
  private turnList: usize;
  private waitNext: usize;
  private waitPrevious: usize;
  private waitList: usize;
  // Four blocks, in place.
  private toHttp0: u64;
  private toHttp1: u64;
  private toRpc0: u64;
  private toRpc1: u64;
  private fields0: u64;
  private fields1: u64;
  private method0: u64;
  private method1: u64;
  /** The first bytes of toHttp that are a frame already, the HEADERS that opens the stream. */
  headBytes: u32;
  /** The first bytes of toRpc that are whole frames. */
  wholeBytes: u32;
  /** `:status` of a reply that Envoy wrote. */
  status: u16;
  kind: u8;
  reply: Reply;
  /** The current frame is longer than what is ever held. */
  large: bool;
  /** What is to be sent as HTTP ends with what stands in toHttp. */
  endsHttp: bool;
  /** Our END_STREAM was sent. */
  sentEnd: bool;
  /** The peer's END_STREAM was seen. */
  sawEnd: bool;
  /** Counts among the streams of the session. */
  open: bool;
  /** The headers of the message say nothing of metadata. */
  plain: bool;
  /** A first frame came out of the stream's DATA. */
  begun: bool;
  /** A frame of it is whole on the private side, or in toRpc. */
  framed: bool;
  /** The server's last frame has begun. */
  replied: bool;
  /** The reply is a stream, of a length that nobody knows. */
  streamed: bool;
  /** Nothing more is expected; it goes when its bytes are written. */
  done: bool;

  /** Among the exchanges of its session. */
  get link(): Link {
    return changetype<Link>(changetype<usize>(this) + offsetof<Exchange>("linkNext"));
  }

  /** Among those that wait for their turn to write frames on the private side. */
  get turn(): Link {
    return changetype<Link>(changetype<usize>(this) + offsetof<Exchange>("turnNext"));
  }

  /** Among those that wait for the HTTP peer to take a stream, or more bytes. */
  get wait(): Link {
    return changetype<Link>(changetype<usize>(this) + offsetof<Exchange>("waitNext"));
  }

  static ofLink(link: usize): Exchange {
    return changetype<Exchange>(link - offsetof<Exchange>("linkNext"));
  }

  static ofTurn(turn: usize): Exchange {
    return changetype<Exchange>(turn - offsetof<Exchange>("turnNext"));
  }

  static ofWait(wait: usize): Exchange {
    return changetype<Exchange>(wait - offsetof<Exchange>("waitNext"));
  }

  /** Bytes on their way to the HTTP peer. */
  get toHttp(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Exchange>("toHttp0"));
  }

  /** Frames on their way to the private side. */
  get toRpc(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Exchange>("toRpc0"));
  }

  /** Header fields kept until the frame comes, or the text of a reply that Envoy wrote. */
  get fields(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Exchange>("fields0"));
  }

  /** Of protocols whose error replies name it. */
  get method(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Exchange>("method0"));
  }

  get cut(): Cut {
    return changetype<Cut>(changetype<usize>(this) + offsetof<Exchange>());
  }

  release(): void {
    this.link.leave();
    this.turn.leave();
    this.wait.leave();
    this.toHttp.release();
    this.toRpc.release();
    this.fields.release();
    this.method.release();
    this.cut.release();
  }
}

/** Which HTTP the peer speaks. */
export const enum Http {
  Unknown = 0,
  One = 1,
  Two = 2,
}

/** What a bridge knows of one connection beside its private side. */
@unmanaged
@final
export class Session {
  connection: usize;
  /** The exchange whose frame on the private side is partly written. */
  owner: usize;
  /**
   * When it last had written so much that it counts as going on, or others began to wait, nanoseconds; and the bytes that
   * it wrote since.
   */
  progress: u64;
  moved: u32;
  /** The exchange of the frame that is passing from the private side; 0 where that frame goes nowhere. */
  passing: usize;
  /** Bytes of DATA that the peer may be sent, and may still send, on the whole connection. */
  window: i64;
  receivable: i64;
  // Four lists and two links, in place.
  private allFirst: usize;
  private allLast: usize;
  private turnsFirst: usize;
  private turnsLast: usize;
  private slotsFirst: usize;
  private slotsLast: usize;
  private windowsFirst: usize;
  private windowsLast: usize;
  private dueNext: usize;
  private duePrevious: usize;
  private dueList: usize;
  private ownedNext: usize;
  private ownedPrevious: usize;
  private ownedList: usize;
  // Three blocks, in place.
  private http0: u64;
  private http1: u64;
  private rpc0: u64;
  private rpc1: u64;
  private asides0: u64;
  private asides1: u64;
  private leadPtr: usize;
  private leadSize: u32;
  /** The most that a stream's window was ever opened beyond the initial one. */
  windowGrowth: i64;
  /** Initial window of streams to the peer, and the most streams that it takes. */
  peerWindow: i32;
  peerStreams: u32;
  /** Streams that are open. */
  open: u32;
  /** Bytes in toHttp of all exchanges. */
  heldForHttp: u32;
  /** Bytes in the fields of all exchanges. */
  kept: u32;
  /** The stream that was opened last (lower), or is opened next (lift). */
  stream: u32;
  /** The last stream that the peer will look at. */
  lastStream: u32;
  http: Http;
  /** Bytes of the client wait in the host's buffer. */
  unread: bool;
  /** Whoever can only answer was asked to say something. */
  voicing: bool;
  /** Something waits for such an occasion. */
  urgent: bool;
  /** Our settings were sent. */
  settled: bool;
  /** The peer knows ours. */
  acknowledged: bool;
  /** The peer was told that our header blocks need no dynamic table. */
  stateless: bool;
  /** The peer takes no new streams. */
  leaving: bool;

  static make(connection: usize): Session {
    const size = offsetof<Session>() + offsetof<Http2Cut>() + offsetof<HpackTable>() + offsetof<Http1Cut>();
    const session = changetype<Session>(heap.alloc(size));
    memory.fill(changetype<usize>(session), 0, size);
    session.connection = connection;
    session.window = FIRST_WINDOW;
    session.receivable = FIRST_WINDOW;
    session.peerWindow = FIRST_WINDOW;
    session.lastStream = u32.MAX_VALUE;
    return session;
  }

  /** All exchanges. */
  get all(): List {
    return changetype<List>(changetype<usize>(this) + offsetof<Session>("allFirst"));
  }

  /** Exchanges that wait for their turn to write frames on the private side. */
  get turns(): List {
    return changetype<List>(changetype<usize>(this) + offsetof<Session>("turnsFirst"));
  }

  /** Exchanges that wait for the peer to take another stream, in the order of their streams. */
  get slots(): List {
    return changetype<List>(changetype<usize>(this) + offsetof<Session>("slotsFirst"));
  }

  /** Exchanges that wait for the peer to take more bytes. */
  get windows(): List {
    return changetype<List>(changetype<usize>(this) + offsetof<Session>("windowsFirst"));
  }

  /** Among the sessions that have something to do at the next tick. */
  get due(): Link {
    return changetype<Link>(changetype<usize>(this) + offsetof<Session>("dueNext"));
  }

  /** Among the sessions with an owner. */
  get owned(): Link {
    return changetype<Link>(changetype<usize>(this) + offsetof<Session>("ownedNext"));
  }

  static ofDue(due: usize): Session {
    return changetype<Session>(due - offsetof<Session>("dueNext"));
  }

  static ofOwned(owned: usize): Session {
    return changetype<Session>(owned - offsetof<Session>("ownedNext"));
  }

  /** Frames of HTTP that wait for an occasion to be sent. */
  get httpBlock(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Session>("http0"));
  }

  /** Bytes for the private side, in the order of the stream, that wait for an occasion to be sent. */
  get rpcBlock(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Session>("rpc0"));
  }

  /** Whole frames that belong to no stream and may stand between any two frames. */
  get asides(): Block {
    return changetype<Block>(changetype<usize>(this) + offsetof<Session>("asides0"));
  }

  /** In HPACK, what every header block of lift begins with. */
  get lead(): Slice {
    return changetype<Slice>(changetype<usize>(this) + offsetof<Session>("leadPtr"));
  }

  get http2Cut(): Http2Cut {
    return changetype<Http2Cut>(changetype<usize>(this) + offsetof<Session>());
  }

  get table(): HpackTable {
    return changetype<HpackTable>(changetype<usize>(this) + offsetof<Session>() + offsetof<Http2Cut>());
  }

  get http1Cut(): Http1Cut {
    return changetype<Http1Cut>(
      changetype<usize>(this) + offsetof<Session>() + offsetof<Http2Cut>() + offsetof<HpackTable>(),
    );
  }

  setLead(from: usize, size: u32): void {
    const ptr = heap.alloc(size);
    memory.copy(ptr, from, size);
    this.lead.set(ptr, size);
  }

  free(): void {
    this.due.leave();
    this.owned.leave();
    this.httpBlock.release();
    this.rpcBlock.release();
    this.asides.release();
    this.http2Cut.release();
    this.table.release();
    this.http1Cut.release();
    if (this.leadPtr) heap.free(this.leadPtr);
    heap.free(changetype<usize>(this));
  }
}
