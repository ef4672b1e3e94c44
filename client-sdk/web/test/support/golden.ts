/** What the golden file has of events, requests and replies, and of the inbox. */
import { createHash } from "node:crypto";
import type { ClientFrame, EventFrame, ServerFrame } from "../../src/wire/frames.js";
import { ByteWriter } from "../../src/wire/bytes.js";
import { type Reply, reply, type Request, request } from "../../src/wire/requests.js";
import { inboxRow, messageState } from "../../src/wire/messages.js";
import type { Of, Type } from "../../src/wire/schema.js";

export const timeMs = 1_790_000_000_000;
export const utf8 = (text: string) => new TextEncoder().encode(text);
const hash = new Uint8Array(createHash("sha256").update("abc").digest().subarray(0, 16));

export function message(seq: number, text: string): EventFrame {
  return { type: "event", seq, timeMs, sender: "alice", kind: { type: "message", body: utf8(text) } };
}

const set = { type: "member_set", user: "bob" } as const;
const kinds: [string, NonNullable<EventFrame["kind"]>][] = [
  ["Created", { type: "created", kind: "channel", title: "News", open: true }],
  ["Renamed", { type: "renamed", title: "Grüße" }],
  ["MemberSet", { ...set, role: "owner", permissions: 63, previous: "admin" }],
  ["MemberSet invited", { ...set, role: "reader", permissions: 1, invitation: hash }],
  ["MemberGone", { type: "member_gone", user: "bob", cause: "removed" }],
  ["Muted", { type: "muted", user: "bob", untilMs: timeMs }],
  ["Muted all", { type: "muted", untilMs: 0 }],
  ["Banned", { type: "banned", user: "bob", untilMs: Infinity }],
  ["SlowMode", { type: "slow_mode", intervalMs: 30_000 }],
  ["InvitationMade", { type: "invitation_made", hash, role: "member", expiresMs: timeMs, usesMax: 5 }],
  ["InvitationsRevoked", { type: "invitations_revoked" }],
  ["Belongs", { type: "belongs", conversation: "team", kind: "group", title: "Team", role: "admin" }],
  ["BelongsNoMore", { type: "belongs_no_more", conversation: "team", cause: "banned" }],
  ["Blocked", { type: "blocked", user: "bob", blocked: true }],
  ["Message reply", { type: "message", body: utf8("@bob yes"), replyTo: 300, mentions: ["bob", "carol"], expiresMs: timeMs + 60_000 }],
  ["Edited", { type: "edited", of: 300, body: utf8("grüße"), mentions: ["bob"] }],
  ["Edited plain", { type: "edited", of: 300, body: utf8("") }],
  ["Revoked", { type: "revoked", of: 300 }],
  ["Reacted", { type: "reacted", of: 300, reaction: "👍", on: true }],
  ["RetentionSet", { type: "retention_set", retention: { ageS: 2_592_000, count: 300, bytes: 0 } }],
  ["Hidden", { type: "hidden", conversation: "team", of: 300 }],
  ["InboxSet", { type: "inbox_set", conversation: "team", archived: true, mutedUntilMs: Infinity, pinned: false }],
];

