import {
  Action,
  BufferType,
  filterStateKeys,
  type LogLevel,
  logLevels,
  Peer,
  Result,
  StreamType,
  unimplementedFunctions,
} from "./abi.js";
import { Metrics } from "./metrics.js";

/** The module cannot be loaded: it is no WebAssembly, asks for a function that no host has, or has no allocator. */
export class ModuleError extends Error {
  override readonly name = "ModuleError";
}

/** proxy_on_configure (or proxy_on_vm_start) said no; the message is the guest's own log line where it wrote one. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError";
}

/** The guest trapped. From here on every call into the same host throws the same error, as Envoy gives the VM up. */
export class TrapError extends Error {
  override readonly name = "TrapError";
}

export interface LogEntry {
  level: LogLevel;
  message: string;
  /** The context that was current: a root's or a connection's id. */
  context: number;
}

export interface HostOptions {
  /** Nanoseconds since 1970. Default: the system's clock. */
  clock?: () => bigint;
  /** Where log lines go instead of into `Host.logs`, which grows without bound. */
  log?: (entry: LogEntry) => void;
  /** True: proxy_on_tick is called by a real timer. Default: only by `Host.tick()`. */
  timers?: boolean;
}

/** What a connection tells whoever stands for the rest of the filter chain; all calls come synchronously. */
export interface Chain {
  /** The address that the client connected to, IP:port. */
  destination?: string;
  /** The filters behind this one start: filter state set from now on comes too late to choose a cluster. */
  started?: (connection: Connection) => void;
  /** Bytes go on towards the server. */
  toServer?: (bytes: Buffer, end: boolean) => void;
  /** Bytes go on towards the client. */
  toClient?: (bytes: Buffer, end: boolean) => void;
  /** The connection is over, whoever ended it; called once. */
  closed?: () => void;
}

type Guest = Record<string, ((...args: number[]) => number | undefined) | undefined>;
interface Context {
  root: Root;
  connection?: Connection;
}

const empty = Buffer.alloc(0);

/**
 * A proxy-wasm host for network filters in Node: one VM as one worker thread of Envoy runs it, single-threaded and
 * without sockets. Where Envoy's behaviour is surprising (what StopIteration keeps, when buffers are in reach, in which
 * order the end of a connection is told) it is the same here, so that what works here works there.
 */
export class Host {
  readonly metrics = new Metrics();
  readonly logs: LogEntry[] = [];
  /** How often the guest called each host function. */
  readonly calls: Record<string, number> = {};
  /** The trap that ended this VM. */
  failed: TrapError | undefined;

  private readonly contexts = new Map<number, Context>();
  private guest: Guest = {};
  private memory = new WebAssembly.Memory({ initial: 0 });
  private nextContext = 1;
  private current = 0;
  /** Set by proxy_set_effective_context; 0 means the current one. */
  private effective = 0;
  private lastError = "";
  /** What host functions must not do while the guest runs: done in order when the call returns. */
  private readonly deferred: (() => void)[] = [];

  private constructor(private readonly options: HostOptions) {}

