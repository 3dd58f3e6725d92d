import { isIP, isIPv4 } from "node:net";

/** A TCP address. IPv6 hosts stand without brackets. Port 0, where it is allowed, means any free one. */
export interface Address {
  host: string;
  port: number;
}

/** Answers what is wrong instead of throwing, so that one place decides how mistakes are shown. */
export type Parsed<T> = { value: T } | { wrong: string };

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;

/** Reads `host:port`, `[v6]:port` or a bare port, which means 127.0.0.1. */
export function parseAddress(text: string | number): Parsed<Address> {
  const whole = String(text);
  const bare = /^\d+$/.test(whole);
  const match = bare ? null : /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(whole);
  if (!bare && !match) return { wrong: isIP(whole) || HOST_NAME.test(whole) ? "the port is missing" : "not host:port" };
  const port = Number(bare ? whole : match?.[3]);
  if (port > 65535) return { wrong: `there is no port ${port}` };
  if (bare) return { value: { host: "127.0.0.1", port } };
  const v6 = match?.[1];
  const host = v6 ?? match?.[2] ?? "";
  if (v6 !== undefined ? isIP(host) === 6 : isIPv4(host)) return { value: { host, port } };
  // What looks like an IPv4 address but is none must not be taken for a name that DNS would be asked for.
  if (v6 !== undefined || /^[\d.]+$/.test(host) || !HOST_NAME.test(host)) return { wrong: `"${host}" is not a host` };
  return { value: { host, port } };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

const SIZES: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const DURATIONS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Reads `64MiB`, `64KiB`, `1GiB` or a number of bytes. */
export function parseSize(text: string | number): Parsed<number> {
  return withUnit(text, SIZES, "B");
}

/** Reads `500ms`, `10s`, `5m` or `1h` into milliseconds. */
export function parseDuration(text: string): Parsed<number> {
  return withUnit(text, DURATIONS);
}

function withUnit(text: string | number, units: Record<string, number>, none?: string): Parsed<number> {
  const match = /^(\d+)\s*([A-Za-z]*)$/.exec(String(text));
  if (!match) return { wrong: "not a whole number with a unit" };
  const unit = match[2] || none;
  if (unit === undefined) return { wrong: "the unit is missing" };
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  if (factor === undefined) return { wrong: `there is no unit "${unit}" here` };
  return { value: Number(match[1]) * factor };
}
