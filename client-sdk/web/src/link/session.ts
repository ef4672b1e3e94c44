/** One connection, from its WebSocket to its end: the shell around the mux, and the control lane. */
import type { WebSocketConstructor, WebSocketLike } from "../api.js";
import type { Env } from "../env.js";
import type { RoomSession } from "../room/room.js";
import { DecodeError } from "../wire/bytes.js";
import { Code, statusOf } from "../wire/codes.js";
import { type ClientFrame, Feature, type ServerFrame, VERSION, type WelcomeFrame } from "../wire/frames.js";
import { FETCHES_MAX, LANES_BEFORE_WELCOME_MAX } from "../wire/limits.js";
import { broken, endOfStatus, lost, type SessionEnd, told } from "./end.js";
import type { Lane, LaneUser } from "./lane.js";
import { Liveness, LOOK_INTERVAL_MS } from "./liveness.js";
import { Mux } from "./mux.js";

export const SUBPROTOCOL = "quoth.v1.postcard";

/** From the first packet to `Welcome`. Outcome: the attempt has failed. */
const ATTEMPT_TIMEOUT_MS = 10_000;
/** What a server may take to close behind a GoAway: Quoth's own is done within 7 s. Outcome: the client closes. */
const GO_AWAY_TIMEOUT_MS = 10_000;

/** `WebSocket.OPEN`. */
const OPEN = 1;

export interface SessionOwner {
  signedIn(welcome: WelcomeFrame): void;
  /** Something has changed that conversations and pages may have waited for. */
  changed(): void;
  tokenExpiring(): void;
  typing(conversation: string, user: string): void;
  /** The result is the complaint about a frame that has no place here. */
  other(frame: ServerFrame): string | undefined;
  rtt(rttMs: number): void;
  /** The last thing that is told. */
  ended(end: SessionEnd): void;
}

export class Session implements RoomSession {
  isLeaving = false;
  private welcome: WelcomeFrame | undefined;
  private hasEnded = false;
  private isFlushDue = false;
  /** Set by GoAway: the earliest time for the next connection, and what the server has said. */
  private retryAtMs: number | undefined;
  private goodbye: SessionEnd | undefined;
  private readonly socket: WebSocketLike;
  private readonly mux: Mux;
  private readonly control: Lane;
  private readonly liveness: Liveness;
  private cancelTimeout: () => void;
  private cancelLook: (() => void) | undefined;

  constructor(
    url: string,
    WebSocket: WebSocketConstructor,
    hello: ClientFrame & { type: "hello" },
    private readonly env: Env,
    private readonly owner: SessionOwner,
  ) {
    this.socket = new WebSocket(url, [SUBPROTOCOL]);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.flushSoon();
    this.socket.onmessage = ({ data }: { data: unknown }) => this.message(data);
    this.socket.onclose = ({ code, reason }: { code: number; reason: string }) => this.end(endOfStatus(code, reason));
    // A close follows. Without a listener some WebSockets throw.
    this.socket.onerror = () => {};
    this.mux = new Mux({
      wake: () => this.flushSoon(),
      pong: (n) => this.pong(n),
      laneOver: () => this.owner.changed(),
    });
    this.control = this.mux.open("control", this.controlUser());
    this.control.send(hello);
    this.liveness = new Liveness(env.now());
    this.cancelTimeout = env.after(ATTEMPT_TIMEOUT_MS, () => this.end(lost("no answer to the sign-in in time")));
  }

  get isSignedIn(): boolean {
    return this.welcome !== undefined;
  }

  get hasRoster(): boolean {
    return this.has(Feature.ROSTER);
  }

  /** Whether a feature is in force. */
  has(feature: number): boolean {
    return (Number(this.welcome?.features) & feature) !== 0;
  }

  openConversation(user: LaneUser): Lane | undefined {
    const max = this.welcome?.openConversationsMax ?? LANES_BEFORE_WELCOME_MAX;
    return this.hasLane && this.mux.count("conversation") < max ? this.mux.open("conversation", user) : undefined;
  }

  /** Opens a lane for a page, unless there are too many. */
  openPage(user: LaneUser): Lane | undefined {
    const hasPage = this.hasLane && this.welcome && this.mux.count("page") < FETCHES_MAX;
    return hasPage ? this.mux.open("page", user) : undefined;
  }

  sendControl(frame: ClientFrame): void {
    this.control.send(frame);
  }

