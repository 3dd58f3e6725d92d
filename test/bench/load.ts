// A child process: the clients in front of the proxies. Answers each order from its parent with a result or an error.
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { cpuMicroseconds } from "./cpu.js";
import { batch, FrameReader, type Payload, replyFrame, requestFrame } from "./frames.js";

/** What the parent may ask for, in this order. Each is answered with `{ result }` or `{ error }`. */
export type LoadOrder =
  /** Opens connections; each has one request answered. */
  | { readonly do: "open"; readonly port: number; readonly connections: number; readonly payload: Payload }
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

const replyOk = 0x0214; // flags: a reply in Hessian2; status: 20

class Client {
  answered = 0;
  /** Requests to write when all are answered. */
  private batchSize = 0;
  private nextId = 1;
  private readonly waiting = new Set<number>();
  private readonly request: Buffer;
  private readonly single: Buffer;
  /** Called once nothing is in flight. */
  private idle: (() => void) | undefined;

  constructor(
    readonly socket: Socket,
    payload: Payload,
    fail: (error: Error) => void,
  ) {
    this.request = requestFrame(payload);
    this.single = Buffer.from(this.request);
    const replyLength = replyFrame(payload).length;
    const reader = new FrameReader((flags, id, length) => {
      if (flags !== replyOk || length !== replyLength || !this.waiting.delete(id)) {
        throw new Error(`a wrong reply: flags ${flags.toString(16)}, id ${id}, ${length} bytes`);
      }
      this.answered++;
    });
    socket.on("data", (chunk) => {
      try {
        reader.push(chunk);
      } catch (error) {
        fail(error as Error);
      }
      if (this.waiting.size > 0) return;
      // Batches of one size, so that the cost does not hang on how a stream happens to be cut.
      if (this.batchSize > 0) this.send(this.batchSize);
      else this.idle?.();
    });
    socket.on("close", () => fail(new Error("the proxy closed a connection")));
  }

  /** Sends so many requests, and so many again when they are answered, until settled() is called. */
  start(inFlight: number): void {
    this.batchSize = inFlight;
    this.send(inFlight);
  }

  private send(n: number): void {
    const ids = Array.from({ length: n }, () => this.nextId++);
    for (const id of ids) this.waiting.add(id);
    // Nothing else is in flight, so that a lone request's buffer has been written out and can be used again.
    this.socket.write(batch(this.request, ids, n === 1 ? this.single : undefined));
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

  static open(port: number, payload: Payload, fail: (error: Error) => void): Promise<Client> {
    return new Promise((resolve) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true });
      socket.on("error", fail);
      socket.once("connect", () => {
        const client = new Client(socket, payload, fail);
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
        const opened = Array.from({ length: n }, () => Client.open(order.port, order.payload, fail));
        clients.push(...(await Promise.all(opened)));
      }
      return;
    case "measure": {
      const active = clients.slice(0, order.active);
      for (const client of active) client.start(order.inFlight);
      await sleep(order.warmMs);
      // All three are read in one go, so that no request falls between them.
      const before = { cpu: cpuMicroseconds(order.pid), requests: now.answered(), at: performance.now() };
      await sleep(order.measureMs);
      const after = { cpu: cpuMicroseconds(order.pid), requests: now.answered(), at: performance.now() };
      await Promise.all(active.map((client) => client.settled()));
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
