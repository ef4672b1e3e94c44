/** One conversation of the list: its reader, what is held of its log, and what is known of the others in it. */

import { QuothError, type Conversation, type Gap, type LogEvent, type Roster } from "../../src/index.js";
import { ConversationView, type MessageHistoryOptions, type Messages, type Range, type Retention } from "../../src/messages/index.js";
import type { ConversationInfo } from "../../src/members/index.js";
import { entryOf, pageOf } from "./entries.js";
import { History, type Place } from "./history.js";
import type { Now, Quote } from "./model/rows.js";
import { textOf } from "./model/text.js";
import { Timeline, firstSeq, type Entry, type Message, type Page } from "./model/timeline.js";
import { OutgoingList, type Outgoing } from "./model/outgoing.js";
import { SeenBook, type Present } from "./model/marks.js";
import { shownName } from "./model/conversation.js";
import { unreadOf } from "./model/unread.js";
import type { Last, Talk } from "./model/talks.js";
import type { LogSource } from "./view/log.js";

/** What is read when a conversation is opened, and kept of one that nobody looks at. */
const OPEN_EVENTS = 60;
/** What is held at most; the rest is fetched again when wanted. */
const HELD_MAX = 3000;
const FOR_EVER: Retention = { ageS: 0, count: 0, bytes: 0 };

export interface RoomHooks {
  /** Something to show has changed. */
  changed(room: Room): void;
  /** A message of another user has come live. */
  arrived(room: Room, message: Message): void;
  /** The conversation has been read up to its head for the first time. */
  opened(room: Room): void;
  /** Something besides a message has happened to it or to its members. */
  happened(room: Room): void;
  /** The user may not read it. */
  barred(room: Room): void;
  /** The log stands at another place. */
  moved(room: Room, place: Place): void;
  attention(room: Room): Attention;
}

/** Where the user is: at this log's end, there with the window out of sight, further up, or in another conversation. */
export type Attention = "reading" | "unfocused" | "scrolled" | "elsewhere";

export type RoomState = { name: "opening" } | { name: "open" } | { name: "ended"; error: QuothError };

export class Room implements LogSource {
  readonly timeline = new Timeline(HELD_MAX);
  readonly outgoing = new OutgoingList();
  readonly seenBook: SeenBook;
  readonly history: History;
  state: RoomState = { name: "opening" };
  unreadAfter: number | undefined;
  unread = 0;
  /** How many of the unread messages call the user. */
  mentions = 0;
  typings: readonly string[] = [];
  roster: Roster | undefined;
  /** The server cannot send what comes next at the moment. */
  interrupted = false;
  /** What is known of a conversation that has members. */
  info: ConversationInfo | undefined;
  /** The user may not read it, but may join. */
  isOpen = false;
  /** The user was in it and is no more: what was said until then stays to be read. */
  left = false;
  /** Messages that were taken back, as far as the page has heard. */
  readonly revoked = new Set<number>();
  /** Who is in it, for those who call somebody. */
  members: readonly string[] = [];
  /** How long events are kept; `undefined` while the server has not said so over this connection. */
  retention: Retention | undefined;
  private view: ConversationView;
  /** What was absent when it was looked at last. */
  private absent: readonly Range[] = [];
  /** When something expires next; 0: that is to be found out. */
  private dueMs = 0;
  /** What is not held and was asked for, because a message answers it. */
  private readonly asked = new Set<number>();
  private reading: AbortController | undefined;
  private unsubscribe: (() => void)[] = [];

  constructor(
    readonly talk: Talk,
    readonly me: string,
    private readonly conversation: Conversation,
    private readonly messages: Messages,
    /** Messages that the user wants to see no more. */
    readonly hidden: ReadonlySet<number>,
    private readonly hooks: RoomHooks,
  ) {
    this.view = new ConversationView(me);
    this.seenBook = new SeenBook(me);
    this.history = new History(this.timeline, (options) => this.page(options), { changed: (place) => this.stretched(place) });
  }

  get name(): string {
    return this.talk.name;
  }

  /** For people. */
  get title(): string {
    return shownName(this.name, this.info, this.talk.title);
  }

  know(info: ConversationInfo | undefined): void {
    this.info = info;
    if (info) this.talk.title = info.title || undefined;
    this.keep(info?.retention);
  }

  get readUpTo(): number {
    return this.seenBook.readUpTo;
  }

  get deliveredUpTo(): number {
    return this.seenBook.deliveredUpTo;
  }

