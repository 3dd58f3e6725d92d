import { Sink } from "../wire/sink";
import { Slice } from "../wire/slice";
import { proxy_call_foreign_function, proxy_set_property } from "./imports";

const FUNCTION = Slice.of("set_envoy_filter_state");
/** envoy.source.extensions.common.wasm.LifeSpan */
const LIFE_SPAN_CONNECTION: u32 = 2;

const argument = new Sink(1 << 16);
const out: usize = memory.data(8, 4);

/** The connection's filter state, where other filters and access logs read. */
@final
export class FilterState {
  /** Appears as `wasm.NAME`. */
  static setOwn(name: Slice, value: usize, size: u32): void {
    proxy_set_property(name.ptr, name.size, value, size);
  }

  /** One of Envoy's own objects, such as `envoy.tcp_proxy.cluster`; false where Envoy refuses. */
  static setEnvoy(name: Slice, value: usize, size: u32): bool {
    // envoy.source.extensions.common.wasm.SetEnvoyFilterStateArguments {1: path, 2: value, 3: span}
    argument.clear();
    argument.u8(0x0a);
    argument.varint(name.size);
    argument.bytes(name.ptr, name.size);
    argument.u8(0x12);
    argument.varint(size);
    argument.bytes(value, size);
    argument.u8(0x18);
    argument.varint(LIFE_SPAN_CONNECTION);
    return (
      !argument.full &&
      !proxy_call_foreign_function(FUNCTION.ptr, FUNCTION.size, argument.ptr, argument.size, out, out + 4)
    );
  }
}
