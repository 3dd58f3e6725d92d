import "./host/abort"; // used by the compiler: see asconfig.json
import { Side } from "./codec/frame";
import { describe } from "./codec/registry";
import { Plugin } from "./filter/plugin";
import { Arena } from "./host/arena";
import { Clock } from "./host/clock";
import { Table } from "./memory/table";

// proxy-wasm ABI 0.2.1, the part that a network filter needs. A wrong signature fails the whole VM.

export function proxy_abi_version_0_2_1(): void {}

/** The host asks for memory to write into. */
export function malloc(size: usize): usize {
  return Arena.allocate(size);
}

export function proxy_on_context_create(context: u32, root: u32): void {
  enter();
  if (root) Plugin.connect(context, root);
  Arena.leave();
}

export function proxy_on_vm_start(_root: u32, _size: u32): u32 {
  enter();
  // The only thing here that a client does not know to the last bit; while _initialize runs the clock is out of reach.
  Table.seed(Clock.now());
  Arena.leave();
  return 1;
}

export function proxy_on_configure(root: u32, size: u32): u32 {
  enter();
  const ok = Plugin.configure(root, size);
  Arena.leave();
  return ok as u32;
}

export function proxy_on_tick(root: u32): void {
  enter();
  Plugin.tick(root);
  Arena.leave();
}

export function proxy_on_new_connection(context: u32): u32 {
  enter();
  const action = Plugin.newConnection(context);
  Arena.leave();
  return action;
}

export function proxy_on_downstream_data(context: u32, size: u32, end: u32): u32 {
  enter();
  const action = Plugin.downstreamData(context, size, end != 0);
  Arena.leave();
  return action;
}

export function proxy_on_upstream_data(context: u32, size: u32, end: u32): u32 {
  enter();
  const action = Plugin.upstreamData(context, size, end != 0);
  Arena.leave();
  return action;
}

export function proxy_on_downstream_connection_close(context: u32, peer: u32): void {
  enter();
  Plugin.downstreamClosed(context, peer);
  Arena.leave();
}

export function proxy_on_upstream_connection_close(context: u32, _peer: u32): void {
  enter();
  Plugin.closed(context, Side.Server);
  Arena.leave();
}

export function proxy_on_done(_context: u32): u32 {
  return 1;
}

export function proxy_on_log(_context: u32): void {}

export function proxy_on_delete(context: u32): void {
  enter();
  Plugin.remove(context);
  Arena.leave();
}

/** What the module speaks, for the tool: the address of a u32 length followed by JSON. Not called by a proxy. */
export function meltemi_describe(): usize {
  const json = String.UTF8.encode(describe());
  const at = heap.alloc(4 + json.byteLength);
  store<u32>(at, json.byteLength);
  memory.copy(at + 4, changetype<usize>(json), json.byteLength);
  return at;
}

function enter(): void {
  Arena.enter();
  Clock.forget();
}
