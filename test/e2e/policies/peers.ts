import { connectAwesome, startAwesomeServer } from "../../peers/awesomerpc.js";
import { connectBrpc, startBrpcServer } from "../../peers/brpc.js";
import { connect } from "../../peers/dubbo/client.js";
import { greeter, startServer } from "../../peers/dubbo/server.js";
import { connectPingPong, startPingPongServer } from "../../peers/pingpong.js";
import { connectQza, startQzaServer } from "../../peers/qza.js";
import { connectBolt, startBoltServer } from "../../peers/sofabolt.js";
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
 * Peers of every protocol that a bridge carries, made alike: a call has a number as the value of one metadata key, and
 * what answers it is a text whose last word is the server's name. A negative number is refused by the service itself.
 */

export interface Peer {
  readonly name: string;
  /** As in meltemi.yaml. */
  readonly protocol: string;
  /** The metadata key of that number. */
  readonly key: string;
  /** What the module calls the service's refusal, and how clients hear of it; not where a service cannot refuse. */
  readonly refused?: { status: string; error: string };
  /** How clients hear that there is no route, and of HTTP 503 and 504. */
  readonly errors: { noRoute: string; unavailable: string; timeout: string };
  startServer(name: string): Promise<{ readonly port: number; stop(): Promise<void> }>;
  connect(port: number): Promise<PeerClient>;
}

/** One connection. */
export interface PeerClient {
  call(value: number): Promise<unknown>;
  close(): Promise<void>;
}

const boltError = "Error: com.alipay.remoting.rpc.exception.RpcServerException";

