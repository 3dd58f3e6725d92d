import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Bootstrap } from "../../../tools/envoy/bootstrap.js";
import type { Envoy } from "../../../tools/envoy/find.js";
import { EnvoyProcess, type LogLine } from "../../../tools/envoy/process.js";
import { Daemon } from "./daemon.js";
import { KubernetesApi, type KubernetesObject } from "./kubernetes.js";
import { program } from "./programs.js";

/*
 * A mesh without a cluster: the real istiod, which reads its resources from a stand-in for the Kubernetes API, and stock
 * Envoys that it configures as the sidecars of pods. Its ports are fixed: it needs a network namespace to itself.
 */

const XDS_PORT = 15010;
const HTTP_PORT = 8080;

const MESH = {
  trustDomain: "cluster.local",
  rootNamespace: "istio-system",
  enableAutoMtls: false,
  outboundTrafficPolicy: { mode: "REGISTRY_ONLY" },
  defaultConfig: { discoveryAddress: `127.0.0.1:${XDS_PORT}` },
};

/** What istiod would otherwise expect of a cluster or of Istio's own build of Envoy: certificates, webhooks, extensions. */
const ISTIOD_ENV = {
  ENABLE_CA_SERVER: "false",
  ENABLE_DEBUG_ON_HTTP: "true",
  ENABLE_LEADER_ELECTION: "false",
  INJECTION_WEBHOOK_CONFIG_NAME: "",
  ISTIO_KUBE_CLIENT_CONTENT_TYPE: "json",
  LOCAL_CLUSTER_SECRET_WATCHER: "false",
  PILOT_CERT_PROVIDER: "none",
  PILOT_ENABLE_ALPN_FILTER: "false",
  PILOT_ENABLE_GATEWAY_API: "false",
  PILOT_ENABLE_METADATA_EXCHANGE: "false",
  PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION: "false",
  POD_NAME: "istiod",
  POD_NAMESPACE: "istio-system",
  VALIDATION_WEBHOOK_CONFIG_NAME: "",
  XDS_AUTH: "false",
};

export interface SidecarOptions {
  envoy: Envoy;
  /** Files that Envoy reads, absolute: the module. */
  files: readonly string[];
  /** The part of the bootstrap on metrics. */
  stats: Bootstrap;
  /**
   * NONE (default): every listener is a socket at its own address. REDIRECT: as in most meshes, one socket gets all
   * connections that iptables diverts, of which there are none here; good for looking at the configuration.
   */
  interception?: "NONE" | "REDIRECT";
}

export class Mesh {
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
      const istiod = await startIstiod(folder, api.url);
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

  /** What istiod has printed so far. */
  get log(): readonly string[] {
    return this.istiod.log;
  }

  /** Starts an Envoy as the sidecar of a pod. */
  async sidecar(pod: string, { envoy, files, stats, interception = "NONE" }: SidecarOptions): Promise<Sidecar> {
    const object = this.objects.find(({ kind, metadata }) => kind === "Pod" && metadata.name === pod);
    if (!object) throw new Error(`no pod ${pod} in this mesh`);
    const log: LogLine[] = [];
    const process = await EnvoyProcess.start({
      envoy,
      bootstrap: { ...bootstrap(object, interception), ...stats },
      files,
      concurrency: 1,
      onLog: (line) => log.push(line),
    });
    return new Sidecar(process, log);
  }

  async stop(): Promise<void> {
    await this.istiod.stop();
    await this.api.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function startIstiod(folder: string, api: string): Promise<Daemon> {
  const kubeconfig = join(folder, "kubeconfig");
  const meshConfig = join(folder, "mesh.yaml");
  // JSON is YAML.
  await writeFile(meshConfig, JSON.stringify(MESH));
  await writeFile(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "mesh", cluster: { server: api } }],
      users: [{ name: "mesh", user: {} }],
      contexts: [{ name: "mesh", context: { cluster: "mesh", user: "mesh" } }],
      "current-context": "mesh",
    }),
  );
  return Daemon.start(program("pilot-discovery"), {
    args: [
      ...["discovery", "--registries=Kubernetes", "--clusterID=Kubernetes"],
      ...[`--kubeconfig=${kubeconfig}`, `--meshConfig=${meshConfig}`, "--networksConfig=/nonexistent"],
      ...[`--grpcAddr=127.0.0.1:${XDS_PORT}`, "--secureGRPCAddr=", `--httpAddr=127.0.0.1:${HTTP_PORT}`, "--httpsAddr="],
      ...["--monitoringAddr=127.0.0.1:15014", "--ctrlz_port=0"],
    ],
    env: { ...ISTIOD_ENV, PATH: process.env.PATH, HOME: folder },
    cwd: folder,
    readyUrl: `http://127.0.0.1:${HTTP_PORT}/ready`,
  });
}