  /** What a message has come to. */
  nowOf(seq: number): (Now & { editedSeq?: number | undefined }) | undefined {
    const message = this.view.message(seq);
    if (!message) return undefined;
    const { edited, body, mentions, reactions } = message;
    if (!edited) return { reactions };
    return { edited: { text: textOf(body), mentions }, editedSeq: edited.seq, reactions };
  }

  /** What a message that another one answers says. One that is not held is asked for. */
  quoteOf(seq: number): Quote {
    const message = this.view.message(seq);
    if (message) return { seq, sender: message.sender, text: textOf(message.body) };
    if (isIn(this.view.told, seq)) return { seq, sender: undefined, text: "" };
    if (!this.asked.has(seq)) void this.askQuote(seq);
    return { seq, sender: undefined, text: undefined };
  }

  /** A message that is held. */
  message(seq: number): Message | undefined {
    const entry = this.timeline.entries[this.timeline.indexOf(seq)];
    return entry?.kind === "message" && entry.seq === seq ? entry : undefined;
  }

  /** Takes away what has expired by the server's clock. Gives when something does so next. */
  expire(nowMs: number): number {
    if (nowMs < this.dueMs) return this.dueMs;
    this.dueMs = this.view.expire(nowMs, this.retention ?? FOR_EVER) ?? Infinity;
    if (this.dropAbsent()) this.hooks.changed(this);
    return this.dueMs;
  }

  /** Asks what is still there, where it cannot be reckoned: by bytes, or by rules that nobody is told. */
  async askWhatIsGone(): Promise<void> {
    const first = this.timeline.entries.find((entry) => entry.kind === "message");
    if (!first || this.state.name !== "open" || (this.retention && this.retention.bytes === 0)) return;
    await this.page({ after: firstSeq(first) - 1, limit: 1 }).catch(() => undefined);
    if (this.dropAbsent()) this.hooks.changed(this);
  }

  /** Whether there is nothing to show of it, and nothing to fetch. */
  get isBare(): boolean {
    const { entries, atStart } = this.timeline;
    const isNothing = (entry: Entry): boolean =>
      entry.kind === "change" || (entry.kind === "gap" && ![...this.revoked].some((seq) => isIn([entry], seq)));
    return entries.length === 0 || (atStart && entries.every(isNothing));
  }

  /** Whether what is held begins with the conversation itself. Its first message may have been taken back. */
  get hasBeginning(): boolean {
    const [entry] = this.timeline.entries;
    return this.timeline.first <= 1 && (entry?.kind !== "gap" || this.revoked.has(entry.from));
  }

  /** Whether anything that was here is gone. */
  get hasLost(): boolean {
    return this.view.gaps.length > 0 || (this.timeline.entries.length === 0 && this.timeline.head > 0);
  }

  /** Whether nobody can have an event any more. */
  isAbsent(seq: number): boolean {
    return isIn(this.view.gaps, seq);
  }

  /** Whether the page has all that there is at this place, so that nobody else knows better. */
  covers(seq: number): boolean {
    const { attached, first, last } = this.timeline;
    return this.state.name === "open" && attached && first <= seq && seq <= last;
  }

  /** Who may be called in a message. */
  get callable(): string[] {
    const senders = this.timeline.entries.flatMap((entry) => (entry.kind === "message" ? entry.sender : []));
    const here = this.roster?.present.map(({ user }) => user) ?? [];
    return [...new Set([...this.members, ...here, ...senders])].filter((user) => user !== this.me);
  }

  outgoingShown(): Outgoing[] {
    return this.outgoing.shown();
  }

  start(): void {
    this.unsubscribe = [
      this.conversation.onTypings((users) => {
        this.typings = users;
        this.hooks.changed(this);
      }),
      this.conversation.onRoster((roster) => this.takeRoster(roster)),
      this.messages.onReceipt(this.name, ({ user, read, delivered }) => this.takeSeen([{ user, seen: read, delivered }])),
    ];
    void this.read();
  }

  stop(): void {
    this.reading?.abort();
    this.history.cancel();
    for (const end of this.unsubscribe) end();
    this.unsubscribe = [];
  }

  /** Begins anew after an end. */
  restart(): void {
    this.reading?.abort();
    this.state = { name: "opening" };
    this.isOpen = this.left = false;
    this.hooks.changed(this);
    void this.read();
  }

