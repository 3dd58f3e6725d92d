declare module "hpack.js" {
  interface Field {
    readonly name: string;
    readonly value: string;
  }

  interface Options {
    readonly table: { readonly maxSize: number };
  }

  /** Strings stand for bytes, one a character. */
  interface Compressor {
    write(fields: readonly (Field & { huffman?: boolean; incremental?: boolean; neverIndex?: boolean })[]): void;
    /** What was written since the last call. */
    read(): Buffer | null;
    /** Only the biggest size is told to the other side. */
    updateTableSize(bytes: number): void;
  }

  interface Decompressor {
    write(block: Uint8Array): void;
    execute(): void;
    /** The next field; null behind the last one. */
    read(): Field | null;
  }

  const hpack: {
    compressor: { create(options: Options): Compressor };
    decompressor: { create(options: Options): Decompressor };
  };
  export default hpack;
}