export const peers: readonly Peer[] = [
  {
    ...{ name: "Dubbo", protocol: "dubbo", key: "dubbo.tag" },
    refused: { status: "exception", error: "RemoteException: refused by v1" },
    errors: {
      noRoute: "StatusError 60: HTTP 404: no route",
      unavailable: "StatusError 80: HTTP 503: fault filter abort",
      timeout: "StatusError 31: HTTP 504: timeout",
    },
    startServer: (version) => startServer({ version }),
    async connect(port) {
      const { call, close } = await connect({ port });
      const attachments = (value: number) => ({ attachments: { "dubbo.tag": String(value) } });
      return { call: (value) => call(greeter, value < 0 ? "fail" : "sayHello", ["fig"], attachments(value)), close };
    },
  },
  {
    ...{ name: "awesomerpc", protocol: "awesomerpc", key: "cmd" },
    refused: { status: "-7", error: "Error: -7" },
    // Its errors are numbers without words.
    errors: { noRoute: "Error: 50", unavailable: "Error: 51", timeout: "Error: 51" },
    startServer: startAwesomeServer,
    async connect(port) {
      const { call, close } = await connectAwesome(port);
      const worded = async (value: number) => {
        const { code, body } = await call(value, "fig");
        return code ? failed(code) : body;
      };
      return { call: worded, close };
    },
  },
  thrift("framed", "binary"),
  thrift("unframed", "compact"),
  {
    ...{ name: "tRPC", protocol: "trpc", key: "number" },
    refused: { status: "exception", error: "Error: 0 42 refused by v1" },
    errors: {
      noRoute: "Error: 11 0 HTTP 404: no route",
      unavailable: "Error: 141 0 HTTP 503: fault filter abort",
      timeout: "Error: 21 0 HTTP 504: timeout",
    },
    startServer: startTrpcServer,
    async connect(port) {
      const { call, close } = await connectTrpc(port);
      const worded = async (value: number) => {
        const func = `/${trpcGreeter}/${value < 0 ? "Fail" : "Echo"}`;
        const { ret, funcRet, message, body } = await call(func, "fig", { number: String(value) });
        return ret || funcRet ? failed(ret, funcRet, message) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "bRPC", protocol: "brpc", key: "log_id" },
    refused: { status: "42", error: "Error: 42 refused by v1" },
    errors: {
      noRoute: "Error: 1001 HTTP 404: no route",
      unavailable: "Error: 1009 HTTP 503: fault filter abort",
      timeout: "Error: 1008 HTTP 504: timeout",
    },
    startServer: startBrpcServer,
    async connect(port) {
      const { call, close } = await connectBrpc(port);
      const worded = async (value: number) => {
        const { code, text, body } = await call(value < 0 ? "Fail" : "Echo", "fig", { logId: value });
        return code ? failed(code, text) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "SOFABolt", protocol: "sofabolt", key: "number" },
    refused: { status: "exception", error: "Error: refused by v1" },
    errors: {
      noRoute: `${boltError}: HTTP 404: no route`,
      unavailable: `${boltError}: HTTP 503: fault filter abort`,
      timeout: `${boltError}: HTTP 504: timeout`,
    },
    startServer: startBoltServer,
    async connect(port) {
      const { call, close } = await connectBolt(port);
      const header = (value: number) => ({ header: { number: String(value) } });
      return { call: (value) => call(value < 0 ? "refuse" : "hello", "fig", header(value)), close };
    },
  },
  {
    ...{ name: "qza", protocol: "qza", key: "cmd" },
    refused: { status: "-7", error: "Error: -7" },
    errors: { noRoute: "Error: 50", unavailable: "Error: 51", timeout: "Error: 51" },
    startServer: startQzaServer,
    async connect(port) {
      const { call, close } = await connectQza(port);
      const worded = async (cmd: number) => {
        const { code, body } = await call({ cmd, body: "fig" });
        return code ? failed(code) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "videopacket", protocol: "videopacket", key: "uin" },
    refused: { status: "7", error: "Error: 7" },
    errors: { noRoute: "Error: 8", unavailable: "Error: 8", timeout: "Error: 3" },
    startServer: startVideoServer,
    async connect(port) {
      const { call, close } = await connectVideo(port);
      const worded = async (value: number) => {
        const { result, body } = await call({ command: 1, uin: BigInt(value), subCmd: value < 0 ? 7 : 0, body: "fig" });
        return result ? failed(result) : body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "pingpong", protocol: "pingpong", key: "service" },
    errors: {
      noRoute: "Error: 50 HTTP 404: no route",
      unavailable: "Error: 51 HTTP 503: fault filter abort",
      timeout: "Error: 51 HTTP 504: timeout",
    },
    startServer: startPingPongServer,
    async connect(port) {
      const { call, close } = await connectPingPong(port);
      const worded = async (value: number) => {
        const { reserved, body } = await call("fig", { service: String(value) });
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

/** Its number is the name of one of several services. */
function thrift(transport: Dialect["transport"], protocol: Dialect["protocol"]): Peer {
  const dialect = { transport, protocol };
  const services = Array.from({ length: 20 }, (_, i) => String(i - 10));
  return {
    ...{ name: `Thrift, ${transport} ${protocol}`, protocol: "thrift", key: "service" },
    refused: { status: "internal_error", error: "Error: 6 it failed" },
    errors: {
      noRoute: "Error: 1 HTTP 404: no route",
      unavailable: "Error: 6 HTTP 503: fault filter abort",
      timeout: "Error: 6 HTTP 504: timeout",
    },
    startServer: (version) => startThriftServer(dialect, { version, services }),
    async connect(port) {
      // The library's connections are for one service each.
      const connections = new Map<number, Promise<ThriftClient>>();
      const connection = (value: number) => {
        const known = connections.get(value) ?? connectThrift(port, dialect, { service: String(value) });
        connections.set(value, known);
        return known;
      };
      return {
        async call(value) {
          const client = await connection(value);
          const reply = value < 0 ? client.call("fail") : client.call("hello", "fig");
          return reply.catch((error) => {
            throw error instanceof TApplicationException ? new Error(`${error.type} ${error.message}`) : error;
          });
        },
        async close() {
          for (const client of await Promise.all(connections.values())) await client.close();
        },
      };
    },
  };
}
