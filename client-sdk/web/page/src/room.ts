/** One conversation of the list: its reader, what is held of its log, and what is known of the others in it. */

import { QuothError, type Conversation, type Gap, type LogEvent, type Page as SdkPage, type Roster } from "../../src/index.js";
import { Timeline, firstSeq, type Entry, type Message, type Page } from "./model/timeline.js";
import { OutgoingList, type Outgoing } from "./model/outgoing.js";
import { SeenBook } from "./model/marks.js";
import { unreadOf } from "./model/unread.js";
import { isolated } from "./model/text.js";
import type { Talk } from "./model/talks.js";
import type { LogSource } from "./view/log.js";

/** What is read when a conversation is opened, and kept of one that nobody looks at. */
const OPEN_EVENTS = 60;
const PAGE_EVENTS = 100;
/** What is held at most; the rest is fetched again when wanted. */
const HELD_MAX = 3000;
/** Read messages that are shown before the unread line. */
const CONTEXT_EVENTS = 20;

export interface RoomHooks {
  /** Something to show has changed. */
  changed(room: Room): void;
  /** A message of another user has come live. */
  arrived(room: Room, message: Message): void;
  /** The conversation has been read up to its head for the first time. */
  opened(room: Room): void;
  /** The log stands at another place. */
  moved(room: Room, place: "end" | { seq: number }): void;
  attention(room: Room): Attention;
}

/** Where the user is: at this log's end, there with the window out of sight, further up, or in another conversation. */
export type Attention = "reading" | "unfocused" | "scrolled" | "elsewhere";

export type RoomState = { name: "opening" } | { name: "open" } | { name: "ended"; error: QuothError };
export type Loading = "idle" | "loading" | "failed";

export class Room implements LogSource {
  readonly timeline = new Timeline(HELD_MAX);
  readonly outgoing = new OutgoingList();
  readonly seenBook: SeenBook;
  state: RoomState = { name: "opening" };
  unreadAfter: number | undefined;
  unread = 0;
  typings: readonly string[] = [];
  roster: Roster | undefined;
  /** The server cannot send what comes next at the moment. */
  interrupted = false;
  older: Loading = "idle";
  private moving: AbortController | undefined;
  private reading: AbortController | undefined;
  private unsubscribe: (() => void)[] = [];

  constructor(
    readonly talk: Talk,
    readonly me: string,
    private readonly conversation: Conversation,
    private readonly hooks: RoomHooks,
  ) {
    this.seenBook = new SeenBook(me);
  }

  get name(): string {
    return this.talk.name;
  }