/** What an agent would give to the Envoy of this pod. */
function bootstrap({ metadata, status }: KubernetesObject, interception: string): Bootstrap {
  const { name, namespace = "default", labels = {} } = metadata;
  const ip = (status as { podIP: string }).podIP;
  const ads = { ads: {}, initial_fetch_timeout: "0s", resource_api_version: "V3" };
  const protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
  return {
    node: {
      id: `sidecar~${ip}~${name}.${namespace}~${namespace}.svc.cluster.local`,
      cluster: `${labels.app}.${namespace}`,
      metadata: {
        CLUSTER_ID: "Kubernetes",
        INSTANCE_IPS: ip,
        INTERCEPTION_MODE: interception,
        ISTIO_VERSION: "1.31.0",
        LABELS: labels,
        NAME: name,
        NAMESPACE: namespace,
        WORKLOAD_NAME: labels.app,
      },
    },
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: 0 } } },
    dynamic_resources: {
      lds_config: ads,
      cds_config: ads,
      ads_config: {
        api_type: "DELTA_GRPC",
        set_node_on_first_message_only: true,
        transport_api_version: "V3",
        grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
      },
    },
    static_resources: {
      clusters: [
        {
          name: "xds",
          type: "STATIC",
          connect_timeout: "1s",
          typed_extension_protocol_options: {
            [protocol]: {
              "@type": `type.googleapis.com/${protocol}`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          load_assignment: {
            cluster_name: "xds",
            endpoints: [
              {
                lb_endpoints: [
                  { endpoint: { address: { socket_address: { address: "127.0.0.1", port_value: XDS_PORT } } } },
                ],
              },
            ],
          },
        },
      ],
    },
  };
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
  routes: { metadata?: { filter_metadata?: { istio?: { config?: string } } } }[];
}

/** The Envoy of one pod. */
export class Sidecar {
  constructor(
    readonly envoy: EnvoyProcess,
    /** What Envoy has logged so far. */
    readonly log: readonly LogLine[],
  ) {}

  /** The filters of each chain of an active listener, in order. */
  async chains(listener: string): Promise<string[][]> {
    const found = (await this.configs()).flatMap(({ dynamic_listeners = [] }) => dynamic_listeners);
    const chains = found.find(({ name }) => name === listener)?.active_state?.listener.filter_chains;
    if (!chains) throw new Error(`no active listener ${listener} among ${found.map(({ name }) => name).join(", ")}`);
    return chains.map(({ filters }) => filters.map(({ name }) => name));
  }

  /** The virtual hosts of a route configuration: their domains, and the VirtualServices that their routes come from. */
  async virtualHosts(routes: string): Promise<{ domains: string[]; from: string[] }[]> {
    const all = (await this.configs()).flatMap(({ dynamic_route_configs = [] }) => dynamic_route_configs);
    const hosts = all.find(({ route_config }) => route_config.name === routes)?.route_config.virtual_hosts ?? [];
    return hosts.map(({ domains, routes }) => {
      const from = routes.flatMap(({ metadata }) => metadata?.filter_metadata?.istio?.config?.split("/").at(-1) ?? []);
      return { domains, from: [...new Set(from)] };
    });
  }

  stop(): Promise<unknown> {
    return this.envoy.stop();
  }

  private async configs(): Promise<Dump["configs"]> {
    return (JSON.parse(await this.envoy.get("/config_dump")) as Dump).configs;
  }
}
