/** From entries to what is laid out: days, groups of one sender, the mark of what is unread, quiet lines. */

import { indexOf, type Entry, type Gap, type Message } from "./timeline.js";
import { dayOf } from "./times.js";
import type { Reaction } from "../../../src/messages/index.js";
import type { Outgoing } from "./outgoing.js";

/** What the sender's ticks say. */
export type Mark = "waiting" | "sending" | "stored" | "delivered" | "read" | "failed";

export interface MessageRow {
  kind: "message";
  key: string;
  /** None for one that has no place in the log yet. */
  seq: number | undefined;
  id: string | undefined;
  sender: string;
  text: string;
  edited: boolean;
  /** When it is gone; 0: at no time of its own. Of one without a place in the log that is reckoned. */
  expiresMs: number;
  /** Whom it calls. */
  mentions: readonly string[];
  /** It calls the user. */
  callsMe: boolean;
  reactions: readonly Reaction[];
  /** The message that it answers. */
  quote: Quote | undefined;
  /** The time shown: when it was said, not when an import stored it. */
  timeMs: number;
  imported: boolean;
  storedMs: number;
  own: boolean;
  /** First and last of a group: one sender, close in time. */
  first: boolean;
  last: boolean;
  mark: Mark | undefined;
  failure: string | undefined;
}

export interface Quote {
  seq: number;
  /** What it says; `undefined` while that is not known, empty when nobody can have it any more. */
  sender: string | undefined;
  text: string | undefined;
}

/** What a message has come to. */
export interface Now {
  edited?: { text: string; mentions: readonly string[] } | undefined;
  reactions: readonly Reaction[];
}

export interface QuietRow {
  kind: "quiet";
  key: string;
  seq: number;
  text: string;
  /** It stands for a message that was taken back. */
  deleted?: boolean;
}

export interface UnreadRow {
  kind: "unread";
  key: "unread";
}

export type Row = MessageRow | QuietRow | UnreadRow;

export interface Day {
  key: string;
  dayMs: number;
  rows: Row[];
}

export interface RowsInput {
  entries: readonly Entry[];
  from: number;
  to: number;
  me: string;
  /** The unread line stands before the first message of another user behind this seq. */
  unreadAfter: number | undefined;
  /** The highest seq that another user has said to have read, and the highest one that somebody's device has received. */
  readUpTo: number;
  deliveredUpTo: number;
  /** What a message has come to by edits and reactions; none when nothing is known of it. */
  nowOf(seq: number): (Now & { editedSeq?: number | undefined }) | undefined;
  quoteOf(seq: number): Quote;
  /** Messages that were taken back. */
  revoked: ReadonlySet<number>;
  /** Messages that the user wants to see no more. */
  hidden: ReadonlySet<number>;
  /** Own messages without a place in the log; only given when the window reaches the end. */
  outgoing: readonly Outgoing[];
  nowMs: number;
}

const GROUP_MS = 5 * 60_000;
/** A bridge that passes messages on at once is not an import; an hour-old message is. */
const IMPORT_MS = 60_000;
/** So many edits of one message may lie side by side. */
const EDITS_APART_MAX = 10;

export const shownMs = (message: Message): number => message.originMs ?? message.timeMs;

export function rowsOf(input: RowsInput): Day[] {
  const layout = new Layout();
  const { entries, from, me } = input;
  const to = Math.min(input.to, entries.length);
  const unreadAt = unreadIndex(entries, input.unreadAfter, me);
  let editedUpTo = 0;

  for (let i = from; i < to; i++) {
    const entry = entries[i] as Entry;
    const ms = entryMs(entries, i, input.nowMs);
    if (i === unreadAt) layout.line(ms, { kind: "unread", key: "unread" });
    if (entry.kind === "gap") for (const row of gapRows(entry, input.revoked, editedUpTo)) layout.line(ms, row);
    else if (entry.kind === "change" || input.hidden.has(entry.seq)) continue;
    else if (entry.kind === "note") layout.line(ms, { kind: "quiet", key: `m${entry.seq}`, seq: entry.seq, text: entry.what });
    else {
      const now = input.nowOf(entry.seq);
      editedUpTo = Math.max(editedUpTo, now?.editedSeq ?? 0);
      layout.message(messageRow(entry, input, now));
    }
  }
  // The entry before the window decides whether the window's first one begins a group.
  const before = entries[from - 1];
  const first = layout.days[0]?.rows[0];
  if (before?.kind === "message" && first?.kind === "message" && sameGroup(messageRow(before, input, undefined), first))
    first.first = false;

  for (const out of input.outgoing) layout.message(outgoingRow(out, input));
  nameDays(layout.days);
  return layout.days;
}

/** Puts rows into days, and messages into groups. */
class Layout {
  readonly days: Day[] = [];
  private group: MessageRow | undefined;

  line(ms: number, row: QuietRow | UnreadRow): void {
    this.dayFor(ms).rows.push(row);
    this.group = undefined;
  }

  message(row: MessageRow): void {
    const day = this.dayFor(row.timeMs);
    if (this.group && sameGroup(this.group, row)) {
      this.group.last = false;
      row.first = false;
    }
    day.rows.push(row);
    this.group = row;
  }

