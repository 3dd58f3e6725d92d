// A child process: the clients in front of the proxies. Answers each order from its parent with a result or an error.
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuMicroseconds } from "./cpu.js";
import { DubboEnd, type End, type Payload } from "./frames.js";
import { Http2End } from "./http2.js";
import { ThriftEnd } from "./thrift.js";

const ends = { dubbo: DubboEnd, http2: Http2End, thrift: ThriftEnd };

/** What the parent may ask for, in this order. Each is answered with `{ result }` or `{ error }`. */
export type LoadOrder =
  /** Opens connections; each has one request answered. */
  | {
      readonly do: "open";
      readonly port: number;
      readonly connections: number;
      readonly payload: Payload;
      readonly protocol: keyof typeof ends;
      /** Every request is denied; else every one gets its reply. */
      readonly denied: boolean;
    }
  | {
      readonly do: "measure";
      /** The process whose CPU time is taken. */
      readonly pid: number;
      /** So many of the connections send; the others stay idle. */
      readonly active: number;
      /** On each active connection: written together, and the next so many when all are answered. */
      readonly inFlight: number;
      readonly warmMs: number;
      readonly measureMs: number;
    }
  | { readonly do: "close" };

/** Of a measurement. */
export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  readonly cpuMicroseconds: number;
}

type Opening = LoadOrder & { do: "open" };

class Client {
  answered = 0;
  /** Requests to write when all are answered. */
  private batchSize = 0;
  /** Ids of HTTP/2 streams, which a client has to choose odd; others are free. */
  private nextId = 1;
  private readonly waiting = new Set<number>();
  private readonly end: End;
  /** Called once nothing is in flight. */
  private idle: (() => void) | undefined;

  constructor(
    readonly socket: Socket,
    private readonly order: Opening,
    fail: (error: Error) => void,
  ) {
    const expected = order.denied ? undefined : order.payload;
    this.end = new ends[order.protocol]("client", socket, (id, payload) => {
      if (payload !== expected || !this.waiting.delete(id))
        throw new Error(`a wrong reply: id ${id}, ${payload} bytes`);
      this.answered++;
    });
    socket.on("data", (chunk) => {
      try {
        this.end.push(chunk);
      } catch (error) {
        fail(error as Error);
      }
      // Batches of one size, so that the cost does not hang on how a stream happens to be cut.
      if (this.waiting.size === 0 && this.batchSize > 0) this.send(this.batchSize);
      else this.end.flush();
      if (this.waiting.size === 0) this.idle?.();
    });
    socket.on("close", () => fail(new Error("the proxy closed a connection")));
  }

  /** Sends so many requests, and so many again when they are answered, until settled() is called. */
  start(inFlight: number): void {
    this.batchSize = inFlight;
    this.send(inFlight);
  }

  private send(n: number): void {
    for (let i = 0; i < n; i++) {
      this.waiting.add(this.nextId);
      this.end.queue(this.order.payload, this.nextId);
      this.nextId += 2;
    }
    this.end.flush();
  }

  /** Sends no more and waits for what is in flight. */
  settled(): Promise<void> {
    this.batchSize = 0;
    return new Promise((resolve) => {
      this.idle = resolve;
      if (this.waiting.size === 0) resolve();
    });
  }

  close(): void {
    this.socket.removeAllListeners("close");
    this.socket.resetAndDestroy();
  }

  static open(order: Opening, fail: (error: Error) => void): Promise<Client> {
    return new Promise((resolve) => {
      const socket = connect({ port: order.port, host: "127.0.0.1", noDelay: true });
      socket.on("error", fail);
      socket.once("connect", () => {
        const client = new Client(socket, order, fail);
        client.send(1);
        resolve(client.settled().then(() => client));
      });
    });
  }
}

/** So many connections are opened at a time: more would only fill the queues of the listeners. */
const opening = 200;

/** Until the next `close`. */
class Session {
  readonly clients: Client[] = [];
  private failure: Error | undefined;
  private reject = (_error: Error): void => {};

  /** What went wrong on a connection, at any time since it was opened, fails the order at hand or the next one. */
  readonly fail = (error: Error): void => {
    this.failure ??= error;
    this.reject(this.failure);
  };

  broken(): Promise<never> {
    return new Promise((_, reject) => {
      this.reject = reject;
      if (this.failure) reject(this.failure);
    });
  }

  answered(): number {
    return this.clients.reduce((n, client) => n + client.answered, 0);
  }
}

let session = new Session();

async function carryOut(order: LoadOrder, now: Session): Promise<LoadResult | undefined> {
  const { clients, fail } = now;
  switch (order.do) {
    case "open":
      while (clients.length < order.connections) {
        const n = Math.min(opening, order.connections - clients.length);
        const opened = Array.from({ length: n }, () => Client.open(order, fail));
        clients.push(...(await Promise.all(opened)));
      }
      return;
    case "measure": {
      const active = clients.slice(0, order.active);
      const run = async (milliseconds: number) => {
        for (const client of active) client.start(order.inFlight);
        await sleep(milliseconds);
        await Promise.all(active.map((client) => client.settled()));
      };
      await run(order.warmMs);
      // At both ends nothing is in flight, so that all of each request's cost is counted, however long it takes.
      const before = { cpu: cpuMicroseconds(order.pid), requests: now.answered(), at: performance.now() };
      await run(order.measureMs);
      const after = { cpu: cpuMicroseconds(order.pid), requests: now.answered(), at: performance.now() };
      return {
        requests: after.requests - before.requests,
        seconds: (after.at - before.at) / 1000,
        cpuMicroseconds: after.cpu - before.cpu,
      };
    }
    case "close":
      for (const client of clients) client.close();
      session = new Session();
      return;
  }
}

process.on("message", async (order: LoadOrder) => {
  const wanted = order.do === "close" ? [] : [session.broken()];
  const answer = await Promise.race([carryOut(order, session), ...wanted]).then(
    (result) => ({ result }),
    (error: Error) => ({ error: error.message }),
  );
  process.send?.(answer);
});
process.on("disconnect", () => process.exit());
