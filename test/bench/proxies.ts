import { type Bootstrap, bootstrap } from "../../tools/envoy/bootstrap.js";
import type { Envoy } from "../../tools/envoy/find.js";
import { EnvoyProcess } from "../../tools/envoy/process.js";
import { parse } from "../../tools/model/load.js";
import { defaultModule } from "../../tools/paths.js";
import { service } from "./frames.js";

/** What is compared: Envoy's own ways for the same traffic, and ours. */
export const variants = ["tcp_proxy", "dubbo_proxy", "generic_proxy", "observe", "route"] as const;
export type Variant = (typeof variants)[number];

/** Starts an Envoy with one worker thread, whose requests go to the echo server at `port`. */
export function startProxy(envoy: Envoy, variant: Variant, port: number): Promise<EnvoyProcess> {
  return EnvoyProcess.start({ envoy, bootstrap: bootstrapOf(variant, port), concurrency: 1, files: [defaultModule] });
}

const observe = (port: number) => `
protocol: dubbo
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

/** All variants share one shape, that of \`meltemi run\`: only the filters differ. */
function bootstrapOf(variant: Variant, port: number): Bootstrap {
  const model = parse(variant === "route" ? route(port) : observe(port), ["dubbo"]);
  const ours = bootstrap(model, { module: defaultModule });
  if (variant === "observe" || variant === "route") return ours;
  const { listeners, ...resources } = ours.static_resources as { listeners: [Record<string, unknown>] };
  const filter_chains = [{ filters: [envoyFilters[variant]] }];
  return { ...ours, static_resources: { ...resources, listeners: [{ ...listeners[0], filter_chains }] } };
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
