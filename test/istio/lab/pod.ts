import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { ListenOptions, NetConnectOpts } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../../../tools/paths.js";
import type { Answer, Wish } from "./inside.js";
import { Line } from "./line.js";
import { program } from "./programs.js";

/** The node's address, at which pods reach what runs in the lab. */
export const NODE = "10.9.0.1";
/** The user that a sidecar runs as, by which its own connections are told from those of the pod's programs. */
export const PROXY_USER = "1337";

const HOST = "127.0.0.1";
const INSIDE = join(packageRoot, "dist", "test", "istio", "lab", "inside.js");
const exec = promisify(execFile);

interface Address {
  host: string;
  port: number;
}

/**
 * The network of a pod: an address, a loopback and iptables of its own. Pods reach each other and the node; what connects to
 * a Service without being diverted reaches nobody.
 */
export class PodNetwork {
  private readonly waiting = new Map<number, (answer: Answer) => void>();
  private readonly lines: Line[] = [];
  private wishes = 0;
  private sockets = 0;

  private constructor(
    private readonly folder: string,
    private readonly process: ChildProcess,
    private readonly device: string,
  ) {
    process.on("message", (answer: Answer) => {
      this.waiting.get(answer.id)?.(answer);
      this.waiting.delete(answer.id);
    });
  }

  static async start(ip: string): Promise<PodNetwork> {
    const folder = await mkdtemp(join(tmpdir(), "meltemi-pod-"));
    const child = spawn("unshare", ["--net", process.execPath, INSIDE], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const network = new PodNetwork(folder, child, `pod${ip.split(".").slice(2).join(".")}`);
    try {
      const gone = once(child, "exit").then(([code]) => {
        throw new Error(`the process of the pod's network ended with ${code}`);
      });
      // Later on it is stop() that ends it, and nobody waits here any more.
      gone.catch(() => {});
      await Promise.race([once(child, "message"), gone]);
      await network.connect(ip);
      return network;
    } catch (error) {
      await network.stop();
      throw error;
    }
  }

  /** The words before a command that has it run in this network. */
  get enter(): string[] {
    return ["nsenter", `--net=/proc/${this.process.pid}/ns/net`];
  }

  /** Has all connections from and to the pod's programs diverted to its sidecar, as Istio's init container does. */
  async intercept(): Promise<void> {
    const rules = ["-p", "15001", "-z", "15006", "-m", "REDIRECT", "-i", "*", "-b", "*", "-d", "15090,15021,15020"];
    await this.run(program("pilot-agent"), "istio-iptables", "-u", PROXY_USER, ...rules);
  }

  /** A way into the pod: who connects to the answered address, connects from within the pod to this one. */
  async reach({ host, port }: Address): Promise<Address> {
    const path = this.socket();
    await this.ask({ from: { path }, to: { host, port } });
    const line = await Line.open({ host: HOST, port: 0 }, { path });
    this.lines.push(line);
    return { host: HOST, port: line.port };
  }

  /** Listens in the pod; who connects there is connected to a port of the lab's 127.0.0.1. Answers what ends that. */
  async listen({ host, port }: Address, to: number): Promise<() => Promise<void>> {
    const path = this.socket();
    const line = await Line.open({ path }, { host: HOST, port: to });
    this.lines.push(line);
    const id = await this.ask({ from: { host, port }, to: { path } });
    return async () => {
      await this.ask({ close: id });
      line.break();
    };
  }

  async stop(): Promise<void> {
    for (const line of this.lines) line.break();
    // With its last process the network goes as well, but only some time later. There is none where start() has failed.
    await exec("ip", ["link", "delete", this.device]).catch(() => {});
    if (this.process.exitCode === null && this.process.signalCode === null) {
      const ended = once(this.process, "exit");
      this.process.kill("SIGKILL");
      await ended;
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  /** By a cable to the lab's network, where all of 10.0.0.0/8 would otherwise be the lab's own. */
  private async connect(ip: string): Promise<void> {
    for (const command of [
      `link add ${this.device} type veth peer name eth0 netns ${this.process.pid}`,
      `link set ${this.device} up`,
      `route add ${ip}/32 dev ${this.device} table local src ${NODE}`,
    ])
      await exec("ip", command.split(" "));
    for (const command of [
      "link set lo up",
      `address add ${ip}/32 dev eth0`,
      "link set eth0 up",
      `route add ${NODE} dev eth0`,
      `route add default via ${NODE}`,
    ])
      await this.run("ip", ...command.split(" "));
  }

  private async run(...command: string[]): Promise<void> {
    const [enter = "", ...args] = [...this.enter, ...command];
    await exec(enter, args);
  }

  private socket(): string {
    return join(this.folder, `${++this.sockets}.sock`);
  }

  /** Answers the wish's number. */
  private async ask(wish: { from: ListenOptions; to: NetConnectOpts } | { close: number }): Promise<number> {
    const id = ++this.wishes;
    const answered = new Promise<Answer>((resolve) => this.waiting.set(id, resolve));
    this.process.send({ id, ...wish } satisfies Wish);
    const { error } = await answered;
    if (error !== undefined) throw new Error(error);
    return id;
  }
}
