/**
 * The public shapes of the SDK. Names are those of the protocol (docs/PROTOCOL.md) and of the Rust SDK.
 *
 * Seqs and times are plain numbers; times are milliseconds since 1970 on the server's clock.
 */
import type { QuothError } from "./error.js";
import type { MembershipEvent, Status } from "./members/shapes.js";
import type { ChangeEvent } from "./messages/shapes.js";

/** Ends a subscription. Calling it again does nothing. */
export type Unsubscribe = () => void;

/** What `connect` takes besides the address. */
export interface ConnectOptions {
  /**
   * A JSON Web Token, or a function that gets a fresh one. The function is asked at every sign-in and when
   * the token in force is about to end; with a text alone the client is closed at the token's end. When the
   * function throws, the client tries again later, unless it throws a `QuothError` that is not `retryable`:
   * that closes the client.
   */
  token: string | ((why: TokenWanted) => string | Promise<string>);
  /** The WebSocket class, where there is no global one (Node before 22: the one of the package `ws`). */
  WebSocket?: WebSocketConstructor;
  /** Which of the user's devices this is: 1 to 64 bytes without control characters. Default: a random one for each client. */
  device?: string;
  /** Names the program to the server, for people who read its logs. Default: the SDK's name and version. */
  clientName?: string;
  /**
   * The first half of the ids of this client's messages. Default: a random one. A client with a producer of
   * the application's must number its messages itself (`SendOptions.id`), since only the application knows
   * which numbers are used.
   */
  producer?: bigint;
}

/** Why a token is asked for: for a sign-in, because the present one is about to end, or because the server took none of it. */
export type TokenWanted = "sign_in" | "expiring" | "rejected";

/** The part of the WebSocket class that the SDK uses. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** The part of a WebSocket that the SDK uses. The types of the events differ between browsers and packages. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly protocol: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}

/**
 * Whether the client can reach its server.
 *
 * - `connecting`: on the way to the first connection or to the next one.
 * - `connected`: signed in.
 * - `disconnected`: without a connection; the client tries again by itself at `retryAtMs` (of `Date.now()`),
 *   or at once after `Client.wake`. `attempt` counts the attempts since a connection has last held: 1 is the
 *   first.
 * - `closed`: for good. The application closed the client, or trying again cannot help; `reason` says which.
 */
export type State =
  | { readonly name: "connecting" }
  | { readonly name: "connected" }
  | { readonly name: "disconnected"; readonly reason: QuothError; readonly retryAtMs: number; readonly attempt: number }
  | { readonly name: "closed"; readonly reason: QuothError };

/** What the server said at the sign-in. */
export interface Welcome {
  readonly user: string;
  /** What an ack means: `stored` survives a power cut, `memory` does not survive the server. */
  readonly durability: "memory" | "stored";
  readonly timeMs: number;
  readonly openConversationsMax: number;
  /** The server's name and version. */
  readonly server: string;
}

/** One connection to one server as one user, which connects again by itself whenever that can help. */
export interface Client {
  /**
   * A conversation by its name (1 to 128 bytes without control characters). The same name gives the same
   * object. It is opened on the server with the first read or send and closed there when nothing has used it
   * for some seconds.
   */
  conversation(name: string): Conversation;

  readonly state: State;
  /** Tells every change of `state`, not the one in force at the call. */
  onState(listener: (state: State) => void): Unsubscribe;

  /** The user of the last sign-in, `undefined` before the first. */
  readonly user: string | undefined;
  /** What the server said at the last sign-in, `undefined` before the first. */
  readonly welcome: Welcome | undefined;
  /** The last measured round trip to the server and back, in milliseconds; `undefined` without a connection. */
  readonly rttMs: number | undefined;
  /** Tells every new `rttMs`. */
  onRtt(listener: (rttMs: number) => void): Unsubscribe;
  readonly transport: "websocket";
  /** The first half of this client's message ids. */
  readonly producer: bigint;

