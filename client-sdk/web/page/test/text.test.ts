import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces } from "../src/model/links.js";
import { byteLength, isEmojiOnly, isLong, nameList, oneLine, titleOf } from "../src/model/text.js";
import { hueOf, initials, HUES } from "../src/model/avatar.js";

const links = (text: string): string[] => pieces(text).flatMap((piece) => (piece.href === undefined ? [] : [piece.href]));
const whole = (text: string): string =>
  pieces(text)
    .map((piece) => piece.text)
    .join("");

test("links are found, and the text stays the same", () => {
  for (const [text, expected] of [
    ["see https://example.com/a?b=1&c=2.", ["https://example.com/a?b=1&c=2"]],
    ["(https://en.example/wiki/Log_(data))", ["https://en.example/wiki/Log_(data)"]],
    ["www.example.com, http://a.b!", ["https://www.example.com/", "http://a.b/"]],
    ["no link here: example.com a@b.c", []],
    ["“https://example.com/x”", ["https://example.com/x"]],
  ] as const) {
    assert.deepEqual(links(text), expected, text);
    assert.equal(whole(text), text);
  }
});

test("only http and https become links", () => {
  assert.deepEqual(links("javascript:alert(1) data:text/html,x file:///etc/passwd vbscript:x"), []);
  assert.deepEqual(links('https://evil.example/"onmouseover=alert(1)'), ["https://evil.example/"]);
  assert.deepEqual(links("https:// http://"), []);
});

test("a text direction override does not hide where a link leads", () => {
  assert.deepEqual(links("https://good.example/\u202etxt.evil"), ["https://good.example/"]);
});

test("emoji alone are shown large, digits and words are not", () => {
  for (const text of ["🎉", "👍🏽 👏", "👩‍👩‍👧‍👦", "🇫🇷", "❤️"]) assert.equal(isEmojiOnly(text), true, text);
  for (const text of ["", " ", "1", "#", "12", "ok 🎉", "🎉🎉🎉🎉", "©"]) assert.equal(isEmojiOnly(text), false, text);
});

test("long texts and texts of many lines are folded", () => {
  assert.equal(isLong("a".repeat(1500)), false);
  assert.equal(isLong("a".repeat(1501)), true);
  assert.equal(isLong("a\n".repeat(25)), true);
});

test("one line for the list", () => {
  assert.equal(oneLine(" a\n\n b\tc "), "a b c");
  assert.equal(oneLine("x".repeat(200), 10), `${"x".repeat(9)}…`);
});

test("names in a row", () => {
  assert.equal(nameList([]), "");
  assert.equal(nameList(["ann"]), "ann");
  assert.equal(nameList(["ann", "bob"]), "ann and bob");
  assert.equal(nameList(["ann", "bob", "eve"]), "ann, bob and 1 other");
  assert.equal(nameList(["ann", "bob", "eve", "dan"], 2), "ann, bob and 2 others");
});

test("the title counts", () => {
  assert.equal(titleOf(0), "Quoth");
  assert.equal(titleOf(3), "(3) Quoth");
  assert.equal(titleOf(5000), "(999+) Quoth");
});

test("bytes are those of UTF-8", () => {
  assert.equal(byteLength("aé€😀"), 10);
});

test("faces: letters of names, the same hue for the same name", () => {
  assert.equal(initials("alice"), "A");
  assert.equal(initials("mary.jane"), "MJ");
  assert.equal(initials("irc-bridge|mira"), "IM");
  assert.equal(initials("دنا كريم"), "دك");
  assert.equal(initials("☕"), "☕");
  assert.equal(initials("…"), "…");
  assert.equal(hueOf("alice"), hueOf("alice"));
  const hues = new Set(Array.from({ length: 200 }, (_, i) => hueOf(`user${i}`)));
  assert.equal(hues.size, HUES);
});
