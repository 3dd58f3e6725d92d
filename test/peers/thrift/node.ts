import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import thrift from "thrift";

/*
 * Peers that speak Thrift by Apache's library. What its compiler would make of this, a table does here:
 *
 *     exception Refused { 1: string why }
 *     service Greeter {
 *       string hello(1: string name) throws (1: Refused refused)
 *       i32 add(1: i32 a, 2: i32 b)
 *       void ping()
 *       oneway void note(1: string what)
 *       void fail()
 *       void missing()                      // of the client only
 *     }
 */

// It warns of ids where a client of the compact protocol sends twice.
thrift.setLogLevel("none");

const { Type, MessageType, TApplicationException, TApplicationExceptionType } = thrift.Thrift;

const methods = {
  hello: { args: [Type.STRING], result: Type.STRING, oneway: false },
  add: { args: [Type.I32, Type.I32], result: Type.I32, oneway: false },
  ping: { args: [], result: undefined, oneway: false },
  note: { args: [Type.STRING], result: undefined, oneway: true },
  fail: { args: [], result: undefined, oneway: false },
  missing: { args: [], result: undefined, oneway: false },
} satisfies Record<string, { args: number[]; result: number | undefined; oneway: boolean }>;

export type Method = keyof typeof methods;

/** How bytes are put on the wire; `header` is THeader around the protocol, `old` binary without a version. */
export type Dialect = {
  transport: "framed" | "unframed" | "header";
  protocol: "binary" | "compact" | "old";
};

export const dialects: Dialect[] = [
  { transport: "framed", protocol: "binary" },
  { transport: "framed", protocol: "compact" },
  { transport: "framed", protocol: "old" },
  { transport: "unframed", protocol: "binary" },
  { transport: "unframed", protocol: "compact" },
  { transport: "unframed", protocol: "old" },
  { transport: "header", protocol: "binary" },
  { transport: "header", protocol: "compact" },
];

/** The exception that `hello` declares. */
export class Refused extends Error {}

/** What a library makes of an error that the service does not declare; `type` is TApplicationException's. */
export { TApplicationException };

export type ThriftServer = {
  readonly port: number;
  readonly connections: number;
  /** What `note` was told. */
  readonly notes: readonly string[];
  stop(): Promise<void>;
};

export type ThriftClient = {
  /** Rejects with Refused, a TApplicationException, or when the connection ends before the reply comes. */
  call(method: Method, ...args: (string | number)[]): Promise<string | number | undefined>;
  /** Resolves when the request is written. */
  note(what: string): Promise<void>;
  close(): Promise<void>;
};

class OldProtocol extends thrift.TBinaryProtocol {
  constructor(transport: thrift.Transport) {
    super(transport, false, false);
  }
}

function options({ transport, protocol }: Dialect): thrift.Options {
  const protocols = { binary: thrift.TBinaryProtocol, compact: thrift.TCompactProtocol, old: OldProtocol };
  return {
    transport: transport === "framed" ? thrift.TFramedTransport : thrift.TBufferedTransport,
    protocol: transport === "header" ? thrift.THeaderProtocol : protocols[protocol],
  };
}

function write(to: thrift.Protocol, type: number, value: unknown): void {
  if (type === Type.STRING) to.writeString(String(value));
  else to.writeI32(Number(value));
}

/** A struct whose fields have the ids 1, 2 ... */
function writeStruct(to: thrift.Protocol, types: readonly number[], values: readonly unknown[], firstId = 1): void {
  to.writeStructBegin("");
  for (const [i, type] of types.entries()) {
    to.writeFieldBegin("", type, firstId + i);
    write(to, type, values[i]);
    to.writeFieldEnd();
  }
  to.writeFieldStop();
  to.writeStructEnd();
}

/** The string and i32 fields of a struct by id; a struct in it as what its first field is. */
function readStruct(from: thrift.Protocol): Map<number, string | number> {
  const fields = new Map<number, string | number>();
  from.readStructBegin();
  for (let field = from.readFieldBegin(); field.ftype !== Type.STOP; field = from.readFieldBegin()) {
    if (field.ftype === Type.STRING) fields.set(field.fid, from.readString());
    else if (field.ftype === Type.I32) fields.set(field.fid, from.readI32());
    else if (field.ftype === Type.STRUCT) fields.set(field.fid, readStruct(from).get(1) ?? "");
    else from.skip(field.ftype);
    from.readFieldEnd();
  }
  from.readStructEnd();
  return fields;
}

class Processor implements thrift.Processor {
  constructor(private readonly handle: (method: Method, args: (string | number)[]) => string | number | undefined) {}

  process(input: thrift.Protocol, output: thrift.Protocol): void {
    const { fname, rseqid } = input.readMessageBegin();
    // A message without a version has its name in a Buffer.
    const name = String(fname);
    const args = [...readStruct(input).values()];
    input.readMessageEnd();
    const reply = (type: number, body: () => void) => {
      output.writeMessageBegin(name, type, rseqid);
      body();
      output.writeMessageEnd();
      output.flush();
    };
    const fail = (type: number, message: string) =>
      reply(MessageType.EXCEPTION, () => {
        // The library reads `type`, but writes `code`.
        Object.assign(new TApplicationException(type, message), { code: type }).write(output);
      });
    if (!(name in methods) || name === "missing") {
      fail(TApplicationExceptionType.UNKNOWN_METHOD, `unknown function ${name}`);
      return;
    }
    const { result, oneway } = methods[name as Method];
    try {
      const value = this.handle(name as Method, args);
      if (!oneway) reply(MessageType.REPLY, () => writeStruct(output, result ? [result] : [], [value], 0));
    } catch (error) {
      const { message } = error as Error;
      if (error instanceof Refused) {
        reply(MessageType.REPLY, () => {
          output.writeStructBegin("");
          output.writeFieldBegin("", Type.STRUCT, 1);
          writeStruct(output, [Type.STRING], [message]);
          output.writeFieldEnd();
          output.writeFieldStop();
          output.writeStructEnd();
        });
      } else {
        fail(TApplicationExceptionType.INTERNAL_ERROR, message);
      }
    }
  }
}

