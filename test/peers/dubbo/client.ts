import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import {
  type Attachments,
  decode,
  encodeHeartbeat,
  encodeRequest,
  FrameCutter,
  type Message,
  Status,
} from "./codec.js";

/** No reply within the time that the caller gave it. */
export class CallTimeout extends Error {
  override readonly name = "CallTimeout";
}

/** The connection ended before the reply came, or was not there to begin with. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** A reply with a status other than OK: nobody carried the call out. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  constructor(
    /** As on the wire, for example 80 for a server error. */
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** The service threw: the call was carried out, and this is its outcome. */
export class RemoteException extends Error {
  override readonly name = "RemoteException";
}

export type CallOptions = {
  attachments?: Attachments;
  /** Default 10 000. */
  timeoutMs?: number;
};

export type DubboClient = {
  /** The reply's value. Throws CallTimeout, ConnectionLost, StatusError or RemoteException. */
  call(service: string, method: string, args?: unknown[], options?: CallOptions): Promise<unknown>;
  /** Sends a request that has no reply; resolves when its bytes are handed to the system. */
  oneway(service: string, method: string, args?: unknown[], options?: Pick<CallOptions, "attachments">): Promise<void>;
  /** Resolves with the answer to the heartbeat. */
  heartbeat(options?: Pick<CallOptions, "timeoutMs">): Promise<void>;
  /** Replies that no call waited for: late ones, and any that should never have come here. */
  readonly unexpected: number;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  close(): Promise<void>;
};

/** One connection that carries any number of calls at a time. Throws ConnectionLost if there is nobody to talk to. */
export async function connect({ host = "127.0.0.1", port }: { host?: string; port: number }): Promise<DubboClient> {
  const socket = connectSocket({ host, port, noDelay: true });
  try {
    await once(socket, "connect");
  } catch (error) {
    throw new ConnectionLost(`cannot connect to ${host}:${port}: ${(error as Error).message}`);
  }

  const pending = new Map<number | string, { settle(message: Message): void; lose(error: Error): void }>();
  const cutter = new FrameCutter();
  let lastId = 0;
  let unexpected = 0;
  let cause: Error | undefined;

  socket.on("error", (error) => {
    cause = error;
  });
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      for (const { lose } of pending.values()) lose(lost());
      pending.clear();
      resolve();
    });
  });
  socket.on("data", (chunk) => {
    try {
      for (const frame of cutter.push(chunk)) {
        const message = decode(frame);
        const call = pending.get(message.id);
        if (call) call.settle(message);
        else unexpected++;
      }
    } catch (error) {
      socket.destroy(error as Error);
    }
  });

  const lost = () => new ConnectionLost(`connection to ${host}:${port} lost${cause ? `: ${cause.message}` : ""}`);

  /** Sends a frame and waits for the message with the same id. */
  function exchange(id: number, frame: Buffer, timeoutMs: number, what: string): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (!socket.writable) return reject(lost());
      const done = () => {
        clearTimeout(timer);
        pending.delete(id);
      };
      const timer = setTimeout(() => {
        done();
        reject(new CallTimeout(`no reply to ${what} within ${timeoutMs} ms`));
      }, timeoutMs);
      pending.set(id, {
        settle(message) {
          done();
          resolve(message);
        },
        lose(error) {
          done();
          reject(error);
        },
      });
      socket.write(frame);
    });
  }

  return {
    async call(service, method, args = [], { attachments = {}, timeoutMs = 10_000 } = {}) {
      const id = ++lastId;
      const reply = await exchange(id, encodeRequest(id, service, method, args, { attachments }), timeoutMs, method);
      if (reply.kind !== "reply") throw new Error(`a ${reply.kind} came as the reply to ${method}`);
      if (reply.status !== Status.ok) throw new StatusError(reply.status, reply.error?.message ?? "");
      if (reply.error) throw new RemoteException(reply.error.message);
      return reply.value;
    },
    oneway(service, method, args = [], { attachments = {} } = {}) {
      const frame = encodeRequest(++lastId, service, method, args, { attachments, twoWay: false });
      return new Promise((resolve, reject) => {
        socket.write(frame, (error) => (error ? reject(lost()) : resolve()));
      });
    },
    async heartbeat({ timeoutMs = 10_000 } = {}) {
      const id = ++lastId;
      await exchange(id, encodeHeartbeat(id), timeoutMs, "a heartbeat");
    },
    get unexpected() {
      return unexpected;
    },
    closed,
    async close() {
      socket.destroySoon();
      await closed;
    },
  };
}
