// A client of `quoth.v1.json` on `ws`, written from docs/PROTOCOL.md alone: sections 9 and 10, and what they take from 2 to 8.
//
// It adds nothing to the protocol: no reconnects, and no waiting but for credit.

import { EventEmitter } from "node:events";
import { WebSocket } from "ws";

export const SUBPROTOCOL = "quoth.v1.json";
const CLIENT_CREDIT = 65_536;
const CREDIT_STEP = 65_536;
const MESSAGE_BYTES_MAX = 420_000;
const STATUS_BASE = 4_000;
const PROTOCOL = 0x300;
const STATUSES = new Map([
  [1000, 0],
  [1001, 0],
  [1002, PROTOCOL],
  [1003, PROTOCOL],
  [1007, PROTOCOL],
  [1009, 0x302],
]);

/** A stream of a connection. Emits each frame by its name, and `end` with `{ reset: code }` or `{ finished: true }`. */
export class Lane extends EventEmitter {
  #connection;
  #credit = CLIENT_CREDIT;
  #waiting = [];
  #owed = 0;
  #over = false;

  constructor(connection, number) {
    super();
    this.#connection = connection;
    this.number = number;
  }

  /** Sends a frame, when there is credit for it. */
  send(name, frame) {
    this.#waiting.push([name, frame]);
    this.#sendWaiting();
  }

  /** Says that no more frames come. */
  finish() {
    this.send("finish", {});
  }

  /** Takes what has come on this lane. */
  take(name, value, bytes) {
    if (this.#over) return;
    switch (name) {
      case "credit":
        this.#credit += value.bytes;
        this.#sendWaiting();
        break;
      case "finish":
        this.emit("end", { finished: true });
        break;
      case "reset":
        this.#over = true;
        this.emit("end", { reset: value.code });
        break;
      default:
        this.#owed += bytes;
        this.emit(name, value);
        this.#giveCredit();
    }
  }

  #sendWaiting() {
    while (!this.#over && this.#waiting.length > 0) {
      const [name, value] = this.#waiting[0];
      const isFrame = name !== "finish";
      if (isFrame && this.#credit <= 0) return;
      this.#waiting.shift();
      const bytes = this.#connection.write(this.number, name, value);
      if (isFrame) this.#credit -= bytes;
    }
  }

  #giveCredit() {
    if (this.#owed < CREDIT_STEP) return;
    this.#connection.write(this.number, "credit", { bytes: this.#owed });
    this.#owed = 0;
  }
}

/** A WebSocket to a server. Emits `close` with `{ code, reason }`; the code is null when the connection was lost. */
export class Connection extends EventEmitter {
  #socket;
  #lanes = [];

  /** Connects to a URL as `wss://127.0.0.1:4433/v1/ws`; `ca` is the PEM of who has signed the server's certificate. */
  constructor(url, ca) {
    super();
    this.#socket = new WebSocket(url, [SUBPROTOCOL], {
      ca,
      maxPayload: MESSAGE_BYTES_MAX,
      perMessageDeflate: false,
    });
    this.#socket.on("open", () => this.emit("open"));
    this.#socket.on("message", (data, isBinary) => this.#take(data, isBinary));
    // What has failed is told by the close that follows.
    this.#socket.on("error", (error) => (this.error = error));
    this.#socket.on("close", (status, reason) => {
      const code = status >= STATUS_BASE ? status - STATUS_BASE : (STATUSES.get(status) ?? null);
      this.emit("close", { code, reason: reason.toString() || this.error?.message || `status ${status}` });
    });
  }

  /** Opens the next lane. */
  lane() {
    const lane = new Lane(this, this.#lanes.length);
    this.#lanes.push(lane);
    return lane;
  }

  /** Sends one message, and gives its bytes. */
  write(lane, name, value) {
    const text = JSON.stringify({ lane, [name]: value });
    this.#socket.send(text);
    return Buffer.byteLength(text);
  }

  /** Closes with a code of section 7. */
  close(code, reason) {
    this.#socket.close(STATUS_BASE + code, reason);
  }

  /** Ends the connection without a word, as a lost network does. */
  abandon() {
    this.#socket.terminate();
  }

  #take(data, isBinary) {
    const message = isBinary ? null : parse(data.toString());
    const lane = this.#lanes[message?.lane];
    const names = Object.keys(message ?? {}).filter((name) => name !== "lane");
    if (!lane || names.length !== 1) {
      this.close(PROTOCOL, "this is no message of the protocol");
      return;
    }
    const [name] = names;
    if (name === "ping") this.write(message.lane, "pong", message.ping);
    else lane.take(name, message[name], data.length);
  }
}

/** A body as text; what is not UTF-8 as null. */
export function textOf(body) {
  return typeof body === "string" ? body : null;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
