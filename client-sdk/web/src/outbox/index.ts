/**
 * An outbox in IndexedDB: a message that is typed offline survives a reload and is stored by the server
 * exactly once.
 *
 * ```ts
 * const outbox = await openOutbox({ name: "alice", connect: (producer) => connect(url, { token, producer }) });
 * await outbox.send("general", "typed in a tunnel");
 * for await (const event of outbox.client.conversation("general").events()) …
 * ```
 */
import type { Ack, Client, MessageId, SendOptions, Unsubscribe } from "../api.js";
import { QuothError, type SendError } from "../error.js";
import { Database } from "./database.js";
import { tryLock } from "./locks.js";
import { TabOutbox } from "./outbox.js";

export interface OutboxOptions {
  /**
   * Whose outbox it is, on this origin: messages must not be sent as another user or to another server, so
   * take a name from both, such as `alice@chat.example`.
   */
  name: string;
  /**
   * Makes the client that sends. It must use the given producer:
   * `(producer) => connect(url, { token, producer })`. Called once for this tab and, for a moment, once more
   * for each tab that was closed with messages in its outbox.
   */
  connect: (producer: bigint) => Client;
  /** Default: `globalThis.indexedDB`. */
  indexedDB?: IDBFactory;
  /** Default: `navigator.locks`, which pages have that came over https or from localhost. */
  locks?: LockManager;
}

/** The messages of one tab that the server has not stored yet. Tabs of the same origin have one each. */
export interface Outbox {
  /** The client that sends, to read with and for its state. Sends through it alone need an id: prefer `send` of the outbox. */
  readonly client: Client;

  /**
   * Keeps a message and sends it as soon as it can, in the order of the calls. Resolves when the message is
   * kept, not when it is sent. Rejects with a `QuothError` when the body is over 65,536 bytes, when 1,000
   * entries are here already, or when the database does not take it.
   */
  send(conversation: string, body: string | Uint8Array, options?: KeptOptions): Promise<Entry>;

  /** What waits or was refused, oldest first, that of earlier tabs included. */
  readonly entries: readonly Entry[];
  /** Tells every change of an entry: kept, stored, refused, discarded. */
  onChange(listener: (entry: Entry) => void): Unsubscribe;

  /**
   * Sends a refused message again: under the same id if the server still takes that, otherwise under a new
   * one, in which case the entry with the old id is told as discarded.
   */
  retry(id: MessageId): Promise<Entry>;
  /** Forgets a message. A waiting one may be stored all the same when it has been sent already. */
  discard(id: MessageId): Promise<void>;

  /** Closes the client and lets another tab take over what waits. */
  close(): Promise<void>;
}

/** What is kept with a message. `expiresInMs` counts from when the server stores it. */
export type KeptOptions = Pick<SendOptions, "replyTo" | "mentions" | "expiresInMs">;

/** A message of the outbox. */
export interface Entry {
  readonly id: MessageId;
  readonly conversation: string;
  readonly body: Uint8Array;
  /** The body as text; `undefined` when it is not UTF-8. */
  readonly text: string | undefined;
  /** The message that it answers. */
  readonly replyTo?: number | undefined;
  readonly mentions?: readonly string[] | undefined;
  /** How long it is kept once it is stored. */
  readonly expiresInMs?: number | undefined;
  /** When it was kept, of `Date.now()`. */
  readonly keptAtMs: number;
  /** `stored` and `discarded` ones are told once and are no longer in `entries`. */
  readonly state: "waiting" | "stored" | "refused" | "discarded";
  /** The server's answer, when stored. */
  readonly ack?: Ack;
  /** Why, when refused. */
  readonly error?: SendError;
}

/**
 * Opens the outbox of this tab; messages of tabs that are gone are taken over. Throws a `QuothError` where
 * there is no IndexedDB or no Web Locks, or when the database does not open.
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  const { name, connect, indexedDB = globalThis.indexedDB, locks = globalThis.navigator?.locks } = options;
  if (!indexedDB || !locks) {
    const what = indexedDB ? "Web Locks (a page must come over https or from localhost)" : "IndexedDB";
    throw new QuothError("BAD_ARGUMENT", `an outbox needs ${what}`, false);
  }
  const outbox = new TabOutbox(await Database.open(indexedDB, name), connect);
  await outbox.takeOver((tab) => tryLock(locks, `quoth-outbox:${name}:${tab}`));
  return outbox;
}
