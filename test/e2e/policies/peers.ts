import { connectAwesome, startAwesomeServer } from "../../peers/awesomerpc.js";
import { connectBrpc, startBrpcServer } from "../../peers/brpc.js";
import { connect } from "../../peers/dubbo/client.js";
import { greeter, startServer } from "../../peers/dubbo/server.js";
import {
  connectThrift,
  type Dialect,
  startThriftServer,
  TApplicationException,
  type ThriftClient,
} from "../../peers/thrift/node.js";
import { connectTrpc, startTrpcServer, greeter as trpcGreeter } from "../../peers/trpc.js";

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
  /** What the module calls the service's refusal. */
  readonly refused: string;
  /** How clients hear that the service refuses, that there is no route, and of HTTP 503 and 504. */
  readonly errors: { refused: string; noRoute: string; unavailable: string; timeout: string };
  startServer(name: string): Promise<{ readonly port: number; stop(): Promise<void> }>;
  connect(port: number): Promise<PeerClient>;
}

/** One connection. */
export interface PeerClient {
  call(value: number): Promise<unknown>;
  close(): Promise<void>;
}

export const peers: readonly Peer[] = [
  {
    ...{ name: "Dubbo", protocol: "dubbo", key: "dubbo.tag", refused: "exception" },
    errors: {
      refused: "RemoteException: refused by v1",
      noRoute: "StatusError 60: HTTP 404: no route",
      unavailable: "StatusError 80: HTTP 503: fault filter abort",
      timeout: "StatusError 31: HTTP 504: upstream request timeout",
    },
    startServer: (version) => startServer({ version }),
    async connect(port) {
      const { call, close } = await connect({ port });
      const attachments = (value: number) => ({ attachments: { "dubbo.tag": String(value) } });
      return { call: (value) => call(greeter, value < 0 ? "fail" : "sayHello", ["fig"], attachments(value)), close };
    },
  },
  {
    ...{ name: "awesomerpc", protocol: "awesomerpc", key: "cmd", refused: "-7" },
    // Its errors are numbers without words.
    errors: { refused: "Error: -7", noRoute: "Error: 50", unavailable: "Error: 51", timeout: "Error: 51" },
    startServer: startAwesomeServer,
    async connect(port) {
      const { call, close } = await connectAwesome(port);
      const worded = async (value: number) => {
        const { code, body } = await call(value, "fig");
        if (code !== 0) throw new Error(String(code));
        return body;
      };
      return { call: worded, close };
    },
  },
  thrift("framed", "binary"),
  thrift("unframed", "compact"),
  {
    ...{ name: "tRPC", protocol: "trpc", key: "number", refused: "exception" },
    errors: {
      refused: "Error: 0 42 refused by v1",
      noRoute: "Error: 11 0 HTTP 404: no route",
      unavailable: "Error: 141 0 HTTP 503: fault filter abort",
      timeout: "Error: 21 0 HTTP 504: upstream request timeout",
    },
    startServer: startTrpcServer,
    async connect(port) {
      const { call, close } = await connectTrpc(port);
      const worded = async (value: number) => {
        const func = `/${trpcGreeter}/${value < 0 ? "Fail" : "Echo"}`;
        const { ret, funcRet, message, body } = await call(func, "fig", { number: String(value) });
        if (ret || funcRet) throw new Error(`${ret} ${funcRet} ${message}`);
        return body;
      };
      return { call: worded, close };
    },
  },
  {
    ...{ name: "bRPC", protocol: "brpc", key: "log_id", refused: "42" },
    errors: {
      refused: "Error: 42 refused by v1",
      noRoute: "Error: 1001 HTTP 404: no route",
      unavailable: "Error: 1009 HTTP 503: fault filter abort",
      timeout: "Error: 1008 HTTP 504: upstream request timeout",
    },
    startServer: startBrpcServer,
    async connect(port) {
      const { call, close } = await connectBrpc(port);
      const worded = async (value: number) => {
        const { code, text, body } = await call(value < 0 ? "Fail" : "Echo", "fig", { logId: value });
        if (code) throw new Error(`${code} ${text}`);
        return body;
      };
      return { call: worded, close };
    },
  },
];

/** Its number is the name of one of several services. */
function thrift(transport: Dialect["transport"], protocol: Dialect["protocol"]): Peer {
  const dialect = { transport, protocol };
  const services = Array.from({ length: 20 }, (_, i) => String(i - 10));
  const failed = (type: number, message: string) => `Error: ${type} ${message}`;
  return {
    ...{ name: `Thrift, ${transport} ${protocol}`, protocol: "thrift", key: "service", refused: "internal_error" },
    errors: {
      refused: failed(6, "it failed"),
      noRoute: failed(1, "HTTP 404: no route"),
      unavailable: failed(6, "HTTP 503: fault filter abort"),
      timeout: failed(6, "HTTP 504: upstream request timeout"),
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
