import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { Command } from "commander";
import { UserError } from "../errors.js";
import { Host, ModuleError, TrapError } from "../host/host.js";
import { checkModule } from "../host/signatures.js";
import { packageRoot, version } from "../paths.js";
import { kib } from "../terminal.js";

/** Proxies fetch the module over the network and compile it on every worker; growth beyond this is a mistake. */
const maxBytes = 256 * 1024;

interface Options {
  debug?: true;
  out?: string;
  json?: true;
}

interface Description {
  version: string;
  protocols: { name: string }[];
}

export function build(): Command {
  return new Command("build")
    .description("Compile the WebAssembly module and check that Envoy will load it.")
    .option("--debug", "keep names and assertions, and write the text format as well")
    .option("--out <file>", "where the module goes (default: build/ of this package)")
    .option("--json", "say what was built as one JSON object")
    .addHelpText("after", "\nExample:\n  $ meltemi build --out /tmp/meltemi.wasm")
    .action(run);
}

async function run({ debug, out, json }: Options): Promise<void> {
  const files = await compile(debug ? "debug" : "release", out && resolve(out));
  const [path, wasm] = [...files].find(([name]) => name.endsWith(".wasm")) as [string, Buffer];
  const description = await check(wasm, debug ? Number.POSITIVE_INFINITY : maxBytes);

  // Nothing is written before all is known to be well. The description says what the module can do, and stands beside it.
  files.set(path.replace(/\.wasm$/, ".json"), Buffer.from(`${JSON.stringify(description, undefined, 2)}\n`));
  for (const [name, contents] of files) {
    try {
      mkdirSync(dirname(name), { recursive: true });
      writeFileSync(name, contents);
    } catch (cause) {
      const hint = "Write it somewhere else: meltemi build --out FILE";
      throw new UserError("E_WRITE", `${name} cannot be written: ${(cause as Error).message}`, { hint, cause });
    }
  }

  const gzip = gzipSync(wasm).length;
  const protocols = description.protocols.map(({ name }) => name);
  if (json) {
    const summary = { module: path, version: description.version, bytes: wasm.length, gzipBytes: gzip, protocols };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } else {
    process.stdout.write(
      `${relative(process.cwd(), path) || path}: ${kib(wasm.length)} (${kib(gzip)} gzip)\n` +
        `protocols: ${protocols.join(", ")}\n`,
    );
  }
}

/**
 * Compiles assembly/ with this package's asconfig.json. Answers the files that belong on the disk, by absolute path; one
 * of them ends in .wasm. Throws UserError `E_COMPILE` after the compiler's own words went to standard error.
 */
async function compile(target: string, out?: string): Promise<Map<string, Buffer>> {
  // The compiler takes a second to load, and no other command needs it.
  const { default: asc } = await import("assemblyscript/asc");
  const files = new Map<string, Buffer>();
  const options = ["--target", target, "--baseDir", packageRoot];
  if (out) {
    const wasm = out.endsWith(".wasm") ? out : `${out}.wasm`;
    options.push("--outFile", wasm);
    if (target === "debug") options.push("--textFile", wasm.replace(/wasm$/, "wat"));
  }
  const { error } = await asc.main(options, {
    stderr: process.stderr,
    writeFile: (name, contents, baseDir) => void files.set(resolve(baseDir, name), Buffer.from(contents)),
  });
  if (error) throw new UserError("E_COMPILE", `the module does not compile: ${error.message}`);
  return files;
}

/**
 * Everything that can be known without Envoy. Answers what the module says of itself, with the version of this package.
 * Throws UserError `E_MODULE`.
 */
export async function check(wasm: Uint8Array, limit: number): Promise<Description> {
  const refuse = (why: string, cause?: unknown) =>
    new UserError("E_MODULE", `Envoy would not load this module: ${why}`, { cause });
  if (wasm.length > limit) throw refuse(`it has ${wasm.length} bytes, the limit is ${limit}`);
  try {
    const host = await Host.load(wasm);
    const wrong = checkModule(wasm);
    if (wrong.length) throw refuse(`it ${wrong.join("; it ")}`);
    return { ...(host.describe() as Description), version };
  } catch (error) {
    if (error instanceof ModuleError || error instanceof TrapError) throw refuse(error.message, error);
    throw error;
  }
}
