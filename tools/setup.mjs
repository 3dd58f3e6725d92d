// Makes a fresh clone ready: dependencies, the tool, the module. Plain JavaScript without dependencies, because it runs
// before there are any; does nothing where all is up to date.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Newest change below `path`, milliseconds since 1970; 0 where there is nothing. */
function newest(path) {
  if (!existsSync(path)) return 0;
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(stat.mtimeMs, ...readdirSync(path).map((name) => newest(join(path, name))));
}

function step(title, file, args) {
  process.stderr.write(`meltemi: ${title}\n`);
  const { status, error } = spawnSync(file, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) {
    process.stderr.write(`meltemi: ${title}: ${error?.message ?? `failed with ${status}`}\n`);
    process.exit(3);
  }
}

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 12)) {
  process.stderr.write(`meltemi: Node 20.12 or later is needed, this is ${process.versions.node}\n`);
  process.exit(3);
}

const at = (...path) => join(root, ...path);
if (newest(at("node_modules", ".package-lock.json")) < newest(at("package-lock.json"))) {
  step("installing dependencies", process.platform === "win32" ? "npm.cmd" : "npm", ["ci", "--no-audit", "--no-fund"]);
}
const built = newest(at("dist", ".tsbuildinfo"));
if (built < Math.max(newest(at("tools")), newest(at("test")), newest(at("tsconfig.json")))) {
  step("compiling the tool", process.execPath, [at("node_modules", "typescript", "bin", "tsc")]);
}
if (newest(at("build", "meltemi.json")) < Math.max(newest(at("assembly")), newest(at("asconfig.json")))) {
  step("building the WebAssembly module", process.execPath, [at("dist", "tools", "cli.js"), "build"]);
}