  /** The user looks at this conversation from now on. Returns where to stand. */
  enter(): Place {
    this.unreadAfter = this.unread > 0 ? this.talk.read : undefined;
    if (this.unreadAfter === undefined) return "end";
    const first = this.timeline.entries[0];
    const held = first !== undefined && firstSeq(first) <= this.unreadAfter + 1;
    if (!held && this.unreadAfter > 0) void this.history.toUnread(this.unreadAfter);
    return held ? { seq: this.unreadAfter + 1 } : "end";
  }

  /** Nobody looks any longer: only the newest is kept. */
  leave(): void {
    this.unreadAfter = undefined;
    this.history.cancel();
    if (!this.timeline.attached && this.state.name === "open") void this.history.toLatest();
    this.timeline.shrink(OPEN_EVENTS);
  }

  /** Everything up to `seq` was before the user's eyes. Returns whether that is news. */
  markSeen(seq: number): boolean {
    if (this.state.name !== "open" || this.history.leaping || seq <= (this.talk.read ?? 0)) return false;
    this.talk.read = seq;
    this.conversation.seen(seq);
    this.count();
    return true;
  }

  typing(): void {
    this.conversation.typing();
  }

  private async read(): Promise<void> {
    const reading = new AbortController();
    this.reading = reading;
    let opening: Entry[] | undefined = [];
    try {
      for await (const event of this.conversation.events({ from: { last: OPEN_EVENTS }, signal: reading.signal })) {
        this.interrupted = event.type === "interrupted";
        if (event.type === "member_gone" && event.user === this.me) this.left = true;
        if (event.type === "member_set" && event.user === this.me) this.left = false;
        if (event.type === "interrupted") {
          this.hooks.changed(this);
        } else if (event.type === "caught_up") {
          if (opening) this.opened(opening, event.head);
          opening = undefined;
        } else {
          const entry = entryOf(event);
          if (event.type === "retention_set" && !opening) {
            // What has gone by the one before stays so.
            this.expire(event.timeMs);
            this.keep(event.retention);
          }
          this.view.event(event);
          this.dueMs = 0;
          this.noteRevoked(event);
          if (opening) opening.push(entry);
          else this.live(entry);
          const isDeed = entry.kind === "note" && event.type !== "message" && event.type !== "unknown";
          if (!opening && isDeed) this.hooks.happened(this);
        }
      }
    } catch (error) {
      if (reading.signal.aborted) return;
      // Who has left reads up to there, and nothing says that this is all.
      const last = opening?.at(-1);
      if (opening && last) this.opened(opening, last.kind === "gap" ? last.to : last.seq);
      this.ended(error);
    }
  }

  private ended(error: unknown): void {
    const reason = error instanceof QuothError ? error : new QuothError("INTERNAL", String(error), true);
    if (reason.code === "CURSOR_AHEAD") {
      // The server has less than this page has seen: it has lost its store. What it has is what counts.
      this.talk.read = undefined;
      this.seenBook.clear();
      this.view = new ConversationView(this.me);
      this.revoked.clear();
      this.asked.clear();
      this.restart();
      return;
    }
    this.state = { name: "ended", error: reason };
    if (reason.code === "FORBIDDEN" && !this.left) this.hooks.barred(this);
    this.hooks.changed(this);
  }

  private opened(entries: Entry[], head: number): void {
    const first = entries[0];
    this.timeline.head = head;
    this.timeline.reset(entries, { head, moreBefore: first ? firstSeq(first) > 1 : head > 0, moreAfter: false });
    this.state = { name: "open" };
    // What was there before the first visit is history, not news.
    if (this.talk.read === undefined || this.talk.read > head) this.talk.read = head;
    if (this.talk.read > 0) this.conversation.seen(this.talk.read);
    this.timeline.absent(this.view.gaps);
    this.recall();
    this.messages.mark(this.name, { delivered: head });
    this.settle();
    this.count();
    this.hooks.opened(this);
  }

  private live(entry: Entry): void {
    const attention = this.hooks.attention(this);
    const fromOther = entry.kind === "message" && entry.sender !== this.me;
    // A line that stands is not moved before the reader's eyes.
    const lineMayMove = attention === "unfocused" || (attention === "scrolled" && this.unreadAfter === undefined);
    if (fromOther && lineMayMove && this.unread === 0) this.unreadAfter = this.talk.read;
    this.timeline.live(entry, attention === "scrolled" ? "start" : "end");
    if (entry.kind !== "gap") this.messages.mark(this.name, { delivered: entry.seq });
    if (attention === "elsewhere" && this.timeline.entries.length > 2 * OPEN_EVENTS) this.timeline.shrink(OPEN_EVENTS);
    if (entry.kind === "message") {
      if (fromOther) this.hooks.arrived(this, entry);
      else this.outgoing.echo(entry.seq, entry.text);
    }
    this.settle();
    if (!this.dropAbsent()) {
      this.recall();
      this.count();
    }
    this.hooks.changed(this);
  }

