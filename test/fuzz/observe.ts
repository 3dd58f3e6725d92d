import type { Side } from "../../tools/capture/reassembly.js";
import type { Connection, Root } from "../../tools/host/host.js";
import type { Random } from "../random.js";
import type { Corpus } from "./corpus.js";
import { pieces, stream } from "./mutate.js";
import { Finding, World } from "./world.js";

/** One in so many frames is damaged. */
const damage = 3;
/** More than the least that any codec looks at. */
const longestMin = 128;

const routes = [
  { name: "a-m", match: { method: { regex: "[a-m].*" } }, cluster: "x" },
  { name: "named", match: { service: { present: true }, method: { not: { exact: "" } } }, cluster: "y" },
];

function limits(random: Random) {
  return {
    frameBytes: random.pick([1000, 1 << 16, 1 << 26]),
    headBytes: random.pick([64, 256, 1024, 4096]),
    inFlight: random.pick([1, 8, 1000]),
    series: random.pick([1, 20]),
  };
}

/**
 * A round of mode observe or route: connections in two workers, of which one gets all bytes at once and the other one in
 * pieces. What they say must be the same, and so must be what passes.
 */
export async function observed(
  wasm: Uint8Array,
  mode: "observe" | "route",
  corpus: Corpus,
  random: Random,
  connections: number,
): Promise<number> {
  const bounds = limits(random);
  const auto = mode === "observe" && random.once(4);
  const configuration = {
    protocol: auto ? "auto" : corpus.protocol,
    mode,
    ...(mode === "route" && { routes: random.once(2) ? routes : [...routes, { cluster: "z" }] }),
    limits: bounds,
    log: { requests: 1, frames: true },
  };
  const worlds = [await World.load(wasm), await World.load(wasm)] as const;
  const roots = worlds.map((world) => world.configure(configuration)) as [Root, Root];
  // Behind the bytes, so that every head that begins in them can be read, however they are cut.
  const filler = Buffer.alloc(bounds.headBytes + longestMin);
  let bytes = 0;
  for (let i = 0; i < connections; i++) {
    // A server's side by itself needs neither a route nor a protocol that is known from the client's.
    const side = mode === "route" || auto || random.once(2) ? "client" : "server";
    const sent = stream(corpus[side], random, damage);
    const whole = Buffer.concat([sent, filler]);
    const told = [[whole], pieces(whole, random)].map((parts, k) => {
      const world = worlds[k] as World;
      const all = { [side]: sent };
      return world.run(all, () => outcome(world, roots[k] as Root, side, parts, sent));
    }) as [Outcome, Outcome];
    agree(told, { [side]: sent });
    worlds[1].run({}, () => talk(worlds[1], roots[1], corpus, random));
    bytes += sent.length;
  }
  return bytes;
}

/** What came of a connection. */
interface Outcome {
  readonly lines: readonly string[];
  readonly cluster: string | undefined;
  readonly closed: boolean;
}

function outcome(world: World, root: Root, side: Side, parts: readonly Buffer[], sent: Buffer): Outcome {
  const connection = root.connect();
  const passed = Buffer.concat(parts.map((part) => send(connection, side, part)));
  const { closed } = connection;
  const cluster = connection.filterState.get("envoy.tcp_proxy.cluster");
  connection.close("client");
  const all = Buffer.concat(parts);
  if (closed ? passed.length > 0 : !passed.equals(all)) {
    throw new Finding(`${passed.length} of ${all.length} bytes passed, or others`, { [side]: sent });
  }
  const lines = world
    .lines({ [side]: sent })
    .filter(({ meltemi, offset }) => meltemi === "route" || (typeof offset === "number" && offset < sent.length))
    .map(({ connection: _, ...line }) => JSON.stringify(line));
  return { lines, cluster, closed };
}

function send(connection: Connection, side: Side, part: Buffer): Buffer {
  return side === "client" ? connection.downstream(part) : connection.upstream(part);
}

function agree([whole, cut]: readonly [Outcome, Outcome], sent: Record<string, Buffer>): void {
  if (whole.closed !== cut.closed || whole.cluster !== cut.cluster) {
    const shown = ({ closed, cluster }: Outcome) => (closed ? "closed" : `goes to ${cluster}`);
    throw new Finding(`at once it ${shown(whole)}, in pieces it ${shown(cut)}`, sent);
  }
  const differs = whole.lines.findIndex((line, i) => !alike(line, cut.lines[i] ?? ""));
  const at = differs < 0 && cut.lines.length > whole.lines.length ? whole.lines.length : differs;
  if (at < 0) return;
  throw new Finding(`at once: ${whole.lines[at] ?? "nothing"}\nin pieces: ${cut.lines[at] ?? "nothing"}`, sent);
}

/** A head may be both too long and wrong: which of the two is seen first hangs on how much of it is there. */
function alike(one: string, other: string): boolean {
  if (one === other) return true;
  const tooLong = '"reason":"head_too_large"';
  const rest = (line: string) => line.replace(/"reason":"\w+"/, tooLong);
  return (one.includes(tooLong) || other.includes(tooLong)) && rest(one) === rest(other);
}

/** Both sides of a connection by turns, until one of them ends it. */
function talk(world: World, root: Root, corpus: Corpus, random: Random): void {
  const sent = { client: stream(corpus.client, random, damage), server: stream(corpus.server, random, damage) };
  const rest = { client: pieces(sent.client, random), server: pieces(sent.server, random) };
  const connection = root.connect();
  world.run(sent, () => {
    while (rest.client.length + rest.server.length > 0) {
      const side = random.pick(["client", "server"] as const);
      const part = rest[side].shift();
      if (part) send(connection, side, part);
      if (random.once(50)) world.host.tick();
    }
    connection.close(random.pick(["client", "server"]));
  });
  world.lines(sent);
}
