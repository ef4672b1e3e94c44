/** Requests and replies (section 12). They have an encoding of their own within their frames: pages that need none do not load it. */
import { kind, role, status } from "./members.js";
import { bool, end, list, number, option, struct, text, u32, variant, type Variant } from "./schema.js";

const conversation = text;
const user = text;
const permissions = u32;
const title = text;

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
