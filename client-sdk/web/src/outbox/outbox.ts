/** The outbox of one tab, with what it has taken over of tabs that are gone. */
import type { Ack, Client, MessageId, Unsubscribe } from "../api.js";
import { QuothError, SendError } from "../error.js";
import { randomProducer } from "../ids.js";
import { Listeners } from "../listeners.js";
import { textOf } from "../room/reading.js";
import { encodeText } from "../wire/bytes.js";
import { BODY_BYTES_MAX } from "../wire/limits.js";
import type { Database, MessageRow } from "./database.js";
import type { Entry, KeptOptions, Outbox } from "./index.js";
import { Sender } from "./sender.js";

/** Messages that wait or were refused. Outcome: further ones are rejected. */
const ENTRIES_MAX = 1_000;

/** Tries to lock a tab; gives what unlocks it. */
type Lock = (tab: string) => Promise<(() => void) | undefined>;

export class TabOutbox implements Outbox {
  private readonly senders = new Map<bigint, Sender>();
  private readonly changes = new Listeners<Entry>();
  private own: Sender | undefined;

  constructor(
    private readonly db: Database,
    private readonly connect: (producer: bigint) => Client,
  ) {}

  /** Finds this tab's numbers, and takes over the messages of all tabs that are gone. */
  async takeOver(lock: Lock): Promise<void> {
    for (const tab of await this.db.tabs()) {
      const release = await lock(tab);
      if (release) this.add(tab, release);
    }
    // The numbers of a tab that is gone are gone on with: producers do not pile up.
    this.own = [...this.senders.values()][0] ?? (await this.addFresh(lock));
    for (const sender of this.senders.values()) {
      await sender.load();
      if (sender !== this.own) await sender.leaveIfDone();
    }
  }

  get client(): Client {
    return this.mine.connected;
  }

  async send(conversation: string, body: string | Uint8Array, options: KeptOptions = {}): Promise<Entry> {
    const bytes = typeof body === "string" ? encodeText(body) : body.slice();
    if (bytes.length > BODY_BYTES_MAX) {
      throw new QuothError("TOO_LARGE", `a body of ${bytes.length} bytes is over the limit of ${BODY_BYTES_MAX}`, false);
    }
    if (this.entries.length >= ENTRIES_MAX) {
      throw new QuothError("OVERLOADED", `${ENTRIES_MAX} messages wait already`, true);
    }
    // Checks the name.
    this.client.conversation(conversation);
    const { replyTo, mentions, expiresInMs } = options;
    const kept = { conversation, body: bytes, keptAtMs: Date.now() };
    return this.entry(await this.mine.keep({ ...kept, replyTo, mentions: mentions && [...mentions], expiresInMs }));
  }

  get entries(): readonly Entry[] {
    const rows = [...this.senders.values()].flatMap((sender) => [...sender.rows.values()]);
    return rows.sort((a, b) => a.keptAtMs - b.keptAtMs || a.n - b.n).map((row) => this.entry(row));
  }

  onChange(listener: (entry: Entry) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  async retry(id: MessageId): Promise<Entry> {
    const { sender, row } = this.find(id);
    return row.refusal ? this.entry(await sender.retry(row)) : this.entry(row);
  }

  async discard(id: MessageId): Promise<void> {
    const { sender, row } = this.find(id);
    await sender.forget(row);
    this.changes.tell({ ...this.entry(row), state: "discarded" });
    this.sent(sender);
  }

  async close(): Promise<void> {
    await Promise.all([...this.senders.values()].map((sender) => sender.close()));
    this.db.close();
  }

  private get mine(): Sender {
    if (!this.own) throw new QuothError("OUTBOX", "the outbox is not open", false);
    return this.own;
  }

  private add(tab: string, release: () => void): Sender {
    const sender: Sender = new Sender(tab, this.db, this.connect, release, {
      kept: (row) => this.changes.tell(this.entry(row)),
      stored: (row, ack) => this.stored(sender, row, ack),
      refused: (row) => {
        this.changes.tell(this.entry(row));
        this.sent(sender);
      },
      replaced: (row) => this.changes.tell({ ...this.entry(row), state: "discarded" }),
      failed: (error) => this.failed(error),
    });
    this.senders.set(sender.producer, sender);
    return sender;
  }

  private async addFresh(lock: Lock): Promise<Sender> {
    const tab = randomProducer().toString(16).padStart(16, "0");
    // Locked before it can be found by others.
    const release = (await lock(tab)) ?? (() => {});
    await this.db.addTab(tab);
    return this.add(tab, release);
  }

  private stored(sender: Sender, row: MessageRow, ack: Ack): void {
    this.changes.tell({ ...this.entry(row), state: "stored", ack });
    this.sent(sender);
  }

  /** A tab that is gone is left when nothing of it waits. */
  private sent(sender: Sender): void {
    if (sender !== this.own) sender.leaveIfDone().catch((error) => this.failed(error));
  }

  /** Nothing is lost, but the application should know: it is reported as an error of a task of its own. */
  private failed(error: unknown): void {
    setTimeout(() => {
      throw error;
    });
  }

  private find({ producer, n }: MessageId): { sender: Sender; row: MessageRow } {
    const sender = this.senders.get(producer);
    const row = sender?.rows.get(n);
    if (!sender || !row) throw new QuothError("BAD_ARGUMENT", `the outbox has no message ${n} of that producer`, false);
    return { sender, row };
  }

  private entry(row: MessageRow): Entry {
    const { tab, n, conversation, body, keptAtMs, replyTo, mentions, expiresInMs, refusal } = row;
    const id = { producer: BigInt(`0x${tab}`), n };
    const common = { id, conversation, body, text: textOf(body), replyTo, mentions, expiresInMs, keptAtMs };
    if (!refusal) return { ...common, state: "waiting" };
    const { code, message, retryable } = refusal;
    return { ...common, state: "refused", error: new SendError(code, message, retryable, "refused", id) };
  }
}
