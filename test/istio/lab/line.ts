import { once } from "node:events";
import {
  type AddressInfo,
  connect,
  createServer,
  type ListenOptions,
  type NetConnectOpts,
  type Socket,
} from "node:net";

/** A way for connections from one place to another, which can break. Places are host:port, or the path of a Unix socket. */
export class Line {
  private readonly sockets = new Set<Socket>();
  private readonly server;

  private constructor(to: NetConnectOpts) {
    this.server = createServer({ noDelay: true }, (near) => {
      const far = connect({ ...to, noDelay: true });
      for (const [from, into] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(from);
        from.on("error", () => into.destroy());
        from.on("close", () => this.sockets.delete(from));
        from.pipe(into);
      }
    });
  }

  static async open(from: ListenOptions, to: NetConnectOpts): Promise<Line> {
    const line = new Line(to);
    line.server.listen(from);
    await once(line.server, "listening");
    return line;
  }

  /** Where it begins, unless that is a Unix socket. */
  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** From now on nobody is there. */
  break(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}
