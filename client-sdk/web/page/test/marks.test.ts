import assert from "node:assert/strict";
import { test } from "node:test";
import { SeenBook } from "../src/model/marks.js";

test("own marks make nothing read, others' do", () => {
  const book = new SeenBook("me");
  assert.equal(
    book.apply([
      { user: "me", seen: 9 },
      { user: "bob", seen: 4 },
    ]),
    true,
  );
  assert.equal(book.readUpTo, 4);
  assert.equal(book.own, 9);
});

test("marks only move forward, and stay when the reader leaves", () => {
  const book = new SeenBook("me");
  book.apply([{ user: "bob", seen: 4 }]);
  assert.equal(book.apply([]), false);
  assert.equal(book.apply([{ user: "bob", seen: 0 }]), false);
  assert.equal(book.readUpTo, 4);
});

test("who has read a message", () => {
  const book = new SeenBook("me");
  book.apply([
    { user: "eve", seen: 5 },
    { user: "bob", seen: 7 },
    { user: "me", seen: 8 },
  ]);
  assert.deepEqual(book.readers(6), ["bob"]);
  assert.deepEqual(book.readers(5), ["bob", "eve"]);
});

test("the book is bounded", () => {
  const book = new SeenBook("me", 2);
  book.apply([
    { user: "a", seen: 1 },
    { user: "b", seen: 1 },
    { user: "c", seen: 9 },
  ]);
  assert.equal(book.readUpTo, 1);
});

test("a server that has lost its store begins anew", () => {
  const book = new SeenBook("me");
  book.apply([{ user: "bob", seen: 100 }]);
  book.clear();
  assert.equal(book.readUpTo, 0);
});
