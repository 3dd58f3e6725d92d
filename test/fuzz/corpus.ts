import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readCapture } from "../../tools/capture/pcap.js";
import { reassemble, type Side } from "../../tools/capture/reassembly.js";
import { segmentOf } from "../../tools/capture/segment.js";
import { packageRoot } from "../../tools/paths.js";
import { type Guest, loadGuest } from "../guest.js";

/** assembly/__bench__/samples.ts */
interface SamplesGuest extends Guest {
  output(): number;
  samples(): number;
  protocol(at: number, size: number): number;
  kind(): number;
  answer(protocol: number, side: number, at: number, size: number): number;
  answerSize(): number;
}

export interface Sample {
  readonly protocol: string;
  readonly side: Side;
  readonly name: string;
  readonly bytes: Buffer;
  /** As assembly/__tests__/samples/sample.ts renders it. */
  readonly expected: string;
}

/** What can be sent in one protocol: frames, and streams of frames out of captures. */
export interface Corpus {
  readonly protocol: string;
  readonly client: readonly Buffer[];
  readonly server: readonly Buffer[];
  /** Whole requests that want a reply. */
  readonly requests: readonly Buffer[];
}

/** A frame that a peer got, and what it says to it; empty where nothing. */
export interface Answered {
  readonly frame: Buffer;
  readonly heartbeat: boolean;
  readonly answer: Buffer;
}

/** Enough for every sample, and for what has come of them. */
const room = 1 << 22;
const heartbeats = [3, 4];

/** The samples of the conformance suite, and a peer of every protocol, made of its codec. */
export class Samples {
  readonly all: readonly Sample[];
  private readonly input: number;

  private constructor(private readonly guest: SamplesGuest) {
    this.input = guest.allocate(room);
    const lines = this.written(guest.samples()).toString().trimEnd().split("\n");
    this.all = lines.map((line) => {
      const { side, hex, ...rest } = JSON.parse(line);
      return { ...rest, side: side === 0 ? "client" : "server", bytes: Buffer.from(hex.replaceAll(" ", ""), "hex") };
    });
  }

  static async load(): Promise<Samples> {
    return new Samples(await loadGuest<SamplesGuest>("samples.ts"));
  }

  /** The frames at the start of `bytes` that are whole; undefined where there is something else. */
  answer(protocol: string, side: Side, bytes: Buffer): { read: Answered[]; rest: Buffer } | undefined {
    const read: Answered[] = [];
    const index = this.guest.protocol(this.put(Buffer.from(protocol)), Buffer.byteLength(protocol));
    let rest = bytes;
    while (rest.length) {
      const length = this.guest.answer(index, side === "client" ? 0 : 1, this.put(rest), rest.length);
      if (length < 0) return undefined;
      if (length === 0) break;
      const heartbeat = heartbeats.includes(this.guest.kind());
      read.push({ frame: rest.subarray(0, length), heartbeat, answer: this.written(this.guest.answerSize()) });
      rest = rest.subarray(length);
    }
    return { read, rest };
  }

  /** One for each protocol that has samples. */
  corpora(): Corpus[] {
    const captured = capturedStreams();
    return [...new Set(this.all.map(({ protocol }) => protocol))].map((protocol) => {
      const own = this.all.filter((sample) => sample.protocol === protocol);
      const from = (side: Side) => [
        ...own.filter((sample) => sample.side === side).map(({ bytes }) => bytes),
        ...captured.filter((stream) => stream.protocol === protocol && stream.side === side).map(({ bytes }) => bytes),
      ];
      const requests = own.filter(({ side, expected }) => side === "client" && expected.startsWith("request "));
      return { protocol, client: from("client"), server: from("server"), requests: requests.map(({ bytes }) => bytes) };
    });
  }

  private put(bytes: Buffer): number {
    Buffer.from(this.guest.memory.buffer).set(bytes.subarray(0, room), this.input);
    return this.input;
  }

  private written(size: number): Buffer {
    return Buffer.from(Buffer.from(this.guest.memory.buffer, this.guest.output(), size));
  }
}

const folder = join(packageRoot, "test", "fixtures", "captures");
/** What the captures' names begin with. */
const protocolOf: Record<string, string> = { brpc: "brpc", dubbo: "dubbo", sofa: "sofabolt" };

/** What each side of each captured connection sent. */
function capturedStreams(): { protocol: string; side: Side; bytes: Buffer }[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith(".pcap"))
    .flatMap((name) => {
      const protocol = protocolOf[/^[a-z]+/.exec(name)?.[0] ?? ""] ?? name;
      const { packets } = readCapture(readFileSync(join(folder, name)));
      const streams = new Map<string, { protocol: string; side: Side; bytes: Buffer }>();
      const segments = packets.map(segmentOf).filter((segment) => typeof segment !== "string");
      for (const { connection, from, bytes } of reassemble(segments)) {
        const key = `${connection.id} ${from}`;
        const before = streams.get(key)?.bytes ?? Buffer.alloc(0);
        streams.set(key, { protocol, side: from, bytes: Buffer.concat([before, bytes]) });
      }
      return [...streams.values()];
    });
}
