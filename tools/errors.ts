/**
 * Exit codes of every command. A user's mistake never prints a stack trace; a mistake of ours does.
 *
 * | code | meaning                                                            |
 * |------|--------------------------------------------------------------------|
 * | 0    | done                                                               |
 * | 1    | the input is wrong: a file, a capture, a configuration             |
 * | 2    | the command line is wrong                                          |
 * | 3    | something needed is missing: Envoy, a compiler, a free port        |
 * | 4    | it ran, and the answer is no: a check failed, requests were lost   |
 * | 70   | a defect of meltemi itself                                         |
 * | 130  | Ctrl-C came before it was done                                     |
 */
export const Exit = { ok: 0, input: 1, usage: 2, missing: 3, failed: 4, defect: 70, interrupted: 130 } as const;
export type Exit = (typeof Exit)[keyof typeof Exit];

/** A mistake that the user can mend: `message` says what is wrong and where, `hint` what to do about it. */
export class UserError extends Error {
  override readonly name = "UserError";
  constructor(
    /** Stable, for scripts: `E_CONFIG`, `E_PORT_IN_USE` ... Printed in brackets behind the message. */
    readonly code: `E_${string}`,
    message: string,
    readonly options: { exit?: Exit; hint?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
  }

  get exit(): Exit {
    return this.options.exit ?? Exit.input;
  }
}

/** An address of meltemi.yaml, by its key, where another program listens. */
export function portInUse(key: "service.bind" | "admin", address: string, cause?: unknown): UserError {
  const hint = `End the program that listens there, or choose another port for "${key}" in meltemi.yaml.`;
  return new UserError("E_PORT_IN_USE", `${key}: ${address} is in use`, { exit: Exit.missing, hint, cause });
}

/** Why a file cannot be read or written, in the user's words. */
export function fileProblem(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  return code === "ENOENT" ? "there is no such file" : code === "EISDIR" ? "this is a folder" : message;
}
