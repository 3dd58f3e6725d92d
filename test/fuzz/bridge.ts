import type { Connection, Root } from "../../tools/host/host.js";
import type { Random } from "../random.js";
import type { Answered, Corpus, Samples } from "./corpus.js";
import { mutated, pieces, stream } from "./mutate.js";
import { Finding, World } from "./world.js";

export type BridgeMode = "lift" | "lower" | "bridge";

/** One in so many messages is damaged, where any are. */
const damage = 4;
/** So many deliveries are far more than a round can need. */
const deliveriesMax = 100_000;

/** What becomes of bytes on their way. */
type Tamper = (bytes: Buffer) => Buffer[];

interface Tampers {
  toLower: Tamper;
  toLift: Tamper;
  fromServer: Tamper;
}

const asTheyAre: Tampers = { toLower: (bytes) => [bytes], toLift: (bytes) => [bytes], fromServer: (bytes) => [bytes] };

/** A client's connection with lift in it, whose HTTP goes straight to lower, in front of a server made of the codec. */
class Bridge {
  private readonly world: World;
  private readonly lift: Connection;
  private readonly lower: Connection;
  /** What is on its way, in order. */
  private readonly due: (() => void)[] = [];
  private toServer: Buffer = Buffer.alloc(0);
  private toClient: Buffer = Buffer.alloc(0);
  private readable = true;
  /** Frames that reached the server, heartbeats not among them. */
  readonly requests: string[] = [];

  constructor(
    { world, lift, lower }: Legs,
    private readonly protocol: string,
    private readonly samples: Samples,
    private readonly tampers: Tampers = asTheyAre,
  ) {
    this.world = world;
    this.lift = lift.connect({
      toServer: (bytes) => this.pass(this.tampers.toLower(bytes), (part) => this.lower.downstream(part)),
      toClient: (bytes) => {
        this.toClient = Buffer.concat([this.toClient, bytes]);
      },
      closed: () => this.due.push(() => this.lower.close("client")),
    });
    this.lower = lower.connect({
      toServer: (bytes) => this.serve(bytes),
      toClient: (bytes) => this.pass(this.tampers.toLift(bytes), (part) => this.lift.upstream(part)),
      closed: () => this.due.push(() => this.lift.close("server")),
    });
  }

  client(parts: readonly Buffer[]): void {
    for (const part of parts) {
      this.lift.downstream(part);
      this.settle();
    }
  }

  /** Bytes for lower that lift did not write. */
  router(parts: readonly Buffer[]): void {
    for (const part of parts) {
      this.lower.downstream(part);
      this.settle();
    }
  }

  private pass(parts: Buffer[], deliver: (part: Buffer) => void): void {
    for (const part of parts) this.due.push(() => deliver(part));
  }

  private serve(bytes: Buffer): void {
    if (!this.readable) return;
    const answered = this.samples.answer(this.protocol, "client", Buffer.concat([this.toServer, bytes]));
    if (!answered) {
      this.readable = false;
      return;
    }
    this.toServer = answered.rest;
    for (const { frame, heartbeat, answer } of answered.read) {
      if (!heartbeat) this.requests.push(frame.toString("hex"));
      if (answer.length) this.pass(this.tampers.fromServer(answer), (part) => this.lower.upstream(part));
    }
  }

  /** Delivers what is on its way, and what comes of it, until nothing does any more. */
  private settle(): void {
    let idle = 0;
    for (let deliveries = 0; idle < 3; deliveries++) {
      if (deliveries > deliveriesMax) throw new Error("it does not come to rest");
      const next = this.due.shift();
      if (next) next();
      else this.world.host.tick();
      idle = next ? 0 : idle + 1;
    }
  }

  /** The frames that reached the client, and whether they were all that did. */
  replies(): { frames: Answered[]; whole: boolean } {
    const read = this.samples.answer(this.protocol, "server", this.toClient);
    return { frames: read?.read ?? [], whole: read !== undefined && read.rest.length === 0 };
  }

  close(): void {
    this.lift.close("client");
    this.settle();
    this.lower.close("server");
  }
}

/** A worker with both legs. */
interface Legs {
  readonly world: World;
  readonly lift: Root;
  readonly lower: Root;
}

async function load(wasm: Uint8Array, configuration: object): Promise<Legs> {
  const world = await World.load(wasm);
  return {
    world,
    lift: world.configure({ ...configuration, mode: "lift", direction: "outbound" }),
    lower: world.configure({ ...configuration, mode: "lower", direction: "inbound" }),
  };
}

