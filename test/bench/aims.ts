import type { Decoding } from "./decode.js";
import { difference, type IdleMemory, paired, perConnection, type Row, ratio } from "./measure.js";
import { figure, times } from "./report.js";
import { bodies, busiest, pipelining } from "./scenarios.js";
import { median } from "./stats.js";

export interface Aim {
  readonly name: string;
  readonly aim: string;
  readonly measured: string;
  readonly met: boolean;
}

/** How much more two ratios of one run may differ before they count as different. */
const tolerance = 1.1;

/** The aims that what was measured is enough to judge. */
export function aims(
  rows: readonly Row[],
  idleMemory: readonly IdleMemory[],
  decoded: readonly Decoding[],
  mostConnections: number,
): Aim[] {
  return [
    ...rows.filter(among(pipelining)).flatMap(observing),
    ...bridging(rows, mostConnections),
    ...idleMemory.map((one) => {
      const bytes = perConnection(one);
      const name = `guest memory of an idle connection, ${one.variant}`;
      return { name, aim: "<= 1,024 B", measured: `${Math.round(bytes)} B`, met: bytes <= 1024 };
    }),
    ...decoded.flatMap(({ name, aim, nanoseconds }) => {
      const ns = median(nanoseconds);
      const measured = `${figure(ns)} ns`;
      return aim === undefined ? [] : [{ name: `decoding ${name}`, aim: `<= ${aim} ns`, measured, met: ns <= aim }];
    }),
  ];
}

function among(scenarios: readonly { name: string }[]): (row: Row) => boolean {
  return (row) => scenarios.some(({ name }) => name === row.name);
}

function atMost(name: string, most: number, measured: number): Aim {
  return { name, aim: `<= ${times(most)}`, measured: times(measured), met: measured <= most };
}

function atLeast(name: string, least: number, measured: number): Aim {
  return { name, aim: `>= ${least}x`, measured: times(measured), met: measured >= least };
}

function observing(row: Row): Aim[] {
  if (row.inFlight === 1) {
    return [atMost(`observe against tcp_proxy, ${row.name}`, 1.15, paired(row, "observe", "tcp_proxy", ratio))];
  }
  const more = paired(row, "observe", "tcp_proxy", difference);
  return [
    {
      name: `observe above tcp_proxy, ${row.name}`,
      aim: "<= 0.30 us",
      measured: `${figure(more)} us`,
      met: more <= 0.3,
    },
    atLeast(`dubbo_proxy against observe, ${row.name}`, 8, paired(row, "dubbo_proxy", "observe", ratio)),
    atLeast(`thrift_proxy against observe, ${row.name}`, 5, paired(row, "thrift_proxy", "observe, thrift", ratio)),
  ];
}

/** Against plain HTTP/2, which has to pass the same connection manager; neither long bodies nor crowds may change that. */
function bridging(rows: readonly Row[], mostConnections: number): Aim[] {
  const against = (row: Row) => paired(row, "bridge", "HTTP/2", ratio);
  const name = (row: Row) => `bridge against HTTP/2, ${row.name}`;
  const reference = rows.find(among([busiest]));
  if (!reference) return [];
  const extremes = rows.filter((row) => row.payload === bodies.at(-1)?.payload || row.connections === mostConnections);
  return [
    atMost(name(reference), 1.15, against(reference)),
    ...extremes.map((row) => atMost(name(row), tolerance * against(reference), against(row))),
  ];
}