  /**
   * Something may have changed (a phone woke up, the network came back): connects at once if there is no
   * connection, and otherwise asks the server whether it is there. In browsers the SDK calls it by itself.
   */
  wake(): void;

  /**
   * Ends the client: takes no more sends, waits up to `timeoutMs` (default 5,000) for the acks of those that
   * were made, and closes the connection. What has no ack by then is rejected with an unknown outcome, or as
   * not sent.
   */
  close(options?: { timeoutMs?: number }): Promise<void>;
}

/** Where reading begins: behind a seq, with the last events that there are (at most 10,000), or with what comes from now on. */
export type Start = { readonly after: number } | { readonly last: number } | "live";

/**
 * A place in a conversation that an application keeps, as JSON, to go on from it after a reload: `Events.cursor`. It
 * names the store that its seq is of, since a server that was restored from a backup gives the same seqs to other
 * events. A seq alone would go on in another history without a word.
 */
export interface Cursor {
  readonly store: number;
  /** Everything up to this one is behind the reader. */
  readonly seq: number;
}

/** The events of a conversation. */
export interface Events extends AsyncIterableIterator<RoomEvent> {
  /** The place behind what was taken by now; `undefined` until the server has said where the reader stands. */
  readonly cursor: Cursor | undefined;
}

/** One conversation of a client. */
export interface Conversation {
  readonly name: string;

  /**
   * Every event behind `from`, each exactly once and in order, through history into live and over reconnects.
   * Default of `from`: `"live"`. Leaving the loop, or aborting the signal, ends the reading without an error.
   *
   * A loop that is slow holds the server up, and nothing else. There may be several readers of a
   * conversation: they share what comes from the server, so the slowest sets the pace.
   *
   * Throws a `QuothError` when the server refuses (`FORBIDDEN`, or `CURSOR_AHEAD` when it was restored from a
   * backup, or does not have what a `Cursor` of another store was kept of, so that what was read is to be
   * dropped), when it keeps failing to begin, or when the client was
   * closed for a reason that is not the application's own.
   */
  events(options?: { from?: Start | Cursor; signal?: AbortSignal }): Events;

  /**
   * Sends a message of at most 65,536 bytes; resolves when it is stored. Over a lost connection it is sent
   * again under the same id, so it is stored once. Sends made one after the other are stored in that order.
   * Without a `signal` it waits as long as it takes.
   *
   * Rejects with a `SendError`, whose `outcome` says what is known.
   */
  send(body: string | Uint8Array, options?: SendOptions): Promise<Ack>;

  /** An id for a message that is to be sent later. Messages of a conversation must be sent in the order of their ids. */
  newId(): MessageId;

  /**
   * A page of history: the last events before `before`, the first ones behind `after`, or with neither the
   * last ones. Over a lost connection it is asked for again. Rejects with a `QuothError`, or with the
   * signal's reason.
   */
  history(options?: HistoryOptions): Promise<Page>;

  /**
   * Says that the user is typing. Call it with every key: it goes out at most once in 3 s (at once behind a
   * message), only while the conversation is open, and may be lost.
   */
  typing(): void;
  /** The other users who are typing, as far as known; kept up to date while the conversation is read. */
  readonly typings: readonly string[];
  /** Tells every change of `typings`. */
  onTypings(listener: (users: readonly string[]) => void): Unsubscribe;

  /** Says that the user has seen everything up to this seq. It only ever moves forward, and is said again after a reconnect. */
  seen(seq: number): void;
  /** Who reads the conversation now, and how far; `undefined` while this client does not, or the server does not tell. */
  readonly roster: Roster | undefined;
  /** Tells every change of `roster`. */
  onRoster(listener: (roster: Roster | undefined) => void): Unsubscribe;
}

/** What a reader gets, in the order of the conversation. */
export type RoomEvent = LogEvent | Gap | CaughtUp | Interrupted;

