/* Pages of a sidecar and of istiod (Istio 1.31, Envoy 1.40), recorded in the lab of test/istio and cut to what is looked at. */

export const LISTENERS = {
  active: {
    configs: [
      {
        name: "10.96.0.10_20880",
        active_state: {
          listener: {
            name: "10.96.0.10_20880",
            filter_chains: [
              {
                filters: [
                  { name: "extensions.istio.io/trafficextension/default.meltemi-client~istio-translated-wasmplugin" },
                  { name: "envoy.filters.network.tcp_proxy" },
                ],
              },
            ],
          },
        },
      },
    ],
  },
  warming: {
    configs: [
      {
        name: "10.96.0.10_20880",
        warming_state: {
          listener: {
            name: "10.96.0.10_20880",
            filter_chains: [
              {
                filters: [
                  { name: "extensions.istio.io/trafficextension/default.meltemi-client~istio-translated-wasmplugin" },
                  { name: "envoy.filters.network.tcp_proxy" },
                ],
              },
            ],
          },
        },
      },
    ],
  },
  without: {
    configs: [
      {
        name: "10.96.0.10_20880",
        active_state: {
          listener: {
            name: "10.96.0.10_20880",
            filter_chains: [{ filters: [{ name: "envoy.filters.network.tcp_proxy" }] }],
          },
        },
      },
    ],
  },
  refused: {
    configs: [
      {
        name: "10.96.0.10_20880",
        error_state: {
          last_update_attempt: "2026-11-22T21:56:22.139Z",
          details: "Invalid duration: Expected positive duration: goo.gle/debugonly  \nseconds: -5\n",
        },
      },
    ],
  },
} as const;

export const FILTERS = {
  module: {
    configs: [
      {
        ecds_filter: {
          name: "extensions.istio.io/trafficextension/default.meltemi-client~istio-translated-wasmplugin",
          typed_config: {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm",
            config: {
              name: "default.meltemi-client~istio-translated-wasmplugin",
              vm_config: {
                runtime: "envoy.wasm.runtime.v8",
                code: {
                  local: {
                    filename:
                      "/var/lib/istio/data/7b3d7a27a45ebb7357694b12f229b10b3b20abde2b1a50409ef3d9c2f891ed30/3b2008393645aafbc876add6f081918e8a053e70e38f7e5924f7bdbf80f682c2.wasm",
                  },
                },
              },
              configuration: {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                value: '{"direction":"outbound","mode":"observe","protocol":"dubbo","service":"greeter"}',
              },
              failure_policy: "FAIL_CLOSED",
            },
          },
        },
        last_updated: "2026-11-22T21:55:47.460Z",
      },
    ],
  },
  denies: {
    configs: [
      {
        ecds_filter: {
          name: "extensions.istio.io/trafficextension/default.meltemi-client~istio-translated-wasmplugin",
          typed_config: {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            rules: {},
            stat_prefix: "wasm-default-deny",
          },
        },
        last_updated: "2026-11-22T21:56:02.815Z",
      },
    ],
  },
  passes: {
    configs: [
      {
        ecds_filter: {
          name: "extensions.istio.io/trafficextension/default.meltemi-client~istio-translated-wasmplugin",
          typed_config: {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC",
            stat_prefix: "wasm-default-allow",
          },
        },
        last_updated: "2026-11-22T21:56:10.900Z",
      },
    ],
  },
} as const;

