/**
 * What the page holds of one conversation's log: a stretch of it without a hole, in the order of seqs.
 *
 * The stretch is **attached** while its end is the log's end, so that live events can be put behind it. It is
 * bounded: what lies furthest from the reader is let go and fetched again when wanted. Letting go of the end
 * detaches.
 */

export interface Message {
  kind: "message";
  seq: number;
  /** Stored at, milliseconds since 1970, the server's clock. */
  timeMs: number;
  sender: string;
  /** When it was first said, for a message that came from elsewhere. */
  originMs?: number;
  text: string;
  /** The message that it answers. */
  replyTo?: number | undefined;
  mentions?: readonly string[];
  /** When it is gone; 0, or none: at no time of its own. */
  expiresMs?: number;
}

/** An event that this page has no way to show: an unknown kind, or a body that is not text. */
export interface Note {
  kind: "note";
  seq: number;
  timeMs: number;
  sender: string;
  what: string;
}

/** Something that stands in the message that it is about: an edit, a reaction, a revocation. */
export interface Change {
  kind: "change";
  seq: number;
  timeMs: number;
  sender: string;
}

/** Events that nobody can have any more, both ends included. */
export interface Gap {
  kind: "gap";
  from: number;
  to: number;
}

export type Entry = Message | Note | Change | Gap;

/** Seqs, both ends included. */
export type Range = Pick<Gap, "from" | "to">;

export const firstSeq = (entry: Entry): number => (entry.kind === "gap" ? entry.from : entry.seq);
export const lastSeq = (entry: Entry): number => (entry.kind === "gap" ? entry.to : entry.seq);

