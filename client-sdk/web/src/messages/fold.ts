/**
 * What messages come to by the events about them, in whatever order these arrive and however often. No IO.
 *
 * Each message is as it was by all events up to some seq: that of the page that it came with, or its own, and
 * from there on as far as nothing is missing. What comes behind a hole, or is about a message that is not
 * here, waits. What is absent goes at once.
 */
import type { Gap, LogEvent } from "../api.js";
import { allBehind, endOf, isIn, type Range, withoutRange, withRange } from "./ranges.js";
import type { ChangeEvent, Edit, MessagePage, MessageState, Reaction } from "./shapes.js";

/**
 * So many edits and reactions wait at most; of the edits of a message only the latest one does. Those that
 * are let go of, of the oldest messages first, count as not told: they come again with a page that has them,
 * and a page that has their messages makes up for them.
 */
const WAITING_MAX = 10_000;

type Change = ChangeEvent & { readonly type: "edited" | "reacted" };

interface Known {
  edited: Edit | undefined;
  readonly reactions: Map<string, Reaction>;
  /** All events about it up to this one are in it. */
  version: number;
}

export class Fold {
  private readonly known = new Map<number, Known>();
  /** Events about messages that are not here, or before which another one may be missing, by these. */
  private readonly waiting = new Map<number, Map<number, Change>>();
  private waitingCount = 0;
  private heard: readonly Range[] = [];
  private absent: readonly Range[] = [];
  private begin = 0;
  /** Whether something was heard by which other things that were heard before may be complete now. */
  private isJoined = false;

  /** `me`: the user whose own reactions are marked. */
  constructor(private readonly me: string) {}

  /** What is known to be absent, both ends included, merged where it touches. The same list until it changes. */
  get gaps(): readonly Range[] {
    return this.absent;
  }

  /** The seqs that are known, by an event or as absent. */
  get told(): readonly Range[] {
    return this.heard;
  }

  /** Takes an event that a reader has got, or a gap. */
  event(event: LogEvent | Gap): void {
    this.take(event);
    this.settleAll();
  }

  page(page: Omit<MessagePage, "complete">): void {
    const states = new Map(page.states.map((state) => [state.seq, state]));
    for (const event of page.events) this.take(event, page.head, states);
    this.drop(1, page.floor - 1);
    this.hear(page.from, page.to);
    // Messages may have come, or be of a later time.
    this.isJoined = true;
    this.settleAll();
  }

  /** Takes what is absent. */
  gap({ from, to }: Range): void {
    this.drop(from, to);
    this.settleAll();
  }

  /** What a message has come to; `undefined` when it is not here. */
  state(seq: number): MessageState | undefined {
    const known = this.known.get(seq);
    return known && { seq, version: known.version, edited: known.edited, reactions: [...known.reactions.values()].sort((a, b) => (a.reaction < b.reaction ? -1 : 1)) };
  }

  /** Whether something of a seq is to be taken: it is not absent and not forgotten. */
  takes(seq: number): boolean {
    return seq >= this.begin && !isIn(this.absent, seq);
  }

  /** Forgets what is before a seq, and takes no more of it. */
  forgetBefore(seq: number): void {
    this.begin = Math.max(this.begin, seq);
    const before = { from: 0, to: this.begin - 1 };
    this.remove(before);
    this.heard = withoutRange(this.heard, before);
    this.absent = withoutRange(this.absent, before);
  }

  /** `head`, `states`: of the page that it is of. */
  private take(event: LogEvent | Gap, head?: number, states?: ReadonlyMap<number, MessageState>): void {
    if (event.type === "gap") return this.drop(event.from, event.to);
    const { seq } = event;
    let about: number | undefined;
    if (event.type === "message") {
      about = seq;
      if (this.takes(seq)) this.message(seq, states?.get(seq), head ?? seq);
    } else if (event.type === "revoked") {
      for (const gone of [...this.editsOf(event.of), event.of]) this.drop(gone, gone);
    } else if (event.type === "edited" || event.type === "reacted") {
      about = event.of;
      const is = this.takes(about) && this.takes(seq) && (event.type === "reacted" || this.isLatestEdit(about, seq));
      if (is) this.wait(event);
    }
    this.hear(seq, seq);
    if (about !== undefined && head === undefined && !this.isJoined) this.settle(about);
  }

