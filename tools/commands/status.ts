import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError } from "commander";
import { type DeploymentOptions, deploymentOptions, loadDeployment, serviceOption, servicesOf } from "../deployment.js";
import { Exit, UserError } from "../errors.js";
import { interrupted } from "../interrupt.js";
import type { Manifest } from "../istio/resource.js";
import type { Cluster } from "../kubernetes/client.js";
import { clusterOptions } from "../kubernetes/kubeconfig.js";
import { withCluster } from "../kubernetes/session.js";
import { members } from "../kubernetes/set.js";
import { report } from "../kubernetes/status/report.js";
import { lookAt, type Status, type StatusOptions } from "../kubernetes/status/status.js";
import { type Finding, judge, type Verdict } from "../kubernetes/status/verdict.js";
import { imageOf } from "../kubernetes/status/workloads.js";
import { parseDuration } from "../model/units.js";
import { say, showsColour } from "../terminal.js";

interface Options extends DeploymentOptions {
  service?: string[];
  istioNamespace: string;
  wait?: number;
  json?: true;
}

const POLL_MS = 1_000;
/** Of what is not a terminal. */
const WIDTH = 100;

export function status(): Command {
  const command = new Command("status").description(
    "Show what of meltemi.yaml is applied, and what the proxies have made of it.",
  );
  return clusterOptions(serviceOption(deploymentOptions(command)))
    .option("--istio-namespace <name>", "where istiod runs", "istio-system")
    .option("--wait <duration>", "wait until it is rolled out, but no longer than this, e.g. 60s", duration)
    .option("--json", "all that is seen as one JSON object")
    .addHelpText(
      "after",
      "\nProxies and istiod are asked by port-forwarding, as istioctl does. Nothing is changed.\n" +
        "Exit code: 0 all of it is applied, and runs in every proxy; 4 it does not; 3 not all of it could be seen.\n" +
        "\nExamples:\n  $ meltemi apply && meltemi status --wait 60s\n  $ meltemi status --service greeter.shop --json",
    )
    .action(action);
}

async function action(files: string[], options: Options, command: Command): Promise<void> {
  const { service, istioNamespace, wait = 0 } = options;
  const services = await servicesOf(files, options, command);
  await withCluster(options, async (cluster, signal) => {
    const { manifest, unseen: unasked }: Wanted = service
      ? { unseen: [] }
      : await wanted(cluster, services, files, options, signal);
    const seen = await settled(cluster, services, { manifest, istioNamespace, signal }, wait);
    seen.verdict.unseen.unshift(...unasked);
    process.stdout.write(options.json ? json(seen) : text(seen));
    const { problems, unseen } = seen.verdict;
    process.exitCode = problems.length > 0 ? Exit.failed : unseen.length > 0 ? Exit.missing : Exit.ok;
  });
}

interface Wanted {
  manifest?: Manifest | undefined;
  /** What nobody could be asked about it. */
  unseen: Finding[];
}

/** Of a registry that cannot say what a tag stands for. */
const UNASKED = ["E_UNREACHABLE", "E_CERTIFICATE", "E_UNAUTHORIZED", "E_FORBIDDEN", "E_REGISTRY"];

/** What the configurations come to. Where the image is not named, or not known, it is the one that is applied. */
async function wanted(
  cluster: Cluster,
  services: readonly string[],
  files: readonly string[],
  options: Options,
  signal: AbortSignal,
): Promise<Wanted> {
  try {
    return { manifest: await loadDeployment(files, options, { signal, cluster }), unseen: [] };
  } catch (error) {
    if (!(error instanceof UserError) || !["E_NO_IMAGE", ...UNASKED].includes(error.code)) throw error;
    const text = `whether the image that is applied is the one that is wanted: ${error.message}`;
    const unseen = UNASKED.includes(error.code) ? [{ text, hint: error.options.hint }] : [];
    const image = imageOf(await members(cluster, services));
    // Nothing is applied, which is then all there is to say.
    if (image === undefined) return { unseen };
    return { manifest: await loadDeployment(files, { ...options, image }, { signal, cluster }), unseen };
  }
}

interface Seen {
  status: Status;
  verdict: Verdict;
}

/** Looks until there is nothing wrong, or the time is over. */
async function settled(
  cluster: Cluster,
  services: readonly string[],
  options: StatusOptions & { signal: AbortSignal },
  waitMs: number,
): Promise<Seen> {
  const { signal } = options;
  const deadline = Date.now() + waitMs;
  for (let told = ""; ; ) {
    const status = await lookAt(cluster, services, options);
    const verdict = judge(status);
    const [first] = [...verdict.problems, ...verdict.unseen];
    if (!first || Date.now() + POLL_MS > deadline) return { status, verdict };
    if (first.text !== told) say(`waiting: ${first.text}`);
    told = first.text;
    await sleep(POLL_MS, undefined, { signal }).catch((cause) => {
      throw interrupted(cause);
    });
  }
}

function text({ status, verdict }: Seen): string {
  const width = process.stdout.columns ?? WIDTH;
  return report(status, verdict, { width, color: showsColour(), now: Date.now() });
}

function json({ status, verdict }: Seen): string {
  const { services, objects, plugins } = status;
  const page = {
    services,
    objects: objects.map(({ object, state }) => ({
      apiVersion: object.apiVersion,
      kind: object.kind,
      namespace: object.metadata.namespace,
      name: object.metadata.name,
      created: object.metadata.creationTimestamp,
      state,
    })),
    proxies: plugins.flatMap(({ plugin, proxies }) =>
      proxies.map(({ pod, state, sync, digest, refused, counts }) => ({
        namespace: pod.namespace,
        pod: pod.name,
        plugin: { namespace: plugin.object.metadata.namespace, name: plugin.object.metadata.name },
        state,
        sync: typeof sync === "object" ? sync.state : sync,
        digest,
        wanted: plugin.digest,
        refused,
        ...counts,
      })),
    ),
    ...verdict,
  };
  return `${JSON.stringify(page, null, 2)}\n`;
}

function duration(text: string): number {
  const parsed = parseDuration(text);
  if ("value" in parsed) return parsed.value;
  throw new InvalidArgumentError(`${parsed.wrong}; write it as 60s or 2m.`);
}
