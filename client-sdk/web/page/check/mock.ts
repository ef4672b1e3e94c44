/**
 * A server and its other users in the page itself, behind the SDK's interface: for looking at the page in
 * states that a real server gets into seldom. It is not part of the page that is served.
 */

import {
  QuothError,
  SendError,
  type Ack,
  type Client,
  type Conversation,
  type Cursor,
  type Events,
  type Gap,
  type HistoryOptions,
  type LogEvent,
  type Message,
  type MessageId,
  type Page,
  type RoomEvent,
  type Roster,
  type SendOptions,
  type Start,
  type State,
  type Welcome,
} from "../../src/index.js";

const encoder = new TextEncoder();

export class MockRoom implements Conversation {
  log: (LogEvent | Gap)[] = [];
  typings: readonly string[] = [];
  roster: Roster | undefined = { users: 1, present: [] };
  denied = false;
  seenSeq = 0;
  private readers = new Set<(event: RoomEvent) => void>();
  private typingListeners = new Set<(users: readonly string[]) => void>();
  private rosterListeners = new Set<(roster: Roster | undefined) => void>();
  private n = 0;

  constructor(
    readonly name: string,
    private readonly client: MockClient,
  ) {}

  get head(): number {
    const last = this.log.at(-1);
    return last === undefined ? 0 : last.type === "gap" ? last.to : last.seq;
  }

  add(event: LogEvent | Gap): void {
    this.log.push(event);
    for (const reader of this.readers) reader(event);
    this.client.changed();
  }

  say(sender: string, text: string, timeMs = Date.now(), originTimeMs?: number, more: Partial<Message> = {}): number {
    const seq = this.head + 1;
    this.add({
      type: "message",
      seq,
      timeMs,
      sender,
      body: encoder.encode(text),
      text,
      mentions: [],
      expiresMs: 0,
      ...(originTimeMs === undefined ? {} : { originTimeMs }),
      ...more,
    });
    return seq;
  }

  setTypings(users: readonly string[]): void {
    this.typings = users;
    for (const listener of this.typingListeners) listener(users);
  }

  setRoster(roster: Roster | undefined): void {
    this.roster = roster;
    for (const listener of this.rosterListeners) listener(roster);
  }

  events(options: { from?: Start | Cursor; signal?: AbortSignal } = {}): Events {
    return Object.assign(this.read(options), { cursor: undefined });
  }

  private async *read(options: { from?: Start | Cursor; signal?: AbortSignal }): AsyncIterableIterator<RoomEvent> {
    await this.client.whenConnected();
    if (this.denied) throw new QuothError("FORBIDDEN", "not allowed, or no such conversation", false);
    const { from = "live", signal } = options;
    const queue: RoomEvent[] = [];
    if (from === "live") queue.push();
    else if ("last" in from) queue.push(...this.log.slice(-from.last));
    else {
      const after = "after" in from ? from.after : from.seq;
      queue.push(...this.log.filter((event) => (event.type === "gap" ? event.to : event.seq) > after));
    }
    queue.push({ type: "caught_up", head: this.head });
    let wake: (() => void) | undefined;
    const reader = (event: RoomEvent): void => {
      queue.push(event);
      wake?.();
    };
    this.readers.add(reader);
    signal?.addEventListener("abort", () => wake?.());
    if (this.roster) this.setRoster(this.roster);
    try {
      while (!signal?.aborted) {
        const event = queue.shift();
        if (event && this.client.state.name === "connected") yield event;
        else {
          if (event) queue.unshift(event);
          await new Promise<void>((resolve) => {
            wake = resolve;
            this.client.onState(() => resolve());
          });
        }
      }
    } finally {
      this.readers.delete(reader);
    }
  }

  async send(body: string | Uint8Array, options: SendOptions = {}): Promise<Ack> {
    const id = options.id ?? this.newId();
    await this.client.whenConnected();
    await this.client.acking();
    await this.client.whenConnected();
    if (this.client.refuse) throw new SendError("FORBIDDEN", "not allowed", false, "refused", id);
    const text = typeof body === "string" ? body : new TextDecoder().decode(body);
    const { replyTo, mentions = [], expiresInMs } = options;
    const timeMs = Date.now() + this.client.aheadMs;
    const expiresMs = expiresInMs ? timeMs + expiresInMs : 0;
    const seq = this.say(this.client.user, text, timeMs, undefined, { replyTo, mentions, expiresMs });
    return { seq, timeMs, duplicate: false, id };
  }

