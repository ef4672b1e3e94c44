import assert from "node:assert/strict";
import { test } from "node:test";
import { rowsOf, type Day, type MessageRow, type Row, type RowsInput } from "../src/model/rows.js";
import { OutgoingList } from "../src/model/outgoing.js";
import type { Entry, Message } from "../src/model/timeline.js";

const NOON = new Date(2026, 5, 15, 12).getTime();
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const said = (seq: number, sender: string, timeMs: number, more: Partial<Message> = {}): Entry => ({
  kind: "message",
  seq,
  timeMs,
  sender,
  text: `text ${seq}`,
  ...more,
});
const layout = (entries: Entry[], more: Partial<RowsInput> = {}): Day[] =>
  rowsOf({
    entries,
    from: 0,
    to: entries.length,
    me: "me",
    unreadAfter: undefined,
    readUpTo: 0,
    deliveredUpTo: 0,
    nowOf: () => undefined,
    quoteOf: (seq) => ({ seq, sender: undefined, text: undefined }),
    revoked: new Set(),
    hidden: new Set(),
    outgoing: [],
    nowMs: NOON,
    ...more,
  });
const flat = (days: Day[]): Row[] => days.flatMap((day) => day.rows);
const messages = (days: Day[]): MessageRow[] => flat(days).filter((row): row is MessageRow => row.kind === "message");
const shape = (days: Day[]): string =>
  messages(days)
    .map((row) => `${row.first ? "[" : ""}${row.sender}${row.last ? "]" : ""}`)
    .join(" ");

test("messages of one sender that are close in time are a group", () => {
  const entries = [
    said(1, "bob", NOON),
    said(2, "bob", NOON + MINUTE),
    said(3, "me", NOON + 2 * MINUTE),
    said(4, "bob", NOON + 3 * MINUTE),
    said(5, "bob", NOON + 20 * MINUTE),
  ];
  assert.equal(shape(layout(entries)), "[bob bob] [me] [bob] [bob]");
});

test("a message says when it is gone, also while it is on its way", () => {
  const outgoing = new OutgoingList();
  outgoing.add("1.1", "soon gone", NOON + MINUTE, "sending", { expiresInMs: 5_000 });
  const rows = messages(layout([said(1, "bob", NOON, { expiresMs: NOON + 9 }), said(2, "bob", NOON)], { outgoing: outgoing.shown() }));
  assert.deepEqual(rows.map(({ expiresMs }) => expiresMs), [NOON + 9, 0, NOON + MINUTE + 5_000]);
});

test("each day begins anew", () => {
  const days = layout([said(1, "bob", NOON - DAY), said(2, "bob", NOON)]);
  assert.equal(days.length, 2);
  assert.equal(shape(days), "[bob] [bob]");
});

test("a window in the middle of a group goes on with it", () => {
  const entries = [said(1, "bob", NOON), said(2, "bob", NOON + MINUTE), said(3, "bob", NOON + 2 * MINUTE)];
  assert.equal(shape(layout(entries, { from: 1 })), "bob bob]");
});

test("an imported message stands at the time when it was said, one that a bridge passes on at once is none", () => {
  const [row, bridged] = messages(
    layout([said(1, "bob", NOON, { originMs: NOON - 900 * DAY }), said(2, "bob", NOON, { originMs: NOON - 2000 })]),
  );
  assert.equal(row?.imported, true);
  assert.equal(row?.timeMs, NOON - 900 * DAY);
  assert.equal(row?.storedMs, NOON);
  assert.equal(bridged?.imported, false);
});

test("the unread line stands once, before the first message of another user behind what was read", () => {
  const entries = [said(1, "bob", NOON), said(2, "me", NOON), said(3, "me", NOON), said(4, "bob", NOON), said(5, "bob", NOON)];
  const rows = flat(layout(entries, { unreadAfter: 1 }));
  assert.deepEqual(
    rows.map((row) => row.key),
    ["m1", "m2", "m3", "unread", "m4", "m5"],
  );
  assert.equal(
    flat(layout(entries, { unreadAfter: 5 })).some((row) => row.kind === "unread"),
    false,
  );
  assert.equal(
    flat(layout(entries, { unreadAfter: undefined })).some((row) => row.kind === "unread"),
    false,
  );
});

