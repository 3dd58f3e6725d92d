import { expect, it } from "vitest";
import { readSyncs } from "./istiod.js";
import { SYNCS } from "./pages.fixture.js";

const app = (page: unknown) => readSyncs(JSON.stringify(page)).get("app.default");

it("a proxy has taken all that was sent", () => {
  expect(app(SYNCS.synced)).toEqual({ state: "synced" });
});

it("a proxy has refused something, and why", () => {
  expect(app(SYNCS.moduleRejected)).toEqual({
    state: "rejected",
    errors: [
      {
        type: "TypedExtensionConfig",
        details: "Unable to create Wasm plugin default.meltemi-client~istio-translated-wasmplugin",
      },
    ],
  });
  expect(app(SYNCS.listenerRejected)).toMatchObject({
    state: "rejected",
    errors: [
      { type: "Listener", details: expect.stringContaining("Error adding/updating listener(s) 10.96.0.10_20880") },
    ],
  });
});

it("versions of Istio that do not say why only show that no answer fits", () => {
  const [{ resources: _, ...entry }] = SYNCS.moduleRejected;
  expect(app([entry])).toEqual({ state: "pending" });
});

it("what a proxy did not ask for was not sent", () => {
  const [{ resources: _, extensionconfig_sent, extensionconfig_acked, ...entry }] = SYNCS.synced;
  expect(app([entry])).toEqual({ state: "synced" });
});

it("a proxy without a connection is not there", () => {
  expect(readSyncs("[]").size).toBe(0);
});
