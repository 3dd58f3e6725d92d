import { guestFunctions, hostFunctions } from "./abi.js";

const types: Record<number, string> = { 127: "i32", 126: "i64", 125: "f32", 124: "f64" };
const Section = { type: 1, import: 2, function: 3, export: 7, start: 8 } as const;

/**
 * What Envoy would refuse in a module although JavaScript would not: a function of the ABI whose signature is another,
 * a missing callback, and a start section, which runs before the host is ready. Sentences, none when all is well.
 * `wasm` must be a valid module.
 */
export function checkModule(wasm: Uint8Array): string[] {
  const { imports, exports, hasStart } = readSignatures(wasm);
  const wrong: string[] = [];
  const compare = (what: string, name: string, expected: string, found: string) => {
    if (expected !== found) wrong.push(`${what} ${name} as ${found}, the ABI has it as ${expected}`);
  };
  for (const [name, signature] of imports) compare("imports", name, hostFunctions[name] ?? signature, signature);
  for (const [name, { signature, optional }] of Object.entries(guestFunctions)) {
    const found = exports.get(name);
    if (found !== undefined) compare("exports", name, signature, found);
    else if (!optional) wrong.push(`does not export ${name}`);
  }
  if (!exports.has("malloc") && !exports.has("proxy_on_memory_allocate")) {
    wrong.push("exports neither malloc nor proxy_on_memory_allocate");
  }
  if (hasStart) wrong.push("has a start section: export the start function as _initialize");
  return wrong;
}

/** The functions that a module imports and exports, as `(i32,i64)->i32`. */
function readSignatures(wasm: Uint8Array) {
  let at = 8;
  const u32 = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  };
  const list = <T>(read: () => T): T[] => Array.from({ length: u32() }, read);
  const text = () => {
    const length = u32();
    at += length;
    return Buffer.from(wasm.subarray(at - length, at)).toString();
  };
  const limits = () => {
    const flags = u32();
    u32();
    if (flags & 1) u32();
  };

  let signatures: string[] = [];
  const functions: string[] = [];
  const imports = new Map<string, string>();
  const exports = new Map<string, string>();
  let hasStart = false;
  const signatureOf = (type: number) => signatures[type] as string;
  const readImport = () => {
    const name = [text(), text()][1] as string;
    const kind = wasm[at++];
    if (kind === 0) {
      functions.push(signatureOf(u32()));
      imports.set(name, functions.at(-1) as string);
    } else if (kind === 2) limits();
    else {
      at++; // value or reference type, then limits (table) or mutability (global)
      if (kind === 1) limits();
      else at++;
    }
  };
  const readExport = () => {
    const name = text();
    const kind = wasm[at++];
    const index = u32();
    if (kind === 0) exports.set(name, functions[index] as string);
  };
  const readType = () => {
    at++; // 0x60: a function
    const side = () => list(() => types[wasm[at++] as number] ?? "other").join(",");
    return `(${side()})->(${side()})`;
  };
  while (at < wasm.length) {
    const id = wasm[at++];
    const end = u32() + at;
    if (id === Section.type) signatures = list(readType);
    else if (id === Section.import) list(readImport);
    else if (id === Section.function) functions.push(...list(() => signatureOf(u32())));
    else if (id === Section.export) list(readExport);
    else if (id === Section.start) hasStart = true;
    at = end;
  }
  return { imports, exports, hasStart };
}
