// Kubernetes' API server for custom resources, without a cluster: etcd, and the part of Kubernetes that serves what custom
// resource definitions define, with Istio's. Nothing acts on what is stored in it.
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { parseAllDocuments, stringify } from "yaml";
import { freePort } from "../../peers/java.js";
import { Daemon, type DaemonOptions } from "./daemon.js";
import { istioFile, program } from "./programs.js";

const exec = promisify(execFile);
const START_MS = 30_000;
const HOST = "127.0.0.1";

/** Who signs a certificate: the authority that the API server knows, or a stranger. */
type Authority = "lab" | "stranger";

interface Definition {
  metadata: { name: string };
  spec: { group: string; names: { plural: string }; versions: { name: string }[] };
}

export interface KubeconfigOptions {
  /** Of the client's certificate; only `O=system:masters` may do something: what others may is decided by the rest of Kubernetes. */
  subject?: string;
  signedBy?: Authority;
  /** Whose signature the client expects on the server's certificate. */
  trusts?: Authority;
  /** Where the server is thought to be. */
  port?: number;
}

export class ApiServer {
  private readonly daemons: Daemon[] = [];
  private kubeconfigs = 0;

  private constructor(
    private readonly folder: string,
    readonly port: number,
  ) {}

  /** Starts one with nothing in it. */
  static async start(): Promise<ApiServer> {
    const server = new ApiServer(await mkdtemp(join(tmpdir(), "meltemi-apiserver-")), await freePort());
    try {
      await server.run();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    for (const daemon of this.daemons.toReversed()) await daemon.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Writes a kubeconfig with the contexts `lab` (the current one) and `elsewhere`, and answers its path. */
  async kubeconfig(options: KubeconfigOptions = {}): Promise<string> {
    const { subject = "/O=system:masters/CN=admin", signedBy = "lab", trusts = "lab", port = this.port } = options;
    const name = `client-${++this.kubeconfigs}`;
    await this.certificate(name, subject, signedBy);
    const data = async (file: string) => (await readFile(this.file(file))).toString("base64");
    const cluster = { server: `https://${HOST}:${port}`, "certificate-authority-data": await data(`${trusts}.crt`) };
    const user = {
      "client-certificate-data": await data(`${name}.crt`),
      "client-key-data": await data(`${name}.key`),
    };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "lab", cluster }],
      users: [{ name, user }],
      contexts: ["lab", "elsewhere"].map((context) => ({ name: context, context: { cluster: "lab", user: name } })),
      "current-context": "lab",
    };
    await writeFile(this.file(`${name}.yaml`), stringify(config));
    return this.file(`${name}.yaml`);
  }

  /** Defines Istio's kinds, as its installation does. */
  async installIstio(): Promise<void> {
    const documents = parseAllDocuments(await readFile(istioFile("crds.yaml"), "utf8"));
    const definitions = documents
      .map((document) => document.toJS() as Definition | null)
      .filter((each) => each !== null);
    for (const definition of definitions)
      await this.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
    for (const { spec } of definitions)
      for (const { name: version } of spec.versions)
        await until(`${spec.names.plural} served`, async () => {
          const found = await this.ask("GET", `/apis/${spec.group}/${version}/${spec.names.plural}`).catch(
            () => undefined,
          );
          return found !== undefined;
        });
  }

  /**
   * One request of an administrator, past the client that is tested. Throws with the answer where it is no success.
   * @param type of the body
   */
  async ask(method: string, path: string, body?: unknown, type = "application/json"): Promise<unknown> {
    const [ca, cert, key] = await Promise.all(
      ["lab.crt", "admin.crt", "admin.key"].map((name) => readFile(this.file(name))),
    );
    const asked = request({
      host: HOST,
      port: this.port,
      method,
      path,
      ca,
      cert,
      key,
      headers: { "content-type": type },
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    const [answer] = await once(asked, "response");
    const said = await text(answer);
    if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${said}`);
    return JSON.parse(said);
  }

  private async run(): Promise<void> {
    for (const authority of ["lab", "stranger"] satisfies Authority[])
      await exec("openssl", [
        ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", `/CN=${authority}`],
        ...["-keyout", this.file(`${authority}.key`), "-out", this.file(`${authority}.crt`)],
      ]);
    await this.certificate("server", "/CN=apiserver", "lab", `subjectAltName=IP:${HOST}`);
    await this.certificate("admin", "/O=system:masters/CN=admin", "lab");
    const itself = await this.kubeconfig();

    const storage = `http://${HOST}:${await freePort()}`;
    const peers = `http://${HOST}:${await freePort()}`;
    const etcd = [
      `--data-dir=${this.file("etcd")}`,
      ...["listen-client-urls", "advertise-client-urls"].map((flag) => `--${flag}=${storage}`),
      ...["listen-peer-urls", "initial-advertise-peer-urls"].map((flag) => `--${flag}=${peers}`),
      `--initial-cluster=default=${peers}`,
    ];
    await this.daemon("etcd", etcd, `${storage}/health`);
    const flags = [
      `--etcd-servers=${storage}`,
      `--bind-address=${HOST}`,
      `--secure-port=${this.port}`,
      `--tls-cert-file=${this.file("server.crt")}`,
      `--tls-private-key-file=${this.file("server.key")}`,
      `--client-ca-file=${this.file("lab.crt")}`,
      "--authentication-skip-lookup",
      ...["authentication-kubeconfig", "authorization-kubeconfig", "kubeconfig"].map((flag) => `--${flag}=${itself}`),
      "--enable-priority-and-fairness=false",
      // What these look at is served by the rest of Kubernetes.
      "--disable-admission-plugins=NamespaceLifecycle,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ValidatingAdmissionPolicy,MutatingAdmissionPolicy",
    ];
    // It answers over TLS only, which needs a certificate; that it listens is in its log.
    await this.daemon(program("apiextensions-apiserver"), flags, (log) =>
      log.some((line) => line.includes("Serving securely on")) ? `${storage}/health` : undefined,
    );
  }

  private async daemon(path: string, args: string[], readyUrl: DaemonOptions["readyUrl"]): Promise<void> {
    const env = { PATH: process.env.PATH };
    this.daemons.push(await Daemon.start(path, { args, env, cwd: this.folder, readyUrl }));
  }

  private async certificate(name: string, subject: string, authority: Authority, extension?: string): Promise<void> {
    const request = this.file(`${name}.csr`);
    const key = this.file(`${name}.key`);
    const extensions = this.file(`${name}.ext`);
    await writeFile(extensions, extension ?? "basicConstraints=CA:FALSE");
    await exec("openssl", ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", subject]);
    await exec("openssl", [
      ...["x509", "-req", "-in", request, "-out", this.file(`${name}.crt`), "-days", "2", "-extfile", extensions],
      ...["-CA", this.file(`${authority}.crt`), "-CAkey", this.file(`${authority}.key`), "-CAcreateserial"],
    ]);
  }

  private file(name: string): string {
    return join(this.folder, name);
  }
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + START_MS; !(await condition()); await sleep(50))
    if (Date.now() > deadline) throw new Error(`not ${what} within ${START_MS} ms`);
}
