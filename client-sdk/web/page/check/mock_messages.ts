/** The mock's messages, once they are said, and its inbox. */

import { QuothError, type LogEvent } from "../../src/index.js";
import type { Done } from "../../src/members/index.js";
import {
  Fold,
  type Inbox,
  type InboxRow,
  type InboxSettings,
  type MessageHistoryOptions,
  type MessagePage,
  type Messages,
  type Receipt,
  type Retained,
  type Retention,
} from "../../src/messages/index.js";
import type { MockClient, MockRoom } from "./mock.js";
import type { MockMembers } from "./mock_members.js";

export class MockMessages implements Messages {
  /** How far it was said that conversations were received and read. */
  readonly marks = new Map<string, { delivered?: number; read?: number }>();
  /** The next request is refused with this code. */
  refuse: string | undefined;
  /** How many have read and received, in a large conversation. */
  counts = { read: 0, delivered: 0 };
  private readonly listeners = new Set<(conversation: string, receipt: Receipt) => void>();

  constructor(
    private readonly client: MockClient,
    private readonly members: MockMembers,
  ) {}

  async edit(conversation: string, seq: number, body: string | Uint8Array, mentions: readonly string[] = []): Promise<Done> {
    await this.ask();
    const text = typeof body === "string" ? body : new TextDecoder().decode(body);
    return this.done(conversation, { type: "edited", of: seq, text, body: new TextEncoder().encode(text), mentions });
  }

  async revoke(conversation: string, seq: number): Promise<Done> {
    await this.ask();
    const room = this.client.conversation(conversation);
    room.log = room.log.map((event) => (event.type !== "gap" && event.seq === seq ? { type: "gap", from: seq, to: seq } : event));
    return this.done(conversation, { type: "revoked", of: seq });
  }

  async react(conversation: string, seq: number, reaction: string, on = true, sender = this.client.user): Promise<Done> {
    await this.ask();
    return this.done(conversation, { type: "reacted", of: seq, reaction, on }, sender);
  }

  async hide(conversation: string, seq: number): Promise<Done> {
    await this.ask();
    return this.done("$me", { type: "hidden", conversation, of: seq });
  }

  async setRetention(conversation: string, retention: Retention = { ageS: 0, count: 0, bytes: 0 }): Promise<Retained> {
    await this.ask();
    this.members.setRetention(conversation, retention);
    return { ...(await this.done(conversation, { type: "retention_set", retention })), retention, events: 0, bytes: 0 };
  }

  previewRetention = (): never => {
    throw new QuothError("UNSUPPORTED", "the mock does not do this", false);
  };

  states = (): never => {
    throw new QuothError("UNSUPPORTED", "the mock does not do this", false);
  };

  async receipts(): ReturnType<Messages["receipts"]> {
    return { ...this.counts, users: [] };
  }

  async history(conversation: string, options: MessageHistoryOptions = {}): Promise<MessagePage> {
    const room = this.client.conversation(conversation);
    const page = await room.history(this.rangeOf(room, options));
    const fold = new Fold(this.client.user);
    for (const event of room.log) fold.event(event);
    const complete = page.events.every(({ type }) => type !== "gap");
    return { ...page, complete, states: page.events.flatMap((event) => (event.type === "message" ? (fold.state(event.seq) ?? []) : [])) };
  }

  mark(conversation: string, upTo: { delivered?: number; read?: number }): void {
    this.marks.set(conversation, { ...this.marks.get(conversation), ...upTo });
  }

  async flush(): Promise<void> {}

  nowMs(): number {
    return Date.now() + this.client.aheadMs;
  }

  onReceipt(conversation: string, listener: (receipt: Receipt) => void): () => void {
    const hear = (of: string, receipt: Receipt): void => void (of === conversation && listener(receipt));
    this.listeners.add(hear);
    return () => this.listeners.delete(hear);
  }

  tellReceipt(conversation: string, receipt: Receipt): void {
    for (const hear of this.listeners) hear(conversation, receipt);
  }

  /** The mock's rooms know pages before and after a seq: half of a page stands on each side of a place. */
  private rangeOf(room: MockRoom, { around, aroundTimeMs, ...rest }: MessageHistoryOptions): MessageHistoryOptions {
    const at = aroundTimeMs === undefined ? around : this.firstSince(room, aroundTimeMs);
    if (at === undefined) return rest;
    return { ...rest, after: Math.max(0, at - 1 - Math.floor((rest.limit ?? 100) / 2)) };
  }

  private firstSince(room: MockRoom, timeMs: number): number {
    const first = room.log.find((event) => event.type !== "gap" && event.timeMs >= timeMs);
    return first && first.type !== "gap" ? first.seq : room.head + 1;
  }

  private async ask(): Promise<void> {
    await this.client.whenConnected();
    if (this.refuse === undefined) return;
    const code = this.refuse;
    this.refuse = undefined;
    throw new QuothError(code, `refused: ${code}`, false);
  }

  private done(conversation: string, change: object, sender = this.client.user): Done {
    const room = this.client.conversation(conversation);
    const [seq, timeMs] = [room.head + 1, this.nowMs()];
    room.add({ seq, timeMs, sender, ...change } as LogEvent);
    return { conversation, seq, timeMs };
  }
}

/** All conversations with members, on one page. */
export class MockInbox implements Inbox {
  isLoaded = true;
  hasMore = false;
  /** What rows say besides what follows from the mock. */
  readonly told = new Map<string, Partial<InboxRow>>();
  private readonly listeners = new Set<(conversation: string | undefined) => void>();

  constructor(
    private readonly client: MockClient,
    private readonly members: MockMembers,
  ) {
    const tell = (): void => this.tell();
    client.onState(tell);
    client.changed = tell;
  }

  get rows(): readonly InboxRow[] {
    if (this.client.state.name === "connecting") return [];
    const infos = [...this.members.infos.values()].filter(({ role }) => role !== undefined);
    return infos.map(({ conversation, kind, title }) => {
      const { log, head, seenSeq } = this.client.conversation(conversation);
      const messages = log.filter((event) => event.type === "message");
      const last = messages.at(-1);
      const unread = messages.filter(({ seq, sender }) => seq > seenSeq && sender !== this.client.user);
      const mentions = unread.filter((message) => message.mentions.includes(this.client.user)).length;
      const settings = { archived: false, mutedUntilMs: 0, pinned: false };
      const counts = { unread: unread.length, mentions, read: seenSeq };
      const row = { conversation, kind, title, head, timeMs: last?.timeMs ?? 0, last, ...counts, ...settings, version: 1, staleMs: 0 };
      return { ...row, ...this.told.get(conversation) };
    });
  }

  get(conversation: string): InboxRow | undefined {
    return this.rows.find((row) => row.conversation === conversation);
  }

  tell(conversation?: string): void {
    for (const listener of this.listeners) listener(conversation);
  }

  onChange(listener: (conversation: string | undefined) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async set(conversation: string, settings: Partial<InboxSettings>): Promise<Done> {
    this.told.set(conversation, { ...this.told.get(conversation), ...settings });
    this.tell(conversation);
    return { conversation: "$me", seq: 1, timeMs: Date.now() };
  }

  async loadMore(): Promise<void> {}
  close(): void {}
}

