import assert from "node:assert/strict";
import { test } from "node:test";
import { TALKS_MAX, TalkList, type Slot } from "../src/model/talks.js";

function slot(value?: string): Slot {
  let held = value;
  return { get: () => held, set: (text) => (held = text) };
}

test("a first visit has the standard conversation", () => {
  assert.deepEqual(
    new TalkList(slot(), "general").all.map((talk) => talk.name),
    ["general"],
  );
});

test("what was kept comes back, the latest first, and nothing of what was said is kept", () => {
  const store = slot();
  const list = new TalkList(store, "general");
  const other = list.add("other");
  assert.ok(other);
  other.read = 7;
  other.title = "The other";
  other.last = { seq: 7, sender: "bob", text: "secret", timeMs: 5 };
  other.timeMs = 5;
  list.save();
  assert.doesNotMatch(store.get() ?? "", /secret|bob/);
  const again = new TalkList(store, "general");
  assert.deepEqual(
    again.sorted().map((talk) => talk.name),
    ["other", "general"],
  );
  assert.equal(again.get("other")?.read, 7);
  assert.equal(again.get("other")?.title, "The other");
  assert.equal(again.get("general")?.read, undefined);
  assert.deepEqual([again.get("other")?.last, again.get("other")?.timeMs], [undefined, 5]);
});

test("a broken store is an empty one", () => {
  for (const value of ["{", "null", "{}", '[1,null,{"name":""},{"read":3}]'])
    assert.deepEqual(
      new TalkList(slot(value), "general").all.map((talk) => talk.name),
      ["general"],
      value,
    );
  const half = new TalkList(slot('[{"name":"a","read":"3","last":{"sender":1}}]'), "general");
  assert.deepEqual(half.get("a"), { name: "a", read: undefined, last: undefined, timeMs: 0, title: undefined });
});

test("the list is bounded", () => {
  const list = new TalkList(slot(), "general");
  for (let i = 1; i < TALKS_MAX; i++) assert.ok(list.add(`c${i}`));
  assert.equal(list.add("one more"), undefined);
  assert.ok(list.add("c1"), "a known one is not one more");
  list.remove("c1");
  assert.ok(list.add("one more"));
});