test("the unread line splits a group", () => {
  const days = layout([said(1, "bob", NOON), said(2, "bob", NOON)], { unreadAfter: 1 });
  assert.equal(shape(days), "[bob] [bob]");
});

test("there is no unread line where more that is unread lies before what is held", () => {
  assert.equal(
    flat(layout([said(10, "bob", NOON)], { unreadAfter: 3 })).some((row) => row.kind === "unread"),
    false,
  );
  assert.equal(
    flat(layout([said(10, "bob", NOON)], { unreadAfter: 9 })).some((row) => row.kind === "unread"),
    true,
  );
});

test("a window behind the unread line has none of its own", () => {
  const entries = Array.from({ length: 10 }, (_, i) => said(i + 1, "bob", NOON));
  assert.equal(
    flat(layout(entries, { unreadAfter: 2, from: 6 })).some((row) => row.kind === "unread"),
    false,
  );
});

test("gaps and unknown events are quiet lines", () => {
  const rows = flat(
    layout([
      { kind: "gap", from: 1, to: 7 },
      { kind: "note", seq: 8, timeMs: NOON, sender: "bob", what: "bob did something" },
      said(9, "bob", NOON),
    ]),
  );
  assert.deepEqual(
    rows.map((row) => (row.kind === "quiet" ? row.text : row.kind)),
    ["7 messages are no longer kept", "bob did something", "message"],
  );
});

test("ticks: stored until another user has read it", () => {
  const marks = messages(layout([said(1, "me", NOON), said(2, "me", NOON), said(3, "bob", NOON)], { readUpTo: 1 })).map(
    (row) => row.mark,
  );
  assert.deepEqual(marks, ["read", "stored", undefined]);
});

test("history put in front renames no day", () => {
  const later = [said(5, "bob", NOON), said(6, "bob", NOON + DAY)];
  const before = layout(later).map((day) => day.key);
  const after = layout([said(3, "bob", NOON - DAY), said(4, "bob", NOON), ...later]).map((day) => day.key);
  assert.deepEqual(after.slice(-2), before);
  const mixed = layout([said(1, "bob", NOON), said(2, "bob", NOON - DAY), said(3, "bob", NOON)]).map((day) => day.key);
  assert.equal(new Set(mixed).size, 3, "a day that comes twice has two keys");
});

test("outgoing messages stand at the end and join the group", () => {
  const list = new OutgoingList();
  list.add("1.1", "soon", NOON + MINUTE, "sending");
  const days = layout([said(1, "me", NOON)], { outgoing: list.shown() });
  assert.equal(shape(days), "[me me]");
  assert.equal(messages(days)[1]?.mark, "sending");
});

test("a deletion is said, other gaps by their ranges, and what edits have put aside not at all", () => {
  const entries: Entry[] = [
    { kind: "gap", from: 1, to: 3 },
    said(4, "bob", NOON),
    { kind: "gap", from: 5, to: 7 },
    { kind: "change", seq: 8, timeMs: NOON, sender: "bob" },
    said(9, "bob", NOON),
    { kind: "gap", from: 10, to: 11 },
  ];
  const now = (seq: number) => (seq === 4 ? { edited: { text: "new", mentions: ["me"] }, editedSeq: 8, reactions: [] } : undefined);
  const rows = layout(entries, { revoked: new Set([6, 11]), nowOf: now, hidden: new Set([9]) }).flatMap((day) => day.rows);
  const told = rows.map((row) => (row.kind === "quiet" || row.kind === "message" ? row.text : row.kind));
  assert.deepEqual(told, ["3 messages are no longer kept", "new", "Message deleted", "1 message is no longer kept", "Message deleted"]);
  const [, first] = rows;
  assert.deepEqual(first?.kind === "message" && [first.edited, first.callsMe], [true, true]);
});
