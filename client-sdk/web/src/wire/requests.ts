/** Requests and replies (sections 12 to 14). They have an encoding of their own within their frames: pages that need none do not load it. */
import { kind, mentions, retention, role, status, user } from "./kinds.js";
import { inboxRow, messageState, receipt } from "./messages.js";
import { bool, bytes, end, list, number, option, struct, text, u32, variant, type Variant } from "./schema.js";

const conversation = text;
const permissions = u32;
const title = text;
const seq = number;

const requests = {
  create: { conversation: option(conversation), kind, title, members: list(user), open: bool },
  join: { conversation, invitation: option(text) },
  leave: { conversation },
  set_member: { conversation, user, role, permissions: option(permissions) },
  remove: { conversation, user },
  rename: { conversation, title },
  mute: { conversation, user: option(user), untilMs: end },
  ban: { conversation, user, untilMs: end },
  slow_mode: { conversation, intervalMs: u32 },
  invite: { conversation, role, expiresMs: number, usesMax: u32 },
  revoke_invitations: { conversation },
  describe: { conversation },
  members: { conversation, after: option(user), limit: u32 },
  block: { user, blocked: bool },
  blocked: {},
  sessions: {},
  end_session: { device: text },
  conversations: { after: option(conversation), limit: u32 },
  watch_presence: { conversation, watch: bool },
  edit: { conversation, seq, body: bytes, mentions },
  revoke: { conversation, seq },
  react: { conversation, seq, reaction: text, on: bool },
  hide: { conversation, seq },
  set_retention: { conversation, retention: option(retention), dryRun: bool },
  mark: { conversation, delivered: seq, read: seq },
  receipts: { conversation, seq },
  inbox: { after: option(text), limit: u32 },
  watch_inbox: { since: option(number), watch: bool, held: list(struct({ conversation, staleMs: end })) },
  set_inbox: { conversation, archived: bool, mutedUntilMs: end, pinned: bool },
  messages: { conversation, seqs: list(seq) },
};
export const request = variant(requests);
export type Request = Variant<typeof requests>;

const conversationInfo = struct({
  conversation,
  kind: option(kind),
  title,
  open: bool,
  role: option(role),
  permissions,
  members: u32,
  mutedUntilMs: end,
  slowModeIntervalMs: u32,
  retention,
  ownRetention: bool,
  version: number,
});
const memberInfo = struct({ user, role, permissions, mutedUntilMs: end, status, lastSeenMs: number });
const sessionInfo = struct({ device: text, platform: text, generation: number, status, connectedMs: number, lastSeenMs: number });

const replies = {
  done: { conversation, seq, timeMs: number },
  refused: { code: u32, retryAfterMs: u32, reason: text },
  invitation: { invitation: text },
  conversation: { info: conversationInfo },
  members: { members: list(memberInfo), more: bool },
  users: { users: list(user) },
  sessions: { sessions: list(sessionInfo) },
  conversations: { conversations: list(conversationInfo), more: bool },
  receipts: { delivered: u32, read: u32, users: list(receipt) },
  inbox: { rows: list(inboxRow), next: option(text), version: number },
  watching: { version: number, complete: bool },
  messages: { states: list(messageState), absent: list(seq), more: bool },
  retained: { conversation, seq, timeMs: number, retention, events: number, bytes: number },
};
export const reply = variant(replies);
export type Reply = Variant<typeof replies>;
