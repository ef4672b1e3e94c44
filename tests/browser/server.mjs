/** A real development server, and native clients beside it. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

/** A bound of a hang, not a measurement. */
const PATIENCE_MS = 60_000;

const bin = (name) => path.join(process.env.QUOTH_BIN_DIR ?? new URL("../../target/release", import.meta.url).pathname, name);

export class Server {
  #dir = mkdtempSync(path.join(tmpdir(), "quoth-browser-"));
  #child;
  #natives = new Set();
  /** Whether it was ended as by a crash, ever. */
  crashed = false;
  /** `host:port` */
  address;

  static async start() {
    const server = new Server();
    await server.#serve("127.0.0.1:0");
    return server;
  }

  get url() {
    return `http://${this.address}/`;
  }

  get #clientFile() {
    return path.join(this.#dir, "data", "client.json");
  }

  /** A link that signs a user in, as the banner has it. */
  link(user, conversation = "general") {
    const token = JSON.parse(readFileSync(this.#clientFile, "utf8")).tokens[user];
    return `${this.url}#token=${token}&conversation=${conversation}`;
  }

  async #serve(listen) {
    const data = path.join(this.#dir, "data");
    const env = { ...process.env, XDG_RUNTIME_DIR: path.join(this.#dir, "run") };
    const child = spawn(bin("quoth-server"), ["--data-dir", data, "--listen", listen], { env, stdio: ["ignore", "pipe", "pipe"] });
    let log = "";
    child.stderr.on("data", (chunk) => (log = (log + chunk).slice(-4_000)));
    this.#child = child;
    for await (const line of createInterface({ input: child.stdout })) {
      this.address ??= /^\s*address\s+(\S+)/.exec(line)?.[1];
      if (line.trimEnd().endsWith("chat general --user bob")) {
        child.stdout.resume();
        return;
      }
    }
    throw new Error(`the server has not begun to serve: ${log}`);
  }

  /** Ends it as a crash does. */
  async kill() {
    this.crashed = true;
    await ended(this.#child, "SIGKILL");
  }

  /** Starts it again on the same data and port. */
  async restart() {
    await this.#serve(this.address);
  }

  /** Stops and continues the whole process. */
  signal(name) {
    this.#child.kill(name);
  }

  /** A native client that follows a conversation: `lines` are what it has printed. */
  tail(user, conversation = "general") {
    const child = this.#quoth(["tail", "--from", "1", "--json", conversation, "--user", user]);
    const events = [];
    createInterface({ input: child.stdout }).on("line", (line) => events.push(JSON.parse(line)));
    return { events };
  }

  /** Sends messages natively; gives when all are acked. */
  async send(user, texts, conversation = "general") {
    const child = this.#quoth(["send", conversation, "--user", user]);
    child.stdin.end(texts.map((text) => `${text}\n`).join(""));
    const code = await exit(child);
    if (code !== 0) throw new Error(`quoth send ended with ${code}`);
  }

  /** Runs a native client to its end; gives what it has printed. */
  async run(user, ...args) {
    const child = this.#quoth([...args, "--user", user]);
    let printed = "";
    child.stdout.on("data", (chunk) => (printed += chunk));
    child.stdin.end();
    const code = await new Promise((resolve) => child.once("close", resolve));
    if (code !== 0) throw new Error(`quoth ${args.join(" ")} ended with ${code}`);
    return printed.trimEnd();
  }

  #quoth(args) {
    const child = spawn(bin("quoth"), [...args, "--client-file", this.#clientFile], { stdio: ["pipe", "pipe", "inherit"] });
    this.#natives.add(child);
    child.on("exit", () => this.#natives.delete(child));
    return child;
  }

  async stop() {
    await Promise.all([...this.#natives].map((child) => ended(child, "SIGKILL")));
    await ended(this.#child, "SIGKILL");
    rmSync(this.#dir, { recursive: true });
  }
}

function exit(child) {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once("exit", resolve));
}

async function ended(child, signal) {
  child.kill(signal);
  await exit(child);
}

/** Waits until something holds, and says what was seen last when it never does. */
export async function until(what, look, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${patienceMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Waits until what is seen is what is expected, and shows how they differ when it never is. */
export async function settles(what, look, expected) {
  let seen;
  const same = async () => isDeepStrictEqual((seen = await look()), expected);
  await until(what, same).catch((error) => {
    assert.deepEqual(seen, expected);
    throw error;
  });
}
