/** Where a reader stands in its conversation, and what to do with each event that arrives there. */
import type { Start } from "../api.js";

/** `hole`: something is missing before it. */
export type Verdict = "deliver" | "skip" | "hole" | "not_judged";

/** The cursor that a start stands for, given a conversation's bounds. */
export function placeOf(start: Start, head: number, floor: number): number {
  if (start === "live") return head;
  return "after" in start ? start.after : Math.min(Math.max(head - start.last, floor - 1), head);
}

export class Progress {
  /** Everything up to here has been handed out, or is not wanted. `undefined` while only the server can tell. */
  private at: number | undefined;
  /** Behind `at` comes `at + 1`. With the last events and retention running, the first one may be a later one. */
  private isExact: boolean;
  /** The head when reading began. */
  private head: number | undefined;
  private hasToldCaughtUp = false;

  constructor(private readonly begin: Start) {
    this.at = begin !== "live" && "after" in begin ? begin.after : undefined;
    this.isExact = begin === "live" || "after" in begin;
  }

  /** Where to read on from. */
  get start(): Start {
    return this.at === undefined ? this.begin : { after: this.at };
  }

  /** The place, if it is known. */
  get place(): number | undefined {
    return this.at;
  }

  /** Whether the server has read for it. */
  get isOpened(): boolean {
    return this.head !== undefined;
  }

  /** The server reads, from the start of this cursor or from before it. Whether the cursor is within what the server has. */
  opened(head: number, floor: number): boolean {
    this.at ??= placeOf(this.begin, head, floor);
    this.head ??= head;
    return this.at <= head;
  }

  /** Judges an event, or a gap of several. `isCurrent`: the server is known to read for this cursor. */
  check(from: number, to: number, isCurrent: boolean): Verdict {
    if (this.at === undefined) return "not_judged";
    if (to <= this.at) return "skip";
    if (this.isExact ? from <= this.at + 1 : isCurrent) return "deliver";
    return isCurrent ? "hole" : "not_judged";
  }

  /** Everything up to `to` has been handed out. */
  advance(to: number): void {
    this.at = to;
    this.isExact = true;
  }

  /** The head that was known when reading began, once, as soon as it has been reached. */
  takeCaughtUp(): number | undefined {
    if (this.hasToldCaughtUp || this.head === undefined || this.at === undefined || this.at < this.head) return undefined;
    this.hasToldCaughtUp = true;
    return this.head;
  }
}
