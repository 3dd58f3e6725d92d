import { Random } from "../random.js";
import { bridged } from "./bridge.js";
import type { Corpus, Samples } from "./corpus.js";
import { observed } from "./observe.js";
import { Finding } from "./world.js";

export const modes = ["observe", "route", "lift", "lower", "bridge"] as const;
export type Mode = (typeof modes)[number];

/** Connections of a round, which one seed makes up. */
const connections = 12;

/** What a round has found, and all that is needed to find it again. */
export interface Found {
  readonly protocol: string;
  readonly mode: Mode;
  readonly seed: number;
  readonly what: string;
  /** Who sent what on the connection. */
  readonly sent: Readonly<Record<string, Buffer>>;
}

export interface Fuzzing {
  readonly wasm: Uint8Array;
  readonly samples: Samples;
  readonly corpora: readonly Corpus[];
  readonly modes: readonly Mode[];
  /** Of the first round of each protocol and mode; the next one has the next seed. */
  readonly seed: number;
  /** Whether another round of each is wanted, after so many; asked before each. */
  more(rounds: number): boolean;
}

export interface Done {
  readonly rounds: number;
  readonly connections: number;
  /** That peers sent. */
  readonly bytes: number;
  readonly found: Found | undefined;
}

/** Plays rounds of every protocol and mode by turns, until nobody wants more or one has found something. */
export async function fuzz({ wasm, samples, corpora, modes, seed, more }: Fuzzing): Promise<Done> {
  let [played, bytes] = [0, 0];
  const done = (found?: Found): Done => ({ rounds: played, connections: played * connections, bytes, found });
  for (let round = 0; more(round); round++) {
    for (const corpus of corpora) {
      for (const mode of modes) {
        const random = new Random(seed + round);
        try {
          bytes +=
            mode === "observe" || mode === "route"
              ? await observed(wasm, mode, corpus, random, connections)
              : await bridged(wasm, mode, corpus, random, connections, samples);
        } catch (error) {
          if (!(error instanceof Finding)) throw error;
          const { message: what, sent } = error;
          return done({ protocol: corpus.protocol, mode, seed: seed + round, what, sent });
        }
        played++;
      }
    }
  }
  return done();
}

/** For people: what was found, the bytes, and how to see it again. */
export function report({ protocol, mode, seed, what, sent }: Found): string {
  const bytes = Object.entries(sent).map(([who, bytes]) => `${who}: ${bytes.toString("hex")}\n`);
  const again = `npm run fuzz -- --codec ${protocol} --mode ${mode} --seed ${seed} --rounds 1`;
  return `${protocol}, ${mode}, seed ${seed}: ${what}\n${bytes.join("")}again: ${again}\n`;
}
