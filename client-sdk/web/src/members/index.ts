/**
 * Conversations with members, and the user's devices: what a client asks its server to do or to tell besides
 * messages.
 *
 * ```ts
 * const members = membersOf(client);
 * const { conversation } = await members.create({ kind: "group", title: "The team", members: ["bob"] });
 * const invitation = await members.invite(conversation, "member");
 * ```
 *
 * What they lead to is told to readers as events (`member_set`, `member_gone`, …); `$me` is the conversation
 * that tells of the user's own.
 */
import type { Client, Unsubscribe } from "../api.js";
import { type Hub, hubOf } from "../requests/hub.js";
import { Feature } from "../wire/frames.js";
import type { Request } from "../wire/requests.js";
import { Presences } from "./presence.js";
import type {
  ConversationInfo,
  Done,
  Members,
  NewConversation,
  PageOf,
  PresenceListener,
  Role,
  SessionInfo,
} from "./shapes.js";

export { RequestError } from "../requests/error.js";
export type * from "./shapes.js";

/** Bits of `permissions`. */
export const Permission = { READ: 1, WRITE: 2, INVITE: 4, MODERATE: 8, MANAGE: 16, DELETE_ANY: 32 } as const;

/** More than a server gives at once. */
const PAGE_MAX = 500;

/** The requests of a client: the same object for the same client, which is one that `connect` has made. */
export function membersOf(client: Client): Members {
  const hub = hubOf(client);
  return hub.part("members", () => new ClientMembers(hub));
}

class ClientMembers implements Members {
  private readonly presences = new Presences((conversation, watch) => this.ask({ type: "watch_presence", conversation, watch }));
  private isAway = false;

  constructor(private readonly hub: Hub) {
    hub.on("presence", ({ conversation, user, status, lastSeenMs }) => {
      if (user === hub.client.user) this.presences.ended(conversation);
      else this.presences.take(conversation, user, { status, lastSeenMs });
    });
    hub.onSignedIn.add(() => {
      this.presences.connected();
      // Whoever has just come counts as being here.
      if (this.isAway) this.tellAway();
    });
  }

  create({ kind, title = "", members = [], open = false, conversation }: NewConversation): Promise<Done> {
    return this.ask({ type: "create", kind, title, members, open, conversation });
  }

  join(conversation: string, invitation?: string): Promise<Done> {
    return this.ask({ type: "join", conversation, invitation });
  }

  leave(conversation: string): Promise<Done> {
    return this.ask({ type: "leave", conversation });
  }

  setMember(conversation: string, user: string, role: Role, permissions?: number): Promise<Done> {
    return this.ask({ type: "set_member", conversation, user, role, permissions });
  }

  remove(conversation: string, user: string): Promise<Done> {
    return this.ask({ type: "remove", conversation, user });
  }

  rename(conversation: string, title: string): Promise<Done> {
    return this.ask({ type: "rename", conversation, title });
  }

  mute(conversation: string, user: string | undefined, untilMs: number): Promise<Done> {
    return this.ask({ type: "mute", conversation, user, untilMs });
  }

  ban(conversation: string, user: string, untilMs: number): Promise<Done> {
    return this.ask({ type: "ban", conversation, user, untilMs });
  }

  slowMode(conversation: string, intervalMs: number): Promise<Done> {
    return this.ask({ type: "slow_mode", conversation, intervalMs });
  }

  invite(conversation: string, role: Role, { expiresMs = 0, usesMax = 0 } = {}): Promise<string> {
    return this.ask({ type: "invite", conversation, role, expiresMs, usesMax });
  }

  revokeInvitations(conversation: string): Promise<Done> {
    return this.ask({ type: "revoke_invitations", conversation });
  }

  describe(conversation: string): Promise<ConversationInfo> {
    return this.ask({ type: "describe", conversation });
  }

  members(conversation: string, { after, limit = PAGE_MAX }: PageOf = {}): ReturnType<Members["members"]> {
    return this.ask({ type: "members", conversation, after, limit });
  }

  conversations({ after, limit = PAGE_MAX }: PageOf = {}): ReturnType<Members["conversations"]> {
    return this.ask({ type: "conversations", after, limit });
  }

  block(user: string, blocked: boolean): Promise<Done> {
    return this.ask({ type: "block", user, blocked });
  }

  blocked(): Promise<readonly string[]> {
    return this.ask({ type: "blocked" });
  }

  sessions(): Promise<readonly SessionInfo[]> {
    return this.ask({ type: "sessions" });
  }

  endSession(device: string): Promise<Done> {
    return this.ask({ type: "end_session", device });
  }

  watchPresence(conversation: string, listener: PresenceListener): Unsubscribe {
    return this.presences.watch(conversation, listener, this.hub.client.session?.isSignedIn ?? false);
  }

  setAway(away: boolean): void {
    if (this.isAway === away) return;
    this.isAway = away;
    this.tellAway();
  }

  private ask(request: Request): Promise<any> {
    return this.hub.ask(request);
  }

  private tellAway(): void {
    const { session } = this.hub.client;
    if (session?.has(Feature.MEMBERSHIP)) session.sendControl({ type: "status", away: this.isAway });
  }
}
