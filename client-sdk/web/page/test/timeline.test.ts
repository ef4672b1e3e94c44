import assert from "node:assert/strict";
import { test } from "node:test";
import { Timeline, firstSeq, lastSeq, type Entry, type Page } from "../src/model/timeline.js";
import { unreadOf } from "../src/model/unread.js";

const message = (seq: number, sender = "bob"): Entry => ({
  kind: "message",
  seq,
  timeMs: seq * 1000,
  sender,
  text: `text ${seq}`,
});
const range = (from: number, to: number): Entry[] => Array.from({ length: to - from + 1 }, (_, i) => message(from + i));
const page = (from: number, to: number, more: boolean, head = 1000): Page => ({
  entries: range(from, to),
  head,
  floor: 1,
  moreBefore: more,
  moreAfter: more,
});
const seqs = (timeline: Timeline): number[] => timeline.entries.map(lastSeq);

function contiguous(timeline: Timeline): void {
  for (let i = 1; i < timeline.entries.length; i++) {
    assert.equal(
      firstSeq(timeline.entries[i] as Entry),
      lastSeq(timeline.entries[i - 1] as Entry) + 1,
      `a hole before entry ${i}`,
    );
  }
}

function opened(from: number, to: number, entriesMax = 100): Timeline {
  const timeline = new Timeline(entriesMax);
  timeline.reset(range(from, to), { head: to, moreBefore: from > 1, moreAfter: false });
  return timeline;
}

test("live events come behind what is held, and an old one changes nothing", () => {
  const timeline = opened(1, 3);
  assert.equal(timeline.live(message(4)), true);
  assert.equal(timeline.live(message(4)), false);
  assert.equal(timeline.live(message(2)), false);
  assert.deepEqual(seqs(timeline), [1, 2, 3, 4]);
});

test("an empty conversation takes its first event", () => {
  const timeline = new Timeline(10);
  timeline.reset([], { head: 0, moreBefore: false, moreAfter: false });
  assert.equal(timeline.attached, true);
  assert.equal(timeline.live(message(1)), true);
  assert.deepEqual(seqs(timeline), [1]);
});

test("where everything has expired, what is old does not come back as new", () => {
  const timeline = new Timeline(10);
  timeline.reset([], { head: 41, moreBefore: true, moreAfter: false });
  assert.equal(timeline.live(message(41)), false);
  timeline.live(message(42));
  assert.deepEqual(seqs(timeline), [42]);
});

test("a gap counts with all its seqs", () => {
  const timeline = opened(1, 2);
  timeline.live({ kind: "gap", from: 3, to: 9 });
  timeline.live(message(10));
  contiguous(timeline);
  assert.equal(timeline.indexOf(5), 2);
  assert.equal(timeline.indexOf(10), 3);
  assert.equal(timeline.indexOf(11), 4);
});

test("a full stretch lets go of its front at the end, and of nothing that is looked at further up", () => {
  const atEnd = opened(1, 10, 10);
  atEnd.live(message(11));
  assert.deepEqual([atEnd.first, atEnd.last, atEnd.attached, atEnd.atStart], [2, 11, true, false]);

  const further = opened(1, 10, 10);
  assert.equal(further.live(message(11), "start"), true);
  assert.deepEqual([further.first, further.last, further.head, further.attached], [1, 10, 11, false]);
  assert.equal(further.live(message(12), "start"), true);
  assert.equal(further.head, 12);
  assert.equal(further.last, 10);
});

test("paging up far lets go of the end, and paging down finds it again without a hole", () => {
  const timeline = opened(951, 1000, 100);
  for (let first = 951; first > 601; first -= 50) timeline.before(page(first - 50, first - 1, true));
  assert.deepEqual([timeline.first, timeline.last, timeline.attached], [601, 700, false]);
  timeline.live(message(1001));
  assert.equal(timeline.last, 700);
  while (!timeline.attached) {
    const from = timeline.last + 1;
    const to = Math.min(from + 49, 1001);
    timeline.after(page(from, to, to < 1001, 1001));
    contiguous(timeline);
  }
  assert.equal(timeline.last, 1001);
  timeline.live(message(1002));
  assert.equal(timeline.last, 1002);
  contiguous(timeline);
});

test("a page that overlaps what is held adds only what is missing", () => {
  const timeline = opened(50, 60);
  timeline.before(page(40, 55, true, 60));
  assert.deepEqual([timeline.first, timeline.last], [40, 60]);
  contiguous(timeline);
  const further = new Timeline(100);
  further.reset(range(50, 60), { head: 90, moreBefore: true, moreAfter: true });
  further.after(page(55, 70, true, 90));
  assert.equal(further.last, 70);
  contiguous(further);
});

test("an event that comes live while the last page is on its way is not skipped", () => {
  const timeline = new Timeline(100);
  timeline.reset(range(1, 10), { head: 20, moreBefore: false, moreAfter: true });
  timeline.live(message(21));
  timeline.after(page(11, 20, false, 20));
  assert.equal(timeline.attached, false, "21 is still to be fetched");
  timeline.after(page(21, 21, false, 21));
  assert.equal(timeline.attached, true);
  contiguous(timeline);
});

