/**
 * A conversation as its user sees it: messages as they stand, other events, and what is missing as exact
 * ranges. No IO. Events may come from a reader, from pages, or from both at once; who was away comes to the
 * same as who was there.
 */
import type { Gap, LogEvent, Message, RoomEvent } from "../api.js";
import type { MembershipEvent } from "../members/shapes.js";
import { textOf } from "../room/reading.js";
import { Fold } from "./fold.js";
import { Kept } from "./kept.js";
import type { Range } from "./ranges.js";
import type { ChangeEvent, MessagePage, Reaction, Retention } from "./shapes.js";

/** A message as it stands: `body`, `text` and `mentions` are those of its latest edit. */
export interface MessageView extends Message {
  /** The latest edit: the event that made it, and when. */
  readonly edited?: { readonly seq: number; readonly timeMs: number } | undefined;
  readonly reactions: readonly Reaction[];
}

/** What stands in a conversation, in ascending order. Edits, reactions and revocations stand in what they are about. */
export type ViewEntry = MessageView | Exclude<LogEvent, Message | ChangeEvent> | MembershipEvent | (ChangeEvent & { type: "retention_set" }) | Gap;

/**
 * Each message stands as it was at some time, so as it is while events about it may be missing: those between
 * what was read of it and where a reader has begun anew. These, or a page that has it, bring it up to date;
 * `told` says what is missing. Everything is held until `forgetBefore`, but of edits and reactions whose
 * messages have not come only 10,000, those of the latest messages. Those that are let go of count as not
 * told. Who fills holes begins with the first one, so that messages come before what is about them.
 */
export class ConversationView {
  private readonly events = new Map<number, LogEvent>();
  private readonly fold: Fold;
  private readonly kept = new Kept();
  private readonly hidden = new Set<number>();
  /** The last seq that was heard of. */
  private head = 0;
  private pruned: readonly Range[] = [];
  private list: readonly ViewEntry[] | undefined;

  /** `me`: the user who looks at it. */
  constructor(me: string) {
    this.fold = new Fold(me);
  }

  /** Takes what a reader has got. */
  event(event: RoomEvent): void {
    if (event.type === "interrupted") return;
    // What the one before has come to stays so.
    if (event.type === "retention_set") this.expireByRetention(event.timeMs, this.retentionInForce);
    this.head = Math.max(this.head, event.type === "caught_up" ? event.head : event.type === "gap" ? event.to : event.seq);
    if (event.type === "caught_up") return;
    this.note(event);
    this.fold.event(event);
    this.prune();
  }

  /** Takes a page of history. */
  page(page: Omit<MessagePage, "complete">): void {
    this.head = Math.max(this.head, page.head);
    for (const event of page.events) this.note(event);
    this.fold.page(page);
    this.prune();
  }

  /** Leaves a message out that its user wants to see no more, as `hidden` events of `$me` say. */
  hide(seq: number): void {
    this.list = undefined;
    this.hidden.add(seq);
  }

  /**
   * Takes away what has expired by `nowMs` of the server's clock, and tells when something does so next, as
   * far as that depends on the time: by its own time, and by the age and the number of what is kept where
   * each event has come since that was set. The server says nothing when something expires. A reader should
   * have caught up, since a longer retention may have been set meanwhile.
   *
   * `retention`: what holds by what the application knows. Default: `retentionInForce`.
   */
  expire(nowMs: number, retention = this.retentionInForce): number | undefined {
    let next = Infinity;
    for (const event of this.events.values()) {
      const atMs = (event.type === "message" && event.expiresMs) || Infinity;
      if (atMs <= nowMs) this.fold.gap({ from: event.seq, to: event.seq });
    }
    this.prune();
    next = Math.min(next, this.expireByRetention(nowMs, retention));
    for (const event of this.events.values()) next = Math.min(next, (event.type === "message" && event.expiresMs) || Infinity);
    return next === Infinity ? undefined : next;
  }

  /** Forgets all that is known of what is before a seq, and takes no more of it. */
  forgetBefore(seq: number): void {
    this.fold.forgetBefore(seq);
    this.kept.forgetBefore(seq);
    for (const hidden of this.hidden) if (hidden < seq) this.hidden.delete(hidden);
    for (const held of this.events.keys()) if (held < seq) this.events.delete(held);
    this.prune();
  }

  /** What stands there, in ascending order. The same list until something changes. */
  get entries(): readonly ViewEntry[] {
    return (this.list ??= this.make());
  }

  /** What is known to be absent, both ends included, merged where it touches. */
  get gaps(): readonly Range[] {
    return this.fold.gaps;
  }

  /** The seqs that are known, by an event or as absent. Between two of these ranges there is more to fetch. */
  get told(): readonly Range[] {
    return this.fold.told;
  }

  /** How long events are kept, by the latest event that has come which says so; `undefined`: none does, and the operator's rules hold. */
  get retention(): Retention | undefined {
    return this.kept.retention;
  }

  /** The same where each event has come since that one, so that none of them may have set another. */
  get retentionInForce(): Retention | undefined {
    return this.kept.inForceAt(this.head);
  }

  /** A message as it stands, hidden or not; `undefined` when it is not here. */
  message(seq: number): MessageView | undefined {
    const event = this.events.get(seq);
    return event?.type === "message" ? this.messageOf(event) : undefined;
  }

  private note(event: LogEvent | Gap): void {
    if (event.type === "gap") return;
    this.kept.event(event);
    if (this.fold.takes(event.seq)) this.events.set(event.seq, event);
  }

  /** Takes away what the retention in force lets expire; gives when age does so next. */
  private expireByRetention(nowMs: number, { ageS, count }: Pick<Retention, "ageS" | "count"> = { ageS: 0, count: 0 }): number {
    let end = count > 0 ? this.head - count : 0;
    let next = Infinity;
    for (const { seq, timeMs } of ageS > 0 ? this.events.values() : []) {
      const atMs = timeMs + ageS * 1_000;
      // Times only grow, so with each of them everything before it has expired.
      if (atMs <= nowMs) end = Math.max(end, seq);
      else if (seq > end) next = Math.min(next, atMs);
    }
    this.fold.gap({ from: 1, to: end });
    this.prune();
    return next;
  }

  /** Something may have changed. */
  private prune(): void {
    this.list = undefined;
    if (this.pruned === this.gaps) return;
    this.pruned = this.gaps;
    for (const seq of this.events.keys()) if (!this.fold.takes(seq)) this.events.delete(seq);
  }

  private make(): ViewEntry[] {
    const entries: ViewEntry[] = this.gaps.map((range) => ({ type: "gap", ...range }));
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
