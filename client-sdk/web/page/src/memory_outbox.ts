/** An outbox for browsers that give a page no database: it keeps messages for as long as the page lives. */

import { SendError, type Client, type MessageId } from "../../src/index.js";
import type { Entry, KeptOptions, Outbox } from "../../src/outbox/index.js";

export class MemoryOutbox implements Outbox {
  private kept: Entry[] = [];
  private listeners = new Set<(entry: Entry) => void>();

  constructor(readonly client: Client) {}

  get entries(): readonly Entry[] {
    return this.kept;
  }

  onChange(listener: (entry: Entry) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async send(conversation: string, body: string | Uint8Array, options: KeptOptions = {}): Promise<Entry> {
    const room = this.client.conversation(conversation);
    const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
    const entry: Entry = {
      id: room.newId(),
      conversation,
      body: bytes,
      text: typeof body === "string" ? body : undefined,
      keptAtMs: Date.now(),
      ...options,
      state: "waiting",
    };
    this.kept.push(entry);
    this.tell(entry);
    void room.send(bytes, { ...options, id: entry.id }).then(
      (ack) => this.settle({ ...entry, state: "stored", ack }),
      (error: unknown) => {
        if (error instanceof SendError) this.settle({ ...entry, state: "refused", error });
      },
    );
    return entry;
  }

  async retry(id: MessageId): Promise<Entry> {
    const entry = this.find(id);
    if (!entry) throw new Error("no such message");
    await this.discard(id);
    const { replyTo, mentions, expiresInMs } = entry;
    return this.send(entry.conversation, entry.text ?? entry.body, { replyTo, mentions, expiresInMs });
  }

  async discard(id: MessageId): Promise<void> {
    const entry = this.find(id);
    if (entry) this.settle({ ...entry, state: "discarded" });
  }

  close(): Promise<void> {
    return this.client.close();
  }

  private find(id: MessageId): Entry | undefined {
    return this.kept.find((entry) => entry.id.n === id.n && entry.id.producer === id.producer);
  }

  private settle(entry: Entry): void {
    const known = this.find(entry.id);
    if (!known) return;
    this.kept =
      entry.state === "refused"
        ? this.kept.map((one) => (one === known ? entry : one))
        : this.kept.filter((one) => one !== known);
    this.tell(entry);
  }

  private tell(entry: Entry): void {
    for (const listener of this.listeners) listener(entry);
  }
}
