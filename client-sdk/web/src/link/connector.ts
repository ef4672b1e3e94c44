/** Connects, and connects again until it may not. */
import type { State, TokenWanted, WebSocketConstructor } from "../api.js";
import { Backoff } from "../backoff.js";
import type { Env } from "../env.js";
import { QuothError } from "../error.js";
import { Code } from "../wire/codes.js";
import { Feature, type ServerFrame, VERSION, type WelcomeFrame } from "../wire/frames.js";
import { closed, lost, noToken, type SessionEnd } from "./end.js";
import { Session } from "./session.js";
import type { Tokens } from "./tokens.js";

export interface ConnectorOptions {
  url: string;
  WebSocket: WebSocketConstructor;
  tokens: Tokens;
  device: string;
  platform: string;
  clientName: string;
}

export interface ConnectorOwner {
  state(state: State): void;
  signedIn(welcome: WelcomeFrame): void;
  /** Something has changed that conversations and pages may have waited for. */
  changed(): void;
  typing(conversation: string, user: string): void;
  /** Another frame of the control lane. The result is the complaint about one that has no place there. */
  other(frame: ServerFrame): string | undefined;
  rtt(rttMs: number | undefined): void;
  /** The connection, or the attempt at one, is over. */
  lost(reason: QuothError): void;
}

export class Connector {
  state: State = { name: "connecting" };
  session: Session | undefined;
  private readonly backoff = new Backoff();
  private signedInAtMs: number | undefined;
  private cancelRetry: (() => void) | undefined;
  /** The server does not want to be asked before this. */
  private notBeforeMs = -Infinity;
  /** A page that is put away must not hold a connection. */
  private isSuspended = false;
  private tokenWanted: TokenWanted = "sign_in";
  /** An attempt whose number is another one has been given up. */
  private attempts = 0;
  /** Of the latest connection: the server takes the greater one for the one that lives. */
  private generation = 0;

  constructor(
    private readonly options: ConnectorOptions,
    private readonly env: Env,
    private readonly owner: ConnectorOwner,
  ) {}

  /** Begins to connect. */
  start(): void {
    this.connect();
  }

  /** Something may have changed: connects at once, or asks the server whether it is there. */
  wake(): void {
    this.isSuspended = false;
    this.probe();
    if (this.state.name === "disconnected" && this.env.now() >= this.notBeforeMs) this.connect();
  }

  /** Asks the server whether it is there, if there is a connection. */
  probe(): void {
    this.session?.probe();
  }

  /** Lets the connection go until `wake`. */
  suspend(): void {
    this.isSuspended = true;
    if (this.state.name === "closed" || this.state.name === "disconnected") return;
    this.attempts += 1;
    const end = lost("the page was put away");
    if (this.session) this.session.close(Code.CLOSED, "the page was put away", end);
    else this.ended(end);
  }

  close(): void {
    this.attempts += 1;
    if (this.session) this.session.close(Code.CLOSED, "", closed());
    else this.ended(closed());
  }

  private connect(): void {
    this.cancelRetry?.();
    this.cancelRetry = undefined;
    this.setState({ name: "connecting" });
    const attempt = ++this.attempts;
    this.options.tokens.get(this.tokenWanted).then(
      (token) => {
        if (attempt === this.attempts) this.open(token);
      },
      (error) => {
        if (attempt === this.attempts) this.ended(noToken(error));
      },
    );
  }

  private open(token: string): void {
    const { url, WebSocket, tokens, device, platform, clientName } = this.options;
    const features = Feature.ROSTER | Feature.MEMBERSHIP | Feature.MESSAGES;
    const generation = (this.generation = Math.max(Date.now(), this.generation + 1));
    const common = { version: VERSION, features, token, device, generation, platform, client: clientName };
    const hello = { type: "hello", ...common } as const;
    try {
      this.session = new Session(url, WebSocket, hello, this.env, {
        signedIn: (welcome) => this.signedIn(welcome),
        changed: () => this.owner.changed(),
        tokenExpiring: () => tokens.renew((fresh) => this.session?.sendControl({ type: "refresh", token: fresh })),
        typing: (conversation, user) => this.owner.typing(conversation, user),
        other: (frame) => this.owner.other(frame),
        rtt: (rttMs) => this.owner.rtt(rttMs),
        ended: (end) => this.ended(end),
      });
    } catch (error) {
      // Not a matter of the network: a page over https may not open ws://, for one.
      const reason = new QuothError("BAD_ARGUMENT", `cannot open ${url}: ${String(error)}`, false, { cause: error });
      return this.ended({ reason, action: "stop", retryAfterMs: 0 });
    }
    this.owner.changed();
  }

  private signedIn(welcome: WelcomeFrame): void {
    this.signedInAtMs = this.env.now();
    this.tokenWanted = "sign_in";
    this.owner.signedIn(welcome);
    this.setState({ name: "connected" });
  }

  private ended(end: SessionEnd): void {
    if (this.state.name === "closed") return;
    this.session = undefined;
    this.options.tokens.stopRenewal();
    this.cancelRetry?.();
    this.cancelRetry = undefined;
    if (this.signedInAtMs !== undefined) this.backoff.heldFor(this.env.now() - this.signedInAtMs);
    this.signedInAtMs = undefined;
    this.owner.rtt(undefined);
    this.owner.lost(end.reason);
    if (!this.mayRetry(end)) return this.setState({ name: "closed", reason: end.reason });
    this.notBeforeMs = this.env.now() + end.retryAfterMs;
    const delayMs = this.backoff.nextDelayMs(this.env.random, end.retryAfterMs);
    this.cancelRetry = this.env.after(delayMs, () => {
      if (!this.isSuspended) this.connect();
    });
    const { reason } = end;
    this.setState({ name: "disconnected", reason, retryAtMs: Date.now() + delayMs, attempt: this.backoff.attempt });
  }

  private mayRetry({ action }: SessionEnd): boolean {
    if (action === "new_token") this.tokenWanted = "rejected";
    return action === "retry" || (action === "new_token" && this.options.tokens.canRenew);
  }

  private setState(state: State): void {
    this.state = state;
    this.owner.state(state);
    this.owner.changed();
  }
}
