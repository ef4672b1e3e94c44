/** What happens in conversations (sections 3, 11, 13 and 14). */
import { bool, bytes, end, list, names, number, type Of, option, orElse, struct, text, u32, type Variant } from "./schema.js";

export const kind = names("group", "channel", "direct", "notes");
export const role = names("reader", "member", "admin", "owner");
const cause = names("left", "removed", "banned");
export const status = names("online", "away", "offline");

const conversation = text;
export const user = text;
const permissions = u32;
const title = text;

export const mentions = orElse(list(user), []);
/** A number of 0 means that there is none. */
export const zero = orElse(number, 0);
export const retention = struct({ ageS: number, count: number, bytes: number });

/** The kinds of an event, a message first. */
export const kinds = {
  message: { body: bytes, replyTo: option(number), mentions, expiresMs: zero },
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
  /** `of` is the seq of the message that it is about, here and below. */
  edited: { of: number, body: bytes, mentions },
  revoked: { of: number },
  reacted: { of: number, reaction: text, on: bool },
  retention_set: { retention },
  hidden: { conversation, of: number },
  inbox_set: { conversation, archived: bool, mutedUntilMs: end, pinned: bool },
};
export type EventKind = Variant<typeof kinds>;

export type ConversationKind = Of<typeof kind>;
export type Role = Of<typeof role>;