/**
 * A round with both legs of a bridge. Mode bridge: nothing is damaged, and what comes out must be the same however it is
 * cut. Modes lift and lower: everything is damaged that reaches this leg.
 */
export async function bridged(
  wasm: Uint8Array,
  mode: BridgeMode,
  corpus: Corpus,
  random: Random,
  connections: number,
  samples: Samples,
): Promise<number> {
  const { protocol } = corpus;
  const configuration = { protocol, service: "fuzz", log: { requests: 1, frames: random.once(2) } };
  const [first, second] = [await load(wasm, configuration), await load(wasm, configuration)];
  let bytes = 0;
  for (let i = 0; i < connections; i++) {
    const sent: Record<string, Buffer> = {};
    if (mode === "bridge") {
      sent.client = stream(corpus.requests, random, 0);
      const whole = throughBridge(first, [sent.client], protocol, samples, sent);
      const cut = throughBridge(second, pieces(sent.client, random), protocol, samples, sent);
      if (whole !== cut) throw new Finding(`at once:\n${whole}\nin pieces:\n${cut}`, sent);
    } else {
      const play = mode === "lift" ? damagedLift : damagedLower;
      first.world.run(sent, () => play(first, corpus, random, samples, sent));
    }
    for (const { world } of [first, second]) world.lines(sent);
    bytes += Object.values(sent).reduce((sum, { length }) => sum + length, 0);
  }
  return bytes;
}

/** What reaches the server and the client, as text; each request must get its reply. */
function throughBridge(legs: Legs, parts: Buffer[], protocol: string, samples: Samples, sent: Record<string, Buffer>) {
  return legs.world.run(sent, () => {
    const bridge = new Bridge(legs, protocol, samples);
    bridge.client(parts);
    const { frames, whole } = bridge.replies();
    const asked = samples.answer(protocol, "client", Buffer.concat(parts))?.read.length;
    if (!whole || frames.length !== asked || bridge.requests.length !== asked) {
      const passed = `${bridge.requests.length} passed and ${frames.length} were answered`;
      throw new Finding(`of ${asked} requests ${passed}${whole ? "" : ", not in whole frames"}`, sent);
    }
    bridge.close();
    return [...bridge.requests, ...frames.map(({ frame }) => frame.toString("hex"))].join("\n");
  });
}

/** Bytes in pieces, now and then damaged, and written down under that name. */
function damaging(name: string, donors: readonly Buffer[], random: Random, sent: Record<string, Buffer>): Tamper {
  return (whole) => {
    const now = random.once(damage) ? mutated(whole, random, donors) : whole;
    sent[name] = Buffer.concat([sent[name] ?? Buffer.alloc(0), now]);
    return pieces(now, random);
  };
}

function damagedLift(legs: Legs, corpus: Corpus, random: Random, samples: Samples, sent: Record<string, Buffer>): void {
  sent.client = stream(corpus.client, random, damage);
  const toLift = damaging("http", [Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")], random, sent);
  const bridge = new Bridge(legs, corpus.protocol, samples, { ...asTheyAre, toLift });
  bridge.client(pieces(sent.client, random));
  bridge.close();
}

function damagedLower(
  legs: Legs,
  corpus: Corpus,
  random: Random,
  samples: Samples,
  sent: Record<string, Buffer>,
): void {
  const toLower = damaging("http", corpus.requests, random, sent);
  const fromServer = damaging("server", corpus.server, random, sent);
  const bridge = new Bridge(legs, corpus.protocol, samples, { ...asTheyAre, toLower, fromServer });
  if (random.once(2)) bridge.client([stream(corpus.requests, random, 0)]);
  else bridge.router(toLower(http1(corpus, random)));
  bridge.close();
}

/** Requests as a router writes them over HTTP/1.1. */
function http1({ protocol, requests }: Corpus, random: Random): Buffer {
  const all = Array.from({ length: random.size(4) }, () => {
    const body = random.pick(requests);
    const head = `POST /a/b HTTP/1.1\r\nhost: a\r\ncontent-type: application/vnd.meltemi.${protocol}\r\n`;
    const chunked = `transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n`;
    return random.once(2)
      ? [Buffer.from(`${head}content-length: ${body.length}\r\n\r\n`), body]
      : [Buffer.from(head + chunked), body, Buffer.from("\r\n0\r\n\r\n")];
  });
  return Buffer.concat(all.flat());
}
