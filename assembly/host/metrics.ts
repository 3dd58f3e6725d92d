import { Entry, Table } from "../memory/table";
import { Bytes } from "../wire/bytes";
import { Hash } from "../wire/hash";
import { Sink } from "../wire/sink";
import { proxy_define_metric, proxy_increment_metric, proxy_record_metric } from "./imports";

export const enum MetricKind {
  Counter = 0,
  Gauge = 1,
  Histogram = 2,
}

/** A metric that the host knows: `owner` is its kind, `key` the hash of its name. */
@unmanaged
@final
class Metric extends Entry {
  name: usize;
  nameSize: u32;
  id: u32;
}

const metrics = new Table(offsetof<Metric>());
const out: usize = memory.data(4, 4);

/**
 * Metrics by name. Every definition, even of a known name, makes the host remember another id for good: so each name is
 * defined once, whatever connections and configurations come and go.
 */
@final
export class Metrics {
  static id(kind: MetricKind, name: Sink): u32 {
    const hash = Hash.bytes(name.ptr, name.size, 0);
    let at = metrics.find(kind, hash);
    while (at) {
      const metric = changetype<Metric>(at);
      if (metric.nameSize == name.size && Bytes.equal(metric.name, name.ptr, name.size)) return metric.id;
      at = metrics.nextSame(at);
    }
    const metric = changetype<Metric>(metrics.add(kind, hash));
    metric.name = heap.alloc(name.size);
    metric.nameSize = name.size;
    memory.copy(metric.name, name.ptr, name.size);
    // 0, which no metric has, where the host refuses: adding to it does nothing.
    store<u32>(out, 0);
    proxy_define_metric(kind, name.ptr, name.size, out);
    metric.id = load<u32>(out);
    return metric.id;
  }

  /** Adds to a counter or a gauge. */
  @inline
  static add(id: u32, delta: i64): void {
    proxy_increment_metric(id, delta);
  }

  /** Adds a sample to a histogram. */
  @inline
  static record(id: u32, value: u64): void {
    proxy_record_metric(id, value);
  }
}