const at = { conversation: "team" };
const all: [string, Request][] = [
  ["Create", { type: "create", ...at, kind: "group", title: "Team", members: ["bob", "carol"], open: true }],
  ["Create direct", { type: "create", kind: "direct", title: "", members: ["bob"], open: false }],
  ["Join", { type: "join", ...at }],
  ["Join invited", { type: "join", ...at, invitation: "abc" }],
  ["Leave", { type: "leave", ...at }],
  ["SetMember", { type: "set_member", ...at, user: "bob", role: "admin" }],
  ["SetMember permissions", { type: "set_member", ...at, user: "bob", role: "admin", permissions: 31 }],
  ["Remove", { type: "remove", ...at, user: "bob" }],
  ["Rename", { type: "rename", ...at, title: "Grüße" }],
  ["Mute", { type: "mute", ...at, user: "bob", untilMs: timeMs }],
  ["Mute all", { type: "mute", ...at, untilMs: 0 }],
  ["Ban", { type: "ban", ...at, user: "bob", untilMs: Infinity }],
  ["SlowMode", { type: "slow_mode", ...at, intervalMs: 30_000 }],
  ["Invite", { type: "invite", ...at, role: "member", expiresMs: timeMs, usesMax: 5 }],
  ["RevokeInvitations", { type: "revoke_invitations", ...at }],
  ["Describe", { type: "describe", ...at }],
  ["Members", { type: "members", ...at, limit: 100 }],
  ["Members behind", { type: "members", ...at, after: "bob", limit: 100 }],
  ["Block", { type: "block", user: "bob", blocked: true }],
  ["Blocked", { type: "blocked" }],
  ["Sessions", { type: "sessions" }],
  ["EndSession", { type: "end_session", device: "phone" }],
  ["Conversations", { type: "conversations", limit: 50 }],
  ["Conversations behind", { type: "conversations", after: "team", limit: 50 }],
  ["WatchPresence", { type: "watch_presence", ...at, watch: true }],
  ["Edit", { type: "edit", ...at, seq: 300, body: utf8("grüße"), mentions: ["bob"] }],
  ["Revoke", { type: "revoke", ...at, seq: 300 }],
  ["React", { type: "react", ...at, seq: 300, reaction: "👍", on: true }],
  ["Hide", { type: "hide", ...at, seq: 300 }],
  ["SetRetention", { type: "set_retention", ...at, retention: { ageS: 2_592_000, count: 300, bytes: 2 ** 30 }, dryRun: false }],
  ["Mark", { type: "mark", ...at, delivered: 300, read: 299 }],
  ["Receipts", { type: "receipts", ...at, seq: 300 }],
  ["Inbox", { type: "inbox", limit: 50 }],
  ["Inbox behind", { type: "inbox", after: "abc", limit: 50 }],
  [
    "WatchInbox",
    {
      type: "watch_inbox",
      since: 2 ** 40,
      watch: true,
      held: [
        { conversation: "team", staleMs: 1_790_000_600_000 },
        { conversation: "old", staleMs: 1 },
      ],
    },
  ],
  ["WatchInbox anew", { type: "watch_inbox", watch: true, held: [] }],
  ["WatchInbox no more", { type: "watch_inbox", watch: false, held: [] }],
  ["SetInbox", { type: "set_inbox", ...at, archived: false, mutedUntilMs: Infinity, pinned: true }],
  ["Messages", { type: "messages", ...at, seqs: [299, 300] }],
  ["SetRetention back", { type: "set_retention", ...at, dryRun: true }],
];

const edited: Of<typeof messageState> = {
  seq: 299,
  version: 303,
  edited: { seq: 301, timeMs, body: utf8("grüße"), mentions: ["bob"] },
  reactions: [
    { reaction: "+1", count: 1, mine: false },
    { reaction: "👍", count: 300, mine: true },
  ],
};
const plain: Of<typeof messageState> = { seq: 300, version: 0, reactions: [] };
const row: Of<typeof inboxRow> = {
  ...at,
  kind: "group",
  title: "Team",
  head: 301,
  timeMs: timeMs + 1,
  last: {
    seq: 300,
    timeMs,
    sender: "bob",
    kind: { type: "message", body: utf8("see you"), replyTo: 290, expiresMs: timeMs + 60_000 },
  },
  unread: 1_000,
  mentions: 2,
  read: 12,
  archived: false,
  mutedUntilMs: Infinity,
  pinned: true,
  gone: false,
  version: 2 ** 40,
  staleMs: 1_790_000_600_000,
};
const empty = { title: "", head: 0, timeMs: 0, unread: 0, mentions: 0, read: 0, mutedUntilMs: 0, pinned: false } as const;
const gone: Of<typeof inboxRow> = { conversation: "old", ...empty, archived: true, gone: true, version: 7, staleMs: 0 };

