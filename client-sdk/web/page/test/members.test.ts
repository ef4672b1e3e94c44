import assert from "node:assert/strict";
import { test } from "node:test";
import type { MembershipChange } from "../../src/index.js";
import type { ConversationInfo } from "../../src/members/index.js";
import { invitationLink, invitedBy, rightsOf, shownName, usersIn } from "../src/model/conversation.js";
import { deedText } from "../src/model/deeds.js";
import { linkOf } from "../src/model/fragment.js";
import { closedText, endingOf, requestProblem } from "../src/model/refusals.js";

const deed = (change: MembershipChange, sender = "alice"): string =>
  deedText({ seq: 1, timeMs: 0, sender, ...change }).replace(/[\u2068\u2069]/gu, "");

test("each deed is a line", () => {
  const set = { type: "member_set", user: "bob", role: "member", permissions: 7 } as const;
  const told = [
    deed({ type: "created", kind: "group", title: "Team", open: false }),
    deed({ type: "renamed", title: "" }),
    deed(set),
    deed(set, "bob"),
    deed({ ...set, invitation: new Uint8Array(16) }, "bob"),
    deed({ ...set, role: "admin", previous: "member" }),
    deed({ ...set, previous: "member" }),
    deed({ type: "member_gone", user: "bob", cause: "left" }, "bob"),
    deed({ type: "member_gone", user: "bob", cause: "removed" }),
    deed({ type: "muted", untilMs: Infinity }),
    deed({ type: "muted", user: "bob", untilMs: 0 }),
    deed({ type: "banned", user: "bob", untilMs: Infinity }),
    deed({ type: "slow_mode", intervalMs: 1_500 }),
    deed({ type: "invitation_made", hash: new Uint8Array(16), role: "member", expiresMs: 0, usesMax: 0 }),
    deed({ type: "invitation_made", hash: new Uint8Array(16), role: "member", expiresMs: 1, usesMax: 0 }),
  ];
  assert.deepEqual(told, [
    "alice created this group Team",
    "alice took the title away",
    "alice added bob",
    "bob joined",
    "bob came with an invitation",
    "alice made bob an admin",
    "alice changed what bob may do",
    "bob left",
    "alice removed bob",
    "alice muted everybody",
    "alice lets bob write again",
    "alice banned bob",
    "alice set slow mode: one message in 1.5 s",
    "alice made an invitation",
    "alice ended an invitation",
  ]);
  const kept = (ageS: number, count = 0): string => {
    const event = { type: "retention_set", seq: 1, timeMs: 0, sender: "alice", retention: { ageS, count, bytes: 0 } } as const;
    return deedText(event).replace(/[\u2068\u2069]/gu, "");
  };
  assert.equal(kept(2_592_000, 5), "alice set that messages are kept for 30 days, up to 5 events");
  assert.equal(kept(3_600), "alice set that messages are kept for 1 hour");
  assert.equal(kept(90), "alice set that messages are kept for 90 seconds");
  assert.equal(kept(0), "alice set that messages are kept for ever");
  assert.match(deed({ type: "banned", user: "bob", untilMs: 1_103_947_440_000 }), /until .*2004/u);
});

const info = (more: Partial<ConversationInfo>): ConversationInfo => ({
  conversation: "group/x",
  kind: "group",
  title: "",
  open: false,
  permissions: 7,
  members: 1,
  mutedUntilMs: 0,
  slowModeIntervalMs: 0,
  retention: { ageS: 0, count: 0, bytes: 0 },
  ownRetention: false,
  version: 1,
  ...more,
});

test("a name that the server has made is never shown", () => {
  assert.equal(shownName("general", undefined, undefined), "general");
  assert.equal(shownName("group/x", info({ title: "Team" }), "before"), "Team");
  assert.equal(shownName("group/x", info({}), undefined), "Group without a title");
  assert.equal(shownName("direct/0a", undefined, "bob"), "bob");
  assert.equal(shownName("direct/0a", undefined, undefined), "Direct message");
  assert.equal(shownName("notes/alice", info({ kind: "notes" }), undefined), "Notes");
});

test("rights are what the server has told", () => {
  assert.deepEqual(rightsOf(undefined), { write: false, invite: false, moderate: false, manage: false, leave: false });
  const member = { write: true, invite: true, moderate: false, manage: false, leave: true };
  assert.deepEqual(rightsOf(info({ role: "member" })), member);
  assert.deepEqual(rightsOf(info({ role: "owner", permissions: 63 })), { ...member, moderate: true, manage: true });
  const direct = { write: true, invite: false, moderate: false, manage: false, leave: false };
  assert.deepEqual(rightsOf(info({ kind: "direct", role: "member" })), direct);
});

test("an invitation's link leads where it was made for", () => {
  const invited = { conversation: "off topic/ü&#", invitation: "UqvlAFkjAIEDRW4qxYLe1Q" };
  const link = invitationLink("https://chat.example/", invited.conversation, invited.invitation);
  assert.deepEqual(invitedBy(link), invited);
  assert.deepEqual(linkOf(new URL(link).hash), { token: undefined, ...invited });
  for (const bad of ["", "https://chat.example/", "https://chat.example/#conversation=x", "#invitation=x"]) {
    assert.equal(invitedBy(bad), undefined, bad);
  }
});

test("people are named with whatever stands between them", () => {
  assert.deepEqual(usersIn(" bob, carol;dave\n bob "), ["bob", "carol", "dave"]);
  assert.deepEqual(usersIn(" , "), []);
});

test("refusals and ends have words", () => {
  assert.equal(requestProblem("LAST_OWNER", "x"), "Make somebody else owner first.");
  assert.equal(requestProblem("LOST", "no connection"), "no connection");
  const kicked = "the server closed the connection: KICKED: signed out from laptop";
  assert.equal(closedText("KICKED", kicked), "You were signed out here: signed out from laptop");
  assert.equal(closedText("KICKED", "the server closed the connection: KICKED"), "You were signed out here.");
  assert.match(closedText("REPLACED", ""), /connected anew/u);
  assert.equal(closedText("PROTOCOL", "too old"), "too old");
  assert.equal(endingOf("FORBIDDEN", "x", "", true).action, "join");
  assert.equal(endingOf("FORBIDDEN", "x", "", false).action, "remove");
});