  private dayFor(ms: number): Day {
    const dayMs = dayOf(ms);
    const last = this.days.at(-1);
    if (last?.dayMs === dayMs) return last;
    const day: Day = { key: "", dayMs, rows: [] };
    this.days.push(day);
    this.group = undefined;
    return day;
  }
}

function sameGroup(a: MessageRow, b: MessageRow): boolean {
  return (
    a.sender === b.sender &&
    a.imported === b.imported &&
    Math.abs(b.timeMs - a.timeMs) < GROUP_MS &&
    dayOf(a.timeMs) === dayOf(b.timeMs)
  );
}

/** Where the unread line stands; -1 when it has no place in what is held. */
function unreadIndex(entries: readonly Entry[], after: number | undefined, me: string): number {
  if (after === undefined) return -1;
  const start = indexOf(entries, after + 1);
  // More that is unread may lie before what is held: the line would stand too late.
  const head = entries[0];
  if (start === 0 && head !== undefined && head.kind !== "gap" && head.seq > after + 1) return -1;
  for (let i = start; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.kind === "message" && entry.sender !== me) return i;
  }
  return -1;
}

/** A gap has no time of its own: that of what comes behind it, or before it. */
function entryMs(entries: readonly Entry[], index: number, nowMs: number): number {
  const entry = entries[index] as Entry;
  if (entry.kind === "message") return shownMs(entry);
  if (entry.kind !== "gap") return entry.timeMs;
  const near = entries[index + 1] ?? entries[index - 1];
  if (!near || near.kind === "gap") return nowMs;
  return near.kind === "message" ? shownMs(near) : near.timeMs;
}

function messageRow(entry: Message, input: RowsInput, now: Now | undefined): MessageRow {
  const own = entry.sender === input.me;
  const mentions = now?.edited?.mentions ?? entry.mentions ?? [];
  const { readUpTo, deliveredUpTo } = input;
  const received = entry.seq <= readUpTo ? "read" : entry.seq <= deliveredUpTo ? "delivered" : "stored";
  return {
    kind: "message",
    key: `m${entry.seq}`,
    seq: entry.seq,
    id: undefined,
    sender: entry.sender,
    text: now?.edited?.text ?? entry.text,
    edited: now?.edited !== undefined,
    expiresMs: entry.expiresMs ?? 0,
    mentions,
    callsMe: !own && mentions.includes(input.me),
    reactions: now?.reactions ?? [],
    quote: entry.replyTo === undefined ? undefined : input.quoteOf(entry.replyTo),
    timeMs: shownMs(entry),
    imported: entry.originMs !== undefined && Math.abs(entry.timeMs - entry.originMs) > IMPORT_MS,
    storedMs: entry.timeMs,
    own,
    first: true,
    last: true,
    mark: own ? received : undefined,
    failure: undefined,
  };
}

function outgoingRow(out: Outgoing, { me, quoteOf }: RowsInput): MessageRow {
  return {
    kind: "message",
    key: `o${out.id}`,
    seq: undefined,
    id: out.id,
    sender: me,
    text: out.text,
    edited: false,
    expiresMs: out.expiresInMs ? out.timeMs + out.expiresInMs : 0,
    mentions: out.mentions ?? [],
    callsMe: false,
    reactions: [],
    quote: out.replyTo === undefined ? undefined : quoteOf(out.replyTo),
    timeMs: out.timeMs,
    imported: false,
    storedMs: out.timeMs,
    own: true,
    first: true,
    last: true,
    mark: out.mark,
    failure: out.failure,
  };
}

/** Keys count from the end, so that history put in front renames nothing; a day can come twice when imports mix. */
function nameDays(days: Day[]): void {
  const times = new Map<number, number>();
  for (let i = days.length - 1; i >= 0; i--) {
    const day = days[i] as Day;
    const n = times.get(day.dayMs) ?? 0;
    times.set(day.dayMs, n + 1);
    day.key = `${day.dayMs}.${n}`;
  }
}

/**
 * What stands for events that nobody can have any more. What was taken back is said to be; what an edit has
 * put aside, between a message and its latest edit, nobody misses.
 */
function gapRows({ from, to }: Gap, revoked: ReadonlySet<number>, editedUpTo: number): QuietRow[] {
  const rows: QuietRow[] = [];
  const rest = (first: number, last: number): void => {
    if (last < first || (last <= editedUpTo && last - first < EDITS_APART_MAX)) return;
    rows.push({ kind: "quiet", key: `g${first}`, seq: last, text: gapText(first, last) });
  };
  let next = from;
  for (const seq of [...revoked].filter((one) => one >= from && one <= to).sort((a, b) => a - b)) {
    rest(next, seq - 1);
    rows.push({ kind: "quiet", key: `g${seq}`, seq, text: "Message deleted", deleted: true });
    next = seq + 1;
  }
  rest(next, to);
  return rows;
}

export function gapText(from: number, to: number): string {
  const count = to - from + 1;
  return count === 1 ? "1 message is no longer kept" : `${count.toLocaleString("en")} messages are no longer kept`;
}