const own = { retention: { ageS: 2_592_000, count: 300, bytes: 2 ** 30 }, ownRetention: true };
const team = { ...at, kind: "group", title: "Team", open: true, members: 3, mutedUntilMs: 0, slowModeIntervalMs: 30_000 } as const;
const info = { ...team, ...own, version: 300 };
const none = { title: "", open: false, members: 0, mutedUntilMs: 0, slowModeIntervalMs: 0 } as const;
const unmanaged = { ...at, ...none, ...own, ownRetention: false, permissions: 3, version: 0 };
const member = { role: "member", permissions: 7, mutedUntilMs: 0, status: "online", lastSeenMs: timeMs } as const;
const session = { device: "phone", platform: "android", generation: timeMs, status: "offline", connectedMs: timeMs } as const;
const read = { delivered: 300, read: 299 } as const;
const answers: [string, Reply][] = [
  ["Done", { type: "done", ...at, seq: 9, timeMs }],
  ["Done already", { type: "done", ...at, seq: 0, timeMs: 0 }],
  ["Refused", { type: "refused", code: 0x105, retryAfterMs: 700, reason: "slowly" }],
  ["Invitation", { type: "invitation", invitation: "abc" }],
  ["Conversation", { type: "conversation", info: { ...info, role: "owner", permissions: 63 } }],
  ["Conversation of others", { type: "conversation", info: { ...info, permissions: 0, ownRetention: false } }],
  ["Conversation unmanaged", { type: "conversation", info: unmanaged }],
  ["Members", { type: "members", members: [{ user: "alice", ...member }, { user: "bob", ...member }], more: true }],
  ["Users", { type: "users", users: ["bob", "carol"] }],
  ["Sessions", { type: "sessions", sessions: [{ ...session, lastSeenMs: timeMs + 1 }] }],
  ["Conversations", { type: "conversations", conversations: [{ ...info, role: "member", permissions: 7 }], more: false }],
  ["Receipts", { type: "receipts", delivered: 3, read: 2, users: [{ user: "bob", ...read }, { user: "carol", ...read }] }],
  ["Receipts counted", { type: "receipts", delivered: 1_000, read: 300, users: [] }],
  ["Inbox", { type: "inbox", rows: [row], next: "abc", version: 2 ** 40 }],
  ["Inbox empty", { type: "inbox", rows: [], version: 0 }],
  ["Watching", { type: "watching", version: 2 ** 40, complete: true }],
  ["Messages", { type: "messages", states: [edited, plain], absent: [298], more: true }],
  ["Retained", { type: "retained", ...at, seq: 301, timeMs, retention: own.retention, events: 290, bytes: 2 ** 20 }],
];

export const events: Record<string, ServerFrame> = Object.fromEntries(
  kinds.map(([name, kind], i) => [`Event ${name}`, { type: "event", seq: i + 1, timeMs, sender: "alice", kind }]),
);
export const requests: Record<string, ClientFrame> = Object.fromEntries(
  all.map(([name, asked], i) => [`Request ${name}`, { type: "request", id: i + 1, request: bytesOf(request, asked) }]),
);
export const replies: Record<string, ServerFrame> = Object.fromEntries(
  answers.map(([name, answer], i) => [`Reply ${name}`, { type: "reply", id: i + 1, reply: bytesOf(reply, answer) }]),
);
export const states: Record<string, ServerFrame> = {
  MessageState: { type: "message_state", state: bytesOf(messageState, edited) },
  "MessageState plain": { type: "message_state", state: bytesOf(messageState, plain) },
};
export const rows: Record<string, ServerFrame> = {
  InboxRow: { type: "inbox_row", known: 300, row: bytesOf(inboxRow, row) },
  "InboxRow gone": { type: "inbox_row", known: 7, row: bytesOf(inboxRow, gone) },
};
/** What stands in those frames. */
export const contents = new Map<string, Request | Reply>([
  ...all.map(([name, asked]): [string, Request] => [`Request ${name}`, asked]),
  ...answers.map(([name, answer]): [string, Reply] => [`Reply ${name}`, answer]),
]);

function bytesOf<T>(type: Type<T>, value: T): Uint8Array {
  const to = new ByteWriter();
  type.write(to, value);
  return new Uint8Array(to.finish());
}
