import { Side } from "../codec/frame";
import { Buffer, BufferType } from "../host/buffer";
import { Log } from "../host/log";
import { MetricKind, Metrics } from "../host/metrics";
import { DESTINATION, Property } from "../host/property";
import { Action, Stream } from "../host/stream";
import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { Bridge } from "./bridge";
import { Connection, Connections, Phase } from "./connection";
import { Lift } from "./lift";
import { Lower } from "./lower";
import { Observe } from "./observe";
import { Route } from "./route";
import { Series } from "./series";
import { Mode, Settings, SettingsReader } from "./settings";

/** How long what was counted may wait in the guest before Envoy is told, milliseconds. */
const FLUSH_PERIOD: u32 = 500;

/** The same where a bridge waits for its next occasion to write. */
const HURRY: u32 = 1;

/** Who closed a connection, as the host tells it. */
const PEER_REMOTE: u32 = 2;

const observe = new Observe();
const route = new Route();
const lift = new Lift();
const lower = new Lower();
/** By root context. */
const roots = new Map<u32, Settings>();
const nothing = new Sink(0);
const destination = Slice.make();
let reportedMemory: i64 = 0;
/** Ticks of that period that came since Envoy was told the last time. */
let hurried: u32 = 0;
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
    if (roots.has(root)) {
      settings.tickPeriod = roots.get(root).tickPeriod;
      roots.get(root).retire();
    }
    settings.root = root;
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
    const settings = connection.settings;
    if (settings.destinations) {
      Property.read(DESTINATION, destination);
      if (!settings.isFor(destination)) {
        connection.phase = Phase.Aside;
        return Action.Continue;
      }
    }
    switch (settings.mode) {
      case Mode.Observe:
        connection.phase = settings.guesses ? Phase.Guessing : Phase.Observing;
        return Action.Continue;
      case Mode.Route:
        // tcp_proxy picks its cluster when it starts, so it must not start before the route is known.
        return Action.StopIteration;
      default:
        connection.phase = Phase.Bridging;
        Plugin.bridge(connection).open(connection);
        return Action.Continue;
    }
  }

  static downstreamData(context: u32, size: u32, end: bool): Action {
    const at = Connections.find(context);
    if (!at) return Action.Continue;
    const connection = changetype<Connection>(at);
    const settings = connection.settings;
    if (connection.phase == Phase.Bridging) {
      if (end) connection.end(Side.Client);
      const action = Plugin.bridge(connection).downstream(connection, size, end);
      Plugin.arm(settings);
      return action;
    }
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
    const settings = connection.settings;
    if (connection.phase == Phase.Bridging) {
      if (end) connection.end(Side.Server);
      Plugin.bridge(connection).upstream(connection, size);
    } else if (connection.phase == Phase.Closed) {
      // What a bridge would have turned into frames must not reach the client as it is.
      Buffer.replace(BufferType.UpstreamData, size, nothing);
    } else {
      observe.data(connection, Side.Server, size);
      if (end) connection.end(Side.Server);
    }
    Plugin.arm(settings);
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
      if (connection.session) Plugin.bridge(connection).close(connection);
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
    lift.tick();
    lower.tick();
    route.tick();
    const settings = roots.has(root) ? roots.get(root) : null;
    // Those that come in a hurry, for a bridge, are too many to tell counts at each.
    if (!settings || settings.tickPeriod > HURRY || ++hurried >= FLUSH_PERIOD) {
      hurried = 0;
      Series.flush();
      Plugin.reportMemory();
    }
    if (!settings) return;
    // The ticks above may have entered connections of other roots.
    Stream.enter(root);
    Plugin.period(settings, Plugin.wanted(settings));
  }

  @inline
  private static bridge(connection: Connection): Bridge {
    return connection.settings.mode == Mode.Lift ? (lift as Bridge) : lower;
  }

  /** How soon the next tick is needed, milliseconds; 0 where none is: an idle proxy is not woken. */
  private static wanted(settings: Settings): u32 {
    if (lift.hurry || lower.hurry) return HURRY;
    if (route.waiting) return min<u32>(FLUSH_PERIOD, max<u32>(10, settings.waitMilliseconds >> 2));
    return Series.pending || lift.waiting || lower.waiting ? FLUSH_PERIOD : 0;
  }

  /** Has the tick come when it is needed. */
  private static arm(settings: Settings): void {
    let live = settings;
    if (live.retired) {
      // The root may have been configured anew, and goes on; else it has no ticks.
      if (!roots.has(live.root)) return Series.flush();
      live = roots.get(live.root);
    }
    const period = Plugin.wanted(live);
    if (period && (!live.tickPeriod || period < live.tickPeriod)) Plugin.period(live, period);
  }

  /** For the root of the current context. */
  private static period(settings: Settings, period: u32): void {
    if (settings.tickPeriod == period) return;
    settings.tickPeriod = period;
    Stream.tick(period);
  }

  /** Each worker adds its change, so that the gauge is the sum of all. */
  private static reportMemory(): void {
    const bytes = (memory.size() as i64) << 16;
    if (bytes == reportedMemory) return;
    Metrics.add(Metrics.id(MetricKind.Gauge, memoryName), bytes - reportedMemory);
    reportedMemory = bytes;
  }
}
