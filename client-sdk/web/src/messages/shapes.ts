/** The public shapes of what becomes of messages (sections 13 and 14). */
import type { LogEvent, Page, Unsubscribe } from "../api.js";
import type { ConversationKind, Done } from "../members/shapes.js";

/** How much of a conversation is kept. 0 is no bound; all that are not hold together. */
export interface Retention {
  /** Events of up to this age, in seconds. */
  readonly ageS: number;
  /** So many of the last events. */
  readonly count: number;
  /** The last events, of up to so many bytes together. */
  readonly bytes: number;
}

/** Something that became of a message or of the conversation's log. `sender` is who did it. */
export type ChangeEvent = {
  readonly seq: number;
  readonly timeMs: number;
  readonly sender: string;
  readonly originTimeMs?: number;
} & MessageChange;

/** What happened. `of` is the seq of the message that it is about. A time that never comes is `Infinity`. */
export type MessageChange =
  /** The message says this from here on; `text` is `undefined` when it is not UTF-8. */
  | {
      readonly type: "edited";
      readonly of: number;
      readonly body: Uint8Array;
      readonly text: string | undefined;
      readonly mentions: readonly string[];
    }
  /** The message is absent from here on, for everybody. */
  | { readonly type: "revoked"; readonly of: number }
  /** `on`: the sender has reacted, or does no more. */
  | { readonly type: "reacted"; readonly of: number; readonly reaction: string; readonly on: boolean }
  | { readonly type: "retention_set"; readonly retention: Retention }
  /** In `$me`: the user wants to see that message no more. */
  | { readonly type: "hidden"; readonly conversation: string; readonly of: number }
  /** In `$me`: how the user wants to see a conversation in the inbox. */
  | {
      readonly type: "inbox_set";
      readonly conversation: string;
      readonly archived: boolean;
      readonly mutedUntilMs: number;
      readonly pinned: boolean;
    };

/** What a reaction has come to. */
export interface Reaction {
  readonly reaction: string;
  /** How many users react so. */
  readonly count: number;
  /** Whether this user is one of them. */
  readonly mine: boolean;
}

/** The latest edit of a message. */
export interface Edit {
  /** The seq of the event that changed it. */
  readonly seq: number;
  readonly timeMs: number;
  readonly body: Uint8Array;
  readonly mentions: readonly string[];
}

/** What a message has come to. */
export interface MessageState {
  /** The message's own seq. */
  readonly seq: number;
  /** All events about it up to this one are in it; 0: there is none. */
  readonly version: number;
  /** `undefined`: it was never edited. */
  readonly edited?: Edit | undefined;
  readonly reactions: readonly Reaction[];
}

/** How far a user has come in a conversation. `delivered` is never smaller than `read`. */
export interface Receipt {
  readonly user: string;
  /** The last seq that a device of the user has received. */
  readonly delivered: number;
  /** The last seq that the user has read. */
  readonly read: number;
}

/** Who has received and read a message, besides its sender. */
export interface Receipts {
  /** How many members have received it. */
  readonly delivered: number;
  /** How many members have read it. */
  readonly read: number;
  /** Those who have received it, in conversations of at most 100 members; empty in larger ones. */
  readonly users: readonly Receipt[];
}

/** What messages have come to, as one answer of the server. */
export interface MessageStates {
  readonly states: readonly MessageState[];
  /** Of the seqs that were asked for, those that are absent or no messages. */
  readonly absent: readonly number[];
  /** Not all went into the answer: ask again for the seqs that neither of the two has. */
  readonly more: boolean;
}

/** A page of history, with what its messages had come to by `head`. */
export interface MessagePage extends Page {
  /** Of those messages that were edited or reacted to. */
  readonly states: readonly MessageState[];
  /**
   * Whether nothing is missing in the page: it tells of no gap, and nothing of what was asked for lies before the
   * `floor`, where nobody can have it. What lies beyond `from` and `to` is another page's.
   */
  readonly complete: boolean;
}

/**
 * Which events a page has. At most one of the ranges; none: the last ones. Seqs, or milliseconds since 1970
 * on the server's clock, of when events were stored.
 */
export interface MessageHistoryOptions {
  /** The last events before a seq, without it. */
  before?: number;
  /** The first events behind a seq, without it. */
  after?: number;
  /** Half before a seq, half from it on. */
  around?: number;
  /** The last events that were stored before a time. */
  beforeTimeMs?: number;
  /** The first events that were stored at a time or later. */
  afterTimeMs?: number;
  /** Half before a time, half from it on. */
  aroundTimeMs?: number;
  /** Events of the page. Default 100, at most 1,000; the server may give fewer, and `moreBefore` and `moreAfter` say so. */
  limit?: number;
  signal?: AbortSignal;
}

