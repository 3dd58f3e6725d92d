import { z } from "zod";
import { keys } from "./fields.js";
import { oneOf } from "./words.js";

/** Exactly one key is set. */
export interface Matcher {
  exact?: string;
  prefix?: string;
  suffix?: string;
  regex?: string;
  oneOf?: string[];
  range?: { min?: number; max?: number };
  present?: boolean;
  not?: Matcher;
}

/** What a request must have; all must hold. Keys are `service`, `method` and the protocol's metadata keys. */
export type Match = Record<string, Matcher>;

const matcherKeys = {
  exact: z.string().optional().describe("The value is this text."),
  prefix: z.string().optional().describe("The value starts with this text."),
  suffix: z.string().optional().describe("The value ends with this text."),
  regex: z
    .string()
    .optional()
    .describe("The whole value matches this regular expression: no anchors, look-around or back references."),
  oneOf: z.array(z.string()).min(1).optional().describe("The value is one of these texts."),
  range: keys({ min: z.int().optional().describe("The least."), max: z.int().optional().describe("The greatest.") })
    .refine(({ min, max }) => min !== undefined || max !== undefined, {
      error: "min, max or both",
      params: { wrong: "there is no bound" },
    })
    .refine(({ min, max }) => min === undefined || max === undefined || min <= max, {
      error: "the smaller number as min",
      params: { wrong: "min is above max" },
    })
    .meta({ minProperties: 1 })
    .optional()
    .describe("The value is a whole number between min and max, both included; one of them may be missing."),
  present: z.boolean().optional().describe("Whether the frame has the key at all."),
  get not(): z.ZodOptional<z.ZodType<Matcher, unknown>> {
    return matcher.optional().describe("The other matcher does not match.");
  },
};

const matcherObject = keys(matcherKeys)
  .refine((value) => Object.keys(value).length === 1, {
    error: oneOf(Object.keys(matcherKeys)),
    params: { wrong: "a matcher has exactly one key" },
    // An unknown key has been named already.
    when: ({ issues }) => issues.length === 0,
  })
  .meta({ id: "matcherObject", minProperties: 1, maxProperties: 1 });

const matcher: z.ZodType<Matcher, unknown> = z
  .union([
    z
      .string()
      .transform((exact) => ({ exact }))
      .describe("Short for { exact: text }."),
    matcherObject as z.ZodType<Matcher, unknown>,
  ])
  .meta({ id: "matcher" });

export const match = z.record(z.string(), matcher);