/** An event of the log. Its seq is one more than that of the event before. */
export type LogEvent = Message | ChangeEvent | MembershipEvent | UnknownEvent;

export interface Message {
  readonly type: "message";
  readonly seq: number;
  readonly timeMs: number;
  readonly sender: string;
  /** When it was first said, as its publisher (an import, a bridge) claims. */
  readonly originTimeMs?: number;
  readonly body: Uint8Array;
  /** The body as text; `undefined` when it is not UTF-8. */
  readonly text: string | undefined;
  /** The message that it answers. */
  readonly replyTo?: number | undefined;
  /** Whom it mentions. */
  readonly mentions: readonly string[];
  /** When it is gone; 0: at no time of its own. */
  readonly expiresMs: number;
}

/** An event of a kind that this version of the SDK does not know. It counts like any other. */
export interface UnknownEvent {
  readonly type: "unknown";
  readonly seq: number;
  readonly timeMs: number;
  readonly sender: string;
  readonly originTimeMs?: number;
}

/** These events are absent, both ends included: they have expired, or were revoked or erased. */
export interface Gap {
  readonly type: "gap";
  readonly from: number;
  readonly to: number;
}

/** What was there when reading began has been handed out; from here on events are live. Told once. */
export interface CaughtUp {
  readonly type: "caught_up";
  readonly head: number;
}

/**
 * The server has failed several times in a row to send what comes next. The reader goes on trying; the next
 * event says that it has succeeded.
 */
export interface Interrupted {
  readonly type: "interrupted";
  readonly reason: QuothError;
}

export interface SendOptions {
  /** Gives up waiting; the outcome is then unknown unless the message has not left yet. */
  signal?: AbortSignal;
  /** The id of an earlier send (`SendError.id`), to repeat it: it is stored once however often it is sent. Default: a new one. */
  id?: MessageId;
  /** Send in this user's name; the token must allow it. */
  publishAs?: string;
  /** When the message was first said; only together with `publishAs`. */
  originTimeMs?: number;
  /** The seq of the message that this one answers. */
  replyTo?: number | undefined;
  /** The users whom it is to be brought to the attention of, at most 50. */
  mentions?: readonly string[] | undefined;
  /** So long after it was stored it is absent for everybody. Default, and 0: at no time of its own. */
  expiresInMs?: number | undefined;
}

/** Names a message for good, within its conversation and user. */
export interface MessageId {
  readonly producer: bigint;
  /** Grows with each new message of the producer. */
  readonly n: number;
}

/** A message is stored as durably as `Welcome.durability` says. */
export interface Ack {
  readonly seq: number;
  readonly timeMs: number;
  /** Whether an earlier send with the same id had stored it already. */
  readonly duplicate: boolean;
  readonly id: MessageId;
}

export interface HistoryOptions {
  before?: number;
  after?: number;
  /** Events of the page. Default 100, at most 1,000; the server may give fewer and then says that there are more. */
  limit?: number;
  signal?: AbortSignal;
}

/** A part of a conversation's history. */
export interface Page {
  /** In ascending order of seqs. */
  readonly events: readonly (LogEvent | Gap)[];
  /** The conversation's last seq when the page was read, 0 when there is none. */
  readonly head: number;
  /** The first seq that is still readable. */
  readonly floor: number;
  /** The first seq that the page tells of, by an event or by a gap: go on with `before` it. */
  readonly from: number;
  /** The last one: go on with `after` it. `from - 1` when the page tells of none. */
  readonly to: number;
  /** Whether there are readable seqs before `from`. */
  readonly moreBefore: boolean;
  /** Whether there are readable seqs behind `to`. */
  readonly moreAfter: boolean;
}

/** Who reads a conversation. */
export interface Roster {
  /** How many users. */
  readonly users: number;
  /** Up to 64 of them, each once, in a fixed order. `seen` is how far they have said to have read, 0 for nothing. */
  readonly present: readonly { readonly user: string; readonly seen: number; readonly status: Status }[];
}
