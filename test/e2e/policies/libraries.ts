import { numbersCaller } from "../../peers/caller.js";
import { buildJavaPeer, type JavaPeer } from "../../peers/java.js";
import { startThriftServer } from "../../peers/thrift/node.js";
import { setUpPython } from "../../peers/thrift/python.js";
import { startTrpcServer } from "../../peers/trpc.js";
import { greeting, type Peer, type PeerClient, saying, thriftErrors, thriftServices } from "./peers.js";

/*
 * The same with the libraries of the protocols in Java and Python, which have errors of their own for what replies say.
 */

const noJava = "there is no Maven or no JDK here";

function clientOf(caller: ReturnType<typeof numbersCaller>): PeerClient {
  return { call: caller.call, close: caller.stop };
}

/** Those that do not run here say why. */
export async function libraries(): Promise<readonly Peer[]> {
  const [trpc, brpc, bolt, python] = await Promise.all([
    buildJavaPeer("trpc-java"),
    // The library makes classes while it runs.
    buildJavaPeer("brpc-java", ["--add-opens=java.base/java.lang=ALL-UNNAMED"]),
    buildJavaPeer("bolt-java"),
    setUpPython(),
  ]);
  const java = (peer: JavaPeer | null) => ({
    ...(!peer && { missing: noJava }),
    // One program each.
    clients: 1,
    startServer: (name: string) => (peer as JavaPeer).provider(undefined, name),
    connect: async (port: number) =>
      clientOf(numbersCaller((peer as JavaPeer).start("Caller", "127.0.0.1", String(port)))),
  });
  return [
    {
      ...{ ...java(trpc), name: "tRPC for Java", protocol: "trpc", key: "number" },
      refused: { status: "exception", error: "Error: TRpcException 0 42 refused by v1" },
      errors: saying({
        noRoute: "Error: TRpcException 11 0 ",
        unavailable: "Error: TRpcException 141 0 ",
        timeout: "Error: TRpcException 21 0 ",
        denied: "Error: TRpcException 41 0 ",
        limited: "Error: TRpcException 23 0 ",
      }),
      startServer: startTrpcServer,
    },
    {
      ...{ ...java(brpc), name: "bRPC for Java", protocol: "brpc", key: "log_id" },
      // It has no place for the number.
      refused: {
        status: "einternal",
        error: "Error: RpcException 0 com.baidu.brpc.exceptions.RpcException: refused by v1",
      },
      errors: saying(() => "Error: RpcException 0 com.baidu.brpc.exceptions.RpcException: "),
    },
    {
      ...{ ...java(bolt), name: "SOFABolt for Java", protocol: "sofabolt", key: "tag" },
      refused: { status: "exception", error: "Error: refused by v1" },
      errors: {
        ...saying(() => "Error: InvokeServerException "),
        // Exceptions that say it all.
        noRoute: "Error: InvokeException",
        unavailable: "Error: ConnectionClosedException",
        timeout: "Error: InvokeTimeoutException",
        limited: "Error: InvokeServerBusyException",
      },
    },
    {
      ...{ name: "Thrift for Python", protocol: "thrift", key: "service", unwritten: "tier", clients: 1 },
      ...(!python && { missing: "there is no Python with its libraries here" }),
      refused: { status: "internal_error", error: "Error: 6 it failed" },
      errors: thriftErrors,
      startServer: (name) =>
        name === "v1" && python
          ? python.serve({ transport: "multiplexed", protocol: "binary" }, name)
          : startThriftServer({ transport: "framed", protocol: "binary" }, { version: name, services: thriftServices }),
      async connect(port) {
        const { call, close } = clientOf((python as NonNullable<typeof python>).talk("binary", port));
        return { call: async (value, text) => greeting(await call(value, text)), close };
      },
    },
  ];
}
