import { Bad, badText, Look, READY } from "../codec/codec";
import { Frame, Kind, Side } from "../codec/frame";
import { REREAD_MAX } from "../codec/scanner";
import { Buffer, BufferType } from "../host/buffer";
import { Clock } from "../host/clock";
import { FilterState } from "../host/filter-state";
import { Stream } from "../host/stream";
import { Slice } from "../wire/slice";
import { Connection, Phase } from "./connection";
import { Rule } from "./match";
import { Observe } from "./observe";
import { Report } from "./report";
import { Labels } from "./series";
import { Settings } from "./settings";

const CLUSTER_STATE = Slice.of("envoy.tcp_proxy.cluster");
const ROUTE_STATE = Slice.of("meltemi.route");

/**
 * Picks the upstream of a connection by its first request. Until that request's head is there, all bytes wait in
 * Envoy's buffer; size and time of the wait are bounded. Heartbeats before it decide nothing: a connection that is
 * opened early and kept alive by heartbeats is routed when it is used.
 */
@final
export class Route {
  private frame: Frame = Frame.make();
  private firstWaiting: usize = 0;

  /** Whether some connection waits, so that tick() is needed. */
  get waiting(): bool {
    return this.firstWaiting != 0;
  }

  /** `size` bytes are held, all that the client has sent; after it connection.phase says what to do with them. */
  data(connection: Connection, size: u32, end: bool): void {
    const settings = connection.settings;
    const look = this.look(connection, settings, size);
    if (look == READY) return this.decide(connection, settings);
    if (look < 0) return this.onBad(connection, settings, -look as Bad);
    if (end) {
      // A client that leaves before it has begun, such as a health check that only connects, is none that was refused.
      if (size > connection.routeOffset) this.close(connection, "incomplete");
      else this.end(connection);
      return;
    }
    if (!connection.waitingSince && size > connection.routeOffset) this.wait(connection);
  }

  /** Closes the connections that have waited for too long. */
  tick(): void {
    let at = this.firstWaiting;
    while (at) {
      const connection = changetype<Connection>(at);
      at = connection.nextWaiting;
      const limit = connection.settings.waitMilliseconds as u64;
      if (Clock.millisecondsSince(connection.waitingSince) < limit) continue;
      Stream.enter(connection.key as u32);
      this.close(connection, "timeout");
    }
  }

  /** The connection does not wait any more, for whatever reason. */
  leave(connection: Connection): void {
    if (!connection.waitingSince) return;
    connection.waitingSince = 0;
    const next = connection.nextWaiting;
    const previous = connection.previousWaiting;
    if (next) changetype<Connection>(next).previousWaiting = previous;
    if (previous) changetype<Connection>(previous).nextWaiting = next;
    else this.firstWaiting = next;
  }

  private wait(connection: Connection): void {
    // 0 means that it does not wait.
    connection.waitingSince = max<u64>(1, Clock.now());
    connection.previousWaiting = 0;
    connection.nextWaiting = this.firstWaiting;
    if (this.firstWaiting) changetype<Connection>(this.firstWaiting).previousWaiting = changetype<usize>(connection);
    this.firstWaiting = changetype<usize>(connection);
  }

  /** Reads the first request's head (and metadata) into `frame`, stepping over heartbeats. */
  private look(connection: Connection, settings: Settings, size: u32): Look {
    const codec = settings.codec;
    const frame = this.frame;
    const most = settings.headLimit;
    while (true) {
      const offset = connection.routeOffset;
      const need = max<u32>(connection.routeWant, codec.min);
      // With the heartbeats before it: all of it waits in the connection's buffer.
      if (size > offset && offset + need > most) return -Bad.HeadTooLarge;
      if (size < offset + need) return need;
      // What a head may have at the most, and no more: a body may be much longer.
      const n = min<u32>(size, most) - offset;
      const p = Buffer.read(BufferType.DownstreamData, offset, n);
      if (!p || Buffer.size != n) return -Bad.Length;
      frame.side = Side.Client;
      const look = codec.look(p, n, frame, settings.frameLimit, most - offset, settings.routesByMetadata);
      if (look < 0) return look;
      if (look == READY && frame.kind >= Kind.Heartbeat && frame.kind <= Kind.HeartbeatReply) {
        this.leave(connection);
        if (frame.length > most - offset) return -Bad.HeadTooLarge;
        connection.routeOffset = offset + (frame.length as u32);
        connection.routeWant = 0;
        continue;
      }
      connection.routeWant = frame.grow(look, n, most - offset);
      if (!frame.length) connection.routeReread += n;
      return connection.routeReread > REREAD_MAX * most ? -Bad.HeadTooLarge : look;
    }
  }

  private decide(connection: Connection, settings: Settings): void {
    for (let i = 0; i < settings.rules.length; i++) {
      const rule = settings.rules[i];
      if (rule.matches(this.frame)) return this.apply(connection, settings, rule);
    }
    this.close(connection, "no_route");
  }

  /** Bytes that are not the protocol can only go where everything goes: by a rule without conditions. */
  private onBad(connection: Connection, settings: Settings, bad: Bad): void {
    for (let i = 0; i < settings.rules.length; i++) {
      const rule = settings.rules[i];
      // Observe reads the same bytes next, and counts the decode error.
      if (!rule.conditions.length) return this.apply(connection, settings, rule);
    }
    Observe.reportBad(connection, Side.Client, bad, connection.routeOffset);
    this.close(connection, badText(bad));
  }

  private apply(connection: Connection, settings: Settings, rule: Rule): void {
    const cluster = rule.cluster;
    // Without it tcp_proxy would take its own cluster, and nobody would know that the route was not followed.
    if (!FilterState.setEnvoy(CLUSTER_STATE, changetype<usize>(cluster), cluster.byteLength)) {
      return this.close(connection, "filter_state");
    }
    this.leave(connection);
    connection.phase = Phase.Observing;
    FilterState.setOwn(ROUTE_STATE, changetype<usize>(rule.name), rule.name.byteLength);
    Labels.count(settings.labels, "meltemi_routed_connections_total", "cluster", cluster);
    if (!settings.logFrames) return;
    Report.start("route");
    Report.number("connection", connection.key);
    Report.string("route", changetype<usize>(rule.name), rule.name.byteLength);
    Report.string("cluster", changetype<usize>(cluster), cluster.byteLength);
    Report.send();
  }

  private close(connection: Connection, reason: string): void {
    Labels.count(connection.settings.labels, "meltemi_closed_connections_total", "reason", String.UTF8.encode(reason));
    this.end(connection);
  }

  private end(connection: Connection): void {
    this.leave(connection);
    connection.phase = Phase.Closed;
    Stream.close();
  }
}