/**
 * A server of Greeter whose `hello` answers `hello fig from v1`, or refuses where the name is `nobody`. With `services`,
 * there is one of them under each of these names.
 */
export async function startThriftServer(
  dialect: Dialect,
  { version = "v1", services = [] as readonly string[], host = "127.0.0.1", port = 0 } = {},
): Promise<ThriftServer> {
  const notes: string[] = [];
  const open = new Set<Socket>();
  let connections = 0;
  const greeter = (name: string) =>
    new Processor((method, args) => {
      switch (method) {
        case "hello":
          if (args[0] === "nobody") throw new Refused(`not ${args[0]}`);
          return `hello ${args[0]} from ${name}`;
        case "add":
          return Number(args[0]) + Number(args[1]);
        case "note":
          notes.push(String(args[0]));
          return undefined;
        case "fail":
          throw new Error("it failed");
        default:
          return undefined;
      }
    });
  const multiplexed = new thrift.MultiplexedProcessor();
  for (const service of services) multiplexed.registerProcessor(service, greeter(`${service} ${version}`));
  const processor = services.length > 0 ? multiplexed : greeter(version);
  const server = thrift.createMultiplexServer(processor, options(dialect));
  // What is not Thrift ends its connection.
  server.on("error", () => {});
  server.on("connection", (socket: Socket) => {
    connections++;
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(port, host);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    notes,
    get connections() {
      return connections;
    },
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

type Callback = (error: Error | null, value?: string | number) => void;

/** What the library wants of generated clients: `_reqs`, `new_seqid` and a `recv_` function for each method. */
class Client {
  readonly _reqs: Record<number, Callback> = {};
  private seqid = 0;
  [receive: `recv_${string}`]: (input: thrift.Protocol, type: number, id: number) => void;

  constructor(
    readonly output: thrift.Transport,
    private readonly protocol: thrift.ProtocolClass,
  ) {
    for (const method of Object.keys(methods) as Method[]) {
      this[`recv_${method}`] = (input, type, id) => this.receive(method, input, type, id);
    }
  }

  new_seqid(): number {
    return ++this.seqid;
  }

  send(method: Method, args: unknown[], done: Callback): void {
    const id = this.new_seqid();
    const { args: types, oneway } = methods[method];
    const to = new this.protocol(this.output);
    if (!oneway) this._reqs[id] = done;
    to.writeMessageBegin(method, oneway ? MessageType.ONEWAY : MessageType.CALL, id);
    writeStruct(to, types, args);
    to.writeMessageEnd();
    to.flush();
  }

  private receive(method: Method, input: thrift.Protocol, type: number, id: number): void {
    const done = this._reqs[id];
    delete this._reqs[id];
    if (type === MessageType.EXCEPTION) {
      const error = new TApplicationException();
      error.read(input);
      input.readMessageEnd();
      done?.(error);
      return;
    }
    const fields = readStruct(input);
    input.readMessageEnd();
    const value = fields.get(0);
    if (fields.has(1)) done?.(new Refused(String(fields.get(1))));
    else if (value === undefined && methods[method].result) done?.(new Error("no result"));
    else done?.(null, value);
  }
}

/** One connection that carries any number of calls at a time. `service` is one of several; `infos` need a THeader. */
export async function connectThrift(
  port: number,
  dialect: Dialect,
  { service, infos = {}, host = "127.0.0.1" }: { service?: string; infos?: Record<string, string>; host?: string } = {},
): Promise<ThriftClient> {
  const connection = thrift.createConnection(host, port, options(dialect));
  await once(connection, "connect");
  const client = service
    ? new thrift.Multiplexer().createClient(service, Client, connection)
    : thrift.createClient(Client, connection);
  if (dialect.transport === "header") client.output.setProtocolId(dialect.protocol === "compact" ? 2 : 0);
  for (const [key, value] of Object.entries(infos)) client.output.setWriteHeader(key, value);
  const socket = connection.connection;
  let lost: Error | undefined;
  const lose = (error: Error) => {
    lost ??= error;
    for (const [id, done] of Object.entries(client._reqs)) {
      delete client._reqs[Number(id)];
      done(error);
    }
  };
  connection.on("error", lose);
  socket.on("close", () => lose(new Error("the connection was lost")));
  return {
    call: (method, ...args) =>
      new Promise((resolve, reject) => {
        if (lost) return reject(lost);
        client.send(method, args, (error, value) => (error ? reject(error) : resolve(value)));
      }),
    note: (what) =>
      new Promise((resolve, reject) => {
        if (lost) return reject(lost);
        client.send("note", [what], () => {});
        socket.write("", () => resolve());
      }),
    async close() {
      if (socket.destroyed) return;
      const closed = once(socket, "close");
      socket.destroySoon();
      await closed;
    },
  };
}
