import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds package.json, whether this runs from the sources or from dist/. */
export const packageRoot: string = (() => {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!isRoot(dir)) dir = dirname(dir);
  return dir;
})();

function isRoot(dir: string): boolean {
  try {
    return JSON.parse(readFileSync(join(dir, "package.json"), "utf8")).name === "meltemi";
  } catch {
    if (dirname(dir) === dir) throw new Error("package.json of meltemi not found above this file");
    return false;
  }
}

export const version: string = JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")).version;

/** The module that `meltemi build` writes and every other command uses unless told otherwise. */
export const defaultModule: string = join(packageRoot, "build", "meltemi.wasm");
