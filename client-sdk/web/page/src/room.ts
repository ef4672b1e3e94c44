/** One conversation of the list: its reader, what is held of its log, and what is known of the others in it. */

import { QuothError, type Conversation, type Gap, type LogEvent, type Roster } from "../../src/index.js";
import { Fold, type MessageHistoryOptions, type Messages } from "../../src/messages/index.js";
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
import type { Talk } from "./model/talks.js";
import type { LogSource } from "./view/log.js";

/** What is read when a conversation is opened, and kept of one that nobody looks at. */
const OPEN_EVENTS = 60;
/** What is held at most; the rest is fetched again when wanted. */
const HELD_MAX = 3000;

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
  private fold: Fold;
  /** What is not held and was asked for, because a message answers it. */
  private readonly quotes = new Map<number, Quote>();
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
    this.fold = new Fold(me);
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
  }

  get readUpTo(): number {
    return this.seenBook.readUpTo;
  }

  get deliveredUpTo(): number {
    return this.seenBook.deliveredUpTo;
  }

  /** What a message has come to. */
  nowOf(seq: number): (Now & { editedSeq?: number | undefined }) | undefined {
    const state = this.fold.state(seq);
    if (!state) return undefined;
    const { edited, reactions } = state;
    if (!edited) return { reactions };
    return { edited: { text: textOf(edited.body), mentions: edited.mentions }, editedSeq: edited.seq, reactions };
  }

  /** What a message that another one answers says. One that is not held is asked for. */
  quoteOf(seq: number): Quote {
    const entry = this.timeline.entries[this.timeline.indexOf(seq)];
    if (entry?.kind === "message" && entry.seq === seq)
      return { seq, sender: entry.sender, text: this.nowOf(seq)?.edited?.text ?? entry.text };
    if (this.revoked.has(seq) || (entry?.kind === "gap" && entry.from <= seq)) return { seq, sender: undefined, text: "" };
    const known = this.quotes.get(seq) ?? { seq, sender: undefined, text: undefined };
    if (!this.quotes.has(seq)) void this.askQuote(known);
    return known;
  }

  /** A message that is held. */
  message(seq: number): Message | undefined {
    const entry = this.timeline.entries[this.timeline.indexOf(seq)];
    return entry?.kind === "message" && entry.seq === seq ? entry : undefined;
  }

  /** Takes away what has expired. */
  expire(nowMs: number): void {
    for (const entry of this.timeline.entries)
      if (entry.kind === "message" && entry.expiresMs && entry.expiresMs <= nowMs) this.timeline.gone(entry.seq);
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
          this.fold.event(event);
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
      this.fold = new Fold(this.me);
      this.revoked.clear();
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
    for (const seq of this.revoked) this.timeline.gone(seq);
    this.remember();
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
    if (entry.kind === "change") for (const seq of this.revoked) this.timeline.gone(seq);
    if (entry.kind !== "gap") this.messages.mark(this.name, { delivered: entry.seq });
    if (attention === "elsewhere" && this.timeline.entries.length > 2 * OPEN_EVENTS) this.timeline.shrink(OPEN_EVENTS);
    if (entry.kind === "message" || entry.kind === "change") this.remember();
    if (entry.kind === "message") {
      if (fromOther) this.hooks.arrived(this, entry);
      else this.outgoing.echo(entry.seq, entry.text);
    }
    this.settle();
    this.count();
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
    this.fold.page(page);
    for (const event of page.events) this.noteRevoked(event);
    return pageOf(page);
  }

  private noteRevoked(event: LogEvent | Gap): void {
    if (event.type === "revoked") this.revoked.add(event.of);
  }

  private async askQuote(asked: Quote): Promise<void> {
    const { seq } = asked;
    this.quotes.set(seq, asked);
    try {
      const { events, states } = await this.messages.history(this.name, { after: seq - 1, limit: 1 });
      const [event] = events;
      const edited = states.find((state) => state.seq === seq)?.edited;
      const said = event?.type === "message" && event.seq === seq ? event : undefined;
      const text = said && (edited ? textOf(edited.body) : (said.text ?? ""));
      this.quotes.set(seq, { seq, sender: said?.sender, text: text ?? "" });
      this.hooks.changed(this);
    } catch {
      // Asked again when it is drawn the next time.
      this.quotes.delete(seq);
    }
  }

  /** More of the history is held, or another part of it. */
  private stretched(place: Place | undefined): void {
    this.settle();
    this.count();
    if (place) this.hooks.moved(this, place);
    this.hooks.changed(this);
  }

  private settle(): void {
    if (this.timeline.attached) this.outgoing.shownUpTo(this.timeline.last);
  }

  /** What the list says of it: the last message that is still there. */
  private remember(): void {
    if (!this.timeline.attached) return;
    const { entries } = this.timeline;
    let at = entries.length - 1;
    const isLast = (entry: Entry | undefined): entry is Message => entry?.kind === "message" && !this.hidden.has(entry.seq);
    while (at >= 0 && !isLast(entries[at])) at -= 1;
    const last = entries[at];
    if (!isLast(last)) return;
    this.talk.last = { sender: last.sender, text: this.nowOf(last.seq)?.edited?.text ?? last.text, timeMs: last.timeMs };
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
