import { join } from "node:path";
import asc from "assemblyscript/asc";
import { packageRoot } from "../tools/paths.js";

/** What every module of our own exports. */
export interface Guest {
  readonly memory: WebAssembly.Memory;
  /** Room for what is handed over, never given back. */
  allocate(size: number): number;
}

/**
 * Compiles a file of `assembly/__bench__` that exports parts of the guest, with the options of the released module, and
 * starts it without a host.
 */
export async function loadGuest<G extends Guest>(file: string): Promise<G> {
  const entry = join("assembly", "__bench__", file);
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await asc.main([entry, "--target", "release", "--baseDir", packageRoot], {
    writeFile(_, contents) {
      if (typeof contents !== "string") wasm = contents;
    },
  });
  if (error || !wasm) throw new Error(`${entry} does not compile: ${stderr}`);
  const module = await WebAssembly.compile(wasm);
  const unused = WebAssembly.Module.imports(module).map(({ name }) => [name, () => 0]);
  const instance = await WebAssembly.instantiate(module, { env: Object.fromEntries(unused) });
  const guest = instance.exports as unknown as G & { _initialize(): void };
  guest._initialize();
  return guest;
}
