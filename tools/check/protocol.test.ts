import { expect, it } from "vitest";
import { protocolOf, type ServicePort } from "./protocol.js";

it.each<[ServicePort, string]>([
  [{ name: "tcp" }, "TCP"],
  [{ name: "tcp-dubbo" }, "TCP"],
  [{ name: "TCP-dubbo" }, "TCP"],
  [{ name: "redis-cache" }, "TCP"],
  [{ name: "tcpdubbo" }, "unknown"],
  [{ name: "dubbo" }, "unknown"],
  [{}, "unknown"],
  [{ port: 3306 }, "TCP"],
  [{ name: "http" }, "HTTP"],
  [{ name: "http-pingpong" }, "HTTP"],
  [{ name: "http2-dubbo" }, "HTTP2"],
  [{ name: "grpc-dubbo" }, "HTTP2"],
  [{ name: "grpc-web-ui" }, "HTTP2"],
  [{ name: "https-admin" }, "TLS"],
  [{ name: "h2c" }, "unknown"],
  [{ name: "constructor" }, "unknown"],
  [{ appProtocol: "constructor" }, "unknown"],
  [{ name: "tcp-dubbo", appProtocol: "http2" }, "HTTP2"],
  [{ name: "tcp-dubbo", appProtocol: "kubernetes.io/h2c" }, "HTTP2"],
  [{ name: "http-dubbo", appProtocol: "tcp" }, "TCP"],
  [{ name: "http2-dubbo", appProtocol: "dubbo" }, "unknown"],
  [{ name: "tcp-dns", protocol: "UDP" }, "UDP"],
])("%j is %s to Istio", (port, protocol) => {
  expect(protocolOf(port)).toBe(protocol);
});
