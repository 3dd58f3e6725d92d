/**
 * The host functions of proxy-wasm ABI 0.2.1 that a network filter needs. @solo-io/proxy-runtime has most of them; the two
 * that it lacks are declared here.
 */
export {
  proxy_log,
  proxy_set_tick_period_milliseconds,
  proxy_get_current_time_nanoseconds,
  proxy_get_property,
  proxy_set_property,
  proxy_continue_stream,
  proxy_close_stream,
  proxy_get_buffer_bytes,
  proxy_get_buffer_status,
  proxy_define_metric,
  proxy_increment_metric,
  proxy_record_metric,
  proxy_set_effective_context,
} from "@solo-io/proxy-runtime/assembly/imports";

// @ts-ignore: decorator
@external("env", "proxy_set_buffer_bytes")
export declare function proxy_set_buffer_bytes(
  type: u32, start: u32, length: u32, data: usize, size: usize,
): u32;

// @ts-ignore: decorator
@external("env", "proxy_call_foreign_function")
export declare function proxy_call_foreign_function(
  name: usize, nameSize: usize, argument: usize, argumentSize: usize, result: usize, resultSize: usize,
): u32;
