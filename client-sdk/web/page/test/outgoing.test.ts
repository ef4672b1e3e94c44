import assert from "node:assert/strict";
import { test } from "node:test";
import { OutgoingList } from "../src/model/outgoing.js";

const texts = (list: OutgoingList): string[] => list.shown().map((one) => one.text);

test("ack first: the message stays until its event is shown", () => {
  const list = new OutgoingList();
  list.add("a", "hello", 0, "sending");
  list.stored("a", 7, 6);
  assert.deepEqual(
    list.shown().map((one) => one.mark),
    ["stored"],
  );
  list.echo(7, "hello");
  list.shownUpTo(7);
  assert.deepEqual(texts(list), []);
  assert.equal(list.size, 0);
});

test("event first: the message is shown once", () => {
  const list = new OutgoingList();
  list.add("a", "hello", 0, "sending");
  list.echo(7, "hello");
  assert.deepEqual(texts(list), []);
  list.stored("a", 7, 7);
  assert.equal(list.size, 0);
});

test("two messages of the same text: each echo takes one", () => {
  const list = new OutgoingList();
  list.add("a", "ok", 0, "sending");
  list.add("b", "ok", 0, "sending");
  list.echo(1, "ok");
  assert.equal(list.shown().length, 1);
  list.echo(2, "ok");
  assert.equal(list.shown().length, 0);
});

test("an own message from another device takes nothing away", () => {
  const list = new OutgoingList();
  list.add("a", "here", 0, "sending");
  list.echo(3, "there");
  assert.deepEqual(texts(list), ["here"]);
});

test("a failed message is not taken for an echo, and goes when discarded", () => {
  const list = new OutgoingList();
  list.add("a", "no", 0, "sending");
  list.mark("a", "failed", "You may not write here.");
  list.echo(1, "no");
  assert.deepEqual(texts(list), ["no"]);
  list.remove("a");
  assert.equal(list.size, 0);
});

test("without a connection what is on its way waits; what failed stays failed", () => {
  const list = new OutgoingList();
  list.add("a", "x", 0, "sending");
  list.add("b", "y", 0, "sending");
  list.mark("b", "failed", "why");
  list.connected(false);
  assert.deepEqual(
    list.shown().map((one) => one.mark),
    ["waiting", "failed"],
  );
  list.connected(true);
  assert.deepEqual(
    list.shown().map((one) => one.mark),
    ["sending", "failed"],
  );
});