/** The index of the first entry that reaches `seq` or lies behind it; the length when there is none. */
export function indexOf(entries: readonly Entry[], seq: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lastSeq(entries[middle] as Entry) < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One behind the other: gaps that touch are one. */
function joined(first: readonly Entry[], second: readonly Entry[]): Entry[] {
  const [a, b] = [first.at(-1), second[0]];
  if (a?.kind !== "gap" || b?.kind !== "gap" || a.to + 1 < b.from) return [...first, ...second];
  return [...first.slice(0, -1), { kind: "gap", from: a.from, to: b.to }, ...second.slice(1)];
}

/** With gaps that touch as one. */
function merged(entries: readonly Entry[]): Entry[] {
  const all: Entry[] = [];
  for (const entry of entries) {
    const before = all.at(-1);
    if (entry.kind === "gap" && before?.kind === "gap" && before.to + 1 >= entry.from) all[all.length - 1] = { ...before, to: entry.to };
    else all.push(entry);
  }
  return all;
}

/** A page of history in ascending order, with the head and floor at its time. */
export interface Page {
  entries: Entry[];
  head: number;
  floor: number;
  /** Whether there is more before it. */
  moreBefore: boolean;
  /** Whether there is more behind it. */
  moreAfter: boolean;
}

export type Keep = "start" | "end";

export class Timeline {
  entries: Entry[] = [];
  /** The last seq of the log that this page has heard of. */
  head = 0;
  attached = true;
  /** Whether nothing readable lies before the first entry. */
  atStart = false;
  /** The highest seq that was put in or passed over; live events at or below it are old. */
  private covered = 0;

  constructor(readonly entriesMax: number) {}

  get first(): number {
    const entry = this.entries[0];
    return entry ? firstSeq(entry) : this.covered + 1;
  }

  get last(): number {
    return this.covered;
  }

  /** Begins anew with one stretch: the answer to an open, a jump, or a page around a place. */
  reset(entries: Entry[], at: { head: number; moreBefore: boolean; moreAfter: boolean; after?: number }): void {
    this.entries = entries;
    const end = entries.at(-1);
    this.covered = end ? lastSeq(end) : (at.after ?? at.head);
    this.head = Math.max(this.head, at.head, this.covered);
    this.attached = !at.moreAfter && this.covered >= this.head;
    this.atStart = !at.moreBefore;
    this.trim("end");
  }

  /**
   * Takes what the live cursor delivers. `keep` says which end the reader looks at: at `"start"` a full
   * stretch is not pushed out of view but detached, and the event is found again by paging. Returns whether
   * the event is new to this page, in view or not.
   */
  live(entry: Entry, keep: Keep = "end"): boolean {
    const seq = lastSeq(entry);
    const fresh = seq > this.head || (this.attached && seq > this.covered);
    if (this.attached && seq > this.covered) {
      if (keep === "start" && this.entries.length >= this.entriesMax) {
        this.attached = false;
      } else {
        this.entries = joined(this.entries, [entry]);
        this.covered = seq;
        this.trim("end");
      }
    }
    this.head = Math.max(this.head, seq);
    return fresh;
  }

  /** Puts a page `Before(first)` in front. */
  before(page: Page): void {
    const first = this.first;
    const older = page.entries.filter((entry) => lastSeq(entry) < first);
    this.entries = joined(older, this.entries);
    this.atStart = !page.moreBefore;
    this.head = Math.max(this.head, page.head);
    this.rise(page.floor);
    this.trim("start");
  }

  /** Puts a page `After(last)` behind. */
  after(page: Page): void {
    const newer = page.entries.filter((entry) => firstSeq(entry) > this.covered);
    this.entries = joined(this.entries, newer);
    const end = newer.at(-1);
    if (end) this.covered = lastSeq(end);
    else if (!page.moreAfter) this.covered = Math.max(this.covered, page.head);
    this.head = Math.max(this.head, page.head);
    this.attached = !page.moreAfter && this.covered >= this.head;
    this.rise(page.floor);
    this.trim("end");
  }

  /** The index of the first entry that reaches `seq` or lies behind it. */
  indexOf(seq: number): number {
    return indexOf(this.entries, seq);
  }

  /** The last message that is not among these. */
  lastMessage(without: ReadonlySet<number>): Message | undefined {
    for (let at = this.entries.length - 1; at >= 0; at--) {
      const entry = this.entries[at];
      if (entry?.kind === "message" && !without.has(entry.seq)) return entry;
    }
    return undefined;
  }

  /** What is here of events that nobody can have any more goes. `ranges` ascend and do not touch. */
  absent(ranges: readonly Range[]): void {
    const [first] = ranges;
    if (!first || this.entries.length === 0) return;
    // What the log begins with is one line, and nothing is to be fetched before it.
    if (first.from <= this.first && first.to >= this.first - 1) {
      const to = Math.min(first.to, this.covered);
      this.entries = joined([{ kind: "gap", from: first.from, to }], this.entries.slice(this.indexOf(to + 1)));
      this.atStart ||= first.from <= 1;
    }
    let [at, touched] = [0, false];
    const entries = this.entries.map((entry): Entry => {
      if (entry.kind !== "message" && entry.kind !== "note") return entry;
      while (at < ranges.length && (ranges[at] as Range).to < entry.seq) at++;
      if (((ranges[at] as Range | undefined)?.from ?? Infinity) > entry.seq) return entry;
      touched = true;
      return { kind: "gap", from: entry.seq, to: entry.seq };
    });
    if (touched) this.entries = merged(entries);
  }

  /** Lets go of all but the newest `count`, for a conversation that nobody looks at. */
  shrink(count: number): void {
    if (!this.attached || this.entries.length <= count) return;
    this.entries = this.entries.slice(-count);
    this.atStart = false;
  }

  /** Nothing before the floor is there any more. */
  private rise(floor: number): void {
    const at = this.indexOf(floor);
    const last = this.entries[at - 1];
    if (!last) return;
    this.entries = joined([{ kind: "gap", from: this.first, to: lastSeq(last) }], this.entries.slice(at));
    this.atStart = true;
  }

  private trim(keep: Keep): void {
    const over = this.entries.length - this.entriesMax;
    if (over <= 0) return;
    if (keep === "end") {
      this.entries = this.entries.slice(over);
      this.atStart = false;
    } else {
      this.entries = this.entries.slice(0, -over);
      this.covered = lastSeq(this.entries.at(-1) as Entry);
      this.attached = false;
    }
  }
}
