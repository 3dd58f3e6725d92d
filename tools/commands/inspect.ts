import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { Command, Option } from "commander";
import { type Decoded, decode, type Frame, type Route, route } from "../capture/decode.js";
import { isHex, readHex } from "../capture/hex.js";
import { isCapture, readCapture } from "../capture/pcap.js";
import { type Connection, type Piece, reassemble, type Side } from "../capture/reassembly.js";
import { type Segment, segmentOf } from "../capture/segment.js";
import { isRequest, table } from "../capture/table.js";
import { loadFor } from "../configuration.js";
import { Exit, fileProblem, UserError } from "../errors.js";
import { describeModule, type ModuleDescription, moduleConfig } from "../model/module.js";
import { AUTO, type Model } from "../model/schema.js";
import { wholeNumber } from "../options.js";
import { defaultModule } from "../paths.js";
import { say, showsColour } from "../terminal.js";

interface Options {
  protocol?: string;
  config?: string;
  json?: true;
  hex?: true;
  pcap?: true;
  port?: number;
  from?: Side;
  limit?: number;
}

/** Bytes to look at; for hex text, whose direction is not known, as they would be from either side. */
type Reading = { pieces: Piece[] };

type Protocol = ModuleDescription["protocols"][number];

interface Attempt {
  protocol: string;
  pieces: Piece[];
  decoded: Decoded;
}

export function inspect(): Command {
  return new Command("inspect")
    .description("Show the frames in a capture or in hex text, as the module reads them.")
    .argument("<file>", "a pcap, a pcapng or hex text; - for standard input")
    .option("--protocol <name>", "the protocol of the frames (default: auto, the one that fits best)")
    .option("--config <file>", "a meltemi.yaml: also say which route each connection takes")
    .option("--json", "one JSON object for each frame")
    .addOption(new Option("--hex", "the file is hex text (default: look)").conflicts("pcap"))
    .addOption(new Option("--pcap", "the file is a capture (default: look)").conflicts("hex"))
    .option("--port <number>", "only connections to this port of a server", wholeNumber(1, 65535))
    .addOption(
      new Option("--from <side>", "who sent the hex text (default: who fits best)").choices(["client", "server"]),
    )
    .option("--limit <number>", "stop after this many frames", wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .addHelpText(
      "after",
      `
Examples:
  $ tcpdump -i any -w - -c 1000 tcp port 20880 | meltemi inspect -
  $ meltemi inspect traffic.pcap --config meltemi.yaml
  $ echo 'dabb e200 00000000 00000001 00000001 4e' | meltemi inspect - --json`,
    )
    .action(run);
}

async function run(file: string, options: Options): Promise<void> {
  const { json, limit } = options;
  const bytes = await readInput(file);
  const readings = isText(bytes, options) ? readText(bytes, options) : readPackets(bytes, options);

  const known = describeModule(defaultModule).protocols;
  const model = options.config === undefined ? undefined : await loadFor(defaultModule, options.config);
  const wasm = readFileSync(defaultModule);
  const { protocol, pieces, decoded } = await read(wasm, readings, protocols(options, model, known), limit);

  const { frames, errors } = decoded;
  for (const { connection, from, reason, offset } of errors) {
    const who = `connection ${connection.id} (${connection.client} to ${connection.server}), ${from}`;
    say(`${who}: not ${protocol} at byte ${offset} (${reason}), nothing behind it was read`);
  }
  if (frames.length === 0) {
    throw new UserError("E_NO_FRAMES", `no frame of ${protocol} in ${title(file)}`, {
      exit: Exit.failed,
      hint: hintFor(pieces, errors.length > 0),
    });
  }
  const routes = model && (await routesOf(wasm, model, pieces));
  if (json) {
    process.stdout.write(jsonLines(frames, routes));
  } else {
    const width = process.stdout.columns ?? 100;
    const color = showsColour();
    process.stdout.write(table(frames, routes, { width, color }));
  }
}

const title = (file: string) => (file === "-" ? "standard input" : file);

async function readInput(file: string): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await (file === "-" ? buffer(process.stdin) : readFile(file));
  } catch (cause) {
    throw new UserError("E_NO_FILE", `${title(file)}: ${fileProblem(cause)}`, { cause });
  }
  if (bytes.length === 0) throw new UserError("E_EMPTY", `${title(file)} is empty`);
  return bytes;
}

