import asc from "assemblyscript/asc";

/** What every test guest has: the host functions by short names, an allocator that never frees, and the ABI's marks. */
const prelude = `
@external("env", "proxy_log") declare function log_(level: u32, at: usize, size: usize): u32;
@external("env", "proxy_get_buffer_bytes") declare function get(type: u32, start: u32, length: u32, at: usize, size: usize): u32;
@external("env", "proxy_get_buffer_status") declare function status(type: u32, length: usize, flags: usize): u32;
@external("env", "proxy_set_buffer_bytes") declare function set(type: u32, start: u32, length: u32, at: usize, size: usize): u32;
@external("env", "proxy_continue_stream") declare function resume(type: u32): u32;
@external("env", "proxy_close_stream") declare function close(type: u32): u32;
@external("env", "proxy_set_effective_context") declare function effective(context: u32): u32;
@external("env", "proxy_set_tick_period_milliseconds") declare function period(milliseconds: u32): u32;
@external("env", "proxy_get_current_time_nanoseconds") declare function now(at: usize): u32;
@external("env", "proxy_define_metric") declare function define(type: u32, at: usize, size: usize, id: usize): u32;
@external("env", "proxy_increment_metric") declare function increment(id: u32, offset: i64): u32;
@external("env", "proxy_record_metric") declare function record(id: u32, value: u64): u32;
@external("env", "proxy_get_metric") declare function metric(id: u32, at: usize): u32;
@external("env", "proxy_set_property") declare function setProperty(at: usize, size: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_get_property") declare function getProperty(at: usize, size: usize, value: usize, valueSize: usize): u32;
@external("env", "proxy_call_foreign_function") declare function foreign(name: usize, nameSize: usize, at: usize, size: usize, result: usize, resultSize: usize): u32;
export function malloc(size: usize): usize { return heap.alloc(size); }
export function proxy_abi_version_0_2_1(): void {}
const out: usize = memory.data(16, 8);
function bytes(text: string): ArrayBuffer { return String.UTF8.encode(text); }
function at(text: ArrayBuffer): usize { return changetype<usize>(text); }
function log(level: u32, text: string): void { const b = bytes(text); log_(level, at(b), b.byteLength); }
`;

/** Compiles a guest for a test from AssemblyScript. */
export async function guest(source: string): Promise<Uint8Array> {
  const { error, stderr, binary } = await compile(`${prelude}${source}`);
  if (error || !binary) throw new Error(`${stderr}`, { cause: error });
  return binary;
}

async function compile(source: string) {
  let binary: Uint8Array | undefined;
  const options = ["guest.ts", "--outFile", "guest.wasm", "--runtime", "stub", "--exportStart", "_initialize"];
  const { error, stderr } = await asc.main([...options, "--use", "abort="], {
    readFile: (name) => (name === "guest.ts" ? source : null),
    writeFile: (name, contents) => {
      if (name === "guest.wasm") binary = contents as Uint8Array;
    },
    listFiles: () => [],
  });
  return { error, stderr, binary };
}
