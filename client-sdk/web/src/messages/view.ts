/**
 * A conversation as its user sees it: messages as they stand, other events, and what is missing as exact ranges. No IO. Events may come
 * from a reader, from pages, or from both at once; who was away comes to the same as who was there.
 */
import type { Gap, LogEvent, Message, RoomEvent } from "../api.js";
import type { MembershipEvent } from "../members/shapes.js";
import { textOf } from "../room/reading.js";
import { Fold } from "./fold.js";
import { isIn, type Range, withRange } from "./ranges.js";
import type { ChangeEvent, MessagePage, Reaction } from "./shapes.js";

/** A message as it stands: `body`, `text` and `mentions` are those of its latest edit. */
export interface MessageView extends Message {
  /** The latest edit: the event that made it, and when. */
  readonly edited?: { readonly seq: number; readonly timeMs: number } | undefined;
  readonly reactions: readonly Reaction[];
}

/** What stands in a conversation, in ascending order. Edits, reactions and revocations stand in what they are about. */
export type ViewEntry = MessageView | Exclude<LogEvent, Message | ChangeEvent> | MembershipEvent | (ChangeEvent & { type: "retention_set" }) | Gap;

export class ConversationView {
  private readonly events = new Map<number, LogEvent>();
  private readonly fold: Fold;
  private readonly hidden = new Set<number>();
  private absent: Range[] = [];
  private heard: Range[] = [];
  /** The edits that have been heard of, by their messages. */
  private readonly edits = new Map<number, Set<number>>();
  /** The latest event that says how long events are kept. */
  private retentionSet: (ChangeEvent & { type: "retention_set" }) | undefined;
  private list: readonly ViewEntry[] | undefined;

  /** `me`: the user who looks at it. */
  constructor(me: string) {
    this.fold = new Fold(me);
  }

  /** Takes what a reader has got. */
  event(event: RoomEvent): void {
    if (event.type === "caught_up" || event.type === "interrupted") return;
    this.list = undefined;
    if (event.type === "gap") return this.gap(event);
    this.heard = withRange(this.heard, { from: event.seq, to: event.seq });
    if (isIn(this.absent, event.seq)) return;
    this.events.set(event.seq, event);
    this.fold.event(event);
    this.note(event);
  }

  /**
   * Takes a page of history. `false`: it was fetched so long ago that what has happened since is not known any more, and is to be
   * fetched anew.
   */
  page(page: MessagePage): boolean {
    const present = page.events.filter((event) => event.type === "gap" || !isIn(this.absent, event.seq));
    if (!this.fold.page({ ...page, events: present })) return false;
    this.list = undefined;
    this.heard = withRange(this.heard, page);
    for (const event of present) {
      if (event.type === "gap") this.gap(event);
      else {
        this.events.set(event.seq, event);
        this.note(event);
      }
    }
    this.gap({ from: 1, to: page.floor - 1 });
    return true;
  }

  /** Leaves a message out that its user wants to see no more, as `hidden` events of `$me` say. */
  hide(seq: number): void {
    this.list = undefined;
    this.hidden.add(seq);
  }

  /**
   * Takes away what has expired by `nowMs` of the server's clock, and tells when something does so next. What count or size let expire
   * is known as soon as the server tells of it.
   */
  expire(nowMs: number): number | undefined {
    const maxAgeMs = (this.retentionSet?.retention.ageS ?? 0) * 1_000;
    let next = Infinity;
    for (const event of this.events.values()) {
      const byAge = maxAgeMs > 0 ? event.timeMs + maxAgeMs : Infinity;
      const byItself = (event.type === "message" && event.expiresMs) || Infinity;
      const atMs = Math.min(byAge, byItself);
      if (atMs <= nowMs) this.gap({ from: event.seq, to: event.seq });
      else next = Math.min(next, atMs);
    }
    return next === Infinity ? undefined : next;
  }

  /** What stands there, in ascending order. The same list until something changes. */
  get entries(): readonly ViewEntry[] {
    return (this.list ??= this.make());
  }

  /** What is known to be absent, both ends included, merged where it touches. */
  get gaps(): readonly Range[] {
    return this.absent;
  }

  /** The seqs that are known, by an event or as absent. Between two of these ranges there is more to fetch. */
  get told(): readonly Range[] {
    return this.heard;
  }

  /** What an event means to others. */
  private note(event: LogEvent): void {
    // Pages tell of earlier ones when a later one has come.
    if (event.type === "retention_set" && event.seq > (this.retentionSet?.seq ?? 0)) this.retentionSet = event;
    if (event.type === "revoked") this.revoke(event.of);
    if (event.type === "edited") this.edited(event.of, event.seq);
    const edit = event.type === "message" && this.fold.state(event.seq)?.edited?.seq;
    if (edit) this.edited(event.seq, edit);
  }

  /** A message takes its edits with it. */
  private revoke(seq: number): void {
    for (const gone of [seq, ...(this.edits.get(seq) ?? [])]) this.gap({ from: gone, to: gone });
    this.edits.delete(seq);
  }

  /** An edit makes those before it absent. */
  private edited(of: number, seq: number): void {
    const edits = (this.edits.get(of) ?? new Set()).add(seq);
    this.edits.set(of, edits);
    const latest = Math.max(...edits);
    for (const edit of edits) {
      if (edit === latest) continue;
      edits.delete(edit);
      this.gap({ from: edit, to: edit });
    }
  }

  private gap(range: Range): void {
    if (range.to < range.from) return;
    this.list = undefined;
    this.heard = withRange(this.heard, range);
    this.absent = withRange(this.absent, { from: range.from, to: range.to });
    const isShort = range.to - range.from < this.events.size;
    const seqs = isShort ? Array.from({ length: range.to - range.from + 1 }, (_, i) => range.from + i) : [...this.events.keys()];
    for (const seq of seqs) {
      if (seq < range.from || seq > range.to || !this.events.delete(seq)) continue;
      this.fold.forget(seq);
    }
  }

  private make(): ViewEntry[] {
    const entries: ViewEntry[] = this.absent.map((range) => ({ type: "gap", ...range }));
    for (const event of this.events.values()) {
      if (event.type === "message") {
        if (!this.hidden.has(event.seq)) entries.push(this.messageOf(event));
      } else if (event.type !== "edited" && event.type !== "reacted" && event.type !== "revoked") entries.push(event as ViewEntry);
    }
    return entries.sort((a, b) => firstOf(a) - firstOf(b));
  }

  private messageOf(message: Message): MessageView {
    const { edited, reactions = [] } = this.fold.state(message.seq) ?? {};
    if (!edited) return { ...message, reactions };
    const { seq, timeMs, body, mentions } = edited;
    return { ...message, body, mentions, text: textOf(body), edited: { seq, timeMs }, reactions };
  }
}

const firstOf = (entry: ViewEntry): number => (entry.type === "gap" ? entry.from : entry.seq);
