#!/usr/bin/env node
import { Command, CommanderError } from "commander";
import { apply } from "./commands/apply.js";
import { build } from "./commands/build.js";
import { check } from "./commands/check.js";
import { deleteCommand } from "./commands/delete.js";
import { diff } from "./commands/diff.js";
import { inspect } from "./commands/inspect.js";
import { manifest } from "./commands/manifest.js";
import { pull } from "./commands/pull.js";
import { push } from "./commands/push.js";
import { run } from "./commands/run.js";
import { schema } from "./commands/schema.js";
import { status } from "./commands/status.js";
import { Exit, UserError } from "./errors.js";
import { version } from "./paths.js";
import { printable } from "./terminal.js";

/** Every command is one file below commands/ that exports a function from nothing to a Command. */
const commands = [apply, build, check, deleteCommand, diff, inspect, manifest, pull, push, run, schema, status];

const program = new Command("meltemi")
  .description("Private TCP protocols as first-class citizens of a stock Envoy or Istio mesh.")
  .version(version)
  .exitOverride()
  .showHelpAfterError("(run with --help for the options and an example)");
for (const command of commands) program.addCommand(command().copyInheritedSettings(program));

/** What these do in a cluster is not left half done because nobody reads what they say. */
const CHANGING = ["apply", "delete"];
process.stdout.once("error", ({ code, message }: NodeJS.ErrnoException) => {
  process.stdout.on("error", () => {});
  // `meltemi ... | head`: whoever reads has seen enough.
  if (code !== "EPIPE") {
    process.stderr.write(`meltemi: standard output cannot be written: ${message} [E_OUTPUT]\n`);
    process.exitCode = Exit.missing;
  }
  if (!CHANGING.includes(program.args[0] ?? "")) process.exit();
});

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? Exit.ok : Exit.usage;
  } else if (error instanceof UserError) {
    process.stderr.write(`meltemi: ${printable(error.message)} [${error.code}]\n`);
    if (error.options.hint) process.stderr.write(`${printable(error.options.hint)}\n`);
    process.exitCode = error.exit;
  } else {
    process.stderr.write(
      `meltemi: a defect of meltemi itself, please report it:\n${(error as Error)?.stack ?? error}\n`,
    );
    process.exitCode = Exit.defect;
  }
}
