/** What of a configuration a version of Istio may lack; nothing is known yet of the types of its values. */
export interface Configured {
  mode?: unknown;
  trafficPolicy?: { retryBudget?: unknown } | undefined;
  istio: { kind?: unknown; failStrategy?: unknown };
}

/** A place in meltemi.yaml that needs a version of Istio, by its minor number. */
export interface Need {
  path: string[];
  what: string;
  first: number;
}

/** What the configuration needs that `minor` lacks. Istio's schema would drop some of it without a word. */
export function lacking({ mode, trafficPolicy, istio }: Configured, minor: number): Need[] {
  const needs: [boolean, Need][] = [
    [istio.kind === "TrafficExtension", { path: ["istio", "kind"], what: "kind TrafficExtension", first: 30 }],
    [
      istio.failStrategy === "FAIL_RELOAD",
      { path: ["istio", "failStrategy"], what: "failStrategy FAIL_RELOAD", first: 27 },
    ],
    [mode === "route", { path: ["mode"], what: "mode route", first: 29 }],
    [
      trafficPolicy?.retryBudget !== undefined,
      { path: ["trafficPolicy", "retryBudget"], what: "trafficPolicy.retryBudget", first: 27 },
    ],
  ];
  return needs.flatMap(([used, need]) => (used && minor < need.first ? [need] : []));
}
