import { Log } from "./log";

/** What AssemblyScript calls before it traps; without it the module would import `env.abort`, which no host has. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const what = message === null ? "abort" : message;
  const where = file === null ? "" : ` at ${file}:${line}:${column}`;
  Log.critical(`trap: ${what}${where}`);
  unreachable();
}