export const SYNCS = {
  synced: [
    {
      cluster_id: "Kubernetes",
      proxy: "app.default",
      proxy_type: "sidecar",
      istio_version: "1.31.0",
      cluster_sent: "2026-11-22T21:55:46Z/1b48d1634-0a2a-4db8-a601-ee3e248c61aa",
      cluster_acked: "2026-11-22T21:55:46Z/1b48d1634-0a2a-4db8-a601-ee3e248c61aa",
      listener_sent: "2026-11-22T21:55:46Z/16aad397a-8b7f-45a5-b722-892e45397647",
      listener_acked: "2026-11-22T21:55:46Z/16aad397a-8b7f-45a5-b722-892e45397647",
      endpoint_sent: "2026-11-22T21:55:46Z/131a02577-b4cb-4446-8cb5-1523b01fb29b",
      endpoint_acked: "2026-11-22T21:55:46Z/131a02577-b4cb-4446-8cb5-1523b01fb29b",
      extensionconfig_sent: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
      extensionconfig_acked: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
      resources: {
        "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig": {
          sent: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
          acked: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
          sentTime: "2026-11-22T21:55:47.430480897Z",
        },
        "type.googleapis.com/envoy.config.listener.v3.Listener": {
          sent: "2026-11-22T21:55:46Z/16aad397a-8b7f-45a5-b722-892e45397647",
          acked: "2026-11-22T21:55:46Z/16aad397a-8b7f-45a5-b722-892e45397647",
          sentTime: "2026-11-22T21:55:47.428139445Z",
        },
      },
    },
  ],
  moduleRejected: [
    {
      cluster_id: "Kubernetes",
      proxy: "app.default",
      proxy_type: "sidecar",
      istio_version: "1.31.0",
      cluster_sent: "2026-11-22T21:55:46Z/1b48d1634-0a2a-4db8-a601-ee3e248c61aa",
      cluster_acked: "2026-11-22T21:55:46Z/1b48d1634-0a2a-4db8-a601-ee3e248c61aa",
      listener_sent: "2026-11-22T21:55:52Z/22d5a82ee-299e-4fa7-a54a-1d2a9e95d2b5",
      listener_acked: "2026-11-22T21:55:52Z/22d5a82ee-299e-4fa7-a54a-1d2a9e95d2b5",
      endpoint_sent: "2026-11-22T21:55:46Z/131a02577-b4cb-4446-8cb5-1523b01fb29b",
      endpoint_acked: "2026-11-22T21:55:46Z/131a02577-b4cb-4446-8cb5-1523b01fb29b",
      extensionconfig_sent: "2026-11-22T21:55:52Z/2493e888e-9944-4792-aa0d-af3ba6adf05f",
      extensionconfig_acked: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
      resources: {
        "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig": {
          sent: "2026-11-22T21:55:52Z/2493e888e-9944-4792-aa0d-af3ba6adf05f",
          acked: "2026-11-22T21:55:46Z/1ce2e459b-fcf5-4bc7-b430-4d54a88f90a8",
          sentTime: "2026-11-22T21:55:52.645890723Z",
          lastError: "Unable to create Wasm plugin default.meltemi-client~istio-translated-wasmplugin",
        },
        "type.googleapis.com/envoy.config.listener.v3.Listener": {
          sent: "2026-11-22T21:55:52Z/22d5a82ee-299e-4fa7-a54a-1d2a9e95d2b5",
          acked: "2026-11-22T21:55:52Z/22d5a82ee-299e-4fa7-a54a-1d2a9e95d2b5",
          sentTime: "2026-11-22T21:55:52.641973661Z",
        },
      },
    },
  ],
  listenerRejected: [
    {
      cluster_id: "Kubernetes",
      proxy: "app.default",
      proxy_type: "sidecar",
      istio_version: "1.31.0",
      cluster_sent: "2026-11-22T21:56:22Z/857ab4e8e-2406-4924-8029-7d11351cac4f",
      cluster_acked: "2026-11-22T21:56:22Z/857ab4e8e-2406-4924-8029-7d11351cac4f",
      listener_sent: "2026-11-22T21:56:22Z/8d6b5a88f-a1f3-4d6d-8fa7-e6f0dc87feb3",
      listener_acked: "2026-11-22T21:56:19Z/7b8f42679-04aa-4b59-9011-b0f752790754",
      endpoint_sent: "2026-11-22T21:56:22Z/8f6316bc0-3dfb-4b97-b50c-f895febde49f",
      endpoint_acked: "2026-11-22T21:56:22Z/8f6316bc0-3dfb-4b97-b50c-f895febde49f",
      extensionconfig_sent: "2026-11-22T21:56:22Z/84c31048b-9d58-43e1-88aa-66fdf80bf149",
      extensionconfig_acked: "2026-11-22T21:56:22Z/84c31048b-9d58-43e1-88aa-66fdf80bf149",
      resources: {
        "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig": {
          sent: "2026-11-22T21:56:22Z/84c31048b-9d58-43e1-88aa-66fdf80bf149",
          acked: "2026-11-22T21:56:22Z/84c31048b-9d58-43e1-88aa-66fdf80bf149",
          sentTime: "2026-11-22T21:56:22.136925879Z",
        },
        "type.googleapis.com/envoy.config.listener.v3.Listener": {
          sent: "2026-11-22T21:56:22Z/8d6b5a88f-a1f3-4d6d-8fa7-e6f0dc87feb3",
          acked: "2026-11-22T21:56:19Z/7b8f42679-04aa-4b59-9011-b0f752790754",
          sentTime: "2026-11-22T21:56:22.136859409Z",
          lastError:
            "Error adding/updating listener(s) 10.96.0.10_20880: Invalid duration: Expected positive duration: goo.gle/debugonly  \nseconds: -5\n\n127.0.0.1_20880: Invalid duration: Expected positive duration: goo.gle/debugonly  \nseconds: -5\n\n",
        },
      },
    },
  ],
} as const;

export const METRICS = `# TYPE envoy_wasm_default_meltemi_client_istio_translated_wasmplugin_vm_reload counter
envoy_wasm_default_meltemi_client_istio_translated_wasmplugin_vm_reload{} 0
# TYPE meltemi_requests_total counter
meltemi_requests_total{protocol="dubbo",direction="outbound",service="org.meltemi.demo.Greeter",method="add",status="ok"} 19
meltemi_requests_total{protocol="dubbo",direction="outbound",service="org.meltemi.demo.Greeter",method="fail",status="exception"} 19
# TYPE meltemi_guest_memory_bytes gauge
meltemi_guest_memory_bytes{} 393216
`;
