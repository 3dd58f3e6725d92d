import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { end } from "./java.js";

/*
 * Programs that make calls as lines on their standard input say, and print a line for each that has ended.
 */

export interface Caller<Outcome> {
  /** Has it make the call that `line` describes, and answers how that ended. Rejects where the program ends before. */
  call(line: (id: number) => string): Promise<Outcome>;
  stop(): Promise<void>;
}

/** `read` answers which call a line is about, and how it ended; nothing for what is printed besides. */
export function callerOf<Outcome>(
  child: ChildProcessWithoutNullStreams,
  read: (line: string) => readonly [id: number, outcome: Outcome] | undefined,
): Caller<Outcome> {
  const waiting = new Map<number, { resolve(outcome: Outcome): void; reject(error: Error): void }>();
  let complaints = "";
  child.stderr.on("data", (chunk) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  child.on("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error(`the caller has ended:\n${complaints}`));
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const [id = 0, outcome] = read(line) ?? [];
    waiting.get(id)?.resolve(outcome as Outcome);
    waiting.delete(id);
  });
  let lastId = 0;
  return {
    call(line) {
      const id = ++lastId;
      child.stdin.write(`${line(id)}\n`);
      return new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
      });
    },
    stop: () => end(child),
  };
}

/** Those that take `ID NUMBER TEXT` and print `ID ok REPLY` or `ID failed WHY`, which is what call() throws. */
export function numbersCaller(child: ChildProcessWithoutNullStreams) {
  const { call, stop } = callerOf(child, (line) => {
    const [, id, how, what = ""] = /^(\d+) (ok|failed) (.*)$/.exec(line) ?? [];
    return id === undefined ? undefined : ([Number(id), { ok: how === "ok", what }] as const);
  });
  return {
    async call(number: number, text: string): Promise<string> {
      const { ok, what } = await call((id) => `${id} ${number} ${text}`);
      if (!ok) throw new Error(what);
      return what;
    },
    stop,
  };
}
