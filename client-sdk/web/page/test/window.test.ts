import assert from "node:assert/strict";
import { test } from "node:test";
import { WINDOW_MAX, followEnd, slideDown, slideUp, windowAround, windowAtEnd, type Window } from "../src/model/window.js";

const size = (window: Window): number => window.to - window.from;

test("a short conversation is shown whole", () => {
  assert.deepEqual(windowAtEnd(3), { from: 0, to: 3 });
  assert.deepEqual(windowAround(1, 3), { from: 0, to: 3 });
  assert.deepEqual(slideUp({ from: 0, to: 3 }), { from: 0, to: 3 });
});

test("sliding up and down passes every entry and stays bounded", () => {
  const length = 10_000;
  let window = windowAtEnd(length);
  let seen = window.from;
  while (window.from > 0) {
    window = slideUp(window);
    assert.ok(window.from < seen && window.to >= seen, "nothing is passed over");
    assert.ok(size(window) <= WINDOW_MAX);
    seen = window.from;
  }
  seen = window.to;
  while (window.to < length) {
    window = slideDown(window, length);
    assert.ok(window.to > seen && window.from <= seen);
    assert.ok(size(window) <= WINDOW_MAX);
    seen = window.to;
  }
});

test("following the end lets go in steps, not one by one", () => {
  let window: Window = windowAtEnd(100);
  let moves = 0;
  for (let length = 101; length <= 1100; length++) {
    const next = followEnd(window, length);
    if (next.from !== window.from) moves++;
    assert.equal(next.to, length);
    assert.ok(size(next) <= WINDOW_MAX);
    window = next;
  }
  assert.ok(moves <= 13, `the front moved ${moves} times`);
});

test("a place is shown with what is around it", () => {
  const window = windowAround(500, 1000);
  assert.ok(window.from < 480 && window.to > 520);
  assert.deepEqual(windowAround(999, 1000).to, 1000);
  assert.deepEqual(windowAround(0, 1000).from, 0);
});
