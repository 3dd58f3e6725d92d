import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { Exit, UserError } from "../errors.js";
import { interruptible } from "../interrupt.js";
import { describeModule } from "../model/module.js";
import { type Image, type Layout, layouts, MAX_MODULE_BYTES, packImage, unpackImage, VERSION } from "../oci/image.js";
import { readLayout, writeLayout } from "../oci/layout.js";
import { type RegistryArguments, registryOptions, transfer } from "../oci/options.js";
import { formatReference, parseReference } from "../oci/reference.js";
import { pushImage } from "../oci/registry.js";
import { defaultModule, packageRoot } from "../paths.js";
import { kib, say } from "../terminal.js";
import { check } from "./build.js";

interface Options extends RegistryArguments {
  module: string;
  layout: Layout;
  annotation?: Record<string, string>;
  from?: string;
  ociDir?: string;
}

export function push(): Command {
  const command = new Command("push")
    .description("Push the module to a registry as an image that Istio's agent pulls, and print it with its digest.")
    .argument("<reference>", "the image: [REGISTRY/]REPOSITORY[:TAG]")
    .option("--module <file>", "another WebAssembly module", defaultModule)
    .addOption(
      new Option("--layout <layout>", "compat: OCI; docker: for registries that only take Docker's; artifact: OCI, raw")
        .choices(layouts)
        .default("compat"),
    )
    .option(
      "--annotation <key=value>",
      "an annotation of the image, e.g. org.opencontainers.image.source=URL; may be given several times",
      pair,
    )
    .addOption(
      new Option("--from <folder>", "push the image of an OCI layout as it is, byte for byte").conflicts([
        "module",
        "layout",
        "annotation",
        "ociDir",
      ]),
    )
    .option("--oci-dir <folder>", "write the image to a new OCI layout in place of a registry");
  return registryOptions(command)
    .addHelpText(
      "after",
      "\nExamples:\n  $ meltemi push ghcr.io/acme/meltemi:1.0\n  $ meltemi push localhost:5000/meltemi --layout artifact\n" +
        "  $ meltemi push registry.lan/meltemi:1.0 --oci-dir image\n  $ meltemi push registry.lan/meltemi:1.0 --from image\n" +
        "\nThe same module gives the same image, and so the same digest, on every machine.",
    )
    .action(run);
}

async function run(name: string, options: Options): Promise<void> {
  const reference = parseReference(name);
  const image = options.from === undefined ? await pack(options) : await readLayout(options.from, reference.tag);
  // Whatever stands in a registry is pulled by proxies, which would be left without a filter.
  const what = options.from ?? options.module;
  const { wasm, version } = await unpackImage(image, what);
  const { protocols } = await check(wasm, MAX_MODULE_BYTES);

  const { digest, mediaType, bytes } = image.manifest;
  const pinned = formatReference({ ...reference, digest });
  if (reference.digest !== undefined && reference.digest !== digest) {
    throw new UserError("E_DIGEST", `the image of ${what} has the digest ${digest}, not that of ${name}`, {
      exit: Exit.failed,
      hint: "Leave out the digest to push it as what it is, or take the module, layout and annotations that it was made of.",
    });
  }
  const { ociDir } = options;
  let sent = 0;
  if (ociDir !== undefined) await writeLayout(ociDir, image, reference.tag);
  else {
    sent = await interruptible(({ signal }) =>
      transfer("pushing", options, signal, (how) => pushImage(reference, image, how)),
    );
  }

  const size = image.blobs.reduce((sum, blob) => sum + blob.bytes.length, bytes.length);
  if (options.json) {
    const names = protocols.map(({ name }) => name);
    const summary = { reference: pinned, digest, mediaType, bytes: size, sentBytes: sent, version, protocols: names };
    process.stdout.write(`${JSON.stringify({ ...summary, ...(ociDir !== undefined && { ociDir }) })}\n`);
  } else {
    const done = ociDir === undefined ? `pushed ${kib(size)}, ${kib(sent)} of them new` : `${ociDir}: ${kib(size)}`;
    say(done);
    process.stdout.write(`${pinned}\n`);
  }
}

async function pack({ module, layout, annotation }: Options): Promise<Image> {
  const { version } = describeModule(module);
  const wasm = readFileSync(module);
  const { protocols } = await check(wasm, MAX_MODULE_BYTES);
  const about = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8"));
  return packImage(wasm, layout, {
    "org.opencontainers.image.title": about.name,
    "org.opencontainers.image.description": about.description,
    "org.opencontainers.image.licenses": about.license,
    ...(version !== undefined && { [VERSION]: version }),
    "meltemi.protocols": protocols.map(({ name }) => name).join(","),
    ...annotation,
  });
}

function pair(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, key, value] = /^([^=\s]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError("expected KEY=VALUE.");
  return { ...before, [key]: value };
}
