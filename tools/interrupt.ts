import { Exit, UserError } from "./errors.js";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Runs `body` with a controller that Ctrl-C and the like abort, so that it ends in good order. */
export async function interruptible<T>(body: (stopped: AbortController) => Promise<T>): Promise<T> {
  const stopped = new AbortController();
  const onSignal = () => {
    // Asked twice: leave at once. What runs is ended by the handlers of the process's exit.
    if (stopped.signal.aborted) process.exit(Exit.interrupted);
    stopped.abort();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    return await body(stopped);
  } finally {
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/** What a body ends with that could not be done before Ctrl-C came. */
export function interrupted(cause?: unknown): UserError {
  return new UserError("E_INTERRUPTED", "interrupted", { exit: Exit.interrupted, cause });
}
