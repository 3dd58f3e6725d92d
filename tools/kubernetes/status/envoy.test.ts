import { describe, expect, it } from "vitest";
import { readEnvoy } from "./envoy.js";
import { FILTERS, LISTENERS, METRICS } from "./pages.fixture.js";

const KEY = "default.meltemi-client";
const DIGEST = "3b2008393645aafbc876add6f081918e8a053e70e38f7e5924f7bdbf80f682c2";

function read(filters: object | undefined, { listeners = LISTENERS.active as object, metrics = METRICS } = {}) {
  return readEnvoy({ listeners: JSON.stringify(listeners), filters: filters && JSON.stringify(filters), metrics });
}

describe("an extension", () => {
  it("is the module, with the digest of its image and its configuration", () => {
    expect(read(FILTERS.module).extensions.get(KEY)).toEqual({
      filter: "module",
      digest: DIGEST,
      config: { protocol: "dubbo", mode: "observe", direction: "outbound", service: "greeter" },
      reloads: 0,
    });
  });

  it("goes by the same name in older versions of Istio", () => {
    const older = JSON.parse(
      JSON.stringify(FILTERS.module)
        .replaceAll("~istio-translated-wasmplugin", "")
        .replace("trafficextension", "wasmplugin"),
    );
    expect([...read(older).extensions.keys()]).toEqual([KEY]);
  });

  it("is what the agent has put in the place of a module that it could not fetch", () => {
    expect(read(FILTERS.denies).extensions.get(KEY)?.filter).toBe("denies");
    expect(read(FILTERS.passes).extensions.get(KEY)?.filter).toBe("passes");
  });

  it("has no digest where the module is a file of the pod's", () => {
    const file = JSON.parse(JSON.stringify(FILTERS.module).replace(/"\/var[^"]*"/, '"/etc/meltemi.wasm"'));
    expect(read(file).extensions.get(KEY)).toMatchObject({ filter: "module" });
    expect(read(file).extensions.get(KEY)).not.toHaveProperty("digest");
  });

  it("says how often it was started anew", () => {
    const metrics = METRICS.replace(/(wasmplugin_vm_reload\{\}) 0/, "$1 2");
    expect(read(FILTERS.module, { metrics }).extensions.get(KEY)?.reloads).toBe(2);
  });
});

describe("listeners", () => {
  const listeners = (page: object) => {
    const { active, warming, refused } = read(FILTERS.module, { listeners: page });
    return { active: active.has(KEY), warming: warming.has(KEY), refused };
  };

  it("have an extension, wait for it, or are without it", () => {
    expect(listeners(LISTENERS.active)).toEqual({ active: true, warming: false, refused: [] });
    expect(listeners(LISTENERS.warming)).toEqual({ active: false, warming: true, refused: [] });
    expect(listeners(LISTENERS.without)).toEqual({ active: false, warming: false, refused: [] });
  });

  it("are refused with a reason", () => {
    const [refused] = listeners(LISTENERS.refused).refused;
    expect(refused).toEqual({
      listener: "10.96.0.10_20880",
      details: expect.stringContaining("Invalid duration: Expected positive duration"),
    });
  });

  it("have it in their default filter chain", () => {
    const [{ name, active_state }] = LISTENERS.active.configs;
    const [chain] = active_state.listener.filter_chains;
    const configs = [{ name, active_state: { listener: { name, default_filter_chain: chain } } }];
    expect(listeners({ configs }).active).toBe(true);
  });
});

it("an Envoy that has nothing yet shows empty pages", () => {
  const { extensions, active, metrics } = readEnvoy({ listeners: "{}\n", filters: "{}\n", metrics: "" });
  expect([extensions.size, active.size, metrics.scalars.size]).toEqual([0, 0, 0]);
});
