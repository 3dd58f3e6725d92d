import { Host, type Root, TrapError } from "../../tools/host/host.js";

/** Something that must never happen; `sent` is what made it happen. */
export class Finding extends Error {
  override readonly name = "Finding";
  constructor(
    message: string,
    readonly sent: Readonly<Record<string, Buffer>>,
  ) {
    super(message);
  }
}

/** What all limits of the configurations here come to, and much more. A module starts with 0.4 MiB. */
const memoryMax = 64 << 20;

/** One worker with the module, whose clock stands still. */
export class World {
  private constructor(
    readonly host: Host,
    private readonly messages: string[],
  ) {}

  static async load(wasm: Uint8Array): Promise<World> {
    const messages: string[] = [];
    const log = ({ message }: { message: string }) => void messages.push(message);
    return new World(await Host.load(wasm, { clock: () => 1_700_000_000_000_000_000n, log }), messages);
  }

  configure(configuration: object): Root {
    return this.host.configure(configuration);
  }

  /** The module's log lines since the last time; each is JSON. */
  lines(sent: Record<string, Buffer>): Record<string, unknown>[] {
    return this.messages.splice(0).map((message) => {
      try {
        return JSON.parse(message);
      } catch {
        throw new Finding(`a log line that is not JSON: ${message}`, sent);
      }
    });
  }

  /** Runs what must not trap, and holds the module's memory and what it says is in flight against what they may be. */
  run<T>(sent: Record<string, Buffer>, play: () => T): T {
    let result: T;
    try {
      result = play();
      this.host.tick();
    } catch (error) {
      throw error instanceof TrapError ? new Finding(error.message, sent) : error;
    }
    const { memoryBytes, metrics } = this.host;
    if (memoryBytes > memoryMax) throw new Finding(`${memoryBytes} bytes of guest memory`, sent);
    for (const [name, value] of metrics.gauges) {
      if (name.endsWith("meltemi_in_flight") && value !== 0) throw new Finding(`${value} left in ${name}`, sent);
    }
    return result;
  }
}
