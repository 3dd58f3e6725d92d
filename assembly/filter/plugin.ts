import { Side } from "../codec/frame";
import { Buffer, BufferType } from "../host/buffer";
import { Log } from "../host/log";
import { MetricKind, Metrics } from "../host/metrics";
import { Action, Stream } from "../host/stream";
import { Sink } from "../wire/sink";
import { Connection, Connections, Phase } from "./connection";
import { Observe } from "./observe";
import { Route } from "./route";
import { Series } from "./series";
import { Settings, SettingsReader } from "./settings";

/** How long what was counted may wait in the guest before Envoy is told, milliseconds. */
const FLUSH_PERIOD: u32 = 500;

/** Who closed a connection, as the host tells it. */
const PEER_REMOTE: u32 = 2;

const observe = new Observe();
const route = new Route();
/** By root context. */
const roots = new Map<u32, Settings>();
let reportedMemory: i64 = 0;
const memoryName = new Sink();
memoryName.text("meltemi_guest_memory_bytes");

/** The life of configurations and connections: which filter gets which callback. */
@final
export class Plugin {
  static configure(root: u32, size: u32): bool {
    const p = size ? Buffer.read(BufferType.PluginConfiguration, 0, size) : 0;
    const settings = SettingsReader.read(p, p ? Buffer.size : 0);
    if (!settings) {
      Log.error(`configuration: ${SettingsReader.error}`);
      return false;
    }
    if (roots.has(root)) roots.get(root).retire();
    roots.set(root, settings);
    return true;
  }

  static connect(context: u32, root: u32): void {
    if (roots.has(root)) Connections.open(context, roots.get(root));
  }

  static newConnection(context: u32): Action {
    const at = Connections.find(context);
    if (!at) return Action.Continue;
    const connection = changetype<Connection>(at);
    // tcp_proxy picks its cluster when it starts, so it must not start before the route is known.
    if (!connection.settings.routes) connection.phase = Phase.Observing;
    return connection.phase == Phase.Routing ? Action.StopIteration : Action.Continue;
  }

  static downstreamData(context: u32, size: u32, end: bool): Action {
    const at = Connections.find(context);
    if (!at) return Action.Continue;
    const connection = changetype<Connection>(at);
    const settings = connection.settings;
    if (connection.phase == Phase.Routing) {
      route.data(connection, size, end);
      // Closing may end the connection's context before it returns, and then its record is another's.
      if (Connections.find(context) != at) return Action.StopIteration;
    }
    if (end) connection.end(Side.Client);
    observe.data(connection, Side.Client, size);
    Plugin.arm(settings);
    return connection.phase == Phase.Routing || connection.phase == Phase.Closed
      ? Action.StopIteration
      : Action.Continue;
  }

  static upstreamData(context: u32, size: u32, end: bool): Action {
    const at = Connections.find(context);
    if (!at) return Action.Continue;
    const connection = changetype<Connection>(at);
    observe.data(connection, Side.Server, size);
    if (end) connection.end(Side.Server);
    Plugin.arm(connection.settings);
    return Action.Continue;
  }

  static closed(context: u32, by: Side): void {
    const at = Connections.find(context);
    if (at) changetype<Connection>(at).end(by);
  }

  /** The client's connection is closed: by the client, or by Envoy because of the upstream. */
  static downstreamClosed(context: u32, peer: u32): void {
    Plugin.closed(context, peer == PEER_REMOTE ? Side.Client : Side.Server);
  }

  /** A context is gone: a connection, or a root whose configuration was replaced. */
  static remove(context: u32): void {
    const at = Connections.find(context);
    if (at) {
      const connection = changetype<Connection>(at);
      const settings = connection.settings;
      route.leave(connection);
      observe.close(connection);
      Connections.close(connection);
      Plugin.arm(settings);
    } else if (roots.has(context)) {
      roots.get(context).retire();
      roots.delete(context);
      Series.flush();
    }
  }

  static tick(root: u32): void {
    route.tick();
    Series.flush();
    Plugin.reportMemory();
    if (!roots.has(root)) return;
    const settings = roots.get(root);
    if (route.waiting || Series.pending) return;
    settings.ticking = false;
    // route.tick() may have entered a connection of another root, whose ticks must go on.
    Stream.enter(root);
    Stream.tick(0);
  }

  /** Has the tick come when it is needed: an idle proxy is not woken. */
  private static arm(settings: Settings): void {
    if (settings.ticking || !(Series.pending || route.waiting)) return;
    // A configuration that was replaced has no ticks.
    if (settings.retired) return Series.flush();
    settings.ticking = true;
    Stream.tick(settings.routes ? min<u32>(FLUSH_PERIOD, max<u32>(10, settings.waitMilliseconds >> 2)) : FLUSH_PERIOD);
  }

  /** Each worker adds its change, so that the gauge is the sum of all. */
  private static reportMemory(): void {
    const bytes = (memory.size() as i64) << 16;
    if (bytes == reportedMemory) return;
    Metrics.add(Metrics.id(MetricKind.Gauge, memoryName), bytes - reportedMemory);
    reportedMemory = bytes;
  }
}
