/** A protocol that the module speaks, as it describes itself. */
export interface Protocol {
  name: string;
  /** What routes can match besides service and method; `*` stands for keys that only the frames know. */
  keys: readonly { name: string }[];
  /** Default: false. */
  heartbeats?: boolean;
}

/** Answers what is wrong with a regular expression, or undefined. */
export type RegexCheck = (regex: string) => string | undefined;
