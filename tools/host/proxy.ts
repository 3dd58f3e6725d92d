import { connect, createServer, type Socket } from "node:net";
import { Exit, UserError } from "../errors.js";
import { Peer } from "./abi.js";
import { type Connection, Host, type LogEntry, TrapError } from "./host.js";

export interface Address {
  host: string;
  port: number;
}

export interface ProxyOptions {
  wasm: Uint8Array;
  /** The module's configuration. */
  config: unknown;
  /** Port 0 takes a free one. */
  bind: Address;
  /** Connections go to the one that the filter names in `envoy.tcp_proxy.cluster`, else to the first. */
  clusters: readonly { name: string; endpoints: readonly Address[] }[];
  /** Where log lines go; default: `RunningProxy.logs`. */
  log?: (entry: LogEntry) => void;
}

export interface RunningProxy extends Address {
  readonly logs: readonly LogEntry[];
  /** In the Prometheus text format. */
  metrics(): string;
  /** Closes the listener and every connection. */
  close(): Promise<void>;
}

/**
 * Runs the module in this process behind a TCP listener, as Envoy with the filter and tcp_proxy would: the cluster is
 * chosen when the filter lets the first bytes on, endpoints take turns, one slow side slows the other, and one side may
 * end while the other still sends. Throws what Host.load and Host.configure throw, and UserError `E_PORT_IN_USE`.
 */
export async function startProxy(options: ProxyOptions): Promise<RunningProxy> {
  const { wasm, config, bind, clusters, log } = options;
  const host = await Host.load(wasm, { timers: true, ...(log && { log }) });
  const root = host.configure(config);
  const turns = new Map<string, number>();
  const sockets = new Set<Socket>();

  const endpointOf = (connection: Connection): Address | undefined => {
    const name = connection.filterState.get("envoy.tcp_proxy.cluster") ?? clusters[0]?.name;
    const cluster = clusters.find((candidate) => candidate.name === name);
    if (!cluster?.endpoints.length) return undefined;
    const turn = turns.get(cluster.name) ?? 0;
    turns.set(cluster.name, turn + 1);
    return cluster.endpoints[turn % cluster.endpoints.length];
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    keep(client, sockets);
    if (host.failed) return void client.destroy();
    guarded(client, () => serve(client));
  });

  function serve(client: Socket): void {
    let upstream: Socket | undefined;
    let ends = 0;
    // Both sides have ended: for Envoy it is the second one that closes.
    const ended = (end: boolean, peer: number) => {
      if (end && ++ends === 2) connection.end(peer);
    };
    const connection = root.connect({
      started: (self) => {
        const endpoint = endpointOf(self);
        if (!endpoint) return self.end(Peer.Local);
        upstream = connect({ ...endpoint, allowHalfOpen: true, noDelay: true });
        keep(upstream, sockets);
        const server = upstream;
        server.on("data", (bytes) => guarded(server, () => void self.upstream(bytes)));
        server.on("end", () => guarded(server, () => void self.upstream(Buffer.alloc(0), true)));
        server.on("close", () => guarded(server, () => self.end(Peer.Local)));
      },
      toServer: (bytes, end) => {
        pass(client, upstream as Socket, bytes, end);
        ended(end, Peer.Remote);
      },
      toClient: (bytes, end) => {
        pass(upstream as Socket, client, bytes, end);
        ended(end, Peer.Local);
      },
      closed: () => {
        client.destroySoon();
        upstream?.destroySoon();
      },
    });
    client.on("data", (bytes) => guarded(client, () => void connection.downstream(bytes)));
    client.on("end", () => guarded(client, () => void connection.downstream(Buffer.alloc(0), true)));
    client.on("close", () => guarded(client, () => connection.end(Peer.Remote)));
  }

  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === "EADDRINUSE"
          ? new UserError("E_PORT_IN_USE", `${bind.host}:${bind.port} is in use`, { exit: Exit.missing, cause })
          : new UserError("E_BIND", `cannot listen on ${bind.host}:${bind.port}: ${cause.message}`, { cause }),
      ),
    );
    server.listen({ host: bind.host, port: bind.port }, resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("a TCP listener has an address with a port");
  return {
    host: address.address,
    port: address.port,
    logs: host.logs,
    metrics: () => host.prometheus(),
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      host.close();
      await closed;
    },
  };
}

/** Writes on; while the receiver cannot keep up, the sender is not read. */
function pass(from: Socket, to: Socket, bytes: Buffer, end: boolean): void {
  if (bytes.length && !to.write(bytes)) {
    from.pause();
    to.once("drain", () => from.resume());
  }
  if (end) to.end();
}

function keep(socket: Socket, sockets: Set<Socket>): void {
  sockets.add(socket);
  // "close" always follows, and is what matters.
  socket.on("error", () => {});
  socket.on("close", () => sockets.delete(socket));
}

/** A trap is logged and has closed every connection; the proxy stays and refuses new ones, as Envoy does. */
function guarded(socket: Socket, run: () => void): void {
  try {
    run();
  } catch (error) {
    if (!(error instanceof TrapError)) throw error;
    socket.destroy();
  }
}
