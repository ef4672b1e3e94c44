/** The client: its conversations and pages, and the connection that they share. */
import type {
  Client,
  ConnectOptions,
  Conversation,
  State,
  Unsubscribe,
  Welcome,
  WebSocketConstructor,
} from "./api.js";
import { watchPage } from "./browser.js";
import { ConversationHandle, type ConversationOwner } from "./conversation.js";
import type { Env } from "./env.js";
import { closedError, QuothError } from "./error.js";
import { type FetchedPage, type PageOwner, PageRequest } from "./history.js";
import { checkName, randomProducer } from "./ids.js";
import { Connector } from "./link/connector.js";
import type { Session } from "./link/session.js";
import { Tokens } from "./link/tokens.js";
import { onAbort } from "./abort.js";
import { Listeners } from "./listeners.js";
import { Room } from "./room/room.js";
import type { FetchRange, ServerFrame, WelcomeFrame } from "./wire/frames.js";
import { DEVICE_BYTES_MAX, NAME_BYTES_MAX } from "./wire/limits.js";

/** What `close` gives sends to get their acks. Outcome: their outcome is unknown. */
const CLOSE_TIMEOUT_MS = 5_000;
const CLIENT_NAME = "quoth-web/0.1.0";

/** What uses a client's control lane besides the client. */
export interface Extension {
  /** Something may have changed that it has waited for. */
  advance(): void;
  signedIn(): void;
  /**
   * A frame that the client has no use for: of the control lane, or of a conversation's. The result is the
   * complaint about one that has no place there.
   */
  frame(frame: ServerFrame, conversation?: string): string | undefined;
  /** The connection, or the attempt at one, is over. */
  lost(reason: QuothError): void;
  /** The client has ended. */
  closed(reason: QuothError): void;
}

export class QuothClient implements Client, ConversationOwner, PageOwner {
  readonly transport = "websocket";
  readonly producer: bigint;
  readonly isNumbered: boolean;
  closedBy: QuothError | undefined;
  welcome: Welcome | undefined;
  /** How far the server's clock is ahead of `env.now()`, by the latest sign-in. */
  aheadMs: number | undefined;
  rttMs: number | undefined;
  private readonly rooms = new Map<string, { room: Room; handle: Conversation }>();
  private readonly pages = new Set<PageRequest>();
  private readonly states = new Listeners<State>();
  private readonly rtts = new Listeners<number>();
  /** What else uses the control lane. */
  extension: Extension | undefined = undefined;
  private readonly connector: Connector;
  private readonly stopWatching: () => void;
  private lastNumber = 0;
  private closing: Promise<void> | undefined;
  /** Set while the client closes: called when nothing waits any longer. */
  private drained: (() => void) | undefined;

  constructor(
    url: string,
    WebSocket: WebSocketConstructor,
    options: ConnectOptions,
    readonly env: Env,
  ) {
    this.producer = options.producer ?? randomProducer();
    this.isNumbered = options.producer !== undefined;
    const device = options.device ?? randomProducer().toString(16).padStart(16, "0");
    checkName("device id", device, DEVICE_BYTES_MAX);
    const tokens = new Tokens(options.token, env);
    const platform = typeof document === "undefined" ? "node" : "browser";
    const clientName = options.clientName ?? CLIENT_NAME;
    this.connector = new Connector({ url, WebSocket, tokens, device, platform, clientName }, env, {
      state: (state) => this.stateChanged(state),
      signedIn: (frame) => this.signedIn(frame),
      changed: () => this.advance(),
      typing: (conversation, user) => this.typing(conversation, user),
      other: (frame) => (this.extension ? this.extension.frame(frame) : `${frame.type} on the control lane`),
      lost: (reason) => this.extension?.lost(reason),
      rtt: (rttMs) => this.measured(rttMs),
    });
    this.stopWatching = watchPage(this.connector);
    this.connector.start();
  }

  get state(): State {
    return this.connector.state;
  }

  get session(): Session | undefined {
    return this.connector.session;
  }

  get user(): string | undefined {
    return this.welcome?.user;
  }

  conversation(name: string): Conversation {
    const known = this.rooms.get(name);
    if (known) return known.handle;
    checkName("conversation name", name, NAME_BYTES_MAX);
    const room = new Room(name, this, this.env);
    const handle = new ConversationHandle(room, this);
    this.rooms.set(name, { room, handle });
    return handle;
  }

  onState(listener: (state: State) => void): Unsubscribe {
    return this.states.add(listener);
  }

  onRtt(listener: (rttMs: number) => void): Unsubscribe {
    return this.rtts.add(listener);
  }

  wake(): void {
    this.connector.wake();
  }

  close({ timeoutMs = CLOSE_TIMEOUT_MS }: { timeoutMs?: number } = {}): Promise<void> {
    this.closing ??= this.drain(timeoutMs).then(() => this.connector.close());
    return this.closing;
  }

  // For the conversations.

  nextNumber(): number {
    return ++this.lastNumber;
  }

  usedNumber(n: number): void {
    this.lastNumber = Math.max(this.lastNumber, n);
  }

  page(conversation: string, range: FetchRange, limit: number, signal: AbortSignal | undefined): Promise<FetchedPage> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.closedBy) return Promise.reject(this.closedBy);
    const fetch = { type: "fetch", conversation, range, limit } as const;
    let stop = () => {};
    const page = new Promise<FetchedPage>((resolve, reject) => {
      const request = new PageRequest(fetch, this, this.env, { resolve, reject });
      this.pages.add(request);
      stop = onAbort(signal, (reason) => request.cancel(reason));
      request.advance();
    });
    return page.finally(stop);
  }

  pageOver(request: PageRequest): void {
    this.pages.delete(request);
    this.advance();
  }

  receipt(conversation: string, frame: ServerFrame): void {
    this.extension?.frame(frame, conversation);
  }

  outboxEmptied(): void {
    if ([...this.rooms.values()].every(({ room }) => room.outbox.isEmpty)) this.drained?.();
  }

  // From the connector.

  private advance(): void {
    for (const { room } of this.rooms.values()) room.advance();
    for (const page of [...this.pages]) page.advance();
    this.extension?.advance();
  }

  /** Takes nothing more, and waits for what was taken. */
  private drain(timeoutMs: number): Promise<void> {
    this.closedBy ??= closedError();
    for (const { room } of this.rooms.values()) room.endReading(this.closedBy);
    return new Promise((resolve) => {
      const cancel = this.env.after(timeoutMs, resolve);
      this.drained = () => {
        cancel();
        resolve();
      };
      this.outboxEmptied();
    });
  }

  private signedIn(welcome: WelcomeFrame): void {
    this.welcome = welcome;
    this.aheadMs = welcome.timeMs - this.env.now();
    this.extension?.signedIn();
  }

  private stateChanged(state: State): void {
    if (state.name === "closed") this.end(state.reason);
    this.states.tell(state);
  }

  private end(reason: QuothError): void {
    this.closedBy ??= reason;
    this.stopWatching();
    for (const { room } of this.rooms.values()) room.close(reason);
    for (const page of [...this.pages]) page.fail(reason);
    this.extension?.closed(reason);
    this.drained?.();
  }

  private typing(conversation: string, user: string): void {
    if (user !== this.user) this.rooms.get(conversation)?.room.typings.notice(user);
  }

  private measured(rttMs: number | undefined): void {
    this.rttMs = rttMs;
    if (rttMs !== undefined) this.rtts.tell(rttMs);
  }
}