function isText(bytes: Buffer, { hex, pcap }: Options): boolean {
  if (hex || pcap) return hex === true;
  if (isCapture(bytes)) return false;
  if (isHex(bytes)) return true;
  throw new UserError("E_FORMAT", "this is neither a pcap, nor a pcapng, nor hex text", {
    hint: "Bytes as they are on the wire can be given as hex: xxd -p FILE | meltemi inspect -",
  });
}

function readText(bytes: Buffer, { from }: Options): Reading[] {
  const content = readHex(bytes.toString());
  const connection: Connection = { id: 1, client: "client", server: "server" };
  const sides: Side[] = from ? [from] : ["client", "server"];
  const piece = { connection, time: undefined, offset: 0, bytes: content, gap: 0, whole: true };
  return sides.map((side) => ({ pieces: [{ ...piece, from: side }] }));
}

function readPackets(bytes: Buffer, { port }: Options): Reading[] {
  const { packets, truncated } = readCapture(bytes);
  if (truncated) say("the capture is cut off inside of its last packet, which is left out");
  const segments: Segment[] = [];
  const others = new Map<string, number>();
  for (const packet of packets) {
    const segment = segmentOf(packet);
    if (typeof segment !== "string") segments.push(segment);
    else others.set(segment, (others.get(segment) ?? 0) + 1);
  }
  const counts = [...others].map(([why, count]) => `${count} ${why}`).join(", ");
  if (segments.length === 0) {
    const found = packets.length ? `${packets.length} packets: ${counts}` : "no packets at all";
    throw new UserError("E_NO_TCP", `there is no TCP in this capture (${found})`);
  }
  if (others.has("IP fragment")) say(`fragments of IP packets are left out (${counts})`);

  const pieces = [...reassemble(segments, port)];
  if (pieces.length === 0) {
    const ports = [...new Set(segments.map((segment) => Math.min(segment.sourcePort, segment.destinationPort)))];
    const where = port === undefined ? "" : ` to port ${port} (there are ${ports.slice(0, 8).join(", ")})`;
    throw new UserError("E_NO_TCP", `no bytes were sent on any TCP connection${where}`);
  }
  for (const { connection, from, gap, offset } of pieces) {
    if (gap) say(`connection ${connection.id}, ${from}: ${gap} bytes at byte ${offset} were not captured`);
  }
  return [{ pieces }];
}

/** What to try, never empty. */
function protocols({ protocol = AUTO }: Options, model: Model | undefined, known: readonly Protocol[]) {
  if (protocol !== AUTO && !known.some(({ name }) => name === protocol)) {
    throw new UserError("E_PROTOCOL", `the module does not speak "${protocol}"`, {
      exit: Exit.usage,
      hint: `It speaks ${known.map(({ name }) => name).join(", ")}.`,
    });
  }
  const configured = model?.protocol ?? AUTO;
  if (protocol !== AUTO && configured !== AUTO && configured !== protocol) {
    throw new UserError("E_PROTOCOL", `--protocol is ${protocol}, the configuration's is ${configured}`, {
      exit: Exit.usage,
    });
  }
  const chosen = protocol === AUTO ? configured : protocol;
  return chosen === AUTO ? known : known.filter(({ name }) => name === chosen);
}

