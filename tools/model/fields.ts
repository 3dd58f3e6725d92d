import { isIP } from "node:net";
import { z } from "zod";
import { type Address, type Parsed, parseAddress, parseDuration, parseSize } from "./units.js";
import { oneOf } from "./words.js";

/*
 * What the schema of meltemi.yaml is put together from. A message finishes the sentence "expected ...": the loader says
 * what it found and where.
 */

/** An object that takes no other keys; the list of those it takes travels in the message of the issue. */
export function keys<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? oneOf(Object.keys(shape)) : undefined),
  });
}

/** Turns a parser of tools/model/units.ts into a transformation; `check` answers what else is wrong. */
export function reading<In, Out>(
  parse: (input: In) => Parsed<Out>,
  expected: string,
  check: (value: Out) => string | undefined = () => undefined,
) {
  return (input: In, context: z.RefinementCtx<In>): Out => {
    const parsed = parse(input);
    const wrong = "wrong" in parsed ? parsed.wrong : check(parsed.value);
    if (wrong === undefined && "value" in parsed) return parsed.value;
    context.issues.push({ code: "custom", message: expected, input, params: { wrong } });
    return z.NEVER;
  };
}

/** `pattern` is for editors; the transformation behind it says in words what is wrong. */
const textOrNumber = (pattern: RegExp) => z.union([z.string().meta({ pattern: pattern.source }), z.int().min(0)]);

const hostAndPort = textOrNumber(/^(.+:)?\d{1,5}$/);

export const listenAddress = hostAndPort.transform(
  reading(parseAddress, 'an IP address and a port such as "127.0.0.1:20880"', ({ host }: Address) =>
    isIP(host) ? undefined : "Envoy listens on an IP address, not on a name",
  ),
);

/** The address of another program. */
export const endpoint = hostAndPort.transform(
  reading(parseAddress, 'host:port such as "127.0.0.1:20881"', ({ port }: Address) =>
    port === 0 ? "nobody can connect to port 0" : undefined,
  ),
);

export const endpoints = z.array(endpoint).min(1);

const between = (min: number, max: number, unit: string) => (value: number) =>
  value < min ? `less than ${min} ${unit}` : value > max ? `more than ${max} ${unit}` : undefined;

export const size = (min: number, max: number) =>
  textOrNumber(/^\d+ *(B|KiB|MiB|GiB)?$/).transform(
    reading(parseSize, 'a size such as "64KiB" or "16MiB"', between(min, max, "bytes")),
  );

/** In milliseconds, up to an hour. */
export const duration = (min: number) =>
  z
    .string('a duration such as "10s" or "500ms"')
    .meta({ pattern: "^\\d+ *(ms|s|m|h)$" })
    .transform(reading(parseDuration, 'a duration such as "10s" or "500ms"', between(min, 3_600_000, "ms")));

/** Of 100; fractions are allowed. */
export const percentage = z.number().min(0).max(100);

/** Names become part of Envoy's cluster names, where `|` divides, and of metric labels. */
export const name = z
  .string()
  .max(128)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "letters, digits, dots, dashes and underscores");