  /** Instantiates the module and runs its `_initialize`. Throws ModuleError, TrapError. */
  static async load(wasm: Uint8Array, options: HostOptions = {}): Promise<Host> {
    const host = new Host(options);
    const functions = host.functions();
    let instance: WebAssembly.Instance;
    try {
      const module = await WebAssembly.compile(wasm);
      const missing = WebAssembly.Module.imports(module).filter((i) => i.module !== "env" || !(i.name in functions));
      if (missing.length) {
        throw new ModuleError(`imports what no host has: ${missing.map((i) => `${i.module}.${i.name}`).join(", ")}`);
      }
      instance = await WebAssembly.instantiate(module, { env: functions });
    } catch (error) {
      if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) {
        throw new ModuleError(error.message, { cause: error });
      }
      throw error;
    }
    const { memory, ...exports } = instance.exports;
    if (!(memory instanceof WebAssembly.Memory)) throw new ModuleError("exports no memory");
    host.memory = memory;
    host.guest = exports as Guest;
    if (!host.guest.proxy_on_memory_allocate && !host.guest.malloc) {
      throw new ModuleError("exports neither malloc nor proxy_on_memory_allocate");
    }
    host.call(0, host.guest._initialize ? "_initialize" : "_start");
    return host;
  }

  /** The names of all host functions that a module may import from `env`. */
  static get functionNames(): string[] {
    return Object.keys(new Host({}).functions());
  }

  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /**
   * Makes a root context with this plugin configuration (JSON text, or a value to be written as JSON). Throws
   * ConfigurationError where the guest refuses it.
   */
  configure(configuration: unknown, name = "meltemi"): Root {
    const text = typeof configuration === "string" ? configuration : JSON.stringify(configuration);
    const root = new Root(this, this.nextContext++, name, Buffer.from(text));
    this.contexts.set(root.id, { root });
    this.lastError = "";
    if (!root.start()) {
      const reason = this.lastError || "the module refused its configuration and did not say why";
      root.close();
      throw new ConfigurationError(reason);
    }
    return root;
  }

  /** Calls proxy_on_tick of every root that asked for ticks, whatever the period. */
  tick(): void {
    for (const { root, connection } of [...this.contexts.values()]) {
      if (!connection && root.tickPeriod > 0) root.tick();
    }
  }

  prometheus(): string {
    return this.metrics.prometheus();
  }

  /** Stops timers and forgets every connection without telling the guest. */
  close(): void {
    for (const { root, connection } of [...this.contexts.values()]) {
      if (connection) connection.abandon();
      else root.stopTimer();
    }
    this.contexts.clear();
  }

  /** The JSON that the module says of itself through `meltemi_describe`. */
  describe(): unknown {
    const at = this.call(0, "meltemi_describe");
    if (at === undefined) throw new ModuleError("exports no meltemi_describe");
    const length = this.view(at, 4)?.readUInt32LE();
    const text = length === undefined ? undefined : this.view(at + 4, length);
    if (!text) throw new ModuleError("meltemi_describe answered an address outside of its memory");
    return JSON.parse(text.toString());
  }

  /** @internal */
  create(root: Root, chain: Chain): Connection {
    if (this.failed) throw this.failed;
    const connection = new Connection(this, root, this.nextContext++, chain);
    this.contexts.set(connection.id, { root, connection });
    connection.open();
    return connection;
  }

  /** @internal */
  forget(context: number): void {
    this.contexts.delete(context);
  }

  /** @internal Calls an export, answers undefined where the module has none, then does what was deferred. */
  call(context: number, name: string, ...args: number[]): number | undefined {
    if (this.failed) throw this.failed;
    const { current, effective } = this;
    this.current = context;
    this.effective = 0;
    let result: number | undefined;
    try {
      result = this.guest[name]?.(...args);
    } catch (error) {
      // A stack overflow in the guest is a RangeError in V8.
      if (!(error instanceof WebAssembly.RuntimeError || error instanceof RangeError)) throw error;
      throw this.fail(name, error);
    } finally {
      this.current = current;
      this.effective = effective;
    }
    for (let action = this.deferred.shift(); action; action = this.deferred.shift()) action();
    return result;
  }

  private fail(name: string, cause: Error): TrapError {
    this.failed = new TrapError(`${name} trapped: ${cause.message}`, { cause });
    this.deferred.length = 0;
    this.write(0, "critical", this.failed.message);
    this.close();
    return this.failed;
  }

  /** @internal */
  write(context: number, level: LogLevel, message: string): void {
    const entry = { level, message, context };
    if (level === "error" || level === "critical") this.lastError = message;
    if (this.options.log) this.options.log(entry);
    else this.logs.push(entry);
  }

  /** @internal */
  get timers(): boolean {
    return this.options.timers ?? false;
  }

  /** Guest memory as it is now, or undefined where the range does not lie inside it. Holds until the guest runs. */
  private view(address: number, length: number): Buffer | undefined {
    const { buffer } = this.memory;
    const [at, size] = [address >>> 0, length >>> 0];
    return at + size <= buffer.byteLength ? Buffer.from(buffer, at, size) : undefined;
  }

  private setU32(address: number, value: number): boolean {
    const view = this.view(address, 4);
    view?.writeUInt32LE(value >>> 0);
    return view !== undefined;
  }

  private setU64(address: number, value: bigint): boolean {
    const view = this.view(address, 8);
    view?.writeBigUInt64LE(BigInt.asUintN(64, value));
    return view !== undefined;
  }

  /** Copies bytes into memory that the guest allocates, and their address and size to where it asked for them. */
  private give(bytes: Uint8Array, addressAt: number, sizeAt: number): Result {
    let address = 0;
    if (bytes.length) {
      const allocate = this.guest.proxy_on_memory_allocate ?? this.guest.malloc;
      address = allocate?.(bytes.length) ?? 0;
      const target = address ? this.view(address, bytes.length) : undefined;
      if (!target) return Result.InvalidMemoryAccess;
      target.set(bytes);
    }
    const done = this.setU32(addressAt, address) && this.setU32(sizeAt, bytes.length);
    return done ? Result.Ok : Result.InvalidMemoryAccess;
  }

  private get context(): Context | undefined {
    return this.contexts.get(this.effective) ?? this.contexts.get(this.current);
  }

  /** The buffer behind a buffer type: undefined where there is none, `bytes` undefined where it is out of reach now. */
  private buffer(type: number): { bytes: Buffer | undefined; set?: (bytes: Buffer) => void } | undefined {
    const context = this.context;
    const connection = context?.connection;
    switch (type) {
      case BufferType.NetworkDownstreamData:
        return connection && { bytes: connection.readInReach, set: (bytes) => connection.replaceRead(bytes) };
      case BufferType.NetworkUpstreamData:
        return connection && { bytes: connection.writeInReach, set: (bytes) => connection.replaceWrite(bytes) };
      case BufferType.VmConfiguration:
        return { bytes: empty };
      case BufferType.PluginConfiguration:
        // As in Envoy only while the guest is being configured.
        return context && !connection && context.root.configuring ? { bytes: context.root.configuration } : undefined;
      default:
        return undefined;
    }
  }

  private functions(): Record<string, (...args: never[]) => number> {
    const text = (at: number, size: number) => this.view(at, size)?.toString();
    const functions: Record<string, (...args: never[]) => number> = {
      proxy_log: (level: number, at: number, size: number) => {
        const name = logLevels[level];
        if (!name) return Result.BadArgument;
        const message = text(at, size);
        if (message === undefined) return Result.InvalidMemoryAccess;
        this.write(this.effective || this.current, name, message);
        return Result.Ok;
      },
      proxy_get_log_level: (at: number) =>
        this.setU32(at, logLevels.indexOf("info")) ? Result.Ok : Result.InvalidMemoryAccess,
      proxy_get_current_time_nanoseconds: (at: number) => {
        const now = this.options.clock?.() ?? BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
        return this.setU64(at, now) ? Result.Ok : Result.InvalidMemoryAccess;
      },
      proxy_set_tick_period_milliseconds: (period: number) => {
        this.context?.root.setTickPeriod(period >>> 0);
        return Result.Ok;
      },
      proxy_get_status: (codeAt: number, messageAt: number, sizeAt: number) =>
        this.setU32(codeAt, 0) ? this.give(empty, messageAt, sizeAt) : Result.InvalidMemoryAccess,

      proxy_get_buffer_bytes: (type: number, start: number, length: number, bytesAt: number, sizeAt: number) => {
        if (type >>> 0 > BufferType.Max) return Result.BadArgument;
        const buffer = this.buffer(type);
        if (!buffer) return Result.NotFound;
        const bytes = buffer.bytes ?? empty;
        const [from, size] = [start >>> 0, length >>> 0];
        // Envoy runs into undefined behaviour here.
        if (from > bytes.length) return Result.BadArgument;
        return this.give(bytes.subarray(from, from + size), bytesAt, sizeAt);
      },
      proxy_get_buffer_status: (type: number, lengthAt: number, flagsAt: number) => {
        if (type >>> 0 > BufferType.Max) return Result.BadArgument;
        const buffer = this.buffer(type);
        if (!buffer) return Result.NotFound;
        const done = this.setU32(lengthAt, buffer.bytes?.length ?? 0) && this.setU32(flagsAt, 0);
        return done ? Result.Ok : Result.InvalidMemoryAccess;
      },
      proxy_set_buffer_bytes: (type: number, start: number, length: number, at: number, size: number) => {
        if (type >>> 0 > BufferType.Max) return Result.BadArgument;
        const buffer = this.buffer(type);
        if (!buffer) return Result.NotFound;
        const data = this.view(at, size);
        if (!data) return Result.InvalidMemoryAccess;
        const { bytes, set } = buffer;
        if (!bytes || !set) return Result.BadArgument;
        if (start === 0) set(Buffer.concat([data, bytes.subarray(length >>> 0)]));
        else if (start >>> 0 >= bytes.length) set(Buffer.concat([bytes, data]));
        else return Result.BadArgument;
        return Result.Ok;
      },

      proxy_define_metric: (type: number, at: number, size: number, idAt: number) => {
        const name = text(at, size);
        if (name === undefined) return Result.InvalidMemoryAccess;
        const id = this.metrics.define(type, name);
        if (id === undefined) return Result.BadArgument;
        return this.setU32(idAt, id) ? Result.Ok : Result.InvalidMemoryAccess;
      },
      proxy_increment_metric: (id: number, offset: bigint) => this.metrics.increment(id >>> 0, offset),
      proxy_record_metric: (id: number, value: bigint) => this.metrics.record(id >>> 0, BigInt.asUintN(64, value)),
      proxy_get_metric: (id: number, at: number) => {
        const value = this.metrics.get(id >>> 0);
        if (typeof value === "object") return value.error;
        return this.setU64(at, BigInt(value)) ? Result.Ok : Result.InvalidMemoryAccess;
      },

      proxy_set_property: (pathAt: number, pathSize: number, at: number, size: number) => {
        const path = text(pathAt, pathSize);
        const value = text(at, size);
        if (path === undefined || value === undefined) return Result.InvalidMemoryAccess;
        const state = this.context?.connection?.filterState;
        state?.set(`wasm.${path}`, value);
        return state ? Result.Ok : Result.NotFound;
      },
      proxy_get_property: (pathAt: number, pathSize: number, valueAt: number, sizeAt: number) => {
        const path = text(pathAt, pathSize);
        if (path === undefined) return Result.InvalidMemoryAccess;
        const value = this.property(path.split("\0"));
        return value === undefined ? Result.NotFound : this.give(value, valueAt, sizeAt);
      },
      proxy_call_foreign_function: (
        nameAt: number,
        nameSize: number,
        at: number,
        size: number,
        resultAt: number,
        resultSizeAt: number,
      ) => {
        const name = text(nameAt, nameSize);
        const argument = this.view(at, size);
        if (name === undefined || !argument) return Result.InvalidMemoryAccess;
        if (name !== "set_envoy_filter_state") return Result.NotFound;
        if (resultAt && !this.setU32(resultAt, 0)) return Result.InvalidMemoryAccess;
        if (resultSizeAt && !this.setU32(resultSizeAt, 0)) return Result.InvalidMemoryAccess;
        return this.setFilterState(argument);
      },

      proxy_continue_stream: (type: number) => {
        const connection = this.context?.connection;
        if (type === StreamType.Downstream) {
          if (connection) this.deferred.push(() => connection.continueReading());
          return Result.Ok;
        }
        if (type === StreamType.Upstream) return Result.Unimplemented;
        return type === StreamType.HttpRequest || type === StreamType.HttpResponse ? Result.Ok : Result.BadArgument;
      },
      proxy_close_stream: (type: number) => {
        const connection = this.context?.connection;
        if (type === StreamType.Downstream || type === StreamType.Upstream) {
          // Both close the connection with the client: a filter knows no other.
          if (connection) this.deferred.push(() => connection.end(Peer.Local));
          return Result.Ok;
        }
        return type === StreamType.HttpRequest || type === StreamType.HttpResponse ? Result.Ok : Result.BadArgument;
      },
      proxy_set_effective_context: (id: number) => {
        if (id !== 0 && !this.contexts.has(id)) return Result.BadArgument;
        this.effective = id;
        return Result.Ok;
      },
      // No context of this host ever waits for proxy_done.
      proxy_done: () => Result.NotFound,
    };
    for (const name of unimplementedFunctions) functions[name] = () => Result.Unimplemented;
    for (const [name, run] of Object.entries(functions)) {
      functions[name] = (...args) => {
        this.calls[name] = (this.calls[name] ?? 0) + 1;
        return run(...args);
      };
    }
    return functions;
  }

  private property([name = "", ...rest]: string[]): Buffer | undefined {
    const context = this.context;
    const state = context?.connection?.filterState;
    if (name === "plugin_name") return context && Buffer.from(context.root.name);
    if (name === "plugin_root_id" || name === "plugin_vm_id") return empty;
    if (name === "filter_state") {
      const value = state?.get(rest.join("\0"));
      return value === undefined ? undefined : Buffer.from(value);
    }
    if (name === "connection_id" && context?.connection) {
      const id = Buffer.alloc(8);
      id.writeBigUInt64LE(BigInt(context.connection.id));
      return id;
    }
    if (name === "destination" && rest[0] === "address") {
      const address = context?.connection?.destination;
      return address === undefined ? undefined : Buffer.from(address);
    }
    const value = state?.get(`wasm.${name}`);
    return value === undefined ? undefined : Buffer.from(value);
  }

  /** `argument`: protobuf { 1 string path, 2 string value, 3 enum span }. */
  private setFilterState(argument: Buffer): Result {
    const state = this.context?.connection?.filterState;
    if (!state) return Result.NotFound;
    const fields: Record<number, string> = {};
    let at = 0;
    const varint = () => {
      let value = 0;
      for (let shift = 0; shift < 28; shift += 7) {
        const byte = argument[at++];
        if (byte === undefined) return -1;
        value |= (byte & 0x7f) << shift;
        if (byte < 0x80) return value;
      }
      return -1;
    };
    while (at < argument.length) {
      const tag = varint();
      const value = varint();
      if (tag < 0 || value < 0) return Result.BadArgument;
      if ((tag & 7) === 0) continue;
      if ((tag & 7) !== 2 || at + value > argument.length) return Result.BadArgument;
      fields[tag >> 3] = argument.toString("utf8", at, at + value);
      at += value;
    }
    const [path, value] = [fields[1] ?? "", fields[2] ?? ""];
    if (!filterStateKeys.has(path)) return Result.NotFound;
    state.set(path, value);
    return Result.Ok;
  }
}