test("an empty last page attaches, even when the last events are gone", () => {
  const timeline = new Timeline(100);
  timeline.reset(range(1, 10), { head: 12, moreBefore: false, moreAfter: true });
  timeline.after({ entries: [], head: 12, floor: 13, moreBefore: false, moreAfter: false });
  assert.equal(timeline.attached, true);
  timeline.live(message(13));
  assert.equal(timeline.last, 13);
});

test("unread counts others' messages, in view and out of it", () => {
  const timeline = new Timeline(100);
  timeline.reset([message(11), message(12, "me"), message(13), { kind: "gap", from: 14, to: 20 }, message(21)], {
    head: 21,
    moreBefore: true,
    moreAfter: false,
  });
  assert.equal(unreadOf(timeline, 21, "me"), 0);
  assert.equal(unreadOf(timeline, 11, "me"), 2, "13 and 21: not the own one, not what is gone");
  assert.equal(unreadOf(timeline, 5, "me"), 8, "6 to 10 out of view, 11, 13 and 21");
  timeline.attached = false;
  timeline.live(message(25));
  assert.equal(unreadOf(timeline, 13, "me"), 5, "21, and 22 to 25 that are not held");
});

test("a conversation that nobody looks at keeps its newest", () => {
  const timeline = opened(1, 80);
  timeline.shrink(60);
  assert.deepEqual([timeline.first, timeline.last, timeline.atStart], [21, 80, false]);
});

test("what goes leaves a gap, and gaps that touch are one, within a page and where pages meet", () => {
  const timeline = new Timeline(100);
  timeline.reset([{ kind: "gap", from: 8, to: 9 }, ...range(10, 14)], { head: 14, moreBefore: true, moreAfter: false });
  const absent = (...seqs: number[]): void => timeline.absent(seqs.map((seq) => ({ from: seq, to: seq })));
  absent(12);
  absent(10, 12);
  absent(11);
  const gaps = (): string[] => timeline.entries.flatMap((entry) => (entry.kind === "gap" ? `${entry.from}-${entry.to}` : []));
  assert.deepEqual(gaps(), ["8-12"]);
  absent(99);
  timeline.before({ entries: [...range(1, 5), { kind: "gap", from: 6, to: 7 }], head: 14, floor: 1, moreBefore: false, moreAfter: true });
  assert.deepEqual(gaps(), ["6-12"]);
  timeline.live({ kind: "gap", from: 15, to: 15 });
  timeline.live({ kind: "gap", from: 16, to: 17 });
  assert.deepEqual(gaps(), ["6-12", "15-17"]);
  contiguous(timeline);
});

test("what the log begins with goes as one, with what is known before it, and single ones stay apart", () => {
  const timeline = opened(11, 20);
  timeline.entries = timeline.entries.map((entry) => (firstSeq(entry) === 13 || firstSeq(entry) === 18 ? { kind: "change", seq: firstSeq(entry), timeMs: 0, sender: "bob" } : entry));
  timeline.absent([{ from: 1, to: 9 }]);
  assert.deepEqual([timeline.first, timeline.atStart], [11, false], "there may be more between");
  timeline.absent([{ from: 1, to: 14 }, { from: 16, to: 18 }]);
  assert.deepEqual(
    timeline.entries.map((entry) => `${entry.kind} ${firstSeq(entry)}-${lastSeq(entry)}`),
    ["gap 1-14", "message 15-15", "gap 16-17", "change 18-18", "message 19-19", "message 20-20"],
  );
  assert.equal(timeline.atStart, true);
  contiguous(timeline);
  assert.equal(unreadOf(timeline, 0, "alice"), 3, "what is gone is not unread");
  timeline.absent([{ from: 1, to: 99 }]);
  assert.deepEqual(timeline.entries, [{ kind: "gap", from: 1, to: 20 }]);
  assert.equal(unreadOf(timeline, 0, "alice"), 0);
  timeline.live(message(21));
  assert.deepEqual(seqs(timeline), [20, 21]);
});

test("the last message is one that the user wants to see", () => {
  const timeline = opened(1, 3);
  timeline.live({ kind: "change", seq: 4, timeMs: 4_000, sender: "bob" });
  assert.equal(timeline.lastMessage(new Set())?.seq, 3);
  assert.equal(timeline.lastMessage(new Set([3, 2]))?.seq, 1);
  assert.equal(timeline.lastMessage(new Set([1, 2, 3])), undefined);
});

test("what a page's floor says is gone leaves a gap, and there is nothing before it", () => {
  const timeline = new Timeline(100);
  timeline.reset(range(10, 14), { head: 20, moreBefore: true, moreAfter: true });
  timeline.after({ entries: range(15, 16), head: 20, floor: 13, moreBefore: true, moreAfter: true });
  const first = timeline.entries[0];
  assert.deepEqual(first, { kind: "gap", from: 10, to: 12 });
  assert.deepEqual([timeline.entries.length, timeline.first, timeline.last, timeline.atStart], [5, 10, 16, true]);
  timeline.after({ entries: [{ kind: "gap", from: 17, to: 19 }, ...range(20, 20)], head: 20, floor: 20, moreBefore: false, moreAfter: false });
  assert.deepEqual(timeline.entries[0], { kind: "gap", from: 10, to: 19 });
  assert.deepEqual([timeline.entries.length, timeline.last, timeline.attached], [2, 20, true]);
});
