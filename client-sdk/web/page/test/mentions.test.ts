import assert from "node:assert/strict";
import { test } from "node:test";
import { callable, callBegun, calledBy, calls } from "../src/model/mentions.js";

test("a call is an @ and a user's id, with nothing of a word around it", () => {
  const users = ["bob", "bobby", "ann lee"];
  const called = (text: string): string[] => calledBy(text, users);
  assert.deepEqual(called("@bob"), ["bob"]);
  assert.deepEqual(called("hey @bobby, and (@bob) again @bob!"), ["bobby", "bob"]);
  assert.deepEqual(called("@ann lee and @bob\n@bob"), ["ann lee", "bob"]);
  for (const text of ["mail@bob", "@bobb", "@ bob", "bob", "@Bob"]) assert.deepEqual(called(text), [], text);
  assert.deepEqual(calls("a @bob b", users), [{ text: "a " }, { text: "@bob", user: "bob" }, { text: " b" }]);
  assert.equal(calls("x @bob y @bobby z", users).map(({ text }) => text).join(""), "x @bob y @bobby z");
  assert.deepEqual(calls("", users), []);
  const many = Array.from({ length: 60 }, (_, i) => `user${i}`);
  assert.equal(calledBy(many.map((user) => `@${user}`).join(" "), many).length, 50);
});

test("who is meant is proposed while an @ is being typed", () => {
  assert.deepEqual(callBegun("hey @bo", 7), { at: 4, begun: "bo" });
  assert.deepEqual(callBegun("@", 1), { at: 0, begun: "" });
  assert.equal(callBegun("hey @bo ", 8), undefined);
  assert.equal(callBegun("a@bo", 4), undefined);
  assert.equal(callBegun("hey @bo", 3), undefined);
  assert.deepEqual(callable(["carol", "bob", "jacob", "Bo"], "bo"), ["Bo", "bob"]);
  assert.deepEqual(callable(["carol", "bob", "jacob"], "o"), ["bob", "carol", "jacob"]);
});
