/** Quoth's own server, in development mode: `QUOTH_BIN_DIR` is the folder of its binary. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { QUOTH_BIN_DIR } = process.env;

export const serverBinary = QUOTH_BIN_DIR === undefined ? undefined : join(QUOTH_BIN_DIR, "quoth-server");

export class RealServer {
  private readonly folder = mkdtempSync(join(tmpdir(), "quoth-web-"));
  private process: ChildProcess | undefined;

  private constructor(
    private readonly binary: string,
    readonly port: number,
  ) {}

  static async start(binary: string): Promise<RealServer> {
    const server = new RealServer(binary, await freePort());
    await server.run();
    return server;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  token(user: string, ...options: string[]): string {
    const args = ["token", "--user", user, "--data-dir", this.folder, ...options];
    return execFileSync(this.binary, args, { encoding: "utf8" }).trim();
  }

  /** `kill -9`, and a start on the same data. */
  async crash(): Promise<void> {
    await this.end("SIGKILL");
    await this.run();
  }

  async stop(): Promise<void> {
    await this.end("SIGTERM");
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Starts the process and waits until it answers. */
  private async run(): Promise<void> {
    const args = ["--listen", `127.0.0.1:${this.port}`, "--data-dir", this.folder];
    const child = spawn(this.binary, args, { stdio: "ignore" });
    this.process = child;
    while (!(await fetch(`http://127.0.0.1:${this.port}/.well-known/quoth`).then(() => true, () => false))) {
      if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { process } = this;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const ended = new Promise((resolve) => process.once("exit", resolve));
    process.kill(signal);
    await ended;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A TCP proxy that cuts connections: `cuts` is asked with every piece that comes from either side. */
export class CuttingProxy {
  accepted = 0;
  cuts: () => boolean = () => false;
  private readonly sockets = new Set<Socket>();

  private constructor(private readonly server: Server) {}

  static async start(to: number): Promise<CuttingProxy> {
    const server = createServer();
    const proxy = new CuttingProxy(server);
    server.on("connection", (near) => proxy.join(near, connect(to, "127.0.0.1")));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(near: Socket, far: Socket): void {
    this.accepted += 1;
    for (const [from, to] of [[near, far], [far, near]] as const) {
      this.sockets.add(from);
      from.on("data", (data) => (this.cuts() ? from.destroy() : to.write(data)));
      from.on("error", () => {});
      from.on("close", () => {
        this.sockets.delete(from);
        to.destroy();
      });
    }
  }
}
