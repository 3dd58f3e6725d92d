import { Side } from "../codec/frame";
import { Cut } from "../codec/scanner";
import { Entry, Table } from "../memory/table";
import { Settings } from "./settings";

/** What becomes of the bytes of a connection. */
export const enum Phase {
  /** Held until the first request's head says where they go. */
  Routing = 0,
  Observing = 1,
  /** Passing unread, because they are not the protocol, or not for this service. */
  Aside = 2,
  /** Closed by us; nothing passes any more. */
  Closed = 3,
  /** Turned into HTTP, or out of it. */
  Bridging = 4,
  /** Passing, while the client's first bytes do not tell which protocol it is. */
  Guessing = 5,
}

/** One direction of a connection: where its bytes stand and, while a reply passes, what is known of it. */
@unmanaged
export class Half extends Cut {
  /** The request that is being answered; 0 where none is. */
  request: usize;
  outcome: usize;
  responseBytes: u64;
}

/** A TCP connection through the filter; `key` is its context id. */
@unmanaged
@final
export class Connection extends Entry {
  settingsPtr: usize;
  /** Position of its codec in the registry; the one behind the last while, or because, it is not known. */
  protocol: u32;
  /** The requests in flight, a doubly linked list. */
  requests: usize;
  /** What a bridge knows of it; 0 where there is none. */
  session: usize;
  /** The list of those that wait for a route. */
  nextWaiting: usize;
  previousWaiting: usize;
  /** When bytes were held for the first time, nanoseconds; 0 where none are. */
  waitingSince: u64;
  /** Bytes of heartbeats that stand before the request whose head is awaited. */
  routeOffset: u32;
  /** Bytes of that request that are needed before it is worth looking again. */
  routeWant: u32;
  /** Bytes of it that were read in vain, all in all, where its frame does not say how long it is. */
  routeReread: u64;
  phase: Phase;
  /** Whether service and method stand in filter state. */
  named: bool;
  /** Who ended first; only where `ended`. */
  endedBy: Side;
  ended: bool;

  get settings(): Settings {
    return changetype<Settings>(this.settingsPtr);
  }

  /** The labels protocol and direction as one number: see Labels.start(). */
  get labels(): u32 {
    return (this.protocol << 1) | (this.settings.inbound as u32);
  }

  /** The bytes that `side` sends. */
  @inline
  half(side: Side): Half {
    return changetype<Half>(changetype<usize>(this) + offsetof<Connection>() + side * offsetof<Half>());
  }

  /** Notes who ended the connection; the first counts. */
  end(side: Side): void {
    if (this.ended) return;
    this.ended = true;
    this.endedBy = side;
  }
}

/** All connections of this worker, by context id. */
@final
export class Connections {
  static readonly table: Table = new Table(offsetof<Connection>() + 2 * offsetof<Half>());
  private static lastContext: u32 = 0;
  private static last: usize = 0;

  static open(context: u32, settings: Settings): Connection {
    const connection = changetype<Connection>(Connections.table.add(0, context));
    connection.settingsPtr = changetype<usize>(settings);
    connection.protocol = settings.protocol;
    settings.retain();
    Connections.lastContext = context;
    Connections.last = changetype<usize>(connection);
    return connection;
  }

  /** 0 where the context is not a connection (any more). */
  static find(context: u32): usize {
    if (context != Connections.lastContext) {
      Connections.last = Connections.table.find(0, context);
      Connections.lastContext = context;
    }
    return Connections.last;
  }

  /** Forgets a connection; what it refers to is released before. */
  static close(connection: Connection): void {
    connection.settings.release();
    connection.half(Side.Client).release();
    connection.half(Side.Server).release();
    Connections.table.remove(changetype<usize>(connection));
    Connections.lastContext = 0;
    Connections.last = 0;
  }
}
