import http from "node:http";
import http2 from "node:http2";
import { Duplex } from "node:stream";
import { type Connection, Host, type Root } from "../../../tools/host/host.js";
import { wasm } from "../support.js";

/*
 * The whole way, with Node's HTTP in the place of Envoy's: client, lift, a relay that ends both connections, lower,
 * server. Nothing is synchronous here; ticks come by themselves.
 */

/** A socket whose other end is a filter. */
class Wire extends Duplex {
  constructor(private readonly onBytes: (bytes: Buffer) => void) {
    super();
    this.on("error", () => {});
  }

  /** Bytes for this end. Not at once: Node's HTTP/2 must not be told more while it tells something itself. */
  deliver(bytes: Buffer): void {
    setImmediate(() => {
      if (!this.destroyed) this.push(bytes);
    });
  }

  override _read(): void {}

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.onBytes(bytes);
    done();
  }

  // What Node's agents ask of a socket.
  setKeepAlive(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

export type Fields = http2.IncomingHttpHeaders;

export interface WholeOptions {
  protocol: "dubbo" | "awesomerpc";
  /** Bytes that reached a server. */
  toServer: (bytes: Buffer, server: Connection) => void;
  /** What the relay makes of the headers of a request, and of a response. */
  onRequest?: (fields: Fields) => Fields;
  onResponse?: (fields: Fields) => Fields;
  /** Windows and streams of the HTTP connection manager, and of the router. */
  settings?: http2.Settings;
}

/** A module with both legs and a relay; each client has one connection to the relay, and one or more behind it. */
export class Whole {
  private readonly ends: (() => void)[] = [];
  private readonly agent = new http.Agent({ keepAlive: true });

  private constructor(
    readonly host: Host,
    private readonly lift: Root,
    private readonly lower: Root,
    private readonly options: WholeOptions,
  ) {
    Object.assign(this.agent, { createConnection: () => this.serve() });
  }

  static async load(options: WholeOptions): Promise<Whole> {
    const host = await Host.load(wasm, { timers: true });
    const of = (mode: string) => host.configure({ protocol: options.protocol, mode, service: "greeter" });
    return new Whole(host, of("lift"), of("lower"), options);
  }

  /** A connection of a client. */
  connect(toClient: (bytes: Buffer) => void): Connection {
    const wire = new Wire((bytes) => connection.upstream(bytes));
    const connection = this.lift.connect({ toServer: (bytes) => wire.deliver(bytes), toClient });
    const session = http2.performServerHandshake(wire, { settings: this.options.settings ?? {} });
    const send = this.options.protocol === "dubbo" ? this.router2() : this.router1();
    session.on("stream", (stream, fields) => {
      stream.on("error", () => {});
      send(stream, this.options.onRequest?.(fields) ?? fields, (answered) => {
        stream.respond(this.options.onResponse?.(answered) ?? answered);
      });
    });
    session.on("error", () => {});
    this.ends.push(() => session.destroy());
    return connection;
  }

  /** A connection to a server. */
  private serve(): Wire {
    const wire = new Wire((bytes) => connection.downstream(bytes));
    const connection = this.lower.connect({
      toServer: (bytes) => this.options.toServer(bytes, connection),
      toClient: (bytes) => wire.deliver(bytes),
      closed: () => wire.destroy(),
    });
    this.ends.push(() => wire.destroy());
    return wire;
  }

  private router2() {
    const session = http2.connect("http://greeter", {
      createConnection: () => this.serve(),
      settings: this.options.settings ?? {},
    });
    session.on("error", () => {});
    this.ends.push(() => session.destroy());
    return (from: http2.ServerHttp2Stream, fields: Fields, respond: (fields: Fields) => void) => {
      const request = session.request(fields);
      request.on("error", () => from.close());
      request.on("response", (answered) => {
        respond(answered);
        request.pipe(from);
      });
      from.pipe(request);
    };
  }

  private router1() {
    return (from: http2.ServerHttp2Stream, fields: Fields, respond: (fields: Fields) => void) => {
      const { ":method": method = "", ":path": path = "", ":authority": host, ":scheme": _, ...rest } = fields;
      const request = http.request({
        agent: this.agent,
        method,
        path,
        headers: { host, ...(rest as http.OutgoingHttpHeaders) },
      });
      request.on("error", () => from.close());
      request.on("response", (answered) => {
        const { connection: _, "keep-alive": __, "transfer-encoding": ___, ...others } = answered.headers;
        respond({ ":status": answered.statusCode, ...others } as Fields);
        answered.pipe(from);
      });
      from.pipe(request);
    };
  }

  /** Ends everything. */
  close(): void {
    for (const end of this.ends) end();
    this.agent.destroy();
    this.host.close();
  }
}
