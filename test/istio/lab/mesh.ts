import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { LABELS } from "../../../tools/envoy/bootstrap.js";
import type { Envoy } from "../../../tools/envoy/find.js";
import { Daemon } from "./daemon.js";
import { KubernetesApi, type KubernetesObject, token } from "./kubernetes.js";
import { NODE, type PodNetwork, PROXY_USER } from "./pod.js";
import { istioFile, program } from "./programs.js";

/*
 * A mesh without a cluster: the real istiod, which reads its resources from a stand-in for the Kubernetes API, and as the
 * sidecars of pods real agents, each with a stock Envoy. Its ports are fixed: it needs a network namespace to itself.
 */

const XDS_PORT = 15012;
const HTTP_PORT = 8080;
/** The ports of an agent and its Envoy. */
const PORTS = { admin: 15000, status: 15020, health: 15021, metrics: 15090 };
/** Where they begin on a machine that pods share: ten for each sidecar. */
const FIRST_PORT = 16000;
const SERVICE_ACCOUNT = "default";
const CERTIFICATE_MS = 30_000;

const MESH = {
  trustDomain: "cluster.local",
  rootNamespace: "istio-system",
  outboundTrafficPolicy: { mode: "REGISTRY_ONLY" },
  defaultConfig: {
    discoveryAddress: `${NODE}:${XDS_PORT}`,
    // What turns the labels of the module's metrics into labels.
    extraStatTags: LABELS,
  },
};

/** What istiod would otherwise expect of a cluster or of Istio's own build of Envoy: certificates, webhooks, extensions. */
const ISTIOD_ENV = {
  ENABLE_DEBUG_ON_HTTP: "true",
  ENABLE_LEADER_ELECTION: "false",
  INJECTION_WEBHOOK_CONFIG_NAME: "",
  ISTIO_KUBE_CLIENT_CONTENT_TYPE: "json",
  LOCAL_CLUSTER_SECRET_WATCHER: "false",
  PILOT_ENABLE_ALPN_FILTER: "false",
  PILOT_ENABLE_GATEWAY_API: "false",
  PILOT_ENABLE_METADATA_EXCHANGE: "false",
  PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION: "false",
  POD_NAME: "istiod",
  POD_NAMESPACE: "istio-system",
  VALIDATION_WEBHOOK_CONFIG_NAME: "",
};

/** Starts a program where /var/lib is its own: an agent keeps the modules that it has fetched in /var/lib/istio. */
const OWN_FILES = 'mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/istio/data && exec "$@"';
/** The user of a sidecar in a cluster; it may read what is root's here. */
const AS_PROXY = [
  ...["setpriv", `--reuid=${PROXY_USER}`, `--regid=${PROXY_USER}`, "--clear-groups"],
  ...["--inh-caps=+dac_override", "--ambient-caps=+dac_override"],
];

export interface SidecarOptions {
  envoy: Envoy;
  /**
   * NONE (default): every listener is a socket at its own address. REDIRECT: as in most meshes, one socket gets all
   * connections that iptables diverts, of which there are none here; good for looking at the configuration.
   */
  interception?: "NONE" | "REDIRECT";
  /** The pod's own, where connections are diverted to the sidecar. Default: all pods are in the lab's. */
  network?: PodNetwork;
}

export class Mesh {
  private sidecars = 0;

  private constructor(
    private readonly api: KubernetesApi,
    private readonly istiod: Daemon,
    private readonly folder: string,
    private objects: readonly KubernetesObject[],
  ) {}

