import { expect, it } from "vitest";
import { buildJavaPeer, type ConsumerCheck, freePort, type JavaPeer } from "../../peers/java.js";
import { type PythonDialect, setUpPython } from "../../peers/thrift/python.js";
import { streams } from "../../peers/trpc.js";
import { ended, eventually, type Running, startProxy } from "../harness.js";

/*
 * Programs of the libraries themselves on both ends of a bridge: what they find is what they find without it, but for the
 * metadata that a route writes into their frames.
 */

/** All that was asked was answered, and nothing was there that nobody asked for. */
async function settled(proxy: Running): Promise<void> {
  await eventually(async () => {
    for (const direction of ["outbound", "inbound"]) {
      expect(await proxy.metric("meltemi_requests_total", { direction, status: "ok" })).toBeGreaterThan(0);
      expect(await proxy.metric("meltemi_in_flight", { direction })).toBe(0);
    }
  });
  for (const name of ["decode_errors", "unmatched_responses", "unwritten_changes", "closed_connections"]) {
    expect(await proxy.metric(`meltemi_${name}_total`), name).toBe(0);
  }
  await proxy.assertSound();
}

interface Library {
  readonly name: string;
  readonly protocol: string;
  readonly project: string;
  readonly options?: string[];
  /** What a route writes into the metadata of one method. */
  readonly written: { method: string; key: string };
  /** What stands in checks that come to something else here: `olive` is what is written. */
  readonly differ: Record<string, string>;
  readonly routes?: unknown[];
}

const opened = "--add-opens=java.base/java.lang=ALL-UNNAMED";

const libraries: readonly Library[] = [
  {
    ...{ name: "Apache Dubbo", protocol: "dubbo", project: "dubbo-java", options: [opened] },
    written: { method: "attachment", key: "trace" },
    differ: { attachment: "olive" },
  },
  {
    ...{ name: "tRPC", protocol: "trpc", project: "trpc-java" },
    written: { method: "Info", key: "colour" },
    differ: { trans_info: "olive" },
    routes: [{ match: { service: streams }, subset: "streams" }],
  },
  {
    ...{ name: "bRPC", protocol: "brpc", project: "brpc-java", options: [opened] },
    written: { method: "Info", key: "colour" },
    differ: { "key and value": "olive" },
  },
  {
    ...{ name: "SOFABolt", protocol: "sofabolt", project: "bolt-java" },
    written: { method: "tag", key: "tag" },
    differ: Object.fromEntries(
      ["1", "2", "2.2"].flatMap((dialect) => [
        [`${dialect} tag`, "olive"],
        // Servers ask nothing through a bridge.
        [`${dialect} asked back`, "ConnectionClosedException"],
      ]),
    ),
    routes: [{ match: { method: "back" }, subset: "calls", fault: { abort: { httpStatus: 503 } } }],
  },
];

/** Starts both ends and a bridge between them; answers the checks that did not come to what they should. */
async function differences(library: Library, java: JavaPeer): Promise<ConsumerCheck[]> {
  const { protocol, written, differ, routes = [] } = library;
  // The library for tRPC has streams at a port of their own.
  const second = protocol === "trpc" ? await freePort() : undefined;
  const provider = ended(await java.provider(undefined, ...(second ? [String(second)] : []), "j1"));
  const proxy = await startProxy({
    ...{ mode: "bridge", protocol },
    subsets: { calls: provider.port, ...(second && { streams: second }) },
    routes: [
      ...routes,
      {
        match: { method: written.method },
        subset: "calls",
        // Nobody looks at what is written into the reply, which has to be one all the same.
        headers: { request: { set: { [written.key]: "olive" } }, response: { set: { leaf: "olive" } } },
      },
      { subset: "calls" },
    ],
  });
  const port = String(proxy.port);
  const found = await java.consumer("127.0.0.1", port, ...(second ? [port] : []));
  await settled(proxy);
  return found.filter(({ name, ok, got }) => (name in differ ? !got.includes(differ[name] as string) : !ok));
}

const java = await Promise.all(libraries.map(({ project, options }) => buildJavaPeer(project, options)));

it.skipIf(java.includes(null))(
  `Dubbo, tRPC, bRPC and SOFABolt for Java do what they do without a bridge${java.includes(null) ? ": there is no Maven or no JDK here" : ""}`,
  async () => {
    const found = await Promise.all(libraries.map((library, i) => differences(library, java[i] as JavaPeer)));
    expect(Object.fromEntries(libraries.map(({ name }, i) => [name, found[i]]))).toEqual({
      ...{ "Apache Dubbo": [], tRPC: [], bRPC: [], SOFABolt: [] },
    });
  },
);

const python = await setUpPython();
/** With what a route changes, and what then stands in the reply that says it. */
const dialects: [dialect: PythonDialect, headers?: object, trace?: string][] = [
  [{ transport: "framed", protocol: "compact" }],
  [{ transport: "unframed", protocol: "old" }],
  [{ transport: "multiplexed", protocol: "binary" }],
  // The server answers with the trace that it was told.
  [{ transport: "header", protocol: "compact" }, { request: { set: { trace: "olive" } } }, "olive"],
  [{ transport: "header", protocol: "binary" }, { response: { set: { trace: "grape" } } }, "grape"],
  [{ transport: "header", protocol: "binary" }, { request: { remove: ["trace"] } }, ""],
];

it.skipIf(!python)(
  `thriftpy2 and Apache Thrift for Python do what they do without a bridge${python ? "" : ": no Python has them here"}`,
  async () => {
    if (!python) return;
    await Promise.all(
      dialects.map(async ([dialect, headers, trace]) => {
        const server = ended(await python.serve(dialect));
        const proxy = await startProxy({
          ...{ mode: "bridge", protocol: "thrift", endpoints: [server.port] },
          ...(headers && { routes: [{ headers }] }),
        });
        const direct = await python.call(dialect, server.port);
        const changed = headers && { "hello True": `hello fig from v1 ${trace}` };
        expect(await python.call(dialect, proxy.port)).toEqual({ ...direct, ...changed });
        await settled(proxy);
      }),
    );
  },
);
