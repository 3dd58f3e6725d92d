import type { Socket } from "node:net";

/** Calls on one connection whose replies are awaited. */
export interface Pending<Reply> {
  /** Has `send` send a call with the next id; rejects when the connection ends before the reply comes. */
  call(send: (id: number) => void): Promise<Reply>;
  /** The reply to a call came; false where none waits for it. */
  settle(id: number, reply: Reply | Error): boolean;
  /** Ends the connection once all is sent. */
  close(): Promise<void>;
}

/** Ids start with `firstId`. */
export function pendingOn<Reply>(socket: Socket, firstId = 1): Pending<Reply> {
  const calls = new Map<number, { resolve(reply: Reply): void; reject(error: Error): void }>();
  let nextId = firstId;
  const closed = new Promise<void>((resolve) => {
    socket.on("close", () => {
      for (const { reject } of calls.values()) reject(new Error("the connection was lost"));
      resolve();
    });
  });
  return {
    call: (send) =>
      new Promise((resolve, reject) => {
        if (!socket.writable) return reject(new Error("the connection was lost"));
        const id = nextId++;
        calls.set(id, { resolve, reject });
        send(id);
      }),
    settle(id, reply) {
      const call = calls.get(id);
      if (reply instanceof Error) call?.reject(reply);
      else call?.resolve(reply);
      return calls.delete(id);
    },
    async close() {
      socket.destroySoon();
      await closed;
    },
  };
}
