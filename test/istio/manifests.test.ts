import { expect, it } from "vitest";
import { manifests } from "./lab/harness.js";
import { complaints } from "./lab/istioctl.js";

const tcp = { NAME: "tcp-dubbo", PROTOCOL: "TCP" };
const http2 = { NAME: "http2-dubbo", PROTOCOL: "HTTP2" };

it.each([
  ["observe", tcp],
  ["bridge by-method", http2],
  ["bridge weights", http2],
  ["bridge faults", http2],
  ["bridge headers", http2],
  ["bridge retries", http2],
])("istioctl has nothing against %s", (names, words) => {
  expect(complaints(manifests(["world", "service", "sidecars", ...names.split(" ")], words))).toEqual([]);
});

it("istioctl does look: at fields, and at what routes lead to", () => {
  const wrong = manifests(["world", "service", "bridge", "weights"], http2).map((object) => {
    const spec = object.spec as Record<string, unknown>;
    if (object.kind === "WasmPlugin") return { ...object, spec: { ...spec, tipe: "NETWORK" } };
    if (object.kind === "DestinationRule") return { ...object, spec: { ...spec, subsets: [] } };
    return object;
  });
  const found = complaints(wrong);
  for (const complaint of ['unknown field "tipe"', 'not found: "greeter.default.svc.cluster.local+v2"'])
    expect(found).toContainEqual(expect.stringContaining(complaint));
});