  /** Asks the server whether it is there. */
  probe(): void {
    const n = this.welcome && this.liveness.ping(this.env.now());
    if (n !== undefined) this.mux.ping(n);
  }

  /** Ends the connection by this side's will. */
  close(code: number, text: string, end: SessionEnd): void {
    if (this.hasEnded) return;
    this.flush();
    this.socket.close(statusOf(code), text);
    this.end(end);
  }

  private get hasLane(): boolean {
    return !this.hasEnded && !this.isLeaving && (this.welcome !== undefined || this.mux.count() < LANES_BEFORE_WELCOME_MAX);
  }

  private end(end: SessionEnd): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.cancelTimeout();
    this.cancelLook?.();
    const retryAfterMs = this.retryAtMs === undefined ? end.retryAfterMs : Math.max(0, this.retryAtMs - this.env.now());
    this.socket.close();
    this.mux.end();
    // What the server has said before counts, unless it only drains or this side has closed.
    const isTold = this.goodbye && this.goodbye.action !== "retry" && end.reason.code !== "CLOSED";
    this.owner.ended({ ...((isTold && this.goodbye) || end), retryAfterMs });
  }

  private broken(text: string): void {
    this.close(Code.PROTOCOL, "the server broke the protocol", broken(text));
  }

  private message(data: unknown): void {
    if (this.hasEnded) return;
    this.liveness.received(this.env.now());
    if (!(data instanceof ArrayBuffer)) return this.broken("a text message");
    try {
      this.mux.receive(new Uint8Array(data));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.broken(error.message);
    }
  }

  /** What is to be sent leaves together, behind the code that runs now. */
  private flushSoon(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    queueMicrotask(() => {
      this.isFlushDue = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.hasEnded || this.socket.readyState !== OPEN) return;
    for (const message of this.mux.takeMessages()) {
      this.socket.send(message);
      this.liveness.sent(this.env.now());
    }
  }

  private look(): void {
    this.cancelLook = this.env.after(LOOK_INTERVAL_MS, () => this.look());
    const what = this.liveness.look(this.env.now());
    if (what === "ping") this.probe();
    if (what === "dead") this.close(Code.CLOSED, "the server has fallen silent", lost("the server has fallen silent"));
  }

  private pong(n: number): void {
    const rttMs = this.liveness.pong(n, this.env.now());
    if (rttMs !== undefined) this.owner.rtt(rttMs);
  }

  private controlUser(): LaneUser {
    return {
      frame: (frame) => this.controlFrame(frame),
      writable: () => {},
      // The close that says why is mostly right behind; its status wins when it comes in time.
      finished: () => this.awaitClose(),
      reset: () => this.awaitClose(),
      broken: (text) => this.broken(text),
      lost: () => {},
    };
  }

  private controlFrame(frame: ServerFrame): void {
    if (!this.welcome && frame.type !== "welcome" && frame.type !== "go_away") {
      return this.broken(`${frame.type} in place of Welcome`);
    }
    switch (frame.type) {
      case "welcome":
        return this.signedIn(frame);
      case "go_away":
        return this.goAway(frame.retryAfterMs, told(frame.code, frame.reason, frame.retryAfterMs));
      case "token_expiring":
        return this.owner.tokenExpiring();
      case "typing":
        return this.owner.typing(frame.conversation, frame.user);
      default: {
        const complaint = this.owner.other(frame);
        if (complaint) this.broken(complaint);
      }
    }
  }

  private signedIn(welcome: WelcomeFrame): void {
    if (this.welcome || welcome.version !== VERSION) return this.broken(`Welcome of version ${welcome.version}`);
    this.welcome = welcome;
    this.cancelTimeout();
    this.owner.signedIn(welcome);
    this.owner.changed();
    this.look();
  }

  private goAway(retryAfterMs: number, goodbye: SessionEnd): void {
    if (!this.welcome) return this.close(Code.CLOSED, "the server drains", goodbye);
    this.isLeaving = true;
    this.goodbye = goodbye;
    this.retryAtMs = this.env.now() + retryAfterMs;
    this.closeAfter(GO_AWAY_TIMEOUT_MS, goodbye);
    this.owner.changed();
  }

  private awaitClose(): void {
    this.isLeaving = true;
    this.closeAfter(ATTEMPT_TIMEOUT_MS, lost("the server ended the control lane"));
  }

  private closeAfter(delayMs: number, end: SessionEnd): void {
    this.cancelTimeout();
    this.cancelTimeout = this.env.after(delayMs, () => this.close(Code.CLOSED, "the server does not close", end));
  }
}
