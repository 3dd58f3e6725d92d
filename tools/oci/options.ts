import { text } from "node:stream/consumers";
import type { Command } from "commander";
import { Exit, UserError } from "../errors.js";
import { kib, say } from "../terminal.js";
import { type Credentials, whose } from "./credentials.js";
import type { Transfer } from "./registry.js";

/** What every command that speaks to a registry can be told. */
export interface RegistryArguments {
  username?: string;
  passwordStdin?: true;
  plainHttp?: true;
  json?: true;
}

export function registryOptions(command: Command): Command {
  return command
    .option("--username <name>", "whom to log in as, with --password-stdin (default: what `docker login` keeps)")
    .option("--password-stdin", "read the password, or an access token, from standard input")
    .option("--plain-http", "speak to the registry without TLS, as is done with localhost in any case")
    .option("--json", "say what was done as one JSON object");
}

/**
 * Runs a transfer as the command line says, with its progress on standard error where that is a terminal.
 * @throws UserError `E_CREDENTIALS` where a password is missing, and what `body` throws
 */
export async function transfer<T>(
  verb: string,
  given: RegistryArguments,
  signal: AbortSignal,
  body: (options: Transfer) => Promise<T>,
): Promise<T> {
  const { isTTY } = process.stderr;
  const clear = isTTY ? "\r\x1b[2K" : "";
  const options: Transfer = {
    credentials: await credentialsOf(given),
    plainHttp: given.plainHttp,
    signal,
    say: (line) => {
      process.stderr.write(clear);
      say(line);
    },
    ...(isTTY && {
      progress: (done, total) => {
        const share = Math.floor((100 * done) / Math.max(total, 1));
        process.stderr.write(`${clear}meltemi: ${verb}: ${share} % of ${kib(total)}`);
      },
    }),
  };
  try {
    return await body(options);
  } finally {
    process.stderr.write(clear);
  }
}

async function credentialsOf({ username, passwordStdin }: RegistryArguments): Promise<Credentials | undefined> {
  if (username === undefined && !passwordStdin) return undefined;
  const refuse = (message: string) =>
    new UserError("E_CREDENTIALS", message, {
      exit: Exit.usage,
      hint: "Give both: echo PASSWORD | meltemi ... --username NAME --password-stdin",
    });
  if (username === undefined) throw refuse("--password-stdin needs --username");
  if (!passwordStdin) throw refuse("--username needs --password-stdin");
  const password = (await text(process.stdin)).replace(/\r?\n$/, "");
  if (password === "") throw refuse("there is no password on standard input");
  const secret = { username, password };
  return { secret, from: `${whose(secret)} from --username` };
}
