/** The public shapes of membership: what happens to members, and what clients ask for and are told (sections 11 and 12). */

/** What a managed conversation is. */
export type ConversationKind = "group" | "channel" | "direct" | "notes";

/** What a member is: readers read, members write and invite, admins do everything but to owners. */
export type Role = "reader" | "member" | "admin" | "owner";

/** How a member came to be none. */
export type GoneCause = "left" | "removed" | "banned";

/** Whether somebody is there: of a user, the best of all devices. */
export type Status = "online" | "away" | "offline";

/** Bits of `permissions`. */
export const Permission = { READ: 1, WRITE: 2, INVITE: 4, MODERATE: 8, MANAGE: 16, DELETE_ANY: 32 } as const;

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
