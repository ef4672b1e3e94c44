import assert from "node:assert/strict";
import { test } from "node:test";
import { claimsOf, matches, nameProblem } from "../src/model/token.js";
import { linkOf } from "../src/model/fragment.js";

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = (claims: unknown): string => `${part({ alg: "EdDSA" })}.${part(claims)}.c2ln`;

test("claims are read", () => {
  assert.deepEqual(claimsOf(token({ sub: "дана", exp: 1_800_000_000, read: ["*"], write: ["general"] })), {
    user: "дана",
    endsMs: 1_800_000_000_000,
    read: ["*"],
    write: ["general"],
  });
  assert.deepEqual(claimsOf(token({ sub: "a", exp: 1 })), { user: "a", endsMs: 1000, read: undefined, write: undefined });
});

test("what is no token gives nothing", () => {
  for (const text of ["", "a.b.c", "hello", token({ exp: 1 }), token({ sub: "a" }), token({ sub: 1, exp: 1 }), token(null)])
    assert.equal(claimsOf(text), undefined, text);
});

test("patterns: a star is any characters, none included", () => {
  for (const [pattern, name, expected] of [
    ["*", "", true],
    ["*", "anything", true],
    ["general", "general", true],
    ["general", "General", false],
    ["team-*", "team-", true],
    ["team-*-x", "team-a-b-x", true],
    ["team-*-x", "team-x", false],
    ["a*b*c", "a1b2c", true],
    ["a*b*c", "acb", false],
    ["a*a", "a", false],
    ["a.c", "abc", false],
  ] as const) {
    assert.equal(matches([pattern], name), expected, `${pattern} on ${name}`);
  }
  assert.equal(matches([], "general"), false);
});

test("names that a conversation cannot have", () => {
  assert.equal(nameProblem("general"), undefined);
  assert.equal(nameProblem("é".repeat(64)), undefined);
  for (const name of ["", "é".repeat(65), "a\nb", "a\u0085b"]) assert.notEqual(nameProblem(name), undefined, name);
});

test("the link of the banner", () => {
  assert.deepEqual(linkOf("#token=a.b.c&conversation=off%20topic"), { token: "a.b.c", conversation: "off topic", invitation: undefined });
  assert.deepEqual(linkOf("#"), { token: undefined, conversation: undefined, invitation: undefined });
  assert.deepEqual(linkOf("#conversation=x&invitation=abc"), { token: undefined, conversation: "x", invitation: "abc" });
});
