/** The public shapes of membership: what happens to members, and what clients ask for and are told (sections 11 and 12). */

import type { Unsubscribe } from "../api.js";
import type { QuothError } from "../error.js";
import type { Retention } from "../messages/shapes.js";

/** What a managed conversation is. */
export type ConversationKind = "group" | "channel" | "direct" | "notes";

/** What a member is: readers read, members write and invite, admins do everything but to owners. */
export type Role = "reader" | "member" | "admin" | "owner";

/** How a member came to be none. */
export type GoneCause = "left" | "removed" | "banned";

/** Whether somebody is there: of a user, the best of all devices. */
export type Status = "online" | "away" | "offline";

/** Something that happened in a conversation and is no message. `sender` is who did it. */
export type MembershipEvent = {
  readonly seq: number;
  readonly timeMs: number;
  readonly sender: string;
  readonly originTimeMs?: number;
} & MembershipChange;

/** What happened. A time that never comes is `Infinity`. */
export type MembershipChange =
  | { readonly type: "created"; readonly kind: ConversationKind; readonly title: string; readonly open: boolean }
  | { readonly type: "renamed"; readonly title: string }
  /** `previous` is what the user was until now: `undefined` for a new member. `invitation` is the hash of the one used. */
  | {
      readonly type: "member_set";
      readonly user: string;
      readonly role: Role;
      readonly permissions: number;
      readonly previous?: Role | undefined;
      readonly invitation?: Uint8Array | undefined;
    }
  | { readonly type: "member_gone"; readonly user: string; readonly cause: GoneCause }
  /** Without a user: everybody who may not moderate. 0 lifts it. */
  | { readonly type: "muted"; readonly user?: string | undefined; readonly untilMs: number }
  | { readonly type: "banned"; readonly user: string; readonly untilMs: number }
  | { readonly type: "slow_mode"; readonly intervalMs: number }
  | {
      readonly type: "invitation_made";
      readonly hash: Uint8Array;
      readonly role: Role;
      readonly expiresMs: number;
      readonly usesMax: number;
    }
  | { readonly type: "invitations_revoked" }
  /** In `$me`, the user's own log. */
  | {
      readonly type: "belongs";
      readonly conversation: string;
      readonly kind: ConversationKind;
      readonly title: string;
      readonly role: Role;
    }
  | { readonly type: "belongs_no_more"; readonly conversation: string; readonly cause: GoneCause }
  | { readonly type: "blocked"; readonly user: string; readonly blocked: boolean };

/** A request is done. `seq` is the last event that came of it, 0 when nothing had to change. */
export interface Done {
  readonly conversation: string;
  readonly seq: number;
  readonly timeMs: number;
}

/** A conversation to be. Of `direct` and `notes` the name follows from who is in them, and they are made once for all. */
export interface NewConversation {
  readonly kind: ConversationKind;
  /** What people call it. */
  readonly title?: string;
  /** Who else is in it from the beginning, at most 100; for `direct` exactly one user. */
  readonly members?: readonly string[];
  /** Whether anybody may join without an invitation. */
  readonly open?: boolean;
  /** Its name. Default: one that the server makes. */
  readonly conversation?: string;
}

/** What a conversation is. `role` and `permissions` are this user's. A direct one has the other user's id for a title. */
export interface ConversationInfo {
  readonly conversation: string;
  /** Missing where nobody has created it: it has no members, and `permissions` and how its events are kept are all that there is. */
  readonly kind?: ConversationKind | undefined;
  readonly title: string;
  readonly open: boolean;
  readonly role?: Role | undefined;
  readonly permissions: number;
  readonly members: number;
  /** Until when nobody who may not moderate may write; 0: they may. */
  readonly mutedUntilMs: number;
  readonly slowModeIntervalMs: number;
  /** How long its events are kept: what it says itself, or else the operator's rules for its name. */
  readonly retention: Retention;
  /** Whether it says so itself, by a `retention_set`. */
  readonly ownRetention: boolean;
  /** The last event that changed anything of it, its retention apart. */
  readonly version: number;
}

export interface MemberInfo extends MemberPresence {
  readonly user: string;
  readonly role: Role;
  readonly permissions: number;
  readonly mutedUntilMs: number;
}

/** Whether somebody is there, and when a device of that user was last connected; 0 when none ever was. */
export interface MemberPresence {
  readonly status: Status;
  readonly lastSeenMs: number;
}

/** One of the user's devices. */
export interface SessionInfo extends MemberPresence {
  readonly device: string;
  readonly platform: string;
  readonly generation: number;
  readonly connectedMs: number;
}

/** Hears of those who are not offline, on every change, or why nothing more is told. */
export type PresenceListener = (members: ReadonlyMap<string, MemberPresence>, error?: QuothError) => void;

/**
 * What a client asks its server to do or to tell. `docs/PROTOCOL.md`, section 12, says what each needs. Over
 * a lost connection a request is asked again; only what would be done twice is rejected, with an unknown
 * outcome. All reject with a `RequestError`.
 */
export interface Members {
  create(what: NewConversation): Promise<Done>;
  /** Joins an open conversation, or any one with an invitation. */
  join(conversation: string, invitation?: string): Promise<Done>;
  leave(conversation: string): Promise<Done>;
  /** Adds a member, or changes one. Without `permissions` the member may do what the role may. */
  setMember(conversation: string, user: string, role: Role, permissions?: number): Promise<Done>;
  remove(conversation: string, user: string): Promise<Done>;
  rename(conversation: string, title: string): Promise<Done>;
  /** Keeps a member from writing, or without a user all who may not moderate. 0 lifts it, `Infinity` never ends. */
  mute(conversation: string, user: string | undefined, untilMs: number): Promise<Done>;
  /** Keeps a user out. 0 lifts it, `Infinity` never ends. */
  ban(conversation: string, user: string, untilMs: number): Promise<Done>;
  /** Has each member write at most once in a time; 0 ends that. */
  slowMode(conversation: string, intervalMs: number): Promise<Done>;
  /** Makes an invitation and gives its text. 0, for both times and uses: without a limit. */
  invite(conversation: string, role: Role, options?: { expiresMs?: number; usesMax?: number }): Promise<string>;
  revokeInvitations(conversation: string): Promise<Done>;
  describe(conversation: string): Promise<ConversationInfo>;
  /** At most `limit` members behind `after` (the server gives at most 500, which is the default). */
  members(conversation: string, page?: PageOf): Promise<{ readonly members: readonly MemberInfo[]; readonly more: boolean }>;
  /** At most `limit` of the user's conversations behind `after` (the server gives at most 100, which is the default). */
  conversations(page?: PageOf): Promise<{ readonly conversations: readonly ConversationInfo[]; readonly more: boolean }>;
  block(user: string, blocked: boolean): Promise<Done>;
  blocked(): Promise<readonly string[]>;
  /** The user's devices, the latest first. */
  sessions(): Promise<readonly SessionInfo[]>;
  endSession(device: string): Promise<Done>;
  /** Tells who of a conversation is there, over reconnects, until it is unsubscribed. */
  watchPresence(conversation: string, listener: PresenceListener): Unsubscribe;
  /** Says that nobody sits here, or that somebody does again. It holds over reconnects. */
  setAway(away: boolean): void;
}

export interface PageOf {
  readonly after?: string | undefined;
  readonly limit?: number;
}
