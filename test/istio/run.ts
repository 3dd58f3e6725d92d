// `npm run test:istio [-- FILTER]`: the tests of this folder, in a network namespace of their own.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { findEnvoy } from "../../tools/envoy/find.js";
import { Exit, UserError } from "../../tools/errors.js";
import { packageRoot } from "../../tools/paths.js";
import { buildPrograms, programFolder } from "./lab/programs.js";

/*
 * A new namespace's loopback is down, and `ip` is not everywhere. With these addresses all of 10.0.0.0/8 belongs to this
 * machine, as all of 127.0.0.0/8 does: pods and Services need no address of their own that somebody would have to add.
 */
const LOOPBACK = `
import fcntl, socket, struct
control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
def address(request, value):
    fcntl.ioctl(control, request, struct.pack("16sHH4s8x", b"lo:pods", socket.AF_INET, 0, socket.inet_aton(value)))
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, UP, RUNNING = 0x8914, 0x8916, 0x891C, 0x1, 0x40
fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", UP | RUNNING))
address(SIOCSIFADDR, "10.9.0.1")
address(SIOCSIFNETMASK, "255.0.0.0")
`;
// Not exec: the first process of a namespace heeds no signal that it does not handle, and with it all others end.
const ENTER = 'python3 -c "$0" && echo 1 >/proc/sys/net/ipv4/ip_forward && "$@"';

function inNamespace(command: readonly string[], options: Parameters<typeof spawnSync>[2] = {}) {
  const own = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  return spawnSync("unshare", [...own, "sh", "-c", ENTER, LOOPBACK, ...command], options);
}

/** What the lab runs besides Istio, and Debian's package of it. */
const PROGRAMS = {
  "docker-registry": "docker-registry",
  etcd: "etcd-server",
  ip: "iproute2",
  iptables: "iptables",
  openssl: "openssl",
};

const say = (line: string) => process.stderr.write(`test:istio: ${line}\n`);
try {
  const { status, error, stderr } = inNamespace(["sh", "-c", ":"], { encoding: "utf8" });
  if (status !== 0) {
    const hint = `Run it as root on Linux. ${error?.message ?? stderr}`.trim();
    throw new UserError("E_ROOT", "the right to make a network namespace is missing", { exit: Exit.missing, hint });
  }
  const absent = Object.entries(PROGRAMS).filter(([program]) => spawnSync(program, ["--version"]).error);
  if (absent.length > 0) {
    const hint = `Debian has them: apt-get install ${absent.map(([, of]) => of).join(" ")}`;
    const names = absent.map(([program]) => program).join(" and no ");
    throw new UserError("E_PROGRAM", `there is no ${names}`, { exit: Exit.missing, hint });
  }
  // What has to be fetched is fetched while there is a network.
  const { origin, version } = await findEnvoy({ say });
  say(`Envoy ${version}, ${origin}`);
  await buildPrograms(say);
  say(`Istio, ${programFolder()}`);
  const vitest = join(packageRoot, "node_modules", "vitest", "vitest.mjs");
  const run = [process.execPath, vitest, "run", "--project", "istio", ...process.argv.slice(2)];
  process.exitCode = inNamespace(run, { cwd: packageRoot, stdio: "inherit" }).status ?? Exit.failed;
} catch (error) {
  if (!(error instanceof UserError)) throw error;
  say(error.message);
  if (error.options.hint) say(error.options.hint);
  process.exitCode = error.exit;
}