/** How a user wants to see a conversation. */
export interface InboxSettings {
  readonly archived: boolean;
  /** No notices until then, in milliseconds since 1970; 0: it is not muted, `Infinity`: it always is. */
  readonly mutedUntilMs: number;
  readonly pinned: boolean;
}

/** A conversation as it stands in the inbox. */
export interface InboxRow extends InboxSettings {
  readonly conversation: string;
  /** `undefined` where the server does not tell. */
  readonly kind?: ConversationKind | undefined;
  /** In a direct conversation the other user's id. */
  readonly title: string;
  /** The conversation's last seq. */
  readonly head: number;
  /** When the last message was stored; without one, the last event. */
  readonly timeMs: number;
  /** The last message that is not absent, of at most 256 bytes of body; `undefined` when there is none among the last 64 events. */
  readonly last?: LogEvent | undefined;
  /** Messages of others behind `read`; 1,000 stands for so many or more. */
  readonly unread: number;
  /** Those of them that mention this user. */
  readonly mentions: number;
  /** How far the user has read, on any device. */
  readonly read: number;
  readonly version: number;
  /** From when on something that it shows or counts has expired; 0 where nothing of it expires. The server tells the row anew then. */
  readonly staleMs: number;
}

/** How long a conversation is kept from a request on. Without a `seq` nothing had to change, or was to be. */
export interface Retained extends Done {
  readonly retention: Retention;
  /** So many events that were there are beyond that, and gone for everybody; but for what the operator holds, which nobody is told. */
  readonly events: number;
  /** Bytes of what they say. */
  readonly bytes: number;
}

/** What a client asks its server to do to messages. All reject with a `RequestError`, whose `code` says why (section 13). */
export interface Messages {
  /** Has an own message say something else. `mentions` are all whom it mentions from then on. */
  edit(conversation: string, seq: number, body: string | Uint8Array, mentions?: readonly string[]): Promise<Done>;
  /** Takes a message back, for everybody. One that is gone already counts as done, with seq 0. */
  revoke(conversation: string, seq: number): Promise<Done>;
  /** Reacts with a text of 1 to 32 bytes, or with `on: false` does no more. */
  react(conversation: string, seq: number, reaction: string, on?: boolean): Promise<Done>;
  /** Leaves a message out for this user, on all devices. */
  hide(conversation: string, seq: number): Promise<Done>;
  /** Says how long events are kept; `undefined`: as the operator's rules say. A longer time brings nothing back. */
  setRetention(conversation: string, retention: Retention | undefined): Promise<Retained>;
  /** What `setRetention` would come to. Nothing is changed. */
  previewRetention(conversation: string, retention: Retention | undefined): Promise<Retained>;
  /** What these messages, at most 100, have come to by now. */
  states(conversation: string, seqs: readonly number[]): Promise<MessageStates>;
  /** Who has received and read a message. */
  receipts(conversation: string, seq: number): Promise<Receipts>;
  /** A page of history. Over a lost connection it is asked for again. Rejects with a `QuothError`, or with the signal's reason. */
  history(conversation: string, options?: MessageHistoryOptions): Promise<MessagePage>;
  /**
   * Says how far this device has received and its user has read a conversation, which need not be open. Call
   * it as often as anything changes: it goes out at most once in 2 s for each conversation, the furthest of
   * it, and again after a lost connection. What was not said when the client is closed stays unsaid: `flush`
   * first.
   */
  mark(conversation: string, upTo: { readonly delivered?: number; readonly read?: number }): void;
  /** Says now what `mark` has gathered. Resolves when it is stored. */
  flush(): Promise<void>;
  /**
   * The server's clock in milliseconds since 1970, for `ConversationView.expire`: as the server told it at the
   * latest sign-in, so behind by what that took on its way. Before the first sign-in it is this machine's.
   */
  nowMs(): number;
  /**
   * Tells how far a member of a conversation with at most 100 members has come, as long as the conversation
   * is read (`events`): first of each that has come anywhere, then of each that has moved, at most once a
   * second.
   */
  onReceipt(conversation: string, listener: (receipt: Receipt) => void): Unsubscribe;
}
