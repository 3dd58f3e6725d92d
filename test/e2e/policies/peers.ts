import { connectAwesome, startAwesomeServer } from "../../peers/awesomerpc.js";
import { connectBrpc, startBrpcServer } from "../../peers/brpc.js";
import { connect } from "../../peers/dubbo/client.js";
import { greeter, startServer } from "../../peers/dubbo/server.js";
import { connectPingPong, startPingPongServer } from "../../peers/pingpong.js";
import { connectQza, startQzaServer } from "../../peers/qza.js";
import { type Dialect as BoltDialect, connectBolt, startBoltServer } from "../../peers/sofabolt.js";
import {
  connectThrift,
  type Dialect,
  startThriftServer,
  TApplicationException,
  type ThriftClient,
} from "../../peers/thrift/node.js";
import { connectTrpc, startTrpcServer, greeter as trpcGreeter } from "../../peers/trpc.js";
import { connectVideo, startVideoServer } from "../../peers/videopacket.js";

/*
 * Peers of every protocol that a bridge carries, made alike: a call has a number as the value of one metadata key, and a
 * text, which comes back with the name of the server behind it: `fig from v1`. A negative number is refused by the service
 * itself.
 */

export interface Peer {
  readonly name: string;
  /** Why they do not run here. */
  readonly missing?: string;
  /** As in meltemi.yaml. */
  readonly protocol: string;
  /** The metadata key of that number. */
  readonly key: string;
  /** Where frames have no place for a changed number: a key that routes may set all the same. */
  readonly unwritten?: string;
  /** What the module calls the service's refusal, and how clients hear of it; not where a service cannot refuse. */
  readonly refused?: { status: string; error: string };
  readonly errors: Errors;
  /** Clients at a time, all of which use the same ids; default 3. */
  readonly clients?: number;
  startServer(name: string): Promise<Server>;
  connect(port: number): Promise<PeerClient>;
}

/** How clients hear that there is no route, of HTTP 503 and 504, that they may not, and that it is too much. */
export type Errors = Record<keyof typeof texts, string>;

export interface Server {
  readonly port: number;
  /** So far; where it is known. */
  readonly connections?: number;
  stop(): Promise<void>;
}

/** One connection. */
export interface PeerClient {
  call(value: number, text: string): Promise<unknown>;
  close(): Promise<void>;
}

const texts = {
  noRoute: "HTTP 404: no route",
  unavailable: "HTTP 503: fault filter abort",
  timeout: "HTTP 504: timeout",
  denied: "HTTP 403: RBAC: access denied",
  limited: "HTTP 429: local_rate_limited",
};

/** Errors that say what the proxy said, behind what these are. */
export function saying(before: Errors | ((kind: keyof Errors) => string)): Errors {
  const entries = Object.entries(texts) as [keyof Errors, string][];
  return Object.fromEntries(
    entries.map(([kind, text]) => [kind, (typeof before === "function" ? before(kind) : before[kind]) + text]),
  ) as Errors;
}

/** The same error, whatever happened. */
const always = (error: string): Errors => ({
  ...{ noRoute: error, unavailable: error, timeout: error, denied: error, limited: error },
});

/** The names of one server's services. */
export const thriftServices: readonly string[] = Array.from({ length: 25 }, (_, i) => String(i - 10));
export const thriftErrors: Errors = saying((kind) => (kind === "noRoute" ? "Error: 1 " : "Error: 6 "));

