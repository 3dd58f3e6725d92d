import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { EchoPorts } from "./echo.js";
import type { LoadOrder, LoadResult } from "./load.js";

/** The servers behind the proxies, in a process of their own. */
export async function startEcho(): Promise<{ ports: EchoPorts; stop(): void }> {
  const child = fork(new URL("./echo.js", import.meta.url));
  const ports = (await answer(child)) as EchoPorts;
  return { ports, stop: () => leave(child) };
}

/** The clients in front of the proxies, in a process of their own. */
export class Load {
  private readonly child: ChildProcess = fork(new URL("./load.js", import.meta.url));

  async open(order: Omit<LoadOrder & { do: "open" }, "do">): Promise<void> {
    await this.ask({ do: "open", ...order });
  }

  async measure(order: Omit<LoadOrder & { do: "measure" }, "do">): Promise<LoadResult> {
    return (await this.ask({ do: "measure", ...order })) as LoadResult;
  }

  async close(): Promise<void> {
    await this.ask({ do: "close" });
  }

  stop(): void {
    leave(this.child);
  }

  private async ask(order: LoadOrder): Promise<LoadResult | undefined> {
    this.child.send(order);
    const { result, error } = (await answer(this.child)) as { result?: LoadResult; error?: string };
    if (error !== undefined) throw new Error(error);
    return result;
  }
}

/** It ends by itself, if it has not yet. */
function leave(child: ChildProcess): void {
  if (child.connected) child.disconnect();
}

async function answer(child: ChildProcess): Promise<unknown> {
  const stop = new AbortController();
  const ended = once(child, "exit", { signal: stop.signal }).then(([code]) => {
    throw new Error(`a process of the benchmark ended with code ${code}`);
  });
  try {
    return (await Promise.race([once(child, "message", { signal: stop.signal }), ended]))[0];
  } finally {
    stop.abort();
    ended.catch(() => {});
  }
}