/** A root context: one configuration of the filter. Made by Host.configure. */
export class Root {
  /** Milliseconds between ticks; 0 for none. */
  tickPeriod = 0;
  /** True while the guest may read its configuration. */
  configuring = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    readonly host: Host,
    readonly id: number,
    readonly name: string,
    readonly configuration: Buffer,
  ) {}

  /** @internal False where the guest refuses. */
  start(): boolean {
    const { host, id, configuration } = this;
    this.configuring = true;
    host.call(id, "proxy_on_context_create", id, 0);
    this.configuring = false;
    if (host.call(id, "proxy_on_vm_start", id, 0) === 0) return false;
    this.configuring = true;
    try {
      return host.call(id, "proxy_on_configure", id, configuration.length) !== 0;
    } finally {
      this.configuring = false;
    }
  }

  /** A new connection from a client; `chain` is what stands behind this filter. */
  connect(chain: Chain = {}): Connection {
    return this.host.create(this, chain);
  }

  /** Calls proxy_on_tick. */
  tick(): void {
    this.host.call(this.id, "proxy_on_tick", this.id);
  }

  /** Ends this root context, as when Envoy takes a new configuration. Its connections must have ended. */
  close(): void {
    this.stopTimer();
    this.host.call(this.id, "proxy_on_done", this.id);
    this.host.call(this.id, "proxy_on_delete", this.id);
    this.host.forget(this.id);
  }

  /** @internal */
  setTickPeriod(milliseconds: number): void {
    this.stopTimer();
    this.tickPeriod = milliseconds;
    if (!this.host.timers || milliseconds === 0) return;
    this.timer = setInterval(() => {
      try {
        this.tick();
      } catch (error) {
        // Kept in host.failed and logged; nobody is there to catch it.
        if (!(error instanceof TrapError)) throw error;
      }
    }, milliseconds).unref();
  }

  /** @internal */
  stopTimer(): void {
    clearInterval(this.timer);
    this.tickPeriod = 0;
  }
}

