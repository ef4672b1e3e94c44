/** What happens to members, requests and replies (sections 3, 11 and 12). */
import { bool, bytes, end, list, names, number, option, struct, text, type Of, u32, variant, type Variant } from "./schema.js";

const kind = names("group", "channel", "direct", "notes");
const role = names("reader", "member", "admin", "owner");
const cause = names("left", "removed", "banned");
export const status = names("online", "away", "offline");

const conversation = text;
const user = text;
const permissions = u32;
const title = text;

/** The kinds of an event, a message first. */
export const kinds = {
  message: { body: bytes },
  created: { kind, title, open: bool },
  renamed: { title },
  member_set: { user, role, permissions, previous: option(role), invitation: option(bytes) },
  member_gone: { user, cause },
  muted: { user: option(user), untilMs: end },
  banned: { user, untilMs: end },
  slow_mode: { intervalMs: u32 },
  invitation_made: { hash: bytes, role, expiresMs: number, usesMax: u32 },
  invitations_revoked: {},
  belongs: { conversation, kind, title, role },
  belongs_no_more: { conversation, cause },
  blocked: { user, blocked: bool },
};
export type EventKind = Variant<typeof kinds>;

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
};
export const request = variant(requests);
export type Request = Variant<typeof requests>;

const conversationInfo = struct({
  conversation,
  kind,
  title,
  open: bool,
  role: option(role),
  permissions,
  members: u32,
  mutedUntilMs: end,
  slowModeIntervalMs: u32,
  version: number,
});
const memberInfo = struct({ user, role, permissions, mutedUntilMs: end, status, lastSeenMs: number });
const sessionInfo = struct({ device: text, platform: text, generation: number, status, connectedMs: number, lastSeenMs: number });

const replies = {
  done: { conversation, seq: number, timeMs: number },
  refused: { code: u32, retryAfterMs: u32, reason: text },
  invitation: { invitation: text },
  conversation: { info: conversationInfo },
  members: { members: list(memberInfo), more: bool },
  users: { users: list(user) },
  sessions: { sessions: list(sessionInfo) },
  conversations: { conversations: list(conversationInfo), more: bool },
};
export const reply = variant(replies);
export type Reply = Variant<typeof replies>;

export type ConversationKind = Of<typeof kind>;
export type Role = Of<typeof role>;
