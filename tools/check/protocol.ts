/** What Istio takes a port for. */
export type Protocol = "HTTP" | "HTTP2" | "TCP" | "TLS" | "UDP" | "unknown";

export interface ServicePort {
  name?: string;
  port?: number;
  targetPort?: number | string;
  /** Kubernetes' word: TCP (default), UDP or SCTP. */
  protocol?: string;
  appProtocol?: string;
}

const WORDS = new Map<string, Protocol>(
  Object.entries({
    grpc: "HTTP2",
    http: "HTTP",
    http_proxy: "HTTP",
    http2: "HTTP2",
    https: "TLS",
    mongo: "TCP",
    mysql: "TCP",
    redis: "TCP",
    tcp: "TCP",
    tls: "TLS",
    udp: "UDP",
  }),
);
/** Names that Kubernetes has given a meaning, in appProtocol only. */
const STANDARD = new Map<string, Protocol>(
  Object.entries({
    "kubernetes.io/h2c": "HTTP2",
    "kubernetes.io/ws": "HTTP",
    "kubernetes.io/wss": "TLS",
  }),
);
/** Ports whose servers speak first, so that Istio does not guess there: SMTP, DNS, MySQL, MongoDB. */
const NEVER_GUESSED = [25, 53, 3306, 27017];

/** The word counts up to its first dash, in any case; appProtocol comes before the name. Unknown: Istio guesses. */
export function protocolOf({ name = "", port, protocol, appProtocol }: ServicePort): Protocol {
  if (protocol === "UDP") return "UDP";
  const standard = STANDARD.get(appProtocol ?? "");
  if (standard) return standard;
  const text = String(appProtocol ?? name).toLowerCase();
  // The one word with a dash in it.
  if (text.startsWith("grpc-web")) return "HTTP2";
  const word = text.split("-")[0] as string;
  return WORDS.get(word) ?? (NEVER_GUESSED.includes(port ?? 0) ? "TCP" : "unknown");
}
