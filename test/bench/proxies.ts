import { type Bootstrap, bootstrap } from "../../tools/envoy/bootstrap.js";
import type { Envoy } from "../../tools/envoy/find.js";
import { EnvoyProcess } from "../../tools/envoy/process.js";
import { parse } from "../../tools/model/load.js";
import { describeModule } from "../../tools/model/module.js";
import { defaultModule } from "../../tools/paths.js";
import type { EchoPorts } from "./echo.js";
import { service } from "./frames.js";

/** What is compared: Envoy's own ways for the same traffic, and ours. */
export const variants = [
  "tcp_proxy",
  "dubbo_proxy",
  "generic_proxy",
  "observe",
  "route",
  "bridge",
  "bridge, client leg",
  "HTTP/2",
  "thrift_proxy",
  "observe, thrift",
] as const;
export type Variant = (typeof variants)[number];

/** What clients speak with it, and what they get back. */
export function trafficOf(variant: Variant): { protocol: keyof EchoPorts; denied: boolean } {
  const protocol = isThrift(variant) ? "thrift" : variant === "HTTP/2" ? "http2" : "dubbo";
  return { protocol, denied: variant === "bridge, client leg" };
}

export const isThrift = (variant: Variant) => variant === "thrift_proxy" || variant === "observe, thrift";

/** Starts an Envoy with one worker thread, whose requests go to the echo servers. */
export function startProxy(envoy: Envoy, variant: Variant, ports: EchoPorts): Promise<EnvoyProcess> {
  return EnvoyProcess.start({ envoy, bootstrap: bootstrapOf(variant, ports), concurrency: 1, files: [defaultModule] });
}

const endpoints = (port: number, protocol = "dubbo") => `
protocol: ${protocol}
service: { name: echo, bind: 127.0.0.1:0, endpoints: [127.0.0.1:${port}] }
admin: 127.0.0.1:0
`;

const route = (port: number) => `
protocol: dubbo
mode: route
service:
  name: echo
  bind: 127.0.0.1:0
  subsets:
    - { name: v1, endpoints: [127.0.0.1:${port}] }
    - { name: v2, endpoints: [127.0.0.1:${port}] }
routes:
  - match: { service: { not: ${service} } }
    subset: v2
  - subset: v1
admin: 127.0.0.1:0
`;

/** All variants share the shapes that `meltemi run` gives them: only the filters differ. */
function bootstrapOf(variant: Variant, { dubbo, http2, thrift }: EchoPorts): Bootstrap {
  switch (variant) {
    case "observe, thrift":
      return ours(endpoints(thrift, "thrift"));
    case "thrift_proxy":
      return withFilters(ours(endpoints(thrift, "thrift")), () => [envoyFilters.thrift_proxy]);
    case "observe":
      return ours(endpoints(dubbo));
    case "route":
      return ours(route(dubbo));
    case "bridge":
      return ours(`${endpoints(dubbo)}mode: bridge`);
    case "bridge, client leg":
      // No server has a part in it: the router denies everything by itself.
      return withFilters(ours(`${endpoints(dubbo)}mode: bridge\nleg: client`), ([lift, manager]) => {
        const [host] = manager.typed_config.route_config.virtual_hosts;
        host.routes = [{ match: { prefix: "/" }, direct_response: { status: 403 } }];
        return [lift, manager];
      });
    case "HTTP/2":
      // The same connection manager and cluster without our filters, and straight to a server that speaks HTTP/2.
      return withFilters(ours(`${endpoints(http2)}mode: bridge\nleg: client`), ([, manager]) => [manager]);
    default:
      return withFilters(ours(endpoints(dubbo)), () => [envoyFilters[variant]]);
  }
}

function ours(yaml: string): Bootstrap {
  return bootstrap(parse(yaml, describeModule(defaultModule).protocols), { module: defaultModule });
}

// biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration, of which only a few keys are looked at
type Filter = { name: string; typed_config: any };

/** With other filters on the service's listener, made of the two that are there. */
function withFilters(made: Bootstrap, change: (filters: [ours: Filter, envoys: Filter]) => Filter[]): Bootstrap {
  const copy = structuredClone(made);
  const { listeners } = copy.static_resources as { listeners: { filter_chains: { filters: Filter[] }[] }[] };
  const chain = listeners[0]?.filter_chains[0];
  if (!chain) throw new Error("the bootstrap has no listener");
  chain.filters = change(chain.filters as [Filter, Filter]);
  return copy;
}

const network = "type.googleapis.com/envoy.extensions.filters.network";
const cluster = "echo";

const envoyFilters = {
  tcp_proxy: {
    name: "envoy.filters.network.tcp_proxy",
    typed_config: { "@type": `${network}.tcp_proxy.v3.TcpProxy`, stat_prefix: "bench", cluster },
  },
  dubbo_proxy: {
    name: "envoy.filters.network.dubbo_proxy",
    typed_config: {
      "@type": `${network}.dubbo_proxy.v3.DubboProxy`,
      stat_prefix: "bench",
      protocol_type: "Dubbo",
      serialization_type: "Hessian2",
      route_config: [
        {
          name: "bench",
          interface: service,
          routes: [{ match: { method: { name: { safe_regex: { regex: ".*" } } } }, route: { cluster } }],
        },
      ],
    },
  },
  thrift_proxy: {
    name: "envoy.filters.network.thrift_proxy",
    typed_config: {
      "@type": `${network}.thrift_proxy.v3.ThriftProxy`,
      stat_prefix: "bench",
      transport: "FRAMED",
      protocol: "BINARY",
      route_config: { name: "bench", routes: [{ match: { method_name: "" }, route: { cluster } }] },
      thrift_filters: [
        {
          name: "envoy.filters.thrift.router",
          typed_config: { "@type": `${network}.thrift_proxy.router.v3.Router` },
        },
      ],
    },
  },
  generic_proxy: {
    name: "envoy.filters.network.generic_proxy",
    typed_config: {
      "@type": `${network}.generic_proxy.v3.GenericProxy`,
      stat_prefix: "bench",
      codec_config: {
        name: "envoy.generic_proxy.codecs.dubbo",
        typed_config: { "@type": `${network}.generic_proxy.codecs.dubbo.v3.DubboCodecConfig` },
      },
      route_config: {
        name: "bench",
        virtual_hosts: [
          {
            name: "all",
            hosts: ["*"],
            routes: {
              on_no_match: {
                action: {
                  name: "echo",
                  typed_config: { "@type": `${network}.generic_proxy.action.v3.RouteAction`, cluster },
                },
              },
            },
          },
        ],
      },
      filters: [
        {
          name: "envoy.filters.generic.router",
          typed_config: { "@type": `${network}.generic_proxy.router.v3.Router` },
        },
      ],
    },
  },
};
