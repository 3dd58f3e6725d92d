// `npm run fuzz`: the built module with damaged bytes, for as long as one likes.
import { readFileSync } from "node:fs";
import { Command, Option } from "commander";
import { Exit } from "../../tools/errors.js";
import { describeModule } from "../../tools/model/module.js";
import { wholeNumber } from "../../tools/options.js";
import { defaultModule } from "../../tools/paths.js";
import { Samples } from "./corpus.js";
import { fuzz, type Mode, modes, report } from "./fuzz.js";

const ALL = "all";
const seedMax = 2 ** 31 - 1;
const protocols = describeModule(defaultModule).protocols.map(({ name }) => name);

const options = new Command("npm run fuzz --")
  .description("Plays damaged traffic to the built module: it must not trap, grow, or depend on how bytes are cut.")
  .addOption(new Option("--codec <name>", "the protocol").choices([...protocols, ALL]).default(ALL))
  .addOption(new Option("--mode <mode>", "what the module does with it").choices([...modes, ALL]).default(ALL))
  .option("--seconds <n>", "how long (60)", wholeNumber(1, 1_000_000))
  .addOption(
    new Option("--rounds <n>", "how many rounds of each protocol and mode, instead")
      .argParser(wholeNumber(1, 1_000_000_000))
      .conflicts("seconds"),
  )
  .option("--seed <n>", "of the first round (any)", wholeNumber(0, seedMax))
  .addHelpText("after", "\nExample:\n  $ npm run fuzz -- --codec dubbo --seconds 600")
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? Exit.ok : Exit.usage))
  .parse()
  .opts<{ codec: string; mode: Mode | typeof ALL; seconds?: number; rounds?: number; seed?: number }>();

const { codec, mode, rounds, seconds = 60, seed = Math.floor(Math.random() * seedMax) } = options;
const end = performance.now() + seconds * 1000;
process.stderr.write(`seed ${seed}\n`);
const samples = await Samples.load();
const { found, ...done } = await fuzz({
  wasm: readFileSync(defaultModule),
  samples,
  corpora: samples.corpora().filter(({ protocol }) => codec === ALL || codec === protocol),
  modes: modes.filter((name) => mode === ALL || mode === name),
  seed,
  more: (round) => (rounds === undefined ? performance.now() < end : round < rounds),
});
if (found) {
  process.stdout.write(report(found));
  process.exitCode = Exit.failed;
} else {
  const { rounds, connections, bytes } = done;
  process.stdout.write(`nothing found: ${rounds} rounds, ${connections} connections, ${bytes} bytes\n`);
}
