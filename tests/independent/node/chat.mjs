// A chat client that is told what to do line by line: the commands and what it tells are those of ../chat.py.
//
//     node chat.mjs --server HOST:PORT --ca ca.pem --token JWT --conversation NAME

import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { Connection, textOf } from "./quoth.mjs";

const BACKOFF_STEP_MS = 500;
const BACKOFF_MAX_MS = 30_000;
const ROSTER = 2;

const { values: options } = parseArgs({
  options: {
    server: { type: "string" },
    ca: { type: "string" },
    token: { type: "string" },
    conversation: { type: "string" },
  },
});

/** One user's view of one conversation, over one connection after the other. */
class Chat {
  #ca = readFileSync(options.ca);
  #producer = randomInt(2 ** 47);
  #n = 0;
  #cursor = 0;
  #unacked = [];
  #attempt = 0;
  #retryAfter = 0;
  #leaving = false;
  #connection = null;
  #control = null;
  #stream = null;

  take(command) {
    if (command.send !== undefined) {
      const frame = { n: ++this.#n, body: command.send };
      this.#unacked.push(frame);
      this.#stream?.send("publish", frame);
    } else if (command.typing) {
      if (this.#stream) this.#control.send("typing", { conversation: options.conversation });
    } else if (command.seen !== undefined) {
      this.#stream?.send("seen", { seq: command.seen });
    } else if (command.leave) {
      this.#leaving = true;
      this.#leaveIfAllIsAcked();
    } else {
      throw new Error(`${JSON.stringify(command)} is no command`);
    }
  }

  connect() {
    const connection = new Connection(`wss://${options.server}/v1/ws`, this.#ca);
    this.#connection = connection;
    connection.on("open", () => this.#open(connection));
    connection.on("close", ({ code, reason }) => this.#lost(code, reason));
  }

  #open(connection) {
    const control = connection.lane();
    control.on("go_away", ({ code, retry_after_ms }) => {
      this.#retryAfter = retry_after_ms;
      tell({ go_away: { code } });
    });
    control.on("typing", ({ user }) => tell({ typing: user }));
    control.send("hello", {
      version: 1,
      features: ROSTER,
      token: options.token,
      device: "independent",
      generation: Date.now(),
      platform: "node",
      client: "quoth-independent-node/1",
    });
    this.#control = control;

    const stream = connection.lane();
    stream.on("opened", ({ head, floor }) => {
      tell({ opened: { head, floor } });
      this.#attempt = 0;
      this.#stream = stream;
      for (const frame of this.#unacked) stream.send("publish", frame);
    });
    stream.on("event", ({ seq, time_ms, sender, kind }) => {
      this.#cursor = seq;
      const body = kind.message ? textOf(kind.message.body) : null;
      tell({ event: { seq, time_ms, sender, body } });
    });
    stream.on("gap", ({ from, to }) => {
      this.#cursor = to;
      tell({ gap: { from, to } });
    });
    stream.on("ack", ({ n, seq, time_ms, duplicate }) => {
      const body = this.#unacked.find((frame) => frame.n === n)?.body ?? null;
      this.#unacked = this.#unacked.filter((frame) => frame.n !== n);
      tell({ ack: { seq, time_ms, duplicate, body } });
      this.#leaveIfAllIsAcked();
    });
    stream.on("refused", ({ n, code }) => stop(`message ${n} is refused with ${code}`));
    stream.on("roster", ({ users, present }) => {
      tell({ roster: { users, present: Object.fromEntries(present.map(({ user, seen }) => [user, seen])) } });
    });
    stream.on("end", (end) => {
      if (end.reset === undefined) return;
      this.#stopUnlessWorthTrying(end.reset, `the server reset the stream with ${end.reset}`);
      connection.abandon();
    });
    stream.send("open", {
      conversation: options.conversation,
      producer: this.#producer,
      from: { after: this.#cursor },
    });
  }

  #leaveIfAllIsAcked() {
    if (this.#leaving && this.#unacked.length === 0 && this.#connection) this.#connection.close(0, "done");
  }

  #lost(code, reason) {
    this.#stream = null;
    this.#connection = null;
    if (this.#leaving && this.#unacked.length === 0) process.exit(0);
    tell({ lost: reason });
    this.#stopUnlessWorthTrying(code, reason);
    const wait = Math.random() * Math.min(BACKOFF_MAX_MS, BACKOFF_STEP_MS * 2 ** this.#attempt++);
    setTimeout(() => this.connect(), this.#retryAfter + wait);
    this.#retryAfter = 0;
  }

  #stopUnlessWorthTrying(code, reason) {
    if (code !== null && (code < 0x100 || code > 0x1ff)) stop(reason);
  }
}

function tell(what) {
  console.log(JSON.stringify(what));
}

function stop(reason) {
  console.error(`stopped: ${reason}`);
  process.exit(1);
}

const chat = new Chat();
createInterface({ input: process.stdin }).on("line", (line) => chat.take(JSON.parse(line)));
chat.connect();