export const peers: readonly Peer[] = [
  {
    ...{ name: "Dubbo", protocol: "dubbo", key: "dubbo.tag" },
    refused: { status: "exception", error: "RemoteException: refused by v1" },
    errors: saying({
      noRoute: "StatusError 60: ",
      unavailable: "StatusError 80: ",
      timeout: "StatusError 31: ",
      denied: "StatusError 80: ",
      limited: "StatusError 100: ",
    }),
    async startServer(version) {
      const { port, stats, stop } = await startServer({ version });
      return {
        port,
        get connections() {
          return stats.connections;
        },
        stop,
      };
    },
    async connect(port) {
      const { call, close } = await connect({ port });
      const worded = async (value: number, text: string) => {
        const attachments = { "dubbo.tag": String(value) };
        const reply = await call(greeter, value < 0 ? "fail" : "sayHello", [text], { attachments });
        return String(reply).replace("Hello ", "");
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "awesomerpc", protocol: "awesomerpc", key: "cmd", unwritten: "cmd" },
    refused: { status: "-7", error: "Error: -7" },
    // Its errors are numbers without words.
    errors: { ...always("Error: 51"), noRoute: "Error: 50" },
    startServer: startAwesomeServer,
    async connect(port) {
      const { call, close } = await connectAwesome(port);
      const worded = async (value: number, text: string) => {
        const { code, body } = await call(value, text);
        return code ? failed(code) : body;
      };
      return { call: worded, close };
    },
  },
  thrift("framed", "binary"),
  thrift("framed", "compact"),
  thrift("unframed", "binary"),
  thrift("header", "compact"),
  {
    ...{ name: "tRPC", protocol: "trpc", key: "number" },
    refused: { status: "exception", error: "Error: 0 42 refused by v1" },
    errors: saying({
      noRoute: "Error: 11 0 ",
      unavailable: "Error: 141 0 ",
      timeout: "Error: 21 0 ",
      denied: "Error: 41 0 ",
      limited: "Error: 23 0 ",
    }),
    startServer: startTrpcServer,
    async connect(port) {
      const { call, close } = await connectTrpc(port);
      const worded = async (value: number, text: string) => {
        const func = `/${trpcGreeter}/${value < 0 ? "Fail" : "Echo"}`;
        const { ret, funcRet, message, body } = await call(func, text, { number: String(value) });
        return ret || funcRet ? failed(ret, funcRet, message) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "bRPC", protocol: "brpc", key: "log_id" },
    refused: { status: "42", error: "Error: 42 refused by v1" },
    errors: saying({
      noRoute: "Error: 1001 ",
      unavailable: "Error: 1009 ",
      timeout: "Error: 1008 ",
      denied: "Error: 1004 ",
      limited: "Error: 2004 ",
    }),
    startServer: startBrpcServer,
    async connect(port) {
      const { call, close } = await connectBrpc(port);
      const worded = async (value: number, said: string) => {
        const { code, text, body } = await call(value < 0 ? "Fail" : "Echo", said, { logId: value });
        return code ? failed(code, text) : body;
      };
      return { call: worded, close };
    },
  },
  bolt("bolt 1"),
  bolt("bolt 2 with checksums"),
  {
    ...{ name: "qza", protocol: "qza", key: "cmd" },
    refused: { status: "-7", error: "Error: -7" },
    errors: { ...always("Error: 51"), noRoute: "Error: 50" },
    startServer: startQzaServer,
    async connect(port) {
      const { call, close } = await connectQza(port);
      const worded = async (cmd: number, text: string) => {
        const { code, body } = await call({ cmd, body: text });
        return code ? failed(code) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "videopacket", protocol: "videopacket", key: "uin" },
    refused: { status: "7", error: "Error: 7" },
    errors: {
      ...{ noRoute: "Error: 8", unavailable: "Error: 8", timeout: "Error: 3" },
      ...{ denied: "Error: 5", limited: "Error: 4" },
    },
    startServer: startVideoServer,
    async connect(port) {
      const { call, close } = await connectVideo(port);
      const worded = async (value: number, text: string) => {
        const { result, body } = await call({ command: 1, uin: BigInt(value), subCmd: value < 0 ? 7 : 0, body: text });
        return result ? failed(result) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "pingpong", protocol: "pingpong", key: "service", unwritten: "type" },
    errors: saying((kind) => (kind === "noRoute" ? "Error: 50 " : "Error: 51 ")),
    startServer: startPingPongServer,
    async connect(port) {
      const { call, close } = await connectPingPong(port);
      const worded = async (value: number, text: string) => {
        const { reserved, body } = await call(text, { service: String(value) });
        return reserved ? failed(reserved, body) : body;
      };
      return { call: worded, close };
    },
  },
];

/** An error as a client hears it that has no class of its own for them. */
function failed(...words: (number | string)[]): never {
  throw new Error(words.join(" "));
}

function bolt(dialect: BoltDialect): Peer {
  const error = "Error: com.alipay.remoting.rpc.exception.RpcServerException: ";
  return {
    ...{ name: `SOFABolt, ${dialect}`, protocol: "sofabolt", key: "number" },
    refused: { status: "exception", error: "Error: refused by v1" },
    errors: saying(() => error),
    startServer: startBoltServer,
    async connect(port) {
      const { call, close } = await connectBolt(port, dialect);
      const worded = (value: number, text: string) =>
        call(value < 0 ? "refuse" : "hello", text, { header: { number: String(value) } });
      return { call: worded, close };
    },
  };
}

/** Its number is an info of the THeader or, where there is none, the name of one of several services. */
function thrift(transport: Dialect["transport"], protocol: Dialect["protocol"]): Peer {
  const dialect = { transport, protocol };
  const infos = transport === "header";
  return {
    ...{ name: `Thrift, ${transport} ${protocol}`, protocol: "thrift", key: infos ? "number" : "service" },
    ...(!infos && { unwritten: "tier" }),
    refused: { status: "internal_error", error: "Error: 6 it failed" },
    errors: thriftErrors,
    startServer: (version) => startThriftServer(dialect, { version, services: infos ? [] : thriftServices }),
    async connect(port) {
      // The library's connections have one service each, and the same infos throughout.
      const connections = new Map<number, Promise<ThriftClient>>();
      const connection = (value: number) => {
        const number = String(value);
        const options = infos ? { infos: { number } } : { service: number };
        const known = connections.get(value) ?? connectThrift(port, dialect, options);
        connections.set(value, known);
        return known;
      };
      return {
        async call(value, text) {
          const client = await connection(value);
          try {
            return greeting(await (value < 0 ? client.call("fail") : client.call("hello", text)));
          } catch (error) {
            throw error instanceof TApplicationException ? new Error(`${error.type} ${error.message}`) : error;
          }
        },
        async close() {
          for (const client of await Promise.all(connections.values())) await client.close();
        },
      };
    },
  };
}

/** `hello fig from 2 v1`, where 2 is a service, without what only Thrift's servers say. */
export function greeting(reply: unknown): string {
  return String(reply).replace(/^hello (.*) from (?:-?\d+ )?(.*)$/, "$1 from $2");
}