/** One connection between a client and a server, seen by the filter. Made by Root.connect. */
export class Connection {
  /** Everything the filter set: `wasm.NAME` by proxy_set_property, `envoy.*` by set_envoy_filter_state. */
  readonly filterState = new Map<string, string>();
  closed = false;

  /** What the client sent and no later filter took: the connection's own read buffer. */
  private read: Buffer = empty;
  private readEnd = false;
  private readEndPassed = false;
  private readReachable = false;
  /** What went on to the next filter during the current downstream(); undefined outside of it. */
  private passed: Buffer[] | undefined;
  private written: Buffer | undefined;
  private started = false;
  private upstreamClosed = false;

  constructor(
    private readonly host: Host,
    readonly root: Root,
    readonly id: number,
    private readonly chain: Chain,
  ) {}

  get destination(): string | undefined {
    return this.chain.destination;
  }

  /** @internal */
  open(): void {
    this.host.call(this.id, "proxy_on_context_create", this.id, this.root.id);
    if (this.host.call(this.id, "proxy_on_new_connection", this.id) !== Action.StopIteration) this.startChain();
  }

  /**
   * The client sent `bytes`, and with `end` nothing more. Answers what went on to the next filter because of it; after
   * StopIteration the bytes stay and stand before the next ones.
   */
  downstream(bytes: Uint8Array, end = false): Buffer {
    if (this.closed) return empty;
    this.read = this.read.length ? Buffer.concat([this.read, bytes]) : Buffer.from(bytes);
    this.readEnd ||= end;
    if (!this.read.length && !end) return empty;
    const passed: Buffer[] = [];
    this.passed = passed;
    this.readReachable = true;
    const action = this.host.call(this.id, "proxy_on_downstream_data", this.id, this.read.length, Number(this.readEnd));
    if (action !== Action.StopIteration) {
      this.readReachable = false;
      this.continueReading();
    }
    this.passed = undefined;
    return Buffer.concat(passed);
  }

