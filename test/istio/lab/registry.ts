import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packImage } from "../../../tools/oci/image.js";
import { parseReference } from "../../../tools/oci/reference.js";
import { pushImage } from "../../../tools/oci/registry.js";
import { defaultModule } from "../../../tools/paths.js";
import { Daemon } from "./daemon.js";

/** Who may use a registry that wants to know who asks. */
export const ACCOUNT = { username: "meltemi", password: "etesian" };
/** The same as `htpasswd -B` writes it; the registry takes no other hash than bcrypt. */
const HTPASSWD = "meltemi:$2b$05$meltemimeltemimeltemiuh3SPPm1vr21m3VW68GvSCG3KkpeCDIu";

/** Istio's agent takes any realm for the URL of a token server, and refuses what is none or leads into a private network. */
const REALM = "https://registry.example/";

export interface RegistryOptions {
  /** Whether it answers only to ACCOUNT. Default false. */
  auth?: boolean;
  /** The address to listen at. Default 127.0.0.1. */
  host?: string;
}

/** A request that a registry has answered. */
export interface Served {
  method: string;
  path: string;
  status: number;
}

/** A registry of images (Debian's docker-registry), without TLS, which keeps what it was given while it is down. */
export class Registry {
  private daemon: Daemon | undefined;
  private port = 0;
  private readonly before: string[] = [];

  private constructor(
    private readonly folder: string,
    private readonly auth: boolean,
    private readonly host: string,
  ) {}

  static async start({ auth = false, host = "127.0.0.1" }: RegistryOptions = {}): Promise<Registry> {
    const registry = new Registry(await mkdtemp(join(tmpdir(), "meltemi-registry-")), auth, host);
    try {
      await registry.up();
      return registry;
    } catch (error) {
      await registry.stop();
      throw error;
    }
  }

  /** host:port, the same for as long as this registry lasts. */
  get address(): string {
    return `${this.host}:${this.port}`;
  }

  /** What it was asked for since it started, whether or not it was down in between. */
  get served(): Served[] {
    return [...this.before, ...(this.daemon?.log ?? [])].flatMap((line) => {
      const [, method = "", path = "", status] = /"([A-Z]+) (\S+) HTTP\/[\d.]+" (\d+)/.exec(line) ?? [];
      return status === undefined ? [] : { method, path, status: Number(status) };
    });
  }

  async up(): Promise<void> {
    if (this.daemon) return;
    const config = join(this.folder, "config.yml");
    const users = join(this.folder, "htpasswd");
    const data = join(this.folder, "data");
    await mkdir(data, { recursive: true });
    await writeFile(users, `${HTPASSWD}\n`);
    // JSON is YAML.
    await writeFile(
      config,
      JSON.stringify({
        version: "0.1",
        storage: { filesystem: { rootdirectory: data } },
        // By the secret it knows again the uploads that began before it was down.
        http: { addr: this.address, secret: "meltemi" },
        ...(this.auth && { auth: { htpasswd: { realm: REALM, path: users } } }),
      }),
    );
    this.daemon = await Daemon.start("docker-registry", {
      args: ["serve", config],
      env: { PATH: process.env.PATH, HOME: this.folder },
      cwd: this.folder,
      readyUrl: (log) => {
        const port = log.map((line) => /listening on [\d.]+:(\d+)/.exec(line)?.[1]).find(Boolean);
        if (port !== undefined) this.port = Number(port);
        return port && `http://${this.address}/`;
      },
    });
  }

  /** Pushes the module and gives the URL that pins it; another `build` makes another image of the same module. */
  async push(build = "1"): Promise<string> {
    const image = await packImage(await readFile(defaultModule), "compat", { build });
    const credentials = { secret: this.auth ? ACCOUNT : undefined, from: "the test" };
    await pushImage(parseReference(`${this.address}/mesh/meltemi:${build}`), image, { credentials });
    return `oci://${this.address}/mesh/meltemi@${image.manifest.digest}`;
  }

  async down(): Promise<void> {
    await this.daemon?.stop();
    this.before.push(...(this.daemon?.log ?? []));
    this.daemon = undefined;
  }

  async stop(): Promise<void> {
    await this.down();
    await rm(this.folder, { recursive: true, force: true });
  }
}
