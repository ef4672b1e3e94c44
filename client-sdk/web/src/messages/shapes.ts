/** The public shapes of what becomes of messages (sections 13 and 14). */

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
