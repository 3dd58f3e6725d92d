// `npm run test:istio [-- FILTER]`: the tests of this folder, in a network namespace of their own.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { findEnvoy } from "../../tools/envoy/find.js";
import { Exit, UserError } from "../../tools/errors.js";
import { packageRoot } from "../../tools/paths.js";
import { buildPrograms, programFolder } from "./lab/programs.js";

/*
 * A new namespace's loopback is down, and `ip` is not everywhere: its flags can be written in sysfs, which shows the
 * namespace it was mounted in. All of 127.0.0.0/8 is then an address of this machine, which is what the manifests use.
 */
const ENTER = 'mount -t sysfs sysfs /sys && echo 0x9 > /sys/class/net/lo/flags && exec "$@"';

function inNamespace(command: readonly string[], options: Parameters<typeof spawnSync>[2] = {}) {
  return spawnSync("unshare", ["--net", "--mount", "sh", "-c", ENTER, "sh", ...command], options);
}

const say = (line: string) => process.stderr.write(`test:istio: ${line}\n`);
try {
  const { status, error, stderr } = inNamespace(["sh", "-c", ":"], { encoding: "utf8" });
  if (status !== 0) {
    const hint = `Run it as root on Linux. ${error?.message ?? stderr}`.trim();
    throw new UserError("E_ROOT", "the right to make a network namespace is missing", { exit: Exit.missing, hint });
  }
  // What has to be fetched is fetched while there is a network.
  const { origin, version } = await findEnvoy({ say });
  say(`Envoy ${version}, ${origin}`);
  await buildPrograms(say);
  say(`istiod and istioctl, ${programFolder()}`);
  const vitest = join(packageRoot, "node_modules", "vitest", "vitest.mjs");
  const run = [process.execPath, vitest, "run", "--project", "istio", ...process.argv.slice(2)];
  process.exitCode = inNamespace(run, { cwd: packageRoot, stdio: "inherit" }).status ?? Exit.failed;
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  say(error.message);
  if (error.options.hint) say(error.options.hint);
  process.exitCode = error.exit;
}