  private takeRoster(roster: Roster | undefined): void {
    this.roster = roster;
    this.takeSeen(roster?.present ?? []);
  }

  private takeSeen(present: readonly Present[]): void {
    this.seenBook.apply(present);
    // Read on another device of this user is read.
    if (this.talk.read !== undefined) this.readTo(this.seenBook.own);
    this.hooks.changed(this);
  }

  /** Somewhere else the user has read so far. */
  readTo(seq: number): void {
    if (seq <= (this.talk.read ?? 0)) return;
    this.talk.read = seq;
    this.count();
  }

  /** A part of the history, which is noted. */
  private async page(options: MessageHistoryOptions): Promise<Page> {
    const page = await this.messages.history(this.name, options);
    options.signal?.throwIfAborted();
    this.view.page(page);
    this.dueMs = 0;
    for (const event of page.events) this.noteRevoked(event);
    return pageOf(page);
  }

  private noteRevoked(event: LogEvent | Gap): void {
    if (event.type === "revoked") this.revoked.add(event.of);
  }

  private async askQuote(seq: number): Promise<void> {
    this.asked.add(seq);
    try {
      await this.page({ after: seq - 1, limit: 1 });
      this.dropAbsent();
      this.hooks.changed(this);
    } catch {
      // Asked again when it is drawn the next time.
      this.asked.delete(seq);
    }
  }

  /** More of the history is held, or another part of it. */
  private stretched(place: Place | undefined): void {
    this.timeline.absent(this.view.gaps);
    this.settle();
    this.count();
    if (place) this.hooks.moved(this, place);
    this.hooks.changed(this);
  }

  private settle(): void {
    if (this.timeline.attached) this.outgoing.shownUpTo(this.timeline.last);
  }

  /** Something is known anew of how long events are kept. */
  private keep(retention: Retention | undefined): void {
    this.retention = retention;
    this.dueMs = 0;
  }

  /** What has become absent goes from all that is shown. Whether anything has. */
  private dropAbsent(): boolean {
    if (this.view.gaps === this.absent) return false;
    this.absent = this.view.gaps;
    this.timeline.absent(this.absent);
    this.recall();
    this.count();
    return true;
  }

  /** What the list says of it: the last message that is still there, and one that is on its way behind it. */
  recall(): void {
    const { timeline, hidden } = this;
    const waiting = this.outgoing.shown().filter(({ mark }) => mark !== "failed").at(-1);
    if (waiting) return this.say({ sender: this.me, text: waiting.text, timeMs: waiting.timeMs });
    const { seq = 0 } = this.talk.last ?? {};
    // Further up it is not known what there is at the end.
    if (!timeline.attached && !this.isAbsent(seq) && !hidden.has(seq)) return;
    const last = timeline.attached ? timeline.lastMessage(hidden) : undefined;
    this.talk.last = undefined;
    if (last) this.say({ seq: last.seq, sender: last.sender, text: this.nowOf(last.seq)?.edited?.text ?? last.text, timeMs: last.timeMs });
  }

  say(last: Last): void {
    this.talk.last = last;
    this.talk.timeMs = last.timeMs;
  }

  private count(): void {
    const { read } = this.talk;
    this.unread = read === undefined ? 0 : unreadOf(this.timeline, read, this.me);
    const calls = (entry: Entry): boolean =>
      entry.kind === "message" && entry.seq > (read ?? 0) && entry.sender !== this.me && this.mentionsOf(entry).includes(this.me);
    this.mentions = this.unread === 0 ? 0 : this.timeline.entries.slice(this.timeline.indexOf((read ?? 0) + 1)).filter(calls).length;
  }

  private mentionsOf(message: Message): readonly string[] {
    return this.nowOf(message.seq)?.edited?.mentions ?? message.mentions ?? [];
  }
}

const isIn = (ranges: readonly Range[], seq: number): boolean => ranges.some(({ from, to }) => from <= seq && seq <= to);
