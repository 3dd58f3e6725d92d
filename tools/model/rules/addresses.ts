import type { Finding } from "../issue.js";
import { ADMIN } from "../schema.js";
import { type Address, formatAddress, parseAddress } from "../units.js";
import { list, map, type Path, type Tree } from "./tree.js";

/** Addresses that cannot be used twice. */
export function addressFindings(root: Tree): Finding[] {
  const service = map(root.service);
  const bind = address(service.bind);
  if (!bind) return [];
  const shown = formatAddress(bind);
  const findings: Finding[] = [];
  const admin = address(root.admin ?? ADMIN);
  if (admin && formatAddress(admin) === shown) {
    const message = `service.bind and admin are both ${shown}`;
    findings.push({ code: "conflict", path: ["service", "bind"], message });
  }
  const places: [Path, unknown][] = [
    [["service", "endpoints"], service.endpoints],
    ...list(service.subsets).map((subset, i): [Path, unknown] => {
      return [["service", "subsets", i, "endpoints"], map(subset).endpoints];
    }),
  ];
  for (const [path, endpoints] of places) {
    list(endpoints).forEach((endpoint, i) => {
      const to = address(endpoint);
      if (!to || to.port !== bind.port || !reaches(to.host, bind.host)) return;
      const message = `${formatAddress(to)} is service.bind: connections would go round in a circle`;
      findings.push({ code: "conflict", path: [...path, i], message });
    });
  }
  return findings;
}

/** Whether a connection to `host` certainly comes to a listener on the IP address `bind`. */
function reaches(host: string, bind: string): boolean {
  const local = host === "localhost" ? "127.0.0.1" : host;
  const anywhere = bind === "0.0.0.0" || bind === "::";
  return local === bind || (anywhere && (local === "::1" || local.startsWith("127.")));
}

function address(value: unknown): Address | undefined {
  if (typeof value !== "string" && typeof value !== "number") return undefined;
  const parsed = parseAddress(value);
  return "value" in parsed && parsed.value.port !== 0 ? parsed.value : undefined;
}
