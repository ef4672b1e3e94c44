/** What happens to members (sections 3 and 11). */
import { bool, bytes, end, names, number, type Of, option, text, u32, type Variant } from "./schema.js";

export const kind = names("group", "channel", "direct", "notes");
export const role = names("reader", "member", "admin", "owner");
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

export type ConversationKind = Of<typeof kind>;
export type Role = Of<typeof role>;
