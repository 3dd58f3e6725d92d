import type { IncomingMessage, Server } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";

/*
 * Port-forwarding as Kubernetes does it over a WebSocket: for each port a channel of data and one for what goes wrong, both
 * of which begin with the port's number.
 */

const PROTOCOL = "v4.channel.k8s.io";
const PATH = /^\/api\/v1\/namespaces\/(?<namespace>[^/]+)\/pods\/(?<pod>[^/]+)\/portforward$/;
const DATA = 0;
const ERROR = 1;

/** What clients of an API server reach in pods. */
export class PortForwards {
  /** Ports of this machine, by `NAMESPACE/POD:PORT`. */
  private readonly ports = new Map<string, number>();
  private readonly sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: (protocols) => protocols.has(PROTOCOL) && PROTOCOL,
  });
  /** Whether whoever asks may do so. */
  allowed = true;

  constructor(server: Server) {
    server.on("upgrade", (request, socket, head) => this.upgrade(request, socket, head));
  }

  /** What listens on `port` in a pod listens on `here` of 127.0.0.1. */
  set(pod: { namespace: string; name: string; port: number }, here: number): void {
    this.ports.set(`${pod.namespace}/${pod.name}:${pod.port}`, here);
  }

  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://localhost");
    const { namespace, pod } = PATH.exec(pathname)?.groups ?? {};
    const status = pod === undefined ? "404 Not Found" : this.allowed ? undefined : "403 Forbidden";
    if (status) {
      socket.end(`HTTP/1.1 ${status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    const port = Number(searchParams.get("ports"));
    const here = this.ports.get(`${namespace}/${pod}:${port}`);
    this.sockets.handleUpgrade(request, socket, head, (opened) => forward(opened, port, here));
  }
}

function forward(socket: WebSocket, port: number, here: number | undefined): void {
  const send = (channel: number, data: Buffer) => socket.send(Buffer.concat([Buffer.of(channel), data]));
  const number = Buffer.alloc(2);
  number.writeUInt16LE(port);
  for (const channel of [DATA, ERROR]) send(channel, number);
  const refuse = (why: string) => {
    send(ERROR, Buffer.from(`error forwarding port ${port}: ${why}`));
    socket.close();
  };
  if (here === undefined) {
    refuse("connection refused");
    return;
  }
  const far = connect(here, "127.0.0.1");
  far.on("data", (data) => send(DATA, data));
  far.on("error", ({ message }) => refuse(message));
  far.on("close", () => socket.close());
  socket.on("message", (data) => {
    if (data[0] === DATA) far.write(data.subarray(1));
  });
  socket.on("close", () => far.destroy());
}