  private message(seq: number, state: MessageState | undefined, head: number): void {
    // A state may be later than the head that its page tells.
    const version = Math.max(head, state?.version ?? 0);
    const known = this.known.get(seq);
    if (state?.edited) this.isLatestEdit(seq, state.edited.seq);
    // What a reader has told meanwhile is later than the page, or the page is later than what is here.
    if (known && allBehind(this.heard, known.version) >= version) return;
    this.known.set(seq, { edited: state?.edited, reactions: new Map(state?.reactions.map((one) => [one.reaction, one])), version });
  }

  private hear(from: number, to: number): void {
    from = Math.max(from, this.begin);
    if (to < from || (endOf(this.heard, from) ?? 0) >= to) return;
    this.heard = withRange(this.heard, { from, to });
    this.isJoined ||= from < to || (endOf(this.heard, to) as number) > to;
  }

  private drop(from: number, to: number): void {
    const range = { from: Math.max(from, this.begin), to };
    if (to < range.from) return;
    this.absent = withRange(this.absent, range);
    this.hear(from, to);
    this.remove(range);
  }

  /** Messages, and what waits for them. */
  private remove({ from, to }: Range): void {
    const isShort = to - from < this.known.size + this.waiting.size;
    const seqs = isShort ? Array.from({ length: to - from + 1 }, (_, i) => from + i) : [...this.known.keys(), ...this.waiting.keys()];
    for (const seq of seqs) {
      if (seq < from || seq > to) continue;
      this.known.delete(seq);
      this.release(seq);
    }
  }

  private release(of: number): ReadonlyMap<number, Change> {
    const changes = this.waiting.get(of) ?? new Map();
    this.waiting.delete(of);
    this.waitingCount -= changes.size;
    return changes;
  }

  private wait(event: Change): void {
    const changes = this.waiting.get(event.of) ?? new Map<number, Change>();
    if (!changes.has(event.seq)) this.waitingCount++;
    this.waiting.set(event.of, changes.set(event.seq, event));
  }

  /** The edits of a message that have come and are not absent. */
  private editsOf(of: number): number[] {
    const edits = [...(this.waiting.get(of)?.values() ?? [])].filter(({ type }) => type === "edited").map(({ seq }) => seq);
    const shown = this.known.get(of)?.edited?.seq;
    return shown ? [shown, ...edits] : edits;
  }

  /** All edits of a message but the latest one are absent: whether `edit` is that. */
  private isLatestEdit(of: number, edit: number): boolean {
    const edits = [edit, ...this.editsOf(of)];
    const latest = Math.max(...edits);
    for (const earlier of edits) {
      if (earlier === latest) continue;
      if (this.waiting.get(of)?.delete(earlier)) this.waitingCount--;
      this.drop(earlier, earlier);
    }
    return edit === latest;
  }

  /** Takes what waits, as far as nothing can be missing before it, and lets go of some when it is too much. */
  private settleAll(): void {
    if (this.isJoined) for (const seq of [...this.waiting.keys()]) this.settle(seq);
    this.isJoined = false;
    if (this.waitingCount <= WAITING_MAX) return;
    // What is complete does not depend any more on what is let go of.
    for (const known of this.known.values()) known.version = allBehind(this.heard, known.version);
    for (const of of [...this.waiting.keys()].sort((a, b) => a - b)) {
      if (this.waitingCount <= WAITING_MAX / 2) break;
      for (const seq of this.release(of).keys()) this.heard = withoutRange(this.heard, { from: seq, to: seq });
    }
  }

  private settle(seq: number): void {
    const known = this.known.get(seq);
    if (!known || !this.waiting.has(seq)) return;
    const upTo = allBehind(this.heard, known.version);
    for (const change of [...this.release(seq).values()].sort((a, b) => a.seq - b.seq)) {
      if (change.seq > upTo) this.wait(change);
      else if (change.seq > known.version) apply(known, change, this.me);
    }
  }
}

function apply(known: Known, change: Change, me: string): void {
  known.version = change.seq;
  if (change.type === "edited") {
    const { seq, timeMs, body, mentions } = change;
    known.edited = { seq, timeMs, body, mentions };
    return;
  }
  const { reaction, on, sender } = change;
  const before = known.reactions.get(reaction);
  const count = (before?.count ?? 0) + (on ? 1 : -1);
  if (count > 0) known.reactions.set(reaction, { reaction, count, mine: sender === me ? on : (before?.mine ?? false) });
  else known.reactions.delete(reaction);
}