  /** Starts istiod over a cluster that holds these objects. */
  static async start(objects: readonly KubernetesObject[]): Promise<Mesh> {
    const folder = await mkdtemp(join(tmpdir(), "meltemi-istiod-"));
    const api = await KubernetesApi.start();
    try {
      api.set(objects);
      const istiod = await startIstiod(folder, api);
      return new Mesh(api, istiod, folder, objects);
    } catch (error) {
      await api.stop();
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** Makes these the objects of the cluster, all of them. Sidecars hear of it a little later. */
  set(objects: readonly KubernetesObject[]): void {
    this.objects = objects;
    this.api.set(objects);
  }

  /** The Kubernetes API, with ways to where the Envoys of pods have their admin interface. */
  get kubernetes(): KubernetesApi {
    return this.api;
  }

  /** What istiod has printed so far. */
  get log(): readonly string[] {
    return this.istiod.log;
  }

  /** Starts an agent, and by it an Envoy, as the sidecar of a pod. */
  async sidecar(pod: string, { envoy, network, ...options }: SidecarOptions): Promise<Sidecar> {
    const { interception = network ? "REDIRECT" : "NONE" } = options;
    const object = this.objects.find(({ kind, metadata }) => kind === "Pod" && metadata.name === pod);
    if (!object) throw new Error(`no pod ${pod} in this mesh`);
    const { name, namespace = "default", labels = {}, annotations = {} } = object.metadata;
    const ip = (object.status as { podIP: string }).podIP;
    const number = this.sidecars++;
    const folder = join(this.folder, `${name}-${number}`);
    const first = FIRST_PORT + 10 * number;
    const shared = { admin: first, status: first + 1, health: first + 2, metrics: first + 3 };
    const ports = network ? PORTS : shared;
    const quoted = (entries: Record<string, string>) =>
      Object.entries(entries).map(([key, value]) => `${key}=${JSON.stringify(value)}\n`);
    const mounted: Record<string, string> = {
      "etc/istio/pod/annotations": quoted(annotations).join(""),
      "etc/istio/pod/labels": quoted(labels).join(""),
      "var/run/secrets/istio/root-cert.pem": await this.rootCertificate(),
      "var/run/secrets/tokens/istio-token": token(namespace, SERVICE_ACCOUNT),
    };
    for (const [path, content] of Object.entries(mounted)) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    const proxyConfig = {
      ...MESH.defaultConfig,
      binaryPath: envoy.origin,
      concurrency: 1,
      configPath: "./etc/istio/proxy",
      proxyAdminPort: ports.admin,
      proxyBootstrapTemplatePath: istioFile("envoy_bootstrap.json"),
      statusPort: ports.status,
      terminationDrainDuration: "0s",
    };
    const [enter = "", ...inside] = [...(network?.enter ?? []), "unshare", "--mount", "sh", "-c", OWN_FILES, "sh"];
    const agent = await Daemon.start(enter, {
      args: [
        ...[...inside, ...(network ? AS_PROXY : []), program("pilot-agent"), "proxy", "sidecar"],
        ...["--domain", `${namespace}.svc.cluster.local`, "--proxyLogLevel", "error,wasm:info"],
      ],
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        CLOUD_PLATFORM: "none",
        ENVOY_PROMETHEUS_PORT: String(ports.metrics),
        ENVOY_STATUS_PORT: String(ports.health),
        HOST_IP: NODE,
        INSTANCE_IP: ip,
        ISTIO_META_CLUSTER_ID: "Kubernetes",
        ISTIO_META_INTERCEPTION_MODE: interception,
        ISTIO_META_ISTIO_VERSION: "1.31.0",
        ISTIO_META_WORKLOAD_NAME: labels.app,
        // The name in istiod's certificate.
        ISTIOD_SAN: "istiod.istio-system.svc",
        POD_NAME: name,
        POD_NAMESPACE: namespace,
        PROXY_CONFIG: JSON.stringify(proxyConfig),
        SERVICE_ACCOUNT,
      },
      cwd: folder,
      readyUrl: `http://${network ? ip : "127.0.0.1"}:${ports.status}/healthz/ready`,
    });
    const admin = { host: "127.0.0.1", port: ports.admin };
    const { host, port } = network ? await network.reach(admin) : admin;
    // Where it is in a cluster.
    this.api.forwards.set({ namespace, name, port: PORTS.admin }, port);
    return new Sidecar(agent, `${host}:${port}`);
  }

  /** Of istiod's own authority, which it gives to every namespace soon after its start. */
  private async rootCertificate(): Promise<string> {
    for (const deadline = Date.now() + CERTIFICATE_MS; ; await sleep(20)) {
      const map = this.api.written.find(({ metadata }) => metadata?.name === "istio-ca-root-cert");
      if (map) return (map.data as Record<string, string>)["root-cert.pem"] ?? "";
      if (Date.now() > deadline) throw new Error("istiod has not written its certificate");
    }
  }

  async stop(): Promise<void> {
    await this.istiod.stop();
    await this.api.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function startIstiod(folder: string, api: KubernetesApi): Promise<Daemon> {
  const kubeconfig = join(folder, "kubeconfig");
  const meshConfig = join(folder, "mesh.yaml");
  // JSON is YAML.
  await writeFile(meshConfig, JSON.stringify(MESH));
  await writeFile(kubeconfig, api.kubeconfig);
  return Daemon.start(program("pilot-discovery"), {
    args: [
      ...["discovery", "--registries=Kubernetes", "--clusterID=Kubernetes"],
      ...[`--kubeconfig=${kubeconfig}`, `--meshConfig=${meshConfig}`, "--networksConfig=/nonexistent"],
      ...["--grpcAddr=", `--secureGRPCAddr=${NODE}:${XDS_PORT}`, `--httpAddr=127.0.0.1:${HTTP_PORT}`, "--httpsAddr="],
      ...["--monitoringAddr=127.0.0.1:15014", "--ctrlz_port=0"],
    ],
    env: { ...ISTIOD_ENV, PATH: process.env.PATH, HOME: folder },
    cwd: folder,
    readyUrl: `http://127.0.0.1:${HTTP_PORT}/ready`,
  });
}

interface Dump {
  configs: {
    dynamic_listeners?: { name: string; active_state?: { listener: { filter_chains: FilterChain[] } } }[];
    dynamic_route_configs?: { route_config: { name: string; virtual_hosts: VirtualHost[] } }[];
  }[];
}
interface FilterChain {
  filters: { name: string }[];
}
interface VirtualHost {
  domains: string[];
  routes: { name?: string }[];
}

/** A line of the log of an agent, or of the Envoy that it has started. */
export interface LogLine {
  /** `info`, `warning`, `error`, `critical` ...; empty where the line has another form. */
  level: string;
  text: string;
}

/** The agent of one pod, with its Envoy. */
export class Sidecar {
  constructor(
    private readonly agent: Daemon,
    /** Where Envoy's admin interface listens, host:port. */
    readonly admin: string,
  ) {}

  /** What the agent and Envoy have logged so far. */
  get log(): LogLine[] {
    return this.agent.log.map((line) => {
      const [, level = "", text = line] = /^\S+Z\t(\w+)\t(.*)$/.exec(line) ?? [];
      return { level, text };
    });
  }

  /** The body of a page of Envoy's admin interface. */
  async get(path: string): Promise<string> {
    const response = await fetch(`http://${this.admin}${path}`);
    const body = await response.text();
    if (!response.ok) throw new Error(`Envoy's admin answers ${response.status} to ${path}: ${body}`);
    return body;
  }

  /** The filters of each chain of an active listener, in order. */
  async chains(listener: string): Promise<string[][]> {
    const found = (await this.configs()).flatMap(({ dynamic_listeners = [] }) => dynamic_listeners);
    const chains = found.find(({ name }) => name === listener)?.active_state?.listener.filter_chains;
    if (!chains) throw new Error(`no active listener ${listener} among ${found.map(({ name }) => name).join(", ")}`);
    return chains.map(({ filters }) => filters.map(({ name }) => name));
  }

  /** The virtual hosts of a route configuration: their domains, and the names of their routes. */
  async virtualHosts(routes: string): Promise<{ domains: string[]; routes: string[] }[]> {
    const all = (await this.configs()).flatMap(({ dynamic_route_configs = [] }) => dynamic_route_configs);
    const hosts = all.find(({ route_config }) => route_config.name === routes)?.route_config.virtual_hosts ?? [];
    return hosts.map(({ domains, routes }) => ({ domains, routes: routes.map(({ name = "" }) => name) }));
  }

  stop(): Promise<void> {
    return this.agent.stop();
  }

  private async configs(): Promise<Dump["configs"]> {
    return (JSON.parse(await this.get("/config_dump")) as Dump).configs;
  }
}