/** Reads with every protocol in question, and from either side where that is open; answers the best. */
async function read(
  wasm: Uint8Array,
  readings: Reading[],
  candidates: readonly Protocol[],
  limit: number | undefined,
): Promise<Attempt> {
  const attempts: (Attempt & { magic: string })[] = [];
  for (const { name, magic } of candidates) {
    for (const { pieces } of readings) {
      attempts.push({ protocol: name, magic, pieces, decoded: await decode(wasm, name, pieces, limit) });
    }
  }
  // A protocol without a magic number reads a frame out of almost anything, but seldom one that ends where it should.
  attempts.sort(
    ({ decoded: a }, { decoded: b }) =>
      b.explained - a.explained || a.errors.length - b.errors.length || b.frames.length - a.frames.length,
  );
  const [best, ...others] = attempts;
  if (!best) throw new Error("there is always a protocol and a reading");
  const { frames, explained } = best.decoded;
  if (candidates.length === 1 || frames.length === 0) {
    return { ...best, protocol: candidates.map(({ name }) => name).join(" or ") };
  }
  if (explained === 0) {
    throw new UserError("E_NO_FRAMES", "no protocol reads a whole frame here", {
      exit: Exit.failed,
      hint: `It may be the start of one: see with --protocol NAME (${candidates.map(({ name }) => name).join(", ")}).`,
    });
  }
  const total = best.pieces.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const count = frames.length === 1 ? "1 frame" : `${frames.length} frames`;
  // The best reading of each comes last, and counts.
  const fitting = new Map(
    others
      .filter(({ protocol, decoded }) => protocol !== best.protocol && decoded.explained > 0)
      .map(({ protocol, decoded }) => [protocol, decoded.explained] as const)
      .reverse(),
  );
  const reasons = [
    ...beginnings(best.magic, best.pieces),
    `${count}, the whole ones make up ${explained} of ${total} bytes`,
    ...[...fitting].map(([protocol, bytes]) => `${protocol} fits ${bytes} bytes as well`),
  ];
  say(`this looks like ${best.protocol}: ${reasons.join("; ")}`);
  return best;
}

/** How many connections begin with a magic, in words; nothing where none does. */
function beginnings(magic: string, pieces: readonly Piece[]): string[] {
  const first = new Map<Connection, string>();
  for (const { connection, bytes } of pieces) {
    if (bytes.length && !first.has(connection)) first.set(connection, bytes.toString("hex", 0, 32));
  }
  const starts = [...first.values()];
  // As it is written, each alternative is a regular expression.
  const found = magic.split(" ").filter((digits) => digits && starts.some((start) => start.search(digits) === 0));
  const having = starts.filter((start) => found.some((digits) => start.search(digits) === 0));
  if (found.length === 0) return [];
  return [`magic ${found.join(" or ")} at the start of ${having.length} of ${starts.length} connections`];
}

function hintFor(pieces: Piece[], unreadable: boolean): string {
  const bytes = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
  const first = pieces.find((piece) => piece.bytes.length)?.bytes.subarray(0, 16) ?? Buffer.alloc(0);
  const start = `The first of ${bytes} bytes are ${first.toString("hex").replace(/(..)\B/g, "$1 ")}.`;
  return unreadable ? start : `${start} They may be too few for the head of a frame.`;
}

async function routesOf(wasm: Uint8Array, model: Model, pieces: Piece[]) {
  if (model.mode !== "route") {
    say(`the configuration has mode ${model.mode}: no server is chosen for a connection, there is nothing to route`);
    return undefined;
  }
  return route(wasm, { ...moduleConfig(model, "route"), log: { requests: 0, frames: true } }, pieces);
}

function jsonLines(frames: Frame[], routes: Map<Connection, Route> | undefined): string {
  const routed = new Set<Connection>();
  return frames
    .map((frame) => {
      const { connection, time, ...rest } = frame;
      const chosen = routes?.get(connection);
      const first = chosen !== undefined && frame.from === "client" && isRequest(frame) && !routed.has(connection);
      if (first) routed.add(connection);
      const line = {
        ...rest,
        connection: connection.id,
        client: connection.client,
        server: connection.server,
        ...(time !== undefined && { time: isoTime(time) }),
        ...(first && (chosen === "closed" ? { route: null, cluster: null } : chosen)),
      };
      return `${JSON.stringify(line)}\n`;
    })
    .join("");
}

/** With microseconds, which JavaScript's dates do not have. */
function isoTime(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  const micro = String((nanoseconds / 1000n) % 1000n).padStart(3, "0");
  return date.toISOString().replace("Z", `${micro}Z`);
}
