import type { Place } from "./world.js";

/** `error`: it will not work. `warning`: it may not. `note`: good to know. */
export const SEVERITIES = ["error", "warning", "note"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** One thing that would not work in the mesh, as data. */
export interface Finding {
  /** Stable, for scripts: `no_service`, `port_protocol` ... */
  code: string;
  severity: Severity;
  /** What is wrong, a sentence without its full stop. */
  message: string;
  /** What to do about it, a sentence. */
  hint?: string;
  /** Where it is to be mended, as far as one object is. */
  object?: Place;
}

type Report = (code: string, message: string, hint?: string, object?: Place) => Finding;

const of =
  (severity: Severity): Report =>
  (code, message, hint, object) => ({
    code,
    severity,
    message,
    ...(hint !== undefined && { hint }),
    ...(object && { object }),
  });

export const error = of("error");
export const warning = of("warning");
export const note = of("note");
