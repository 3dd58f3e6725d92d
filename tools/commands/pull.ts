import { mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { Command, Option } from "commander";
import { interruptible } from "../interrupt.js";
import { descriptionFile } from "../model/module.js";
import { MAX_MODULE_BYTES, unpackImage } from "../oci/image.js";
import { assertEmpty, cannotWrite, writeLayout } from "../oci/layout.js";
import { type RegistryArguments, registryOptions, transfer } from "../oci/options.js";
import { formatReference, parseReference } from "../oci/reference.js";
import { pullImage } from "../oci/registry.js";
import { kib, say } from "../terminal.js";
import { check } from "./build.js";

interface Options extends RegistryArguments {
  output: string;
  ociDir?: string;
}

export function pull(): Command {
  const command = new Command("pull")
    .description("Pull a module from a registry, every digest verified, and print the image with its digest.")
    .argument("<reference>", "the image: [REGISTRY/]REPOSITORY[:TAG][@DIGEST]")
    .option("--output <file>", "where the module goes, with its description beside it", "meltemi.wasm")
    .addOption(
      new Option("--oci-dir <folder>", "write the whole image to a new OCI layout in place of the module").conflicts(
        "output",
      ),
    );
  return registryOptions(command)
    .addHelpText(
      "after",
      "\nExamples:\n  $ meltemi pull ghcr.io/acme/meltemi:1.0\n  $ meltemi pull ghcr.io/acme/meltemi:1.0 --oci-dir image\n" +
        "\nOther commands take the module by --module.",
    )
    .action(run);
}

async function run(name: string, options: Options): Promise<void> {
  const reference = parseReference(name);
  const { ociDir, output } = options;
  if (ociDir !== undefined) await assertEmpty(ociDir);
  else for (const file of [output, descriptionFile(output)]) await assertReplaceable(file);
  const image = await interruptible(({ signal }) =>
    transfer("pulling", options, signal, (how) => pullImage(reference, how)),
  );
  const { digest } = image.manifest;
  const pinned = formatReference({ ...reference, digest });
  const { wasm, version = "unknown" } = await unpackImage(image, name);
  const description = { ...(await check(wasm, MAX_MODULE_BYTES)), version };

  if (ociDir !== undefined) await writeLayout(ociDir, image, reference.tag);
  else {
    await write(descriptionFile(output), `${JSON.stringify(description, undefined, 2)}\n`);
    await write(output, wasm);
  }

  const protocols = description.protocols.map((protocol) => protocol.name);
  if (options.json) {
    const where = ociDir === undefined ? { module: resolve(output) } : { ociDir };
    const summary = { reference: pinned, digest, ...where, bytes: wasm.length, version, protocols };
    process.stdout.write(`${JSON.stringify(summary)}\n`);
  } else {
    say(`${ociDir ?? output}: ${kib(wasm.length)}, version ${version}`);
    process.stdout.write(`${pinned}\n`);
  }
}

/** A device or a pipe, such as /dev/stdout, would not be written to but be gone. */
async function assertReplaceable(file: string): Promise<void> {
  const there = await stat(file).catch(() => undefined);
  if (there && !there.isFile()) throw cannotWrite(file, new Error("it is no file"), ELSEWHERE);
}

const ELSEWHERE = "Write it somewhere else: --output FILE";

/** All of it or nothing: a file that was there stays as it was until the new one is whole. */
async function write(file: string, contents: string | Uint8Array): Promise<void> {
  const partial = `${file}.partial-${process.pid}`;
  try {
    await mkdir(dirname(resolve(file)), { recursive: true });
    await writeFile(partial, contents);
    await rename(partial, file);
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {});
    throw cannotWrite(file, cause, ELSEWHERE);
  }
}