  get readUpTo(): number {
    return this.seenBook.readUpTo;
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
    ];
    void this.read();
  }

  stop(): void {
    this.reading?.abort();
    this.moving?.abort();
    for (const end of this.unsubscribe) end();
    this.unsubscribe = [];
  }

  /** Begins anew after an end. */
  restart(): void {
    this.reading?.abort();
    this.state = { name: "opening" };
    this.hooks.changed(this);
    void this.read();
  }

  /** The user looks at this conversation from now on. Returns where to stand. */
  enter(): "end" | { seq: number } {
    this.unreadAfter = this.unread > 0 ? this.talk.read : undefined;
    if (this.unreadAfter === undefined) return "end";
    const first = this.timeline.entries[0];
    const held = first !== undefined && firstSeq(first) <= this.unreadAfter + 1;
    if (!held && this.unreadAfter > 0) void this.moveTo(this.unreadAfter);
    return held ? { seq: this.unreadAfter + 1 } : "end";
  }

  /** Nobody looks any longer: only the newest is kept. */
  leave(): void {
    this.unreadAfter = undefined;
    this.moving?.abort();
    this.older = "idle";
    if (!this.timeline.attached && this.state.name === "open") void this.toLatest();
    this.timeline.shrink(OPEN_EVENTS);
  }

  /** Everything up to `seq` was before the user's eyes. */
  markSeen(seq: number): boolean {
    if (seq <= (this.talk.read ?? 0)) return false;
    this.talk.read = seq;
    this.conversation.seen(seq);
    this.count();
    return true;
  }

  typing(): void {
    this.conversation.typing();
  }

  async loadOlder(): Promise<void> {
    if (this.older !== "idle" || this.timeline.atStart || this.state.name !== "open") return;
    const signal = this.beginMove();
    this.older = "loading";
    this.hooks.changed(this);
    try {
      this.timeline.before(pageOf(await this.conversation.history({ before: this.timeline.first, limit: PAGE_EVENTS, signal })));
      this.older = "idle";
    } catch {
      if (signal.aborted) return;
      this.older = "failed";
    }
    this.endMove(signal);
  }

  retryOlder(): void {
    if (this.older === "failed") this.older = "idle";
    void this.loadOlder();
  }

  async loadNewer(): Promise<void> {
    if (this.timeline.attached || this.moving || this.state.name !== "open") return;
    const signal = this.beginMove();
    try {
      this.timeline.after(pageOf(await this.conversation.history({ after: this.timeline.last, limit: PAGE_EVENTS, signal })));
      this.settle();
    } catch {
      // The next scroll asks again.
    }
    this.endMove(signal);
  }

  /** Back to the log's end. */
  async toLatest(): Promise<void> {
    const signal = this.beginMove();
    try {
      const page = pageOf(await this.conversation.history({ limit: PAGE_EVENTS, signal }));
      this.timeline.reset(page.entries, { head: page.head, moreBefore: page.more, moreAfter: false });
      this.settle();
      this.endMove(signal, "end");
    } catch {
      // The button stays: the user can ask again.
      this.endMove(signal);
    }
  }

  /** To a place in the history that is not held. */
  private async moveTo(after: number): Promise<void> {
    const signal = this.beginMove();
    try {
      const from = Math.max(0, after - CONTEXT_EVENTS);
      const page = pageOf(await this.conversation.history({ after: from, limit: PAGE_EVENTS, signal }));
      this.timeline.reset(page.entries, { head: page.head, moreBefore: from > 0, moreAfter: page.more, after: from });
      this.endMove(signal, { seq: after + 1 });
    } catch {
      // Then the conversation stands at its end.
      this.endMove(signal);
    }
  }

  /** One way through the history at a time: a new one ends the one before. */
  private beginMove(): AbortSignal {
    this.moving?.abort();
    this.moving = new AbortController();
    if (this.older === "loading") this.older = "idle";
    return this.moving.signal;
  }

  private endMove(signal: AbortSignal, place?: "end" | { seq: number }): void {
    if (signal.aborted) return;
    this.moving = undefined;
    this.count();
    if (place) this.hooks.moved(this, place);
    this.hooks.changed(this);
  }

  private async read(): Promise<void> {
    const reading = new AbortController();
    this.reading = reading;
    try {
      let opening: Entry[] | undefined = [];
      for await (const event of this.conversation.events({ from: { last: OPEN_EVENTS }, signal: reading.signal })) {
        this.interrupted = event.type === "interrupted";
        if (event.type === "interrupted") {
          this.hooks.changed(this);
        } else if (event.type === "caught_up") {
          if (opening) this.opened(opening, event.head);
          opening = undefined;
        } else if (opening) {
          opening.push(entryOf(event));
        } else {
          this.live(entryOf(event));
        }
      }
    } catch (error) {
      if (reading.signal.aborted) return;
      this.ended(error);
    }
  }

  private ended(error: unknown): void {
    const reason = error instanceof QuothError ? error : new QuothError("INTERNAL", String(error), true);
    if (reason.code === "CURSOR_AHEAD") {
      // The server has less than this page has seen: it has lost its store. What it has is what counts.
      this.talk.read = undefined;
      this.restart();
      return;
    }
    this.state = { name: "ended", error: reason };
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
    for (const entry of entries) if (entry.kind === "message") this.remember(entry);
    this.settle();
    this.count();
    this.hooks.opened(this);
  }

  private live(entry: Entry): void {
    const attention = this.hooks.attention(this);
    const fromOther = entry.kind !== "gap" && entry.sender !== this.me;
    // A line that stands is not moved before the reader's eyes.
    const lineMayMove = attention === "unfocused" || (attention === "scrolled" && this.unreadAfter === undefined);
    if (fromOther && lineMayMove && this.unread === 0) this.unreadAfter = this.talk.read;
    this.timeline.live(entry, attention === "scrolled" ? "start" : "end");
    if (attention === "elsewhere" && this.timeline.entries.length > 2 * OPEN_EVENTS) this.timeline.shrink(OPEN_EVENTS);
    if (entry.kind === "message") {
      this.remember(entry);
      if (fromOther) this.hooks.arrived(this, entry);
      else this.outgoing.echo(entry.seq, entry.text);
    }
    this.settle();
    this.count();
    this.hooks.changed(this);
  }

  private takeRoster(roster: Roster | undefined): void {
    this.roster = roster;
    if (roster) {
      this.seenBook.apply(roster.present);
      // Read on another device of this user is read.
      if (this.talk.read !== undefined && this.seenBook.own > this.talk.read) {
        this.talk.read = this.seenBook.own;
        this.count();
      }
    }
    this.hooks.changed(this);
  }

  private settle(): void {
    if (this.timeline.attached) this.outgoing.shownUpTo(this.timeline.last);
  }

  private remember(message: Message): void {
    this.talk.last = { sender: message.sender, text: message.text, timeMs: message.timeMs };
  }

  private count(): void {
    this.unread = this.talk.read === undefined ? 0 : unreadOf(this.timeline, this.talk.read, this.me);
  }
}

function pageOf(page: SdkPage): Page {
  return { entries: page.events.map(entryOf), head: page.head, floor: page.floor, more: page.more };
}

export function entryOf(event: LogEvent | Gap): Entry {
  if (event.type === "gap") return { kind: "gap", from: event.from, to: event.to };
  const { seq, timeMs, sender } = event;
  if (event.type === "message" && event.text !== undefined) {
    return { kind: "message", seq, timeMs, sender, text: event.text, ...(event.originTimeMs === undefined ? {} : { originMs: event.originTimeMs }) };
  }
  const what = event.type === "message" ? `${isolated(sender)} sent ${event.body.length.toLocaleString("en")} bytes that are not text` : `${isolated(sender)} did something that this page does not know`;
  return { kind: "note", seq, timeMs, sender, what };
}

