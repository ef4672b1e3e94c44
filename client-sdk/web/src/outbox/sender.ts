/** Sends the messages of one tab, its own or one that is gone, under the ids that they were kept with. */
import type { Ack, Client, MessageId, SendOptions } from "../api.js";
import { SendError } from "../error.js";
import type { Database, MessageRow } from "./database.js";

/** From a send whose outcome is unknown to the next one under the same id. */
const AGAIN_MS = 1_000;

export interface SenderOwner {
  kept(row: MessageRow): void;
  stored(row: MessageRow, ack: Ack): void;
  refused(row: MessageRow, error: SendError): void;
  /** The message goes on under another id. */
  replaced(row: MessageRow): void;
  /** The database has failed: the message is sent again when the outbox is opened next, under the same id. */
  failed(error: unknown): void;
}

export class Sender {
  readonly rows = new Map<number, MessageRow>();
  private readonly sending = new Set<number>();
  private client: Client | undefined;
  private isClosed = false;

  constructor(
    readonly tab: string,
    private readonly db: Database,
    private readonly connect: (producer: bigint) => Client,
    /** Gives the lock of the tab back. */
    private readonly release: () => void,
    private readonly owner: SenderOwner,
  ) {}

  get producer(): bigint {
    return BigInt(`0x${this.tab}`);
  }

  /** The client, which is made when it is first needed. */
  get connected(): Client {
    this.client ??= this.connect(this.producer);
    return this.client;
  }

  id(row: MessageRow): MessageId {
    return { producer: this.producer, n: row.n };
  }

  /** Takes over what the tab has kept. */
  async load(): Promise<void> {
    for (const row of await this.db.messages(this.tab)) {
      this.rows.set(row.n, row);
      if (!row.refusal) this.send(row);
    }
  }

  async keep(message: Omit<MessageRow, "tab" | "n">, old?: MessageRow): Promise<MessageRow> {
    const row = await this.db.keep(this.tab, message, old);
    if (old) this.rows.delete(old.n);
    this.rows.set(row.n, row);
    this.owner.kept(row);
    this.send(row);
    return row;
  }

  /** Sends a refused message again. */
  async retry({ refusal: _, ...row }: MessageRow): Promise<MessageRow> {
    await this.db.replace(row);
    this.rows.set(row.n, row);
    this.owner.kept(row);
    this.send(row);
    return row;
  }

  async forget(row: MessageRow): Promise<void> {
    await this.db.forget(row);
    this.rows.delete(row.n);
  }

  /** Closes the client of a tab that is gone when it has nothing to send; without messages, forgets the tab as well. */
  async leaveIfDone(): Promise<void> {
    if (this.sending.size > 0) return;
    const { client } = this;
    this.client = undefined;
    await client?.close();
    if (this.rows.size > 0 || this.isClosed) return;
    this.isClosed = true;
    await this.db.removeTab(this.tab);
    this.release();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await this.client?.close();
    this.release();
  }

  private send(row: MessageRow): void {
    this.sending.add(row.n);
    // An id that the client itself refuses to take is a fault of this code; all else is an answer.
    const { replyTo, mentions, expiresInMs } = row;
    const options: SendOptions = { id: this.id(row), replyTo, mentions, expiresInMs };
    this.connected
      .conversation(row.conversation)
      .send(row.body, options)
      .then(
        (ack) => this.stored(row, ack),
        (error) => this.notStored(row, error),
      )
      .catch((error) => this.isClosed || this.owner.failed(error));
  }

  private async stored(row: MessageRow, ack: Ack): Promise<void> {
    this.sending.delete(row.n);
    // One that was discarded meanwhile is nobody's any longer.
    if (!this.rows.delete(row.n)) return;
    this.owner.stored(row, ack);
    await this.db.forget(row);
  }

  private async notStored(row: MessageRow, error: SendError): Promise<void> {
    this.sending.delete(row.n);
    if (!this.rows.has(row.n) || this.isClosed) return;
    if (error.outcome !== "refused") {
      if (this.client?.state.name !== "closed") setTimeout(() => this.sendAgain(row), AGAIN_MS);
      return;
    }
    if (error.code === "STALE_MESSAGE_ID") {
      // It was never stored, and a later one was: only another id can bring it in, and cannot bring it in
      // twice.
      const { tab: _, n: __, ...message } = row;
      await this.keep(message, row);
      return this.owner.replaced(row);
    }
    const { code, message, retryable } = error;
    const refused = { ...row, refusal: { code, message, retryable } };
    this.rows.set(row.n, refused);
    this.owner.refused(refused, error);
    await this.db.replace(refused);
  }

  private sendAgain(row: MessageRow): void {
    if (this.rows.get(row.n) === row && !this.isClosed) this.send(row);
  }
}