  /** The server sent `bytes`, and with `end` nothing more. Answers what goes on to the client. */
  upstream(bytes: Uint8Array, end = false): Buffer {
    if (this.closed || this.upstreamClosed || (!bytes.length && !end)) return empty;
    this.written = Buffer.from(bytes);
    const action = this.host.call(this.id, "proxy_on_upstream_data", this.id, this.written.length, Number(end));
    const out: Buffer = this.written ?? empty;
    this.written = undefined;
    if (end && !this.closed) {
      this.upstreamClosed = true;
      this.host.call(this.id, "proxy_on_upstream_connection_close", this.id, Peer.Unknown);
    }
    if (this.closed) return empty;
    if (action === Action.StopIteration) {
      // Envoy has no way back from here: see to it that nobody relies on one.
      this.host.write(this.id, "critical", `${out.length} bytes lost: proxy_on_upstream_data answered StopIteration`);
      return empty;
    }
    if (out.length || end) this.chain.toClient?.(out, end);
    return out;
  }

  /** One side closes the whole connection: the server with an end of its bytes first, as a server that exits does. */
  close(by: "client" | "server"): void {
    if (by === "server") this.upstream(empty, true);
    this.end(by === "client" ? Peer.Remote : Peer.Local);
  }

  /** Closed at once, by the client (`Peer.Remote`) or by the proxy. The guest is told in Envoy's order, once. */
  end(peer: number): void {
    if (this.closed) return;
    this.closed = true;
    this.host.call(this.id, "proxy_on_downstream_connection_close", this.id, peer);
    this.host.call(this.id, "proxy_on_done", this.id);
    this.host.call(this.id, "proxy_on_log", this.id);
    this.host.call(this.id, "proxy_on_delete", this.id);
    this.host.forget(this.id);
    this.chain.closed?.();
  }

  /** @internal Closed without a word to the guest, which is gone. */
  abandon(): void {
    if (this.closed) return;
    this.closed = true;
    this.chain.closed?.();
  }

  /** @internal Later filters start if they have not, and take what is in the read buffer. */
  continueReading(): void {
    this.startChain();
    if (this.closed) return;
    const end = this.readEnd && !this.readEndPassed;
    if (!this.read.length && !end) return;
    const bytes = this.read;
    this.read = empty;
    this.readEndPassed ||= end;
    this.passed?.push(bytes);
    this.chain.toServer?.(bytes, end);
  }

  private startChain(): void {
    if (this.started || this.closed) return;
    this.started = true;
    this.chain.started?.(this);
  }

  /** @internal */
  get readInReach(): Buffer | undefined {
    return this.readReachable ? this.read : undefined;
  }

  /** @internal */
  replaceRead(bytes: Buffer): void {
    this.read = bytes;
  }

  /** @internal */
  get writeInReach(): Buffer | undefined {
    return this.written;
  }

  /** @internal */
  replaceWrite(bytes: Buffer): void {
    this.written = bytes;
  }
}