  newId(): MessageId {
    return { producer: 1n, n: ++this.n };
  }

  async history(options: HistoryOptions = {}): Promise<Page> {
    await this.client.whenConnected();
    await pause(this.client.historyMs);
    options.signal?.throwIfAborted();
    if (this.client.historyFails) throw new QuothError("INTERNAL", "a fault of the server", true);
    const limit = options.limit ?? 100;
    const first = (event: LogEvent | Gap): number => (event.type === "gap" ? event.from : event.seq);
    const last = (event: LogEvent | Gap): number => (event.type === "gap" ? event.to : event.seq);
    const { after, before = Infinity } = options;
    const events =
      after === undefined
        ? this.log.filter((event) => first(event) < before).slice(-limit)
        : this.log.filter((event) => first(event) > after).slice(0, limit);
    const [begin, end] = [events[0], events.at(-1)];
    const from = begin ? first(begin) : Math.min(after ?? before - 1, this.head) + 1;
    const to = end ? last(end) : from - 1;
    return { events, head: this.head, floor: 1, from, to, moreBefore: from > 1, moreAfter: to < this.head };
  }

  typing(): void {}
  onTypings(listener: (users: readonly string[]) => void): () => void {
    this.typingListeners.add(listener);
    return () => this.typingListeners.delete(listener);
  }

  seen(seq: number): void {
    this.seenSeq = Math.max(this.seenSeq, seq);
  }

  onRoster(listener: (roster: Roster | undefined) => void): () => void {
    this.rosterListeners.add(listener);
    return () => this.rosterListeners.delete(listener);
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class MockClient implements Client {
  state: State = { name: "connecting" };
  rttMs: number | undefined;
  readonly transport = "websocket";
  readonly producer = 1n;
  /** Acks wait for this. */
  acking = (): Promise<void> => pause(60);
  historyMs = 40;
  /** How far the server's clock is ahead of the browser's. */
  aheadMs = 0;
  refuse = false;
  historyFails = false;
  /** Called when anything of a conversation has changed. */
  changed: () => void = () => {};
  rooms = new Map<string, MockRoom>();
  private stateListeners = new Set<(state: State) => void>();
  private rttListeners = new Set<(rttMs: number) => void>();

  constructor(readonly user: string) {}

  get welcome(): Welcome | undefined {
    return { user: this.user, durability: "stored", timeMs: Date.now(), openConversationsMax: 48, server: "mock/0" };
  }

  conversation(name: string): MockRoom {
    const room = this.rooms.get(name) ?? new MockRoom(name, this);
    this.rooms.set(name, room);
    return room;
  }

  set(state: State): void {
    this.state = state;
    this.rttMs = state.name === "connected" ? 12.4 : undefined;
    for (const listener of [...this.stateListeners]) listener(state);
    if (this.rttMs !== undefined) for (const listener of this.rttListeners) listener(this.rttMs);
  }

  connect(): void {
    this.set({ name: "connected" });
  }

  lose(retryMs = 8000): void {
    this.set({
      name: "disconnected",
      reason: new QuothError("LOST", "the connection was lost", true),
      retryAtMs: Date.now() + retryMs,
      attempt: 3,
    });
  }

  end(code: string, message: string): void {
    this.set({ name: "closed", reason: new QuothError(code, message, false) });
  }

  async whenConnected(): Promise<void> {
    while (this.state.name !== "connected") await new Promise<void>((resolve) => this.onState(() => resolve()));
  }

  onState(listener: (state: State) => void): () => void {
    this.stateListeners.add(listener);
    return () => this.stateListeners.delete(listener);
  }

  onRtt(listener: (rttMs: number) => void): () => void {
    this.rttListeners.add(listener);
    return () => this.rttListeners.delete(listener);
  }

  wake(): void {
    if (this.state.name === "connected") return;
    this.set({ name: "connecting" });
    setTimeout(() => this.connect(), 300);
  }

  async close(): Promise<void> {}
}
