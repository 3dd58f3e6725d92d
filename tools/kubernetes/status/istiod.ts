/** Where istiod serves its debug pages, to whoever asks from its own pod. */
export const ISTIOD_PORT = 15014;
export const SYNC_PAGE = "/debug/syncz";

/** Whether a proxy has taken what istiod has sent. */
export type Sync =
  | { state: "synced" }
  /** It has not answered yet. */
  | { state: "pending" }
  /** It has answered that it does not take it. Older versions of Istio do not tell that from `pending`. */
  | { state: "rejected"; errors: Rejection[] };

/** Of all listeners, or of all extensions' modules and configurations ... */
export interface Rejection {
  /** The last word of the type's URL: `Listener`, `TypedExtensionConfig` ... */
  type: string;
  details: string;
}

const TYPES = ["cluster", "listener", "route", "endpoint", "extensionconfig"] as const;

type Entry = {
  proxy: string;
  /** By the type's URL. */
  resources?: Record<string, { sent?: string; acked?: string; lastError?: string }>;
} & { [K in `${(typeof TYPES)[number]}_${"sent" | "acked"}`]?: string };

/** Reads SYNC_PAGE. Keys are `POD.NAMESPACE`. */
export function readSyncs(text: string): Map<string, Sync> {
  return new Map((JSON.parse(text) as Entry[]).map((entry) => [entry.proxy, syncOf(entry)]));
}

function syncOf({ resources = {}, ...entry }: Entry): Sync {
  if (TYPES.every((type) => entry[`${type}_sent`] === entry[`${type}_acked`])) return { state: "synced" };
  const errors = Object.entries(resources).flatMap(([url, { sent, acked, lastError }]) =>
    lastError && sent !== acked ? [{ type: url.slice(url.lastIndexOf(".") + 1), details: lastError.trim() }] : [],
  );
  return errors.length > 0 ? { state: "rejected", errors } : { state: "pending" };
}
