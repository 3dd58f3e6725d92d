import { stripVTControlCharacters } from "node:util";
import { expect, it } from "vitest";
import type { Report } from "./check.js";
import { reportText } from "./text.js";

const report: Report = {
  services: [
    {
      service: "greeter.shop",
      findings: [
        {
          code: "address",
          severity: "error",
          message: "istio.address is 10.96.0.10, and the address of Service shop/greeter is 10.96.0.11",
          hint: "Set istio.address: 10.96.0.11",
          object: { kind: "Service", namespace: "shop", name: "greeter", file: "world.yaml", line: 8 },
        },
        { code: "other_clients", severity: "note", message: "callers would meet HTTP" },
        { code: "other_clients", severity: "note", message: "others as well" },
      ],
    },
    { service: "orders.shop", findings: [] },
  ],
  counts: { error: 1, warning: 0, note: 2 },
  objects: { Service: 2, Namespace: 1 },
  unknown: ["Pod", "Secret"],
};

const TEXT = `greeter.shop
  error: istio.address is 10.96.0.10, and the address of Service shop/greeter is 10.96.0.11 [address]
    world.yaml:8
    Set istio.address: 10.96.0.11
  note: callers would meet HTTP [other_clients]
  note: others as well [other_clients]

greeter.shop, orders.shop: 1 error, 2 notes, in world.yaml: 3 objects (Namespace 1, Service 2)
Not known there, so that nothing is said of it: Pod, Secret.
`;

it("has what was found, and in what", () => {
  expect(reportText(report, "world.yaml", false)).toBe(TEXT);
});

it("is the same in colours", () => {
  const coloured = reportText(report, "world.yaml", true);
  expect(coloured).not.toBe(TEXT);
  expect(stripVTControlCharacters(coloured)).toBe(TEXT);
});

it("says what was looked at where nothing was found", () => {
  const services = [{ service: "orders.shop", findings: [] }];
  const counts = { error: 0, warning: 0, note: 0 };
  expect(reportText({ services, counts, objects: { Service: 1 }, unknown: [] }, "cluster kind", false)).toBe(
    "orders.shop: nothing found, in cluster kind: 1 object (Service 1)\n",
  );
});
